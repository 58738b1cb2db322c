//! The playbooks by situation: each is planned, with stand-ins for its systems on this machine.
//!
//! What is in a playbook stays as it is, except for these: addresses become addresses of this machine, machines become
//! `local`, and the folders of releases and HAProxy's socket move into the folder of the test. The nodes are small HTTP
//! servers, and programs such as `docker` are scripts that only exist.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use regex::{Captures, Regex};
use serde_json::json;

use crate::support::{Body, Case, root, serve_at};

/// The programs that the playbooks name and a machine of the tests may lack. `sudo` runs what it is given.
const PROGRAMS: [&str; 7] =
    ["docker", "grpc_health_probe", "mosquitto_pub", "pm2", "podman", "sudo", "systemctl"];

const PROGRAM: &str = "#!/bin/sh\n[ \"${0##*/}\" = sudo ] || exit 0\nshift 2\nexec \"$@\"\n";

/// What runs before the release.
const OLD: &str = "1.0.0";

const HAPROXY: &str = include_str!("../fixtures/gateway/haproxy/2.6.12/runtime-up.txt");

/// The systems of a playbook.
struct Site {
    case: Case,
    nodes: Vec<(String, String)>,
}

impl Site {
    /// Starts stand-ins for the systems of `playbooks/<name>.yaml`, on addresses of their own: `10.N.…` becomes
    /// `127.<first + N>.…`.
    fn new(name: &str, first: usize) -> Self {
        let case = Case::new(&[]);
        let folder = case.folder().to_owned();
        let file = root().join("playbooks").join(format!("{name}.yaml"));
        let playbook = moved(&fs::read_to_string(&file).expect(name), first, &folder);
        fs::write(folder.join("app.yaml"), &playbook).expect("a playbook");
        let bin = folder.join("bin");
        fs::create_dir(&bin).expect("a folder");
        for program in PROGRAMS {
            fs::write(bin.join(program), PROGRAM).expect("a program");
            fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755))
                .expect("mode");
        }
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let nodes = found(&playbook, r"name: ([\w-]+), ssh: local, address: '([\d.:]+)'");
        for (_, address) in &nodes {
            let version = || format!("X-App-Version: {OLD}\r\n");
            serve_at(address, version, |_, _, _| (200, Body::default()));
        }
        let site = Self { case: case.env("PATH", &path), nodes };
        site.install(&playbook);
        for (backend, _) in found(&playbook, r"backend: (\w+)()") {
            site.haproxy(&backend);
        }
        for (address, _) in found(&playbook, r"http://([\d.]+:8500)()") {
            site.consul(&address);
        }
        for (address, workers) in
            found(&playbook, r"http://([\d.:]+)/upstream_list.*workers: (\d+)")
        {
            site.upsync(&address, workers.parse().expect("a number"));
        }
        site
    }

    /// The artifact, and on each node the release that runs.
    fn install(&self, playbook: &str) {
        let folder = self.case.folder();
        let Some((service, end)) =
            found(playbook, r"source: dist/([a-z]+)-\$\{\{ version \}\}\.(\S+)").pop()
        else {
            return;
        };
        fs::create_dir(folder.join("dist")).expect("a folder");
        let archive = folder.join(format!("dist/{service}-2.0.0.{end}"));
        fs::write(&archive, if end == "jar" { b"a jar".to_vec() } else { packed() })
            .expect("an artifact");
        for (name, _) in &self.nodes {
            let home = folder.join(name).join(&service);
            let release = home.join(format!("releases/{service}-{OLD}-00000001"));
            fs::create_dir_all(&release).expect("folders");
            symlink(release, home.join("current")).expect("a link");
        }
    }

    /// An HAProxy whose backend has every node. Its answer is always the same.
    fn haproxy(&self, backend: &str) {
        let blocks: Vec<_> = HAPROXY.split("\n\n").collect();
        let head = |block: &str, lines| block.lines().take(lines).collect::<Vec<_>>().join("\n");
        let (mut states, mut counts) = (head(blocks[2], 2), head(blocks[3], 1));
        let state = blocks[2].lines().nth(2).expect("a server");
        let count = blocks[3].lines().nth(1).expect("a server");
        for (name, address) in &self.nodes {
            let (host, port) = address.split_once(':').expect("a port");
            let own = state.replace(" s1 127.0.0.1 ", &format!(" {name} {host} "));
            let own = own.replace("19001", port).replace("4 app", &format!("4 {backend}"));
            states += &format!("\n{own}");
            let own = count.replace("app,s1,", &format!("{backend},{name},"));
            counts += &format!("\n{}", own.replace("127.0.0.1:19001", address));
        }
        let answer = format!("{}\n\n{}\n\n{states}\n\n{counts}\n\n", blocks[0], blocks[1]);
        let socket = self.case.folder().join("admin.sock");
        let listener = UnixListener::bind(socket).expect("a socket");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
    }

    fn upsync(&self, address: &str, workers: usize) {
        let server = |(_, node): &(String, String)| {
            format!("        server {node} weight=1 max_fails=2 fail_timeout=10s;\n")
        };
        let servers: String = self.nodes.iter().map(server).collect();
        let count = self.nodes.len();
        let list = format!("Upstream name: app; Backend server count: {count}\n{servers}");
        let (list, asked) = (Arc::new(list.into_bytes()), AtomicUsize::new(0));
        let worker =
            move || format!("X-Worker: {}\r\n", asked.fetch_add(1, Ordering::Relaxed) % workers);
        serve_at(address, worker, move |_, _, _| (200, list.clone()));
    }

    fn consul(&self, address: &str) {
        let value =
            BASE64_STANDARD.encode(r#"{"weight":1,"max_fails":2,"fail_timeout":10,"down":0}"#);
        let pair = |(_, node): &(String, String)| {
            let key = format!("upstreams/app/{node}");
            json!({ "Key": key, "Value": value, "CreateIndex": 1, "ModifyIndex": 1, "LockIndex": 0, "Flags": 0 })
        };
        let pairs: Vec<_> = self.nodes.iter().map(pair).collect();
        serve_at(address, String::new, move |_, path, query| {
            let said = |body: serde_json::Value| (200, Arc::new(body.to_string().into_bytes()));
            if path == "/v1/status/leader" {
                return said(json!("10.0.0.5:8300"));
            }
            let key = path.strip_prefix("/v1/kv/").unwrap_or_default();
            let is_prefix = query.contains("recurse") || query.contains("keys");
            let found = pairs.iter().filter(|pair| {
                let own = pair["Key"].as_str().expect("a key");
                if is_prefix { own.starts_with(key) } else { own == key }
            });
            let found: Vec<_> = found.collect();
            if path == "/v1/txn" {
                // A right is checked by a write that loses its race.
                let lost = json!({ "Results": null, "Errors": [{ "OpIndex": 0, "What": "lost" }] });
                (409, Arc::new(lost.to_string().into_bytes()))
            } else if found.is_empty() {
                (404, Body::default())
            } else {
                said(json!(found))
            }
        });
    }
}

