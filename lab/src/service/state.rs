//! The state of a running service: its requests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::options::ServiceOptions;
use super::record::{Event, Recorder};
use crate::clock::now_ms;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: ServiceOptions,
    recorder: Recorder,
    in_flight: AtomicU64,
    last_request_t: AtomicU64,
    stopping: AtomicBool,
}

impl State {
    pub(super) fn new(options: ServiceOptions, recorder: Recorder) -> Self {
        Self {
            options,
            recorder,
            in_flight: AtomicU64::new(0),
            last_request_t: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Returns the number of requests being served.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// Counts a request until the returned value is dropped, also when its client disconnects.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, SeqCst);
        self.last_request_t.store(now_ms(), SeqCst);
        self.note_if_late();
        InFlight(self)
    }

    /// Records a request that arrives after the service was asked to stop.
    pub(super) fn note_if_late(&self) {
        if self.stopping.load(SeqCst) {
            self.note(Event::Late);
        }
    }

    /// Records that the service was asked to stop.
    pub(super) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.note(Event::Term);
    }

    /// Records an event. A failure does not end the service; the auditor will miss the line.
    #[expect(clippy::print_stderr, reason = "stderr is the service's log")]
    pub(super) fn note(&self, event: Event) {
        let last = self.last_request_t.load(SeqCst);
        let last = (last > 0).then_some(last);
        if let Err(error) = self.recorder.note(event, self.in_flight(), last) {
            eprintln!("ERROR {error:#}");
        }
    }
}

/// A request that is being served.
pub(super) struct InFlight<'a>(&'a State);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}
