//! A command line, as an operator types it.

use clap::ArgMatches;
use rollgate::plan::Selection;

use crate::operator::Task;
use crate::suggested::parsed;

/// A command as an operator types it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed {
    pub(crate) task: Task,
    /// The release.
    pub(crate) id: Option<String>,
    /// The named nodes.
    pub(crate) nodes: Vec<String>,
    /// The selected nodes; by default, those of the schedule.
    pub(crate) selection: Option<Selection>,
    /// The version that it asks for.
    pub(crate) version: Option<String>,
    /// It follows the playbook's file, not the journal.
    pub(crate) use_current: bool,
    /// Why nodes leave rotation.
    pub(crate) reason: Option<String>,
}

impl From<Task> for Typed {
    fn from(task: Task) -> Self {
        let nodes = match task {
            Task::NodeOut(node) | Task::NodeIn(node) => vec![format!("node-{}", node + 1)],
            _ => Vec::new(),
        };
        Self { task, nodes, ..Self::default() }
    }
}

impl Typed {
    /// Reads a command line as a shell and rollgate read it.
    #[track_caller]
    pub(crate) fn read(line: &str) -> Self {
        Self::of(line, &parsed(line))
    }

    fn of(line: &str, matches: &ArgMatches) -> Self {
        let (name, arguments) = matches.subcommand().expect("a command");
        let (name, arguments) = match arguments.subcommand() {
            Some((part, arguments)) => (format!("{name} {part}"), arguments),
            None => (name.to_owned(), arguments),
        };
        let list = |id: &str| -> Vec<String> {
            let given = arguments.try_get_many::<String>(id).ok().flatten();
            given.into_iter().flatten().cloned().collect()
        };
        let variables = list("variables");
        let version = variables.iter().find_map(|given| given.strip_prefix("version="));
        let (only, version) = (list("only"), version.map(str::to_owned));
        let task = match name.as_str() {
            "deploy" if given(arguments, "plan") => Task::DeployPlan,
            "deploy" => Task::Deploy,
            "plan" if given(arguments, "out") => Task::PlanOut,
            "plan" => Task::Plan,
            "resume" => Task::Resume,
            "rollback" => Task::Rollback,
            "status" => Task::Status,
            "doctor" => Task::Doctor,
            // The nodes are named.
            "node out" => Task::NodeOut(0),
            "node in" => Task::NodeIn(0),
            "lock show" => Task::ShowLock,
            "lock break" => Task::BreakLock,
            "history" => Task::History,
            "show" => Task::Show,
            other => panic!("`{other}` is not known here: {line}"),
        };
        let selects = matches!(task, Task::Deploy | Task::Plan | Task::PlanOut);
        let selection = selects.then(|| Selection {
            only: only.clone(),
            skip: list("skip"),
            limit: limit(arguments),
            include_held: has(arguments, "include_held"),
            allow_unhealthy: has(arguments, "allow_unhealthy"),
            restart: has(arguments, "restart"),
        });
        let id = arguments.try_get_one::<String>("id").ok().flatten().cloned();
        let nodes = if only.is_empty() { list("names") } else { only };
        let use_current = has(arguments, "use_current");
        let reason = arguments.try_get_one::<String>("reason").ok().flatten().cloned();
        Self { task, id, nodes, selection, version, use_current, reason }
    }
}

fn given(arguments: &ArgMatches, path: &str) -> bool {
    arguments.try_get_one::<std::path::PathBuf>(path).ok().flatten().is_some()
}

fn has(arguments: &ArgMatches, flag: &str) -> bool {
    arguments.try_get_one::<bool>(flag).ok().flatten().is_some_and(|given| *given)
}

fn limit(arguments: &ArgMatches) -> Option<usize> {
    arguments.try_get_one::<usize>("limit").ok().flatten().copied()
}
