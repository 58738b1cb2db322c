//! Formats text for people: durations, plurals, sizes, and safe display of foreign text.

use std::time::Duration;

use crate::secret::{self, Cut};

/// Renders a duration: `350ms`, `4.2s`, `48s`, `1m31s`, `2h05m`, `3d04h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = (millis + 500) / 1000;
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..9_950 if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        1_000..9_950 => format!("{}.{}s", (millis + 50) / 1000, (millis + 50) % 1000 / 100),
        _ if seconds < 60 => format!("{seconds}s"),
        _ if seconds < 3600 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ if seconds < 3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds < 2 * 86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Renders the time from one moment to another, in whole seconds. Clocks differ: it is never negative.
#[must_use]
pub fn elapsed(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds.unsigned_abs() {
        0 => "0s".to_owned(),
        seconds => duration(Duration::from_secs(seconds)),
    }
}

/// Times up to this are shown in seconds, as limits are written in a playbook.
const IN_SECONDS: u64 = 120;

/// Renders a time in whole seconds, as limits are written in a playbook: `0s`, `90s`, `2m30s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..=IN_SECONDS => format!("{seconds}s"),
        seconds => duration(Duration::from_secs(seconds)),
    }
}

/// Renders a time and its limit, if it has one: `4s of 120s`.
#[must_use]
pub fn of_limit(time: Duration, limit: Option<Duration>) -> String {
    match limit {
        Some(limit) => format!("{} of {}", seconds(time), seconds(limit)),
        None => seconds(time),
    }
}

/// Renders a count with its noun: `1 node`, `3 nodes`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Keeps at most `most` items and counts the others: `and 4 more`.
#[must_use]
pub fn few(items: impl IntoIterator<Item = String>, most: usize) -> Vec<String> {
    let mut items: Vec<_> = items.into_iter().collect();
    let more = items.len().saturating_sub(most);
    items.truncate(most);
    items.extend((more > 0).then(|| format!("and {more} more")));
    items
}

/// The largest number of nodes or gateways named in a line.
pub const NAMES_TOLD: usize = 8;

/// How many of many names a sentence has.
pub const NAMED: usize = 3;

/// Names the first of `all` things: `a, b, c and 4 more`.
#[must_use]
pub fn first_of<'a>(names: impl IntoIterator<Item = &'a str>, all: usize) -> String {
    let names: Vec<_> = names.into_iter().take(NAMED).map(|name| line(name, 60)).collect();
    match all.saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Lists each problem and what has it in brackets; empty without problems.
#[must_use]
pub fn because(problems: &[(Vec<&str>, &str)]) -> String {
    let told = problems.iter().filter(|(names, _)| !names.is_empty());
    let told: Vec<_> = told.map(|(names, what)| format!("{} {what}", names.join(", "))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) }
}

/// Renders a size in binary units: `812 B`, `38.2 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "one decimal of a size needs no more")]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Renders an ordinal: `1st`, `2nd`, `3rd`, `11th`.
#[must_use]
pub fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// Whether a character is invisible or has an effect: it moves the cursor or changes the terminal, breaks a
/// line, or changes the text direction. Each of them can make a line misleading.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    );
    character.is_control() || invisible
}

/// Makes foreign text safe to print: secrets are hidden, and control characters, including escape sequences,
/// become spaces.
#[must_use]
pub fn harmless(text: &str) -> String {
    clean(&secret::hide(text))
}

