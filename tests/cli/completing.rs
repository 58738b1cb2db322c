//! Completions, asked for by real shells on a terminal, and by the words that each shell's script sends.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use rollgate::cli::Cli;

use crate::support::{Case, SMALL};

/// A playbook with two nodes, a tag and a variable, a playbook whose name has a space, and files that are none.
fn case() -> Case {
    let playbook = SMALL
        .replace("name: app-1,", "name: app-one, tags: [canary, '$(touch hacked)'],")
        .replace("name: app-2,", "name: app-two,");
    let case = Case::new(&[
        ("app.yaml", playbook.as_bytes()),
        ("my app.yaml", playbook.as_bytes()),
        ("apart.txt", b""),
        ("compose.yaml", b"services: {}\n"),
        (
            "half.yaml",
            b"service: app\nnodes: [{ ssh: u@half-one:22, adress: x }, { name: '$(x)' }]\n",
        ),
        ("torn.yaml", b"service: app\nnodes: [\n"),
    ]);
    for (id, second) in [("1a2b3c4d", 10), ("5e6f7a8b", 20)] {
        let folder = case.folder().join(".rollgate/app").join(id);
        std::fs::create_dir_all(&folder).expect("a folder");
        let journal = include_str!("../fixtures/journals/v1-deploy.jsonl");
        let first = journal.lines().next().expect("a line");
        let mut event: serde_json::Value = serde_json::from_str(first).expect("JSON");
        event["ts"] = format!("2026-01-01T00:00:{second}Z").into();
        std::fs::write(folder.join("journal.jsonl"), format!("{event}\n")).expect("a journal");
    }
    case
}

