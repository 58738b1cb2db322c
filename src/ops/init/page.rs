//! The text of a drafted playbook, with comments. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::Draft;
use super::health::{FoundHealth, FoundVersion};
use super::nodes::DraftNode;
use super::registries::FoundRegistry;
use crate::spec::IdentityPlace;

/// What a version can look like.
const VERSION: &str = r"^[0-9A-Za-z][0-9A-Za-z._+-]*$";

impl Draft {
    /// Whether the playbook has a variable with the version.
    #[must_use]
    pub fn has_version(&self) -> bool {
        let told = matches!(&self.health, FoundHealth::Http(_, Some(_)));
        told || self.artifact.as_ref().is_some_and(|artifact| artifact.contains("${{ version }}"))
    }

    /// The playbook as text.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = Page::default();
        page.line("# yaml-language-server: $schema=rollgate.schema.json");
        page.line(
            "# A playbook for rollgate. `rollgate check`, `doctor` and `plan` say whether it fits.",
        );
        page.line("# `rollgate schema > rollgate.schema.json` writes the schema, for editors.");
        page.line(&format!("service: {}", plain(&self.service)));
        if self.has_version() {
            page.line("variables:");
            page.line(&format!("  version: {{ required: true, pattern: '{VERSION}' }}"));
        }
        self.routing(&mut page);
        self.secrets(&mut page);
        self.machines(&mut page);
        self.release(&mut page);
        self.checks(&mut page);
        page.0
    }

    fn routing(&self, page: &mut Page) {
        page.section(
            "Where a node is marked down before it is stopped, and up when it is healthy.",
        );
        match &self.registry {
            FoundRegistry::Keys { prefix, .. } => {
                page.line(&format!("registry: {{ type: consul-kv, prefix: {} }}", plain(prefix)));
            }
            FoundRegistry::Service { service, .. } => {
                page.line(&format!(
                    "registry: {{ type: consul-service, service: {} }}",
                    plain(service)
                ));
            }
            FoundRegistry::Gateways => page.line("registry: { type: gateway }"),
        }
        if !self.consul.is_empty() {
            let addresses: Vec<_> = self.consul.iter().map(|address| plain(address)).collect();
            page.line(&format!("consul: {{ addresses: [{}] }}", addresses.join(", ")));
        }
        page.section(
            "Every gateway that routes to the nodes: rollgate waits until each has followed.",
        );
        page.line("gateways:");
        for gateway in &self.gateways {
            for (index, (key, value)) in gateway.keys.iter().enumerate() {
                let dash = if index == 0 { "-" } else { " " };
                page.line(&format!("  {dash} {key}: {}", yaml(value)));
            }
            let is = |key: &str| gateway.keys.contains_key(key);
            if gateway.settings.kind() == "nginx-upsync" && !is("workers") {
                page.line("    # With these two, a confirmation takes less time. Both are in nginx's configuration.");
                page.line("    # workers: 4             # worker_processes");
                page.line("    # sync_interval: 500ms   # upsync_interval");
            }
        }
    }

    /// The secrets that the gateways' keys name. Each comes from a variable of the environment.
    fn secrets(&self, page: &mut Page) {
        let values = self.gateways.iter().flat_map(|gateway| gateway.keys.values());
        let texts = values.filter_map(Value::as_str);
        let names = texts.filter_map(|text| text.split_once("${{ secrets.")?.1.split_once(" }}"));
        let names: BTreeSet<_> = names.map(|(name, _)| name).collect();
        if !names.is_empty() {
            page.section("Secrets come from the environment or from files, never from this file.");
            page.line("secrets:");
            for name in names {
                page.line(&format!(
                    "  {}: {{ env: {} }}",
                    plain(name),
                    plain(&name.to_uppercase())
                ));
            }
        }
    }

    fn machines(&self, page: &mut Page) {
        if self.ssh_user.is_some() || self.ssh_config.is_some() || self.sudo {
            let config = self.ssh_config.as_ref().map(|file| format!("config: {}", plain(file)));
            let user = self.ssh_user.as_ref().map(|user| format!("user: {}", plain(user)));
            let sudo = self.sudo.then(|| "sudo: true".to_owned());
            let keys: Vec<_> = config.into_iter().chain(user).chain(sudo).collect();
            page.section("How the nodes are reached. Your own ssh configuration counts, too.");
            page.line(&format!("ssh: {{ {} }}", keys.join(", ")));
        } else {
            page.section(
                "The nodes, in the order of a release. `ssh` is a host of your ssh configuration.",
            );
        }
        page.line("nodes:");
        for DraftNode { name, ssh, address } in &self.nodes {
            let (name, ssh, address) = (plain(name), plain(ssh), quoted(address));
            page.line(&format!("  - {{ name: {name}, ssh: {ssh}, address: {address} }}"));
        }
    }

    fn release(&self, page: &mut Page) {
        if let Some(artifact) = &self.artifact {
            let folder = format!("/srv/{}", self.service);
            page.section(
                "What is copied to each node. Both folders are a guess: the service must start from the `current` link.",
            );
            page.line("artifact:");
            page.line(&format!("  source: {}", quoted(artifact)));
            page.line(&format!("  releases: {}", plain(&format!("{folder}/releases"))));
            page.line(&format!("  current: {}", plain(&format!("{folder}/current"))));
        }
        page.section("How the service is replaced, once requests in flight have ended.");
        if self.artifact.is_none() {
            page.line(
                "# `start` starts what is installed. To install a version, run a command first:",
            );
            page.line("# start: apt-get install -y app=${{ version }} && systemctl start app");
        }
        page.line(&format!("stop: {}", command(&self.stop)));
        page.line(&format!("start: {}", command(&self.start)));
        page.line("drain: { timeout: 30s }");
    }

    fn checks(&self, page: &mut Page) {
        page.section("When a node that was started may get requests.");
        page.line("health:");
        match &self.health {
            FoundHealth::Tcp => {
                page.line("  tcp: '${{ node.address }}'");
                page.line("  # It shows that the process is new, not which version runs: a check by `http` can.");
            }
            FoundHealth::Http(path, version) => {
                page.line(&format!(
                    "  http: {}",
                    quoted(&format!("http://${{{{ node.address }}}}{path}"))
                ));
                page.identity(version.as_ref());
            }
        }
        if let Some(unit) = &self.unit {
            page.section("What is shown if a node fails.");
            page.line(&format!(
                "hooks: {{ on_failure: {{ run: {}, on: node }} }}",
                quoted(&unit.log())
            ));
        }
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Where the answer of the health check has the version.
    fn identity(&mut self, found: Option<&FoundVersion>) {
        let Some(FoundVersion { place, now }) = found else {
            self.line("  # Without `identity`, a release shows that the process is new, not which version runs:");
            self.line("  # identity: { pointer: /version, equals: '${{ version }}' }   # or header: X-App-Version");
            return;
        };
        let (what, place) = match place {
            IdentityPlace::Header(name) => ("header", format!("header: {}", plain(name))),
            IdentityPlace::Pointer(pointer) => {
                ("place in the JSON", format!("pointer: {}", plain(pointer)))
            }
        };
        self.line(&format!("  # The {what} that tells which version answers; {now} now."));
        self.line(&format!("  identity: {{ {place}, equals: '${{{{ version }}}}' }}"));
    }

    fn section(&mut self, comment: &str) {
        self.line("");
        self.line(&format!("# {comment}"));
    }
}

