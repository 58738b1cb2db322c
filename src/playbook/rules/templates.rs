//! The rules of `${{ name }}`: each name must be known in its place.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::steps::inline;
use crate::playbook::findings::{known, quoted};
use crate::playbook::{BasicAuth, Gateway, InFlight, Node, Playbook, Registry, Template};

const NODE: [&str; 5] = ["node.name", "node.address", "node.host", "node.port", "node.ssh"];
const RELEASE: [&str; 2] = ["release.id", "release.service"];

/// Which names a place allows, besides variables and the release.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The same value for the whole release.
    Release,
    /// Filled in for each node.
    Node,
    /// As for the whole release, and secrets.
    Secret,
    /// As for each node, and secrets.
    NodeAndSecrets,
}

impl Scope {
    fn is_per_node(self) -> bool {
        matches!(self, Self::Node | Self::NodeAndSecrets)
    }

    fn has_secrets(self) -> bool {
        matches!(self, Self::Secret | Self::NodeAndSecrets)
    }
}

/// Returns every template of a playbook with its key path and scope; `gateways` are those of its gateways.
fn all<'a>(
    playbook: &'a Playbook,
    gateways: &'a [Vec<(&'static str, Template)>],
) -> Vec<(String, &'a Template, Scope)> {
    let mut all = Vec::new();
    if let Some(consul) = &playbook.consul {
        let addresses = consul.addresses.iter().enumerate();
        all.extend(
            addresses
                .map(|(index, url)| (format!("consul.addresses[{index}]"), url, Scope::Release)),
        );
        all.extend(consul.token.iter().map(|token| ("consul.token".into(), token, Scope::Secret)));
        all.extend(
            consul.datacenter.iter().map(|name| ("consul.datacenter".into(), name, Scope::Release)),
        );
    }
    for (path, registry) in playbook.registries() {
        match registry {
            Registry::ConsulKv { prefix } => {
                all.push((format!("{path}.prefix"), prefix, Scope::Release));
            }
            Registry::ConsulService { service, agent, .. } => {
                all.push((format!("{path}.service"), service, Scope::Release));
                all.extend(agent.iter().map(|agent| (format!("{path}.agent"), agent, Scope::Node)));
            }
            Registry::Gateway {} => {}
        }
    }
    for (index, node) in playbook.nodes.iter().enumerate() {
        let agent = node.agent.as_ref();
        all.extend(agent.map(|agent| (format!("nodes[{index}].agent"), agent, Scope::Node)));
    }
    for (index, templates) in gateways.iter().enumerate() {
        let path = |key| format!("gateways[{index}].{key}");
        all.extend(templates.iter().map(|(key, template)| (path(key), template, Scope::Release)));
        let secrets = playbook.gateways[index].gateway.settings().facts().secrets;
        all.extend(secrets.iter().map(|(key, template)| (path(key), *template, Scope::Secret)));
    }
    if let Some(artifact) = &playbook.artifact {
        all.push(("artifact.source".into(), &artifact.source, Scope::Release));
        all.extend(
            artifact.sha256.iter().map(|sum| ("artifact.sha256".into(), sum, Scope::Release)),
        );
        all.push(("artifact.releases".into(), &artifact.releases, Scope::Node));
        all.push(("artifact.current".into(), &artifact.current, Scope::Node));
    }
    if let Some(InFlight::Http(metric)) = &playbook.drain.in_flight {
        all.push(("drain.in_flight.http.url".into(), &metric.url, Scope::Node));
    }
    for word in ["stop", "start", "restart"] {
        let command = playbook.command(word);
        all.extend(command.map(|command| (format!("{word}.run"), &command.run, Scope::Node)));
    }
    for (index, step) in playbook.steps.iter().flatten().enumerate() {
        let path = format!("steps[{index}].{}.run", step.word());
        all.extend(inline(step).map(|command| (path, &command.run, Scope::Node)));
    }
    let health = &playbook.health;
    if let Some(http) = &health.http {
        let http = &http.0;
        all.push(("health.http.url".into(), &http.url, Scope::Node));
        all.extend(http.host.iter().map(|host| ("health.http.host".into(), host, Scope::Node)));
        let headers = http.headers.iter();
        all.extend(headers.map(|(name, value)| {
            (format!("health.http.headers.{name}"), value, Scope::NodeAndSecrets)
        }));
        if let Some(BasicAuth { user, password }) = &http.basic_auth {
            all.push(("health.http.basic_auth.user".into(), user, Scope::Node));
            all.push(("health.http.basic_auth.password".into(), password, Scope::Secret));
        }
        all.extend(http.body.iter().map(|body| ("health.http.body".into(), body, Scope::Node)));
    }
    all.extend(health.tcp.iter().map(|tcp| ("health.tcp".into(), &tcp.0, Scope::Node)));
    all.extend(
        health.run.iter().map(|command| ("health.run.run".into(), &command.run, Scope::Node)),
    );
    let service = health.consul.iter();
    all.extend(
        service.map(|consul| ("health.consul.service".into(), &consul.service, Scope::Node)),
    );
    let identity = health.identity.iter();
    all.extend(
        identity.map(|identity| ("health.identity.equals".into(), &identity.equals, Scope::Node)),
    );
    let hook = playbook.hooks.on_failure.iter();
    all.extend(hook.map(|hook| ("hooks.on_failure.run".into(), &hook.run, Scope::Node)));
    all
}

