//! What is known about a gateway's workers, over all confirmations of a release: which of them answered, and
//! whether the gateway has ever contradicted a confirmation.
//!
//! A worker that no longer follows the registry still answers with its old list, and routes by it. So a worker that
//! has answered once counts until it agrees or is recognised as replaced:
//!
//! * if the playbook gives the number of workers, a worker is replaced after this many others have answered in each
//!   of two rows without it;
//! * otherwise, after each of two rows without it has at least as many new workers as are missing, or only new
//!   ones: a reload replaces all of them, a crash replaces one. A worker that is stopped by a signal has no
//!   replacement.
//!
//! Pure: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

/// A gateway that names more workers than this invents names.
const MOST: usize = 1024;

/// The longest name of a worker that is kept, in characters.
const LONGEST: usize = 64;

/// How many complete rows without a worker show that it was replaced.
const ROWS_WITHOUT: u32 = 2;

/// The first version of nginx whose workers share new connections evenly.
const EVEN_SINCE: [u32; 3] = [1, 21, 6];

/// What is known about a gateway between two confirmations.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// The workers that have answered and were not replaced.
    names: BTreeSet<String>,
    /// An answer had the old state, although the lag was over.
    late: bool,
    /// A confirmation was contradicted.
    contradicted: bool,
    /// Whether the gateway shares new connections evenly among its workers. `None` while it is not known to be
    /// nginx.
    even: Option<bool>,
}

impl Roster {
    /// Learns from a reply's `Server` header how the gateway shares connections among its workers.
    pub(super) fn learn(&mut self, server: Option<&str>) {
        if let Some(even) = server.and_then(shares_evenly) {
            self.even = Some(even);
        }
    }

    /// Notes that an answer had the old state, although the lag was over.
    pub(super) fn be_late(&mut self) {
        self.late = true;
    }

    /// Notes that a confirmation was contradicted: later ones must not rely on less than that one.
    pub(super) fn contradict(&mut self) {
        self.contradicted = true;
    }

    /// Returns whether a confirmation was contradicted: one answer or one name no longer shows anything.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.contradicted
    }

    /// Returns whether the gateway was late or contradicted a confirmation. Then a row must be so much longer that
    /// repeated attempts do not succeed by chance.
    pub(super) fn is_doubted(&self) -> bool {
        self.late || self.contradicted
    }

    /// Returns whether the gateway is known to share connections evenly among its workers.
    pub(super) fn is_even(&self) -> bool {
        self.even == Some(true)
    }

    /// Returns whether the gateway may give nearly every single connection to the same worker.
    pub(super) fn favours(&self) -> bool {
        self.even == Some(false)
    }

    /// Returns whether any reply has named its worker.
    pub(super) fn is_named(&self) -> bool {
        !self.names.is_empty()
    }

    /// Adds what a proof has learned that began with `before`. Other proofs may have ended in the meantime.
    pub(super) fn absorb(&mut self, before: &Self, workers: &Workers, after: &Self) {
        let replaced =
            |name: &String| before.names.contains(name) && !workers.all.contains_key(name);
        self.names.retain(|name| !replaced(name));
        self.names.extend(workers.all.keys().cloned());
        self.late |= after.late;
        self.contradicted |= after.contradicted;
        self.even = after.even.or(self.even);
    }
}

/// The workers of a gateway in one proof.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    all: BTreeMap<String, Worker>,
    /// The number of the current row, from 1.
    row: u64,
    /// The workers that answered in the current row.
    met: BTreeSet<String>,
}

/// A worker that has answered.
#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    /// The row in which it answered first. 0 if it answered in an earlier proof.
    since: u64,
    /// How many complete rows in succession did not have it, while others replaced it.
    without: u32,
    /// Whether its last answer agreed. `None` before it has answered.
    agrees: Option<bool>,
}

impl Workers {
    /// The workers that are known from earlier proofs. None of them has answered yet.
    pub(super) fn of(roster: &Roster) -> Self {
        let known = roster.names.iter().map(|name| (name.clone(), Worker::default()));
        Self { all: known.collect(), row: 1, met: BTreeSet::new() }
    }

