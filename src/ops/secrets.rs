//! The secrets of a command, refused where they would be journalled.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::diagnostic::Problem;
use crate::playbook::Loaded;
use crate::secret::{Secret, TELLING};

/// What the help says of a secret in the playbook.
const ELSEWHERE: &str = "the playbook and its variables are shown and journalled: name the secret under `secrets`, or \
     let a file or the environment on the node hold it";

/// The secrets of a playbook, by their names, and Consul's own.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Those of the playbook.
    pub named: BTreeMap<String, Secret>,
    /// Consul's, by what they are called.
    pub consul: Vec<(String, Secret)>,
}

impl Secrets {
    /// Every secret that is long enough to be told from ordinary text, by what it is called.
    fn telling(&self) -> impl Iterator<Item = (String, &Secret)> {
        let named = self.named.iter().map(|(name, secret)| (format!("`{name}`"), secret));
        let consul = self.consul.iter().map(|(name, secret)| (name.clone(), secret));
        named.chain(consul).filter(|(_, secret)| secret.expose().len() >= TELLING)
    }

    /// Says where in a playbook, or in which variable, the value of a secret stands.
    #[must_use]
    pub fn misplaced(&self, loaded: &Loaded, variables: &BTreeMap<String, String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let text = &loaded.source.text;
        for (called, secret) in self.telling() {
            let secret = secret.expose();
            let message = format!("the value of the secret {called} stands in the playbook");
            if let Some(at) = text.find(secret) {
                let problem = Problem::new(message).at(at..at + secret.len());
                problems.push(problem.secret().help(ELSEWHERE));
            } else if holds(&serde_json::to_value(&loaded.playbook).unwrap_or_default(), secret) {
                problems.push(Problem::new(message).help(ELSEWHERE));
            }
            let given = variables.iter().filter(|(_, value)| value.contains(secret));
            problems.extend(given.map(|(name, _)| {
                let message = format!("the value of `{name}` has the secret {called} in it");
                loaded.problem(&format!("variables.{name}"), message).help(ELSEWHERE)
            }));
        }
        problems
    }

    /// Names a secret whose value stands in the playbook of a journal, or among its variables.
    #[must_use]
    pub fn in_journal(&self, recorded: &[Value]) -> Option<String> {
        let mut telling = self.telling();
        let found = telling
            .find(|(_, secret)| recorded.iter().any(|recorded| holds(recorded, secret.expose())));
        found.map(|(called, _)| called)
    }
}

fn holds(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(items) => items.iter().any(|item| holds(item, secret)),
        Value::Object(map) => map.values().any(|item| holds(item, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
