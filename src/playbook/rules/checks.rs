//! The rules of single parts: variables, secrets, Consul, health, drain.

use std::time::Duration;

use super::Check;
use crate::pattern::Pattern;
use crate::playbook::findings::quoted;
use crate::playbook::{Drain, Health, InFlight, OnTimeout, Template};

/// Shorter intervals would only keep the machine busy.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// The first words of names that rollgate itself fills in.
const RESERVED: [&str; 3] = ["node", "release", "secrets"];

impl Check<'_> {
    pub(super) fn parts(&mut self) {
        self.variables();
        self.secrets();
        self.consul();
        for (index, node) in self.playbook.nodes.iter().enumerate() {
            for name in node.vars.keys() {
                self.name(&format!("nodes[{index}].vars.{name}"), name);
            }
        }
        if let Some(artifact) = &self.playbook.artifact {
            self.artifact(artifact);
        }
        self.health(&self.playbook.health);
        self.drain(&self.playbook.drain);
    }

    /// Returns whether none or both of two keys are given. A key with a guessed name is never too many.
    fn is_not_one(&self, path: &str, keys: [(&str, bool); 2]) -> bool {
        match keys.map(|(_, present)| present) {
            [false, false] => true,
            [true, true] => keys.iter().all(|(key, _)| {
                let path = format!("{path}.{key}");
                self.known(&path) || (!self.findings.is_full() && self.given(&path))
            }),
            [true, false] | [false, true] => false,
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        let template = Template::new(format!("${{{{{name}}}}}"));
        let is_name = template.names().0.first().is_some_and(|(found, _)| *found == name);
        if RESERVED.contains(&name) {
            self.add(path, format!("the name `{name}` is reserved for rollgate"), |problem| {
                problem.help("`node.…`, `release.…` and `secrets.…` are filled in by rollgate")
            });
        } else if !is_name || name.contains('.') {
            self.add(path, format!("`{}` cannot be used as a name", quoted(name)), |problem| {
                problem.help("use letters, digits, `_` and `-`, and start with a letter or `_`")
            });
        }
    }

    fn variables(&mut self) {
        for (name, variable) in &self.playbook.variables {
            let path = format!("variables.{name}");
            self.name(&path, name);
            // The same key as in the walk, which cuts long names.
            let key = |key: &str| format!("variables.{}{key}", quoted(name));
            let Some(default) = &variable.default else {
                if !variable.required && self.known(&key(".required")) {
                    self.without_value(&path, name);
                }
                continue;
            };
            if variable.required && self.known(&key(".default")) {
                self.add(
                    &format!("{path}.required"),
                    "both `required` and `default` are given",
                    |problem| {
                        problem.help("with a default, a value is never missing: keep one of them")
                    },
                );
            }
            // Unanchored, as everywhere that a pattern is matched.
            let pattern = variable.pattern.as_ref();
            let pattern = pattern.filter(|_| self.sound(&[&key(".default"), &key(".pattern")]));
            let matches = |pattern: &String| {
                Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(default))
            };
            if let Some(pattern) = pattern.filter(|pattern| !matches(pattern)) {
                let message = format!(
                    "the default `{}` does not match `{}`",
                    quoted(default),
                    quoted(pattern)
                );
                self.add(&format!("{path}.default"), message, |problem| problem);
            }
        }
    }

    /// Refuses a variable that needs no value, unless each node has its own value.
    fn without_value(&mut self, path: &str, name: &str) {
        let nodes = &self.playbook.nodes;
        let lacking = nodes.iter().position(|node| !node.vars.contains_key(name));
        if lacking.is_some_and(|index| self.known(&format!("nodes[{index}].vars"))) {
            let name = quoted(name);
            let message = format!("variable `{name}` has neither `required` nor `default`");
            self.add(path, message, |problem| {
                problem
                    .help(format!("write `{name}: {{ required: true }}`, or give it a `default`"))
                    .help("without either, every node must have it in its `vars`")
            });
        }
    }

    fn secrets(&mut self) {
        for (name, secret) in &self.playbook.secrets {
            let path = format!("secrets.{name}");
            let wrong = format!("`{}` cannot be used as a name", quoted(name));
            let template = Template::new(format!("${{{{{name}}}}}"));
            if name.contains('.')
                || template.names().0.first().is_none_or(|(found, _)| found != name)
            {
                self.add(&path, wrong, |problem| {
                    problem.help("use letters, digits, `_` and `-`, and start with a letter or `_`")
                });
            }
            let sources = [("env", secret.env.is_some()), ("file", secret.file.is_some())];
            let known = self.known(&format!("secrets.{}", quoted(name)));
            if known && self.is_not_one(&path, sources) {
                self.add(&path, "a secret comes from exactly one of `env` and `file`", |problem| {
                    problem
                });
            }
        }
    }

    fn consul(&mut self) {
        let addresses = self.playbook.consul.iter().flat_map(|consul| &consul.addresses);
        for (index, address) in addresses.enumerate() {
            let path = format!("consul.addresses[{index}]");
            if !address.as_str().starts_with("unix://") {
                self.consul_address(&path, address);
            }
        }
    }

    fn health(&mut self, health: &Health) {
        let checks = [
            health.http.is_some(),
            health.tcp.is_some(),
            health.run.is_some(),
            health.consul.is_some(),
        ];
        if !checks.contains(&true) {
            self.wrong("health", "nothing is checked", |problem| {
                problem.help("give at least one of `http`, `tcp`, `run`, `consul`")
            });
        }
        self.http_check(health);
        if let Some(tcp) = &health.tcp {
            self.socket_address("health.tcp", &tcp.0);
        }
        if let Some(identity) = &health.identity {
            if health.http.is_none() && self.given("health.identity") {
                self.add("health.identity", "`identity` without `http`", |problem| {
                    problem
                        .help("the version comes from the answer to the `http` check: add `http`")
                });
            }
            let places =
                [("header", identity.header.is_some()), ("pointer", identity.pointer.is_some())];
            if self.is_not_one("health.identity", places) {
                let message = "`identity` needs exactly one of `header` and `pointer`";
                self.wrong("health.identity", message, |problem| problem);
            }
        }
        if health.interval.0 < SHORTEST_INTERVAL {
            self.wrong("health.interval", "the interval is too short", |problem| {
                problem.help("write at least `10ms`")
            });
        }
        if health.timeout.0.is_zero() {
            self.wrong("health.timeout", "no answer can arrive in 0 seconds", |problem| {
                problem.help("write a longer time, like `3s`")
            });
        }
    }

    fn drain(&mut self, drain: &Drain) {
        if let Some(InFlight::Http(metric)) = &drain.in_flight {
            let path = "drain.in_flight.http";
            self.url(&format!("{path}.url"), &metric.url);
            let readings =
                [("pointer", metric.pointer.is_some()), ("pattern", metric.pattern.is_some())];
            if self.is_not_one(path, readings) {
                let message = "the number needs exactly one of `pointer` and `pattern`";
                self.wrong(path, message, |problem| {
                    problem.help("`pointer` finds it in JSON, `pattern` in text")
                });
            }
            let groups = metric.pattern.as_ref().and_then(|pattern| Pattern::new(pattern).ok());
            if groups.is_some_and(|pattern| pattern.groups() == 0) {
                self.wrong(&format!("{path}.pattern"), "the pattern has no group", |problem| {
                    problem.help(r"put the number in brackets: `active (\d+)`")
                });
            }
        }
        let timed = self.sound(&["drain.settle", "drain.timeout", "drain.on_timeout"]);
        if timed
            && drain.settle >= drain.timeout
            && !drain.settle.0.is_zero()
            && drain.on_timeout != OnTimeout::Wait
        {
            self.wrong("drain.settle", "`settle` is not shorter than `timeout`", |problem| {
                problem.help("the count must stay at 0 for `settle` within `timeout`")
            });
        }
    }
}
