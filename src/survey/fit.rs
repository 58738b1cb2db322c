//! What prevents a node or a gateway from taking part in a release. Pure.

use std::collections::BTreeSet;

use super::fleet::Fleet;
use super::programs;
use crate::gateway::GatewayInfo;
use crate::health::CheckResult;
use crate::node::{Origin, Survey};
use crate::spec::{CountSpec, NodeSpec, Spec};
use crate::text;

/// Lists what prevents gateways from taking part: an unusable gateway confirms nothing. A node whose
/// connections must be counted because a gateway does not count requests needs `ss`.
#[must_use]
pub fn unfit(
    spec: &Spec,
    fleet: &Fleet,
    infos: &[(String, Result<GatewayInfo, String>)],
) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, info) in infos {
        let Ok(info) = info else { continue };
        let own = blockers(spec, fleet, info);
        problems.extend(own.iter().map(|why| format!("gateway {name}: {why}")));
    }
    problems
}

/// Lists what prevents one gateway from taking part.
#[must_use]
pub fn blockers(spec: &Spec, fleet: &Fleet, info: &GatewayInfo) -> Vec<String> {
    info.blockers.iter().cloned().chain(uncounted(spec, fleet, info)).collect()
}

/// Returns why requests could not be counted, if a gateway's own counts cannot be used.
fn uncounted(spec: &Spec, fleet: &Fleet, info: &GatewayInfo) -> Option<String> {
    let why = info.miscounts.as_ref()?;
    let without_sockets = |node: &NodeSpec| {
        let facts = fleet.nodes.get(&node.name)?;
        unseen_sockets(node, facts.survey.as_ref()?, &facts.health)
    };
    let asks = |node: &NodeSpec| matches!(node.in_flight, CountSpec::Gateways { or_sockets: None });
    let falls_back =
        |node: &NodeSpec| matches!(node.in_flight, CountSpec::Gateways { or_sockets: Some(_) });
    if spec.nodes.iter().any(|node| asks(node)) {
        return Some(format!("{why}; use `drain.in_flight` with `sockets` or `http`"));
    }
    let mut nodes = spec.nodes.iter().filter(|node| falls_back(node));
    nodes.find_map(|node| {
        Some(format!(
            "{why}; nor can the connections of {} be counted: {}",
            node.name,
            without_sockets(node)?
        ))
    })
}

/// Returns why the connections of a node cannot be counted.
fn unseen_sockets(node: &NodeSpec, survey: &Survey, health: &CheckResult) -> Option<String> {
    if !survey.tools.contains("ss") {
        return Some("ss is not installed".to_owned());
    }
    // The node serves, so a process must be listening.
    (!survey.listener.bound && health.problem.is_none()).then(|| {
        format!(
            "it serves, but nothing on it listens on :{} (a container may publish the port), so its connections \
             cannot be counted; set `drain.in_flight: {{ http: … }}`",
            node.port()
        )
    })
}

/// Returns why a reachable node cannot be used.
pub(super) fn unusable(
    spec: &Spec,
    node: &NodeSpec,
    survey: &Survey,
    health: &CheckResult,
) -> Option<String> {
    let mut needed = BTreeSet::new();
    if let Some(layout) = node.layout.as_ref().filter(|_| !spec.is_restart) {
        needed.extend(layout.packing.tools());
    }
    let counts_sockets = matches!(node.in_flight, CountSpec::Sockets(_));
    if !spec.has_identity || counts_sockets {
        needed.insert("ss");
    }
    let missing: Vec<_> = needed.into_iter().filter(|tool| !survey.tools.contains(*tool)).collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    if let Some(problem) = counts_sockets.then(|| unseen_sockets(node, survey, health)).flatten() {
        return Some(problem);
    }
    if let Some(problem) = programs::missing(node, survey).problem {
        return Some(problem);
    }
    if survey.listener.bound && survey.listener.owners.is_empty() && !spec.has_identity {
        // A restart does not change what the identity reports.
        let how = if spec.is_restart { "" } else { "`health.identity` or " };
        return Some(format!(
            "the process that listens on :{} cannot be seen, so rollgate could not tell a new process from it; \
             set {how}`ssh.sudo`",
            node.port()
        ));
    }
    None
}

/// Returns why a release may not change what serves: the process on the node's port does not run from the `current` link,
/// and no health check reads the version that answers.
pub(super) fn runs_elsewhere(spec: &Spec, node: &NodeSpec, survey: &Survey) -> Option<String> {
    let is_unproved = !spec.is_restart && !spec.has_identity;
    let current = &node.layout.as_ref().filter(|_| is_unproved)?.current;
    let Origin::Elsewhere(folder) = &survey.origin else { return None };
    let but = if survey.current.is_none() {
        format!("although {current} does not exist")
    } else if folder == "/" {
        // A server of static files opens them only while it sends them.
        return None;
    } else {
        format!("which does not run from {current}")
    };
    Some(format!(
        "a process listens on :{}, {but} (its working directory is {folder}): a release may not change what serves; correct \
         `artifact.current` and `artifact.releases`, or set `health.identity`, which shows the version that runs",
        node.port()
    ))
}

