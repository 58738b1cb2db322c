//! A running confirmation: the looks of a round that it uses, and its missing evidence.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::look::Look;
use crate::gateway::proof::{Method, Proof, Verdict};
use crate::gateway::view::View;
use crate::text::{self, duration};

/// The pause after a look that showed a worker that is behind. It grows up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two looks of a running confirmation.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Why a row does not reach every worker.
pub(super) const ALONE: &str = "its connections do not stay open together (https, or `keepalive_timeout 0`): an nginx before 1.21.6, \
     or of an unknown version, can then give all of them to one worker";

/// Which looks of a round an attempt uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// None, or no more.
    None,
    /// The first one: the row is too short for this attempt.
    One,
    /// Every look, until it has seen enough.
    All,
}

/// A running confirmation.
pub(super) struct Attempt {
    pub(super) proof: Proof,
    /// The gateway's name.
    pub(super) gateway: String,
    pub(super) address: String,
    pub(super) routed: bool,
    /// What the gateway should follow, for messages.
    pub(super) follows: Option<Arc<str>>,
    /// A worker has shown the change.
    has_followed: bool,
    pub(super) nodes: Arc<[String]>,
    /// When the registry accepted the write that is to be confirmed.
    pub(super) written: Instant,
    /// The last look could not be read.
    pub(super) unreadable: bool,
    /// The last problem.
    pub(super) trouble: Option<String>,
    /// How many nodes get requests according to the last reply.
    pub(super) serving: usize,
    /// The last view, if it shows the state that is to be confirmed.
    agreeing: Option<Arc<View>>,
    /// The method of the confirmation that was reached.
    pub(super) proven: Option<Method>,
    /// The current state, to be reported.
    pub(super) news: Option<String>,
    /// When the next look is due.
    pub(super) due: Instant,
    pause: Duration,
    pub(super) part: Part,
    /// How many connections it needed when the round began. `None` if it takes no part.
    joined: Option<usize>,
    /// The time from the write to the beginning of the round.
    since: Duration,
    /// How long the gateway may take to follow, or its own delay if that is longer: for messages.
    pub(super) delay: Duration,
}

impl Attempt {
    pub(super) fn new(
        proof: Proof,
        gateway: &str,
        address: &str,
        routed: bool,
        nodes: Arc<[String]>,
        written: Instant,
    ) -> Self {
        let rule = proof.rule();
        Self {
            delay: rule.lag.max(rule.apply_delay),
            proof,
            gateway: gateway.to_owned(),
            address: address.to_owned(),
            routed,
            follows: None,
            has_followed: false,
            nodes,
            written,
            unreadable: true,
            trouble: None,
            serving: 0,
            agreeing: None,
            proven: None,
            news: None,
            due: Instant::now(),
            pause: PAUSE,
            part: Part::None,
            joined: None,
            since: Duration::ZERO,
        }
    }

    /// How many connections must be held at once now.
    pub(super) fn wanted(&self, now: Instant) -> usize {
        self.proof.connections(now.duration_since(self.written))
    }

    /// A round with this many connections begins.
    pub(super) fn begin(&mut self, begun: Instant, connections: usize) {
        if self.joined.take().is_some() {
            // The last round was interrupted.
            self.proof.end_row(false);
        }
        self.since = begun.duration_since(self.written);
        let wanted = self.wanted(begun);
        self.part = if self.proven.is_some() || connections < wanted || begun < self.written {
            Part::None
        } else if connections > 1 && connections < self.proof.row_needed() {
            Part::One
        } else {
            Part::All
        };
        if self.part != Part::None {
            self.joined = Some(if self.part == Part::One { 1 } else { connections });
        }
    }

    /// Processes a look.
    pub(super) fn take(&mut self, look: &Result<Look, String>) {
        self.weigh_look(look);
        if self.part == Part::One || self.proof.verdict() != Verdict::Open {
            self.part = Part::None;
        }
    }

    /// The round has ended. `whole`: every connection was asked.
    pub(super) fn end_round(&mut self, whole: bool) {
        let Some(joined) = self.joined.take() else { return };
        let is_row = joined > 1;
        // An attempt that has seen enough before the end has not seen the whole row.
        self.proof.end_row(is_row && whole && self.part == Part::All);
        self.part = Part::None;
        if is_row && self.proof.is_beyond_reach() {
            self.trouble = Some(ALONE.into());
        }
        let verdict = self.proof.verdict();
        let now = Instant::now();
        let trouble = self.trouble.as_deref().filter(|_| verdict == Verdict::Disagrees);
        match verdict {
            Verdict::Proven(method) => {
                self.proven = Some(method);
                return;
            }
            // The first worker agrees: the row follows at once.
            Verdict::Open if !is_row && self.wanted(now) > 1 => {
                self.due = now;
                return;
            }
            Verdict::Disagrees | Verdict::Open => self.news = Some(self.standing(trouble)),
        }
        // While a worker is behind, or only time is missing, fast polling does not help.
        self.due = now + self.pause;
        // A row that did not complete the confirmation is not repeated at full speed either.
        let in_vain = self.proof.row() == 0 || is_row;
        self.pause = if in_vain { (self.pause * 3 / 2).min(LONGEST_PAUSE) } else { PAUSE };
    }