    /// Begins another row. The last one was not complete.
    pub(super) fn next_row(&mut self) {
        self.row += 1;
        self.met.clear();
    }

    /// Ends a row in which every connection was asked. `given` is the number of workers in the playbook.
    pub(super) fn end_row(&mut self, given: Option<u32>) {
        let missing = self.all.keys().filter(|name| !self.met.contains(*name)).count();
        let since = |name: &String| self.all.get(name).map_or(0, |worker| worker.since);
        let met: Vec<_> = self.met.iter().map(since).collect();
        for (name, worker) in &mut self.all {
            if self.met.contains(name) {
                continue;
            }
            let new = met.iter().filter(|since| **since > worker.since).count();
            let has_successor = match given {
                Some(number) => met.len() >= number as usize,
                None => new >= missing || (new > 0 && new == met.len()),
            };
            worker.without = if has_successor { worker.without + 1 } else { 0 };
        }
        self.all.retain(|_, worker| worker.without < ROWS_WITHOUT);
        self.next_row();
    }

    /// Adds the answer of a worker.
    pub(super) fn see(&mut self, name: &str, agrees: bool) {
        let end = name.char_indices().nth(LONGEST).map_or(name.len(), |(at, _)| at);
        let name = &name[..end];
        if self.all.len() >= MOST && !self.all.contains_key(name) {
            return;
        }
        if !self.met.contains(name) {
            self.met.insert(name.to_owned());
        }
        if let Some(worker) = self.all.get_mut(name) {
            (worker.without, worker.agrees) = (0, Some(agrees));
        } else {
            let worker = Worker { since: self.row, without: 0, agrees: Some(agrees) };
            self.all.insert(name.to_owned(), worker);
        }
    }

    /// Returns whether any worker is known.
    pub(super) fn are_known(&self) -> bool {
        !self.all.is_empty()
    }

    /// How many agree.
    pub(super) fn agreeing(&self) -> usize {
        self.all.values().filter(|worker| worker.agrees == Some(true)).count()
    }

    /// How many are known, whether they have answered in this proof or not.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Returns whether the last answer of any of them disagreed.
    pub(super) fn disagree(&self) -> bool {
        self.all.values().any(|worker| worker.agrees == Some(false))
    }

    /// The workers that have not agreed.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.all.iter().filter(|(_, worker)| worker.agrees != Some(true));
        missing.map(|(name, _)| name.as_str())
    }
}

/// Programs that are built on nginx and have their own version numbers, from which nginx's version is not known.
const BUILT_ON_NGINX: [&str; 3] = ["tengine", "kong", "apisix"];

