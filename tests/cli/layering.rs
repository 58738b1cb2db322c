//! Rules about what may be named where: the architecture as a list of greps.

use crate::support::{root, sources};

/// Asserts that `word` occurs only in files whose path begins with one of `places`.
#[track_caller]
fn only_in(word: &str, places: &[&str]) {
    let source = root().join("src");
    for file in sources(&source) {
        let path = file.strip_prefix(&source).expect("below src").display().to_string();
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(!line.contains(word), "{path} names `{word}`: {line}");
        }
    }
}

#[test]
fn only_the_world_module_reaches_the_outside() {
    only_in("reqwest", &["world/"]);
    only_in("openssh", &["world/"]);
    only_in("TcpStream", &["world/", "node/sockets.rs"]);
}

/// `world::child` removes the secrets from the environment.
#[test]
fn child_processes_are_started_in_one_place() {
    let source = root().join("src");
    for file in sources(&source) {
        let path = file.strip_prefix(&source).expect("below src").display().to_string();
        let text = std::fs::read_to_string(&file).expect("a source");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        let started =
            code.matches("process::Command").count() + code.matches("Process::new").count();
        let expected = if path == "world/mod.rs" { 2 } else { 0 };
        assert_eq!(started, expected, "{path}");
    }
}

#[test]
fn foreign_json_is_parsed_in_one_place_with_bounded_memory() {
    only_in("json::from_slice(", &["json.rs"]);
    only_in("json::from_reader(", &[]);
}

#[test]
fn command_line_and_terminal_are_used_only_at_the_edge() {
    only_in("clap", &["cli/", "main.rs"]);
    only_in("dialoguer", &["cli/"]);
    only_in("indicatif", &["report/live", "cli/output.rs"]);
    only_in("std::io::stdout", &["report/mod.rs"]);
    only_in("crate::cli", &["cli/", "main.rs"]);
    only_in("crate::report", &["cli/", "report/"]);
}

#[test]
fn pure_modules_use_no_clock_and_no_runtime() {
    for pure in [
        "playbook",
        "plan.rs",
        "spec",
        "suggestions.rs",
        "node",
        "release",
        "gateway/proof.rs",
        "gateway/driver.rs",
        "gateway/drivers",
        "gateway/file.rs",
        "gateway/file",
        "gateway/rotation.rs",
        "gateway/settings.rs",
        "gateway/table.rs",
        "gateway/view.rs",
        "period.rs",
        "template.rs",
        "registry/value.rs",
        "health/streak.rs",
    ] {
        let source = root().join("src").join(pure);
        let files = if source.is_dir() { sources(&source) } else { vec![source] };
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source");
            // Where tests have a file of their own, `mod tests;` is the end of the code.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
            for word in ["tokio", "Instant", "SystemTime", ".await"] {
                assert!(!code.contains(word), "{} names `{word}`", file.display());
            }
        }
    }
    only_in("HashMap", &[]);
}

#[test]
fn journal_values_are_used_only_where_they_are_checked() {
    only_in(
        ".unchecked()",
        &[
            "foreign.rs",
            "release/inputs.rs",
            "release/restore.rs",
            "spec/recorded.rs",
            "spec/restore.rs",
        ],
    );
}

#[test]
fn shell_quoting_happens_in_one_place() {
    for escape in [r#"r"'\''""#, r"'\\''"] {
        only_in(escape, &["shell.rs"]);
    }
    // A value between quotes of the script would end them.
    for folder in ["node", "world", "engine"] {
        for file in sources(&root().join("src").join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            for (at, _) in code.match_indices("'{") {
                let value = code[at + 2..].split('}').next().unwrap_or("");
                assert!(value == "mark", "{} puts `{value}` between quotes", file.display());
            }
        }
    }
}
