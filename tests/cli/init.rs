//! `init` without a terminal, at gateways that a small server stands in for; and with one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::json;

use crate::support::{Case, serve};

/// The options for a service of two nodes.
const NODES: [&str; 8] = [
    "--service",
    "app",
    "--node",
    "127.0.0.1:80@local",
    "--node",
    "127.0.0.2:80@local",
    "--health",
    "tcp",
];

const COMMANDS: [&str; 4] = ["--stop", "systemctl stop app", "--start", "systemctl start app"];

/// A server with one path that answers. The query is a part of the path.
fn answering(path: &'static str, body: String) -> String {
    let body = Arc::new(body.into_bytes());
    let address = serve(move |_, asked, query| {
        let whole = if query.is_empty() { asked.to_owned() } else { format!("{asked}?{query}") };
        if whole == path { (200, body.clone()) } else { (404, Arc::default()) }
    });
    format!("http://{address}")
}

/// Writes a playbook for one gateway and returns it.
#[track_caller]
fn written(gateway: &str) -> String {
    let case = Case::new(&[]);
    let arguments =
        [&["init", "app.yaml"][..], &NODES, &COMMANDS, &["--gateway", gateway]].concat();
    case.exits(0, &arguments);
    case.exits(0, &["check", "app.yaml"]);
    fs::read_to_string(case.folder().join("app.yaml")).expect("a playbook")
}

/// The list of an nginx-upsync.
fn upsync(nodes: &[&str]) -> String {
    let servers = nodes
        .iter()
        .map(|node| format!("        server {node} weight=1 max_fails=2 fail_timeout=10s;\n"));
    let count = nodes.len();
    format!("Upstream name: app; Backend server count: {count}\n{}", servers.collect::<String>())
}

/// The lists of a dyups with one node.
const DYUPS: &str =
    "app\nserver 127.0.0.1:80 weight=1 max_fails=1 fail_timeout=10 backup=0 down=0\n\n";

#[test]
fn kinds_of_gateways_are_recognised_by_their_answers() {
    let nodes = ["127.0.0.1:80", "127.0.0.2:80"];
    let servers = |after: &str| {
        nodes
            .map(|node| format!("server {node} weight=1 max_fails=1 fail_timeout=10{after}\n"))
            .concat()
    };
    let dynamic = nodes
        .map(|node| format!("server {node} addr={node} weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns=0;\n"))
        .concat();
    let status =
        |node: &str| json!({ "weight": 1, "status": "ok", "server": format!("app:{node}") });
    let slardar = json!({ "shd_config_version": 0, "cls:app": [nodes.map(status)] }).to_string();
    let apisix = json!({ "value": { "id": "app", "type": "roundrobin",
        "nodes": nodes.map(|node| {
            let (host, port) = node.split_once(':').expect("a port");
            json!({ "host": host, "port": port.parse::<u16>().expect("a port"), "weight": 1, "priority": 0 })
        }) } });
    let keys = ",admin_url=http://10.0.0.9:9180,admin_key=${{ secrets.apisix }}";
    for (kind, path, body, keys) in [
        ("dyups", "/detail", format!("app\n{}\n", servers(" backup=0 down=0")), ""),
        ("slardar", "/status", slardar, ""),
        ("ngx-dynamic-upstream", "/dynamic?upstream=app&verbose=", dynamic, ""),
        ("apisix", "/v1/upstream/app", apisix.to_string(), keys),
    ] {
        let address = answering(path, body) + keys;
        let page = written(&address);
        assert!(page.contains(&format!("\n  - type: {kind}\n")), "{kind}: {page}");
    }
}

#[test]
fn playbook_without_a_terminal_needs_options() {
    let gateway = answering("/detail", DYUPS.into());
    let all = [&["init"][..], &NODES, &COMMANDS, &["--gateway", &gateway]].concat();
    for (left_out, needed) in [
        ("--node", "hint: add --node HOST:PORT"),
        ("--gateway", "hint: add --gateway ADDRESS"),
        ("--stop", "hint: add --stop COMMAND"),
        ("--start", "hint: add --start COMMAND"),
    ] {
        let case = Case::new(&[]);
        let pairs = all[1..].chunks(2).filter(|pair| pair[0] != left_out);
        let arguments: Vec<_> = ["init"].into_iter().chain(pairs.flatten().copied()).collect();
        let (_, told) = case.exits(2, &arguments);
        assert!(told.contains(needed) && told.contains("no terminal to ask"), "{left_out}: {told}");
        assert!(!case.folder().join("rollgate.yaml").exists());
    }
}

