//! Files that an editor on Windows has saved: line ends, byte order marks, UTF-16.

use crate::support::{Case, SMALL};

const MARK: &str = "\u{feff}";

fn windows(text: &str) -> Vec<u8> {
    (MARK.to_owned() + &text.replace('\n', "\r\n")).into_bytes()
}

/// The commands and values of a playbook, as its journal has them. No other test uses these ports: where nothing listens on
/// exactly a node's address, each connection to its port counts.
#[test]
fn line_ends_and_marks_of_windows_reach_no_command_and_no_value() {
    let playbook = r#"service: app
variables: { greeting: { default: hello } }
secrets: { probe: { file: probe } }
registry: { type: gateway }
gateways:
  - type: command
    name: lb
    list: |
      cat list
    pattern: '(?m)^(?<address>\S+:\d+) (?:(?<routed>in)|out)$'
    out: |
      sed -i "s/^$1 .*/$1 out/" list
      printf '%s|' '${{ greeting }}' "$1" > said
    in: sed -i "s/^$1 .*/$1 in/" list
nodes:
  - { ssh: local, name: app-1, address: '127.0.0.1:909' }
  - { ssh: local, name: app-2, address: '127.0.0.2:909' }
drain: { in_flight: { sockets: {} } }
restart: >
  true
  false
health: { http: { url: 'http://${{ node.address }}', headers: { Authorization: '${{ secrets.probe }}' } } }
"#;
    let list = b"127.0.0.1:909 in\n127.0.0.2:909 in\n";
    let case = Case::new(&[
        ("app.yaml", &windows(playbook)),
        ("vars", &windows("# greetings\ngreeting = salut\n")),
        ("probe", &windows("Bearer k\n")),
        ("list", list),
    ]);
    let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    case.exits(0, &["check", "app.yaml"]);
    case.exits(0, &["node", "out", "app.yaml", "app-1", "--var-file", "vars"]);
    let said = std::fs::read_to_string(case.folder().join("said")).expect("a file");
    assert_eq!(said, "salut|127.0.0.1:909|");
    let journal = std::fs::read_dir(case.folder().join(".rollgate/app")).expect("a state folder");
    let journal = journal
        .flatten()
        .find_map(|entry| std::fs::read_to_string(entry.path().join("journal.jsonl")).ok());
    let journal = journal.expect("a journal");
    assert!(journal.contains("true false\\n") && !journal.contains("\\r"), "{journal}");
}

#[test]
fn value_of_a_variable_loses_the_line_break_at_its_end() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes())]).env("ROLLGATE_VAR_version", "2\r\n");
    // The pattern accepts only digits; Consul cannot be reached.
    let (_, stderr) = case.exits(3, &["plan", "app.yaml"]);
    assert!(!stderr.contains("version"), "{stderr}");
}

#[test]
fn utf_16_is_refused_by_its_name() {
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(SMALL.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let case = Case::new(&[("app.yaml", &utf16), ("good.yaml", SMALL.as_bytes())]);
    let (_, stderr) = case.exits(2, &["check", "app.yaml"]);
    assert!(stderr.contains("error: this file is UTF-16, not UTF-8"), "{stderr}");
    let (_, stderr) = case.exits(2, &["plan", "good.yaml", "--var-file", "app.yaml"]);
    assert!(
        stderr.contains("cannot read --var-file app.yaml: it is UTF-16, not UTF-8"),
        "{stderr}"
    );
}