/// Makes a page of rollgate with foreign text in it safe to print: only its line breaks stay.
#[must_use]
pub fn page(text: &str) -> String {
    secret::hide(text).split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// How much of a text is read to make one line of it.
const LOOKED_AT: usize = 64 * 1024;

/// Returns the last line that is not blank, where programs usually report their error.
#[must_use]
pub fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| !line.trim().is_empty())
}
/// Makes foreign text one short harmless line of at most `limit` characters.
///
/// Secrets are hidden first: after a cut, or after white space is joined, the rest of a secret is no longer
/// found.
#[must_use]
pub fn line(text: &str, limit: usize) -> String {
    let start = cut(text, LOOKED_AT);
    let is_cut = text.len() > LOOKED_AT;
    let joined = clean(&start).split_whitespace().collect::<Vec<_>>().join(" ");
    let joined = secret::hide(&joined);
    if joined.chars().count() <= limit && !is_cut {
        return joined;
    }
    joined.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// Returns the start of a text, of at most `bytes` bytes, without a secret or a part of one at its end.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return secret::hide(text);
    }
    let whole = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=bytes).rev().find(whole).unwrap_or_default();
    secret::hide_cut(&text[..end], Cut::Back)
}

fn clean(text: &str) -> String {
    text.chars().map(|character| if is_harmful(character) { ' ' } else { character }).collect()
}

/// Returns the candidate that `name` was most likely meant to be.
#[must_use]
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. For short words with one typo it is higher than their few common letters suggest.
fn likeness(name: &str, other: &str) -> f64 {
    let short = (3..=5).contains(&name.len()) && name.len().abs_diff(other.len()) <= 1;
    let slip = short && strsim::osa_distance(name, other) == 1;
    strsim::jaro_winkler(name, other).max(if slip { 0.85 } else { 0.0 })
}

/// Returns foreign text for a message: one short line without characters that move a cursor.
pub(crate) fn quoted(value: &str) -> String {
    line(&secret::literal::mask(value), 60)
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [
            (350, "350ms"),
            (2000, "2s"),
            (4204, "4.2s"),
            (9949, "9.9s"),
            (9951, "10s"),
            (47_600, "48s"),
            (60_000, "1m"),
            (91_000, "1m31s"),
            (7_500_000, "2h05m"),
            (176_400_000, "2d01h"),
        ];
        for (millis, expected) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(line("\x1b[2Ja\r\nb  c", 80), "[2Ja b c");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(harmless("a\u{9b}31mb\u{202e}c\u{2066}d\u{2028}e\u{7f}f"), "a 31mb c d e f");
        assert_eq!(page("a\x1b[2Jb\r\n\u{9d}c\n"), "a [2Jb \n c\n");
    }

    #[test]
    fn no_part_of_a_secret_is_left_by_a_cut_or_by_joined_white_space() {
        let token = "k33p-th1s-qu1et-0123456789";
        let phrase = "a  pass\tphrase of many words";
        secret::remember([token, phrase].map(secret::Secret::new), []);
        let padding = "x".repeat(170);
        assert_eq!(line(&format!("{padding} {token}"), 180), format!("{padding} ***"));
        assert_eq!(line(&format!("{padding} {token}"), 172), format!("{padding} …"));
        let blank = " ".repeat(LOOKED_AT - 12);
        assert_eq!(line(&format!("{blank}{token}"), 80), "***…");
        assert_eq!(line(&format!("say {phrase}"), 80), "say ***");
        assert_eq!(line("say a pass phrase of many words", 80), "say ***");
        assert_eq!(harmless(&format!("{phrase}\x07")), "*** ");
        assert_eq!(page(&format!("a\n{phrase}\n")), "a\n***\n");
    }

    #[test]
    fn a_typo_finds_its_word() {
        assert_eq!(did_you_mean("timeoout", ["run", "timeout", "sudo"]), Some("timeout"));
        assert_eq!(did_you_mean("evn", ["env", "file"]), Some("env"));
        assert_eq!(did_you_mean("zzz", ["run", "timeout"]), None);
    }

    #[test]
    fn counts_sizes_and_ordinals() {
        assert_eq!((count(1, "node"), count(0, "node")), ("1 node".into(), "0 nodes".into()));
        assert_eq!((size(812), size(40_055_603)), ("812 B".into(), "38.2 MiB".into()));
        assert_eq!([1, 2, 3, 4, 11, 21].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "21st"]);
    }
}
