//! The rules for the end of a release, and for the state after all operators have finished.

use std::path::Path;

use rollgate::engine::RunResult;
use rollgate::journal;
use rollgate::mark::Mark;
use rollgate::release::{CommandKind, Phase, Release, Started};

use crate::attempt::{End, FOREVER, finished};
use crate::invariants::{Earlier, NOTICED, Rule};
use crate::node::{Deeds, Taken};
use crate::process::{Cause, Phase::Starting, Process};
use crate::schedule::Schedule;
use crate::site::is_past;
use crate::world::{Happening, State};

/// The longest time from a request to stop until a release is safe.
const SAFE_WITHIN: u64 = 5_000;

/// The prefix of journal replicas.
pub(crate) const COPIES: &str = "rollgate/app/journal/";

/// The version that ran before a schedule began.
const OLD: &str = "1";

/// The version that a schedule releases.
const NEW: &str = "2";

impl State {
    /// A new release begins; it finds what earlier ones did to the nodes.
    pub(crate) fn new_release(&mut self, id: &str, started: &Started) {
        let before = std::mem::replace(&mut self.watch.release, id.to_owned());
        let command = std::mem::replace(&mut self.watch.command, started.command);
        if !started.command.is_by_hand() {
            self.watch.earlier = None;
        } else if self.watch.earlier.is_none() {
            let deeds = self.nodes.iter().map(|node| node.deeds.clone()).collect();
            let (target, undoes) = (self.watch.target.clone(), self.watch.undoes);
            self.watch.earlier = Some(Earlier { release: before, deeds, target, undoes, command });
        }
        let target = self.watch.versioned.then(|| started.to.clone()).flatten();
        self.watch.undoes = self.watch.versioned && started.command == CommandKind::Rollback;
        self.watch.target = target;
        let up = self.registry();
        for (node, up) in self.nodes.iter_mut().zip(up) {
            let before = node.process.as_ref().map(|process| process.pid);
            let ran = (up && node.serves()).then(|| node.current.clone());
            node.deeds = Deeds { before, ran, ..Deeds::default() };
        }
    }

    /// A release is resumed. Its journal has its own changes, and none that were made by hand in the meantime.
    pub(crate) fn same_release(&mut self, id: &str) {
        id.clone_into(&mut self.watch.release);
        let Some(earlier) = self.watch.earlier.take_if(|earlier| earlier.release == id) else {
            return;
        };
        (self.watch.target, self.watch.undoes) = (earlier.target, earlier.undoes);
        self.watch.command = earlier.command;
        for (node, deeds) in self.nodes.iter_mut().zip(earlier.deeds) {
            node.deeds = deeds;
        }
    }

    /// The last release, a rollback, did not start as far as any operator knows.
    pub(crate) fn forget_release(&mut self) {
        self.watch.undoes = false;
        self.watch.target = self.watch.versioned.then(|| NEW.to_owned());
    }

