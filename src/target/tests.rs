use super::*;
use crate::health::Try;
use crate::node::Survey;
use crate::playbook::load_text;

const PLAYBOOK: &str = "service: app
variables: { version: { required: true } }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
artifact: { source: 'app-${{ version }}.tar.gz', releases: /srv/app/releases, current: /srv/app/current }
stop: stop-it
start: start-it ${{ version }}
health:
  http: { url: 'http://${{ node.address }}/ping' }
  identity: { header: X-App-Version, equals: '${{ version }}' }";

fn playbook() -> Playbook {
    load_text("app.yaml", PLAYBOOK).unwrap_or_else(|invalid| panic!("{invalid}")).playbook
}

fn inputs(version: &str, sha256: &str) -> Inputs {
    Inputs {
        variables: [("version".to_owned(), version.to_owned())].into(),
        artifact: Some(Digest { sha256: sha256.into(), size: 1, unpacked: 1 }),
        ..Inputs::default()
    }
}

fn facts(folder: &str, version: Option<&str>, down: bool) -> NodeFacts {
    let current = Some(format!("/srv/app/releases/{folder}"));
    NodeFacts {
        survey: Some(Survey { current, ..Survey::default() }),
        health: Try { version: version.map(Into::into), ..Try::default() },
        down: Some(down),
        ..NodeFacts::default()
    }
}

fn fleet(a: NodeFacts, b: NodeFacts) -> Fleet {
    Fleet { nodes: [("a".into(), a), ("b".into(), b)].into(), ..Fleet::default() }
}

fn started(version: &str, sha256: &str) -> Started {
    let started = serde_json::json!({
        "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml", "to": version,
        "playbook": null, "nodes": [], "inputs": inputs(version, sha256),
    });
    serde_json::from_value(started).expect("a beginning")
}

fn find(fleet: &Fleet, past: &[&Started]) -> WayBack {
    let playbook = playbook();
    let spec = Spec::new(&playbook, &inputs("3", "cccccccc33")).expect("complete");
    WayBack::find(&spec, &playbook, fleet, past)
}

#[test]
fn the_journal_of_the_release_that_a_link_points_at_tells_what_runs() {
    let (one, two) = (started("1", "aaaaaaaa11"), started("2", "bbbbbbbb22"));
    let fleet = fleet(facts("app-1-aaaaaaaa", None, false), facts("app-2-bbbbbbbb", None, false));
    let way = find(&fleet, &[&two, &one]);
    assert_eq!(way.unknown, []);
    let told: Vec<_> = way
        .targets
        .iter()
        .map(|target| (target.nodes[0].as_str(), target.version.as_str()))
        .collect();
    assert_eq!(told, [("a", "1"), ("b", "2")]);
    let back = rollback(&playbook(), &inputs("3", "cccccccc33"), &way.targets).expect("complete");
    let node = back.node("a").expect("a node");
    let layout = node.layout.as_ref().expect("an artifact");
    assert_eq!(layout.folder(), "/srv/app/releases/app-1-aaaaaaaa");
    assert_eq!(node.health.identity.as_ref().map(|identity| identity.equals.as_str()), Some("1"));
    let start = node.action(crate::event::Step::Start).and_then(|action| action.command.as_ref());
    assert_eq!(start.map(|command| command.run.as_str()), Some("start-it 1"));
}

#[test]
fn without_a_journal_the_version_that_a_node_tells_takes_the_place_of_the_new_one() {
    let told = facts("app-1-aaaaaaaa", Some("1"), false);
    let way = find(&fleet(told.clone(), facts("app-1-aaaaaaaa", None, false)), &[]);
    assert_eq!(way.targets.len(), 1);
    assert_eq!(way.targets[0].variables["version"], "1");
    assert_eq!(way.targets[0].folder.as_deref(), Some("app-1-aaaaaaaa"));
    let why = "no journal tells of what it runs, and it tells no version";
    assert_eq!(way.unknown, [("b".to_owned(), why.to_owned())]);
}

#[test]
fn a_node_that_is_out_goes_back_to_what_serves() {
    let one = started("1", "aaaaaaaa11");
    let broken = facts("app-2-bbbbbbbb", None, true);
    let way = find(&fleet(facts("app-1-aaaaaaaa", Some("1"), false), broken), &[&one]);
    assert_eq!(way.unknown, []);
    assert_eq!(way.targets.len(), 1);
    assert_eq!(way.targets[0].nodes, ["a", "b"]);
}

#[test]
fn a_link_that_leads_elsewhere_is_not_followed() {
    for name in ["..", "a b", "$(reboot)"] {
        let way = find(&fleet(facts(name, Some("1"), false), NodeFacts::default()), &[]);
        assert!(way.targets.is_empty(), "{name}: {way:?}");
    }
}
