//! Encodes names as parts of a URL's path, so that a name never leads to another path.
//!
//! Clients, proxies and servers remove an empty part, `.` and `..` from a path, even if written as `%2e%2e`.
//! Such a name is refused because the request would go to another path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text;

/// The characters that stay unchanged in one part of a path.
const PART: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// A name that a path cannot contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a part of a URL")]
pub struct Unfit(String);

/// Encodes a value of a URL's query.
#[must_use]
pub fn value(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// Encodes a name as one part of a path, its slashes included.
///
/// # Errors
///
/// When a part between slashes would lead to another path: many servers read `%2F` as a slash.
pub fn segment(name: &str) -> Result<String, Unfit> {
    if name.split('/').any(leads_elsewhere) { Err(unfit(name)) } else { Ok(value(name)) }
}

/// Encodes a key, whose slashes separate the parts of a path; it may end with one.
///
/// # Errors
///
/// When a part would lead to another path.
pub fn key(key: &str) -> Result<String, Unfit> {
    let inner = key.strip_suffix('/').unwrap_or(key);
    if !key.is_empty() && inner.split('/').any(leads_elsewhere) {
        return Err(unfit(key));
    }
    Ok(key.split('/').map(value).collect::<Vec<_>>().join("/"))
}

/// Encodes a name that a path cannot contain as a name that does not exist.
#[must_use]
pub fn nowhere(name: &str) -> String {
    format!("%25{}", value(&value(name).replace('.', "%2e")))
}

/// Encodes a name as one part of a path, and one that a path cannot contain as a name that does not exist.
#[must_use]
pub fn part(name: &str) -> String {
    segment(name).unwrap_or_else(|_| nowhere(name))
}

fn leads_elsewhere(part: &str) -> bool {
    matches!(part, "" | "." | "..")
}

fn unfit(name: &str) -> Unfit {
    Unfit(text::line(name, 120))
}

/// Returns the `user@host:port` of a URL, or the whole text if it is not a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let mut end = 0;
    // A slash within `${{ … }}` does not end the host.
    while let Some(next) = rest[end..].find(['/', '?', '#', '$']).map(|next| end + next) {
        match rest[next..].starts_with("${{").then(|| rest[next..].find("}}")).flatten() {
            Some(close) => end = next + close + 2,
            None if rest[next..].starts_with('$') => end = next + 1,
            None => return &rest[..next],
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(segment("app-1_a.b~c:80").as_deref(), Ok("app-1_a.b~c:80"));
        assert_eq!(segment("a/b c?d#e%2F\\ä").as_deref(), Ok("a%2Fb%20c%3Fd%23e%252F%5C%C3%A4"));
        for name in ["", ".", "..", "../../../kv/other", "a/../b", "a//b", "/a", "a/", "a/."] {
            let error = segment(name).expect_err("it leads elsewhere").to_string();
            assert_eq!(error, format!("`{name}` cannot be a part of a URL"));
            assert!(!nowhere(name).contains(['/', '.']) && nowhere(name).starts_with("%25"));
        }
    }

    #[test]
    fn key_keeps_its_slashes_and_leads_to_no_other_path() {
        assert_eq!(key("").as_deref(), Ok(""));
        assert_eq!(key("upstreams/app/").as_deref(), Ok("upstreams/app/"));
        assert_eq!(key("upstreams/app/[::1]:80").as_deref(), Ok("upstreams/app/%5B::1%5D:80"));
        for name in ["/", "/a", "a//b", "a/../b", "..", "a/./b", "../", "a//"] {
            assert!(key(name).is_err(), "{name}");
        }
    }
}