    /// A release reports how many requests it cut.
    pub(crate) fn told_cut(&mut self, name: &str, cut: u64) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name == name) {
            node.deeds.told_cut += cut;
        }
    }

    /// A confirmation that a release reports must be true, at one gateway or at all.
    pub(crate) fn check_proof(
        &mut self,
        name: &str,
        gateway: Option<&str>,
        routed: bool,
        by_name: bool,
    ) {
        let Some(node) = self.nodes.iter().position(|node| node.name == name) else { return };
        let mut wrong = Vec::new();
        for own in &self.gateways {
            // Unnamed workers are confirmed by samples, of which one in a thousand may be wrong.
            let told = gateway.is_none_or(|gateway| gateway == own.name);
            // While workers are replaced, a read can reach an old worker and its successor.
            let replaced = own.shrank_at.is_some_and(|at| at + 1_000 >= self.clock);
            if !told || replaced || !(by_name || own.named || own.workers.len() == 1) {
                continue;
            }
            let others = own.workers.iter().filter(|worker| worker.astray.is_none());
            let others = others.filter(|worker| worker.up[node] != routed);
            wrong.extend(others.map(|worker| format!("{} pid {}", own.name, worker.pid)));
        }
        if !wrong.is_empty() {
            let text = format!("{name} routed={routed} was reported confirmed, wrong at {wrong:?}");
            self.violate(Rule::ProofUntrue, text);
        }
    }

    /// Checks the promise of an exit code.
    pub(crate) fn check_exit(
        &mut self,
        release: &Release,
        exit: u8,
        registries_are_well: bool,
        ended_at: u64,
    ) {
        let registry = self.registry();
        let mut untrue = Vec::new();
        for (name, told) in &release.nodes {
            let Some(at) = self.nodes.iter().position(|node| node.name == *name) else { continue };
            let node = &self.nodes[at];
            let died = node.down_by == Some(Cause::Fault) && !node.is_empty();
            let by_fault = died || node.struck_at.is_some();
            let process = node.process.as_ref().filter(|_| node.serves());
            let planned = told.phase != Phase::LeftOut;
            match exit {
                0 => {
                    let right = by_fault || process.is_some_and(|own| self.is_right(&own.version));
                    let dead = node.died_at.is_some_and(|died| died + NOTICED < ended_at);
                    let is_back = self.watch.undoes && node.is_as_before_install(registry[at]);
                    if planned && !is_back && !(registry[at] && right && !dead) {
                        untrue.push(format!("{name}: {node:?}"));
                    }
                }
                21 => {
                    let was_out = told.marked == Mark::Unknown && !registry[at];
                    let old = process.is_some_and(|own| own.version == OLD);
                    let is_back = old && (registry[at] || was_out);
                    let is_back = is_back || node.is_as_before_install(registry[at]);
                    // A held node keeps the version that it has.
                    if !told.is_held() && !by_fault && !is_back {
                        untrue.push(format!("{name}: {node:?}"));
                    }
                }
                // A node that was only marked down is returned to rotation.
                10 | 20 if registries_are_well => {
                    let deeds = &node.deeds;
                    let left = !deeds.touched && !told.is_stopped() && !told.fell;
                    if deeds.taken != Taken::No && left && !registry[at] {
                        untrue.push(format!("{name} was skipped: {told:?}"));
                    }
                }
                _ => {}
            }
        }
        for text in untrue {
            self.violate(Rule::ExitUntrue, format!("exit {exit}, but {text}"));
        }
    }

    /// Without faults and running operators, the end must be that of an undisturbed release. Where some nodes were
    /// rolled back, both versions may serve.
    ///
    /// `held` are the nodes that an operator held before: they are still held, and unchanged.
    pub(crate) fn check_settled(&mut self, mixed: bool, held: &[usize]) {
        let (registry, holds) = (self.registry(), self.held());
        let mut wrong = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if held.contains(&at) {
                let is_changed = registry[at] || node.deeds.writes > 0 || node.deeds.touched;
                if is_changed || !holds.contains_key(&node.name) {
                    wrong.push(format!("{node:?} is held"));
                }
                continue;
            }
            let process = node.process.as_ref().filter(|_| node.serves());
            if node.keeps.as_ref().is_some_and(|kept| *kept != node.current) {
                wrong.push(format!("{node:?} runs another release"));
            }
            // A rollback does not change a node that ran the new version before the release.
            let kept = self.watch.undoes && !node.deeds.touched;
            let right =
                process.is_some_and(|process| kept || mixed || self.is_right(&process.version));
            // A node that was out before stays out, unless the new version is installed on it.
            let as_before = node.was_out && node.deeds.writes == 0 && (mixed || self.watch.undoes);
            // A first install that was rolled back, or not reached, leaves nothing that could serve.
            let is_new = node.is_empty() && node.deeds.writes == 0;
            let is_new = is_new || node.is_as_before_install(registry[at]);
            if (mixed || self.watch.undoes) && is_new {
                continue;
            }
            if !right || !(registry[at] || as_before) {
                wrong.push(format!("{node:?}, registry {}", registry[at]));
                continue;
            }
            for gateway in self.gateways.iter().filter(|_| registry[at]) {
                let held = gateway.held(at);
                if held || gateway.workers.iter().any(|worker| !worker.up[at]) {
                    wrong.push(format!("{} is not routed by {}", node.name, gateway.name));
                }
            }
        }
        for text in wrong {
            self.violate(Rule::EndDiffers, text);
        }
    }

    /// Whether Consul has a replica of the last journal.
    pub(crate) fn has_copy(&self) -> bool {
        let of_last = format!("-{}/", self.watch.release);
        let mut copies = self.consul.store.find(COPIES, true);
        copies.any(|(key, _)| !is_past(key) && key.contains(&of_last))
    }

    /// Whether Consul's replica of the last journal is true. It must be, where Consul was healthy.
    pub(crate) fn check_copy(&mut self, may_cut: bool, well: bool) -> bool {
        let keys = self.consul.store.find(COPIES, true).filter(|(key, _)| !is_past(key));
        let pieces: Vec<_> = keys.map(|(key, pair)| (key.to_owned(), pair.value.clone())).collect();
        // What nodes have met belongs to the last release.
        let of_last = format!("-{}", self.watch.release);
        let mut folders = pieces.iter().rev().filter_map(|(key, _)| key.rsplit_once('/'));
        let Some(folder) = folders.find(|(folder, _)| folder.ends_with(&of_last)) else {
            return false;
        };
        let own = pieces.iter().filter(|(key, _)| key.starts_with(folder.0));
        if folder.1.starts_with('z') {
            return true;
        }
        let bytes: Vec<u8> = own.flat_map(|(_, value)| value.iter().copied()).collect();
        let Ok((_, release)) = journal::parse(&bytes, "copy") else { return false };
        let before = self.watch.violations.len();
        self.check_told(&release, None, may_cut);
        let fine = self.watch.violations.len() == before;
        if !well {
            self.watch.violations.truncate(before);
        }
        fine
    }

    /// Ends all faults and starts what was down.
    pub(crate) fn heal(&mut self) {
        self.note(|| "--- everything is well again ---".into());
        self.cancel_faults();
        let clock = self.clock;
        let consul = &mut self.consul;
        consul.writes.clear();
        consul.reads.clear();
        consul.down_until.fill(0);
        consul.election_until = consul.election_until.min(clock);
        self.edits.clear();
        self.clients.slow_of = 0;
        for gateway in &mut self.gateways {
            gateway.lie = None;
        }
        self.follow_anew();
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            node.unreachable_until = node.unreachable_until.min(clock);
            node.next_commands.clear();
            (node.next_start, node.next_stop) = (None, None);
            node.disk_full = false;
            node.bad_version = None;
            // The fault that kept it from getting ready has ended.
            if let Some(Process { pid, phase: Starting, .. }) = node.process {
                self.after(100, Happening::Ready { node: at, pid });
            }
            // A first install that was rolled back was stopped, also if its service had ended by itself.
            let went_back = self.nodes[at].was_empty && !self.registry()[at];
            let node = &self.nodes[at];
            let is_installed = !node.current.is_empty() && !went_back;
            if is_installed && node.process.is_none() && node.down_by == Some(Cause::Fault) {
                self.spawn(at, false);
            }
        }
    }
}

