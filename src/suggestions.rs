//! Suggestions after a release: why it ended as it did, and the exact commands to continue.

use std::collections::BTreeSet;

use crate::journal::is_id;
use crate::release::{
    CommandKind, NodeState, Outcome, Phase, Release, RestorePoint, RotationState, Started, Step,
};
use crate::shell::quote;
use crate::text::{count, few};

/// The arguments that every suggested command repeats, so that a user can type the command unchanged.
#[derive(Debug, Clone, Default)]
pub struct Repeated {
    /// The playbook's file.
    pub file: String,
    /// Options.
    pub arguments: Vec<String>,
    /// Variables with their values.
    pub variables: Vec<(String, String)>,
    /// Variables that only a release needs: a change by hand works without them.
    pub release_only: BTreeSet<String>,
    /// Variables that choose what is deployed: a restart refuses them.
    pub choose_version: BTreeSet<String>,
    /// The playbook's file was changed since the release began, and the release can be resumed with it.
    pub file_was_changed: bool,
}

/// What was seen after a release, as far as it decides what to do next.
pub trait Inspection {
    /// Returns whether the registry and every gateway could be read.
    fn is_complete(&self) -> bool;

    /// Returns those of these nodes that can be updated now; none if together they would leave too few in rotation.
    fn updatable<'a>(&self, nodes: Vec<&'a str>) -> Vec<&'a str>;

    /// Returns whether enough nodes are in rotation without these, after `returned` nodes are back.
    fn can_stay_out(&self, nodes: &[&str], returned: &[&str]) -> bool;

    /// Returns whether a node is marked down in any registry, and no operator holds it.
    fn is_down(&self, node: &str) -> bool;

    /// Returns whether a node is as before its first install: marked down and, if the playbook can stop it, stopped.
    fn is_undone(&self, node: &str) -> bool;

    /// Returns whether a node passes its health check.
    fn is_healthy(&self, node: &str) -> bool;

    /// Returns whether a node is marked up, healthy, and runs this version.
    fn serves(&self, node: &str, version: &str) -> bool;

    /// Returns the nodes that gateways route to although nothing listens there.
    fn dead(&self) -> Vec<&str>;

    /// Returns whether a release can be resumed now.
    fn can_resume(&self, release: &Release) -> bool;

    /// Returns whether the same command would update a node again, as far as is known.
    fn has_updates(&self, release: &Release, started: &Started) -> bool;
}

/// The state that commands are suggested for.
pub struct Situation<'a> {
    /// The release.
    pub release: &'a Release,
    /// How it ended. A release that was interrupted counts as stopped.
    pub outcome: Outcome,
    /// Whether a later release has changed some of its nodes. Such a release cannot be resumed.
    pub is_superseded: bool,
    /// Those nodes.
    pub changed_later: &'a [&'a str],
    /// What was seen after it, if there was an inspection.
    pub seen: Option<&'a dyn Inspection>,
    /// Nodes that are out of rotation for other reasons, and serve.
    pub also_out: &'a [&'a str],
    /// The arguments of every command.
    pub repeated: &'a Repeated,
}

impl<'a> Situation<'a> {
    /// The situation after the end of a release, before anything was inspected.
    #[must_use]
    pub fn new(release: &'a Release, outcome: Outcome, repeated: &'a Repeated) -> Self {
        let (is_superseded, changed_later) = (false, &[][..]);
        Self { release, outcome, is_superseded, changed_later, seen: None, also_out: &[], repeated }
    }

    /// Returns each suggested command with its purpose, at most [`MOST`].
    #[must_use]
    pub fn commands(&self) -> Vec<(String, String)> {
        let Some(started) = &self.release.started else { return Vec::new() };
        let is_typed = started.command.is_release() || started.command.is_by_hand();
        if !is_typed || !is_id(started.inputs.release()) {
            return Vec::new();
        }
        let status = ("show every node".to_owned(), self.repeated.command("status", []));
        let mut commands = match self.outcome {
            Outcome::Done | Outcome::Nothing => Vec::new(),
            // The commands depend on what the next holder of the lock does.
            Outcome::LockLost => {
                let what = "show every node, and what to do next".to_owned();
                return vec![(what, status.1)];
            }
            _ if matches!(started.command, CommandKind::Deploy | CommandKind::Restart) => {
                self.restart().into_iter().chain(self.after_deploy(started)).collect()
            }
            _ if started.command == CommandKind::Rollback => {
                let what = if self.outcome == Outcome::Stopped && self.can_resume() {
                    "resume the rollback"
                } else {
                    "after a fix, finish the rollback"
                };
                vec![self.resume(started, what)]
            }
            _ => {
                let names = self.release.in_order().map(|(name, _)| name);
                let command = self.repeated.command(started.command.as_str(), names);
                return vec![("try again".to_owned(), command)];
            }
        };
        commands.extend(self.node_in());
        // A whole inspection is shown in a table of every node already.
        if self.outcome == Outcome::Degraded && !self.seen.is_some_and(Inspection::is_complete) {
            commands.push(status);
        }
        commands.truncate(MOST);
        commands
    }