/// Whether a server with this `Server` header shares connections evenly. `None` if it is not known to be built on
/// nginx.
///
/// nginx does so since 1.21.6 (its change log: workers that use `EPOLLEXCLUSIVE`), and `OpenResty` according to the
/// version of nginx with which its own version begins. A server without a version (`server_tokens off`) can be an
/// old one.
fn shares_evenly(server: &str) -> Option<bool> {
    let (name, version) = server.split_once('/').unwrap_or((server, ""));
    if BUILT_ON_NGINX.iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Some(false);
    }
    if !name.eq_ignore_ascii_case("nginx") && !name.eq_ignore_ascii_case("openresty") {
        return None;
    }
    let mut numbers = version.split_whitespace().next().unwrap_or_default().split('.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    Some([number().unwrap_or(0), number().unwrap_or(0), number().unwrap_or(0)] >= EVEN_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a complete row in which these workers answer.
    fn row(workers: &mut Workers, given: Option<u32>, names: &[&str]) {
        for name in names {
            workers.see(name, true);
        }
        workers.end_row(given);
    }

    fn known(workers: &Workers) -> Vec<&str> {
        workers.all.keys().map(String::as_str).collect()
    }

    /// The workers with which the next proof begins.
    fn next(workers: &Workers) -> Workers {
        let mut roster = Roster::default();
        roster.absorb(&Roster::default(), workers, &Roster::default());
        Workers::of(&roster)
    }

    #[test]
    fn stopped_worker_does_not_count_as_replaced() {
        for given in [Some(4), None] {
            let mut workers = Workers::default();
            row(&mut workers, given, &["1", "2", "3", "4"]);
            let mut workers = next(&workers);
            for _ in 0..100 {
                row(&mut workers, given, &["1", "2", "3"]);
            }
            assert_eq!(known(&workers), ["1", "2", "3", "4"], "{given:?}");
            assert_eq!(workers.missing().collect::<Vec<_>>(), ["4"]);
        }
    }

    #[test]
    fn worker_is_forgotten_after_its_replacement_answers() {
        for given in [Some(4), None] {
            let mut workers = Workers::default();
            row(&mut workers, given, &["1", "2", "3", "4"]);
            row(&mut workers, given, &["1", "2", "3", "5"]);
            assert_eq!(known(&workers).len(), 5, "one row may have missed it");
            row(&mut workers, given, &["1", "2", "3", "5"]);
            assert_eq!(known(&workers), ["1", "2", "3", "5"], "{given:?}");
            let mut workers = next(&workers);
            // A reload in the middle of a row.
            row(&mut workers, given, &["1", "2", "6", "7"]);
            for _ in 0..2 {
                row(&mut workers, given, &["6", "7", "8", "9"]);
            }
            assert_eq!(known(&workers), ["6", "7", "8", "9"], "{given:?}");
        }
        // A reload that leaves fewer workers than there were.
        let mut workers = Workers::default();
        row(&mut workers, None, &["1", "2", "3", "4"]);
        for _ in 0..2 {
            row(&mut workers, None, &["5", "6"]);
        }
        assert_eq!(known(&workers), ["5", "6"]);
    }

    #[test]
    fn rows_that_were_not_complete_show_nothing() {
        let mut workers = Workers::default();
        row(&mut workers, Some(2), &["1", "2"]);
        for _ in 0..9 {
            workers.see("1", true);
            workers.next_row();
        }
        assert_eq!(known(&workers), ["1", "2"]);
    }

    #[test]
    fn parallel_proofs_keep_each_others_workers() {
        let mut roster = Roster::default();
        let before = roster.clone();
        let [mut one, mut other] = [Workers::of(&before), Workers::of(&before)];
        row(&mut one, Some(2), &["1", "2"]);
        row(&mut other, Some(2), &["3"]);
        roster.absorb(&before, &one, &before);
        let doubted = Roster { late: true, even: Some(true), ..before.clone() };
        roster.absorb(&before, &other, &doubted);
        assert_eq!(roster.names.len(), 3);
        assert!(roster.is_doubted() && roster.is_even());
        // A proof that has seen a replacement removes the worker.
        let before = roster.clone();
        let mut workers = Workers::of(&before);
        for _ in 0..2 {
            row(&mut workers, Some(2), &["4", "5"]);
        }
        roster.absorb(&before, &workers, &before);
        assert_eq!(roster.names, ["4", "5"].map(str::to_owned).into());
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let mut workers = Workers::default();
        for number in 0..100_000 {
            workers.see(&format!("{number}{}", "x".repeat(1000)), true);
        }
        assert_eq!(workers.all.len(), MOST);
        assert!(workers.all.keys().all(|name| name.chars().count() <= LONGEST));
    }

    #[test]
    fn server_header_shows_how_connections_are_shared() {
        for (server, even) in [
            ("nginx/1.14.2", Some(false)),
            ("nginx/1.21.5", Some(false)),
            ("nginx/1.21.6", Some(true)),
            ("nginx/1.22.1 (Debian)", Some(true)),
            ("openresty/1.21.4.1", Some(false)),
            ("openresty/1.25.3.1", Some(true)),
            ("nginx", Some(false)),
            ("nginx/unknown", Some(false)),
            ("Tengine/2.3.3", Some(false)),
            ("kong/2.8.1", Some(false)),
            ("APISIX/2.15.0", Some(false)),
            ("Apache/2.4.1", None),
        ] {
            assert_eq!(shares_evenly(server), even, "{server}");
        }
    }
}
