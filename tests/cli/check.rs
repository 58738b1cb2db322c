//! `check`: reports every problem at once, and reads hostile files quickly.

use crate::support::{Case, SMALL};

#[test]
fn check_accepts_a_valid_file_and_locates_every_problem_of_an_invalid_one() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes())]);
    let (stdout, stderr) = case.exits(0, &["check", "app.yaml"]);
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("app.yaml: ok, service app, 2 nodes, 1 gateway\n", "")
    );

    let bad = SMALL
        .replace("stop: 'true'", "stpo: 'true'")
        .replace("'${{ version }}'", "'${{ verison }}'")
        .replace("127.0.0.2:9000", "127.0.0.1:9000")
        .replace("prefix: upstreams/app/", "prefix: upstreams/app");
    let case = Case::new(&[("app.yaml", bad.as_bytes())]);
    let (_, stderr) = case.exits(2, &["check", "app.yaml"]);
    for expected in [
        "unknown key `stpo`",
        "app.yaml:10:1",
        "`stop`",
        "verison",
        "app.yaml:14:",
        "two nodes have the address `127.0.0.1:9000`",
        "prefix-leaks",
        "problems in app.yaml",
    ] {
        assert!(stderr.contains(expected), "`{expected}` is missing in:\n{stderr}");
    }
}

#[test]
fn hostile_files_get_a_clear_error_in_under_a_second() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let refer = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{refer}]\n");
    }
    let deep = "[".repeat(200_000);
    let flow = SMALL.replace("ssh: local, name: app-1", "ssh: local, name: ${{ version }}");
    let files: [(&str, Vec<u8>, &str); 8] = [
        ("bomb.yaml", bomb.into_bytes(), "alias"),
        ("deep.yaml", deep.into_bytes(), "deep"),
        ("binary.yaml", vec![0, 159, 146, 150], "binary"),
        ("empty.yaml", Vec::new(), "empty"),
        ("latin.yaml", b"service: caf\xe9\n".to_vec(), "UTF-8"),
        ("twice.yaml", format!("{SMALL}service: other\n").into_bytes(), "service"),
        ("flow.yaml", flow.into_bytes(), "quote"),
        ("huge.yaml", Vec::new(), "MiB"),
    ];
    let case = Case::new(&files.each_ref().map(|(name, bytes, _)| (*name, bytes.as_slice())));
    // A hundred megabytes, without writing them.
    let place = case.run(&["--version"]);
    assert!(place.status.success());
    for (name, _, expected) in &files {
        if *name == "huge.yaml" {
            case.stretch(name, 100 * 1024 * 1024);
        }
        let (_, stderr) = case.exits(2, &["check", name]);
        assert!(stderr.contains(expected), "{name}: `{expected}` is missing in:\n{stderr}");
        assert!(stderr.len() < 20_000, "{name}: one clear error");
    }
    let (_, stderr) = case.exits(2, &["check", "none.yaml"]);
    assert!(stderr.contains("none.yaml"), "{stderr}");
}
