//! An HTTP request that is sent from the machine itself, for what listens there only.
//!
//! `curl` reads its settings from standard input: headers may be secret, and command lines can be seen by everybody.

use std::time::Duration;

use crate::shell::quote;

/// Exit status when the machine has no `curl`.
pub const NO_CURL: i32 = 69;

pub(super) fn script(method: &str, url: &str, timeout: Duration) -> String {
    // An HTTP proxy of the machine's is for others, and so is whatever its users have set for curl (`--disable`).
    format!(
        "command -v curl >/dev/null || {{ echo 'curl is not installed' >&2; exit {NO_CURL}; }}; \
         exec curl --disable --config - --silent --show-error --include --http1.1 --globoff --noproxy '*' \
         --max-time {seconds} --request {method} --url {url}",
        seconds = timeout.as_secs().max(1),
        url = quote(url),
    )
}
