//! Parts that send as much as they can: rollgate reports it, and stays below 100 MiB.

use std::io::{Read as _, Seek as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::{self, Body, Case};

/// The most memory of a run, in KiB.
const MOST: u64 = 100 * 1024;

/// The largest body that rollgate reads.
const BODY: usize = 16 * 1024 * 1024;

/// Starts a server that answers by path and query, and with 404 to an unknown path.
fn serve(answer: impl Fn(&str, &str) -> Option<Body> + Send + Sync + 'static) -> String {
    support::serve(move |_, path, query| match answer(path, query) {
        Some(body) => (200, body),
        None => (404, Body::default()),
    })
}

/// Repeats a part until the body has the largest size.
fn filled(before: &str, part: &str, after: &str) -> String {
    let number = (BODY - before.len() - after.len()) / part.len();
    [before, &part.repeat(number), after].concat()
}

/// The same with a different number in each part.
fn numbered(before: &str, part: impl Fn(usize) -> String, after: &str) -> String {
    let mut body = before.to_owned();
    for number in 0.. {
        let part = part(number);
        if body.len() + part.len() + after.len() > BODY {
            return body + after;
        }
        body += &part;
    }
    unreachable!("a body ends")
}

/// Runs `status` and returns its output and its peak memory, in KiB.
fn status(playbook: &str) -> (String, u64) {
    run(playbook, &["status", "app.yaml"])
}

/// The same for any command.
fn run(playbook: &str, arguments: &[&str]) -> (String, u64) {
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
    let mut command = case.command(arguments);
    // A pipe would be full before it is read.
    let mut file = tempfile::tempfile().expect("a file");
    let copy = || Stdio::from(file.try_clone().expect("the same file"));
    let mut child = command.stdout(copy()).stderr(copy()).spawn().expect("it runs");
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        // A peak never falls, so the last reading counts; at the first one the child may still have this process's
        // memory.
        most = peak(&child).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    file.rewind().expect("a file");
    file.read_to_string(&mut text).expect("text");
    (text, most)
}

fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

fn playbook(consul: &str, registry: &str, gateways: &str, nodes: usize) -> String {
    let node = |node| format!("  - {{ name: n{node}, ssh: local, address: '127.0.0.1:{node}' }}\n");
    let nodes = (1..=nodes).map(node).collect::<Vec<_>>().concat();
    format!(
        "service: app\nconsul: {{ addresses: ['http://{consul}'] }}\nregistry: {registry}\ngateways:\n{gateways}\
         nodes:\n{nodes}stop: 'true'\nstart: 'true'\nhealth: {{ tcp: '${{{{ node.address }}}}', timeout: 300ms }}\n"
    )
}

const KV: &str = "{ type: consul-kv, prefix: upstreams/app/ }";
const TABLE: &str = "  - { type: http-table, name: gw, url: 'http://GATEWAY/', workers: 1 }\n";

/// The lists that gateways send, and the message about each.
fn lists() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let entries = "it has more than 100000 entries";
    let caddy = "  - { type: caddy, name: gw, admin_url: 'http://GATEWAY', handler: app }\n";
    let traefik = "  - { type: traefik, name: gw, api_url: 'http://GATEWAY', service: app, ssh: local, file: /x.yml }\n";
    let envoy = "  - { type: envoy, name: gw, admin_url: 'http://GATEWAY', cluster: app, ssh: local, file: /x }\n";
    let slardar =
        "  - { type: slardar, name: gw, upstream: app, url: 'http://GATEWAY', workers: 1 }\n";
    let address = |number: usize| format!("\"10.{number}.0.1:1\",");
    vec![
        ("zeros", TABLE, filled("[", "0,", "0]"), entries),
        ("lists", TABLE, filled("[", "[],", "0]"), entries),
        ("objects", TABLE, filled("[", "{},", "0]"), entries),
        ("members", TABLE, filled("[", r#"{"":0},"#, "0]"), entries),
        ("addresses", TABLE, numbered("[", address, "\"\"]"), entries),
        ("names", TABLE, numbered("{", |number| format!(r#""{number}":0,"#), r#""":0}"#), entries),
        ("one entry", TABLE, filled("[{\"a\":[", "[0],", "0]}]"), "has too many values"),
        (
            "chains",
            TABLE,
            filled("[", &format!("{}0{},", "[".repeat(120), "]".repeat(120)), "0]"),
            "a peer has no address",
        ),
        (
            "upstreams",
            caddy,
            filled(r#"{"handler":"reverse_proxy","upstreams":["#, "{},", "0]}"),
            entries,
        ),
        ("servers", traefik, filled(r#"{"loadBalancer":{"servers":["#, "{},", "0]}}"), entries),
        (
            "statuses",
            traefik,
            numbered(
                r#"{"loadBalancer":{},"serverStatus":{"#,
                |number| format!(r#""{number}":0,"#),
                r#""":0}}"#,
            ),
            entries,
        ),
        (
            "hosts",
            envoy,
            filled(r#"{"cluster_statuses":[{"name":"app","host_statuses":["#, "{},", "0]}]}"),
            entries,
        ),
        ("clusters", envoy, filled(r#"{"cluster_statuses":["#, r#"{"name":"x"},"#, "0]}"), entries),
        (
            "cells",
            "  - { type: haproxy, name: gw, stats_url: 'http://GATEWAY/', backend: app }\n",
            filled("# pxname,a\n", "app,b\n", "app,b\n"),
            "has more than 400000 cells",
        ),
        (
            "columns",
            "  - { type: haproxy, name: gw, stats_url: 'http://GATEWAY/', backend: app }\n",
            filled("# pxname", ",a", "\napp,b\n"),
            "a line of the list in CSV has 2 cells",
        ),
        ("levels", slardar, filled(r#"{"cls:app":[["#, "{},", "0]]}"), entries),
    ]
}

#[test]
fn gateway_list_takes_bounded_memory() {
    let consul = serve(|_, _| None);
    for (name, gateway, body, says) in lists() {
        let body = Arc::new(body.into_bytes());
        let counts = Arc::new(b"[]".to_vec());
        let server = serve(move |path, _| {
            Some(if path == "/reverse_proxy/upstreams" { counts.clone() } else { body.clone() })
        });
        let registry = if gateway == TABLE { KV } else { "{ type: gateway }" };
        let gateway = gateway.replace("GATEWAY", &server);
        let (text, most) = status(&playbook(&consul, registry, &gateway, 2));
        assert!(most < MOST, "{name}: {} MiB", most / 1024);
        // A busy machine may be too slow for that message.
        let told = [says, "takes longer to read", "no answer within"];
        assert!(told.iter().any(|told| text.contains(told)), "{name}: {text}");
    }
}

#[test]
fn lists_of_many_gateways_together_take_bounded_memory() {
    let consul = serve(|_, _| None);
    let list = |number: usize| format!("\"10.{number}.0.1:1\",");
    let body: String = (0..90_000).map(list).collect();
    let body = Arc::new(format!("[{body}\"127.0.0.1:1\"]").into_bytes());
    let server = serve(move |_, _| Some(body.clone()));
    let gateways: String = (0..12)
        .map(|number| TABLE.replace("gw", &format!("gw-{number}")).replace("GATEWAY", &server))
        .collect();
    let (text, most) = status(&playbook(&consul, KV, &gateways, 2));
    assert!(most < MOST, "{} MiB\n{text}", most / 1024);
}

#[test]
fn consul_catalog_takes_bounded_memory() {
    for (name, entry, says) in [
        ("instances", r#"{"ServicePort":1,"Address":"a"},"#, "it lists more than 50000 instances"),
        ("members", r#"{"":0},"#, "it lists more than 50000 instances"),
    ] {
        let body = Arc::new(filled("[", entry, "0]").into_bytes());
        let consul =
            serve(move |path, _| path.starts_with("/v1/catalog/service/").then(|| body.clone()));
        let gateway = TABLE.replace("GATEWAY", &consul);
        let registry = "{ type: consul-service, service: app }";
        let (text, most) = status(&playbook(&consul, registry, &gateway, 2));
        assert!(most < MOST, "{name}: {} MiB", most / 1024);
        assert!(text.contains(says), "{name}: {text}");
    }
}

#[test]
fn agents_with_many_services_take_bounded_memory() {
    let nodes = 40;
    let instances: Vec<_> = (1..=nodes)
        .map(|node| json!({ "ServiceID": format!("n{node}"), "Node": "a", "Address": "127.0.0.1", "ServiceAddress": "127.0.0.1", "ServicePort": node }))
        .collect();
    let own = |node| format!(r#""n{node}":{{"Address":"127.0.0.1","Port":{node}}},"#);
    let own = (1..=nodes).map(own).collect::<Vec<_>>().concat();
    let many = |number| format!(r#""{number}":{{"b":1}},"#);
    let many = (0..99_000).map(many).collect::<Vec<_>>().concat();
    let services = Arc::new(format!(r#"{{{own}{many}"":{{}}}}"#).into_bytes());
    let catalog = Arc::new(json!(instances).to_string().into_bytes());
    let consul = serve(move |path, _| match path {
        "/v1/agent/services" | "/v1/agent/checks" | "/v1/agent/self" => Some(services.clone()),
        path => path.starts_with("/v1/catalog/service/").then(|| catalog.clone()),
    });
    let registry = format!("{{ type: consul-service, service: app, agent: 'http://{consul}' }}");
    let gateway = TABLE.replace("GATEWAY", &consul);
    let (text, most) = status(&playbook(&consul, &registry, &gateway, nodes));
    assert!(most < MOST, "{} MiB\n{text}", most / 1024);
}

/// A journal of one line, as Consul stores it.
fn journal(number: usize, selection: &str, nodes: &str, before: &str) -> (String, String) {
    let release = format!("{number:08x}");
    let data = format!(
        r#"{{"service":"app","command":"deploy","actor":"x","file":"f","playbook":null,"selection":[{selection}],"inputs":{{"release":"{release}","folder":"","variables":{{}},"artifact":null}},"nodes":[{nodes}],"before":[{before}]}}"#
    );
    let line = format!(
        r#"{{"v":1,"seq":1,"ts":"2026-01-01T00:00:{number:02}Z","type":"release.started","release":"{release}","data":{data}}}"#
    );
    packed(number, std::iter::once(line))
}

/// These lines as a journal, as Consul stores it.
fn packed(number: usize, lines: impl Iterator<Item = String>) -> (String, String) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    lines.for_each(|line| writeln!(encoder, "{line}").expect("a vector takes everything"));
    let packed = encoder.finish().expect("a vector takes everything");
    let key = format!("rollgate/app/journal/20260101T0000{number:02}Z-{number:08x}/z000001");
    (key, BASE64_STANDARD.encode(packed))
}

/// A Consul with these journals.
fn consul_with(journals: Vec<(String, String)>) -> String {
    serve(move |path, query| {
        let said = |body: serde_json::Value| Some(Arc::new(body.to_string().into_bytes()));
        if path.starts_with("/v1/session/") {
            return said(json!({ "ID": "7e57" }));
        }
        if query.contains("acquire=") || query.contains("release=") {
            return said(json!(true));
        }
        let prefix = path.strip_prefix("/v1/kv/")?;
        let found: Vec<_> = journals.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        (!found.is_empty()).then_some(())?;
        let body = if query.contains("keys") {
            json!(found.iter().map(|(key, _)| key).collect::<Vec<_>>())
        } else {
            let pair = |(key, value): &&(String, String)| json!({ "Key": key, "Value": value, "ModifyIndex": 1 });
            json!(found.iter().map(pair).collect::<Vec<_>>())
        };
        said(body)
    })
}

/// A resume needs the whole journal of a release, but only the first lines of the reason why each node failed.
#[test]
fn resume_takes_bounded_memory_with_long_failure_texts() {
    const NODES: usize = 6_500;
    let line = |seq: usize, kind: &str, node: &str, data: &str| {
        format!(
            r#"{{"v":1,"seq":{seq},"ts":"2026-01-01T00:00:01Z","type":"{kind}","release":"00000001",{node}"data":{data}}}"#
        )
    };
    let all = |node: fn(usize) -> String| (0..NODES).map(node).collect::<Vec<_>>().join(",");
    let planned = all(|number| format!(r#"{{"node":"n{number}","will":"update"}}"#));
    let taken = all(|number| format!(r#""n{number}""#));
    let data = format!(
        r#"{{"service":"app","command":"deploy","actor":"x","file":"f","playbook":null,"selection":[],"inputs":{{"release":"00000001","folder":"","variables":{{}},"artifact":null}},"nodes":[{planned}]}}"#
    );
    let began = line(1, "release.started", "", &data);
    let batch = line(2, "batch.started", "", &format!(r#"{{"number":1,"nodes":[{taken}]}}"#));
    let log = vec![r#""x""#; 1_700].join(",");
    let failures = (0..NODES).map(|number| {
        let data = format!(r#"{{"reason":"r","log":[{log}]}}"#);
        line(number + 3, "node.failed", &format!(r#""node":"n{number}","#), &data)
    });
    let consul = consul_with(vec![packed(1, [began, batch].into_iter().chain(failures))]);
    let playbook = playbook(&consul, KV, &TABLE.replace("GATEWAY", &consul), 2);
    let (text, most) = run(&playbook, &["resume", "app.yaml", "00000001", "--yes"]);
    assert!(text.contains("the playbook in the journal of 00000001 cannot be read"), "{text}");
    assert!(most < MOST, "{} MiB\n{text}", most / 1024);
    for output in ["plain", "jsonl"] {
        let (text, most) = run(&playbook, &["show", "app.yaml", "--output", output]);
        assert!(text.contains("00000001"), "{text:.2000}");
        assert!(most < MOST, "show --output {output}: {} MiB", most / 1024);
    }
}

#[test]
fn past_journals_take_bounded_memory() {
    let node = |number: usize| format!(r#"{{"node":"{number}","will":"skip"}}"#);
    let nodes = |count: usize| (0..count).map(node).collect::<Vec<_>>().join(",");
    let own = r#"{"node":"n1","will":"skip"}"#;
    let before = r#"{"nodes":["n1"],"version":"","variables":{}},"#;
    for (name, selection, nodes, before) in [
        ("many nodes", String::new(), nodes(19_000), String::new()),
        ("too many nodes", String::new(), nodes(98_000), String::new()),
        ("selections", format!("{}\"\"", "\"\",".repeat(190_000)), own.into(), String::new()),
        ("targets", String::new(), own.into(), before.repeat(60_000).trim_end_matches(',').into()),
    ] {
        let journals: Vec<_> =
            (1..=20).map(|number| journal(number, &selection, &nodes, &before)).collect();
        let consul = consul_with(journals);
        let playbook = playbook(&consul, KV, &TABLE.replace("GATEWAY", &consul), 2);
        let (text, most) = status(&playbook);
        assert!(most < MOST, "{name}: {} MiB\n{text}", most / 1024);
        let (list, most) = run(&playbook, &["history", "app.yaml"]);
        assert!(most < MOST, "{name}: history: {} MiB", most / 1024);
        let told =
            if name == "too many nodes" { "it has more than 20000 nodes" } else { "20 releases" };
        assert!(list.contains(told), "{name}: {list}");
        let told = if name == "too many nodes" {
            "it has more than 20000 nodes"
        } else {
            "Last release 00000014"
        };
        assert!(text.contains(told), "{name}: {text}");
    }
}
