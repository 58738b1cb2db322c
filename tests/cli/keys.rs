//! The nodes' keys in Consul: what is said if they do not exist.

use std::sync::Arc;

use crate::support::{Case, SMALL, serve};

const VALUE: &str = r#"'{"weight":1,"max_fails":2,"fail_timeout":10,"down":1}'"#;

/// What `doctor` says with a Consul that has these keys, and the address of that Consul.
fn doctor(keys: &'static str) -> (String, String) {
    let consul = serve(move |_, path, _| match path {
        "/v1/status/leader" => (200, Arc::new(b"\"127.0.0.1:8300\"".to_vec())),
        "/v1/kv/upstreams/app/" if !keys.is_empty() => (200, Arc::new(keys.as_bytes().to_vec())),
        _ => (404, Arc::default()),
    });
    let playbook = SMALL.replace("http://127.0.0.1:1'] }", &format!("{consul}'] }}"));
    let (stdout, _) = Case::new(&[("app.yaml", playbook.as_bytes())])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .exits(3, &["doctor", "app.yaml"]);
    (stdout, consul)
}

#[test]
fn missing_keys_are_reported_with_the_command_that_creates_them() {
    let (stdout, consul) = doctor("");
    let says = format!(
        "Consul has no key below upstreams/app/, or the token may not read it; for the first node, create it, \
         marked down: the node does not pass its health check: \
         consul kv put -http-addr=http://{consul} upstreams/app/127.0.0.1:9000 {VALUE}"
    );
    assert!(stdout.contains(&says), "{stdout}");
}

#[test]
fn missing_key_of_one_node_is_reported_with_its_command() {
    // The key of the first node, with the value {}.
    let (stdout, consul) = doctor(
        r#"[{ "Key": "upstreams/app/127.0.0.1:9000", "Value": "e30=", "Flags": 0, "LockIndex": 0, "CreateIndex": 1, "ModifyIndex": 1 }]"#,
    );
    let says = format!(
        "Consul has no key upstreams/app/127.0.0.2:9000; create it, marked down: the node does not pass its health check: consul kv put -http-addr=http://{consul} upstreams/app/127.0.0.2:9000 {VALUE}"
    );
    assert!(stdout.contains(&says), "{stdout}");
}
