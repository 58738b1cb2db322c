//! Real transcripts with cuts, splices, repetitions and worse edits.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// An edit of a transcript; positions are anywhere in it.
#[derive(Debug, Clone)]
enum Edit {
    Cut(Index),
    Remove(Index, Index),
    Double(Index, Index),
    Move(Index, Index),
    Splice(Index, Index),
    Byte(Index, u8),
    Put(Index, &'static str),
    Number(Index, &'static str),
    Nest(Index, u16),
}

/// Fragments that break careless readers.
const JUNK: [&str; 24] = [
    "\0",
    "\n",
    "\r\n",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\u{9b}31m",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "\\u0000",
    "\\ud800",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ";",
    "=",
    "null",
    "../../etc/passwd",
];

const NUMBERS: [&str; 12] = [
    "-1",
    "0",
    "007",
    "1e999",
    "-0.0",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "NaN",
];

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Edit::Cut),
        (at(), at()).prop_map(|(from, to)| Edit::Remove(from, to)),
        (at(), at()).prop_map(|(from, to)| Edit::Double(from, to)),
        (at(), at()).prop_map(|(from, to)| Edit::Move(from, to)),
        (at(), at()).prop_map(|(from, to)| Edit::Splice(from, to)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (at(), select(&JUNK[..])).prop_map(|(at, junk)| Edit::Put(at, junk)),
        (at(), select(&NUMBERS[..])).prop_map(|(at, number)| Edit::Number(at, number)),
        (at(), 0..5000_u16).prop_map(|(at, depth)| Edit::Nest(at, depth)),
    ]
}

/// Foreign bytes, shown as text when a test fails.
#[derive(Clone)]
pub(crate) struct Foreign(pub(crate) Vec<u8>);

impl std::fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One of the transcripts with some edits, or any bytes.
pub(crate) fn bytes(transcripts: &'static [&'static str]) -> impl Strategy<Value = Foreign> {
    let edited = (select(transcripts), select(transcripts), prop::collection::vec(edit(), 0..6))
        .prop_map(|(text, other, edits)| {
            edits
                .iter()
                .fold(text.as_bytes().to_vec(), |bytes, edit| spoil(bytes, other.as_bytes(), edit))
        });
    prop_oneof![
        9 => edited.prop_map(Foreign),
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Foreign),
    ]
}

/// The same as text, with invalid bytes replaced.
pub(crate) fn text(transcripts: &'static [&'static str]) -> impl Strategy<Value = String> {
    bytes(transcripts).prop_map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
}

fn range(bytes: &[u8], from: Index, to: Index) -> std::ops::Range<usize> {
    let (one, other) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
    one.min(other)..one.max(other)
}

fn spoil(mut bytes: Vec<u8>, other: &[u8], edit: &Edit) -> Vec<u8> {
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match edit {
        Edit::Cut(at) => bytes.truncate(place(at, &bytes)),
        Edit::Remove(from, to) => drop(bytes.drain(range(&bytes, *from, *to))),
        Edit::Double(from, to) => {
            let range = range(&bytes, *from, *to);
            let part = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, part);
        }
        Edit::Move(from, to) => {
            let part: Vec<_> = bytes.drain(range(&bytes, *from, *to)).collect();
            let at = place(to, &bytes);
            bytes.splice(at..at, part);
        }
        Edit::Splice(at, from) => {
            bytes.truncate(place(at, &bytes));
            bytes.extend_from_slice(&other[place(from, other)..]);
        }
        Edit::Byte(at, byte) => {
            let at = place(at, &bytes);
            if let Some(old) = bytes.get_mut(at) {
                *old = *byte;
            }
        }
        Edit::Put(at, junk) => {
            let at = place(at, &bytes);
            bytes.splice(at..at, junk.bytes());
        }
        Edit::Number(at, number) => {
            let start = place(at, &bytes);
            if let Some(start) =
                bytes[start..].iter().position(u8::is_ascii_digit).map(|at| start + at)
            {
                let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(start..start + digits, number.bytes());
            }
        }
        Edit::Nest(at, depth) => {
            let at = place(at, &bytes);
            let open = [b'[', b'{', b'"', b'('][usize::from(depth % 4)];
            bytes.splice(at..at, std::iter::repeat_n(open, usize::from(*depth)));
        }
    }
    // Further doubling would cover nothing new.
    bytes.truncate(64 * 1024);
    bytes
}

/// Asserts that a message may be printed as it is.
#[track_caller]
pub(crate) fn assert_printable(message: &str) {
    assert_eq!(message, rollgate::text::harmless(message));
    assert!(message.len() < 5000, "{} bytes: {}", message.len(), &message[..200]);
}

/// The number of cases for each property, unless the environment sets it.
pub(crate) fn cases(number: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    let cases = if asked { default.cases } else { number };
    ProptestConfig { failure_persistence: None, cases, ..default }
}
