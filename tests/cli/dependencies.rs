//! The rules of `deny.toml`, checked with cargo alone: licences, duplicates and sources of all dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::root;

/// What cargo says of the packages that are built on this machine.
fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let target = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(arguments).args(target).current_dir(root()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let nodes = all["resolve"]["nodes"].as_array().expect("a graph");
    let built: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = all["packages"].as_array().expect("packages").iter();
    packages
        .filter(|package| package["id"].as_str().is_some_and(|id| built.contains(id)))
        .cloned()
        .collect()
}

/// The quoted texts of a list in `deny.toml`: the first ones of its lines.
fn list(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("a file");
    let from = text.find(&format!("\n{key} = [\n")).unwrap_or_else(|| panic!("no list `{key}`"));
    let (_, list) = text[from..].split_once("[\n").expect("a list");
    let (list, _) = list.split_once("\n]").expect("its end");
    list.lines().filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a name")
}

/// Splits an expression at a word outside its brackets.
fn split<'a>(expression: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && expression[at..].starts_with(word) => {
                parts.push(&expression[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

/// Whether the licences of an expression are enough.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim();
    let inner = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    split(expression, " OR ").iter().any(|all| match split(all, " AND ").as_slice() {
        [one] if *one == expression => inner.map_or_else(
            || allowed.iter().any(|licence| licence == expression),
            |inner| is_allowed(inner, allowed),
        ),
        all => all.iter().all(|one| is_allowed(one, allowed)),
    })
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = list("allow");
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none").replace('/', " OR ");
        assert!(is_allowed(&licence, &allowed), "{}: {licence}", name(&package));
    }
    let mit = ["MIT".to_owned()];
    assert!(
        is_allowed("(MIT OR Zlib) AND MIT", &mit) && is_allowed("GPL-3.0 AND ISC OR MIT", &mit)
    );
    assert!(!is_allowed("(MIT OR Zlib) AND ISC", &mit) && !is_allowed("MIT AND ISC", &mit));
}

#[test]
fn own_licence_is_that_of_the_licence_files() {
    for package in packages().iter().filter(|package| name(package).starts_with("rollgate")) {
        assert_eq!(package["license"], "MIT OR Apache-2.0", "{}", name(package));
    }
    for (file, says) in
        [("LICENSE-MIT", "Permission is hereby granted"), ("LICENSE-APACHE", "Version 2.0")]
    {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        assert!(text.contains(says), "{file}");
    }
}

#[test]
fn no_dependency_is_built_in_two_versions_unless_it_is_listed() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let version = package["version"].as_str().expect("a version").to_owned();
        versions.entry(name(&package).to_owned()).or_default().insert(version);
    }
    let skipped = list("skip");
    for (name, versions) in &mut versions {
        let is_skipped = |version: &String| {
            skipped.iter().any(|skip| format!("{name}@{version}.").starts_with(&format!("{skip}.")))
        };
        versions.retain(|version| !is_skipped(version));
        assert!(versions.len() < 2, "{name}: {versions:?}");
    }
    for skip in &skipped {
        let (name, _) = skip.split_once('@').expect("a version");
        assert!(versions.contains_key(name), "deny.toml skips {skip}, which is not used");
    }
}

#[test]
fn every_dependency_is_from_the_same_registry() {
    let sources: BTreeSet<_> = packages()
        .iter()
        .filter_map(|package| package["source"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}