    /// Restarts nodes that serve no longer, and that the release does not change.
    fn restart(&self) -> Option<(String, String)> {
        let is_other = |name: &&str| {
            let node = self.release.nodes.get(*name);
            node.is_none_or(|node| matches!(node.phase, Phase::LeftOut | Phase::Skipped))
        };
        let dead: Vec<_> = self.seen?.dead().into_iter().filter(is_other).collect();
        restart(&dead, self.repeated)
    }

    fn after_deploy(&self, started: &Started) -> Vec<(String, String)> {
        let is_last = |name: &str| !self.changed_later.contains(&name);
        let stuck = self.nodes(|name, node| is_last(name) && self.is_stuck(name, node));
        let is_done = |node: &NodeState| node.phase == Phase::Done;
        // It runs the new version, but was not confirmed in rotation.
        let is_new =
            |node: &NodeState| is_done(node) || node.rotation_state() == RotationState::Enabled;
        let changed =
            self.nodes(|name, node| is_last(name) && (is_new(node) || self.is_stuck(name, node)));
        let mut commands = Vec::new();
        if self.outcome == Outcome::Stopped {
            commands.extend(self.continuation(started));
        }
        if stuck.len() < changed.len() {
            commands.extend(self.rollback(started, stuck));
        }
        commands.extend(self.rollback(started, changed));
        if self.outcome != Outcome::Stopped {
            commands.extend(self.continuation(started));
        }
        commands.dedup();
        commands
    }

    /// Returns the command that continues the release, or finishes its rollback; none if nothing is left to do.
    fn continuation(&self, started: &Started) -> Option<(String, String)> {
        let release = self.release;
        let turning =
            |_: &str, node: &NodeState| node.goes_back() && node.phase != Phase::RolledBack;
        let turning = self.nodes(turning);
        if !self.is_superseded && !turning.is_empty() && self.can_return(started, &turning) {
            return Some(self.resume(started, "after a fix, finish the rollback"));
        }
        // `resume` does not update a node that it has rolled back.
        if self.is_superseded || release.nodes.values().any(NodeState::goes_back) {
            if self.seen.is_some_and(|seen| !seen.has_updates(release, started)) {
                return None;
            }
            let words = started.selection.iter().map(String::as_str);
            let to = started.to.as_ref().map_or(String::new(), |to| format!(" {to}"));
            let again = match started.command {
                CommandKind::Restart => "restart".to_owned(),
                _ => format!("release{to}"),
            };
            let what = format!("after a fix, {again} again");
            return Some((what, self.repeated.command("deploy", words)));
        }
        let failed = self.nodes(|_, node| node.phase == Phase::Failed);
        let what = match (self.outcome, failed.as_slice()) {
            (Outcome::Stopped, []) if self.can_resume() => "resume".to_owned(),
            (_, []) => "after a fix, resume".to_owned(),
            (_, [name]) => format!("after a fix, retry {name} and continue"),
            (_, _) => "after a fix, retry the failed nodes and continue".to_owned(),
        };
        Some(self.resume(started, &what))
    }

    fn resume(&self, started: &Started, what: &str) -> (String, String) {
        let id = started.inputs.release();
        if self.repeated.file_was_changed {
            let what = format!("{what}{WITH_FILE}");
            return (what, self.repeated.command("resume", [id, USE_CURRENT]));
        }
        (what.to_owned(), self.repeated.command("resume", [id]))
    }

    fn can_resume(&self) -> bool {
        self.seen.is_none_or(|seen| seen.can_resume(self.release))
    }

    /// Returns the nodes that this is true for, in the release's order.
    fn nodes(&self, is: impl Fn(&str, &NodeState) -> bool) -> Vec<&str> {
        let nodes = self.release.in_order().filter(|(name, node)| is(name, node));
        nodes.map(|(name, _)| name).collect()
    }

