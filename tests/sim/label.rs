//! What the label of a suggested command promises.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::node::Node;
use crate::operator::Task;
use crate::suggested::Suggested;
use crate::world::State;

/// Returns what a suggested command has not done although its label says it, in a world without faults.
pub(crate) fn untrue(
    state: &State,
    suggested: &Suggested,
    task: Task,
    end: &End,
) -> Option<String> {
    if !has_ended_well(&suggested.label, task, end) {
        return Some(format!("it ends {end:?}"));
    }
    let label = Label::read(&suggested.label);
    let (registry, held) = (state.registry(), state.held());
    // A held node stays as it is.
    let nodes = state.nodes.iter().zip(registry);
    let mut nodes =
        nodes.filter(|(node, _)| label.names(&node.name) && !held.contains_key(&node.name));
    let wrong = nodes.find(|(node, up)| !label.is_true(node, *up));
    wrong.map(|(node, up)| format!("{} runs {:?}, registry {up}", node.name, node.process))
}

fn has_ended_well(label: &str, task: Task, end: &End) -> bool {
    match task {
        Task::Plan
        | Task::PlanOut
        | Task::Status
        | Task::Doctor
        | Task::ShowLock
        | Task::BreakLock
        | Task::History
        | Task::Show => *end == End::Shown,
        Task::Resume if label.contains("rollback") => {
            matches!(end, End::Finished(Outcome::Done | Outcome::Failed | Outcome::RolledBack, _))
        }
        // Nodes can be there already, e.g. after a release of the version that they ran before.
        Task::Rollback | Task::Deploy | Task::DeployPlan if *end == End::Nothing => true,
        Task::Deploy
        | Task::DeployPlan
        | Task::NodeOut(_)
        | Task::NodeIn(_)
        | Task::Rollback
        | Task::Resume => matches!(end, End::Finished(Outcome::Done, 0)),
    }
}

/// The state that a label promises for its nodes.
enum Promise<'a> {
    /// In rotation with this version.
    Runs(&'a str),
    /// Out of rotation, and stopped if the playbook can do that.
    RunsNothing,
    /// In rotation.
    IsUp,
    Nothing,
}

/// A label of the form `return NODES to STATE`, or `undo the first install of NODES: STATE`.
struct Label<'a> {
    nodes: &'a str,
    promise: Promise<'a>,
}

impl<'a> Label<'a> {
    fn read(label: &'a str) -> Self {
        let none = Self { nodes: "", promise: Promise::Nothing };
        let label = label.strip_prefix("after a fix, ").unwrap_or(label);
        let label = label.strip_suffix(" with the changed file").unwrap_or(label);
        let undone = label.strip_prefix("undo the first install of ");
        if let Some((nodes, _)) = undone.and_then(|it| it.split_once(": ")) {
            return Self { nodes, promise: Promise::RunsNothing };
        }
        let Some((nodes, to)) = label.strip_prefix("return ").and_then(|it| it.split_once(" to "))
        else {
            return none;
        };
        let promise = if let Some(version) = to.strip_prefix("version ") {
            Promise::Runs(version)
        } else if to.starts_with("rotation") {
            Promise::IsUp
        } else {
            Promise::Nothing
        };
        Self { nodes, promise }
    }

    fn names(&self, node: &str) -> bool {
        self.nodes.starts_with("all ") || self.nodes.split(", ").any(|name| name == node)
    }

    fn is_true(&self, node: &Node, up: bool) -> bool {
        let runs = node.process.as_ref().map(|process| process.version.as_str());
        match self.promise {
            Promise::Runs(version) => up && runs == Some(version),
            Promise::RunsNothing => node.is_as_before_install(up),
            Promise::IsUp => up,
            Promise::Nothing => true,
        }
    }
}
