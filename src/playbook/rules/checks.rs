//! The rules of single parts: variables, secrets, Consul, artifact, health, drain.

use std::time::Duration;

use super::{Check, fixed};
use crate::playbook::findings::quoted;
use crate::playbook::{Artifact, Drain, Health, InFlight, OnTimeout, Template};

/// Shorter pauses would only keep the machine busy.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// First words of names that are filled in by rollgate itself.
const RESERVED: [&str; 3] = ["node", "release", "secrets"];

impl Check<'_> {
    pub(super) fn parts(&mut self) {
        if self.sound(&["variables"]) {
            self.variables();
        }
        if self.sound(&["secrets"]) {
            self.secrets();
        }
        if self.sound(&["consul"]) {
            self.consul();
        }
        if self.sound(&["nodes"]) {
            for (index, node) in self.playbook.nodes.iter().enumerate() {
                for name in node.vars.keys() {
                    self.name(&format!("nodes[{index}].vars.{name}"), name);
                }
            }
        }
        if let Some(artifact) =
            self.playbook.artifact.as_ref().filter(|_| self.sound(&["artifact"]))
        {
            self.artifact(artifact);
        }
        if self.sound(&["health"]) {
            self.health(&self.playbook.health);
        }
        if self.sound(&["drain"]) {
            self.drain(&self.playbook.drain);
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        let template = Template::new(format!("${{{{{name}}}}}"));
        let is_name = template.names().0.first().is_some_and(|(found, _)| *found == name);
        if RESERVED.contains(&name) {
            self.add(path, format!("the name `{name}` is rollgate's own"), |problem| {
                problem.help("`node.…`, `release.…` and `secrets.…` are filled in by rollgate")
            });
        } else if !is_name || name.contains('.') {
            self.add(path, format!("`{}` cannot be used as a name", quoted(name)), |problem| {
                problem.help("letters, digits, `_` and `-`, starting with a letter or `_`")
            });
        }
    }

    fn variables(&mut self) {
        for (name, variable) in &self.playbook.variables {
            let path = format!("variables.{name}");
            self.name(&path, name);
            let Some(default) = &variable.default else {
                continue;
            };
            if variable.required {
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
            let matches = |pattern: &String| {
                regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(default))
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

    fn secrets(&mut self) {
        for (name, secret) in &self.playbook.secrets {
            let path = format!("secrets.{name}");
            let wrong = format!("`{}` cannot be used as a name", quoted(name));
            let template = Template::new(format!("${{{{{name}}}}}"));
            if name.contains('.')
                || template.names().0.first().is_none_or(|(found, _)| found != name)
            {
                self.add(&path, wrong, |problem| {
                    problem.help("letters, digits, `_` and `-`, starting with a letter or `_`")
                });
            }
            if secret.env.is_some() == secret.file.is_some() {
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
            match address.as_str() {
                unix if unix.starts_with("unix://") => {}
                _ => self.url(&path, address),
            }
        }
    }

    fn artifact(&mut self, artifact: &Artifact) {
        for (key, path) in [("releases", &artifact.releases), ("current", &artifact.current)] {
            let text = path.as_str();
            if !text.starts_with('/') && !text.starts_with("${{") {
                let message = format!("`{}` is not an absolute path", quoted(text));
                self.add(&format!("artifact.{key}"), message, |problem| {
                    problem.help("start it with `/`: it is a path on the node")
                });
            }
        }
        let folder = artifact.releases.as_str().trim_end_matches('/');
        let rest = artifact.current.as_str().strip_prefix(folder);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            self.add("artifact.current", "`current` lies inside `releases`", |problem| {
                problem.help("old folders in `releases` are removed: put the symlink beside it")
            });
        }
        if let Some(sum) = artifact.sha256.as_ref().and_then(fixed)
            && (sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            self.add(
                "artifact.sha256",
                format!("`{}` is not a SHA-256 sum", quoted(sum)),
                |problem| problem.help("64 hexadecimal digits, as `sha256sum` prints them"),
            );
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
            self.add("health", "nothing is checked", |problem| {
                problem.help("give at least one of `http`, `tcp`, `run`, `consul`")
            });
        }
        if let Some(http) = &health.http {
            self.url("health.http.url", &http.url);
        }
        if let Some(address) = health.tcp.as_ref().and_then(|tcp| fixed(&tcp.0)) {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                let message =
                    format!("`{}` is not an address like `10.0.1.11:8080`", quoted(address));
                self.add("health.tcp", message, |problem| problem);
            }
        }
        if let Some(identity) = &health.identity {
            if health.http.is_none() {
                self.add("health.identity", "`identity` without `http`", |problem| {
                    problem.help("the version is told by the reply of the `http` check: give one")
                });
            }
            if identity.header.is_some() == identity.pointer.is_some() {
                let message = "`identity` has exactly one of `header` and `pointer`";
                self.add("health.identity", message, |problem| problem);
            }
        }
        if health.interval.0 < SHORTEST_INTERVAL {
            self.add("health.interval", "the interval is too short", |problem| {
                problem.help("at least `10ms`")
            });
        }
        if health.timeout.0.is_zero() {
            self.add("health.timeout", "no reply comes in no time", |problem| {
                problem.help("as in `3s`")
            });
        }
        if health.deadline < health.min_healthy_time {
            let key = if self.given("health.deadline") { "deadline" } else { "min_healthy_time" };
            self.add(
                &format!("health.{key}"),
                "`deadline` is shorter than `min_healthy_time`",
                |problem| problem.help("no node could get healthy: the deadline is for all of it"),
            );
        }
    }

    fn drain(&mut self, drain: &Drain) {
        if let Some(InFlight::Http(metric)) = &drain.in_flight {
            let path = "drain.in_flight.http";
            self.url(&format!("{path}.url"), &metric.url);
            if metric.pointer.is_some() == metric.pattern.is_some() {
                let message = "the number is told by exactly one of `pointer` and `pattern`";
                self.add(path, message, |problem| {
                    problem.help("`pointer` finds it in JSON, `pattern` in text")
                });
            }
            let groups =
                metric.pattern.as_ref().and_then(|pattern| regex_lite::Regex::new(pattern).ok());
            if groups.is_some_and(|regex| regex.captures_len() < 2) {
                self.add(&format!("{path}.pattern"), "the pattern has no group", |problem| {
                    problem.help(r"put the number in brackets: `active (\d+)`")
                });
            }
        }
        if drain.settle >= drain.timeout
            && !drain.settle.0.is_zero()
            && drain.on_timeout != OnTimeout::Wait
        {
            self.add("drain.settle", "`settle` is not shorter than `timeout`", |problem| {
                problem.help("the count must stay at 0 for that long before the time is over")
            });
        }
    }
}
