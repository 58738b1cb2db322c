//! Puts problems that several nodes have alike into one line.

use crate::spec::{NodeSpec, Spec};
use crate::text::{NAMES_TOLD, few};

/// How OpenSSH begins and continues the name of the host that it could not reach.
const TO_HOST: (&str, &str) = ("connect to host ", " port ");

/// A problem, and what has it.
type Shared = (Vec<String>, String);

/// Groups problems by their text, in the order of their first one. SSH names the machine in each error: nodes whose errors
/// differ only in that have the same problem.
#[must_use]
pub fn alike(spec: &Spec, problems: impl IntoIterator<Item = (String, String)>) -> Vec<Shared> {
    let mut groups: Vec<(String, Shared)> = Vec::new();
    for (name, problem) in problems {
        let common = spec.node(&name).and_then(|node| without_machine(node, &problem));
        let common = common.unwrap_or_else(|| problem.clone());
        match groups.iter_mut().find(|(other, _)| *other == common) {
            Some((_, (names, told))) => {
                names.push(name);
                *told = common;
            }
            None => groups.push((common, (vec![name], problem))),
        }
    }
    groups.into_iter().map(|(_, shared)| shared).collect()
}

/// The same as lines: `node-1, node-2: connection refused`.
pub fn told_alike(
    spec: &Spec,
    problems: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = String> {
    let told =
        |(names, problem): Shared| format!("{}: {problem}", few(names, NAMES_TOLD).join(", "));
    alike(spec, problems).into_iter().map(told)
}

/// The error of an SSH connection without the node's machine. None if it is another problem.
fn without_machine(node: &NodeSpec, problem: &str) -> Option<String> {
    let error = problem.strip_prefix(&format!("{}: ", node.host))?;
    let named = error.strip_prefix(TO_HOST.0).and_then(|rest| rest.split_once(TO_HOST.1));
    Some(match named {
        Some((_, rest)) => format!("ssh: {}<host>{}{rest}", TO_HOST.0, TO_HOST.1),
        None => format!("ssh: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::release::Inputs;

    const PLAYBOOK: &str = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: me@a, address: '10.0.1.1:80' }, { name: b, ssh: me@b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";

    fn told(problems: &[(&str, &str)]) -> Vec<String> {
        let loaded = load_text("app.yaml", PLAYBOOK).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        let problems = problems.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned()));
        told_alike(&spec, problems).collect()
    }

    #[test]
    fn one_ssh_error_of_several_machines_is_one_line() {
        let refused = |node: &str| {
            format!(
                "me@{node}: connect to host 10.0.1.{node} port 22: Connection refused; check sshd"
            )
        };
        let (a, b) = (refused("a"), refused("b"));
        let both = "a, b: ssh: connect to host <host> port 22: Connection refused; check sshd";
        assert_eq!(told(&[("a", &a), ("b", &b)]), [both]);
        // One node keeps the whole error.
        assert_eq!(told(&[("a", &a)]), [format!("a: {a}")]);
        assert_eq!(
            told(&[("a", &a), ("b", "no space")]),
            [format!("a: {a}"), "b: no space".into()]
        );
        let key = ["me@a: Permission denied", "me@b: Permission denied"];
        assert_eq!(told(&[("a", key[0]), ("b", key[1])]), ["a, b: ssh: Permission denied"]);
    }

    #[test]
    fn equal_problems_are_one_line_and_others_stay() {
        let problems = [("a", "no `svc`"), ("registry", "no key"), ("b", "no `svc`")];
        assert_eq!(told(&problems), ["a, b: no `svc`", "registry: no key"]);
    }
}