/// Why a name is wrong in its place, for the advice.
enum Issue {
    /// Secrets are not allowed here.
    Secret,
    /// It is known for each node, but this place is not filled in for each node.
    PerNode,
    /// Some nodes do not have the var.
    Lacking,
    Unknown,
}

/// The names that a place allows, and the data for advice about them.
struct Names<'a> {
    playbook: &'a Playbook,
    /// The nodes whose vars are known.
    nodes: Vec<&'a Node>,
    /// How many of them have each var.
    vars: BTreeMap<&'a str, usize>,
}

impl Check<'_> {
    pub(super) fn templates(&mut self) {
        let nodes = self.playbook.nodes.iter().enumerate();
        let nodes = nodes.filter(|(index, _)| self.known(&format!("nodes[{index}].vars")));
        let names = Names::new(self.playbook, nodes.map(|(_, node)| node).collect());
        let (tree, source) = (self.tree, self.source);
        let gateways = self.playbook.gateways.iter();
        let gateways: Vec<_> = gateways.map(|setup| setup.gateway.templates()).collect();
        for (path, template, scope) in all(self.playbook, &gateways) {
            for (name, at) in template.names().0 {
                let Err(wrong) = names.judge(name, scope) else {
                    continue;
                };
                if self.unsure(name, scope, &names) {
                    continue;
                }
                // A token can be in the place of a secret's name.
                let is_shown = scope != Scope::Secret || name.starts_with("secrets.");
                let message =
                    if is_shown { wrong.message(name) } else { "unknown name".to_owned() };
                self.wrong(&path, message, |problem| {
                    let (value, _, _) = tree.locate(&path);
                    let problem = problem.at(value.part(source, at));
                    let problem = if is_shown { problem } else { problem.secret() };
                    let argument = names.as_argument(&path, name, &wrong).map(ToOwned::to_owned);
                    problem.helps(argument.map_or_else(
                        || names.advice(name, scope, &wrong),
                        |argument| vec![argument],
                    ))
                });
            }
        }
    }

    /// Returns whether a name that seems wrong can be right, because a part that could define it is broken.
    fn unsure(&self, name: &str, scope: Scope, names: &Names<'_>) -> bool {
        // If the known vars of a node lack it, or it differs between nodes, it is wrong in any case.
        let of_node = scope.is_per_node() && names.nodes.is_empty();
        match name.split_once('.') {
            None => of_node || !self.known("variables"),
            Some(("secrets", _)) => scope.has_secrets() && !self.known("secrets"),
            Some(("node", rest)) => of_node && rest.starts_with("vars."),
            Some(_) => false,
        }
    }
}

impl Issue {
    fn message(&self, name: &str) -> String {
        let name = quoted(name);
        match self {
            Self::Secret => format!("`{name}` may not be used here"),
            Self::PerNode => format!("`{name}` differs from node to node"),
            Self::Lacking => format!("not every node has `{name}`"),
            Self::Unknown => format!("unknown name `{name}`"),
        }
    }
}

