//! Decides when enough was seen to say that every worker of a gateway agrees.
//!
//! One reply shows one worker. The rules:
//!
//! * **workers**: if replies name their worker and the number of workers is known, this many different workers must
//!   have answered, and the last answer of each must agree. Other answers do not replace a worker that does not
//!   answer;
//! * **samples**: otherwise the gateway's lag must have passed since the write. After that, a number of connections
//!   in a row must agree without an exception. The number is chosen so that a single stale worker is missed with a
//!   probability below 0.001. The connections are held open together
//!   ([`World::http_held`](crate::world::World::http_held)). Unless the gateway is known to share connections
//!   evenly, up to four workers need 64 connections, more workers five times the number for an even gateway, and an
//!   unknown number of workers twice that number. Measured with nginx 1.14.2 and 1.18.0: 64 connections reached
//!   each of four workers three times or more in 200 of 200 rows; 256 reached each of eight workers in 100 of 100
//!   rows, 128 in 95;
//! * **closed connections** do not count at an nginx that may favour a worker: 64 of them reached all four workers
//!   of nginx 1.18.0 in 23 of 60 rows (`keepalive_timeout 0`) and in 8 of 60 rows (TLS);
//! * if a gateway shows a change before it acts on it, the change counts after it was shown for that time;
//! * a worker that has answered once must agree, or be recognised as [replaced](super::roster);
//! * after a worker was late, a row must be three times as long: repeated attempts find a row that misses a stale
//!   worker, so a later attempt must be far less likely to succeed by chance than the first. This is valid for the
//!   whole release;
//! * after a confirmation was contradicted, names and a single list no longer suffice: two gateways can be behind
//!   one address. Samples are needed in addition, three times as many, for the whole release;
//! * an answer that is missing or cannot be read starts the row again.
//!
//! Pure: no clock, no I/O.

use std::sync::LazyLock;
use std::time::Duration;

use super::driver::Facts;
use super::roster::{Roster, Workers};

/// How many workers are assumed if the playbook gives no number.
pub(super) const ASSUMED_WORKERS: u32 = 16;

/// How many connections reach every worker, if the gateway may favour some of its workers: the minimum.
const UNEVEN: u32 = 64;

/// For up to this many workers that is enough. The factor for more workers.
const UNEVEN_WORKERS: u32 = 4;
const UNEVEN_MORE: u32 = 5;

/// How much longer a row must be after a worker was late: 0.001 becomes 0.000000001, so all attempts together stay
/// below 0.001.
const RECHECK_FACTOR: u32 = 3;

/// Until each worker has told its name, this many times the average number of connections is used.
const PATIENCE: u32 = 4;

/// The most connections that are held at the same time. A worker of nginx has 512 by default, also for its clients.
const MOST_HELD: u32 = 256;

/// What is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many workers there are, if it is known.
    pub workers: Option<u32>,
    /// How long after the write the last worker can still be behind.
    pub lag: Duration,
    /// How long the gateway can still act otherwise than it shows.
    pub apply_delay: Duration,
}

/// How many connections reach each of `workers` workers with a probability above 0.999, if all workers are equally
/// likely.
#[must_use]
pub fn reads_for(workers: u32) -> u32 {
    // Asked at every reply.
    static READS: LazyLock<Vec<u32>> = LazyLock::new(|| (0..=64).map(counted).collect());
    READS.get(workers as usize).copied().unwrap_or_else(|| counted(workers))
}

fn counted(workers: u32) -> u32 {
    if workers <= 1 {
        return 1;
    }
    // (1 - 1/workers)^reads < 0.001, counted up without logarithms.
    let miss = 1.0 - 1.0 / f64::from(workers);
    let mut left = 1.0;
    let mut reads = 0;
    while left >= 0.001 {
        left *= miss;
        reads += 1;
    }
    reads
}

impl Rule {
    /// The rule for a gateway with these facts.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self { workers: facts.workers, lag: facts.lag, apply_delay: facts.apply_delay }
    }

    /// How many connections reach every worker: `even` if the gateway shares them evenly, otherwise it may favour
    /// some workers.
    #[must_use]
    pub fn reads(&self, even: bool) -> u32 {
        match (reads_for(self.workers.unwrap_or(ASSUMED_WORKERS)), self.workers) {
            (1, _) => 1,
            (reads, _) if even => reads,
            (reads, None) => 2 * reads,
            (_, Some(..=UNEVEN_WORKERS)) => UNEVEN,
            (reads, Some(_)) => UNEVEN_MORE * reads,
        }
    }
}

/// What has been seen so far.
#[derive(Debug, Clone)]
pub struct Proof {
    rule: Rule,
    /// The state before, and what this proof has added.
    before: Roster,
    roster: Roster,
    workers: Workers,
    reads: u32,
    row: u32,
    /// How many replies of the row were read after the lag.
    late_row: u32,
    /// When the row began, as time since the write.
    begun: Option<Duration>,
    /// The next reply's connection shows nothing about the other workers.
    is_alone: bool,
}

/// How a state was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every worker, by name.
    Workers,
    /// Enough reads in a row, late enough.
    Samples,
}

/// The state of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Confirmed.
    Proven(Method),
    /// Some worker disagrees.
    Disagrees,
    /// All agree so far, but not enough was seen.
    Open,
}

impl Proof {
    /// A proof without replies, with what earlier proofs have learned about the gateway.
    #[must_use]
    pub fn new(rule: Rule, roster: Roster) -> Self {
        let workers = Workers::of(&roster);
        let before = roster.clone();
        Self {
            rule,
            before,
            roster,
            workers,
            reads: 0,
            row: 0,
            late_row: 0,
            begun: None,
            is_alone: false,
        }
    }