    /// Why nothing is confirmed yet, as text.
    pub(super) fn standing(&self, trouble: Option<&str>) -> String {
        self.progress(trouble) + &self.doubt().unwrap_or_default()
    }

    /// Why the gateway may not follow the registry at all: it had the time to follow, and shows no change.
    fn doubt(&self) -> Option<String> {
        let registry = self.follows.as_ref()?;
        let is_due = self.since > self.delay && !self.unreadable;
        (is_due && !self.routed && !self.has_followed).then(|| {
            let gateway = &self.gateway;
            format!(
                "; {gateway} has not changed in any way since the write: does it follow {registry}?"
            )
        })
    }

    fn progress(&self, trouble: Option<&str>) -> String {
        let (proof, gateway) = (&self.proof, &self.gateway);
        let progress = match (proof.rule().workers, proof.workers()) {
            (Some(all), (agreeing, seen)) if seen > 0 => {
                format!("{agreeing} of {all} workers confirmed")
            }
            _ => {
                format!("{} of {} reads in a row", proof.row().min(proof.enough()), proof.enough())
            }
        };
        let missing: Vec<_> =
            proof.missing().iter().take(4).map(|name| text::line(name, 20)).collect();
        match trouble {
            Some(trouble) => format!("{gateway}: {progress}; {trouble}"),
            None if !missing.is_empty() => {
                let missing = missing.join(", ");
                format!("{gateway}: {progress}; no answer from worker {missing}")
            }
            None if proof.row() >= proof.enough() => {
                let lag = duration(self.delay);
                format!("{gateway}: its lag is up to {lag}; {progress}")
            }
            None => format!("{gateway}: {progress}"),
        }
    }

    fn weigh_look(&mut self, look: &Result<Look, String>) {
        self.unreadable = look.is_err();
        match look {
            Err(problem) => {
                self.proof.fail();
                self.trouble = Some(problem.clone());
            }
            Ok(Look { worker, server, stays_open, view }) => {
                self.proof.learn(server.as_deref(), *stays_open);
                if self.agreeing.as_ref().is_some_and(|known| Arc::ptr_eq(known, view)) {
                    return self.proof.see(worker.as_deref(), true, self.since);
                }
                self.agreeing = None;
                if self.is_about_the_pool(view) {
                    let against = self.weigh(worker.as_deref(), view);
                    self.agreeing = against.is_none().then(|| view.clone());
                    self.trouble = against.or(self.trouble.take());
                    self.serving = self.nodes.iter().filter(|node| view.routes_to(node)).count();
                } else {
                    self.proof.fail();
                    self.trouble = Some(self.foreign(view));
                }
            }
        }
    }

    /// Says that a list has no other node, and what it has instead.
    fn foreign(&self, view: &View) -> String {
        let is_other = |address: &&str| !self.nodes.iter().any(|node| node == address);
        let strangers = view.peers.keys().map(String::as_str).filter(is_other);
        let all = strangers.clone().count() + view.others.all;
        let only = if all == 0 { "" } else { ", only " };
        let strangers = text::first_of(strangers, all);
        format!("its answer lists none of the playbook's other nodes{only}{strangers}")
    }

    /// A node that is shown to be in is in, even if no other node is left.
    fn is_about_the_pool(&self, view: &View) -> bool {
        view.shows_any(&self.nodes, &self.address) || (self.routed && view.routes_to(&self.address))
    }

    /// Adds a view to the proof. Returns what prevents the confirmation.
    fn weigh(&mut self, worker: Option<&str>, view: &View) -> Option<String> {
        let shown = if self.routed {
            view.routes_to(&self.address)
        } else {
            view.is_out(&self.address) && view.overridden.is_none()
        };
        self.has_followed |= shown;
        if let Some(why) = view.unsettled.as_ref().filter(|_| shown && !self.routed) {
            self.proof.unsettle(self.since);
            return Some(why.clone());
        }
        self.proof.see(worker, shown, self.since);
        (!shown).then(|| disagreement(&self.address, self.routed, view, worker))
    }
}

fn disagreement(address: &str, routed: bool, view: &View, worker: Option<&str>) -> String {
    if let (false, Some(why)) = (routed, &view.overridden) {
        return why.clone();
    }
    if let Some(why) = view.unread.get(address) {
        return format!("its entry of {address} cannot be read: {why}");
    }
    if let (true, Some(why)) = (routed, view.withheld.get(address)) {
        return why.clone();
    }
    let worker =
        worker.map_or("a worker".into(), |worker| format!("worker {}", text::line(worker, 20)));
    match (routed, view.peers.get(address)) {
        (false, _) => format!("{worker} still routes to {address}"),
        (true, None) => format!("{worker} does not list {address}"),
        (true, Some(peer)) if peer.up => format!("its own check holds {address} down"),
        (true, Some(_)) => format!("{worker} has {address} down"),
    }
}
