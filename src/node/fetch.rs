//! An HTTP request that is sent from the machine itself, for what listens there only.
//!
//! `curl` reads its settings from standard input: headers may be secret, and command lines can be seen by everybody.

use std::time::Duration;

use crate::shell::assign;

/// Exit status when the machine has no `curl`.
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
