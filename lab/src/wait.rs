//! Waiting for a condition, with a deadline and a name for the error.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(10);

/// Repeats `probe` until it returns a value, fails, or `limit` is over; returns the value.
///
/// # Errors
///
/// If the probe fails, or the limit is over. The second error names `what` was waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("timed out after {limit:?}: waited for {what}");
        }
        thread::sleep(PAUSE);
    }
}
