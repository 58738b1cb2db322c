//! The `lab` binary: the demo service that nodes run, the demo, the table of faults, and a lab to play with.

mod demo;
mod interrupt;
mod lab_options;
mod matrix;
mod rollgate_binary;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rollgate_lab::render::{self, RenderOptions};
use rollgate_lab::service::{self, ServiceOptions};

/// A laboratory of real parts for rollgate.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the demo service, as the lab's nodes do.
    Service(ServiceOptions),
    /// Render nginx's list of servers after each change in Consul and reload nginx, as consul-template does.
    Render(RenderOptions),
    /// Release the demo service under load, and count the failed requests.
    Demo(demo::DemoOptions),
    /// Run every fault at every step of a release, and write the table of results.
    Faults(matrix::MatrixOptions),
    /// Start a lab, print its addresses and paths, and run until Ctrl-C or the end of standard input.
    Up(up::UpOptions),
}

#[expect(clippy::print_stderr, reason = "errors are printed here")]
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Service(options) => service::run(options),
        Command::Render(options) => render::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => demo::run(&options),
        Command::Faults(options) => matrix::run(&options),
        Command::Up(options) => up::run(&options),
    }
}
