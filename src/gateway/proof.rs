//! When enough was seen to say that every worker of a gateway agrees.
//!
//! One reply proves one worker. The rules:
//!
//! * **workers**: where replies name their worker and the number of workers is known, that many different ones
//!   must have answered, and the last answer of each must agree;
//! * **samples**: otherwise the gateway's lag must have passed since the write, and from then on so many fresh
//!   connections in a row must agree that a single stale worker is missed with a probability below 0.001;
//! * what a gateway shows before it does it counts once it has been shown for that long;
//! * once one disagreed that late, three times as many in a row are needed: whoever tries again and again finds a row
//!   that leaves a stale worker out, so a second try must be far less likely to succeed by chance than the first;
//! * a worker that answers none of four times as many reads is gone (it was reloaded or died), and so is its word;
//! * where workers are named, samples count only after four times as many reads: an idle gateway favours some
//!   workers, and up to 45 connections were seen to be needed for four;
//! * an answer that cannot be had or read proves nothing and starts the row anew.
//!
//! Pure: no clock, no I/O.

use std::collections::BTreeMap;
use std::time::Duration;

/// What counts as enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many workers there are, if it is known.
    pub workers: Option<u32>,
    /// Fresh reads in a row that leave no worker out.
    pub reads: u32,
    /// How long after the write the last worker may still be behind.
    pub lag: Duration,
    /// How long the gateway may still do otherwise than it shows.
    pub spread: Duration,
}

/// How much longer an unlucky worker may stay unseen than if all were equally likely.
pub(super) const FAVOUR: u32 = 4;

/// How much longer a row must be once a worker was late: 0.001 becomes 0.000000001, which all tries together
/// cannot add up to 0.001.
const DOUBT: u32 = 3;

/// How many fresh connections in a row reach each of `workers` workers with a probability above 0.999, when
/// each is as likely as the others.
#[must_use]
pub fn reads_for(workers: u32) -> u32 {
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

/// What has been seen so far.
#[derive(Debug, Clone)]
pub struct Proof {
    rule: Rule,
    reads: u32,
    row: u32,
    /// Of the row, what was read when the lag was over.
    late_row: u32,
    /// When the row began, counted from the write.
    begun: Option<Duration>,
    /// A worker disagreed although the lag was over.
    doubted: bool,
    workers: BTreeMap<String, Worker>,
}

#[derive(Debug, Clone, Copy)]
struct Worker {
    agrees: bool,
    /// The read that showed it.
    seen: u32,
}

/// How a proof came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every worker by its name.
    Workers,
    /// Enough reads in a row, late enough.
    Samples,
}

/// Where a proof stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Proven.
    Proven(Method),
    /// Some worker disagrees.
    Disagrees,
    /// All agree so far, not enough was seen.
    Open,
}