/// Checks the rules for a release that has ended or was killed.
pub(crate) fn judge(
    state: &mut State,
    schedule: &Schedule,
    end: &End,
    ended: Option<&RunResult>,
    path: Option<&Path>,
    ended_at: u64,
) -> End {
    let may_cut = schedule.shape.on_timeout == "proceed";
    let end = finished(end, ended);
    if let Some(ended) = ended {
        if let Some(path) = path {
            state.check_journal(path, &ended.release);
        }
        let finished = ended.release.finished.as_ref();
        let exit = finished.map_or(22, |finished| finished.exit_code);
        state.check_told(&ended.release, Some(exit), may_cut);
        state.check_exit(&ended.release, exit, schedule.registries_are_well(), ended_at);
    } else if let Some(path) = path
        && end == End::Killed
    {
        // A successor reads these events.
        match journal::read(path) {
            Ok((_, release)) => state.check_told(&release, None, may_cut),
            Err(error) => state.violate(Rule::JournalUntrue, format!("{error:#}")),
        }
    }
    if let Some(asked) = state.stopped_at.map(|signal| state.fence.heard(signal))
        && ended_at > asked.saturating_add(SAFE_WITHIN)
        && !matches!(end, End::Killed)
    {
        let text = format!("asked at {asked}, ended at {ended_at}");
        state.violate(Rule::StoppedLate, text);
    }
    if end == End::Hangs {
        state.violate(Rule::NeverEnds, format!("it takes longer than {FOREVER:?}"));
    }
    let fine = matches!(
        end,
        End::Refused(_) | End::Locked | End::Nothing | End::Finished(_, 0) | End::Killed
    );
    // A plan was made before and nothing was changed: it runs.
    if schedule.nothing_goes_wrong() && !fine {
        state.violate(Rule::NotDone, format!("{end:?}"));
    }
    end
}
