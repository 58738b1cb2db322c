//! Reading: hostile texts end quickly and clearly, and places are correct.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::playbook::tree::Kind;

/// How reading a text ends. The guard against hanging is far above the usual time.
fn end_of_reading(text: String) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut findings = Findings::default();
        let tree = parse(&text, &mut findings);
        let (problems, _) = findings.into_parts();
        let last = problems.last().map(|problem| problem.message.clone());
        sender.send(last.unwrap_or_else(|| format!("tree: {}", tree.is_some())))
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("reading ends")
}

fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..=9 {
        let names = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(text, "a{level}: &a{level} [{names}]").expect("text can grow");
    }
    text
}

#[test]
fn hostile_files_end_with_a_clear_error() {
    let deep = "lists and maps nested more than 64 deep";
    let many = "more than 500000 values";
    let steps = (0..1300).map(|depth| " ".repeat(depth) + "a:\n").collect();
    let wide = (0..300_000).map(|number| ["k", &number.to_string(), ": 1\n"].concat()).collect();
    let long = format!("a: &a '{}'\nb: [{}]", "x".repeat(900_000), "*a,".repeat(9000));
    let cases: [(String, &str); 19] = [
        ("[".repeat(200_000), deep),
        ("{a: ".repeat(200_000), deep),
        ("- ".repeat(500_000), deep),
        ("? ".repeat(500_000), deep),
        (steps, deep),
        (bomb(), "more than 500000 values, counting what aliases repeat"),
        (long, "more than 16 MiB of text, counting what aliases repeat"),
        (wide, many),
        (format!("{}{}", "[".repeat(60), "a: b, ".repeat(260_000)), many),
        (format!("{}{}", "[".repeat(254), "a,".repeat(500_000)), "more than 300000 commas"),
        ("x".repeat(1_000_000), "tree: true"),
        ("---\n".repeat(200_000), "a second document starts here"),
        ("a: &a [*a]".into(), "an alias inside its own anchor"),
        ("a: *b".into(), "an alias (`*name`) without its anchor (`&name`)"),
        ("a:\n\tb: 1".into(), "a tab where YAML wants spaces"),
        ("a: !!str 5".into(), "tags like `!name` mean nothing in a playbook"),
        ("[a]: 5".into(), "a list or map cannot be a key"),
        ("a: &a {b: 1}\nc: { <<: *a }".into(), "merge keys (`<<`) are not supported"),
        ("a: 1\nb: 2\na: 3".into(), "duplicate key `a`"),
    ];
    for (text, expected) in cases {
        let start: String = text.chars().take(40).collect();
        assert_eq!(end_of_reading(text), expected, "{start}");
    }
}

/// Every scalar of a tree: its text, and the file's text in its place.
fn scalars<'a>(tree: &'a Tree, source: &'a str, found: &mut Vec<(&'a str, &'a str)>) {
    match &*tree.kind {
        Kind::Scalar { text, .. } => found.push((text, &source[tree.span.clone()])),
        Kind::List(items) => items.iter().for_each(|item| scalars(item, source, found)),
        Kind::Map(entries) => {
            for (key, tree) in entries {
                found.push((&key.name, &source[key.span.clone()]));
                scalars(tree, source, found);
            }
        }
    }
}

#[test]
fn places_are_bytes_of_the_file_after_any_text() {
    for line_end in ["\n", "\r\n"] {
        let source = ["# é ☃ 𝄞", "é: ☃", "b: [x, {c: ü}]", "d:", "  - y"].join(line_end);
        let tree = parse(&source, &mut Findings::default()).expect("it is a tree");
        let mut found = Vec::new();
        scalars(&tree, &source, &mut found);
        assert_eq!(found.len(), 8);
        assert!(found.iter().all(|(text, place)| text == place), "{found:?}");
    }
}

#[test]
fn alias_has_the_value_of_its_anchor() {
    let source = "a: &x {b: [1, 2]}\nc: *x\nd: &y z\ne: *y";
    let tree = parse(source, &mut Findings::default()).expect("it is a tree");
    let (same, place, _) = tree.locate("c.b[1]");
    assert_eq!((&source[same.span.clone()], &source[place]), ("2", "2"));
    let (alias, _, path) = tree.locate("e");
    assert_eq!((&source[alias.span.clone()], path), ("*y", "e"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn no_text_makes_it_panic(text in r"([ \t\n\r:,\[\]{}#&*!|>'%@`?<\-a-c0é☃$~.]|\PC){0,80}") {
        let mut findings = Findings::default();
        let tree = parse(&text, &mut findings);
        prop_assert!(tree.is_some() || !findings.into_parts().0.is_empty());
        if let Some(tree) = tree {
            scalars(&tree, &text, &mut Vec::new());
        }
    }
}

#[test]
fn the_depth_is_allowed_up_to_its_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(end_of_reading(nested(64)), "tree: true");
    assert_eq!(end_of_reading(nested(65)), "lists and maps nested more than 64 deep");
    let through_aliases =
        format!("a: &a {}\nb: {}*a{}", nested(40), "[".repeat(24), "]".repeat(24));
    assert_eq!(end_of_reading(through_aliases), "lists and maps nested more than 64 deep");
}
