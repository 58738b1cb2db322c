use super::*;
use crate::foreign::{Foreign, Recorded};
use crate::health::CheckResult;
use crate::node::Survey;
use crate::playbook::load_text;
use crate::release::{Digest, Inputs};
use crate::spec::spec_of_release;

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
        artifact: Some(Digest { sha256: format!("{sha256:0<64}"), size: 1, unpacked: 1 }),
        ..Inputs::default()
    }
}

fn facts(folder: &str, version: Option<&str>, down: bool) -> NodeFacts {
    let current = Some(Foreign::new(format!("/srv/app/releases/{folder}")));
    let releases = [(folder.to_owned(), true)].into();
    NodeFacts {
        survey: Some(Survey { current, releases, ..Survey::default() }),
        health: CheckResult { version: version.map(Into::into), ..CheckResult::default() },
        mark: Mark::of(down),
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

fn find(fleet: &Fleet, past: &[&Started]) -> RollbackPlan {
    let playbook = playbook();
    let spec = Spec::new(&playbook, &inputs("3", "cccccccc33")).expect("complete");
    RollbackPlan::find(&spec, &playbook, fleet, past)
}

#[test]
fn running_version_comes_from_the_journal_of_the_linked_release() {
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
    let back = spec_of_release(&playbook(), &inputs("3", "cccccccc33"), &way.targets, &[])
        .expect("complete");
    let node = back.node("a").expect("a node");
    let layout = node.layout.as_ref().expect("an artifact");
    assert_eq!(layout.folder(), "/srv/app/releases/app-1-aaaaaaaa");
    assert_eq!(node.health.identity.as_ref().map(|identity| identity.equals.as_str()), Some("1"));
    let start = node.action(crate::release::Step::Start).and_then(|action| action.command.as_ref());
    assert_eq!(start.map(|command| command.run.as_str()), Some("start-it 1"));
}

/// The link was there before rollgate: activating a release of this name would fail.
#[test]
fn folder_outside_of_the_releases_cannot_be_returned_to() {
    let mut own = facts("v1", Some("1"), false);
    own.survey.as_mut().expect("inspected").elsewhere = Some("/srv/app/v1".to_owned());
    let way = find(&fleet(own, facts("app-1-aaaaaaaa", Some("1"), false)), &[]);
    let why = "/srv/app/current points at /srv/app/v1, which is not in /srv/app/releases: move the folder there and \
               correct the link, if a rollback must be possible";
    assert_eq!(way.unknown, [("a".to_owned(), why.to_owned())]);
    assert_eq!(way.targets.len(), 1);
}

#[test]
fn without_a_journal_the_reported_version_replaces_the_new_one() {
    let told = facts("app-1-aaaaaaaa", Some("1"), false);
    let way = find(&fleet(told.clone(), facts("app-1-aaaaaaaa", None, false)), &[]);
    assert_eq!(way.targets.len(), 1);
    assert_eq!(way.targets[0].variables["version"], "1");
    assert_eq!(way.targets[0].folder.as_deref(), Some("app-1-aaaaaaaa"));
    let why = "no journal records the release that it runs, and it reports no version";
    assert_eq!(way.unknown, [("b".to_owned(), why.to_owned())]);
}

#[test]
fn a_version_takes_the_place_of_its_own_variable_only() {
    // Another variable happens to have the same value.
    let text = PLAYBOOK.replace("variables: {", "variables: { replicas: { default: '1' },");
    let playbook = |text: &str| load_text("app.yaml", text.to_owned()).expect("valid").playbook;
    let told = || fleet(facts("app-1-aaaaaaaa", Some("1"), false), NodeFacts::default());
    let mut inputs = inputs("3", "cccccccc33");
    inputs.variables.insert("replicas".into(), "3".into());
    let find = |text: &str| {
        let playbook = playbook(text);
        let spec = spec_of_release(&playbook, &inputs, &[], &[]).expect("complete");
        RollbackPlan::find(&spec, &playbook, &told(), &[])
    };
    let way = find(&text);
    assert_eq!(way.targets[0].variables["version"], "1");
    assert_eq!(way.targets[0].variables["replicas"], "3");
    // The playbook does not say which part of the identity is the version.
    let way = find(&text.replace("equals: '${{ version }}'", "equals: 'v${{ version }}'"));
    assert!(way.targets.is_empty(), "{way:?}");
    assert!(
        way.unknown[0].1.ends_with("and no variable of the playbook holds the version"),
        "{:?}",
        way.unknown
    );
}

#[test]
fn a_node_that_is_out_goes_back_to_what_serves() {
    let one = started("1", "aaaaaaaa11");
    let find = |has: Option<bool>| {
        let mut broken = facts("app-2-bbbbbbbb", None, true);
        let releases = &mut broken.survey.as_mut().expect("inspected").releases;
        releases.extend(has.map(|is_complete| ("app-1-aaaaaaaa".to_owned(), is_complete)));
        find(&fleet(facts("app-1-aaaaaaaa", Some("1"), false), broken), &[&one])
    };
    let way = find(Some(true));
    assert_eq!(way.unknown, []);
    assert_eq!(way.targets.len(), 1);
    assert_eq!(way.targets[0].nodes, ["a", "b"]);
    // It never had that release, or only a part of it.
    for (has, why) in [
        (None, "it does not have app-1-aaaaaaaa, which it would return to"),
        (Some(false), "its folder app-1-aaaaaaaa is not complete"),
    ] {
        let way = find(has);
        assert_eq!(way.unknown, [("b".to_owned(), why.to_owned())]);
        assert_eq!(way.targets[0].nodes, ["a"]);
    }
}

#[test]
fn link_to_an_unexpected_name_is_not_followed() {
    for name in ["..", "a b", "$(reboot)", "-x"] {
        let way = find(&fleet(facts(name, Some("1"), false), NodeFacts::default()), &[]);
        assert!(way.targets.is_empty(), "{name}: {way:?}");
    }
}

#[test]
fn reported_version_is_filled_in_only_as_a_plain_word() {
    for evil in ["1;touch x", "$(id)", "1\n2", "1 2", "-rf", "..", "", "1/2", &"1".repeat(65)] {
        let told = facts("app-1-aaaaaaaa", Some(evil), false);
        let way = find(&fleet(told, NodeFacts::default()), &[]);
        assert!(way.targets.is_empty(), "{evil}: {way:?}");
        assert!(way.unknown[0].1.starts_with("its reported version: "), "{:?}", way.unknown);
    }
    // The variable's own pattern applies as for a given value.
    let text = PLAYBOOK.replace("{ required: true }", "{ required: true, pattern: '^[0-9.]+$' }");
    let strict = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}")).playbook;
    let spec = Spec::new(&strict, &inputs("3", "cccccccc33")).expect("complete");
    let told = |version| fleet(facts("app-1-aaaaaaaa", Some(version), false), NodeFacts::default());
    assert!(RollbackPlan::find(&spec, &strict, &told("beta"), &[]).targets.is_empty());
    assert_eq!(RollbackPlan::find(&spec, &strict, &told("2.7"), &[]).targets[0].version, "2.7");
}

#[test]
fn variables_of_a_journal_fill_commands_only_as_plain_words_or_as_the_operators_own() {
    let with = |version: &str| {
        let mut started = started("1", "aaaaaaaa11");
        started.inputs = Recorded::new(inputs(version, "aaaaaaaa11"));
        started
    };
    let runs = || fleet(facts("app-1-aaaaaaaa", None, false), NodeFacts::default());
    let forged = with("2; touch x");
    let way = find(&runs(), &[&forged]);
    assert!(way.targets.is_empty(), "{way:?}");
    assert!(
        way.unknown[0].1.contains("variable `version`: `2; touch x` is not a plain word"),
        "{way:?}"
    );
    // A forged journal does not hide the genuine one.
    let way = find(&runs(), &[&forged, &with("1")]);
    assert_eq!(way.targets[0].variables["version"], "1");
    // A value that the operator gave for this run is trusted.
    let playbook = playbook();
    let spec = Spec::new(&playbook, &inputs("a b", "cccccccc33")).expect("complete");
    let way = RollbackPlan::find(&spec, &playbook, &runs(), &[&with("a b")]);
    assert_eq!(way.targets[0].variables["version"], "a b");
}

#[test]
fn invalid_digest_is_not_cut_and_restores_nothing() {
    for sha256 in ["€€€€€€€€", "aaaaaaaa", "A".repeat(64).as_str(), "", "aaaaaaaa; touch x"]
    {
        let mut started = started("1", "aaaaaaaa11");
        let artifact = Some(Digest { sha256: sha256.into(), size: u64::MAX, unpacked: u64::MAX });
        started.inputs = Recorded::new(Inputs { artifact, ..inputs("1", "aaaaaaaa11") });
        assert_eq!(started.inputs.digest(), None);
        let way =
            find(&fleet(facts("app-1-aaaaaaaa", None, false), NodeFacts::default()), &[&started]);
        assert!(way.targets.is_empty(), "{sha256}");
        let inputs = started.inputs.followed(&playbook()).expect("its variables are fine");
        assert_eq!(inputs.artifact, None);
        Spec::new(&playbook(), started.inputs.unchecked())
            .expect("it is not cut within a character");
    }
}

#[test]
fn restored_values_must_match_the_patterns_of_the_journals_playbook() {
    let text = PLAYBOOK.replace("{ required: true }", "{ required: true, pattern: '^[0-9.]+$' }");
    let strict = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}")).playbook;
    let inputs = |version: &str| Recorded::new(inputs(version, "aaaaaaaa11"));
    assert!(inputs("2").followed(&strict).is_ok());
    let error = inputs("2; touch x").followed(&strict).expect_err("no version");
    assert_eq!(error, "variable `version`: `2; touch x` does not match `^[0-9.]+$`");
    let target = |version: &str, folder: &str| RestorePoint {
        nothing: false,
        nodes: vec!["a".into()],
        version: version.into(),
        folder: Some(folder.into()),
        variables: [("version".to_owned(), version.to_owned())].into(),
        artifact: None,
    };
    let followed = |target| Recorded::new(vec![target]).followed(&strict);
    assert!(followed(target("1", "app-1-aaaaaaaa")).is_ok());
    assert!(followed(target("x", "app-1-aaaaaaaa")).is_err());
    for folder in ["../x", "a b", "..", "/etc", "$(x)"] {
        assert!(followed(target("1", folder)).is_err(), "{folder}");
    }
    let mut foreign = target("1", "app-1-aaaaaaaa");
    foreign.variables.insert("node.host".into(), "x".into());
    let error = followed(foreign).expect_err("no variable");
    assert_eq!(error, "its playbook has no variable `node.host`");
}