impl Proof {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        let workers = BTreeMap::new();
        Self { rule, reads: 0, row: 0, late_row: 0, begun: None, doubted: false, workers }
    }

    /// Takes in one reply, asked for so long `since` the write: which worker it came from, if it said so, and whether
    /// it agrees.
    pub fn see(&mut self, worker: Option<&str>, agrees: bool, since: Duration) {
        self.reads += 1;
        if agrees {
            self.begun.get_or_insert(since);
            self.row += 1;
            self.late_row += u32::from(!self.is_early(since));
        } else {
            self.doubted |= since >= self.rule.lag;
            self.begin_anew();
        }
        if let Some(worker) = worker {
            self.workers.insert(worker.to_owned(), Worker { agrees, seen: self.reads });
        }
        let (reads, patience) = (self.reads, self.rule.reads * FAVOUR);
        self.workers.retain(|_, worker| reads - worker.seen < patience);
    }

    /// Takes in a reply that shows it, asked for so long `since` the write, while somebody still does otherwise.
    pub fn unsettle(&mut self, since: Duration) {
        let begun = self.begun.unwrap_or(since);
        self.fail();
        self.begun = Some(begun);
    }

    /// Takes in a reply that could not be had or read.
    pub fn fail(&mut self) {
        self.reads += 1;
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        (self.row, self.late_row, self.begun) = (0, 0, None);
    }

    /// Returns whether a reply that agrees, asked for so long `since` the write, counts for nothing yet.
    #[must_use]
    pub fn is_early(&self, since: Duration) -> bool {
        let shown = self.begun.map_or(Duration::ZERO, |begun| begun + self.rule.spread);
        since < self.rule.lag.max(shown)
    }

    /// How many agreeing replies in a row are enough, where workers cannot all be told apart.
    #[must_use]
    pub fn enough(&self) -> u32 {
        let named = self.rule.workers.is_some() && !self.workers.is_empty();
        let favour = if named { FAVOUR } else { 1 };
        let doubt = if self.doubted { DOUBT } else { 1 };
        self.rule.reads * favour * doubt
    }

    /// Decides.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let agreeing = self.workers.values().filter(|worker| worker.agrees).count();
        if agreeing < self.workers.len() || (self.reads > 0 && self.row == 0) {
            return Verdict::Disagrees;
        }
        if self.rule.workers.is_some_and(|workers| agreeing >= workers as usize) {
            return Verdict::Proven(Method::Workers);
        }
        if self.late_row >= self.enough() {
            return Verdict::Proven(Method::Samples);
        }
        Verdict::Open
    }

    /// How many replies were asked for.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// How many agreeing replies came in a row.
    #[must_use]
    pub fn row(&self) -> u32 {
        self.row
    }

    /// How many workers agree, and how many were told apart.
    #[must_use]
    pub fn workers(&self) -> (usize, usize) {
        (self.workers.values().filter(|worker| worker.agrees).count(), self.workers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(2);

    fn proof(workers: Option<u32>) -> Proof {
        Proof::new(Rule {
            workers,
            reads: reads_for(workers.unwrap_or(4)),
            lag: LAG,
            spread: Duration::ZERO,
        })
    }

    #[test]
    fn the_number_of_reads_leaves_one_stale_worker_out_less_than_once_in_a_thousand() {
        assert_eq!([1, 2, 4, 8, 16].map(reads_for), [1, 10, 25, 52, 108]);
    }

    /// However late it is shown, what is shown before it is done counts from then on.
    #[test]
    fn what_is_shown_before_it_is_done_must_have_been_shown_for_a_while() {
        let at = Duration::from_millis;
        let rule = Rule { workers: Some(1), reads: 1, lag: Duration::ZERO, spread: at(100) };
        let mut proof = Proof::new(rule);
        proof.see(None, false, at(10));
        for (since, agrees, verdict) in [
            (666, true, Verdict::Open),
            (700, true, Verdict::Open),
            (720, false, Verdict::Disagrees),
            (740, true, Verdict::Open),
            (839, true, Verdict::Open),
        ] {
            proof.see(None, agrees, at(since));
            assert_eq!(proof.verdict(), verdict, "{since}");
        }
        proof.see(None, true, at(840));
        assert_eq!(
            proof.verdict(),
            Verdict::Open,
            "three in a row, once it was late and otherwise"
        );
        proof.see(None, true, at(841));
        proof.see(None, true, at(842));
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
    }

    /// Who still does otherwise has begun to follow all the same.
    #[test]
    fn the_while_that_something_is_shown_goes_on_while_it_is_unsettled() {
        let rule = Rule { workers: Some(1), reads: 1, lag: Duration::ZERO, spread: LAG };
        let mut proof = Proof::new(rule);
        proof.unsettle(LAG / 2);
        proof.unsettle(LAG);
        assert_eq!(proof.verdict(), Verdict::Disagrees);
        proof.see(None, true, LAG);
        assert_eq!(proof.verdict(), Verdict::Open);
        proof.see(None, true, LAG / 2 + LAG);
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
    }

    #[test]
    fn one_worker_that_lets_go_proves_nothing_about_the_others() {
        let mut proof = proof(Some(4));
        for _ in 0..24 {
            proof.see(Some("1"), true, Duration::ZERO);
            assert_eq!(proof.verdict(), Verdict::Open);
        }
        for worker in ["2", "3"] {
            proof.see(Some(worker), true, Duration::ZERO);
            assert_eq!(proof.verdict(), Verdict::Open);
        }
        proof.see(Some("4"), false, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Disagrees);
        proof.see(Some("1"), true, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Disagrees, "4 has not answered again");
        proof.see(Some("4"), true, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Workers));
    }

    #[test]
    fn nameless_replies_need_a_row_that_begins_after_the_lag() {
        let mut proof = proof(None);
        for _ in 0..100 {
            proof.see(None, true, LAG / 2);
            assert_eq!(proof.verdict(), Verdict::Open);
        }
        for _ in 0..25 {
            assert_eq!(proof.verdict(), Verdict::Open);
            proof.see(None, true, LAG);
        }
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
        proof.fail();
        assert_eq!(proof.verdict(), Verdict::Disagrees);
        proof.see(None, true, LAG);
        assert_eq!(proof.verdict(), Verdict::Open, "the row starts anew");
    }

    /// One worker of four does not follow, and a minute is long enough for many rows.
    #[test]
    fn a_nameless_worker_that_is_stuck_is_not_overlooked_however_long_it_is_tried() {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut overlooked = 0;
        for _ in 0..1_000 {
            let mut proof = proof(Some(4));
            for read in 0..3_000 {
                let since = if read < 300 { Duration::ZERO } else { LAG };
                proof.see(None, chance.u8(0..4) != 0, since);
                if proof.verdict() == Verdict::Proven(Method::Samples) {
                    overlooked += 1;
                    break;
                }
            }
        }
        assert!(overlooked <= 3, "overlooked {overlooked} times in 1000");
    }

    #[test]
    fn more_workers_than_the_playbook_says_must_all_agree() {
        let mut proof = proof(Some(2));
        for (worker, agrees) in [("1", true), ("2", true), ("3", false)] {
            proof.see(Some(worker), agrees, LAG);
        }
        assert_eq!(proof.verdict(), Verdict::Disagrees);
    }

    #[test]
    fn a_worker_that_is_gone_is_forgotten_and_a_live_one_never() {
        let mut proof = proof(Some(4));
        proof.see(Some("old"), false, LAG);
        for read in 1..100 {
            proof.see(Some(["1", "2", "3", "4"][read % 4]), true, LAG);
            assert_eq!(proof.verdict(), Verdict::Disagrees, "read {read}");
        }
        proof.see(Some("1"), true, LAG);
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Workers));
    }

    #[test]
    fn the_word_of_workers_that_are_gone_completes_no_proof() {
        let mut proof = proof(Some(4));
        for worker in ["1", "2", "3"] {
            proof.see(Some(worker), true, Duration::ZERO);
        }
        // A reload: from here on only new workers answer, and only one of them so far.
        for _ in 0..100 {
            proof.see(None, true, Duration::ZERO);
        }
        proof.see(Some("5"), true, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Open);
    }

    #[test]
    fn fewer_workers_than_the_playbook_says_are_proven_by_samples() {
        let mut proof = proof(Some(4));
        for read in 0..100 {
            assert_eq!(proof.verdict(), Verdict::Open);
            proof.see(Some(["1", "2"][read % 2]), true, LAG);
        }
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
    }
}
