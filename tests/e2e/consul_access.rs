//! The ways to reach a real Consul: https with certificates, a unix socket, and tokens with minimal rights.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rollgate_lab::{Access, Authority, Fault, Identity, LabConfig, until};

use crate::harness::{Bench, Ran, journals, quick};

/// A lab whose playbook leaves Consul to the environment.
fn bench(access: Access) -> Bench {
    let config = LabConfig { consul_access: access, ..LabConfig::new(2, vec![quick(2)]) };
    Bench::with(config, |playbook| {
        playbook.as_object_mut().expect("a map").remove("consul");
    })
}

fn deploy(bench: &Bench, version: &str, environment: &[(&str, &str)]) -> Ran {
    let version = format!("version={version}");
    bench.run_with(environment, &["deploy", bench.file(), "--var", &version, "--yes"])
}

/// Asserts that a whole release with this environment has no client impact.
#[track_caller]
fn releases(bench: &Bench, environment: &[(&str, &str)]) -> Ran {
    let load = bench.load();
    let ran = deploy(bench, "2", environment).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    bench.assert_unnoticed(load);
    ran
}

#[test]
fn release_over_https_needs_the_ca_of_consul_and_a_client_certificate() {
    let bench = bench(Access::Tls);
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let address = bench.lab.consul.https_addresses().remove(0);
    let authority = bench.lab.consul.authority().expect("an authority");
    let Identity { certificate, key } =
        authority.issue("rollgate", "DNS:rollgate").expect("issued");
    let other = Authority::create(&bench.lab.directory().join("other")).expect("made");
    let foreign = other.issue("rollgate", "DNS:rollgate").expect("issued");

    let at = ("CONSUL_HTTP_ADDR", address.as_str());
    let (ours, theirs) = (text(authority.certificate()), text(other.certificate()));
    let ca = ("CONSUL_CACERT", ours.as_str());
    let (certificate, key) = (text(certificate), text(key));
    let client = [("CONSUL_CLIENT_CERT", &*certificate), ("CONSUL_CLIENT_KEY", &*key)];
    let (certificate, key) = (text(foreign.certificate), text(foreign.key));
    let stranger = [("CONSUL_CLIENT_CERT", &*certificate), ("CONSUL_CLIENT_KEY", &*key)];

    let refused = |why: &str, environment: &[(&str, &str)]| {
        let ran = bench.assert_refused(why, || deploy(&bench, "2", environment));
        assert_eq!(ran.stderr().matches(&address).count(), 1, "said once:\n{}", ran.stderr());
        assert!(ran.stderr().contains("CONSUL_CLIENT_CERT"), "{}", ran.stderr());
    };
    refused("it rejects the client certificate, or requires one", &[at, ca]);
    refused("it rejects the client certificate", &[at, ca, stranger[0], stranger[1]]);
    let other_ca = ("CONSUL_CACERT", theirs.as_str());
    refused(
        "its certificate is signed by an unknown authority",
        &[at, other_ca, client[0], client[1]],
    );
    let name = ("CONSUL_TLS_SERVER_NAME", "server.dc2.consul");
    refused("not valid for name \"server.dc2.consul\"", &[at, ca, client[0], client[1], name]);
    let name = ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul");
    releases(&bench, &[at, ca, client[0], client[1], name]);
    // By the address as the certificate's name, with nothing left to do.
    deploy(&bench, "2", &[at, ca, client[0], client[1]]).exits(0).says("Nothing to do");
}

#[test]
fn release_reaches_consul_over_its_unix_socket() {
    let bench = bench(Access::Socket);
    let address = bench.lab.consul.socket_addresses().remove(0);
    releases(&bench, &[("CONSUL_HTTP_ADDR", &address)]);
}