/// Returns why the artifact could not be placed on a node.
pub(super) fn unplaceable(
    spec: &Spec,
    node: &NodeSpec,
    survey: &Survey,
    health: &CheckResult,
) -> Option<String> {
    let layout = node.layout.as_ref().filter(|_| !spec.is_restart)?;
    if survey.current_is_no_link {
        return Some(format!("{} exists and is not a symlink", layout.current));
    }
    if let Some(refused) = &survey.refused {
        return Some(refused.clone());
    }
    if let Some(runs) = survey.incomplete.as_ref().filter(|_| health.problem.is_some()) {
        return Some(format!(
            "{runs} runs {}, which may be incomplete (nothing says that its upload finished): release another version first",
            layout.folder()
        ));
    }
    if !survey.writable {
        return Some(format!(
            "cannot write to {} or to the folder of {}",
            layout.releases, layout.current
        ));
    }
    let digest = spec.artifact.as_ref()?.digest.as_ref()?;
    let needed = digest.size + digest.unpacked;
    match survey.free {
        Some(free) if free < needed && !survey.staged => Some(format!(
            "its disk is too full: {} free at {}, {} needed",
            text::size(free),
            layout.releases,
            text::size(needed)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::Foreign;
    use crate::node::Listener;
    use crate::playbook::load_text;
    use crate::release::Inputs;
    use crate::survey::NodeFacts;

    fn spec(drain: &str) -> Spec {
        let text = format!(
            "service: app
registry: {{ type: gateway }}
gateways: [{{ name: edge, type: caddy, admin_url: 'http://10.0.0.1:2019', handler: app }}]
nodes: [{{ ssh: a, address: '10.0.1.1:80' }}, {{ ssh: b, address: '10.0.1.2:80' }}]
restart: restart-it
health: {{ tcp: '${{{{ node.address }}}}' }}
{drain}"
        );
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
    }

    #[test]
    fn node_without_the_tool_of_the_archive_is_refused() {
        for (name, missing) in [
            ("a.tar.gz", Some("not installed: gzip, tar")),
            ("a.tar.xz", Some("not installed: tar, xz")),
            ("a.tar.zst", Some("not installed: tar, zstd")),
            ("a.tar", Some("not installed: tar")),
            ("a.zip", Some("not installed: unzip")),
            ("a.jar", None),
        ] {
            let artifact =
                format!("artifact: {{ source: {name}, releases: /srv/r, current: /srv/c }}");
            let spec = spec(&artifact);
            let node = spec.nodes.iter().next().expect("a node");
            let tools = ["ss", "sha256sum"].map(str::to_owned).into();
            let survey = Survey { tools, ..Survey::default() };
            let seen = unusable(&spec, node, &survey, &CheckResult::default());
            assert_eq!(seen.as_deref(), missing, "{name}");
        }
    }

    #[test]
    fn process_outside_of_the_releases_is_told_unless_the_version_is_read() {
        let artifact = "artifact: { source: a.jar, releases: /srv/r, current: /srv/c }";
        let seen = |spec: &Spec, folder: &str, current: Option<&str>| {
            let node = spec.nodes.iter().next().expect("a node");
            let (origin, current) = (Origin::Elsewhere(folder.into()), current.map(Foreign::new));
            runs_elsewhere(spec, node, &Survey { origin, current, ..Survey::default() })
        };
        let own = spec(artifact);
        let told = seen(&own, "/opt/x", None).expect("told");
        assert!(told.contains("listens on :80, although /srv/c does not exist"), "{told}");
        assert!(told.contains("set `health.identity`"), "{told}");
        assert!(seen(&own, "/", None).is_some());
        let told = seen(&own, "/opt/x", Some("/srv/r/a")).expect("told");
        assert!(told.contains("which does not run from /srv/c (its working"), "{told}");
        assert_eq!(seen(&own, "/", Some("/srv/r/a")), None);
        assert_eq!(seen(&Spec { has_identity: true, ..own.clone() }, "/opt/x", None), None);
        assert_eq!(seen(&spec(""), "/opt/x", None), None);
        let node = own.nodes.iter().next().expect("a node");
        assert_eq!(runs_elsewhere(&own, node, &Survey::default()), None);
    }

    fn fleet(spec: &Spec, tools: &[&str], bound: bool) -> Fleet {
        let listener = Listener { bound, ..Listener::default() };
        let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        let survey = Some(Survey { tools, listener, ..Survey::default() });
        let facts = NodeFacts { survey, ..NodeFacts::default() };
        let nodes = spec.nodes.iter().map(|node| (node.name.clone(), facts.clone()));
        Fleet { nodes: nodes.collect(), ..Fleet::default() }
    }

    /// A gateway that drops the count of a node together with the node.
    #[test]
    fn unusable_counts_are_refused_if_required_and_replaced_otherwise() {
        let why = GatewayInfo { miscounts: Some("it is old".into()), ..GatewayInfo::default() };
        let asked = spec("drain: { in_flight: gateways }");
        let full = |spec: &Spec| fleet(spec, &["ss"], true);
        let told = uncounted(&asked, &full(&asked), &why).expect("asked for");
        assert!(told.starts_with("it is old; use `drain.in_flight` with"), "{told}");
        assert_eq!(uncounted(&asked, &full(&asked), &GatewayInfo::default()), None);
        let default = spec("");
        assert_eq!(uncounted(&default, &full(&default), &why), None);
        let told = uncounted(&default, &fleet(&default, &[], true), &why).expect("no tool");
        assert_eq!(told, "it is old; nor can the connections of a be counted: ss is not installed");
        // A container publishes the port: its connections are not visible on the node.
        let told = uncounted(&default, &fleet(&default, &["ss"], false), &why).expect("unseen");
        assert!(told.contains("a container may publish the port"), "{told}");
        let sockets = spec("drain: { in_flight: { sockets: {} } }");
        assert_eq!(uncounted(&sockets, &full(&sockets), &why), None);
    }
}
