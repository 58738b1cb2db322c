//! Gateways that exist as source only: a release under load behind a real one, where the environment names its binary.
//!
//! | variable | names |
//! |---|---|
//! | `ROLLGATE_REAL_DYUPS` | nginx with `ngx_http_dyups_module` of before 2020-04 |
//! | `ROLLGATE_REAL_DYUPS_HEAD` | the same of after |
//! | `ROLLGATE_REAL_ZIGZAGAK` | nginx with `ZigzagAK`'s `ngx_dynamic_upstream` |
//! | `ROLLGATE_REAL_CUBICDAIYA` | nginx with cubicdaiya's |
//! | `ROLLGATE_REAL_UPSYNC` | nginx with nginx-upsync-module and `nginx_upstream_check_module` |
//! | `ROLLGATE_REAL_SLARDAR` | nginx with lua-nginx-module, started in Slardar's folder `nginx` |

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rollgate_lab::{LabConfig, LoadConfig, get, request, until};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, events, signal};

const WORKERS: u32 = 4;

/// What users' requests name, and so what `$host` is.
const HOST: &str = "127.0.0.1";

/// The binary that a variable names; says so when it names none.
fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: {variable} names no binary, see tests/e2e/source_only.rs");
    }
    path
}

/// A gateway of a kind that the lab has not.
struct Real {
    binary: PathBuf,
    folder: PathBuf,
    /// Where users' requests go, and where its API is.
    ports: (u16, u16),
    child: Option<Child>,
}

impl Real {
    fn new(binary: PathBuf) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (users, api) = (free(), free());
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let ports = (port(&users), port(&api));
        Self { binary, folder: PathBuf::new(), ports, child: None }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.1)
    }

    /// Writes its configuration: what stands in `http`, and the locations of users and of the API.
    fn configure(&mut self, folder: &Path, http: &str, users: &str, api: &str) {
        self.folder = folder.join("real");
        std::fs::create_dir_all(self.folder.join("logs")).expect("a folder");
        let (users_port, api_port) = self.ports;
        let text = format!(
            "worker_processes {WORKERS};\ndaemon off;\nuser root;\npid nginx.pid;\nerror_log logs/error.log warn;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n\
             \x20 proxy_next_upstream off;\n{http}\n\
             \x20 server {{ listen 127.0.0.1:{users_port}; location / {{ {users} }} }}\n\
             \x20 server {{ listen 127.0.0.1:{api_port}; add_header X-Worker $pid; {api} }}\n}}\n"
        );
        std::fs::write(self.folder.join("nginx.conf"), text).expect("written");
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("console.log")).expect("a file");
        let child = Command::new(&self.binary)
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("it starts"));
        let up = until("the gateway", Duration::from_secs(10), || Ok(get(&self.url("/")).ok()));
        let console = std::fs::read_to_string(self.folder.join("console.log"));
        up.unwrap_or_else(|error| panic!("{error}: {console:?}"));
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(child.id(), "-TERM");
            child.wait().expect("it ends");
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A lab of three nodes behind one real gateway.
struct Play {
    bench: Bench,
    real: Real,
}

impl Play {
    fn new(real: Real, gateway: &Value, edit: impl FnOnce(&mut Value)) -> Self {
        let bench = Bench::with(LabConfig::new(3, Vec::new()), |playbook| {
            playbook["registry"] = json!({ "type": "gateway" });
            playbook["strategy"] = json!({ "batches": [1, 2], "min_available": 1 });
            playbook["gateways"] = json!([gateway]);
            edit(playbook);
        });
        Self { bench, real }
    }

    fn nodes(&self) -> Vec<String> {
        self.bench.lab.nodes.iter().map(|node| node.address().to_string()).collect()
    }

    /// nginx's `server` for each node.
    fn servers(&self, parameters: &str) -> String {
        self.nodes().iter().fold(String::new(), |mut text, node| {
            writeln!(text, "server {node}{parameters};").expect("a string takes everything");
            text
        })
    }

    /// Waits until requests are served by every worker that answers.
    fn served(&self) {
        let users = format!("http://127.0.0.1:{}/ping", self.real.ports.0);
        let all = || (0..60).all(|_| get(&users).is_ok_and(|reply| reply.status == 200));
        until("all workers", Duration::from_secs(10), || Ok(all().then_some(()))).expect("served");
    }

    /// A release of all nodes, one and then two at a time, in which no request fails.
    fn release(&self) {
        let target = format!("http://127.0.0.1:{}", self.real.ports.0);
        let load = rollgate_lab::Load::start(&LoadConfig::new(vec![target])).expect("load");
        let ran =
            self.bench.run(&["deploy"], &["--var", "version=2", "--yes", "--output", "jsonl"]);
        println!("{}", ran.stderr());
        let ran = ran.exits(0);
        assert!(self.bench.versions().iter().all(|version| version.as_deref() == Some("2")));
        let totals = self.bench.assert_unnoticed(load);
        assert_eq!(totals.by_node.len(), 3, "{totals:?}");
        costs(&ran);
    }
}