/// What rollgate answers to a shell: one suggestion per line, with its help.
fn ask(case: &Case, shell: &str, words: &[&str], index: usize) -> String {
    let line = [&["--", "rollgate"], words].concat();
    let mut command = case.command(&line);
    command.env("ROLLGATE_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", (index + 1).to_string());
    let output = command.output().expect("rollgate runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The suggestions for the last word.
fn suggested(words: &[&str]) -> Vec<String> {
    let answer = ask(&case(), "fish", words, words.len() - 1);
    answer.lines().map(str::to_owned).collect()
}

#[test]
fn values_come_from_the_playbook_on_the_line() {
    assert_eq!(suggested(&["deploy", ""]), ["app.yaml", "half.yaml", "my app.yaml", "torn.yaml"]);
    let nodes = ["app-one\t127.0.0.1:9000", "app-two\t127.0.0.2:9000"];
    assert_eq!(suggested(&["node", "out", "app.yaml", ""]), nodes);
    assert_eq!(suggested(&["node", "in", "app.yaml", "app-two", ""]), nodes[..1]);
    let tag = "canary\ttag of 1 node";
    assert_eq!(suggested(&["plan", "app.yaml", "--only", ""]), [nodes[0], nodes[1], tag]);
    assert_eq!(
        suggested(&["plan", "app.yaml", "--skip", "app-one,c"]),
        ["app-one,canary\ttag of 1 node"]
    );
    assert_eq!(suggested(&["deploy", "app.yaml", "--var", ""]), ["version=\trequired"]);
}

#[test]
fn releases_are_suggested_with_the_newest_first() {
    let releases = suggested(&["rollback", "app.yaml", ""]);
    let (ids, helps): (Vec<_>, Vec<_>) =
        releases.iter().map(|line| line.split_once('\t').expect("help")).unzip();
    assert_eq!(ids, ["5e6f7a8b", "1a2b3c4d"]);
    assert!(helps[0].starts_with("deploy 1 -> 2, ") && helps[0].ends_with(" ago"), "{helps:?}");
    let elsewhere = ["--state-dir", "elsewhere", "resume", "app.yaml", ""];
    assert!(!suggested(&elsewhere).iter().any(|line| line.contains("deploy")));
}

#[test]
fn playbook_after_the_cursor_counts() {
    let answer = ask(&case(), "bash", &["node", "out", "--reason", "x", "app.yaml", "app-o"], 5);
    assert_eq!(answer, "app-one");
    let answer = ask(&case(), "bash", &["deploy", "--only", "", "app.yaml"], 2);
    assert!(answer.contains("app-one") && answer.contains("canary"), "{answer}");
}

#[test]
fn wrong_playbook_gives_fewer_suggestions_and_no_message() {
    assert_eq!(suggested(&["node", "out", "half.yaml", ""]), ["half-one"]);
    for file in ["torn.yaml", "missing.yaml", ".", "compose.yaml", "/dev/zero"] {
        let lines = suggested(&["node", "out", file, "a"]);
        assert_eq!(lines, [""; 0], "{file}");
    }
    for words in [&["nonsense", "--what", ""][..], &["deploy", "app.yaml", "--only"], &[]] {
        ask(&case(), "bash", words, 9);
    }
}

/// Asserts that each value that a playbook or a journal knows is suggested, below a command.
fn assert_suggests(command: &clap::Command) {
    for argument in command.get_arguments() {
        let name = argument.get_value_names().and_then(|names| names.first());
        let has_candidates = argument.get::<ArgValueCandidates>().is_some();
        let suggests = match (argument.get_id().as_str(), name.map_or("", |name| name)) {
            // `init` writes a new file.
            ("file", _) if command.get_name() != "init" => {
                argument.get::<ArgValueCompleter>().is_some()
            }
            (_, "ID" | "NODE" | "NAME=VALUE") => has_candidates,
            _ => true,
        };
        assert!(suggests, "`{}` {argument} has no completion", command.get_name());
    }
    command.get_subcommands().for_each(assert_suggests);
}

#[test]
fn every_command_suggests_playbooks_nodes_variables_and_releases() {
    assert_suggests(&Cli::command());
}

#[test]
fn options_are_suggested_after_a_dash_only() {
    assert!(
        suggested(&["deploy", "app.yaml", "-"]).iter().any(|line| line.starts_with("--only\t"))
    );
    assert!(!suggested(&["deploy", ""]).iter().any(|line| line.starts_with('-')));
}

#[test]
fn every_shell_gets_an_answer_in_its_own_form() {
    let words = ["node", "out", "app.yaml", "app-o"];
    for (shell, answer) in [
        ("bash", "app-one"),
        ("zsh", "app-one:127.0.0.1:9000"),
        ("fish", "app-one\t127.0.0.1:9000\n"),
        ("powershell", "app-one\t127.0.0.1:9000\n"),
        ("elvish", "app-one"),
    ] {
        assert_eq!(ask(&case(), shell, &words, 3), answer, "{shell}");
        let (script, _) = case().exits(0, &["completions", shell]);
        assert!(script.contains("ROLLGATE_COMPLETE") && script.contains("rollgate"), "{script}");
    }
}

#[test]
fn variable_of_completions_does_not_replace_a_command() {
    let case = case().env("ROLLGATE_COMPLETE", "bash");
    let (stdout, _) = case.exits(0, &["check", "app.yaml"]);
    assert!(stdout.contains("app.yaml"), "{stdout}");
}

/// Types a line into a shell, with completions as `setup` loads them, and returns the words that the shell passes on.
fn typed(case: &Case, (shell, arguments, setup): (&str, &[&str], &str), line: &str) -> String {
    let bin = case.folder().join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    let (own, program) = (bin.join("rollgate"), env!("CARGO_BIN_EXE_rollgate"));
    let script = format!(
        "#!/bin/sh\nif [ -n \"$ROLLGATE_COMPLETE\" ] || [ \"$1\" = completions ]; then exec {program} \"$@\"; fi\n\
         printf '<%s>' passed \"$@\" end\n"
    );
    std::fs::write(&own, script).expect("a script");
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).expect("executable");
    let size = PtySize { rows: 50, cols: 200, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).expect("a terminal");
    let mut command = CommandBuilder::new(shell);
    command.args(arguments);
    command.cwd(case.folder());
    command.env_clear();
    let path = std::env::var("PATH").expect("a path");
    for (name, value) in [
        ("PATH", format!("{}:{path}", bin.display())),
        ("HOME", case.folder().display().to_string()),
        ("TERM", "dumb".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ] {
        command.env(name, value);
    }
    let mut child = pair.slave.spawn_command(command).expect("the shell starts");
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().expect("a reader");
    let mut writer = pair.master.take_writer().expect("a writer");
    let mut shown = String::new();
    let mut read_until = |text: &str| {
        while !shown.contains(text) {
            let mut buffer = [0; 4096];
            let count = reader.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "{shell}: `{text}` was never shown: {shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        shown.clone()
    };
    let setup = format!("{setup}; printf 'rea%s\\n' dy\r");
    writer.write_all(setup.as_bytes()).expect("typed");
    read_until("ready");
    writer.write_all(format!("{line}\r").as_bytes()).expect("typed");
    let shown = read_until("<end>");
    writer.write_all(b"exit\r").expect("typed");
    drop(writer);
    // Its terminal is closed.
    drop(pair.master);
    child.wait().expect("the shell ends");
    let passed = shown.split("<passed>").nth(1).and_then(|rest| rest.split("<end>").next());
    passed.expect("the words").to_owned()
}

/// The shells of Debian, each as it loads the completions.
const REAL: [(&str, &[&str], &str); 3] = [
    ("bash", &["--noprofile", "--norc", "-i"], "source <(rollgate completions bash)"),
    (
        "zsh",
        &["-f", "-i"],
        "autoload -U compinit && compinit -u -D && source <(rollgate completions zsh)",
    ),
    ("fish", &["--no-config", "-i"], "rollgate completions fish | source"),
];

#[track_caller]
fn assert_typed(line: &str, expected: &str) {
    let case = case();
    for shell in REAL {
        assert_eq!(typed(&case, shell, line), expected, "{}: {line:?}", shell.0);
        assert!(!case.folder().join("hacked").exists());
    }
}

#[test]
fn real_shells_complete_nodes_and_releases() {
    assert_typed(
        "rollgate node out app.yaml app-o\tapp-t\t",
        "<node><out><app.yaml><app-one><app-two>",
    );
    assert_typed(
        "rollgate rollb\tapp.y\t1a\t--on\tapp-t\t",
        "<rollback><app.yaml><1a2b3c4d><--only><app-two>",
    );
}

#[test]
fn real_shells_complete_a_variable_without_a_space_after_it() {
    assert_typed("rollgate plan app.yaml --var ver\t2", "<plan><app.yaml><--var><version=2>");
}

#[test]
fn real_shells_complete_a_playbook_whose_name_has_a_space() {
    assert_typed("rollgate check my\t", "<check><my app.yaml>");
    assert_typed("rollgate plan my\\ app.yaml --only can\t", "<plan><my app.yaml><--only><canary>");
}

#[test]
fn real_shells_show_no_message_for_a_torn_playbook() {
    assert_typed("rollgate node out torn.yaml a\t", "<node><out><torn.yaml><a>");
}

#[test]
fn zsh_completes_at_the_first_use_of_a_script_in_its_path() {
    let case = case();
    let setup = "mkdir f; rollgate completions zsh > f/_rollgate; fpath=(f $fpath); autoload -U compinit; compinit -u -D";
    let line = "rollgate node out app.yaml app-o\t";
    assert_eq!(typed(&case, (REAL[1].0, REAL[1].1, setup), line), "<node><out><app.yaml><app-one>");
}
