//! The rules of the steps: what each step needs before it, and where its command is.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::playbook::findings::likely;
use crate::playbook::step::STEP_WORDS;
use crate::playbook::{CommandSpec, Playbook, StepSpec};

/// Which step must be before which other step, why, and the rule's name.
const ORDER: [(&str, &str, &str, &str); 13] = [
    (
        "confirm_out",
        "drain",
        "drain-after-confirm-out",
        "a gateway that still routes here sends new requests",
    ),
    (
        "confirm_out",
        "stop",
        "stop-after-confirm-out",
        "a gateway that still routes here would lose requests",
    ),
    ("drain", "stop", "stop-after-drain", "requests in flight would be cut"),
    (
        "confirm_out",
        "restart",
        "restart-after-confirm-out",
        "a gateway that still routes here would lose requests",
    ),
    ("drain", "restart", "restart-after-drain", "requests in flight would be cut"),
    ("stop", "activate", "activate-after-stop", "the old process would run on the new files"),
    ("stop", "start", "start-after-stop", "the old process still has the port"),
    ("activate", "start", "start-after-activate", "the old release would be started"),
    ("activate", "restart", "restart-after-activate", "the old release would be started"),
    ("start", "health", "health-after-start", "the old process would be checked"),
    ("restart", "health", "health-after-restart", "the old process would be checked"),
    ("health", "enable", "enable-after-health", "requests would go to a process that is not ready"),
    ("enable", "confirm_in", "confirm-in-after-enable", "nothing routes here before that"),
];

/// The steps without which no release is safe, and why.
const NEEDED: [(&str, &str); 5] = [
    ("confirm_out", "it confirms that every gateway stopped routing to the node"),
    ("drain", "it lets the requests in flight finish"),
    ("health", "it checks that the new process can serve"),
    ("enable", "it marks the node up again"),
    ("confirm_in", "it confirms that every gateway routes to the node again"),
];

const WITH_COMMAND: [&str; 3] = ["stop", "start", "restart"];

impl Playbook {
    /// Returns the steps of one node in order, each with its command: the given steps, or the default list.
    #[must_use]
    pub fn effective_steps(&self) -> Vec<StepSpec> {
        let Some(steps) = &self.steps else {
            return self.default_steps();
        };
        let filled = steps.iter().cloned().map(|step| match step {
            StepSpec::Stop(None) => StepSpec::Stop(self.stop.clone()),
            StepSpec::Start(None) => StepSpec::Start(self.start.clone()),
            StepSpec::Restart(None) => StepSpec::Restart(self.restart.clone()),
            other => other,
        });
        filled.collect()
    }

    fn default_steps(&self) -> Vec<StepSpec> {
        let activate = self.artifact.as_ref().map(|_| StepSpec::Activate);
        let mut steps = vec![StepSpec::ConfirmOut, StepSpec::Drain];
        if self.restart.is_some() {
            steps.extend(activate);
            steps.push(StepSpec::Restart(self.restart.clone()));
        } else {
            steps.push(StepSpec::Stop(self.stop.clone()));
            steps.extend(activate);
            steps.push(StepSpec::Start(self.start.clone()));
        }
        steps.extend([StepSpec::Health, StepSpec::Enable, StepSpec::ConfirmIn]);
        steps
    }

    /// Returns the top-level command of a step's word.
    pub(super) fn command(&self, word: &str) -> Option<&CommandSpec> {
        match word {
            "stop" => self.stop.as_ref(),
            "start" => self.start.as_ref(),
            "restart" => self.restart.as_ref(),
            _ => None,
        }
    }
}

/// Returns the command in the step itself.
pub(super) fn inline(step: &StepSpec) -> Option<&CommandSpec> {
    match step {
        StepSpec::Stop(command) | StepSpec::Start(command) | StepSpec::Restart(command) => {
            command.as_ref()
        }
        StepSpec::Run(command) => Some(command),
        StepSpec::ConfirmOut
        | StepSpec::Drain
        | StepSpec::Activate
        | StepSpec::Health
        | StepSpec::Enable
        | StepSpec::ConfirmIn => None,
    }
}

/// The given steps. A step that is not understood can mean any step.
struct Steps<'a> {
    understood: Vec<bool>,
    first: BTreeMap<&'a str, usize>,
    meant: BTreeSet<&'static str>,
}

impl<'a> Steps<'a> {
    fn new(check: &Check<'_>, steps: &'a [StepSpec]) -> Self {
        let (mut first, mut meant) = (BTreeMap::new(), BTreeSet::new());
        let mut understood = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let path = format!("steps[{index}]");
            understood.push(check.known(&path));
            if understood[index] {
                first.entry(step.word()).or_insert(index);
            } else if !check.findings.is_full() {
                let (tree, _, _) = check.tree.locate(&path);
                meant.extend(tree.name().and_then(|name| likely(name, STEP_WORDS)));
            }
        }
        Self { understood, first, meant }
    }

    fn first(&self, word: &str) -> Option<usize> {
        self.first.get(word).copied()
    }

    /// Returns whether no step has this word, or probably means it.
    fn lacks(&self, word: &str) -> bool {
        self.first(word).is_none() && !self.meant.contains(word)
    }
}