    /// Returns whether a node is out of rotation, or serves no longer.
    fn is_stuck(&self, name: &str, node: &NodeState) -> bool {
        let is_out = self.seen.is_none_or(|seen| seen.is_down(name));
        let out = node.rotation_state() == RotationState::Out && is_out;
        !node.goes_back() && !node.is_held() && (out || (node.phase == Phase::Failed && node.fell))
    }

    /// Returns whether enough nodes stay in rotation when these have returned to what they ran before: a first install
    /// stops.
    fn can_return(&self, started: &Started, nodes: &[&str]) -> bool {
        let versions = started.before.versions();
        let is_first =
            |name: &&str| versions.get(name).is_some_and(|it| it == RestorePoint::NO_VERSION);
        let (stopped, returned): (Vec<_>, Vec<_>) = nodes.iter().copied().partition(is_first);
        self.seen.is_none_or(|seen| seen.can_stay_out(&stopped, &returned))
    }

    /// Returns nodes to what they ran before, as far as that is known and possible now.
    fn rollback(&self, started: &Started, wanted: Vec<&str>) -> Option<(String, String)> {
        let versions = started.before.versions();
        let is_known = |name: &&str| versions.contains_key(name);
        let mut nodes: Vec<_> = wanted.into_iter().filter(is_known).collect();
        let seen = self.seen.filter(|seen| seen.is_complete());
        if let Some(seen) = seen {
            let is_back = |name: &str| match versions.get(name) {
                Some(to) if to == RestorePoint::NO_VERSION => seen.is_undone(name),
                to => to.is_some_and(|to| seen.serves(name, to)),
            };
            nodes.retain(|name| !is_back(name));
            nodes = seen.updatable(nodes);
        }
        // The rollback of a first install only stops it.
        let is_first =
            |name: &&str| versions.get(name).is_some_and(|it| it == RestorePoint::NO_VERSION);
        if !self.can_return(started, &nodes) {
            nodes.retain(|name| !is_first(name));
            if let Some(seen) = seen {
                nodes = seen.updatable(nodes);
            }
        }
        let first = versions.get(nodes.first()?)?;
        let is_undo = nodes.iter().all(is_first);
        let to = if nodes.iter().all(|name| versions.get(name) == Some(first)) {
            format!("version {first}")
        } else {
            "what they ran before".to_owned()
        };
        // Without names, the command takes every node that the release has changed.
        let others = self.nodes(|name, node| node.is_changed() && !nodes.contains(&name));
        let is_back = |name: &&str| {
            let node = self.release.nodes.get(*name);
            node.is_some_and(|node| node.rotation_state() == RotationState::PutBack)
        };
        let is_whole = others.iter().all(|name| is_known(name) && is_back(name));
        let id = started.inputs.release();
        let only = nodes.join(",");
        let only = if is_whole { &[][..] } else { &["--only", &only] };
        // The playbook in the journal is the one with which the release failed.
        let with_file = self.repeated.file_was_changed.then_some(USE_CURRENT);
        let words = [id].into_iter().chain(only.iter().copied()).chain(with_file);
        let command = self.repeated.command("rollback", words);
        // A skipped node keeps the version that it ran before.
        let any = |phase: Phase| self.release.nodes.values().any(|node| node.phase == phase);
        let is_all = is_whole && any(Phase::Done) && !any(Phase::Skipped);
        let who = if is_all && nodes.len() > NODES_TOLD {
            format!("all {}", count(nodes.len(), "node"))
        } else {
            named(&nodes)
        };
        let fixed = if self.seen.is_some() && seen.is_none() { "after a fix, " } else { "" };
        let what = if is_undo {
            format!("undo the first install of {who}: out of rotation and, if possible, stopped")
        } else {
            format!("return {who} to {to}")
        };
        let with = with_file.map_or("", |_| WITH_FILE);
        Some((format!("{fixed}{what}{with}"), command))
    }

    /// Marks nodes up that are out although they serve.
    fn node_in(&self) -> Option<(String, String)> {
        let serves = |name: &str, node: &NodeState| match self.seen {
            Some(seen) => seen.is_down(name) && seen.is_healthy(name),
            None => !node.is_stopped() || node.done.contains(&Step::Health),
        };
        let is_out = |node: &NodeState| {
            let is_out = match node.rotation_state() {
                RotationState::Out => true,
                RotationState::Unknown => self.seen.is_some(),
                _ => false,
            };
            is_out && !node.is_held()
        };
        let mut nodes = self.nodes(|name, node| is_out(node) && serves(name, node));
        let known: BTreeSet<_> = nodes.iter().copied().collect();
        nodes.extend(self.also_out.iter().filter(|name| !known.contains(*name)));
        node_in(&nodes, self.repeated)
    }
}