/// A playbook for this machine.
fn moved(playbook: &str, first: usize, folder: &Path) -> String {
    let folder = folder.display().to_string();
    let playbook = playbook
        .replace("/run/haproxy/admin.sock, ssh: ops@10.0.0.11", &format!("{folder}/admin.sock"))
        .replace("releases: /srv/", &format!("releases: {folder}/${{{{ node.name }}}}/"))
        .replace("current: /srv/", &format!("current: {folder}/${{{{ node.name }}}}/"));
    let playbook =
        Regex::new(r"ssh: [\d.]+").expect("a pattern").replace_all(&playbook, "ssh: local");
    let address = Regex::new(r"\b10\.(\d+)\.(\d+\.\d+)\b").expect("a pattern");
    let local = |parts: &Captures<'_>| {
        format!("127.{}.{}", first + parts[1].parse::<usize>().expect("a number"), &parts[2])
    };
    address.replace_all(&playbook, local).into_owned()
}

/// Each match of a pattern with two groups.
fn found(text: &str, pattern: &str) -> Vec<(String, String)> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|parts| (parts[1].to_owned(), parts[2].to_owned())).collect()
}

/// A small archive.
fn packed() -> Vec<u8> {
    let pack = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(pack);
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o755);
    archive.append_data(&mut header, "run", &b"run"[..]).expect("a file");
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

