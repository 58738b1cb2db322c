//! The files of a gateway: nginx's configuration, the Lua modules and their settings.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::config::{Follow, GatewayConfig, Include, Source};
use super::views;
use crate::consul::DNS_PORT;
use crate::pool::{PREFIX, UPSTREAM};

const LUA: [(&str, &str); 8] = [
    ("balance", include_str!("lua/balance.lua")),
    ("check", include_str!("lua/check.lua")),
    ("follow", include_str!("lua/follow.lua")),
    ("kv", include_str!("lua/kv.lua")),
    ("peers", include_str!("lua/peers.lua")),
    ("settings", include_str!("lua/settings.lua")),
    ("show", include_str!("lua/show.lua")),
    ("worker", include_str!("lua/worker.lua")),
];

/// The inputs of a gateway's files.
pub(super) struct Files<'a> {
    pub(super) directory: &'a Path,
    pub(super) listen: SocketAddr,
    pub(super) config: &'a GatewayConfig,
    pub(super) consul: &'a [String],
    pub(super) nodes: &'a [SocketAddr],
}

impl Files<'_> {
    /// Writes all of them.
    pub(super) fn write(&self) -> Result<()> {
        let lua = self.directory.join("lua");
        fs::create_dir_all(&lua)?;
        for (module, text) in LUA {
            fs::write(lua.join(module).with_extension("lua"), text)?;
        }
        let put = |name: &str, text: String| fs::write(self.directory.join(name), text);
        put("settings.json", self.settings()?.to_string())?;
        put("include.json", self.include().to_string())?;
        put("nginx.conf", self.nginx_conf())?;
        Ok(())
    }

    fn nginx_conf(&self) -> String {
        let (upstream, proxy) = if self.config.keepalive_upstream {
            let proxy = r#"proxy_http_version 1.1; proxy_set_header Connection "";"#;
            ("keepalive 32;", proxy)
        } else {
            ("", "")
        };
        let reuseport = if self.config.reuseport { "reuseport" } else { "" };
        include_str!("nginx.conf")
            .replace("@WORKERS@", &self.config.workers.to_string())
            .replace("@DIRECTORY@", &self.directory.display().to_string())
            .replace("@LISTEN@", &self.listen.to_string())
            .replace("@REUSEPORT@", reuseport)
            .replace("@UPSTREAM_KEEPALIVE@", upstream)
            .replace("@PROXY_KEEPALIVE@", proxy)
    }

    /// Returns the list that a worker starts from: every node, up.
    fn include(&self) -> Value {
        let peer = |node: &SocketAddr| {
            let address = node.to_string();
            let fields = json!({
                "address": address, "weight": 1, "max_fails": 2, "fail_timeout": 10, "down": false,
            });
            (address, fields)
        };
        self.nodes.iter().map(peer).collect::<Map<_, _>>().into()
    }

    fn settings(&self) -> Result<Value> {
        let (follow, interval) = match self.config.follow {
            Follow::Upsync(interval) => ("upsync", interval),
            Follow::Poll(interval) => ("poll", interval),
            Follow::Immediate => ("immediate", Duration::ZERO),
        };
        let source = match self.config.source {
            Source::Keys => "keys",
            Source::Passing => "passing",
            Source::Records => "srv",
        };
        let consul: Vec<Value> =
            self.consul.iter().map(|url| server(url)).collect::<Result<_>>()?;
        let mut settings = json!({
            "upstream": UPSTREAM,
            "prefix": PREFIX,
            "listen": self.listen.to_string(),
            "consul": consul,
            "follow": follow,
            "source": source,
            "dns_port": DNS_PORT,
            "interval_ms": milliseconds(interval),
            "include": self.directory.join("include.json"),
            "include_is_static": self.config.include == Include::Static,
            "views": views::file(self.directory),
            "worker_header": self.config.worker_header,
        });
        // Without a check the field is left out: Lua reads a JSON null as true.
        if let Some(check) = &self.config.check {
            settings["check"] = json!({
                "interval_ms": milliseconds(check.interval), "rise": check.rise, "fall": check.fall,
            });
        }
        Ok(settings)
    }
}

fn server(url: &str) -> Result<Value> {
    let address: SocketAddr = url
        .strip_prefix("http://")
        .and_then(|address| address.parse().ok())
        .with_context(|| format!("`{url}` is not the URL of a Consul server"))?;
    Ok(json!({ "host": address.ip().to_string(), "port": address.port() }))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
