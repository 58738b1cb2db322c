//! `lab demo`: releases the demo service under load, and counts the failed requests at the end.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use rollgate_lab::{Fault, Lab, Load, LoadConfig, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt::Interrupt;
use crate::lab_options::LabOptions;
use crate::rollgate_binary::rollgate;
use crate::up;

/// How long sending one second's worth of requests may take.
const WARM_UP: Duration = Duration::from_secs(30);

/// Options of `lab demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoOptions {
    /// The rollgate to run; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    rollgate: Option<PathBuf>,
    #[command(flatten)]
    lab: LabOptions,
    /// Requests a second, over all gateways; a tenth of them take 800 ms.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Releases in a row: versions 2, 3, and so on.
    #[arg(long, default_value_t = 1)]
    releases: u32,
    /// Keep the lab running afterwards, until Enter or Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Further arguments for `rollgate deploy`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the demo; the exit status is rollgate's, or 1 when a request failed or the audit found a fault.
pub(crate) fn run(options: &DemoOptions) -> Result<ExitCode> {
    let rollgate = rollgate(options.rollgate.as_deref())?;
    let interrupt = Interrupt::watch()?;
    let config = options.lab.config();
    say(&format!(
        "Starting {} SSH hosts, {} gateways and Consul …",
        config.nodes.len(),
        config.gateways.len()
    ));
    let lab = Lab::start(config)?;
    let playbook = up::prepare(&lab)?;
    let targets = lab.gateways.iter().map(|gateway| gateway.url("")).collect();
    let load = Load::start(&LoadConfig { rate: options.rate, ..LoadConfig::new(targets) })?;
    send_for_a_second(&load, options.rate)?;
    say(&format!("Sending {} requests a second; releasing.", options.rate));

    let mut code = 0;
    let mut took = Vec::new();
    for version in 2..options.releases.saturating_add(2) {
        let begun = Instant::now();
        let status = deploy(&lab, &rollgate, &playbook, version, options, &interrupt)?;
        took.push(begun.elapsed());
        code = exit_code(status);
        if code != 0 || interrupt.any() {
            break;
        }
    }
    send_for_a_second(&load, options.rate)?;
    let totals = load.stop();
    let audit = lab.audit()?;
    say("");
    say(&totals.to_string());
    say(&format!("audit: {audit}"));
    let seconds: Vec<String> =
        took.iter().map(|took| format!("{:.1} s", took.as_secs_f64())).collect();
    say(&format!("releases: {}, took {}", took.len(), seconds.join(", ")));

    if options.keep {
        up::tell(&lab, &playbook);
        up::wait_for_end(&Interrupt::watch()?)?;
    }
    if code == 0 && (totals.failed > 0 || !audit.is_clean()) {
        code = 1;
    }
    Ok(ExitCode::from(code))
}

/// Runs one release to its end. Ctrl-C reaches rollgate from the terminal; a SIGTERM is passed on.
fn deploy(
    lab: &Lab,
    rollgate: &Path,
    playbook: &Path,
    version: u32,
    options: &DemoOptions,
    interrupt: &Interrupt,
) -> Result<ExitStatus> {
    lab.artifact(&version.to_string(), Fault::None)?;
    let mut child = lab
        .command(rollgate)
        .arg("deploy")
        .arg(playbook)
        .args(["--var", &format!("version={version}"), "--yes"])
        .args(&options.arguments)
        .spawn()
        .with_context(|| format!("could not start {}", rollgate.display()))?;
    let mut passed_on = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt.terminated() && !passed_on {
            passed_on = true;
            terminate(&child)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(child: &Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.context("rollgate has no process id")?;
    kill_process(pid, Signal::TERM).context("could not pass on the SIGTERM")
}

/// Waits until one second's worth of further requests has been sent.
fn send_for_a_second(load: &Load, rate: u32) -> Result<()> {
    let goal = load.snapshot().sent + u64::from(rate);
    until("the load generator", WARM_UP, || Ok((load.snapshot().sent >= goal).then_some(())))
}

/// Returns the exit code of a shell: the status, or 128 plus the signal's number.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn say(line: &str) {
    println!("{line}");
}