/// The policies in the documentation, for the lab's prefix and service: for the registry, for `health.consul`, …
fn documented_policies() -> Vec<&'static str> {
    let text = include_str!("../../docs/playbook.md");
    text.split("```hcl\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn token_with_documented_rights_suffices_and_one_with_fewer_is_refused() {
    let config = LabConfig { consul_access: Access::Acl, ..LabConfig::new(2, vec![quick(2)]) };
    let bench = Bench::with(config, |playbook| {
        playbook.as_object_mut().expect("a map").remove("consul");
        playbook["health"]["consul"] = serde_json::json!({ "service": "app" });
    });
    for node in &bench.lab.nodes {
        let (name, address) = (node.name(), node.address());
        let registration = serde_json::json!({
            "ID": name, "Name": "app", "Address": address.ip().to_string(), "Port": address.port(),
            "Check": { "HTTP": node.service_url("/ping"), "Interval": "300ms" },
        });
        let reply =
            bench.lab.consul.insist("PUT", "v1/agent/service/register", &registration.to_string());
        assert_eq!(reply.expect("Consul answers").status, 200);
    }
    let passing = until("the checks pass", Duration::from_secs(30), || {
        let reply = bench.lab.consul.insist("GET", "v1/health/service/app?passing", "")?;
        let services: Vec<serde_json::Value> = serde_json::from_str(&reply.body)?;
        Ok((services.len() == bench.lab.nodes.len()).then_some(()))
    });
    passing.expect("both pass");
    let token = |policy: &str, rules: &str| bench.lab.consul.token(policy, rules).expect("a token");
    let writer = token("releases", &documented_policies().concat());
    let lock = documented_policies()[1];
    let token = |policy: &str, rules: &str| token(policy, &format!("{rules} {lock}"));
    let reader = token("reads", r#"key_prefix "upstreams/app/" { policy = "read" }"#);
    let foreign = token("other", r#"key_prefix "upstreams/other/" { policy = "write" }"#);
    let first = bench.lab.registry_key(0).expect("a key");
    let partly = format!(
        r#"key_prefix "upstreams/app/" {{ policy = "read" }} key "{first}" {{ policy = "write" }}"#
    );
    let partly = token("partly", &partly);
    let unknown = "0b2d6a1c-5a53-4f1e-8f0c-6f1f2f4f9d11";

    let address = bench.lab.consul.addresses().remove(0);
    let at = ("CONSUL_HTTP_ADDR", address.as_str());
    let refused = |why: &str, token: &str| {
        let environment = [at, ("CONSUL_HTTP_TOKEN", token)];
        let ran = bench.assert_refused(why, || deploy(&bench, "2", &environment));
        assert_hidden(&bench, &ran, token);
        ran
    };
    let rule = r#"the token needs the rule key_prefix "upstreams/app/" { policy = "write" }"#;
    refused(&format!("a write to {first}: 403 Permission denied"), &reader).says(rule);
    let second = bench.lab.registry_key(1).expect("a key");
    refused(&format!("a write to {second}: 403 Permission denied"), &partly).says(rule);
    refused("no key below upstreams/app/, or the token may not read it", &foreign);
    refused("403 ACL not found (Consul does not know the token", unknown);

    let ran = releases(&bench, &[at, ("CONSUL_HTTP_TOKEN", &writer)]);
    assert_eq!(journals(&bench.playbook).len(), 1);
    assert_hidden(&bench, &ran, &writer);
}

/// Reads the command line of every process on this machine, which includes the lab's nodes, without a pause.
struct Watch {
    end: Arc<AtomicBool>,
    looks: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    fn start() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let over = end.clone();
        let looks = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
                    let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                    seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { end, looks }
    }

    fn end(self) -> BTreeSet<String> {
        self.end.store(true, Ordering::Relaxed);
        self.looks.join().expect("no panic")
    }
}

#[test]
fn secrets_stay_out_of_process_list_output_and_journal() {
    let config = LabConfig { consul_access: Access::Acl, ..LabConfig::new(2, vec![quick(1)]) };
    let bench = Bench::with(config, |playbook| {
        playbook["secrets"] = serde_json::json!({ "consul": { "file": "token" } });
        playbook["consul"]["token"] = "${{ secrets.consul }}".into();
        // A command that runs long enough to be seen, here and on the nodes.
        playbook["hooks"] =
            serde_json::json!({ "on_failure": { "run": "sleep 0.2", "on": "local" } });
    });
    let token = bench.lab.consul.token("releases", &documented_policies()[..2].concat());
    let token = token.expect("a token");
    let login = "somebody:Tr0ub4dor";
    std::fs::write(bench.playbook.with_file_name("token"), format!("{token}\n")).expect("written");
    bench.lab.artifact("3", Fault::NeverReady).expect("an artifact");
    let watch = Watch::start();
    for (version, code) in [("2", 0), ("3", 20)] {
        let version = format!("version={version}");
        let ran = bench.run_with(
            &[("CONSUL_HTTP_AUTH", login)],
            &["deploy", bench.file(), "--var", &version, "--yes", "-v"],
        );
        let ran = ran.exits(code);
        assert_hidden(&bench, &ran, &token);
        assert_hidden(&bench, &ran, "Tr0ub4dor");
    }
    let seen = watch.end();
    let has = |what: &str| seen.iter().any(|line| line.contains(what));
    // The watch sees rollgate, its ssh, and the commands on the nodes.
    assert!(has(&format!("deploy {}", bench.file())), "{seen:#?}");
    assert!(has("ControlPersist=") && has("sha256sum") && has("sleep 0.2"), "{seen:#?}");
    for secret in [&token, "Tr0ub4dor"] {
        assert!(!has(secret), "a secret is in a process list");
    }
}

/// Asserts that a token is in no output and no journal.
#[track_caller]
fn assert_hidden(bench: &Bench, ran: &Ran, token: &str) {
    let journals = journals(&bench.playbook);
    let written = journals.iter().map(|path| std::fs::read_to_string(path).expect("a journal"));
    for text in written.chain([ran.stdout(), ran.stderr()]) {
        assert!(!text.contains(token), "the token is shown:\n{text}");
    }
}

#[test]
fn token_printed_by_a_playbook_command_stays_hidden() {
    let config = LabConfig { consul_access: Access::Acl, ..LabConfig::new(2, vec![quick(1)]) };
    // A playbook command gets no token in its environment, but may read one from a file.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let run = format!("printenv CONSUL_HTTP_TOKEN || echo none; cat {}", file.path().display());
    let bench = Bench::with(config, |playbook| {
        playbook["secrets"] = serde_json::json!({ "consul": { "env": "CONSUL_HTTP_TOKEN" } });
        playbook["consul"]["token"] = "${{ secrets.consul }}".into();
        playbook["health"]["deadline"] = "1s".into();
        playbook["hooks"] = serde_json::json!({ "on_failure": { "run": run, "on": "local" } });
    });
    let token = bench.lab.consul.token("releases", &documented_policies()[..2].concat());
    let token = token.expect("a token");
    std::fs::write(file.path(), &token).expect("written");
    bench.lab.artifact("2", Fault::NeverReady).expect("an artifact");
    for form in ["plain", "jsonl"] {
        let options = ["deploy", bench.file(), "--var", "version=2", "--yes", "--output", form];
        let ran = bench.run_with(&[("CONSUL_HTTP_TOKEN", &token)], &options).exits(20);
        let text = ran.stdout() + &ran.stderr();
        assert!(text.contains("***") && text.contains("none"), "{text}");
        assert_hidden(&bench, &ran, &token);
    }
}
