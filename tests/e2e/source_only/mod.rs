//! Gateways that exist as source only: a release under load behind a real one, where the environment names its binary.
//!
//! | variable | names |
//! |---|---|
//! | `ROLLGATE_REAL_DYUPS` | nginx with `ngx_http_dyups_module` of before 2020-04 |
//! | `ROLLGATE_REAL_DYUPS_HEAD` | the same of 2020-04 or later |
//! | `ROLLGATE_REAL_ZIGZAGAK` | nginx with `ZigzagAK`'s `ngx_dynamic_upstream` |
//! | `ROLLGATE_REAL_CUBICDAIYA` | nginx with cubicdaiya's |
//! | `ROLLGATE_REAL_UPSYNC` | nginx with nginx-upsync-module and `nginx_upstream_check_module` |
//! | `ROLLGATE_REAL_SLARDAR` | a folder with Slardar's `app`, its dependencies in `lua` and `so`; nginx is Debian's |
//! | `ROLLGATE_REAL_CONSUL_TEMPLATE` | consul-template itself, which renders for Debian's nginx |

mod contract;
mod dyups;
mod ngx_dynamic_upstream;
mod slardar;
mod upsync;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rollgate_lab::{LabConfig, LoadConfig, Renderer, get, until};
use serde_json::{Value, json};

use crate::harness::{Bench, signal};

const WORKERS: u32 = 4;

/// The host in users' requests, and so nginx's `$host`.
const HOST: &str = "127.0.0.1";

/// Returns the binary that a variable names; prints a note when it names none.
fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: {variable} names no binary, see tests/e2e/source_only/mod.rs");
    }
    path
}

/// A gateway of a kind that the lab does not have.
struct Real {
    binary: PathBuf,
    folder: PathBuf,
    /// The first lines of its configuration.
    modules: &'static str,
    /// The ports for users' requests and for its API.
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

    /// Writes its configuration: the `http` part, and the locations of users and of the API.
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

    /// Gives its upstream another name; a change is in effect when it is started again.
    fn rename(&self, names: [&str; 2]) {
        let file = self.folder.join("nginx.conf");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        let text = ["upstream ", "zone_for_", "http://"].iter().fold(text, |text, before| {
            text.replace(&format!("{before}{}", names[0]), &format!("{before}{}", names[1]))
        });
        std::fs::write(file, text).expect("written");
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

    /// Waits until requests are served, and every worker had time to follow: each polls once a second.
    fn served(&self) {
        let users = format!("{}/ping", self.users());
        let mut since = Instant::now();
        let served = until("all workers", Duration::from_secs(10), || {
            if !get(&users).is_ok_and(|reply| reply.status == 200) {
                since = Instant::now();
            }
            Ok((since.elapsed() > Duration::from_millis(1500)).then_some(()))
        });
        served.expect("served");
    }

    /// The URL for users.
    fn users(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    /// Stops it and its workers by a signal; the next stop ends that.
    fn freeze(&self) {
        for process in self.processes() {
            signal(process, "-STOP");
        }
    }

    /// The master and its workers.
    fn processes(&self) -> Vec<u32> {
        let Some(master) = self.child.as_ref().map(Child::id) else { return Vec::new() };
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|process| process.parse().ok());
        children.chain([master]).collect()
    }

    fn stop(&mut self) {
        for process in self.processes() {
            signal(process, "-CONT");
        }
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

/// nginx's `server` for each node.
fn servers(nodes: &[String], parameters: &str) -> String {
    nodes.iter().fold(String::new(), |mut text, node| {
        writeln!(text, "server {node}{parameters};").expect("a string takes everything");
        text
    })
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

    /// Releases all nodes, one and then two at a time, in which no request fails.
    fn release(&self) {
        let target = self.real.users();
        let load = rollgate_lab::Load::start(&LoadConfig::new(vec![target])).expect("load");
        self.bench.release_under(load, self.bench.file());
    }
}

#[test]
fn no_request_fails_behind_an_nginx_that_a_real_consul_template_renders() {
    if let Some(binary) = named("ROLLGATE_REAL_CONSUL_TEMPLATE") {
        crate::rendered::release(Renderer::Real(binary));
    }
}
