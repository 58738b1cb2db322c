//! Names the commit of a release build, for `--version`. The same source gives the same text, in every folder and at
//! every time.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How much of a commit's hash is shown.
const SHOWN: usize = 10;

/// A source archive made by `git archive` has the commit in this file.
const ARCHIVED: &str = "scripts/commit";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ARCHIVED}");
    // While developing, each commit would cause a new build of everything.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = is_release.then(|| archived().or_else(checked_out)).flatten();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let (version, date) = match commit {
        Some((hash, date)) => (format!("{version} ({hash} {date})"), date),
        None => (version, String::new()),
    };
    println!("cargo::rustc-env=ROLLGATE_VERSION={version}");
    println!("cargo::rustc-env=ROLLGATE_DATE={date}");
}

/// The commit of a source archive. In a repository, the file has only the names of what git fills in.
fn archived() -> Option<(String, String)> {
    parse(&fs::read_to_string(ARCHIVED).ok()?)
}

/// The commit of the repository that this folder is.
fn checked_out() -> Option<(String, String)> {
    // Not the commit of another repository into which the source was unpacked.
    if !Path::new(".git").exists() {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={}", log.trim());
    parse(&git(&["log", "-1", "--format=%H %cs"])?)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

/// Reads `HASH YYYY-MM-DD`.
fn parse(text: &str) -> Option<(String, String)> {
    let (hash, date) = text.trim().split_once(' ')?;
    let hash = hash.get(..SHOWN)?;
    let is_hash = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_date =
        date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    (is_hash && is_date).then(|| (hash.to_owned(), date.to_owned()))
}
