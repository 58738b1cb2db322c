//! Blocking queries: their answers come at their end, or soon after a change. Nothing looks at them in between.

use super::{Call, Happening, State};
use crate::faults::Fate;

/// How soon a blocking query is answered after a change, at most.
const BLOCKED: u64 = 25;

/// How often the caller of a blocking query looks at the world, at least.
const LOOKS: u64 = 200;

/// What the answer to a blocking query depends on: Consul's index and number of keys, whether it has a leader, and
/// which nodes serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watched {
    index: u64,
    keys: usize,
    electing: bool,
    serving: u64,
}

impl State {
    /// A blocking query has nothing new to tell until then, unless something changes.
    pub(super) fn block(&mut self, id: u64, call: &mut Call, until: u64) {
        call.since.get_or_insert(self.clock);
        if !call.abandoned {
            let until = until.max(self.clock + 1);
            call.woken.get_or_insert_default();
            // It is looked at again at the end of its time, once.
            if call.looked_again <= self.clock || until < call.looked_again {
                call.looked_again = until;
                self.after(until - self.clock, Happening::Arrives(id));
            }
            call.next = until;
            if self.blocked.is_empty() {
                self.watched = self.watch_now();
            }
            if !self.blocked.contains(&id) {
                self.blocked.push(id);
            }
        }
    }

    /// When the caller of a blocking query looks at the world again.
    pub(super) fn looks_again(&self, call: &Call) -> u64 {
        let next = call.next.min(self.next_change()).min(self.clock + LOOKS);
        next.max(self.clock + 1)
    }

    /// Looks at the blocking queries again if something has changed.
    pub(super) fn wake_blocked(&mut self) {
        if self.blocked.is_empty() {
            return;
        }
        let watched = self.watch_now();
        if watched == std::mem::replace(&mut self.watched, watched) {
            return;
        }
        for id in std::mem::take(&mut self.blocked) {
            let delay = self.rng.u64(1..=BLOCKED);
            if let Some(call) = self.calls.get_mut(&id) {
                call.next = self.clock + delay;
                if let Some(woken) = &call.woken {
                    woken.notify_one();
                }
                self.after(delay, Happening::Arrives(id));
            }
        }
    }

    fn watch_now(&self) -> Watched {
        let store = &self.consul.store;
        let serving = self.nodes.iter().map(|node| u64::from(node.serves()));
        Watched {
            index: store.index,
            keys: store.keys.len(),
            electing: self.clock < self.consul.election_until,
            serving: serving.fold(0, |all, serves| (all << 1) | serves),
        }
    }

    /// When something happens next that may change what the caller of a blocking query waits for.
    fn next_change(&self) -> u64 {
        let changes = self.queue.iter().find(|(_, happening)| match happening {
            Happening::Follows { .. } | Happening::Checks { .. } => false,
            // Otherwise its caller looks at the world then.
            Happening::Arrives(id) => {
                let call = self.calls.get(id);
                call.is_some_and(|call| call.abandoned || matches!(call.fate, Fate::Late(_)))
            }
            Happening::Ready { .. }
            | Happening::Exits { .. }
            | Happening::Spawns { .. }
            | Happening::Strikes(_) => true,
        });
        changes.map_or(u64::MAX, |((at, _), _)| *at)
    }
}
