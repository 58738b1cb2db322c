//! ## command
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | Caddy that checks files (no reload) | `gateway` | [caddy-files](../playbooks/caddy-files.yaml) |
//! | any other gateway | `gateway` | [command](../playbooks/command.yaml) |
//!
//! Any other gateway, with your own commands. This example is Linux's own load balancer, IPVS, where a weight of 0
//! means no new connections:
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - type: command
//!     name: lb
//!     ssh: ops@10.0.0.12                                        # without it: this machine
//!     sudo: true
//!     list: ipvsadm --list --numeric --tcp-service 10.0.0.12:80
//!     pattern: '(?m)^\s+->\s+(?<address>\d+\.\d+\.\d+\.\d+:\d+)\s+\S+\s+(?:(?<down>0)|[1-9]\d*)\s'
//!     out: ipvsadm --edit-server --tcp-service 10.0.0.12:80 --real-server "$1" --masquerading --weight 0
//!     in: ipvsadm --edit-server --tcp-service 10.0.0.12:80 --real-server "$1" --masquerading --weight 1
//!     in_flight: ipvsadm --list --numeric --tcp-service 10.0.0.12:80 | awk -v node="$1" '$2 == node { print $5 }'
//! ```
//!
//! **Commands:**
//!
//! - Commands run in `sh`. Their first argument, `$1`, is the node's address: quote it as `"$1"`. Names such as
//!   `${{ version }}` are filled in once for the release.
//! - `list` prints the peers: JSON, with the pointers `peers`, `address` and `routed`, or text, with `pattern`, as for
//!   [http-table](#http-table). An empty list is an error. A node that is not in the list is out; with `out`
//!   and `in`, only by [the rule](#nodes-that-a-gateway-does-not-list).
//! - `out` and `in` take a node out of rotation and return it. Give both or neither. With them, use
//!   `registry: { type: gateway }`. After each command, `list` must show the change. rollgate may run both commands
//!   twice.
//! - Without `out` and `in`, the gateway only shows its list, and needs another registry.
//! - `in_flight` prints one number. With it, the gateway's own count can end the drain.
//! - An exit code other than 0 is an error. The message shows the last line of standard error. A command that takes
//!   longer than `timeout` (10 s) is also an error. It is ended, with all processes that it started.
//!
//! **Confirmation:** a change is confirmed when `list` has shown it for `sync_interval`. The default, 0 s, means one
//! read: about 30 ms with a quick command over ssh. rollgate cannot check whether `list` is correct. If the
//! gateway follows its list with a delay, set `sync_interval`.

#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::query::{Query, first, ok};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl};
use crate::gateway::settings::{Issue, RegistryKind, Settings, SettingsFacts, templates};
use crate::gateway::table::{Place, Table, reading_issues};
use crate::gateway::view::{Nodes, View};
use crate::node::NodeScript;
use crate::period::DurationSetting;
use crate::shell;
use crate::template::Template;
use crate::world::{Command, Host, Reply};

/// Any gateway, with commands: one lists its peers, one takes a node out, and one returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandGateway {
    /// Its name in messages.
    pub name: String,
    /// Prints the peers, as JSON or as text. Like every command here, it runs in `sh`. An exit code other than 0 is
    /// an error.
    pub list: Template,
    /// JSON: pointer to the list of peers, an array or an object. Default: the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub peers: Option<String>,
    /// JSON: pointer from a peer to its `host:port`. Default: the peer itself, or its key in an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub address: Option<String>,
    /// JSON: pointer from a peer to whether it is routed (`true`, `1`, `"up"`, `"UP"` …). Default: a listed peer is
    /// routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub routed: Option<String>,
    /// Text instead of JSON: a regular expression that is matched once per peer, with a group `address`, and a
    /// group `routed` or `down` that takes part in the match only if the peer is routed or down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// Takes the node at the address `$1` out. With `out` and `in`, the gateway obeys the registry `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<Template>,
    /// Returns the node at the address `$1`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub back: Option<Template>,
    /// Prints the number of requests in flight at the node with the address `$1`, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Template>,
    /// The machine on which the commands run: `[user@]host[:port]` or an alias of your ssh configuration. Default:
    /// this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// Use `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
    /// The time limit of a command. It is then ended, with all processes that it started. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationSetting>,
    /// How long the gateway can still act otherwise than `list` says. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for CommandGateway {
    templates!(list, out, back as "in", in_flight);

    fn facts(&self) -> SettingsFacts<'_> {
        let is_written = self.out.is_some() && self.back.is_some();
        let unwritable = (!is_written)
            .then(|| (RegistryKind::Gateway, "it lacks the commands `out` and `in`".to_owned()));
        SettingsFacts {
            name: Some(&self.name),
            place: ("name", &self.name),
            ssh: self.ssh.as_deref().map(|ssh| ("ssh", ssh)),
            counts_under: if self.in_flight.is_some() { &RegistryKind::ALL } else { &[] },
            incompatible_with: unwritable.into_iter().collect(),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let pointers = [
            ("peers", self.peers.is_some()),
            ("address", self.address.is_some()),
            ("routed", self.routed.is_some()),
        ];
        let mut wrong = reading_issues(self.pattern.as_deref(), &pointers, known);
        let lone = match (&self.out, &self.back) {
            (Some(_), None) => Some(("out", "in")),
            (None, Some(_)) => Some(("in", "out")),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if let Some((key, other)) = lone.filter(|(key, other)| known(key) && known(other)) {
            wrong.push(Issue {
                key,
                message: format!("`{key}` without `{other}`"),
                helps: vec!["a node that is taken out must be able to return: give both".into()],
            });
        }
        wrong
    }
}