/// Prints for each change how long it was from the write to the proof.
fn costs(ran: &Ran) {
    let at = |event: &Value| -> jiff::Timestamp {
        event["ts"].as_str().and_then(|time| time.parse().ok()).expect("a time")
    };
    let mut written: Vec<(Value, bool, jiff::Timestamp)> = Vec::new();
    for event in events(&ran.stdout()) {
        let node = event["node"].clone();
        if event["type"] == "registry.written" {
            written.push((node, event["data"]["down"] == true, at(&event)));
        } else if event["type"] == "gateway.proven" {
            let last = written.iter().rev().find(|(of, ..)| *of == node);
            let (_, down, since) = last.expect("written before it is proven");
            let took = (at(&event).as_millisecond() - since.as_millisecond()).unsigned_abs();
            let way = if *down { "out" } else { "in" };
            println!("{node} proven {way} {took} ms after the write: {}", event["data"]);
        }
    }
}

fn post(real: &Real, path: &str, body: &str) -> u16 {
    let reply = request("POST", &real.url(path), body).expect("an answer");
    reply.status
}

/// `dyups` of either kind, with its list posted.
fn dyups(variable: &str, keys: Value, edit: impl FnOnce(&mut Value)) -> Option<Play> {
    let real = Real::new(named(variable)?);
    let mut gateway = json!({
        "type": "dyups", "name": "gw", "upstream": HOST, "url": real.url(""),
        "server": "weight=5 max_fails=3", "others": ["server 127.0.0.1:9 backup;"],
        "extras": "keepalive 8;",
    });
    for (key, value) in keys.as_object().expect("keys") {
        gateway[key] = value.clone();
    }
    let mut play = Play::new(real, &gateway, edit);
    let is_head = gateway["mode"] == "head";
    let backend = if is_head { "$dyups_host" } else { "$host" };
    play.real.configure(
        play.bench.lab.directory(),
        "",
        &format!("proxy_pass http://{backend};"),
        "location / { dyups_interface; }",
    );
    play.real.start();
    play.post_list();
    Some(play)
}

impl Play {
    fn post_list(&self) {
        let list =
            self.servers(" weight=5 max_fails=3") + "server 127.0.0.1:9 backup;\nkeepalive 8;\n";
        assert_eq!(post(&self.real, &format!("/upstream/{HOST}"), &list), 200);
        self.served();
    }
}

#[test]
fn no_request_fails_behind_a_classic_dyups() {
    for keys in [json!({}), json!({ "workers": WORKERS })] {
        let Some(play) = dyups("ROLLGATE_REAL_DYUPS", keys, |_| {}) else { return };
        play.release();
    }
}

#[test]
fn no_request_fails_behind_a_dyups_of_now() {
    let Some(play) = dyups("ROLLGATE_REAL_DYUPS_HEAD", json!({ "mode": "head" }), |_| {}) else {
        return;
    };
    play.release();
}

/// A classic dyups loses every list with a restart: who watches a node that is out gives it back.
#[test]
fn a_dyups_that_is_restarted_while_a_node_is_out_gets_its_list_back_within_two_seconds() {
    let slow = |playbook: &mut Value| playbook["start"] = "sleep 5; /srv/app/ctl start".into();
    let Some(mut play) = dyups("ROLLGATE_REAL_DYUPS", json!({ "workers": WORKERS }), slow) else {
        return;
    };
    let (child, lines) = play.bench.start_until("2", "start");
    play.real.stop();
    let begun = Instant::now();
    play.real.start();
    let out = format!(
        "server {} weight=5 max_conns=0 max_fails=3 fail_timeout=10 backup=0 down=1",
        play.nodes()[0]
    );
    let back = until("the list", Duration::from_secs(3), || {
        let reply = get(&play.real.url("/detail"))?;
        Ok(reply.body.contains(&out).then_some(()))
    });
    println!("the list was back {:?} after the restart", begun.elapsed());
    assert!(back.is_ok(), "{back:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let lines: Vec<_> = lines.map(|line| line.expect("a line")).collect();
    Ran(child.wait_with_output().expect("ends")).exits(0);
    assert!(lines.iter().any(|line| line.contains("it was marked down again")), "{lines:#?}");
    assert!(play.bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}

#[test]
fn no_request_fails_behind_ngx_dynamic_upstream() {
    for (variable, variant, upstream) in [
        ("ROLLGATE_REAL_ZIGZAGAK", "zigzagak", "app"),
        ("ROLLGATE_REAL_CUBICDAIYA", "cubicdaiya", "zone_for_app"),
    ] {
        let Some(binary) = named(variable) else { continue };
        let real = Real::new(binary);
        let gateway = json!({
            "type": "ngx-dynamic-upstream", "name": "gw", "upstream": upstream, "variant": variant,
            "url": real.url("/dynamic"),
        });
        let mut play = Play::new(real, &gateway, |playbook| {
            // What the gateway counts ends the drain.
            if variant == "zigzagak" {
                playbook["drain"]["in_flight"] = "gateways".into();
            }
        });
        let upstream =
            format!("  upstream app {{ zone zone_for_app 128k;\n{}}}\n", play.servers(""));
        let api = "location /dynamic { dynamic_upstream; }";
        let folder = play.bench.lab.directory().to_owned();
        play.real.configure(&folder, &upstream, "proxy_pass http://app;", api);
        play.real.start();
        play.served();
        play.release();
    }
}
