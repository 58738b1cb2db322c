//! Exit codes and messages for arguments, variables and unreachable parts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Case, SMALL};

fn case() -> Case {
    Case::new(&[("app.yaml", SMALL.as_bytes()), ("vars", b"# a comment\nversion = 7\n")])
}

#[test]
fn all_variable_errors_are_reported_together_with_exit_2() {
    let (_, stderr) = case().exits(2, &["plan", "app.yaml", "--var", "verison=2"]);
    assert!(stderr.contains("no variable `verison`, did you mean `version`?"), "{stderr}");
    assert!(stderr.contains("variable `version` is required and has no value"), "{stderr}");
    assert!(stderr.contains("app.yaml:3:"), "{stderr}");
    let (_, stderr) = case().exits(2, &["plan", "app.yaml", "--var", "version=x"]);
    assert!(stderr.contains("`x` is not a valid value for `version`"), "{stderr}");
    let (_, stderr) = case().exits(2, &["plan", "app.yaml", "--var", "version"]);
    assert!(stderr.contains("expected NAME=VALUE"), "{stderr}");
    let (_, stderr) = case().exits(2, &["plan", "app.yaml", "--var-file", "app.yaml"]);
    assert!(stderr.contains("app.yaml:1: expected `name=value`"), "{stderr}");
}

#[test]
fn command_line_variables_override_files_and_files_override_environment() {
    // `x` does not match the pattern, so the error names the source whose value is used.
    let plan = |case: &Case, arguments: &[&str]| {
        let arguments: Vec<_> = ["plan", "app.yaml"].iter().chain(arguments).copied().collect();
        case.run(&arguments).status.code()
    };
    let bad = case().env("ROLLGATE_VAR_version", "x");
    assert_eq!(plan(&bad, &[]), Some(2));
    assert_eq!(plan(&bad, &["--var-file", "vars"]), Some(3), "the file's value is used");
    let good = case().env("ROLLGATE_VAR_version", "7");
    assert_eq!(plan(&good, &[]), Some(3), "the environment's value is used");
    assert_eq!(plan(&good, &["--var-file", "vars", "--var", "version=x"]), Some(2));
}

#[test]
fn restart_takes_no_version_and_needs_none() {
    for command in ["plan", "deploy"] {
        let given = [command, "app.yaml", "--restart", "--var", "version=2"];
        let (_, stderr) = case().exits(2, &given);
        assert!(stderr.contains("`--restart` keeps the version of each node"), "{stderr}");
        assert!(stderr.contains("leave out `version`"), "{stderr}");
        case().exits(2, &[command, "app.yaml", "--restart", "--var-file", "vars"]);
    }
    let (stdout, _) = case().exits(3, &["plan", "app.yaml", "--restart"]);
    assert!(stdout.contains("every node keeps its version"), "{stdout}");
}

#[test]
fn unreachable_part_is_named_and_nothing_is_written() {
    let (stdout, _) = case().exits(3, &["plan", "app.yaml", "--var", "version=2"]);
    assert!(stdout.contains("Refused: Consul cannot be reached: http://127.0.0.1:1: "), "{stdout}");
    assert!(stdout.contains("Refused: gateway 127.0.0.1:1 cannot be read"), "{stdout}");
}

#[test]
fn login_in_consul_address_is_refused_and_not_shown() {
    let playbook = SMALL.replace("consul: { addresses: ['http://127.0.0.1:1'] }\n", "");
    for address in ["http://me:hunter22@127.0.0.1:1", "me:hunter22@127.0.0.1:1"] {
        for command in ["plan", "deploy", "status"] {
            let case =
                Case::new(&[("app.yaml", playbook.as_bytes())]).env("CONSUL_HTTP_ADDR", address);
            let arguments = [command, "app.yaml", "--var", "version=2", "--output", "jsonl"];
            let (stdout, stderr) = case.exits(2, &arguments);
            assert!(stderr.contains("CONSUL_HTTP_AUTH"), "{stderr}");
            assert!(!(stdout + &stderr).contains("hunter22"));
        }
    }
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for arguments in [&["deploy"][..], &["nonsense"], &["deploy", "app.yaml", "--frobnicate"], &[]]
    {
        let (stdout, stderr) = case().exits(2, arguments);
        assert!(stdout.is_empty() && stderr.contains("Usage: rollgate"), "{stderr}");
    }
    for arguments in
        [&["--help"][..], &["deploy", "--help"], &["node", "out", "--help"], &["--version"]]
    {
        let (stdout, stderr) = case().exits(0, arguments);
        assert!(!stdout.is_empty() && stderr.is_empty(), "{stderr}");
    }
    let (_, stderr) =
        case().exits(2, &["plan", "app.yaml", "--var", "version=2", "--only", "app-9"]);
    assert!(
        stderr.contains("no node or tag is called app-9") && stderr.contains("app-1, app-2"),
        "{stderr}"
    );
}

#[test]
fn empty_node_selection_is_a_usage_error() {
    let cases: [(&[&str], &str); 4] = [
        (&["--limit", "0"], "`--limit 0` selects no node"),
        (&["--only", "app-1", "--skip", "app-1"], "`--only app-1 --skip app-1` selects no node"),
        (&["--skip", "app-1,app-2"], "`--skip app-1,app-2` selects no node"),
        (&["--limit", "0", "--only", "app-9"], "no node or tag is called app-9"),
    ];
    // The artifact does not exist: a wrong argument is reported before any file is read.
    let playbook = format!("{SMALL}artifact: {{ source: none, releases: /r, current: /c }}\n");
    for command in ["plan", "deploy"] {
        for (arguments, message) in cases {
            let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
            let given = [command, "app.yaml", "--var", "version=2"];
            let arguments: Vec<_> = given.iter().chain(arguments).copied().collect();
            let (_, stderr) = case.exits(2, &arguments);
            assert!(stderr.contains(message), "{stderr}");
        }
    }
}