    /// Passes on what was learned about the gateway.
    pub(super) fn teach(&self, roster: &mut Roster) {
        roster.absorb(&self.before, &self.workers, &self.roster);
    }

    /// Reads the `Server` header of the next reply and whether its connection stays open; called before
    /// [`Self::see`]. The header says how the gateway shares connections. If the gateway may favour a worker, a
    /// connection that closes shows nothing about the other workers.
    pub fn learn(&mut self, server: Option<&str>, stays_open: bool) {
        self.roster.learn(server);
        self.is_alone = !stays_open && self.roster.favours();
    }

    /// Returns whether more rows cannot help: many connections are needed, and those of the last row did not stay
    /// open.
    #[must_use]
    pub fn is_beyond_reach(&self) -> bool {
        self.is_alone && self.row > 0 && !self.counts_workers() && self.enough() > 1
    }

    /// Adds one reply that was requested at time `since` after the write: which worker sent it, if it says so, and
    /// whether it agrees.
    pub fn see(&mut self, worker: Option<&str>, agrees: bool, since: Duration) {
        self.reads += 1;
        if agrees {
            self.begun.get_or_insert(since);
            self.row += 1;
            let counts = !self.is_alone || self.enough() == 1;
            self.late_row += u32::from(counts && !self.is_early(since));
        } else {
            if since >= self.rule.lag {
                self.roster.be_late();
            }
            self.begin_anew();
        }
        if let Some(worker) = worker {
            self.workers.see(worker, agrees);
        }
    }

    /// Adds a reply that shows the change, requested at time `since` after the write, while the gateway still acts
    /// otherwise.
    pub fn unsettle(&mut self, since: Duration) {
        let begun = self.begun.unwrap_or(since);
        self.fail();
        self.begun = Some(begun);
    }

    /// Adds a reply that is missing or cannot be read.
    pub fn fail(&mut self) {
        self.reads += 1;
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        (self.row, self.late_row, self.begun) = (0, 0, None);
    }

    /// Ends a row of connections that were held open together. `whole`: all of them were asked.
    pub fn end_row(&mut self, whole: bool) {
        if whole {
            self.workers.end_row(self.rule.workers);
        } else {
            self.workers.next_row();
        }
    }

    /// Returns whether a reply that agrees, requested at time `since` after the write, does not count yet.
    #[must_use]
    pub fn is_early(&self, since: Duration) -> bool {
        let shown = self.begun.map_or(Duration::ZERO, |begun| begun + self.rule.apply_delay);
        since < self.rule.lag.max(shown)
    }

    /// Returns whether the names of its workers are sufficient, so that the lag need not pass.
    fn counts_workers(&self) -> bool {
        let named = self.workers.are_known() || self.roster.is_named();
        named && self.rule.workers.is_some() && !self.roster.is_contradicted()
    }

    /// How many connections must be held at once at time `since` after the write. One if more would show nothing
    /// yet.
    #[must_use]
    pub fn connections(&self, since: Duration) -> usize {
        // A single connection also shows a worker that is behind.
        let is_alone = self.row == 0 || (!self.counts_workers() && self.is_early(since));
        if is_alone { 1 } else { self.row_needed() }
    }

    /// How many connections must be held at once when more than one can show something.
    pub(super) fn row_needed(&self) -> usize {
        let needed = match (self.counts_workers(), self.rule.workers) {
            (true, Some(1) | None) => 1,
            (true, Some(workers)) => reads_for(workers) * PATIENCE,
            // Enough agree, but a known worker does not answer. Whole rows show whether it was replaced.
            (false, _) => match self.enough().saturating_sub(self.late_row) {
                0 => self.enough(),
                left => left,
            },
        };
        needed.min(MOST_HELD) as usize
    }

    /// What is enough.
    pub(super) fn rule(&self) -> Rule {
        self.rule
    }

    /// How many agreeing replies in a row are enough, if not all workers can be distinguished.
    #[must_use]
    pub fn enough(&self) -> u32 {
        let reads = if self.roster.is_contradicted() {
            let workers = self.rule.workers.filter(|workers| *workers > 1);
            Rule { workers, ..self.rule }.reads(true)
        } else {
            self.rule.reads(self.roster.is_even())
        };
        reads * if self.roster.is_doubted() { RECHECK_FACTOR } else { 1 }
    }

    /// The current verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.workers.disagree() || (self.reads > 0 && self.row == 0) {
            return Verdict::Disagrees;
        }
        let all_agree = self.workers.missing().next().is_none();
        let agreeing = self.workers.agreeing();
        let sampled = self.late_row >= self.enough();
        match self.rule.workers {
            Some(workers) if self.workers.are_known() => {
                let by_name = all_agree && agreeing >= workers as usize;
                if by_name && (sampled || !self.roster.is_contradicted()) {
                    return Verdict::Proven(Method::Workers);
                }
            }
            _ if sampled && all_agree => return Verdict::Proven(Method::Samples),
            _ => {}
        }
        Verdict::Open
    }

    /// How many replies were requested.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// How many agreeing replies came in a row.
    #[must_use]
    pub fn row(&self) -> u32 {
        self.row
    }

    /// How many workers agree, and how many were distinguished.
    #[must_use]
    pub fn workers(&self) -> (usize, usize) {
        (self.workers.agreeing(), self.workers.count())
    }

    /// The workers that have answered in this release and have not agreed.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        self.workers.missing().collect()
    }
}

#[cfg(test)]
mod tests;
