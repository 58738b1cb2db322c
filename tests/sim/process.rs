//! The service's process: how it starts and ends, and the effect of a reboot.

use rollgate::world::{Output, RunError};

use crate::consul::Reaction;
use crate::node::{output, version_of};
use crate::world::{Answer, Happening, State};

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A command of the release.
    Release,
    /// A fault of the schedule.
    Fault,
}

/// How the service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It serves after this many milliseconds.
    After(u64),
    /// It never gets ready.
    Never,
    /// It ends at once.
    Crashes,
    /// It serves after the first number of milliseconds and ends the second number later.
    ServesThenCrashes(u64, u64),
    /// The same, and a supervisor starts it again.
    ServesThenRestarts(u64, u64),
    /// The command fails.
    Fails,
}

/// How the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopWay {
    /// After this many milliseconds.
    After(u64),
    /// It does not end: the command waits for it.
    Ignores,
    /// It does not end, but the command reports success.
    KeepsPort,
}

/// The phase of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Ending,
}

/// The service's process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In ticks of the node's clock.
    pub(crate) started: u64,
    pub(crate) version: String,
    pub(crate) phase: Phase,
    /// Since when it serves.
    pub(crate) ready_at: Option<u64>,
}

fn later(delay: u64) -> Reaction {
    let output = Output { status: Some(0), ..Output::default() };
    Reaction::Answer(delay, Answer::Run(Ok::<_, RunError>(output)))
}

impl State {
    /// A command asks the service to end.
    pub(crate) fn end(&mut self, at: usize, again: bool) -> Reaction {
        self.check_stop(at);
        self.check_spread(at);
        self.touch(at);
        let Some(process) = &self.nodes[at].process else {
            if again {
                self.spawn(at, true);
            }
            return output(0, "", "");
        };
        let pid = process.pid;
        let quick = StopWay::After(self.rng.u64(5..=400));
        let way = self.nodes[at].next_stop.take().unwrap_or(quick);
        match way {
            StopWay::After(delay) => {
                self.cut(at, pid, Cause::Release);
                let node = &mut self.nodes[at];
                node.down_by = Some(Cause::Release);
                if let Some(process) = &mut node.process {
                    process.phase = Phase::Ending;
                }
                self.after(delay, Happening::Exits { node: at, pid, cause: Cause::Release });
                if again {
                    self.after(delay + 1, Happening::Spawns { node: at, ours: true });
                }
                later(delay + 2)
            }
            StopWay::Ignores => Reaction::Never,
            StopWay::KeepsPort => {
                if again {
                    self.after(1, Happening::Spawns { node: at, ours: true });
                }
                later(5)
            }
        }
    }

    /// Starts a process, if the port is free.
    pub(crate) fn spawn(&mut self, at: usize, ours: bool) {
        let quick = Start::After(self.rng.u64(20..=1_500));
        let clock = self.clock;
        let node = &self.nodes[at];
        if ours && node.keeps.as_ref().is_some_and(|kept| *kept != node.current) {
            self.check_kept(at, "and a restart starts that");
        }
        let node = &mut self.nodes[at];
        // A reboot starts only what is installed.
        if !ours && node.is_empty() {
            return;
        }
        if node.process.is_some() {
            return self.note(|| format!("node-{}: the port is in use", at + 1));
        }
        let bad = node.bad_version.filter(|_| version_of(&node.current) == "2");
        let start = match bad {
            Some(bad) => bad,
            None if ours => node.next_start.take().unwrap_or(quick),
            None => quick,
        };
        node.ping = None;
        node.next_pid += 1;
        let pid = node.next_pid;
        node.process = Some(Process {
            pid,
            started: node.ticks(clock),
            version: version_of(&node.current).to_owned(),
            phase: Phase::Starting,
            ready_at: None,
        });
        node.down_by = Some(if ours { Cause::Release } else { Cause::Fault });
        if ours {
            node.deeds.served_since = false;
        }
        match start {
            Start::After(delay) => self.after(delay, Happening::Ready { node: at, pid }),
            Start::Never => {}
            Start::Crashes | Start::Fails => {
                self.after(20, Happening::Exits { node: at, pid, cause: Cause::Fault });
            }
            Start::ServesThenCrashes(ready, crash) | Start::ServesThenRestarts(ready, crash) => {
                self.after(ready, Happening::Ready { node: at, pid });
                self.after(ready + crash, Happening::Exits { node: at, pid, cause: Cause::Fault });
                if matches!(start, Start::ServesThenRestarts(..)) {
                    self.after(ready + crash + 50, Happening::Spawns { node: at, ours: false });
                }
            }
        }
        self.note(|| format!("node-{}: pid {pid} begins ({start:?})", at + 1));
    }

    pub(crate) fn ready(&mut self, at: usize, pid: u32) {
        let node = &mut self.nodes[at];
        if let Some(process) = node.process.as_mut().filter(|process| process.pid == pid)
            && process.phase == Phase::Starting
        {
            process.phase = Phase::Ready;
            process.ready_at = Some(self.clock);
            node.died_at = None;
            if node.down_by == Some(Cause::Fault) {
                // A gateway's own checks need some time until it routes to it again.
                node.struck_at = Some(self.clock);
            }
            node.deeds.served_since = true;
            if node.down_by.take() == Some(Cause::Fault) {
                // Gateways need a while until they route to it again.
                node.struck_at = Some(self.clock);
            }
            self.note(|| format!("node-{}: pid {pid} serves", at + 1));
        }
    }

    pub(crate) fn exit(&mut self, at: usize, pid: u32, cause: Cause) {
        if self.nodes[at].process.as_ref().is_none_or(|process| process.pid != pid) {
            return;
        }
        self.cut(at, pid, cause);
        self.nodes[at].process = None;
        self.nodes[at].down_by = Some(cause);
        if cause == Cause::Fault {
            self.disturbed_at = Some(self.clock);
            self.nodes[at].struck_at = Some(self.clock);
            self.nodes[at].died_at.get_or_insert(self.clock);
        }
        self.note(|| format!("node-{}: pid {pid} is gone ({cause:?})", at + 1));
    }

    pub(crate) fn reboot(&mut self, at: usize, lasts: u64) {
        let clock = self.clock;
        if let Some(pid) = self.nodes[at].process.as_ref().map(|process| process.pid) {
            self.exit(at, pid, Cause::Fault);
        }
        let node = &mut self.nodes[at];
        node.struck_at = Some(clock);
        node.booted = Some(clock + lasts);
        node.unreachable_until = clock + lasts;
        node.connections.clear();
        // Pids start at small numbers again: a pid alone does not identify a process.
        node.next_pid = 990;
        self.after(lasts + 50, Happening::Spawns { node: at, ours: false });
    }
}
