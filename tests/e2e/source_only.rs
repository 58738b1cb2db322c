//! Gateways that exist as source only: a release under load behind a real one, where the environment names its binary.
//!
//! | variable | names |
//! |---|---|
//! | `ROLLGATE_REAL_DYUPS` | nginx with `ngx_http_dyups_module` of before 2020-04 |
//! | `ROLLGATE_REAL_DYUPS_HEAD` | the same of after |
//! | `ROLLGATE_REAL_ZIGZAGAK` | nginx with `ZigzagAK`'s `ngx_dynamic_upstream` |
//! | `ROLLGATE_REAL_CUBICDAIYA` | nginx with cubicdaiya's |
//! | `ROLLGATE_REAL_UPSYNC` | nginx with nginx-upsync-module and `nginx_upstream_check_module` |
//! | `ROLLGATE_REAL_SLARDAR` | not nginx, which is Debian's, but a folder with Slardar's `app`, and `lua` and `so` for what else it requires |
//! | `ROLLGATE_REAL_CONSUL_TEMPLATE` | consul-template itself, which renders for Debian's nginx |

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rollgate_lab::{LabConfig, LoadConfig, Renderer, get, request, until};
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
    /// What stands before everything else in its configuration.
    modules: &'static str,
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
        Self { binary, folder: PathBuf::new(), modules: "", ports, child: None }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.1)
    }

    /// Writes its configuration: what stands in `http`, and the locations of users and of the API.
    fn configure(&mut self, folder: &Path, http: &str, users: &str, api: &str) {
        self.folder = folder.join("real");
        std::fs::create_dir_all(self.folder.join("logs")).expect("a folder");
        let (modules, (users_port, api_port)) = (self.modules, self.ports);
        let text = format!(
            "{modules}worker_processes {WORKERS};\ndaemon off;\nuser root;\npid nginx.pid;\nerror_log logs/error.log warn;\n\
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
        let config = LabConfig::new(3, Vec::new());
        Self::with(config, real, gateway, |playbook| {
            playbook["registry"] = json!({ "type": "gateway" });
            edit(playbook);
        })
    }

    fn with(config: LabConfig, real: Real, gateway: &Value, edit: impl FnOnce(&mut Value)) -> Self {
        let bench = Bench::with(config, |playbook| {
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

    /// Waits until requests are served, and every worker has had the time to follow: each looks once a second.
    fn served(&self) {
        let users = format!("http://127.0.0.1:{}/ping", self.real.ports.0);
        let mut since = Instant::now();
        let served = until("all workers", Duration::from_secs(10), || {
            if !get(&users).is_ok_and(|reply| reply.status == 200) {
                since = Instant::now();
            }
            Ok((since.elapsed() > Duration::from_millis(1500)).then_some(()))
        });
        served.expect("served");
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
fn dyups(variable: &str, keys: &Value, edit: impl FnOnce(&mut Value)) -> Option<Play> {
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
        let Some(play) = dyups("ROLLGATE_REAL_DYUPS", &keys, |_| {}) else { return };
        play.release();
    }
}

#[test]
fn no_request_fails_behind_a_dyups_of_now() {
    let Some(play) = dyups("ROLLGATE_REAL_DYUPS_HEAD", &json!({ "mode": "head" }), |_| {}) else {
        return;
    };
    play.release();
}

/// A classic dyups loses every list with a restart: who watches a node that is out gives it back.
#[test]
fn a_dyups_that_is_restarted_while_a_node_is_out_gets_its_list_back_within_two_seconds() {
    let slow = |playbook: &mut Value| playbook["start"] = "sleep 5; /srv/app/ctl start".into();
    let Some(mut play) = dyups("ROLLGATE_REAL_DYUPS", &json!({ "workers": WORKERS }), slow) else {
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

/// nginx-upsync that follows `place` in Consul, and checks its servers every second.
fn release_behind_upsync(
    config: LabConfig,
    (kind, place): (&str, &str),
    form: &str,
    edit: impl FnOnce(&mut Value),
) {
    let Some(binary) = named("ROLLGATE_REAL_UPSYNC") else { return };
    let real = Real::new(binary);
    let gateway = json!({
        "type": "nginx-upsync", "name": "gw", "upstream": "app", "workers": WORKERS,
        "status_url": real.url("/upstream_list?app"), "sync_interval": "500ms",
        "check_url": real.url(&format!("/upstream_status?format={form}")), "upsync_type": kind,
    });
    let mut play = Play::with(config, real, &gateway, edit);
    let folder = play.bench.lab.directory().to_owned();
    let consul = play.bench.lab.consul.addresses()[0].replace("http://", "");
    let upstream = format!(
        "  upstream app {{\n    upsync {consul}/{place} upsync_timeout=6m upsync_interval=500ms upsync_type={kind} \
         strong_dependency=off;\n    upsync_dump_path {0};\n    include {0};\n\
         \x20   check interval=1000 rise=2 fall=2 timeout=1000 default_down=false type=http;\n\
         \x20   check_http_send \"GET /ping HTTP/1.0\\r\\n\\r\\n\";\n  }}\n",
        folder.join("dump.conf").display()
    );
    std::fs::write(folder.join("dump.conf"), play.servers("")).expect("written");
    let api = "location = /upstream_list { upstream_show; } location = /upstream_status { check_status; }";
    play.real.configure(&folder, &upstream, "proxy_pass http://app;", api);
    play.real.start();
    play.served();
    play.release();
}

#[test]
fn no_request_fails_behind_nginx_upsync_with_its_check_module() {
    for form in ["json", "csv", "html"] {
        let place = ("consul", "v1/kv/upstreams/app/");
        release_behind_upsync(LabConfig::new(3, Vec::new()), place, form, |playbook| {
            playbook["registry"] = json!({ "type": "consul-kv", "prefix": "upstreams/app/" });
        });
    }
}

#[test]
fn no_request_fails_behind_nginx_upsync_that_follows_health() {
    let config = LabConfig { agents: true, ..LabConfig::new(3, Vec::new()) };
    let place = ("consul_health", "v1/health/service/app");
    release_behind_upsync(config, place, "json", |_| {});
}

/// Slardar in `folder`, with its list in Consul.
fn slardar(edit: impl FnOnce(&mut Value)) -> Option<Play> {
    let folder = named("ROLLGATE_REAL_SLARDAR")?;
    let mut real = Real::new("/usr/sbin/nginx".into());
    real.modules = "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n\
                    load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n";
    let gateway = json!({
        "type": "slardar", "name": "gw", "upstream": HOST, "url": real.url(""), "workers": WORKERS,
        "server": { "weight": 1, "max_fails": 6, "fail_timeout": 30 },
    });
    let mut play = Play::new(real, &gateway, edit);
    let own = play.bench.lab.directory().to_owned();
    let servers = play.bench.lab.nodes.iter().map(|node| {
        let address = node.address();
        json!({ "host": address.ip(), "port": address.port(), "weight": 1, "max_fails": 6, "fail_timeout": 30 })
    });
    let servers: Vec<_> = servers.collect();
    let list = json!({ "enable": true, "servers": servers }).to_string();
    let key = format!("config/slardar/upstreams/{HOST}");
    play.bench.lab.consul.put(&key, &list).expect("Consul takes it");
    let consul = play.bench.lab.consul.addresses()[0].replace("http://", "");
    let (host, port) = consul.split_once(':').expect("an address");
    let config = format!(
        "return {{ global = {{ checkup_timer_interval = 1, checkup_timer_overtime = 60, default_heartbeat_enable = true, \
         checkup_shd_sync_enable = true, shd_config_timer_interval = 1, no_store = false }}, store = {{ type = \
         \"consul\", timeout = 5, enable = false, config_key_prefix = \"config/slardar/\", config_cache_enable = true, \
         cluster = {{ {{ servers = {{ {{ host = \"{host}\", port = {port} }} }} }} }} }}, load_init = {{ module_name = \
         \"resty.store.load\" }} }}\n"
    );
    std::fs::write(own.join("config.lua"), config).expect("written");
    let (own, slardar) = (own.display(), folder.display());
    let dicts: String = ["state", "locks", "mutex", "cache", "config", "load"]
        .map(|dict| format!("  lua_shared_dict {dict} 5m;\n"))
        .concat();
    let http = format!(
        "  default_type text/plain;\n{dicts}  lua_package_path \"{own}/?.lua;{slardar}/app/lib/?.lua;\
         {slardar}/app/src/?.lua;{slardar}/lua/?.lua;;\";\n  lua_package_cpath \"{slardar}/so/?.so;;\";\n\
         \x20 init_by_lua_file {slardar}/app/src/init.lua;\n\
         \x20 init_worker_by_lua_file {slardar}/app/src/init_worker.lua;\n\
         \x20 upstream backend {{ server 0.0.0.1; balancer_by_lua_file {slardar}/app/src/balance.lua; keepalive 20; }}\n"
    );
    let api = format!("location / {{ content_by_lua_file {slardar}/app/src/status.lua; }}");
    let users = "proxy_set_header Host $host; proxy_pass http://backend;";
    let folder = play.bench.lab.directory().to_owned();
    play.real.configure(&folder, &http, users, &api);
    play.real.start();
    play.served();
    Some(play)
}

#[test]
fn no_request_fails_behind_slardar() {
    if let Some(play) = slardar(|_| {}) {
        play.release();
    }
}

#[test]
fn no_request_fails_behind_an_nginx_that_a_real_consul_template_renders() {
    if let Some(binary) = named("ROLLGATE_REAL_CONSUL_TEMPLATE") {
        crate::rendered::release(Renderer::Real(binary));
    }
}

/// Its API's word is lost by a reload; what Consul keeps is not.
#[test]
fn a_slardar_that_is_reloaded_while_a_node_is_out_keeps_it_out() {
    let slow = |playbook: &mut Value| playbook["start"] = "sleep 4; /srv/app/ctl start".into();
    let Some(play) = slardar(slow) else { return };
    let (child, lines) = play.bench.start_until("2", "start");
    let master = play.real.child.as_ref().expect("it runs").id();
    signal(master, "-HUP");
    let out = play.nodes()[0].clone();
    let until_back = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until_back {
        let status = get(&play.real.url("/status")).expect("an answer").body;
        assert!(!status.contains(&out), "{status}");
    }
    drop(lines.map(|line| line.expect("a line")).collect::<Vec<_>>());
    Ran(child.wait_with_output().expect("ends")).exits(0);
}