impl<'a> Names<'a> {
    fn new(playbook: &'a Playbook, nodes: Vec<&'a Node>) -> Self {
        let mut vars: BTreeMap<&str, usize> = BTreeMap::new();
        for name in nodes.iter().flat_map(|node| node.vars.keys()) {
            *vars.entry(name).or_default() += 1;
        }
        Self { playbook, nodes, vars }
    }

    fn judge(&self, name: &str, scope: Scope) -> Result<(), Issue> {
        if RELEASE.contains(&name) {
            return Ok(());
        }
        if let Some(variable) = self.playbook.variables.get(name) {
            // With neither, only each node's `vars` give it a value.
            let open = !variable.required && variable.default.is_none();
            let differs = !scope.is_per_node() && open && self.vars.contains_key(name);
            return if differs { Err(Issue::PerNode) } else { Ok(()) };
        }
        if let Some(secret) = name.strip_prefix("secrets.") {
            return match (scope.has_secrets(), self.playbook.secrets.contains_key(secret)) {
                (true, true) => Ok(()),
                (true, false) => Err(Issue::Unknown),
                (false, _) => Err(Issue::Secret),
            };
        }
        let count = self.vars.get(var(name)).copied();
        let builtin = NODE.contains(&name);
        if !scope.is_per_node() && (builtin || count.is_some()) {
            return Err(Issue::PerNode);
        }
        match count {
            _ if builtin => Ok(()),
            Some(count) if count == self.nodes.len() => Ok(()),
            Some(_) => Err(Issue::Lacking),
            None => Err(Issue::Unknown),
        }
    }

    /// How a command of a gateway gets a name that differs between nodes.
    fn as_argument(&self, path: &str, name: &str, wrong: &Issue) -> Option<&'static str> {
        let (index, key) = path.strip_prefix("gateways[")?.split_once("].")?;
        let gateway = self.playbook.gateways.get(index.parse::<usize>().ok()?)?;
        let is_command = matches!(gateway.gateway, Gateway::CommandGateway(_));
        if !is_command
            || !matches!(wrong, Issue::PerNode)
            || !["out", "in", "in_flight"].contains(&key)
        {
            return None;
        }
        match name {
            "node.address" => {
                Some("the command gets the node's address as its first argument: write `\"$1\"`")
            }
            "node.host" => Some(
                "the command gets the node's address as its first argument: write `\"${1%:*}\"`",
            ),
            "node.port" => Some(
                "the command gets the node's address as its first argument: write `\"${1##*:}\"`",
            ),
            _ => None,
        }
    }

    fn advice(&self, name: &str, scope: Scope, wrong: &Issue) -> Vec<String> {
        match wrong {
            Issue::Secret => {
                vec![
                    "secrets may be used only in `consul.token`, a gateway's `admin_key`, and `headers` and \
                     `basic_auth.password` of `health.http`: elsewhere they would be shown"
                        .into(),
                ]
            }
            Issue::PerNode => vec![
                "this is filled in once for the release; names that differ between nodes may be used in commands, \
                 `health`, \
                 `drain`, `hooks`, `artifact.releases` and `artifact.current`"
                    .into(),
            ],
            Issue::Lacking => {
                let nodes = self.nodes.iter();
                let lacking = nodes.filter(|node| !node.vars.contains_key(var(name)));
                let names = lacking.map(|node| format!("`{}`", quoted(node.display_name())));
                let names: Vec<String> = names.take(10).collect();
                vec![
                    format!("it is missing on {}", names.join(", ")),
                    format!("`variables` can give `{}` a default for all", quoted(var(name))),
                ]
            }
            Issue::Unknown => {
                let listed = self.listed(scope);
                known(name, "known here", listed.iter().map(String::as_str))
            }
        }
    }

    fn listed(&self, scope: Scope) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.playbook.variables.keys().cloned().collect();
        names.extend(RELEASE.map(str::to_owned));
        if scope.is_per_node() {
            names.extend(NODE.map(str::to_owned));
            names.extend(self.vars.keys().map(|name| format!("node.vars.{name}")));
        }
        if scope.has_secrets() {
            names.extend(self.playbook.secrets.keys().map(|name| format!("secrets.{name}")));
        }
        names
    }
}

/// Returns the name of the var that a name can mean.
fn var(name: &str) -> &str {
    name.strip_prefix("node.vars.").unwrap_or(name)
}
