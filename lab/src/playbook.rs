//! A rollgate playbook for a lab, as a JSON value that tests can change before it is written.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::gateway::{
    Caddy, Envoy, Follow, Gateway, Haproxy, Reach, Rendered, Resolver, Source, Traefik,
};
use crate::lab::Lab;
use crate::pool::{PREFIX, UPSTREAM};
use crate::wire::through;

impl Lab {
    /// Writes `app.yaml`, a playbook for this lab, after `edit` has changed it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn playbook(&self, edit: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        self.playbook_named("app.yaml", edit)
    }

    /// Writes a playbook under a name of its own.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn playbook_named(&self, name: &str, edit: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        let mut playbook = describe(self);
        edit(&mut playbook);
        let path = self.directory().join(name);
        fs::write(&path, format!("{playbook:#}\n"))
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }
}

/// Returns the playbook for this lab's initial state.
fn describe(lab: &Lab) -> Value {
    let nodes: Vec<Value> = lab
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name(), "ssh": node.name(), "address": node.address().to_string(),
            })
        })
        .collect();
    let gateways = lab.gateways.iter().map(gateway);
    let gateways = gateways.chain(lab.caddies.iter().map(caddy));
    let gateways = gateways.chain(lab.envoys.iter().map(envoy));
    let gateways = gateways.chain(lab.resolvers.iter().map(resolver));
    let gateways = gateways.chain(lab.rendered.iter().map(rendered));
    let gateways = gateways.chain(lab.traefiks.iter().map(traefik));
    let mut playbook = json!({
        "service": "app",
        "variables": { "version": { "required": true } },
        "consul": { "addresses": lab.consul.addresses() },
        "registry": { "type": "consul-kv", "prefix": PREFIX },
        "gateways": gateways
            .chain(lab.haproxies.iter().map(haproxy))
            .collect::<Vec<_>>(),
        "ssh": { "config": lab.ssh_config() },
        "nodes": nodes,
        "artifact": {
            "source": "dist/app-${{ version }}.tar.gz",
            "releases": "/srv/app/releases",
            "current": "/srv/app/current",
            "keep": 3,
        },
        "stop": "/srv/app/ctl stop",
        "start": "/srv/app/ctl start",
        "health": {
            "http": { "url": "http://${{ node.address }}/ping", "body": "pong" },
            "identity": { "header": "X-App-Version", "equals": "${{ version }}" },
            "interval": "100ms",
            "rise": 2,
            "min_healthy_time": "0s",
            "deadline": "15s",
        },
        "drain": {
            "in_flight": {
                "http": {
                    "url": "http://${{ node.address }}/metrics",
                    "pattern": r"in_flight (\d+)",
                },
            },
            "timeout": "30s",
        },
    });
    if !lab.agents.is_empty() {
        playbook["registry"] = json!({ "type": "consul-service", "service": UPSTREAM });
    }
    let switched = !lab.haproxies.is_empty()
        || !lab.caddies.is_empty()
        || !lab.envoys.is_empty()
        || !lab.traefiks.is_empty();
    if lab.agents.is_empty() && switched {
        playbook["registry"] = json!({ "type": "gateway" });
    }
    if lab.is_wired() {
        by_wires(&mut playbook);
    }
    playbook
}

/// Makes rollgate reach every part over its wire; the nodes' addresses for gateways stay.
fn by_wires(playbook: &mut Value) {
    for part in ["consul", "gateways", "health", "drain"] {
        reword(&mut playbook[part], &|text| {
            through(text).replace("${{ node.address }}", "${{ node.vars.wire }}")
        });
    }
    for node in playbook["nodes"].as_array_mut().into_iter().flatten() {
        let wire = through(node["address"].as_str().unwrap_or_default());
        node["vars"] = json!({ "wire": wire });
    }
}

/// Replaces every text in a value.
fn reword(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| reword(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| reword(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn gateway(gateway: &Gateway) -> Value {
    let config = gateway.config();
    let mut entry = json!({ "name": gateway.name(), "workers": config.workers });
    let interval = match config.follow {
        Follow::Upsync(interval) | Follow::Poll(interval) => interval,
        Follow::Immediate => Duration::ZERO,
    };
    entry["sync_interval"] = json!(format!("{}ms", interval.as_millis()));
    if matches!(config.follow, Follow::Poll(_)) || config.source != Source::Keys {
        entry["type"] = json!("http-table");
        entry["url"] = json!(gateway.peers_url());
        entry["list"] = json!("/peers");
        entry["address"] = json!("/address");
        entry["routed"] = json!("/routed");
    } else {
        entry["type"] = json!("nginx-upsync");
        entry["upstream"] = json!(UPSTREAM);
        entry["status_url"] = json!(gateway.status_url());
        if config.check.is_some() {
            entry["check_url"] = json!(gateway.check_url());
        }
    }
    entry
}

fn haproxy(haproxy: &Haproxy) -> Value {
    let mut entry =
        json!({ "type": "haproxy", "name": haproxy.name(), "backend": haproxy.config.backend });
    match haproxy.config.reach {
        Reach::Socket => {
            let path = format!("/run/node/{}.sock", haproxy.name());
            entry["socket"] = json!({ "path": path, "ssh": "node-1" });
        }
        Reach::Tcp => entry["tcp"] = json!(haproxy.runtime().to_string()),
        Reach::Page => entry["stats_url"] = json!(format!("http://{}/stats", haproxy.page())),
    }
    entry
}

fn caddy(caddy: &Caddy) -> Value {
    if let Some(dns) = caddy.dns() {
        let record = format!("{UPSTREAM}.service.consul");
        return json!({
            "type": "consul-dns", "name": caddy.name(), "server": dns, "record": record,
        });
    }
    json!({
        "type": "caddy", "name": caddy.name(), "admin_url": caddy.admin_url(), "handler": UPSTREAM,
    })
}

fn envoy(envoy: &Envoy) -> Value {
    json!({
        "type": "envoy", "name": envoy.name(), "admin_url": envoy.admin_url(), "cluster": UPSTREAM,
        "ssh": "node-1", "file": envoy.file(), "panic_threshold": 0,
    })
}

fn resolver(resolver: &Resolver) -> Value {
    json!({
        "type": "consul-dns", "name": resolver.name(), "server": resolver.dns().to_string(),
        "record": resolver.record(),
    })
}

fn rendered(rendered: &Rendered) -> Value {
    json!({
        "type": "consul-template", "name": rendered.name(), "ssh": "node-1", "file": rendered.file(),
        "pid_file": rendered.pid_file(),
    })
}

fn traefik(traefik: &Traefik) -> Value {
    let api = traefik.api_url();
    match traefik.file() {
        Some(file) => json!({
            "type": "traefik", "name": traefik.name(), "api_url": api, "service": UPSTREAM, "ssh": "node-1",
            "file": file,
        }),
        None => json!({
            "type": "http-table", "name": traefik.name(), "workers": 1, "sync_interval": "0s",
            "url": format!("{api}/api/http/services/{UPSTREAM}@consulcatalog"),
            "pattern": r#""https?://(?<address>[^"/]+)":"(?:(?<routed>UP)|DOWN)""#,
        }),
    }
}
