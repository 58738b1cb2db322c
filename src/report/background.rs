//! Runs reporters on their own thread: a blocked terminal or a stalled reader must not delay a release or its
//! signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::Reporter;
use crate::engine::Sink;
use crate::release::Release;
use crate::release::{Event, EventKind};

/// Progress is dropped while this many events wait.
const BACKLOG: usize = 256;

/// How often reporters hear the clock.
const TICK: Duration = Duration::from_secs(1);

/// How long the last events may take.
const FLUSH: Duration = Duration::from_secs(2);

/// Reporters behind a queue. They fold the events themselves, so they see the same state.
pub struct Background {
    events: Option<mpsc::Sender<Event>>,
    waiting: Arc<AtomicUsize>,
    done: mpsc::Receiver<()>,
}

impl Background {
    /// Lets `sinks` hear of the events of a release that has come so far already.
    #[must_use]
    pub fn new(mut sinks: Vec<Box<dyn Reporter>>, mut release: Release) -> Self {
        let (events, received) = mpsc::channel::<Event>();
        let (finished, done) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        thread::spawn(move || {
            let mut ticked = Instant::now();
            loop {
                if ticked.elapsed() >= TICK {
                    ticked = Instant::now();
                    let now = jiff::Timestamp::now();
                    for sink in &mut sinks {
                        sink.tick(now, &release);
                    }
                }
                let event = match received.recv_timeout(TICK.saturating_sub(ticked.elapsed())) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                counter.fetch_sub(1, Ordering::Relaxed);
                // The engine has recorded the event, so it can follow; a reporter could not report an error
                // anyway.
                let _ = release.apply(&event);
                for sink in &mut sinks {
                    sink.event(&event, &release);
                }
            }
            drop(sinks);
            let _ = finished.send(());
        });
        Self { events: Some(events), waiting, done }
    }
}

impl Sink for Background {
    fn event(&mut self, event: &Event, _: &Release) {
        let progress = matches!(event.fact, EventKind::StepProgress { .. });
        if progress && self.waiting.load(Ordering::Relaxed) > BACKLOG {
            return;
        }
        if let Some(events) = &self.events {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = events.send(event.clone());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.events.take());
        let _ = self.done.recv_timeout(FLUSH);
    }
}

/// Prints a text, but waits only a moment for a stalled reader.
pub(crate) fn print_stderr_in_time(text: String) {
    let (finished, done) = mpsc::channel();
    thread::spawn(move || {
        super::print::print_page(&text);
        let _ = finished.send(());
    });
    let _ = done.recv_timeout(FLUSH);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::release::Resumed;

    fn event(seq: u64, fact: EventKind) -> Event {
        Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "r".into(),
            node: None,
            step: None,
            fact,
        }
    }

    /// A sink that takes an event only when the test allows it.
    struct Slow {
        gate: Arc<Mutex<()>>,
        heard: mpsc::Sender<u64>,
    }

    impl Sink for Slow {
        fn event(&mut self, event: &Event, _: &Release) {
            let _gate = self.gate.lock();
            let _ = self.heard.send(event.seq);
        }
    }

    #[test]
    fn stalled_reporter_delays_nothing_and_loses_only_progress() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().expect("lock");
        let (heard, told) = mpsc::channel();
        let slow: Box<dyn Reporter> = Box::new(Slow { gate: gate.clone(), heard });
        let mut background = Background::new(vec![slow], Release::default());
        let release = Release::default();
        for seq in 1..=2000 {
            let progress = EventKind::StepProgress {
                message: String::new(),
                in_flight: None,
                deadline_s: None,
            };
            background.event(&event(seq, progress), &release);
        }
        let warning = EventKind::Warning { message: "last".into() };
        background.event(&event(2001, warning), &release);
        let begun = Instant::now();
        drop(background);
        assert!(begun.elapsed() >= FLUSH, "it had its chance");
        drop(closed);
        let all: Vec<_> = told.iter().collect();
        assert_eq!(all.last(), Some(&2001));
        assert!(all.len() < 2000, "{} were queued", all.len());
    }
    impl Reporter for Slow {}

    /// Tells the place of node `b` after each event.
    struct Turns(mpsc::Sender<(usize, usize)>);

    impl Sink for Turns {
        fn event(&mut self, _: &Event, release: &Release) {
            let _ = self.0.send(release.turn("b"));
        }
    }

    impl Reporter for Turns {}

    #[test]
    fn a_resumed_release_is_reported_with_its_nodes() {
        let nodes = ["a", "b"].map(|node| serde_json::json!({ "node": node, "will": "update" }));
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml", "playbook": null,
            "nodes": nodes,
            "inputs": { "release": "r", "folder": "", "variables": {}, "artifact": null },
        }});
        let mut so_far = Release::default();
        let started = serde_json::from_value(started).expect("a fact");
        so_far.apply(&event(1, started)).expect("it begins");
        let (told, turns) = mpsc::channel();
        let mut background = Background::new(vec![Box::new(Turns(told))], so_far.outline());
        let resumed = Resumed { actor: "me".into(), ..Resumed::default() };
        background.event(&event(2, EventKind::ReleaseResumed(resumed)), &so_far);
        drop(background);
        assert_eq!(turns.iter().collect::<Vec<_>>(), [(2, 2)]);
    }
}
