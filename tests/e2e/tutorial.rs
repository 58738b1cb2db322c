//! The tutorial: its commands run in order, in one shell and without root, and print what the page shows.

use std::fs;
use std::process::Command;

use regex::Regex;

use crate::harness::rollgate;

const PAGE: &str = include_str!("../../docs/tutorial.md");

/// Makes a network, processes and a folder /var/tmp of its own, so that the page's ports and paths are free. `$1` is the
/// script, `$2` rollgate.
const ALONE: &str = "set -e; ip link set lo up; mount -t tmpfs -o mode=1777 tutorial /var/tmp; \
    mkdir /var/tmp/bin; cp \"$2\" /var/tmp/bin/rollgate; cp \"$1\" /var/tmp/script; chmod -R a+rX /var/tmp/bin /var/tmp/script; \
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
    env -i HOME=/var/tmp PATH=/var/tmp/bin:/usr/bin:/bin bash /var/tmp/script 2>&1";

/// Blocks of commands, each with what the page shows of its output.
fn blocks() -> Vec<(String, Vec<String>)> {
    let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
    let mut parts = PAGE.split("\n```");
    parts.next();
    while let (Some(block), _) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').expect("a block");
        match language {
            "sh" => blocks.push((text.to_owned(), Vec::new())),
            "text" => {
                let (_, shown) = blocks.last_mut().expect("commands before their output");
                shown.extend(text.lines().map(str::to_owned));
            }
            other => panic!("a block of `{other}`"),
        }
    }
    blocks
}

/// A line of the page; `…` is any text.
fn pattern(line: &str) -> Regex {
    let parts: Vec<_> = line.trim().split('…').map(regex::escape).collect();
    Regex::new(&format!("^\\s*{}$", parts.join(".*"))).expect("a pattern")
}

#[test]
fn commands_of_the_tutorial_print_what_it_shows() {
    let blocks = blocks();
    assert!(blocks.len() > 8, "commands were found");
    let mut script = "set -eu\n".to_owned();
    for (commands, _) in &blocks {
        script += &format!("{commands}\nprintf '\\n@@@\\n'\n");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script");
    fs::write(&file, script).expect("a script");
    let namespaces = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        ALONE,
        "sh",
    ];
    let output = Command::new("unshare").args(namespaces).arg(&file).arg(rollgate()).output();
    let output = output.expect("unshare runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{printed}{errors}");
    assert!(output.status.success(), "{printed}{errors}");
    let printed: Vec<_> = printed.split("\n@@@\n").collect();
    for ((commands, shown), printed) in blocks.iter().zip(printed) {
        let mut lines = printed.lines();
        for line in shown {
            let wanted = pattern(line);
            assert!(
                lines.any(|line| wanted.is_match(line)),
                "`{line}` is missing after\n{commands}\nin\n{printed}"
            );
        }
        let other = printed.lines().find(|line| {
            let cells: Vec<_> = line.split_whitespace().collect();
            matches!(cells[..], [count, code] if count.parse::<u32>().is_ok() && code.len() == 3 && code != "200")
        });
        assert_eq!(other, None, "a request failed");
    }
}
