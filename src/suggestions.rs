//! Suggestions after a release: why it ended as it did, and the exact commands to continue.

use crate::journal::is_id;
use crate::release::{CommandKind, NodeState, Outcome, Phase, Release, RotationState};
use crate::shell::quote;

/// The arguments that every suggested command repeats, so that a user can type the command unchanged.
#[derive(Debug, Clone)]
pub struct Repeated {
    /// The playbook's file.
    pub file: String,
    /// Options.
    pub arguments: Vec<String>,
    /// Variables with their values.
    pub variables: Vec<(String, String)>,
}

/// Returns each suggested command with its purpose.
#[must_use]
pub fn commands(release: &Release, outcome: Outcome, repeated: &Repeated) -> Vec<(String, String)> {
    let Some(started) = &release.started else { return Vec::new() };
    let is_typed = started.command.is_release() || started.command.is_by_hand();
    if !is_typed || !is_id(started.inputs.release()) {
        return Vec::new();
    }
    if matches!(outcome, Outcome::Done | Outcome::Nothing) {
        return Vec::new();
    }
    let mut commands = Vec::new();
    let failed: Vec<_> = release
        .in_order()
        .filter(|(_, node)| {
            node.phase == Phase::Failed
                && (node.fell || node.rotation_state() == RotationState::Out)
        })
        .map(|(name, _)| name)
        .collect();
    if matches!(outcome, Outcome::Degraded | Outcome::LockLost) {
        commands.push(("show every node".into(), repeated.command("status", [])));
    }
    if started.command != CommandKind::Deploy {
        let names = release.in_order().map(|(name, _)| name);
        commands.push(("try again".into(), repeated.command(started.command.as_str(), names)));
        return commands;
    }
    let id = started.inputs.release();
    let versions = started.before.versions();
    for name in &failed {
        if let Some(old) = versions.get(name) {
            let back = repeated.command("rollback", [id, "--only", name]);
            commands.push((format!("return {name} to version {old}"), back));
        }
    }
    let changed = release.in_order().any(|(_, node)| node.phase == Phase::Done);
    if changed && let Some(old) = release.in_order().find_map(|(name, _)| versions.get(name)) {
        commands.push((
            format!("return all nodes to version {old}"),
            repeated.command("rollback", [id]),
        ));
    }
    let go_on = match failed.as_slice() {
        [] if matches!(outcome, Outcome::Stopped | Outcome::LockLost) => "resume".to_owned(),
        [] => "after a fix, resume".to_owned(),
        [name] if release.count(|node| node.phase == Phase::Failed) == 1 => {
            format!("after a fix, retry {name} and continue")
        }
        _ => "after a fix, retry the failed nodes and continue".to_owned(),
    };
    commands.push((go_on, repeated.command("resume", [id])));
    let out = |node: &NodeState| node.rotation_state() == RotationState::Out;
    for (name, _) in release.in_order().filter(|(_, node)| out(node)) {
        commands.push((return_as_it_is(name), repeated.command("node in", [name])));
    }
    commands
}

/// The purpose of the command that marks a node up with the version that it runs.
#[must_use]
pub fn return_as_it_is(node: &str) -> String {
    format!("return {node} to rotation as it is now, if healthy")
}

/// Maximum number of failed nodes named in one line.
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
    let mut problems: Vec<_> = release.in_order().filter_map(told).collect();
    let more = problems.len().saturating_sub(NODES_TOLD);
    problems.truncate(NODES_TOLD);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    if outcome == Outcome::Stopped || problems.is_empty() {
        let stopping = release.stopping.as_deref().unwrap_or("on request");
        problems.insert(0, format!("stopped: {stopping}"));
    }
    Some(problems.join("; "))
}

impl Repeated {
    /// Returns the command line of `command` with the same playbook, and these words after the playbook's file.
    #[must_use]
    pub fn command<'a>(&self, command: &str, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut line = format!("rollgate {command} {}", quote(&self.file));
        for word in words {
            line += &format!(" {}", quote_option(word));
        }
        // The release's journal contains the variables.
        if !matches!(command, "resume" | "rollback") {
            for (name, value) in &self.variables {
                line += &format!(" --var {}", quote(&format!("{name}={value}")));
            }
        }
        // `--yes` answers a question that `status` does not ask.
        let is_answer = |argument: &&String| *argument == "--yes" && command == "status";
        for argument in self.arguments.iter().filter(|argument| !is_answer(argument)) {
            line += &format!(" {}", quote_option(argument));
        }
        line
    }
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
    use crate::release::{Failure, Step};

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
        let repeated =
            Repeated { file: "it's.yaml".into(), arguments: Vec::new(), variables: Vec::new() };
        let told = |command: &str, id: &str| {
            let mut release = release(&[("a", failed(Step::Health, "late"))]);
            let mut started = serde_json::to_value(&release.started).expect("a start");
            started["command"] = command.into();
            started["file"] = "/tmp/evil.yaml".into();
            started["inputs"]["release"] = id.into();
            release.started = Some(serde_json::from_value(started).expect("a start"));
            commands(&release, Outcome::Failed, &repeated)
        };
        assert_eq!(told("touch x; rollgate", "r1"), []);
        assert_eq!(told("deploy", "r1; touch x"), []);
        let resume = r"rollgate resume 'it'\''s.yaml' r1".to_owned();
        assert_eq!(told("deploy", "r1"), [("after a fix, resume".to_owned(), resume)]);
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