/// A text as YAML, without quotes if it needs none.
fn plain(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "_./@-".contains(character);
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(is_plain);
    let has_meaning = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if is_word && !has_meaning.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text as YAML in single quotes.
fn quoted(text: &str) -> String {
    if text.contains(char::is_control) {
        return Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// A command of one line, without quotes if it needs none.
fn command(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "_./@- ".contains(character);
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    if starts && text.contains(' ') && text.chars().all(is_plain) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        plain(text)
    }
}

/// A value as YAML in one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Object(keys) => {
            let keys: Vec<_> =
                keys.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(yaml).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::init::Unit;
    use crate::playbook::load_text;

    fn draft() -> Draft {
        let node = |number: usize| DraftNode {
            name: format!("app-{number}"),
            ssh: format!("10.0.0.{number}"),
            address: format!("10.0.0.{number}:8080"),
        };
        let keys = serde_json::json!({ "type": "nginx-upsync", "upstream": "app",
            "status_url": "http://10.0.0.9:8081/upstream_list?app" });
        let gateway = super::super::gateways::FoundGateway {
            settings: serde_json::from_value(keys.clone()).expect("a gateway"),
            keys: keys.as_object().expect("keys").clone(),
            listed: 2,
        };
        let place = IdentityPlace::Header("x-app-version".into());
        let told = FoundVersion { place, now: "1".into() };
        Draft {
            service: "app".into(),
            consul: vec!["http://10.0.0.5:8500".into()],
            registry: FoundRegistry::Keys {
                prefix: "upstreams/app/".into(),
                addresses: Vec::new(),
            },
            gateways: vec![gateway],
            nodes: vec![node(1), node(2)],
            ssh_user: Some("deploy".into()),
            ssh_config: None,
            sudo: true,
            artifact: Some("dist/app-${{ version }}.tar.gz".into()),
            unit: Some(Unit { name: "app.service".into(), is_users: false }),
            stop: "systemctl stop app".into(),
            start: "systemctl start app".into(),
            health: FoundHealth::Http("/ping".into(), Some(told)),
        }
    }

    #[test]
    fn every_draft_is_a_valid_playbook() {
        let whole = draft();
        let mut drafts = vec![whole.clone()];
        drafts.push(Draft { artifact: None, health: FoundHealth::Tcp, ..whole.clone() });
        let pointer = IdentityPlace::Pointer("/build/version".into());
        let told = FoundVersion { place: pointer, now: "1".into() };
        for told in [Some(told), None] {
            let health = FoundHealth::Http("/ping".into(), told);
            drafts.push(Draft { health, ..whole.clone() });
        }
        drafts.push(Draft { unit: None, sudo: false, ssh_user: None, ..whole.clone() });
        drafts.push(Draft {
            stop: "it's a: trap # here".into(),
            start: "echo \"$(date)\" '${HOME}'".into(),
            service: "on".into(),
            ..whole.clone()
        });
        for draft in drafts {
            let page = draft.page();
            let loaded = load_text("app.yaml", page.clone());
            let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}\n{page}"));
            assert_eq!(loaded.playbook.service, draft.service);
            assert_eq!(loaded.playbook.nodes.len(), 2);
        }
    }

    #[test]
    fn draft_explains_its_parts() {
        let page = draft().page();
        for line in [
            "service: app",
            "registry: { type: consul-kv, prefix: upstreams/app/ }",
            "consul: { addresses: ['http://10.0.0.5:8500'] }",
            "    status_url: 'http://10.0.0.9:8081/upstream_list?app'",
            "  - { name: app-1, ssh: '10.0.0.1', address: '10.0.0.1:8080' }",
            "stop: systemctl stop app",
            "  # The header that tells which version answers; 1 now.",
            "hooks: { on_failure: { run: 'journalctl -u app -n 20 --no-pager', on: node } }",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        assert!(page.starts_with("# yaml-language-server: $schema="), "{page}");
        let comments = page.lines().filter(|line| line.starts_with("# ")).count();
        assert!(comments >= 8, "{page}");
    }
}