impl Check<'_> {
    pub(super) fn steps(&mut self) {
        if self.given("restart") {
            for word in ["stop", "start"] {
                if self.given(word) {
                    self.add(word, format!("both `{word}` and `restart` are given"), |problem| {
                        problem.help("`restart` replaces `stop` and `start`: keep one or the other")
                    });
                }
            }
        }
        match &self.playbook.steps {
            Some(steps) if self.known("steps") => self.given_steps(steps),
            Some(_) => {}
            None => self.default_commands(),
        }
    }

    fn default_commands(&mut self) {
        let playbook = self.playbook;
        match (&playbook.restart, &playbook.stop, &playbook.start) {
            (Some(_), ..) | (None, Some(_), Some(_)) => {}
            (None, None, None) => self.add("", "nothing stops and starts the service", |problem| {
                problem.help(
                    "give `stop` and `start`, or `restart`: the commands that do it on a node",
                )
            }),
            (None, Some(_), None) => self.add("stop", "`stop` without `start`", |problem| {
                problem.help("give `start`, the command that starts the service again")
            }),
            (None, None, Some(_)) => self.add("start", "`start` without `stop`", |problem| {
                problem
                    .help("give `stop`, the command that ends the service first; or use `restart`")
            }),
        }
    }

    fn given_steps(&mut self, steps: &[StepSpec]) {
        let list = Steps::new(self, steps);
        for (index, step) in steps.iter().enumerate().filter(|(index, _)| list.understood[*index]) {
            let word = step.word();
            let earlier = list.first(word).filter(|earlier| *earlier < index && word != "run");
            if let Some(earlier) = earlier {
                let tree = self.tree;
                self.add(
                    &format!("steps[{index}]"),
                    format!("step `{word}` comes twice (rule `step-once`)"),
                    |problem| {
                        let (_, place, _) = tree.locate(&format!("steps[{earlier}]"));
                        problem.related(place, "first here")
                    },
                );
            }
            self.command_of(index, step);
        }
        for (earlier, later, rule, why) in ORDER {
            if let (Some(before), Some(at)) = (list.first(earlier), list.first(later))
                && at < before
            {
                let (_, place, _) = self.tree.locate(&format!("steps[{before}]"));
                self.add(
                    &format!("steps[{at}]"),
                    format!("unsafe step order: `{later}` before `{earlier}` (rule `{rule}`)"),
                    |problem| {
                        problem.related(place, format!("`{earlier}` comes only here")).help(why)
                    },
                );
            }
        }
        for (word, why) in NEEDED {
            if list.lacks(word) {
                self.add(
                    "steps",
                    format!("missing step `{word}` (rule `step-missing`)"),
                    |problem| problem.help(format!("{why}; no playbook is safe without it")),
                );
            }
        }
        self.pairs(&list);
        if let Some(at) = list.first("activate")
            && self.playbook.artifact.is_none()
        {
            self.add(&format!("steps[{at}]"), "`activate` without `artifact`", |problem| {
                problem.help("there is nothing to switch to: give `artifact`, or remove the step")
            });
        } else if list.lacks("activate") && self.given("artifact") {
            self.add("steps", "`artifact` is given, but no step `activate`", |problem| {
                problem.help(
                    "add `- activate` before the service starts; it switches to the new release",
                )
            });
        }
    }

    /// Either `stop` and `start`, or `restart`.
    fn pairs(&mut self, list: &Steps<'_>) {
        let (stop, start) = (list.first("stop"), list.first("start"));
        let stops = stop.map(|at| (at, "stop")).or(start.map(|at| (at, "start")));
        if let (Some((at, word)), Some(_)) = (stops, list.first("restart")) {
            self.add(
                &format!("steps[{at}]"),
                format!("both `{word}` and `restart` are in the steps"),
                |problem| {
                    problem.help("`restart` replaces `stop` and `start`: keep one or the other")
                },
            );
        } else if list.lacks("restart") {
            match (stop, start) {
                (Some(at), None) if list.lacks("start") => self.add(
                    &format!("steps[{at}]"),
                    "`stop` without `start` (rule `stop-needs-start`)",
                    |problem| problem.help("add `- start`, or replace both with `- restart`"),
                ),
                (None, Some(at)) if list.lacks("stop") => self.add(
                    &format!("steps[{at}]"),
                    "`start` without `stop` (rule `start-needs-stop`)",
                    |problem| problem.help("add `- stop`, or replace both with `- restart`"),
                ),
                (None, None) if list.lacks("stop") && list.lacks("start") => {
                    self.add("steps", "no step stops and starts the service", |problem| {
                        problem.help("add `- stop` and `- start`, or `- restart`")
                    });
                }
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        for word in WITH_COMMAND {
            if list.lacks(word) && self.given(word) {
                self.add(
                    word,
                    format!("`{word}` is given, but `steps` has no such step"),
                    |problem| problem.help(format!("add `- {word}` to `steps`, or remove this")),
                );
            }
        }
    }

    fn command_of(&mut self, index: usize, step: &StepSpec) {
        let word = step.word();
        if !WITH_COMMAND.contains(&word) {
            return;
        }
        let path = format!("steps[{index}]");
        match (inline(step), self.playbook.command(word)) {
            (Some(_), Some(_)) if !self.given(word) => {}
            (Some(_), Some(_)) => {
                let (_, place, _) = self.tree.locate(word);
                self.add(&path, format!("`{word}` has two commands"), |problem| {
                    problem.related(place, "another here").help("keep one of them")
                });
            }
            (None, None) => self.add(&path, format!("`{word}` has no command"), |problem| {
                problem.help(format!(
                    "write `- {word}: COMMAND` here, or `{word}: COMMAND` at the top level"
                ))
            }),
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
}
