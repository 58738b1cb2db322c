//! Runs one cell: a release under load, the fault, the end, and the command after it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cell::Cell;
use super::cell_result::CellResult;
use super::kind::{Kind, NEW, OLD};
use super::mishap::{Mishap, Place, Then};
use super::observed_node::{self, ObservedNode};
use super::report_checks;
use crate::artifact::Fault;
use crate::audit::{Audit, Ending};
use crate::gateway::GatewayConfig;
use crate::lab::{Lab, LabConfig};
use crate::load::{Load, LoadConfig, Totals};
use crate::wait::until;

/// The time limit of a release: every wait of rollgate is bounded.
const LIMIT: Duration = Duration::from_secs(240);

/// The time until report and reading agree: gateways follow a moment later.
const SETTLING: Duration = Duration::from_secs(3);

/// The time until abandoned processes end.
const CLEARING: Duration = Duration::from_secs(15);

/// Requests a second.
const RATE: u32 = 80;

/// Tries one cell in a lab of its own. A lab with an unexpected result is kept.
///
/// # Errors
///
/// When the lab itself fails.
pub fn try_cell(rollgate: &Path, cell: Cell) -> Result<CellResult> {
    let mut config = LabConfig::new(3, vec![gateway(), gateway()]);
    cell.mishap.prepare(&mut config);
    let mut lab = Lab::start(config)?;
    let tried = Trial::prepare(&lab, rollgate, cell)?.run(&mut lab);
    if !tried.as_ref().is_ok_and(CellResult::is_good) {
        lab.keep();
    }
    tried
}

/// A gateway that follows at once and names its workers: these tests are not about its lag.
fn gateway() -> GatewayConfig {
    GatewayConfig { worker_header: true, ..GatewayConfig::immediate(2) }
}

/// Makes steps long enough to be hit, and deadlines as short as possible.
fn adjust(playbook: &mut Value) {
    playbook["stop"] = json!("/srv/app/ctl stop; sleep 0.4");
    playbook["start"] = json!("sleep 0.3; /srv/app/ctl start; sleep 0.3");
    playbook["health"]["min_healthy_time"] = json!("500ms");
    playbook["health"]["deadline"] = json!("10s");
    playbook["drain"]["settle"] = json!("500ms");
    playbook["drain"]["timeout"] = json!("15s");
    playbook["ssh"]["connect_timeout"] = json!("6s");
}

/// The state of a trial.
struct Trial {
    cell: Cell,
    rollgate: PathBuf,
    playbook: String,
    objections: Vec<String>,
}

/// How a release ended.
struct Ended {
    code: Option<i32>,
    result: String,
    warned: bool,
    seconds: f64,
    report: String,
}

impl Trial {
    fn prepare(lab: &Lab, rollgate: &Path, cell: Cell) -> Result<Self> {
        lab.artifact(NEW, Fault::None)?;
        let playbook = lab.playbook(adjust)?.display().to_string();
        Ok(Self { cell, rollgate: rollgate.to_owned(), playbook, objections: Vec::new() })
    }

    fn run(mut self, lab: &mut Lab) -> Result<CellResult> {
        let Cell { mishap, step, .. } = self.cell;
        let victim = mishap.victim(step, lab);
        let targets = lab.gateways.iter().map(|gateway| gateway.url("")).collect();
        let mut requests = LoadConfig { rate: RATE, ..LoadConfig::new(targets) };
        if mishap == Mishap::MarkedUp {
            // Few and quick requests, so that a drain ends although users are sent to the node.
            (requests.rate, requests.slow_share) = (20, 0.0);
        }
        let load = Load::start(&requests)?;
        until("the load", LIMIT, || Ok((load.snapshot().ok > 30).then_some(())))?;

        let ended = self.deploy(lab)?;
        if mishap.calls_for_a_warning(step) && !ended.warned && ended.code == Some(0) {
            self.objections.push("it was not reported".to_owned());
        }
        if !mishap.allows(ended.code, step) {
            self.objections.push(format!("unexpected exit code {:?}", ended.code));
        }
        let nodes =
            self.compare(lab, "the report", &report_checks::by_report(&ended.report), false)?;
        if mishap.lasts().is_none() {
            mishap.heal(lab)?;
        }
        let status = lab.run(&self.rollgate, &["status", &self.playbook, "--output", "jsonl"])?;
        let status = report_checks::by_status(&String::from_utf8_lossy(&status.stdout));
        self.compare(lab, "status", &status, true)?;
        let then = self.go_on(lab)?;
        let same_end = self.is_undisturbed_end(lab);
        let (totals, audit) = (load.stop(), lab.audit()?);
        let (failed_by_fault, failed) = self.judge_requests(&totals, victim.as_deref());
        let cut = self.judge_audit(&audit, lab);
        self.judge_restarts(&audit, lab);
        Ok(CellResult {
            cell: self.cell,
            code: ended.code,
            result: ended.result,
            seconds: ended.seconds,
            nodes,
            failed_by_fault,
            failed,
            cut,
            then,
            same_end,
            objections: self.objections,
        })
    }

