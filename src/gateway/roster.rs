//! What is known of a gateway's workers, over all proofs of a release: which of them answered, and whether the gateway has
//! ever shown something that a proof had ruled out.
//!
//! A worker that follows the registry no more still answers with its old list, and routes by it. So a worker that was once
//! met counts until it agrees or was seen to be replaced:
//!
//! * where the playbook says how many workers there are, a worker is replaced once as many others have answered in each of
//!   two rows without it;
//! * elsewhere, once each of two rows without it has at least as many new workers as are missing, or new ones only: a reload
//!   replaces all of them, a crash replaces one. A worker that is stopped by a signal has no replacement.
//!
//! Pure: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

/// A gateway that names more workers than this makes up names.
const MOST: usize = 1024;

/// The longest name of a worker that is kept, in characters.
const LONGEST: usize = 64;

/// How many complete rows without a worker show that it was replaced.
const ROWS_WITHOUT: u32 = 2;

/// The first version of nginx whose workers share new connections evenly.
const EVEN_SINCE: [u32; 3] = [1, 21, 6];

/// What is known of a gateway between two proofs.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// The workers that were met and not seen to be replaced.
    names: BTreeSet<String>,
    /// Some answer was of the time before, although the lag was over.
    late: bool,
    /// What a proof had ruled out was seen all the same.
    contradicted: bool,
    /// Whether the gateway shares new connections evenly among its workers, once it is known for nginx.
    even: Option<bool>,
}

impl Roster {
    /// Learns from a reply's `Server` header how the gateway shares connections among its workers.
    pub(super) fn learn(&mut self, server: Option<&str>) {
        if let Some(even) = server.and_then(shares_evenly) {
            self.even = Some(even);
        }
    }

    /// Notes that an answer was of the time before, although the lag was over.
    pub(super) fn be_late(&mut self) {
        self.late = true;
    }

    /// Notes that something was seen that a proof had ruled out: no later proof may rest on less than that one did.
    pub(super) fn contradict(&mut self) {
        self.contradicted = true;
    }

    /// Returns whether a proof was contradicted: one answer, or one name, tells nothing any more.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.contradicted
    }

    /// Returns whether the gateway was late or contradicted a proof: a row must then be so much longer that trying again and
    /// again finds none by chance.
    pub(super) fn is_doubted(&self) -> bool {
        self.late || self.contradicted
    }

    /// Returns whether the gateway is known to share connections evenly among its workers.
    pub(super) fn is_even(&self) -> bool {
        self.even == Some(true)
    }

    /// Returns whether the gateway may give nearly every connection that is made alone to the same worker.
    pub(super) fn favours(&self) -> bool {
        self.even == Some(false)
    }

    /// Returns whether any reply has named its worker.
    pub(super) fn is_named(&self) -> bool {
        !self.names.is_empty()
    }

    /// Takes in what a proof has learned that began with `before`; other proofs may have ended meanwhile.
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

/// The workers of a gateway within one proof.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    all: BTreeMap<String, Worker>,
    /// The number of the current row, from 1.
    row: u64,
    /// The workers that answered in it.
    met: BTreeSet<String>,
}

/// A worker that was met.
#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    /// The row in which it answered first; 0 for one that an earlier proof has met.
    since: u64,
    /// Complete rows in a row without it, in which others had its place.
    without: u32,
    /// Whether its last answer agreed; nothing before it has answered.
    agrees: Option<bool>,
}

impl Workers {
    /// Those that are known from earlier proofs; none has answered yet.
    pub(super) fn of(roster: &Roster) -> Self {
        let known = roster.names.iter().map(|name| (name.clone(), Worker::default()));
        Self { all: known.collect(), row: 1, met: BTreeSet::new() }
    }

    /// Begins another row; the last one was not complete.
    pub(super) fn next_row(&mut self) {
        self.row += 1;
        self.met.clear();
    }

    /// Ends a row in which every connection was asked; `given` is how many workers the playbook says there are.
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

    /// Takes in the answer of a worker.
    pub(super) fn see(&mut self, name: &str, agrees: bool) {
        let name: String = name.chars().take(LONGEST).collect();
        if self.all.len() >= MOST && !self.all.contains_key(&name) {
            return;
        }
        self.met.insert(name.clone());
        let unknown = Worker { since: self.row, ..Worker::default() };
        let worker = self.all.entry(name).or_insert(unknown);
        (worker.without, worker.agrees) = (0, Some(agrees));
    }

    /// Returns whether there are any.
    pub(super) fn are_known(&self) -> bool {
        !self.all.is_empty()
    }

    /// How many agree.
    pub(super) fn agreeing(&self) -> usize {
        self.all.values().filter(|worker| worker.agrees == Some(true)).count()
    }

    /// How many there are, whether they have answered in this proof or not.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Returns whether the last answer of one of them disagreed.
    pub(super) fn disagree(&self) -> bool {
        self.all.values().any(|worker| worker.agrees == Some(false))
    }

    /// Those that have not agreed.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.all.iter().filter(|(_, worker)| worker.agrees != Some(true));
        missing.map(|(name, _)| name.as_str())
    }
}

/// What is built on nginx and has version numbers of its own, which do not tell that of nginx.
const BUILT_ON_NGINX: [&str; 3] = ["tengine", "kong", "apisix"];

/// Whether a server that says this of itself shares connections evenly; nothing where it is not known to be built on nginx.
///
/// nginx does since 1.21.6 (its change log: workers that use `EPOLLEXCLUSIVE`), and `OpenResty` by the version of nginx that its
/// own begins with. One that tells no version (`server_tokens off`) may be an old one.
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

    /// What the next proof begins with.
    fn next(workers: &Workers) -> Workers {
        let mut roster = Roster::default();
        roster.absorb(&Roster::default(), workers, &Roster::default());
        Workers::of(&roster)
    }

    #[test]
    fn a_stopped_worker_is_not_taken_for_a_replaced_one() {
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
    fn a_worker_is_forgotten_once_another_one_has_its_place() {
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
    fn proofs_at_the_same_time_forget_no_worker_of_each_other() {
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
        // A proof that has seen a worker replaced takes it off.
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
    fn the_server_header_tells_how_connections_are_shared() {
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
