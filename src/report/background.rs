//! Reporters on a thread of their own: a terminal that takes no more, a reader that stalls, cannot hold up a
//! release or its signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::engine::Sink;
use crate::release::Release;
use crate::release::{Event, Fact};

/// Progress is left out while so many events wait.
const BACKLOG: usize = 256;

/// How long the last events may take to be told.
const FLUSH: Duration = Duration::from_secs(2);

/// Reporters behind a queue. They fold the events themselves and so see the same state.
pub struct Background {
    events: Option<mpsc::Sender<Event>>,
    waiting: Arc<AtomicUsize>,
    done: mpsc::Receiver<()>,
}

impl Background {
    /// Lets `sinks` hear of events from now on.
    #[must_use]
    pub fn new(mut sinks: Vec<Box<dyn Sink>>) -> Self {
        let (events, received) = mpsc::channel::<Event>();
        let (finished, done) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        thread::spawn(move || {
            let mut release = Release::default();
            for event in received {
                counter.fetch_sub(1, Ordering::Relaxed);
                // What the engine has recorded can follow; a reporter has nobody to complain to.
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
        let progress = matches!(event.fact, Fact::StepProgress { .. });
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

/// Says something, and goes on after a moment even if nobody takes it.
pub(crate) fn say_in_time(text: String) {
    let (finished, done) = mpsc::channel();
    thread::spawn(move || {
        super::say(&text);
        let _ = finished.send(());
    });
    let _ = done.recv_timeout(FLUSH);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    fn event(seq: u64, fact: Fact) -> Event {
        Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "r".into(),
            node: None,
            step: None,
            fact,
        }
    }

    /// Hears everything, but only after somebody lets it.
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
    fn a_stalled_reporter_holds_nobody_up_and_loses_only_progress() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().expect("lock");
        let (heard, told) = mpsc::channel();
        let mut background = Background::new(vec![Box::new(Slow { gate: gate.clone(), heard })]);
        let release = Release::default();
        for seq in 1..=2000 {
            let progress =
                Fact::StepProgress { message: String::new(), in_flight: None, deadline_s: None };
            background.event(&event(seq, progress), &release);
        }
        let warning = Fact::Warning { message: "last".into() };
        background.event(&event(2001, warning), &release);
        let begun = Instant::now();
        drop(background);
        assert!(begun.elapsed() >= FLUSH, "it had its chance");
        drop(closed);
        let all: Vec<_> = told.iter().collect();
        assert_eq!(all.last(), Some(&2001));
        assert!(all.len() < 2000, "{} were queued", all.len());
    }
}
