//! Files that cannot be read, and the schema of the reader.

use rollgate::diagnostic::render;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rollgate::playbook::{load, load_text, schema};

use crate::{SMALLEST, messages};

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("app.yaml");
    let message = || match load(&path) {
        Ok(_) => String::new(),
        Err(invalid) => messages(&render(&invalid, false)).join("; "),
    };
    assert_eq!(message(), "no such file");
    let cases: [(&[u8], &str); 5] = [
        (b"", "the file is empty"),
        (b"# a\n", "the file has no content, only comments"),
        (b"a: 1\nb: \xff\n", "not UTF-8 at byte 8, in line 2"),
        (b"\x7fELF\0", "this is a binary file: byte 4 is 0"),
        (b"service: \x1b[0m\n", "a control character, U+001B"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).expect("the file can be written");
        assert!(message().contains(expected), "{}", message());
    }
    let file = std::fs::File::create(&path).expect("the file can be made");
    file.set_len(100 << 20).expect("the file can grow");
    assert_eq!(message(), "this file has 100.0 MiB; a playbook may have 8.0 MiB");
    let invalid = load(folder.path()).expect_err("a folder is no playbook");
    assert_eq!(invalid.problems[0].message, "this is a folder, not a file");
}

#[test]
fn the_schema_names_every_top_level_key_and_allows_no_null() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["strategy"].is_object());
    assert!(!schema.to_string().contains("\"null\""));
}

#[test]
fn scalars_keep_their_written_form() {
    let text = SMALLEST.replace("9000 }", "9000, vars: { v: 1.20, no: no, n: 2 } }");
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    let vars: Vec<_> = loaded.playbook.nodes[0].vars.values().map(String::as_str).collect();
    assert_eq!(vars, ["2", "no", "1.20"]);
}

#[test]
fn later_problem_is_shown_at_its_position() {
    let loaded = load_text("app.yaml", SMALLEST).unwrap_or_else(|invalid| panic!("{invalid}"));
    let problem = loaded.problem("nodes[1].address", "nothing listens there");
    insta::assert_snapshot!(loaded.invalid(vec![problem]), @r#"
    error: nothing listens there
     --> app.yaml:7:39
      |
    7 |   - { ssh: deploy@10.0.1.12, address: 10.0.1.12:9000 }
      |                                       ^^^^^^^^^^^^^^
      |
      = in: `nodes[1].address`

    1 problem in app.yaml
    "#);
}

/// Returns the last line of the output; a guard against hanging, far above the usual time.
fn summary(text: String) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let shown = load_text("app.yaml", text)
            .map_or_else(|invalid| render(&invalid, true), |_| "valid".into());
        assert!(shown.len() < 200_000, "{}", shown.len());
        sender.send(shown.lines().last().unwrap_or_default().to_owned())
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("it ends")
}

#[test]
fn a_file_full_of_mistakes_is_refused_quickly_and_shortly() {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let keys = many(20_000, &|number| format!("servic{number}: 1\n"));
    let node = "  - { ssh: a, address: b }\n";
    let variables = many(8000, &|number| format!("  version{number}: {{ default: a }}\n"));
    let names = many(8000, &|number| format!("${{{{ versio{number} }}}}"));
    let long = "k".repeat(1_000_000);
    let secrets = many(8000, &|number| format!("  token{number}: {{ env: a, file: b }}\n"));
    let gateway = "  - { type: nginx-upsnyc, stats_url: http://a/?b, upsteam: b }\n";
    let cases = [
        (format!("{SMALLEST}secrets:\n{secrets}"), "8000 problems in app.yaml"),
        (
            SMALLEST.replace("gateways:\n", &format!("gateways:\n{}", gateway.repeat(6000))),
            "6070 problems in app.yaml",
        ),
        (keys, "20005 problems in app.yaml"),
        (
            SMALLEST.replace("nodes:\n", &format!("nodes:\n{}", node.repeat(9000))),
            "26998 problems in app.yaml",
        ),
        (
            format!("{SMALLEST}variables:\n{variables}").replace("start app", &names),
            "8000 problems in app.yaml",
        ),
        (format!("{SMALLEST}? {long}\n: 1\n"), "1 problem in app.yaml"),
        (format!("{SMALLEST}hooks: {{ '{long}': 1 }}\n"), "1 problem in app.yaml"),
        (SMALLEST.replace("start app", &"${{ ".repeat(200_000)), "1 problem in app.yaml"),
        (SMALLEST.replace("start app", &"${{ a }}".repeat(100_000)), "100000 problems in app.yaml"),
    ];
    for (text, expected) in cases {
        let start: String = text.chars().rev().take(40).collect();
        assert_eq!(summary(text), expected, "{start}");
    }
}
