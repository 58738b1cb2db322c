//! The secrets of a command. A command that would write one to a journal is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::diagnostic::Problem;
use crate::playbook::Loaded;
use crate::secret::{Secret, TELLING};

/// The help text for a secret in the playbook.
const ELSEWHERE: &str = "the playbook and its variables are shown and written to journals: name the secret under `secrets`, or \
     let a file or the environment on the node hold it";

/// The secrets of a playbook, by name, and those of Consul.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// The secrets of the playbook, by name.
    pub named: BTreeMap<String, Secret>,
    /// The secrets of Consul, with a description of each.
    pub consul: Vec<(String, Secret)>,
}

impl Secrets {
    /// Returns every secret that is long enough to be distinguished from ordinary text, with its description.
    fn telling(&self) -> impl Iterator<Item = (String, &Secret)> {
        let named = self.named.iter().map(|(name, secret)| (format!("`{name}`"), secret));
        let consul = self.consul.iter().map(|(name, secret)| (name.clone(), secret));
        named.chain(consul).filter(|(_, secret)| secret.expose().len() >= TELLING)
    }

    /// Reports each place in a playbook, and each variable, that contains the value of a secret.
    #[must_use]
    pub fn misplaced(&self, loaded: &Loaded, variables: &BTreeMap<String, String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let text = &loaded.source.text;
        for (called, secret) in self.telling() {
            let secret = secret.expose();
            let message = format!("the value of the secret {called} is in the playbook");
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

    /// Returns the description of a secret if a journal's playbook or variables contain its value.
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