/// The time limit of one command, if the playbook does not say it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Any gateway, with the user's commands: one lists its peers, one takes a node out, and one returns it.
pub(super) struct CommandDriver {
    facts: Facts,
    settings: CommandGateway,
    table: Table,
}

impl CommandDriver {
    pub(super) fn new(settings: &CommandGateway, nodes: Nodes) -> Self {
        let place = Place {
            list: settings.peers.as_deref(),
            address: settings.address.as_deref(),
            routed: settings.routed.as_deref(),
            down: None,
            in_flight: None,
        };
        let table = Table::new(settings.pattern.as_deref(), place, nodes);
        let interval = settings.sync_interval.map_or(Duration::ZERO, |period| period.0);
        let kind = format!("commands on {}", Host::of(settings.ssh.as_deref()));
        Self { facts: Facts::following(kind, interval), table, settings: settings.clone() }
    }

    fn run(&self, command: &Template, arguments: &[&str]) -> Query {
        let command = shell::with_arguments(command.as_str(), arguments);
        let timeout = self.settings.timeout.map_or(TIMEOUT, |period| period.0);
        let command = Command::new(NodeScript::User { command }, timeout, self.settings.sudo);
        Query::Run(Host::of(self.settings.ssh.as_deref()), command)
    }
}

impl Driver for CommandDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe | Purpose::Rotation => {
                vec![self.run(&self.settings.list, &[])]
            }
            Purpose::Count(address) => {
                let command = self.settings.in_flight.iter();
                command.map(|command| self.run(command, &[address])).collect()
            }
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let view = self.table.read(ok(reply)?)?;
        if view.peers.is_empty() {
            return Err("`list` prints no peers".into());
        }
        Ok(view)
    }

    fn read_count(&self, reply: &Reply) -> Result<u64, String> {
        let text = ok(reply)?.text();
        text.trim().parse().map_err(|_| {
            format!("`in_flight` does not print a number: {}", crate::text::line(&text, 80))
        })
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        (self.settings.out.is_some() && self.settings.back.is_some()).then_some(self)
    }
}

impl RotationControl for CommandDriver {
    /// Some gateways remove nodes from their list.
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let view = self.read(replies)?;
        if let Some(why) = view.unread.get(address) {
            return Err(why.clone());
        }
        let mark = match view.peers.get(address) {
            None => Listed::Absent,
            Some(peer) if peer.up => Listed::Up,
            Some(_) => Listed::Down,
        };
        let strangers = replies.first().map(|reply| self.table.strangers(reply));
        Ok(Listing { strangers: strangers.unwrap_or_default(), ..mark.into() })
    }

    fn set(&self, _: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (key, command) =
            if down { ("out", &self.settings.out) } else { ("in", &self.settings.back) };
        let command =
            command.as_ref().ok_or_else(|| format!("the playbook has no command `{key}`"))?;
        Ok(vec![self.run(command, &[address])])
    }

    /// The query has checked that the exit code is 0. The output can be anything.
    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        if replies.is_empty() { Err(NotDone::Unknown("no reply".into())) } else { Ok(()) }
    }
}
