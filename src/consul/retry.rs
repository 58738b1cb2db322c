//! Which of Consul's answers justify a retry, and when.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::world::Reply;

/// What an answer says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is an answer.
    Answered,
    /// It certainly had no effect, and another server or a later attempt may succeed. With the wait that the server
    /// asked for.
    NotDone(Option<Duration>),
    /// It may have had an effect.
    Unknown,
}

/// Classifies an answer.
pub(super) fn verdict(reply: &Reply, now: Timestamp) -> Verdict {
    let text = reply.text();
    let wait = reply.header("retry-after").map(str::trim);
    match reply.status {
        // Rate limits, of Consul or of proxies in front of it: the request was rejected.
        429 => Verdict::NotDone(wait.and_then(|wait| duration(wait, now))),
        503 if wait.is_some() => Verdict::NotDone(wait.and_then(|wait| duration(wait, now))),
        // During an election nothing is even proposed.
        _ if text.contains("No cluster leader") => Verdict::NotDone(None),
        // "Invalid session" is an answer, although its status is an error.
        500.. if !text.contains("invalid session") => Verdict::Unknown,
        _ => Verdict::Answered,
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn duration(wait: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = wait.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(wait).ok()?;
    Duration::try_from(until.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>, body: &str) -> Verdict {
        let headers = retry_after.map(|wait| ("retry-after".to_owned(), wait.to_owned()));
        let headers = headers.into_iter().collect();
        verdict(
            &Reply { status, headers, body: body.into(), ..Reply::default() },
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn rate_limit_and_retry_after_mean_no_effect() {
        let seconds = |seconds| Verdict::NotDone(Some(Duration::from_secs(seconds)));
        assert_eq!(judged(429, None, "rate limit exceeded"), Verdict::NotDone(None));
        assert_eq!(judged(429, Some("7"), ""), seconds(7));
        assert_eq!(judged(503, Some(" 2 "), ""), seconds(2));
        let in_a_minute = "Thu, 01 Jan 1970 00:01:00 GMT";
        assert_eq!(judged(503, Some(in_a_minute), ""), seconds(60));
        for odd in ["soon", "", "-1", "Thu, 01 Jan 1960 00:00:00 GMT"] {
            assert_eq!(judged(503, Some(odd), ""), Verdict::NotDone(None), "{odd}");
        }
        assert_eq!(judged(500, None, "No cluster leader"), Verdict::NotDone(None));
    }

    #[test]
    fn other_5xx_answers_mean_unknown_effect() {
        for status in [500, 502, 503, 504] {
            assert_eq!(judged(status, None, ""), Verdict::Unknown, "{status}");
        }
        for (status, body) in [(200, ""), (404, ""), (409, ""), (403, ""), (500, "invalid session")]
        {
            assert_eq!(judged(status, None, body), Verdict::Answered, "{status} {body}");
        }
    }
}