#[test]
fn empty_variable_counts_as_missing_unless_its_pattern_accepts_it() {
    let empty = ["plan", "app.yaml", "--var", "version="];
    for settings in ["required: true", r"required: true, pattern: '^\d+$'"] {
        let playbook = SMALL.replace(r"required: true, pattern: '^\d+$'", settings);
        let (_, stderr) = Case::new(&[("app.yaml", playbook.as_bytes())]).exits(2, &empty);
        assert!(stderr.contains("variable `version` is required and is empty"), "{stderr}");
        assert!(stderr.contains("app.yaml:3:") && stderr.contains("1 problem"), "{stderr}");
    }
    for settings in [r"required: true, pattern: '^\d*$'", "default: a"] {
        let playbook = SMALL.replace(r"required: true, pattern: '^\d+$'", settings);
        // Accepted; then the artifact is missing.
        let artifact = "artifact: { source: none, releases: /r, current: /c }";
        let playbook = format!("{playbook}{artifact}\n");
        Case::new(&[("app.yaml", playbook.as_bytes())]).exits(3, &empty);
    }
}

#[test]
fn node_paths_are_checked_again_after_variables_are_filled_in() {
    let artifact = "artifact: { source: none, releases: '${{ root }}/r', current: '${{ link }}' }";
    let playbook = SMALL.replace(
        "variables:\n",
        "variables:\n  root: { required: true }\n  link: { required: true }\n",
    );
    let case = Case::new(&[("app.yaml", format!("{playbook}{artifact}\n").as_bytes())]);
    let plan = |code: i32, root: &str, link: &str| {
        let (root, link) = (format!("root={root}"), format!("link={link}"));
        case.exits(
            code,
            &["plan", "app.yaml", "--var", "version=2", "--var", &root, "--var", &link],
        )
        .1
    };
    let stderr = plan(2, "/srv", "/srv/r/c");
    assert!(stderr.contains("on app-1: `current` lies inside `releases`"), "{stderr}");
    assert!(stderr.contains("app.yaml:18:"), "{stderr}");
    assert!(plan(2, "srv", "/c").contains("on app-1: `srv/r` is not an absolute path"));
    assert!(plan(3, "/srv", "/srv/c").contains("none"));
}

#[test]
fn unreadable_secret_is_named_without_its_value() {
    let playbook = SMALL.replace(
        "consul: { addresses: ['http://127.0.0.1:1'] }",
        "secrets: { token: { env: MY_TOKEN } }\n\
         consul: { addresses: ['http://127.0.0.1:1'], token: '${{ secrets.token }}' }",
    );
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
    let arguments = ["plan", "app.yaml", "--var", "version=2"];
    let (_, stderr) = case.exits(2, &arguments);
    assert!(
        stderr.contains("secret `token`: the environment has no variable `MY_TOKEN`"),
        "{stderr}"
    );
    let case = case.env("MY_TOKEN", "hunter22");
    let (stdout, stderr) = case.exits(3, &arguments);
    assert!(!stdout.contains("hunter22") && !stderr.contains("hunter22"));
}

#[test]
fn unwritable_output_is_an_error() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let case = case();
    for arguments in [
        &["schema"][..],
        &["completions", "bash"],
        &["check", "app.yaml"],
        &["status", "app.yaml"],
        &["plan", "app.yaml", "--var", "version=2"],
    ] {
        let output = case.command(arguments).stdout(full()).output().expect("rollgate runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: cannot write to stdout: No space left"), "{stderr}");
    }
}

#[test]
fn closed_pipe_is_not_an_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rollgate"))
        .arg("schema")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("rollgate runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn non_utf_8_argument_is_a_usage_error_that_names_it() {
    let latin = OsStr::from_bytes(b"version=\xe4");
    let argument = |arguments: &[&OsStr]| {
        let case = case();
        let output = case.command(&["plan", "app.yaml"]).args(arguments).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = argument(&["--var".as_ref(), latin]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("argument 4 is not UTF-8: version="), "{stderr}");
    let (code, stderr) =
        argument(&["--output".as_ref(), "jsonl".as_ref(), "--var".as_ref(), latin]);
    assert_eq!(code, Some(2), "{stderr}");
    for name in ["ROLLGATE_VAR_version", "CONSUL_HTTP_TOKEN", "ROLLGATE_STATE_DIR"] {
        let case = case();
        let mut command = case.command(&["plan", "app.yaml"]);
        let output = command.env(name, OsStr::from_bytes(b"\xff1")).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.contains(&format!("{name} is not UTF-8")), "{stderr}");
    }
    let case =
        Case::new(&[("app.yaml", SMALL.as_bytes()), ("vars", b"# \xc3\xa4\nversion=\xe4\n")]);
    let (_, stderr) = case.exits(2, &["plan", "app.yaml", "--var-file", "vars"]);
    assert!(stderr.contains("cannot read --var-file vars: line 2 is not UTF-8"), "{stderr}");
    let arguments = ["plan", "app.yaml", "--var", "version=2", "--var-file", "/dev/zero"];
    let (_, stderr) = case.exits(2, &arguments);
    assert!(stderr.contains("more than 1.0 MiB"), "{stderr}");
}