/// Marks nodes up with the version that they run.
#[must_use]
pub fn node_in(nodes: &[&str], repeated: &Repeated) -> Option<(String, String)> {
    let what = format!("return {} to rotation as it is now, if healthy", named(nodes));
    let what = if nodes.len() > 1 { what.replace("it is", "they are") } else { what };
    let command = repeated.command("node in", nodes.iter().copied());
    (!nodes.is_empty()).then_some((what, command))
}

/// Restarts nodes that serve no longer.
#[must_use]
pub fn restart(nodes: &[&str], repeated: &Repeated) -> Option<(String, String)> {
    let only = nodes.join(",");
    let command = repeated.command("deploy", [RESTART, "--only", &only]);
    (!nodes.is_empty()).then(|| (format!("after a fix, restart {}", named(nodes)), command))
}

/// Releases a version again to nodes that have lost it.
#[must_use]
pub fn update(
    nodes: &[&str],
    version: Option<&str>,
    repeated: &Repeated,
) -> Option<(String, String)> {
    let only = nodes.join(",");
    let what = version.map_or("release".to_owned(), |version| format!("release {version}"));
    let command = repeated.command("deploy", ["--only", &only]);
    (!nodes.is_empty()).then(|| (format!("after a fix, {what} to {} again", named(nodes)), command))
}

/// Names a few nodes, and counts many.
fn named(nodes: &[&str]) -> String {
    if nodes.len() > NODES_TOLD { count(nodes.len(), "node") } else { nodes.join(", ") }
}

/// The option that deploys nothing, and accepts no variable that chooses a version.
const RESTART: &str = "--restart";

/// The option that selects the playbook's file in place of the playbook in the journal.
pub const USE_CURRENT: &str = "--use-current";

/// Ends the purpose of a command with that option.
const WITH_FILE: &str = " with the changed file";

/// The largest number of suggested commands.
pub const MOST: usize = 4;

/// Maximum number of nodes named in one line.
const NODES_TOLD: usize = 3;

/// Returns why a release is not done, in one line.
#[must_use]
pub fn reason(release: &Release, outcome: Outcome) -> Option<String> {
    if matches!(outcome, Outcome::Done | Outcome::Nothing) {
        return None;
    }
    let told = |(name, node): (&str, &NodeState)| {
        let step = node.failed_at.map_or(String::new(), |step| format!(", {step}"));
        match (&node.failure, node.phase, node.rotation_state()) {
            (Some(failure), _, _) => Some(format!("{name}{step}: {}", failure.reason)),
            (None, Phase::Blocked, _) => Some(format!("{name}: {}", release.plan_of(name)?.why)),
            (None, _, RotationState::Unknown) => {
                Some(format!("{name}: the result of its registry write is unknown"))
            }
            (None, _, _) => None,
        }
    };
    let mut problems = few(release.in_order().filter_map(told), NODES_TOLD);
    if outcome == Outcome::Stopped || problems.is_empty() {
        let stopping = release.stopping.as_deref().unwrap_or("on request");
        problems.insert(0, format!("stopped: {stopping}"));
    }
    Some(problems.join("; "))
}

impl Repeated {
    /// The same without the variables that choose what is deployed.
    #[must_use]
    pub fn without_version(mut self) -> Self {
        self.variables.retain(|(name, _)| !self.choose_version.contains(name));
        self
    }

    /// Returns the command line of `command` with the same playbook, and these words after the playbook's file.
    #[must_use]
    pub fn command<'a>(&self, command: &str, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut line = format!("rollgate {command} {}", quote(&self.file));
        let mut is_restart = false;
        for word in words {
            is_restart |= word == RESTART;
            line += &format!(" {}", quote_option(word));
        }
        let is_by_hand = matches!(command, "node out" | "node in");
        // The release's journal contains the variables.
        let known = matches!(command, "resume" | "rollback" | "history" | "show");
        let is_used = |name: &String| {
            let is_needless = is_by_hand && self.release_only.contains(name);
            !(known || is_needless || is_restart && self.choose_version.contains(name))
        };
        for (name, value) in self.variables.iter().filter(|(name, _)| is_used(name)) {
            line += &format!(" --var {}", quote(&format!("{name}={value}")));
        }
        // `--yes` answers a question that these commands do not ask.
        let asks = !is_by_hand && !matches!(command, "status" | "history" | "show");
        let is_answer = |argument: &&String| *argument == "--yes" && !asks;
        for argument in self.arguments.iter().filter(|argument| !is_answer(argument)) {
            line += &format!(" {}", quote_option(argument));
        }
        line
    }
}

