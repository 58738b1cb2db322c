//! Plan files as text.

use super::*;
use crate::plan::seen::{EntrySeen, ProcessSeen, ServerSeen, ServerState};
use crate::playbook::load_text;
use crate::release::PlannedAction;

/// A plan of one node behind one gateway.
pub(crate) fn example() -> PlanFile {
    let text = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ name: edge, type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { http: 'http://${{ node.address }}/ping' }
";
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    let playbook = PlaybookSeen::new("app.yaml".into(), text, BTreeMap::new(), &loaded.playbook);
    let node = NodeSeen {
        name: "a".into(),
        address: "10.0.1.1:80".into(),
        will: PlannedAction::Update,
        why: String::new(),
        version: Some("1".into()),
        listens: Some(true),
        process: Some(ProcessSeen { pid: 812, started: 4_000 }),
        current: None,
        held: None,
        entries: vec![EntrySeen {
            key: "upstreams/app/10.0.1.1:80".into(),
            mark: "up".into(),
            modify_index: Some(48_213),
            value: Some(r#"{"weight":1,"down":0}"#.into()),
        }],
        problem: None,
    };
    let state = ServerState::Routed;
    let server = ServerSeen { address: node.address.clone(), state, parameters: BTreeMap::new() };
    let gateway = GatewaySeen {
        name: "edge".into(),
        servers: vec![server],
        listed: 1,
        others: BTreeSet::new(),
        overridden: None,
    };
    PlanFile {
        service: "app".into(),
        from: Some("1".into()),
        to: Some("2".into()),
        variables: [("version".to_owned(), "2".to_owned())].into(),
        playbook,
        nodes: vec![node],
        gateways: vec![gateway],
        ..PlanFile::new("2026-06-12T14:00:00Z".parse().expect("a time"), "ana@host")
    }
}

#[track_caller]
fn refused(text: &str) -> String {
    PlanFile::read(text).expect_err("refused")
}

#[test]
fn plan_is_read_as_it_was_written_in_any_layout() {
    let text = example().text();
    let read = PlanFile::read(&text).expect("a plan");
    assert_eq!(PlanFile { checksums: BTreeMap::new(), ..read.clone() }, example());
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(PlanFile::read(&value.to_string()), Ok(read));
}

/// A plan that an earlier rollgate wrote.
#[test]
fn recorded_plan_of_version_1_is_read() {
    let recorded = include_str!("../../../tests/fixtures/plans/v1.json");
    let read = PlanFile::read(recorded).expect("a plan");
    let (made_with, checksums) = (env!("CARGO_PKG_VERSION").to_owned(), BTreeMap::new());
    assert_eq!(PlanFile { made_with, checksums, ..read }, example());
}

#[test]
fn file_that_was_cut_off_is_refused_at_every_length() {
    let text = example().text();
    for length in (0..text.trim_end().len()).step_by(7) {
        let why = refused(&text[..length]);
        let short = "it is not a plan of rollgate";
        assert!(
            why == short || why.starts_with("its end is missing: EOF while"),
            "{length}: {why}"
        );
        assert!(length < 30 || (why != short && why.contains("at line ")), "{length}: {why}");
    }
}

#[test]
fn edited_part_is_named() {
    let text = example().text();
    for (old, new, part) in [
        ("\"version\": \"2\"", "\"version\": \"3\"", "variables"),
        ("\"made_by\": \"ana@host\"", "\"made_by\": \"bob\"", "made_by"),
        ("\"modify_index\": 48213", "\"modify_index\": 48214", "nodes"),
        ("\"restart\": false", "\"restart\": true", "selection"),
        ("\"restart-it\"", "\"restart -it\"", "playbook"),
        ("\"state\": \"routed\"", "\"state\": \"out\"", "gateways"),
    ] {
        assert!(text.contains(old), "{old}: {text}");
        let why = refused(&text.replacen(old, new, 1));
        assert_eq!(why, format!("it was edited after it was written: `{part}`"));
    }
    let why = refused(&text.replacen("\"pid\": 812", "\"pid\": \"x\"", 1));
    assert!(why.starts_with("invalid type: string \"x\", expected u32 at line "), "{why}");
    let why =
        refused(&text.replacen("\"service\": \"app\",", "\"service\": \"app\", \"x\": 1,", 1));
    assert!(why.starts_with("unknown field `x`"), "{why}");
}

#[test]
fn plan_of_a_newer_rollgate_is_refused_by_its_version() {
    let text = example().text().replacen("\"v\": 1", "\"v\": 2", 1);
    let newer = text.replacen("\"service\"", "\"new\": [], \"service\"", 1);
    let why = refused(&newer);
    assert!(why.contains("written by a newer rollgate") && why.contains("plan version 2"), "{why}");
    assert!(refused(&text.replacen("\"v\": 2", "\"v\": 0", 1)).contains("only version 1"));
    assert_eq!(refused("service: app\n"), "it is not a plan of rollgate");
}

/// A value that may be a secret is neither stored nor a part of a checksum.
#[test]
fn playbook_of_a_plan_has_no_literal_secret() {
    let text = "service: app
variables: { db_password: { default: hunter22-one } }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80', vars: { api_token: hunter22-two } }, { ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { http: 'http://${{ node.address }}/ping' }";
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    let content = serde_json::to_string(&content(&loaded.playbook)).expect("JSON");
    assert!(!content.contains("hunter22") && content.contains("***"), "{content}");
}
