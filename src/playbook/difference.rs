//! Compares two playbooks key by key: the one in a release's journal, and the file as it is now.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Playbook;
use crate::secret::literal;
use crate::text;

/// How much of a value is shown, in characters.
const SHOWN: usize = 80;

/// A key with different values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key: `stop`, `nodes.app-1.address`, `steps[2].run`.
    pub key: String,
    /// The value in the journal, for people; `None` if it has none.
    pub journal: Option<String>,
    /// The value in the file, for people; `None` if it has none.
    pub file: Option<String>,
    /// A release keeps the value with which it began.
    pub is_fixed: bool,
    /// A later command takes the value from the file.
    is_from_the_file: bool,
}

/// Returns the keys that differ, without those that every command takes from the file.
#[must_use]
pub fn differences(journal: &Playbook, file: &Playbook) -> Vec<Difference> {
    let mut found = all_differences(journal, file);
    found.retain(|difference| !difference.is_from_the_file);
    found
}

/// The same with the parts that always come from the file.
#[must_use]
pub fn all_differences(journal: &Playbook, file: &Playbook) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), Some(&tree(journal)), Some(&tree(file)), &mut found);
    found
}

/// The playbook as JSON, its nodes by name.
fn tree(playbook: &Playbook) -> Value {
    let mut tree = serde_json::to_value(playbook).unwrap_or_default();
    if let Some(Value::Array(nodes)) = tree.get_mut("nodes").map(Value::take) {
        let names = playbook.nodes.iter().map(|node| node.display_name().to_owned());
        let by_name = names.zip(nodes).map(|(name, mut node)| {
            node.as_object_mut().map(|keys| keys.remove("name"));
            (name, node)
        });
        tree["nodes"] = Value::Object(by_name.collect::<Map<_, _>>());
    }
    tree
}

fn compare(
    path: &mut Vec<String>,
    journal: Option<&Value>,
    file: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (journal, file) {
        (journal, file) if journal == file => {}
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                path.push(name.clone());
                compare(path, one.get(name), other.get(name), found);
                path.pop();
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                path.push(format!("[{at}]"));
                compare(path, one.get(at), other.get(at), found);
                path.pop();
            }
        }
        (journal, file) => found.push(Difference {
            key: told(path),
            journal: journal.map(|value| shown(path, value)),
            file: file.map(|value| shown(path, value)),
            is_fixed: is_fixed(path),
            is_from_the_file: is_from_the_file(path),
        }),
    }
}

/// Whether every command takes the key from the file: how it connects, and where secrets are.
fn is_from_the_file(path: &[String]) -> bool {
    match path.first().map(String::as_str) {
        Some("consul" | "secrets") => true,
        Some("ssh") => path.get(1).is_some_and(|key| key != "sudo"),
        _ => false,
    }
}

/// Whether the key says what a release changes, or where it marks it.
fn is_fixed(path: &[String]) -> bool {
    let keys: Vec<_> = path.iter().map(String::as_str).collect();
    match keys.as_slice() {
        ["service" | "registry" | "gateways", ..]
        | ["artifact"]
        | ["nodes", _]
        | ["nodes", _, "ssh" | "address" | "agent", ..] => true,
        ["artifact", key, ..] => *key != "keep",
        _ => false,
    }
}

/// The key as it is written in a file. A command with nothing but its text is written without `run`.
fn told(path: &[String]) -> String {
    let path = match path {
        [before @ .., last] if last == "run" && !before.is_empty() => before,
        path => path,
    };
    let mut told = String::new();
    for part in path {
        if !told.is_empty() && !part.starts_with('[') {
            told.push('.');
        }
        told += part;
    }
    text::line(&told, SHOWN)
}

/// A value for people: one line, without secrets.
fn shown(path: &[String], value: &Value) -> String {
    let mut value = value.clone();
    literal::hide_values(path.iter().any(|key| literal::is_secret_key(key)), &mut value);
    match value {
        Value::String(said) => format!("\"{}\"", text::line(&said, SHOWN)),
        other => text::line(&other.to_string(), SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;

    const TEXT: &str = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes:
  - { name: a.b, ssh: a, address: '10.0.1.1:80', vars: { heap: 1g } }
  - { name: c, ssh: c, address: '10.0.1.2:80' }
variables: { db_password: { default: one-long-word } }
stop: stop-it
start: start-it
health: { http: 'http://${{ node.address }}/ping' }
strategy: { max_failures: 1 }";

    fn playbook(text: &str) -> Playbook {
        load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}")).playbook
    }

    /// Returns what differs after each replacement in the file: its key, and whether it is fixed.
    fn differ(replaced: &[(&str, &str)]) -> Vec<(String, bool)> {
        let file = replaced.iter().fold(TEXT.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replace(old, new)
        });
        let found = differences(&playbook(TEXT), &playbook(&file));
        found.into_iter().map(|found| (found.key, found.is_fixed)).collect()
    }

    #[test]
    fn steps_may_change_and_places_may_not() {
        assert_eq!(differ(&[]), []);
        for (old, new, key, is_fixed) in [
            ("stop-it", "stop -it", "stop", false),
            ("stop: stop-it", "stop: { run: stop-it, sudo: true }", "stop.sudo", false),
            ("/ping", "/pong", "health.http.url", false),
            ("max_failures: 1", "max_failures: 2", "strategy.max_failures", false),
            ("1g", "2g", "nodes.a.b.vars.heap", false),
            ("ssh: c", "ssh: d", "nodes.c.ssh", true),
            ("10.0.1.2:80", "10.0.1.3:80", "nodes.c.address", true),
            ("/l?app", "/m?app", "gateways[0].status_url", true),
            ("upstreams/app/", "upstreams/web/", "registry.prefix", true),
            ("service: app", "service: web", "service", true),
            ("service: app", "service: app\nssh: { sudo: true }", "ssh.sudo", false),
        ] {
            assert_eq!(differ(&[(old, new)]), [(key.to_owned(), is_fixed)], "{old} -> {new}");
        }
        let renamed = [("nodes.c".to_owned(), true), ("nodes.d".to_owned(), true)];
        assert_eq!(differ(&[("name: c", "name: d")]), renamed);
        let connection = "service: app\nconsul: { datacenter: dc2 }\nssh: { user: me }";
        assert_eq!(differ(&[("service: app", connection)]), [], "taken from the file anyway");
    }

    #[test]
    fn a_difference_shows_both_values_and_no_secret() {
        let file = TEXT
            .replace("one-long-word", "two")
            .replace("stop: stop-it\nstart: start-it", "restart: restart-it");
        let mut journal = playbook(TEXT);
        let at = "http://me:t0p-s3cret@x/".to_owned();
        journal.health.http.as_mut().expect("a check").0.url = crate::template::Template::new(at);
        let found = differences(&journal, &playbook(&file));
        let said = format!("{found:?}");
        assert!(!said.contains("one-long-word") && !said.contains("t0p-s3cret"), "{said}");
        let of = |key: &str| {
            let found =
                found.iter().find(|found| found.key == key).unwrap_or_else(|| panic!("{key}"));
            (found.journal.as_deref(), found.file.as_deref())
        };
        assert_eq!(of("variables.db_password.default").0, Some("\"***\""));
        assert_eq!(of("stop"), (Some("{\"run\":\"stop-it\"}"), None));
        assert_eq!(of("restart"), (None, Some("{\"run\":\"restart-it\"}")));
    }
}
