//! The terminal's echo. While a view redraws itself, what is typed must not be shown: each `^C` or line break would
//! move the cursor under the view, and its first line would stay behind.

use std::sync::Mutex;

use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal as it was, while its echo is off.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Nothing that is typed is shown while this lives.
#[derive(Debug)]
pub(super) struct EchoGuard(());

impl EchoGuard {
    /// Turns the echo off where stderr is a terminal that is ours; elsewhere there is none, or it is not ours to turn.
    pub(super) fn begin() -> Option<Self> {
        let before = tcgetattr(stderr()).ok().filter(|_| in_foreground())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stderr(), OptionalActions::Now, &silent).ok()?;
        if let Ok(mut kept) = BEFORE.lock() {
            *kept = Some(before);
        }
        Some(Self(()))
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was; also for whoever ends the process at once.
pub(super) fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut kept| kept.take());
    if let Some(before) = before.filter(|_| in_foreground()) {
        let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
    }
}

/// A job in the background that turns anything of its terminal is stopped by it.
fn in_foreground() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}
