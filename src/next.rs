//! What to type next: the exact commands that go on from where a release ended.

use crate::engine::release::{NodeState, Phase, Release, Standing};
use crate::event::{Outcome, Started};
use crate::shell::quote;
use crate::spec::Spec;

/// Returns what each command is for, and the command.
#[must_use]
pub fn commands(release: &Release, spec: &Spec, outcome: Outcome) -> Vec<(String, String)> {
    let Some(started) = &release.started else { return Vec::new() };
    if matches!(outcome, Outcome::Done | Outcome::Nothing) {
        return Vec::new();
    }
    let mut commands = Vec::new();
    let failed: Vec<_> = release
        .in_order()
        .filter(|(_, node)| node.phase == Phase::Failed && node.standing() == Standing::Out)
        .map(|(name, _)| name)
        .collect();
    if outcome == Outcome::Degraded {
        commands.push(("look at every node".into(), status(started)));
    }
    if started.command != "deploy" {
        let again = format!("rollgate {} {}", started.command, quote(&started.file));
        let names = release.in_order().map(|(name, _)| quote(name)).collect::<Vec<_>>().join(" ");
        commands.push(("try again".into(), with_arguments(format!("{again} {names}"), started)));
        return commands;
    }
    for name in &failed {
        if let Some(back) = back_to_old(release, spec, started, name) {
            commands.push(back);
        }
    }
    let go_on = match failed.as_slice() {
        [] => "go on".to_owned(),
        [name] => format!("fixed it: try {name}, go on"),
        _ => "fixed it: try them, go on".to_owned(),
    };
    let mut again = deploy(started, None);
    for argument in &started.selection {
        again += &format!(" {}", quote_option(argument));
    }
    commands.push((go_on, again));
    let out = |node: &NodeState| node.standing() == Standing::Out;
    for (name, _) in release.in_order().filter(|(_, node)| out(node)) {
        let put_in = format!("rollgate node in {} {}", quote(&started.file), quote(name));
        commands.push((
            format!("{name} is well as it is"),
            with_arguments(put_in + &variables(started, None), started),
        ));
    }
    commands
}

/// The command that deploys the version that the node ran before, to that node alone.
fn back_to_old(
    release: &Release,
    spec: &Spec,
    started: &Started,
    name: &str,
) -> Option<(String, String)> {
    // Without an identity what ran before is only a folder's name, not a variable's value.
    if !spec.has_identity {
        return None;
    }
    let planned = release.planned().iter().find(|planned| planned.node == name)?;
    let (old, new) = (planned.runs.as_ref().or(started.from.as_ref())?, spec.version.as_ref()?);
    let (variable, _) = started.inputs.variables.iter().find(|(_, value)| *value == new)?;
    (old != new).then(|| {
        let command = deploy(started, Some((variable, old)));
        (format!("back to {old} on {name} only"), format!("{command} --only {}", quote(name)))
    })
}

fn deploy(started: &Started, instead: Option<(&str, &str)>) -> String {
    let command =
        format!("rollgate deploy {}{}", quote(&started.file), variables(started, instead));
    with_arguments(command, started)
}

fn status(started: &Started) -> String {
    with_arguments(
        format!("rollgate status {}{}", quote(&started.file), variables(started, None)),
        started,
    )
}

fn variables(started: &Started, instead: Option<(&str, &str)>) -> String {
    let mut text = String::new();
    for (name, value) in &started.inputs.variables {
        let value = match instead {
            Some((other, value)) if other == name => value,
            _ => value,
        };
        text += " --var ";
        text += &quote(&format!("{name}={value}"));
    }
    text
}

fn with_arguments(command: String, started: &Started) -> String {
    started.arguments.iter().fold(command, |command, argument| {
        // `--yes` answers a question that `status` does not ask.
        if argument == "--yes" && command.starts_with("rollgate status") {
            return command;
        }
        format!("{command} {}", quote_option(argument))
    })
}

/// Options of our own are plain; their values may not be.
fn quote_option(argument: &str) -> String {
    match argument.strip_prefix("--") {
        Some(option) if option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') => {
            argument.to_owned()
        }
        _ => quote(argument),
    }
}