/// Plans the release of version 2.0.0, in which every node would be updated. The plan shows these texts, and `doctor` finds
/// no problem.
#[track_caller]
fn planned(name: &str, first: usize, shown: &[&str]) -> Site {
    let site = Site::new(name, first);
    let (plan, _) = site.case.exits(0, &["plan", "app.yaml", "--var", "version=2.0.0"]);
    let count = site.nodes.len();
    let updated = format!("Plan: {count} to update, 0 up to date, 0 left out, 0 blocked.");
    for text in shown.iter().chain([&updated.as_str()]) {
        assert!(plan.contains(text), "`{text}` is missing in\n{plan}");
    }
    let (doctor, _) = site.case.exits(0, &["doctor", "app.yaml", "--var", "version=2.0.0"]);
    assert!(doctor.contains("Ready to release."), "{doctor}");
    site
}

#[test]
fn systemd() {
    planned("systemd", 180, &["stop: systemctl stop app", "lowest in this plan 1"]);
}

#[test]
fn docker_compose() {
    let pull = "run-1: docker pull --quiet registry.example/app:2.0.0";
    planned(
        "docker-compose",
        183,
        &[pull, "run-2: printf 'APP_VERSION=%s\\n' '2.0.0' >/srv/app/.env"],
    );
}

#[test]
fn podman_quadlet() {
    let tag = "run-2: podman tag registry.example/app:2.0.0 localhost/app:current";
    planned("podman-quadlet", 186, &["run-1: podman pull", tag]);
}

#[test]
fn jvm() {
    let healthy = "each node must stay healthy for 30s";
    planned("jvm", 189, &["a single file, not unpacked", healthy, "run-1: for i in $(seq 500)"]);
}

#[test]
fn node_pm2() {
    let start = "start: pm2 start /srv/app/current/ecosystem.config.js && pm2 save";
    planned("node-pm2", 192, &["stop: pm2 delete app", start]);
}

#[test]
fn rails_puma() {
    planned("rails-puma", 195, &["run-1: ln -sfn /srv/app/shared/master.key"]);
}

#[test]
fn php_fpm() {
    planned("php-fpm", 198, &["restart: systemctl reload php8.2-fpm"]);
}

#[test]
fn grpc() {
    planned("grpc", 201, &["stop: systemctl stop app", "3 of 3 nodes usable"]);
}

#[test]
fn tcp() {
    planned("tcp", 204, &["3 of 3 routed now; at least 2 must stay"]);
}

#[test]
fn two_datacentres() {
    let site = planned("two-datacentres", 207, &["6 of 6 routed now; at least 5 must stay"]);
    let first = ["plan", "app.yaml", "--var", "version=2.0.0", "--only", "dc1"];
    let (plan, _) = site.case.exits(0, &first);
    assert!(plan.contains("Plan: 3 to update, 0 up to date, 3 left out, 0 blocked."), "{plan}");
}

#[test]
fn forty_nodes() {
    let site = planned("forty-nodes", 210, &["batches of 1, 4, 10", "lowest in this plan 30"]);
    let canary = ["plan", "app.yaml", "--var", "version=2.0.0", "--limit", "1"];
    let (plan, _) = site.case.exits(0, &canary);
    assert!(plan.contains("Plan: 1 to update, 0 up to date, 39 left out, 0 blocked."), "{plan}");
}

/// The page of situations has each of them, and a test plans it.
#[test]
fn page_of_situations_has_each() {
    let page = fs::read_to_string(root().join("docs/situations.md")).expect("the page");
    let tests = include_str!("situations.rs");
    let named = found(&page, r"\]\(\.\./playbooks/([\w-]+)\.yaml\)()");
    let others = ["minimal"];
    for (name, _) in named.iter().filter(|(name, _)| !others.contains(&name.as_str())) {
        assert!(tests.contains(&format!("\"{name}\",")), "no test plans {name}");
    }
    assert!(named.len() > 10, "{named:?}");
}