#[test]
fn gateway_that_is_not_recognised_is_refused_with_what_it_answers() {
    let gateway = answering("/detail", "hello\n".into());
    let case = Case::new(&[]);
    let arguments = [&["init"][..], &NODES, &COMMANDS, &["--gateway", &gateway]].concat();
    let (_, told) = case.exits(3, &arguments);
    assert!(told.contains("shows a node of app there; it answers 404"), "{told}");
    assert!(told.contains("hint: as dyups: "), "{told}");
    assert!(told.contains("--gateway type=KIND,KEY=VALUE"), "{told}");
    let closed = [&["init"][..], &NODES, &COMMANDS, &["--gateway", "http://127.0.0.1:1"]].concat();
    let (_, told) = case.exits(3, &closed);
    assert!(told.contains("upstream_list?app: connection refused"), "{told}");
    let (_, told) = case.exits(3, &["init", "--service", "app", "--consul", "http://127.0.0.1:1"]);
    assert!(told.contains("Consul: "), "{told}");
    let upsync = answering("/upstream_show?app", upsync(&["127.0.0.1:80", "127.0.0.2:80"]));
    let nowhere = [&["init"][..], &NODES, &COMMANDS, &["--gateway", &upsync]].concat();
    let (_, told) = case.exits(3, &nowhere);
    assert!(told.contains("`nginx-upsync` cannot follow the registry `gateway`"), "{told}");
    assert!(told.contains("hint: say where Consul has the nodes: --consul URL"), "{told}");
    assert!(!case.folder().join("rollgate.yaml").exists());
}

#[test]
fn version_in_the_health_checks_json_becomes_the_identity() {
    let gateway = answering("/detail", DYUPS.into());
    let node =
        answering("/healthz", json!({ "ok": true, "build": { "version": "1.0.0" } }).to_string());
    let node = node.trim_start_matches("http://").to_owned() + "@local";
    let case = Case::new(&[]);
    let nodes = ["init", "app.yaml", "--service", "app", "--node", "127.0.0.1:80@local"];
    let all = [&nodes[..], &["--node", &node], &COMMANDS, &["--gateway", &gateway]].concat();
    let (_, told) = case.exits(0, &all);
    assert!(
        told.contains("/healthz answers 200, /build/version in its JSON has the version (1.0.0)"),
        "{told}"
    );
    assert!(told.contains("Consul does not answer at http://127.0.0.1:"), "{told}");
    case.exits(0, &["check", "app.yaml"]);
    let page = fs::read_to_string(case.folder().join("app.yaml")).expect("a playbook");
    assert!(
        page.contains("  identity: { pointer: /build/version, equals: '${{ version }}' }\n"),
        "{page}"
    );
    assert!(!page.contains("deadline") && !page.contains("min_healthy_time"), "{page}");
}

#[test]
fn socket_that_does_not_exist_is_named_as_such() {
    let case = Case::new(&[]);
    let socket = case.folder().join("none.sock").display().to_string();
    let all = [&["init"][..], &NODES, &COMMANDS, &["--gateway", &socket]].concat();
    let (_, told) = case.exits(3, &all);
    assert!(told.to_lowercase().contains("no such file or directory"), "{told}");
    assert!(!told.contains("no kind of gateway"), "{told}");
}

#[test]
fn draft_that_is_invalid_is_not_written_and_says_so() {
    let gateway = answering("/detail", DYUPS.into());
    let case = Case::new(&[]);
    let commands = ["--stop", "stop ${{ node.vars.n }}", "--start", "start-app"];
    let all = [&["init", "app.yaml"][..], &NODES, &commands, &["--gateway", &gateway]].concat();
    let (_, told) = case.exits(2, &all);
    assert!(told.contains("app.yaml (not written)"), "{told}");
    assert!(told.contains("lines of the playbook that init would write"), "{told}");
    assert!(!case.folder().join("app.yaml").exists());
}

