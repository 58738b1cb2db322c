//! The nodes: their addresses, whether ssh reaches them, and which unit listens on their port.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Answers, Interview, NodeAnswer};
use super::nodes::DraftNode;
use super::registries::FoundRegistry;
use crate::address::host_of;
use crate::node::{Listener, NodeScript};
use crate::ops::{Cause, Refusal};
use crate::text;
use crate::world::{Command, Host, World};

/// How long a command on a node may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, with `.service`.
    pub name: String,
    /// It belongs to a user's own systemd.
    pub is_users: bool,
}

impl Unit {
    /// Finds the unit in a process's `/proc/PID/cgroup`.
    fn of_cgroup(text: &str) -> Option<Self> {
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let mut parts = paths.flat_map(|path| path.rsplit('/'));
        let name = parts.find(|part| part.ends_with(".service") && !part.starts_with("user@"))?;
        let is_safe =
            |character: char| character.is_ascii_alphanumeric() || "@._:-\\".contains(character);
        name.chars()
            .all(is_safe)
            .then(|| Self { name: name.to_owned(), is_users: text.contains("/user@") })
    }

    fn systemctl(&self, verb: &str) -> String {
        let user = if self.is_users { " --user" } else { "" };
        let name = self.name.strip_suffix(".service").unwrap_or(&self.name);
        format!("systemctl{user} {verb} {name}")
    }

    /// The command that prints its last log lines.
    #[must_use]
    pub fn log(&self) -> String {
        let user = if self.is_users { " --user" } else { "" };
        let name = self.name.strip_suffix(".service").unwrap_or(&self.name);
        format!("journalctl{user} -u {name} -n 20 --no-pager")
    }
}

/// The nodes: those of the options, or those of the registry.
pub(super) fn nodes(
    answers: &Answers,
    registry: &FoundRegistry,
    service: &str,
    interview: &mut impl Interview,
) -> Result<Vec<DraftNode>, Refusal> {
    let mut given = answers.nodes.clone();
    if given.is_empty() {
        let node = |(address, name)| NodeAnswer { name, ssh: None, address };
        given = registry.addresses().into_iter().map(node).collect();
    }
    if given.is_empty() {
        interview.tell(
            "A node can have a name, and a host for ssh: NAME=HOST:PORT@SSH. `@local` is this machine.",
        );
        let text =
            interview.ask("The nodes: HOST:PORT, separated by blanks", None, "--node HOST:PORT")?;
        let parsed: Result<Vec<_>, _> = text.split_whitespace().map(NodeAnswer::parse).collect();
        given = parsed.map_err(|problem| Refusal::new(Cause::Invalid, problem))?;
    }
    if given.len() < 2 {
        let problem = format!("{}: a release needs at least two", text::count(given.len(), "node"));
        return Err(Refusal::new(Cause::Invalid, problem).hint("add --node HOST:PORT"));
    }
    // The name of a machine is no name of a node if several instances run there.
    let is_unique =
        |name: &String| given.iter().filter(|other| other.name.as_ref() == Some(name)).count() == 1;
    let nodes = given.iter().zip(1..).map(|(node, number)| DraftNode {
        name: node.name.clone().filter(is_unique).unwrap_or_else(|| format!("{service}-{number}")),
        ssh: node.ssh.clone().unwrap_or_else(|| host_of(&node.address).to_owned()),
        address: node.address.clone(),
    });
    Ok(nodes.collect())
}

/// What the nodes' machines say.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    pub(super) unit: Option<Unit>,
    pub(super) sudo: bool,
}

/// Asks the machines which unit listens. The first answer counts: all nodes run the same service.
pub(super) async fn inspect<W: World>(
    world: &Arc<W>,
    nodes: &[DraftNode],
    interview: &mut impl Interview,
) -> Inspected {
    let mut inspected = Inspected::default();
    for node in nodes {
        let host = Host::of(Some(&node.ssh));
        match unit(world, &host, &node.address).await {
            Ok((unit, sudo)) => {
                let seen = match &unit {
                    Some(unit) => unit.name.clone(),
                    None => "no unit of systemd listens on its port".to_owned(),
                };
                interview.tell(&format!("{}: {seen}", node.name));
                if inspected.unit.is_none() {
                    inspected = Inspected { unit, sudo };
                }
            }
            Err(problem) => interview.tell(&format!("{}: {problem}", node.name)),
        }
    }
    inspected
}

