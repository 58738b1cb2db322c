//! The screen of an operator: the lines that a command prints without a terminal, as in the log of a CI job.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rollgate::engine::Sink;
use rollgate::release::{Event, Release};
use rollgate::report::ci::Ci;
use rollgate::report::{Plain, Reporter};

/// What one command has printed.
pub(crate) struct Screen {
    text: Arc<Mutex<String>>,
    plain: Plain,
    /// When the reporter last heard the clock.
    ticked: Option<Timestamp>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let printed = text.clone();
        let print = move |line: &str| {
            *printed.lock().unwrap_or_else(PoisonError::into_inner) += line;
        };
        let plain = Plain::to(Box::new(print), false, false, Ci::Plain).in_zone(TimeZone::UTC);
        Self { text, plain, ticked: None }
    }

    pub(crate) fn print(&self, text: &str) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) += text;
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Screen {
    /// The reporter hears the seconds since the last event first.
    fn event(&mut self, event: &Event, release: &Release) {
        let mut now = self.ticked.unwrap_or(event.at);
        while now < event.at {
            self.plain.tick(now, release);
            now += std::time::Duration::from_secs(1);
        }
        self.ticked = Some(now);
        self.plain.event(event, release);
    }
}