#[test]
fn existing_file_is_never_changed() {
    let case = Case::new(&[("app.yaml", b"precious"), ("target", b"precious")]);
    symlink("target", case.folder().join("link.yaml")).expect("a symlink");
    symlink("nowhere", case.folder().join("loose.yaml")).expect("a symlink");
    for file in ["app.yaml", "link.yaml", "loose.yaml"] {
        let (_, told) = case.exits(2, &["init", file]);
        assert!(told.contains(&format!("{file} exists already")), "{told}");
    }
    assert!(!case.folder().join("nowhere").exists());
    assert_eq!(fs::read(case.folder().join("target")).expect("a file"), b"precious");
}

#[test]
fn keys_in_consul_are_found_and_the_right_ones_are_taken() {
    let gateway = answering("/upstream_list?app", upsync(&["127.0.0.1:80", "127.0.0.2:80"]));
    let consul = |keys: &'static str| {
        let address = serve(move |_, path, _| {
            let body = match path {
                "/v1/status/leader" => "\"127.0.0.1:8300\"",
                "/v1/kv/" => keys,
                "/v1/catalog/services" => r#"{"consul":[]}"#,
                _ => return (404, Arc::default()),
            };
            (200, Arc::new(body.as_bytes().to_vec()))
        });
        format!("http://{address}")
    };
    let options = ["--service", "app", "--health", "tcp", "--gateway", &gateway];
    let run = |consul: &str| {
        let case = Case::new(&[]);
        let all = [&["init", "app.yaml", "--consul", consul][..], &options, &COMMANDS].concat();
        (case.run(&all), case)
    };
    let one = consul(
        r#"["upstreams/app/127.0.0.1:80","upstreams/app/127.0.0.2:80","upstreams/web/10.0.0.9:80"]"#,
    );
    let (ran, case) = run(&one);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let page = fs::read_to_string(case.folder().join("app.yaml")).expect("a playbook");
    for line in [
        "registry: { type: consul-kv, prefix: upstreams/app/ }",
        "  - { name: app-1, ssh: '127.0.0.1', address: '127.0.0.1:80' }",
    ] {
        assert!(page.lines().any(|own| own == line), "{page}");
    }
    let empty = consul("[]");
    let (ran, _case) = run(&empty);
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(told.contains("the token may not be allowed to see them: CONSUL_HTTP_TOKEN"), "{told}");
    assert!(told.contains("NAME=HOST:PORT@SSH. `@local` is this machine"), "{told}");
    let several = consul(r#"["blue/app/127.0.0.1:80","green/app/127.0.0.1:80"]"#);
    let (ran, _case) = run(&several);
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{told}");
    for part in ["add --prefix PREFIX or", "found: keys blue/app/ (127.0.0.1:80); keys green/app/"]
    {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn operator_is_asked_on_a_terminal() {
    let gateway = answering("/detail", DYUPS.into());
    let case = Case::new(&[]);
    let pair = native_pty_system()
        .openpty(PtySize { cols: 160, ..PtySize::default() })
        .expect("a terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_rollgate"));
    command.args(["init", "app.yaml", "--health", "tcp"]);
    command.cwd(case.folder());
    command.env_clear();
    command.env("TERM", "xterm-256color");
    let mut child = pair.slave.spawn_command(command).expect("rollgate starts");
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().expect("a reader");
    let (heard, screen) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            let _ = heard.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
        }
    });
    let mut writer = pair.master.take_writer().expect("a writer");
    let mut shown = String::new();
    for (question, answer) in [
        ("Name of the service", "app"),
        ("The nodes: HOST:PORT", "127.0.0.1:80@local 127.0.0.2:80@local"),
        ("A gateway: a URL", "nothing"),
        ("expected a URL", &gateway),
        ("lists 1 node", ""),
        ("The command that stops", "stop-app"),
        ("The command that starts", "start-app"),
        ("Artifact to copy", ""),
    ] {
        while !shown.contains(question) {
            let more = screen.recv_timeout(Duration::from_secs(60));
            shown += &more.unwrap_or_else(|_| panic!("`{question}` was never shown: {shown}"));
        }
        shown.clear();
        writer.write_all(format!("{answer}\r").as_bytes()).expect("typed");
    }
    let rest: String = screen.iter().collect();
    assert_eq!(child.wait().expect("it ends").exit_code(), 0, "{rest}");
    assert!(rest.contains("app.yaml is written."), "{rest}");
    let page = fs::read_to_string(case.folder().join("app.yaml")).expect("a playbook");
    assert!(page.contains("\nstop: stop-app\nstart: start-app\n"), "{page}");
    case.exits(0, &["check", "app.yaml"]);
}