/// The unit that listens on a node's port, and whether that needs `sudo` to see.
async fn unit<W: World>(
    world: &Arc<W>,
    host: &Host,
    address: &str,
) -> Result<(Option<Unit>, bool), String> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
    let run = async |script: NodeScript, sudo: bool| {
        let output = world.run(host, Command::new(script, PATIENCE, sudo)).await;
        let output = output.map_err(|error| text::line(&error.to_string(), 200))?;
        if output.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(output.ending())
        }
    };
    for sudo in [false, true] {
        let listener = match run(NodeScript::Listener { port }, sudo).await {
            Ok(text) => Listener::parse(&text, address),
            Err(_) if sudo => break,
            Err(problem) => return Err(problem),
        };
        if let Some(process) = listener.owners.first() {
            let path = format!("/proc/{}/cgroup", process.pid);
            let cgroup = run(NodeScript::File { path }, sudo).await.unwrap_or_default();
            return Ok((Unit::of_cgroup(&cgroup), sudo));
        }
        if !listener.bound {
            break;
        }
    }
    Ok((None, false))
}

/// The commands that stop and start the service.
pub(super) struct Commands {
    pub(super) stop: String,
    pub(super) start: String,
}

pub(super) fn commands(
    answers: &Answers,
    unit: Option<&Unit>,
    interview: &mut impl Interview,
) -> Result<Commands, Refusal> {
    let mut command = |given: &Option<String>, verb: &str| match (given, unit) {
        (Some(command), _) => Ok(command.clone()),
        (None, Some(unit)) => Ok(unit.systemctl(verb)),
        (None, None) => {
            let question = format!("The command that {verb}s the service on a node");
            interview.ask(&question, None, &format!("--{verb} COMMAND"))
        }
    };
    Ok(Commands { stop: command(&answers.stop, "stop")?, start: command(&answers.start, "start")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_of_a_process_is_in_its_control_group() {
        let unit = |text| Unit::of_cgroup(text).map(|unit| (unit.systemctl("stop"), unit.log()));
        let told = |stop: &str, log: &str| Some((stop.to_owned(), log.to_owned()));
        assert_eq!(
            unit("0::/system.slice/app.service\n"),
            told("systemctl stop app", "journalctl -u app -n 20 --no-pager")
        );
        assert_eq!(
            unit(
                "12:pids:/system.slice/app@2.service\n1:name=systemd:/system.slice/app@2.service\n"
            ),
            told("systemctl stop app@2", "journalctl -u app@2 -n 20 --no-pager")
        );
        let users = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n";
        assert_eq!(
            unit(users),
            told("systemctl --user stop web", "journalctl --user -u web -n 20 --no-pager")
        );
        assert_eq!(unit("0::/system.slice/docker-6af.scope\n"), None);
        assert_eq!(unit("0::/system.slice/a$(reboot).service\n"), None);
        assert_eq!(unit("0::/user.slice/user@0.service/init.scope\n"), None);
    }

    #[test]
    fn nodes_have_names_of_their_own() {
        let answers = Answers::default();
        let instances = ["web", "web", "db"].iter().zip(1..);
        let instances = instances.map(|(node, n)| (format!("10.0.0.{n}:80"), (*node).to_owned()));
        let registry =
            FoundRegistry::Service { service: "app".into(), instances: instances.collect() };
        let nodes = nodes(&answers, &registry, "app", &mut Silent).expect("nodes");
        let told: Vec<_> =
            nodes.iter().map(|node| (node.name.as_str(), node.ssh.as_str())).collect();
        assert_eq!(told, [("app-1", "10.0.0.1"), ("app-2", "10.0.0.2"), ("db", "10.0.0.3")]);
        let none = super::nodes(&answers, &FoundRegistry::Gateways, "app", &mut Silent);
        assert_eq!(none.expect_err("refused").hints, ["add --node HOST:PORT"]);
    }

    /// A job without an operator.
    struct Silent;

    impl Interview for Silent {
        fn choose(&mut self, question: &str, _: &[String], option: &str) -> Result<usize, Refusal> {
            Err(super::super::answers::unanswered(question, option))
        }

        fn ask(
            &mut self,
            question: &str,
            _: Option<&str>,
            option: &str,
        ) -> Result<String, Refusal> {
            Err(super::super::answers::unanswered(question, option))
        }

        fn is_possible(&self) -> bool {
            false
        }

        fn tell(&mut self, _: &str) {}
    }
}