    /// Runs the release, causes the fault when the first node reaches the step, and waits for the end.
    fn deploy(&mut self, lab: &mut Lab) -> Result<Ended> {
        let report = lab.directory().join("deploy.log");
        let begun = Instant::now();
        let mut child = lab
            .command(&self.rollgate)
            .args(["deploy", &self.playbook, "--yes", "--output", "jsonl"])
            .args(self.cell.kind.options())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&report)?)
            .spawn()
            .context("could not start rollgate")?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let result = self.disturb(lab, &mut child, &events);
        if result.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let (result, warned) = result?;
        Ok(Ended {
            code: status.code(),
            result,
            warned,
            seconds: begun.elapsed().as_secs_f64(),
            report: std::fs::read_to_string(&report)?,
        })
    }

    /// Returns the result in the last event, and whether there was a warning about the node.
    fn disturb(
        &mut self,
        lab: &mut Lab,
        child: &mut Child,
        events: &mpsc::Receiver<Value>,
    ) -> Result<(String, bool)> {
        let Cell { mishap, step, .. } = self.cell;
        let reached = |event: &Value| {
            event["type"] == "step.started"
                && event["step"] == step.name()
                && event["node"] == "node-1"
        };
        while !reached(&events.recv_timeout(LIMIT).context("the step was never reached")?) {}
        let struck = Instant::now();
        mishap.strike(lab, child.id())?;
        if let Some(moment) = mishap.lasts() {
            thread::sleep(moment.saturating_sub(struck.elapsed()));
            mishap.heal(lab)?;
        }
        let (mut result, mut warned) = (String::new(), false);
        loop {
            let left = LIMIT.saturating_sub(struck.elapsed());
            match events.recv_timeout(left) {
                Ok(event) => {
                    let told = event["data"]["result"].as_str();
                    result = told.map_or(result, str::to_owned);
                    warned |= event["type"] == "warning" && event["node"] == "node-1";
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok((result, warned)),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.objections.push(format!("it did not end within {LIMIT:?}"));
                    child.kill()?;
                    return Ok((result, warned));
                }
            }
        }
    }

    /// Compares the report with the lab's reading, after gateways had a moment to follow.
    fn compare(
        &mut self,
        lab: &Lab,
        who: &str,
        told: &[report_checks::ReportedNode],
        all: bool,
    ) -> Result<Vec<ObservedNode>> {
        let mut contradictions = Vec::new();
        let agreed = until("the report to agree with the lab", SETTLING, || {
            let seen = observed_node::look(lab)?;
            if !told.is_empty() || all {
                contradictions =
                    report_checks::contradictions(told, &seen, OLD, self.cell.kind.version());
            }
            Ok(contradictions.is_empty().then_some(seen))
        });
        if all {
            let gaps = report_checks::gaps(told).into_iter();
            self.objections
                .extend(gaps.map(|name| format!("{who}: the state of {name} is missing")));
        }
        let contradictions = contradictions.into_iter();
        self.objections.extend(contradictions.map(|problem| format!("{who}: {problem}")));
        agreed.or_else(|_| observed_node::look(lab))
    }

    /// Resumes or rolls back, on the machine of the cell.
    fn go_on(&mut self, lab: &Lab) -> Result<Option<i32>> {
        let word = match self.cell.mishap.then() {
            Then::Resume => "resume",
            Then::Rollback => "rollback",
        };
        let mut arguments = vec![word, &self.playbook, "--yes", "--lock-wait", "1m"];
        let elsewhere = lab.directory().join("elsewhere").display().to_string();
        if matches!(self.cell.mishap, Mishap::Killed(Place::Elsewhere, _)) {
            arguments.extend(["--state-dir", &elsewhere]);
            let broken = lab.run(&self.rollgate, &["lock", "break", &self.playbook, "--yes"])?;
            if !broken.status.success() {
                let said = String::from_utf8_lossy(&broken.stderr).into_owned();
                self.objections.push(format!("the lock could not be broken: {said}"));
            }
        }
        let done = lab.run(&self.rollgate, &arguments)?;
        std::fs::write(lab.directory().join("then.log"), &done.stderr)?;
        let code = done.status.code();
        if code != Some(0) {
            let said = String::from_utf8_lossy(&done.stderr);
            let said = said.lines().next().unwrap_or_default();
            self.objections.push(format!("{word} ended with {code:?}: {said}"));
        }
        Ok(code)
    }

    fn is_undisturbed_end(&mut self, lab: &Lab) -> bool {
        let version = match self.cell.mishap.then() {
            Then::Resume => self.cell.kind.version(),
            Then::Rollback => OLD,
        };
        let mut nodes = Vec::new();
        let same = until("the undisturbed end", SETTLING, || {
            nodes = observed_node::look(lab)?;
            Ok(nodes.iter().all(|node| node.serves(version)).then_some(()))
        });
        if let Err(error) = &same {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            self.objections
                .push(format!("unexpected final state: {}; {error:#}", nodes.join(" | ")));
        }
        let mut left = Vec::new();
        let clear = until("all processes to end", CLEARING, || {
            left = lab.leftovers()?;
            Ok(left.is_empty().then_some(()))
        });
        if let Err(error) = &clear {
            self.objections.push(format!("still running: {}; {error:#}", left.join("; ")));
        }
        same.is_ok() && clear.is_ok()
    }

    /// Returns the failed requests that belong to the fault, and the others.
    fn judge_requests(&mut self, totals: &Totals, victim: Option<&str>) -> (u64, u64) {
        let by_fault = victim.and_then(|victim| totals.failed_by.get(victim)).copied();
        let by_fault = by_fault.unwrap_or_default();
        let failed = totals.failed - by_fault;
        if failed > 0 {
            let others = totals.failed_by.iter().filter(|(by, _)| Some(by.as_str()) != victim);
            let others: Vec<_> = others.map(|(by, count)| format!("{count} by {by}")).collect();
            let first = totals.failures.first().map_or("", |failure| failure.reason.as_str());
            self.objections.push(format!("failed requests: {} ({first})", others.join(", ")));
        }
        (by_fault, failed)
    }

    /// Objects to services that were stopped while routed, unless the fault itself killed them.
    fn judge_audit(&mut self, audit: &Audit, lab: &Lab) -> u64 {
        let struck = lab.nodes[0].name();
        let killed = |node: &str, t: u64| {
            self.cell.mishap.kills_node()
                && node == struck
                && audit.stops.iter().any(|stop| {
                    stop.node == node
                        && stop.ending == Ending::Vanished
                        && stop.next_started == Some(t)
                })
        };
        let others_doing = self.cell.mishap.victim(self.cell.step, lab).is_some()
            && self.cell.mishap == Mishap::MarkedUp;
        let routed = audit.routed_at_stop.iter();
        let routed = routed.filter(|routed| !killed(&routed.node, routed.t) && !others_doing);
        let mut objections: Vec<_> = routed
            .map(|routed| {
                format!("{}: {} routed to it, {:?}", routed.node, routed.gateway, routed.when)
            })
            .collect();
        for stop in &audit.stops {
            let vanished = stop.ending == Ending::Vanished
                && !(self.cell.mishap.kills_node() && stop.node == struck);
            if (stop.cut > 0 || stop.late_requests > 0 || vanished) && !others_doing {
                objections.push(format!(
                    "{}: {:?}, cut {}, late {}",
                    stop.node, stop.ending, stop.cut, stop.late_requests
                ));
            }
        }
        self.objections.extend(objections);
        audit.cut()
    }

    /// Objects to nodes that a restart left on their old process, or restarted again. The fault can make another
    /// restart of the node that it hits necessary.
    fn judge_restarts(&mut self, audit: &Audit, lab: &Lab) {
        for (index, node) in lab.nodes.iter().enumerate() {
            let stops = audit.stops.iter().filter(|stop| stop.node == node.name()).count();
            let is_fine = if index == 0 { stops >= 1 } else { stops == 1 };
            if self.cell.kind == Kind::Restart && !is_fine {
                self.objections.push(format!("{}: restarted {stops} times", node.name()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::faults::{Mishap, Place, Step, Then};

    const KILLED: Mishap = Mishap::Killed(Place::Here, Then::Resume);

    #[test]
    fn killed_release_has_no_exit_code() {
        assert!(KILLED.allows(None, Step::Drain));
        assert!(!KILLED.allows(Some(0), Step::Drain));
        assert!(!Mishap::LeaderKilled.allows(None, Step::Drain));
    }
}
