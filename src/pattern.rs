//! Searches texts of other programs with patterns of the playbook.
//!
//! One search is linear in the text for every pattern, but finding all matches is not: if each search runs to
//! the end of the text, a hostile text takes minutes. So matches have a time limit, and a large text is
//! searched on another thread, where it delays neither signals nor the lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::{Captures, Regex, RegexBuilder};

use crate::text;

/// The memory limit of a compiled pattern, and of its search state.
const LARGEST: usize = 1024 * 1024;

/// A text up to this size is searched on the current thread, in about a millisecond.
const SMALL: usize = 16 * 1024;

/// Time limit for all matches in one text.
const TIME: Duration = Duration::from_secs(1);

/// How long after its time limit a search on another thread is abandoned: its last match may take a moment.
const GRACE: Duration = Duration::from_secs(1);

/// Compiled patterns are kept: compiling costs more than searching a short text, and the same few patterns
/// are used again.
static COMPILED: Mutex<BTreeMap<String, Pattern>> = Mutex::new(BTreeMap::new());

/// How many patterns stay compiled.
const MOST_COMPILED: usize = 64;

/// A regular expression.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// Gives the reason in one line.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(pattern) {
            return Ok(known.clone());
        }
        let new = Self::compile(pattern)?;
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), new.clone());
        Ok(new)
    }

    fn compile(pattern: &str) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(pattern);
        let built = builder.size_limit(LARGEST).dfa_size_limit(LARGEST).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last of several lines gives the reason; those before show the place.
            error => {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default();
                text::line(last.trim_start_matches("error: "), 120)
            }
        })
    }

    /// Returns whether it matches anywhere in a short text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// How many groups it has, without the whole match.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.captures_len() - 1
    }

    /// Returns whether it has a group of that name.
    #[must_use]
    pub fn has_group(&self, name: &str) -> bool {
        self.0.capture_names().flatten().any(|group| group == name)
    }

    /// Passes on every match in a text.
    ///
    /// # Errors
    ///
    /// The first error of `found`, or that the search takes too long.
    pub fn each<'t>(
        &self,
        text: &'t str,
        mut found: impl FnMut(&Captures<'t>) -> Result<(), String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        for captures in self.0.captures_iter(text) {
            found(&captures)?;
            if begun.elapsed() > TIME {
                return Err(too_long(text.len()));
            }
        }
        Ok(())
    }
}

/// Runs a search of a text of `size`: on this thread if it is small, otherwise on its own thread with a time
/// limit.
///
/// # Errors
///
/// When the search takes too long or crashes.
pub async fn search<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    if size <= SMALL {
        return Ok(work());
    }
    let thread = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(TIME + GRACE, thread).await {
        Ok(result) => result.map_err(|error| format!("the search crashed: {error}")),
        Err(_) => Err(too_long(size)),
    }
}

fn too_long(size: usize) -> String {
    let size = text::size(size as u64);
    format!("searching {size} with the pattern takes more than {}", text::duration(TIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_compiled_or_refused_in_one_line() {
        assert!(Pattern::new(r"^\d+$").expect("a pattern").matches("12"));
        assert_eq!(Pattern::new("a(b").map(|_| ()), Err("unclosed group".to_owned()));
        assert_eq!(Pattern::new(r"(\w{500}){500}").map(|_| ()), Err("it is too large".to_owned()));
        let pattern = Pattern::new("(?<address>x)(y)").expect("a pattern");
        assert_eq!((pattern.groups(), pattern.has_group("address")), (2, true));
        assert!(!pattern.has_group("routed"));
    }

    /// Each match searches for `up` to the end of the text.
    fn hostile() -> (Pattern, String) {
        let pattern = r#""addr":"(?<address>[^"]+)"(?:[^}]*"state":"(?<routed>up)")?"#;
        let text = "\"addr\":\"127.91.52.11:9000\",".repeat(1024 * 1024 / 27);
        (Pattern::new(pattern).expect("a pattern"), text)
    }

    #[test]
    fn search_for_matches_has_a_time_limit() {
        let (pattern, text) = hostile();
        let error = pattern.each(&text, |_| Ok(())).expect_err("it takes minutes");
        assert!(error.contains("takes more than 1s"), "{error}");
        let mut count = 0;
        let all = pattern.each(&text[..27 * 100], |_| {
            count += 1;
            Ok(())
        });
        assert_eq!((all, count), (Ok(()), 100));
    }

    #[tokio::test]
    async fn large_search_delays_nothing_else() {
        let (pattern, text) = hostile();
        let search = search(text.len(), move || pattern.each(&text, |_| Ok(())));
        let ticks = async {
            let mut ticks = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                ticks += 1;
                if ticks == 20 {
                    return ticks;
                }
            }
        };
        let (result, ticks) = tokio::join!(search, ticks);
        assert!(result.is_err() || result.is_ok_and(|found| found.is_err()));
        assert_eq!(ticks, 20);
    }
}
