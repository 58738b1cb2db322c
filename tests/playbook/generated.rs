//! Corrupt and arbitrary files: nothing panics, and the schema and the types agree.

use proptest::prelude::*;
use rollgate::diagnostic::render;
use rollgate::playbook::load_text;

use crate::SMALLEST;

/// Replaces the values of keys in some lines of a file; the result may be invalid or still valid.
fn spoil(text: &str, edits: &[(usize, usize)]) -> String {
    const VALUES: [&str; 20] = [
        "",
        "~",
        "5",
        "-1",
        "'5'",
        "yes",
        "true",
        "30s",
        "25%",
        "[]",
        "{}",
        "[1, 2]",
        "{ a: b }",
        "1.20",
        "99999999999999999999",
        "{ run: x, timeout: 3s }",
        "'${{ a }}'",
        "gateways",
        "[drain, { run: x }]",
        "{ http: { url: http://a/, pointer: /a } }",
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (line, choice) in edits {
        let index = line % lines.len();
        let line = lines[index].clone();
        let keys: Vec<_> = line.match_indices(": ").map(|(at, _)| at).collect();
        let Some(at) = keys.get(choice % keys.len().max(1)) else {
            continue;
        };
        let end = line[at + 2..].find([',', '}']).map_or(line.len(), |end| at + 2 + end);
        let end = if line[at + 2..].starts_with(['\'', '{', '[']) { line.len() } else { end };
        let value = VALUES[choice % VALUES.len()];
        lines[index] = format!("{}: {value} {}", &line[..*at], &line[end..]);
    }
    lines.join("\n")
}

/// A valid file that uses most keys.
pub(crate) const RICH: &str = include_str!("../fixtures/playbooks/rich.yaml");

#[test]
fn a_file_with_most_keys_is_valid() {
    let loaded = load_text("rich.yaml", RICH).unwrap_or_else(|invalid| panic!("{invalid}"));
    let again = serde_json::to_value(&loaded.playbook).expect("it can be written");
    let again = serde_json::from_value(again).expect("what was written can be read");
    assert_eq!(loaded.playbook, again);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn file_that_matches_the_schema_is_accepted_by_the_types(
        edits in prop::collection::vec((0_usize..1000, 0_usize..1000), 1..4),
        smallest in any::<bool>(),
    ) {
        let text = spoil(if smallest { SMALLEST } else { RICH }, &edits);
        if let Err(invalid) = load_text("app.yaml", text.as_str()) {
            // The schema and the types disagree when only the types refuse the file.
            let disagree = invalid.problems.iter().any(|problem| problem.message.contains("not a playbook"));
            prop_assert!(!disagree, "{}\n{}", invalid, text);
            prop_assert!(!invalid.problems.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(invalid) = load_text("app.yaml", text) {
            let shown = render(&invalid, false);
            let safe = shown.chars().all(|shown| shown == '\n' || !shown.is_control());
            prop_assert!(safe, "{:?}", shown);
        }
    }

    #[test]
    fn no_broken_playbook_makes_the_reader_panic(
        at in 0_usize..2000,
        junk in r"[ \t\n:,\[\]{}#&*!|>'$~é-]{0,6}",
        cut in 0_usize..20,
    ) {
        let mut text = RICH.to_owned();
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((start + cut).min(text.len()));
        text.replace_range(start..end, &junk);
        if let Err(invalid) = load_text("app.yaml", text) {
            prop_assert!(render(&invalid, true).contains("error"));
        }
    }
}
