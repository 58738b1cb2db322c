//! `lab up`: a lab to use by hand.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rollgate_lab::{Gateway, Lab, Node};
use serde_json::json;

use crate::interrupt::Interrupt;
use crate::lab_options::LabOptions;

/// Options of `lab up`.
#[derive(Args, Debug)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    lab: LabOptions,
    /// Print the addresses and paths as JSON, on one line.
    #[arg(long)]
    json: bool,
}

/// Starts the lab and keeps it running until it is asked to end.
pub(crate) fn run(options: &UpOptions) -> Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let lab = Lab::start(options.lab.config())?;
    let playbook = prepare(&lab)?;
    if options.json {
        tell_json(&lab, &playbook);
    } else {
        tell(&lab, &playbook);
    }
    wait_for_end(&interrupt)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the playbook, and the next version to release with it.
pub(crate) fn prepare(lab: &Lab) -> Result<PathBuf> {
    lab.artifact("2", rollgate_lab::Fault::None)?;
    lab.playbook(|_| {})
}

/// Prints the addresses and paths for a person.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(crate) fn tell(lab: &Lab, playbook: &std::path::Path) {
    println!("lab       {}", lab.directory().display());
    println!("playbook  {}   (version 2 is built)", playbook.display());
    println!("consul    {}", lab.consul.addresses().join(" "));
    for gateway in &lab.gateways {
        println!("{:<9} {}   {}", gateway.name(), gateway.url("/ping"), gateway.status_url());
    }
    for node in &lab.nodes {
        println!(
            "{:<9} {}   ssh -F {} {}",
            node.name(),
            node.service_url("/ping"),
            lab.ssh_config().display(),
            node.name()
        );
    }
    println!("Press Enter or Ctrl-C to end it.");
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn tell_json(lab: &Lab, playbook: &std::path::Path) {
    let gateways: Vec<_> = lab.gateways.iter().map(describe_gateway).collect();
    let nodes: Vec<_> = lab.nodes.iter().map(describe_node).collect();
    println!(
        "{}",
        json!({
            "directory": lab.directory(),
            "playbook": playbook,
            "ssh_config": lab.ssh_config(),
            "consul": lab.consul.addresses(),
            "gateways": gateways,
            "nodes": nodes,
        })
    );
}

fn describe_gateway(gateway: &Gateway) -> serde_json::Value {
    json!({
        "name": gateway.name(),
        "url": gateway.url(""),
        "status_url": gateway.status_url(),
        "check_url": gateway.check_url(),
        "peers_url": gateway.peers_url(),
    })
}

fn describe_node(node: &Node) -> serde_json::Value {
    json!({ "name": node.name(), "address": node.address().to_string() })
}

/// Returns at Ctrl-C, SIGTERM, or a line or the end of standard input.
pub(crate) fn wait_for_end(interrupt: &Interrupt) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(50);
    let read = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&read);
    thread::Builder::new()
        .name("lab-stdin".into())
        .spawn(move || {
            // An error of standard input counts as its end.
            let _ = io::stdin().read_line(&mut String::new());
            shared.store(true, SeqCst);
        })
        .context("could not watch standard input")?;
    while !interrupt.any() && !read.load(SeqCst) {
        thread::sleep(LOOK);
    }
    Ok(())
}
