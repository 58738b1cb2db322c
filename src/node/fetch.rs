//! An HTTP request that the machine itself sends, for services that listen only there.
//!
//! `curl` reads its settings from standard input: headers may be secret, and every user can see command
//! lines.

use std::time::Duration;

use crate::shell::assign;

/// Exit status when `curl` is not installed.
pub const NO_CURL: i32 = 69;

pub(super) fn script(method: &str, url: &str, timeout: Duration) -> String {
    let variables = assign(&[
        ("method", method),
        ("url", url),
        ("seconds", &timeout.as_secs().max(1).to_string()),
        ("no_curl", &NO_CURL.to_string()),
    ]);
    variables + include_str!("scripts/fetch.sh")
}
