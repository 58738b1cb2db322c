//! Renders nginx's list of servers after each change in Consul and reloads nginx, as consul-template does.
//!
//! The real consul-template exists as source only; this program takes its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::http;

/// How long Consul may hold a query.
const WAIT: &str = "3s";

/// The pause before a failed query is repeated.
const PAUSE: Duration = Duration::from_millis(250);

/// The list when no instance passes: nginx does not accept an empty one.
const NOBODY: &str = "  server 127.0.0.1:1 down;\n";

/// Options of `lab render`.
#[derive(Args, Debug)]
pub struct RenderOptions {
    /// Consul's URL.
    #[arg(long)]
    consul: String,
    /// The service, and nginx's name for its instances.
    #[arg(long)]
    service: String,
    /// The file to render.
    #[arg(long)]
    file: PathBuf,
    /// The command to run when the file has changed.
    #[arg(long)]
    command: String,
}

/// Renders until it is killed.
///
/// # Errors
///
/// When the file cannot be written.
#[expect(clippy::print_stderr, reason = "stderr is its log")]
pub fn run(options: &RenderOptions) -> Result<()> {
    let mut index = 0;
    loop {
        match ask(options, index) {
            Ok((next, text)) => {
                // A lower index means that Consul has restarted its indexes.
                index = if next < index { 0 } else { next };
                if fs::read_to_string(&options.file).ok().as_deref() != Some(&text) {
                    replace(&options.file, &text)?;
                    let status = Command::new("/bin/sh").args(["-c", &options.command]).status();
                    eprintln!("INFO rendered, and the command ended with {status:?}");
                }
            }
            Err(error) => {
                eprintln!("WARN {error:#}");
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Returns the index of Consul's answer, and the rendered file.
fn ask(options: &RenderOptions, index: u64) -> Result<(u64, String)> {
    let RenderOptions { consul, service, .. } = options;
    let url = format!("{consul}/v1/health/service/{service}?passing&wait={WAIT}&index={index}");
    let reply = http::get(&url)?;
    ensure!(reply.status == 200, "Consul answers {}: {}", reply.status, reply.body);
    let next = reply.header("X-Consul-Index").and_then(|index| index.parse().ok());
    let instances: Vec<Value> = serde_json::from_str(&reply.body).context("no list")?;
    let servers = instances.iter().map(|instance| {
        let instance = &instance["Service"];
        let address = instance["Address"].as_str().unwrap_or_default();
        format!("  server {address}:{};\n", instance["Port"])
    });
    let mut servers: Vec<_> = servers.collect();
    servers.sort();
    let servers = if servers.is_empty() { NOBODY.to_owned() } else { servers.concat() };
    Ok((
        next.context("an answer without an index")?,
        format!("upstream {service} {{\n{servers}}}\n"),
    ))
}

/// Replaces a file atomically; no reader sees half of it.
fn replace(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text).with_context(|| format!("could not write {}", new.display()))?;
    fs::rename(&new, file).with_context(|| format!("could not replace {}", file.display()))
}
