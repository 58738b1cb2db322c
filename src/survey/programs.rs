//! The programs of a playbook's commands that a node does not have. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{Program, Survey, program_of};
use crate::release::Step;
use crate::spec::{NodeSpec, Shell};

/// Which programs are missing.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Why no release can use the node.
    pub(super) problem: Option<String>,
    /// Programs that an earlier `run` of the same release may install.
    pub(super) warning: Option<String>,
}

/// The programs that a node needs, each with whether it runs with sudo.
pub(super) fn needed(node: &NodeSpec) -> BTreeSet<Program> {
    commands(node).filter_map(|(_, command)| program(node, command)).collect()
}

/// The commands of a node's steps and of its health check, in order, each with its key in the playbook.
fn commands(node: &NodeSpec) -> impl Iterator<Item = (String, &Shell)> {
    let steps = node.steps.iter();
    let steps = steps.filter_map(|action| Some((action.step, action.command.as_ref()?)));
    let steps = steps.map(|(step, command)| (step.to_string(), command));
    steps.chain(node.health.run.iter().map(|command| ("health.run".to_owned(), command)))
}

/// The program of a command, if the shell finds it without the artifact.
fn program(node: &NodeSpec, command: &Shell) -> Option<Program> {
    let name = program_of(&command.run)?;
    let is_below = |folder: &str| {
        let rest = name.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let comes_with_artifact = node
        .layout
        .as_ref()
        .is_some_and(|layout| is_below(&layout.current) || is_below(&layout.releases));
    (!comes_with_artifact).then(|| Program { name: name.to_owned(), sudo: command.sudo })
}

/// Says which programs a node does not have.
pub(super) fn missing(node: &NodeSpec, survey: &Survey) -> Missing {
    let first_run = Step::Run(1).to_string();
    let mut is_installed_before = false;
    let (mut never, mut perhaps) = (BTreeMap::new(), BTreeMap::new());
    for (key, command) in commands(node) {
        let missing = program(node, command).filter(|it| survey.missing.contains(it));
        if let Some(program) = missing {
            let list = if is_installed_before { &mut perhaps } else { &mut never };
            list.entry(program).or_insert_with(Vec::new).push(key.clone());
        }
        is_installed_before |= key == first_run;
    }
    Missing {
        problem: told(&never).map(|told| format!("{told}: install it, or correct the playbook")),
        warning: told(&perhaps)
            .map(|told| format!("{told}, unless an earlier `run` of the release installs it")),
    }
}

fn told(missing: &BTreeMap<Program, Vec<String>>) -> Option<String> {
    let told = missing.iter().map(|(Program { name, sudo }, keys)| {
        let sudo = if *sudo { " with sudo" } else { "" };
        format!("`{name}`, the command of {}, is not found{sudo}", keys.join(" and "))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::release::Inputs;
    use crate::spec::Spec;

    fn node(commands: &str) -> NodeSpec {
        let text = format!(
            "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
artifact: {{ source: app.tar.gz, releases: /srv/releases, current: /srv/current }}
nodes: [{{ ssh: a, address: '10.0.1.1:80' }}, {{ ssh: b, address: '10.0.1.2:80' }}]
{commands}"
        );
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        NodeSpec::clone(&spec.nodes[0])
    }

    fn without(names: &[(&str, bool)]) -> Survey {
        let missing =
            names.iter().map(|(name, sudo)| Program { name: (*name).into(), sudo: *sudo });
        Survey { missing: missing.collect(), ..Survey::default() }
    }

    #[test]
    fn missing_program_is_named_with_its_commands() {
        let node = node(
            "stop: { run: svc stop, sudo: true }
start: svc start
health: { run: check-app now }",
        );
        assert_eq!(needed(&node).len(), 3);
        let told = missing(&node, &without(&[("svc", true), ("check-app", false)]));
        assert_eq!(
            told.problem.expect("a problem"),
            "`check-app`, the command of health.run, is not found; `svc`, the command of stop, is not found with sudo: \
             install it, or correct the playbook"
        );
        assert!(missing(&node, &without(&[])).problem.is_none());
    }

    #[test]
    fn program_of_the_artifact_is_not_looked_for() {
        let node = node(
            "stop: /srv/current/bin/app stop
start: /srv/currently/start
health: { tcp: '${{ node.address }}' }",
        );
        let names: Vec<_> = needed(&node).into_iter().map(|program| program.name).collect();
        assert_eq!(names, ["/srv/currently/start"]);
    }

    #[test]
    fn program_that_a_run_may_install_is_a_warning() {
        let node = node(
            "steps: [confirm_out, drain, { stop: svc stop }, activate, { run: install-it }, { start: app start }, \
             health, enable, confirm_in]
health: { tcp: '${{ node.address }}' }",
        );
        let told = missing(&node, &without(&[("app", false)]));
        assert_eq!(told.problem, None);
        assert!(told.warning.expect("a warning").contains("unless an earlier `run`"));
        assert!(missing(&node, &without(&[("install-it", false)])).problem.is_some());
    }
}
