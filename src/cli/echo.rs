//! The terminal's echo. It is off while a view redraws itself. Otherwise, each typed `^C` or line break would move the
//! cursor below the view, and the first line of the view would remain on the screen.

use std::sync::Mutex;

use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal's settings before the echo was turned off.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Typed text is not shown while this exists.
#[derive(Debug)]
pub(super) struct EchoGuard(());

impl EchoGuard {
    /// Turns the echo off if stderr is a terminal and this process is in its foreground.
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

/// Restores the terminal. An immediate exit calls this, too.
pub(super) fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut kept| kept.take());
    if let Some(before) = before.filter(|_| in_foreground()) {
        let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
    }
}

/// The terminal stops a background job that changes its settings.
fn in_foreground() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}