/// Returns the command that runs a plan file.
#[must_use]
pub fn run_plan(plan: &str, arguments: &[String]) -> String {
    let mut line = format!("rollgate deploy --plan {}", quote(plan));
    for argument in arguments {
        line += &format!(" {}", quote_option(argument));
    }
    line
}

/// rollgate's own options need no quoting; their values may.
fn quote_option(argument: &str) -> String {
    match argument.strip_prefix("--") {
        Some(option) if option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') => {
            argument.to_owned()
        }
        _ => quote(argument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Mark;
    use crate::release::{Direction, Failure, Step};

    fn release(nodes: &[(&str, NodeState)]) -> Release {
        let planned = nodes.iter().map(|(name, node)| {
            let blocked = node.phase == Phase::Blocked;
            serde_json::json!({ "node": name, "will": if blocked { "blocked" } else { "update" }, "why": "no route" })
        });
        let started = serde_json::json!({
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml", "playbook": null,
            "nodes": planned.collect::<Vec<_>>(),
            "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
        });
        Release {
            started: Some(serde_json::from_value(started).expect("a start")),
            nodes: nodes.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect(),
            ..Release::default()
        }
    }

    fn failed(step: Step, reason: &str) -> NodeState {
        let failure = Failure { reason: reason.into(), ..Failure::default() };
        let (failed_at, failure) = (Some(step), Some(failure));
        NodeState { phase: Phase::Failed, failed_at, failure, ..NodeState::default() }
    }

    #[test]
    fn a_journal_from_elsewhere_suggests_no_command_of_its_own() {
        let repeated = Repeated { file: "it's.yaml".into(), ..Repeated::default() };
        let told = |command: &str, id: &str| {
            let mut release = release(&[("a", failed(Step::Health, "late"))]);
            let mut started = serde_json::to_value(&release.started).expect("a start");
            started["command"] = command.into();
            started["file"] = "/tmp/evil.yaml".into();
            started["inputs"]["release"] = id.into();
            release.started = Some(serde_json::from_value(started).expect("a start"));
            let outcome = Outcome::Failed;
            Situation::new(&release, outcome, &repeated).commands()
        };
        assert_eq!(told("touch x; rollgate", "r1"), []);
        assert_eq!(told("deploy", "r1; touch x"), []);
        let resume = r"rollgate resume 'it'\''s.yaml' r1".to_owned();
        assert_eq!(
            told("deploy", "r1"),
            [("after a fix, retry a and continue".to_owned(), resume)]
        );
    }

    /// Every node is in rotation, healthy, and runs this version. None may leave for good.
    struct Seen(&'static str);

    impl Inspection for Seen {
        fn is_complete(&self) -> bool {
            true
        }

        fn updatable<'a>(&self, nodes: Vec<&'a str>) -> Vec<&'a str> {
            nodes
        }

        fn can_stay_out(&self, nodes: &[&str], _: &[&str]) -> bool {
            nodes.is_empty()
        }

        fn is_down(&self, _: &str) -> bool {
            false
        }

        fn is_undone(&self, _: &str) -> bool {
            false
        }

        fn is_healthy(&self, _: &str) -> bool {
            true
        }

        fn serves(&self, _: &str, version: &str) -> bool {
            version == self.0
        }

        fn dead(&self) -> Vec<&str> {
            Vec::new()
        }

        fn can_resume(&self, _: &Release) -> bool {
            true
        }

        fn has_updates(&self, _: &Release, started: &Started) -> bool {
            started.to.as_deref() != Some(self.0)
        }
    }

    /// The node `a` ran version 1 before.
    fn with_version_before(nodes: &[(&str, NodeState)]) -> Release {
        let mut release = release(nodes);
        let mut started = serde_json::to_value(&release.started).expect("a start");
        started["before"] = serde_json::json!([{
            "nodes": ["a"], "version": "1", "variables": {}, "artifact": null,
        }]);
        release.started = Some(serde_json::from_value(started).expect("a start"));
        release
    }

    #[test]
    fn no_rollback_is_suggested_to_a_version_that_serves_already() {
        let done = NodeState { phase: Phase::Done, ..NodeState::default() };
        let release = with_version_before(&[("a", done), ("b", failed(Step::Health, "late"))]);
        let repeated = Repeated { file: "app.yaml".into(), ..Repeated::default() };
        let labels = |version| {
            let seen = Seen(version);
            let seen: Option<&dyn Inspection> = Some(&seen);
            let situation = Situation::new(&release, Outcome::Failed, &repeated);
            let commands = Situation { seen, ..situation }.commands();
            commands.into_iter().map(|(label, _)| label).collect::<Vec<_>>()
        };
        let retry = "after a fix, retry b and continue";
        assert_eq!(labels("2"), ["return a to version 1", retry]);
        assert_eq!(labels("1"), [retry]);
    }

    #[test]
    fn no_deploy_is_suggested_that_would_update_no_node() {
        let back =
            NodeState { way: Direction::Back, phase: Phase::RolledBack, ..NodeState::default() };
        let mut release = release(&[("a", back)]);
        release.started.as_mut().expect("a start").to = Some("2".into());
        let repeated = Repeated { file: "app.yaml".into(), ..Repeated::default() };
        let labels = |version| {
            let seen: Option<&dyn Inspection> = Some(&Seen(version));
            let situation = Situation::new(&release, Outcome::RolledBack, &repeated);
            let commands = Situation { seen, ..situation }.commands();
            commands.into_iter().map(|(label, _)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels("1"), ["after a fix, release 2 again"]);
        assert!(labels("2").is_empty());
    }

    #[test]
    fn no_rollback_is_suggested_that_would_stop_the_last_node() {
        let failed = NodeState { way: Direction::Back, ..failed(Step::Disable, "the last one") };
        let labels = |version: &str| {
            let mut release = release(&[("a", failed.clone())]);
            let mut started = serde_json::to_value(&release.started).expect("a start");
            started["to"] = "2".into();
            started["before"] =
                serde_json::json!([{ "nodes": ["a"], "version": version, "variables": {} }]);
            release.started = Some(serde_json::from_value(started).expect("a start"));
            let repeated = Repeated { file: "app.yaml".into(), ..Repeated::default() };
            let seen: Option<&dyn Inspection> = Some(&Seen("0"));
            let situation = Situation::new(&release, Outcome::Degraded, &repeated);
            let commands = Situation { seen, ..situation }.commands();
            commands.into_iter().map(|(label, _)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels("1"), ["after a fix, finish the rollback"]);
        assert_eq!(labels(RestorePoint::NO_VERSION), ["after a fix, release 2 again"]);
    }

    #[test]
    fn node_that_was_marked_up_with_the_new_version_can_be_rolled_back() {
        let enabled = NodeState {
            phase: Phase::Interrupted,
            marked: Mark::Up,
            done: [Step::Health, Step::Enable].into(),
            ..NodeState::default()
        };
        let release = with_version_before(&[("a", enabled)]);
        assert_eq!(release.nodes["a"].rotation_state(), RotationState::Enabled);
        let repeated = Repeated { file: "app.yaml".into(), ..Repeated::default() };
        let commands = Situation::new(&release, Outcome::Stopped, &repeated).commands();
        let labels: Vec<_> = commands.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["resume", "return a to version 1"]);
    }

    #[test]
    fn the_reason_names_the_nodes_and_what_stopped_the_others() {
        let late = failed(Step::Health, "not healthy within 90s");
        let mut release = release(&[
            ("b", late),
            ("a", NodeState { phase: Phase::Blocked, ..NodeState::default() }),
            (
                "c",
                NodeState {
                    phase: Phase::Interrupted,
                    writing: Some(Mark::Up),
                    ..NodeState::default()
                },
            ),
            ("d", failed(Step::Stop, "exit 1")),
            ("e", NodeState::default()),
        ]);
        let told = "b, health: not healthy within 90s; a: no route; \
                    c: the result of its registry write is unknown; and 1 more";
        assert_eq!(reason(&release, Outcome::Failed).as_deref(), Some(told));
        release.stopping = Some("SIGTERM".into());
        let stopped = format!("stopped: SIGTERM; {told}");
        assert_eq!(reason(&release, Outcome::Stopped), Some(stopped));
        assert_eq!(reason(&release, Outcome::Done), None);
    }
}
