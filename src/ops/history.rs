//! The last releases of a service, as `status` shows them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::alike;
use super::caller::Wait;
use super::connections::PATIENCE;
use super::{Connections, Session};
use crate::journal::history as journals;
use crate::plan::RollbackPlan;
use crate::playbook::Node;
use crate::registry::is_down;
use crate::release::{NodeState, Phase, Release, RotationState};
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::world::World;

/// The name of the wait while the journal of a release is read.
pub(super) const JOURNAL: Wait<'_> =
    Wait { what: "reading the release's journal", at_most: journals::TIME_FOR_ONE };

/// The name of the wait while past journals are read.
pub(super) const JOURNALS: Wait<'_> =
    Wait { what: "reading the journals of past releases", at_most: journals::TIME };

/// The name of the wait while every past journal is read.
pub(super) const PAST: Wait<'_> = Wait { at_most: journals::TIME_FOR_ONE, ..JOURNALS };

/// The number of releases that are read.
const RELEASES: usize = 20;

/// The last releases, `node out` and `node in` included.
#[derive(Debug, Default)]
pub struct History {
    /// The releases, newest first.
    pub releases: Vec<Release>,
    /// Why other releases cannot be read.
    pub problems: Vec<String>,
}

impl History {
    /// Reads the journals in a service's state folder and in Consul.
    ///
    /// If Consul is known to be unreachable, it is asked only once, and the failure to list releases is not reported
    /// again.
    pub async fn read<W: World>(
        session: &Session,
        connections: &Connections<W>,
        reachable: bool,
    ) -> Self {
        Self::read_last(session, connections, reachable, RELEASES).await
    }

    /// The same after an earlier read: as long as no newer release has begun, only the newest is read again.
    pub(super) async fn read_again<W: World>(
        self,
        session: &Session,
        connections: &Connections<W>,
        reachable: bool,
    ) -> Self {
        let mut newest = Self::read_last(session, connections, reachable, 1).await;
        let id = |release: &Release| Some(release.started.as_ref()?.inputs.release().to_owned());
        let is_newest = |known: &Release| newest.releases.first().and_then(id) == id(known);
        if self.releases.first().is_some_and(is_newest) {
            newest.releases.extend(self.releases.into_iter().skip(1));
            newest
        } else if newest.releases.is_empty() || !newest.problems.is_empty() || !reachable {
            // What is not listed now may be there still.
            Self { problems: newest.problems, ..self }
        } else {
            Self::read(session, connections, reachable).await
        }
    }

    async fn read_last<W: World>(
        session: &Session,
        connections: &Connections<W>,
        reachable: bool,
        most: usize,
    ) -> Self {
        let service = session.service();
        let patience = if reachable { PATIENCE } else { Duration::ZERO };
        let client = connections.shared_in_passing(patience);
        let nodes = session.loaded.playbook.nodes.iter().map(Node::display_name).collect();
        let recent = journals::recent(&session.state, client.as_ref(), service, most, &nodes).await;
        let unlisted = recent.unread.unlisted.filter(|_| reachable);
        let problems = recent.unread.problems.into_iter().chain(unlisted).collect();
        Self { releases: recent.releases, problems }
    }

    /// Finds the newest release that wrote any state of a node. If that release removed the node from rotation, returns
    /// the servers outside the playbook that gateways listed then.
    #[must_use]
    pub fn took_out(&self, node: &str) -> Option<BTreeSet<String>> {
        let states = self.releases.iter().filter_map(|release| release.nodes.get(node));
        let mut written = states.filter(|state| state.rotation_state() != RotationState::Untouched);
        written.next().and_then(NodeState::taken_out)
    }

    /// Returns the value of a node's key before the newest release that changed it.
    #[must_use]
    pub fn value_before(&self, node: &str, key: &str) -> Option<String> {
        let states = self.releases.iter().filter_map(|release| release.nodes.get(node));
        let mut values = states.filter_map(|state| state.original_of(key));
        // A value that cannot be changed is no use.
        values.find(|value| is_down(value.as_bytes()).is_ok()).map(str::to_owned)
    }

    /// Returns the newest release that changed a node, and the node's state in it.
    ///
    /// A release that did not reach the node counts only if no problem remains from an earlier release.
    #[must_use]
    pub fn of(&self, node: &str) -> Option<(&Release, &NodeState)> {
        let parts =
            || self.releases.iter().filter_map(|release| Some((release, release.nodes.get(node)?)));
        let left_out = |state: &NodeState| state.phase == Phase::LeftOut;
        let newest = parts().find(|(_, state)| !left_out(state)).or_else(|| parts().next())?;
        if newest.1.phase != Phase::Waiting {
            return Some(newest);
        }
        let before = parts()
            .find(|(_, state)| !left_out(state) && state.phase != Phase::Waiting)
            .filter(|(_, state)| {
                matches!(
                    state.rotation_state(),
                    RotationState::Out | RotationState::Enabled | RotationState::Unknown
                )
            });
        Some(before.unwrap_or(newest))
    }
}

/// Consults the journals about nodes that a gateway does not list, and about keys that Consul does not have. A node that
/// rollgate removed from rotation counts as out.
pub async fn consult<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Spec,
    fleet: &mut Fleet,
) {
    if fleet.lacks_any() || fleet.lacks_keys() {
        let history = History::read(session, connections, true).await;
        fleet.take_for_out(|node| history.took_out(node));
        fleet.restore_keys(|node, key| {
            (history.value_before(node, key), history.took_out(node).is_some())
        });
        alike::find(connections, spec, fleet).await;
    }
}

/// Reads how the last releases began.
pub(super) async fn past<W: World>(
    session: &Session,
    connections: &Connections<W>,
) -> journals::Beginnings {
    let client = connections.shared_in_passing(PATIENCE);
    journals::beginnings(&session.state, client.as_ref(), session.service(), RELEASES).await
}

/// Finds which version each node runs, and how it can be restored.
pub async fn way_back<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Spec,
    fleet: &Fleet,
) -> RollbackPlan {
    let playbook = &session.loaded.playbook;
    let past = past(session, connections).await;
    let mut way =
        RollbackPlan::find(spec, playbook, fleet, &past.started.iter().collect::<Vec<_>>());
    if let Some(missing) = past.missing {
        way.unknown.iter_mut().for_each(|(_, why)| *why += &format!(" ({missing})"));
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Mark;
    use crate::release::EntryBefore;

    fn release(batch: usize, nodes: &[(&str, Phase, Mark)]) -> Release {
        let state = |phase, marked| NodeState { phase, marked, ..NodeState::default() };
        let nodes = nodes.iter().map(|(name, phase, mark)| ((*name).into(), state(*phase, *mark)));
        Release { batch, nodes: nodes.collect(), ..Release::default() }
    }

    #[test]
    fn a_node_is_told_by_the_newest_release_in_which_it_took_part() {
        let (out, up, none) = (Mark::Down, Mark::Up, Mark::Unknown);
        let history = History {
            releases: vec![
                release(4, &[("a", Phase::Done, out)]),
                release(3, &[("b", Phase::Waiting, none), ("c", Phase::Waiting, none)]),
                release(2, &[("b", Phase::LeftOut, none), ("d", Phase::LeftOut, none)]),
                release(1, &[("a", Phase::Failed, out), ("b", Phase::Failed, out)]),
                release(0, &[("c", Phase::Done, up), ("b", Phase::Done, up)]),
            ],
            problems: Vec::new(),
        };
        let of = |node| history.of(node).map(|(release, state)| (release.batch, state.phase));
        assert_eq!(of("a"), Some((4, Phase::Done)), "the newest");
        assert_eq!(of("b"), Some((1, Phase::Failed)), "what is left of an earlier failure");
        assert_eq!(of("c"), Some((3, Phase::Waiting)), "nothing is left");
        assert_eq!(of("d"), Some((2, Phase::LeftOut)), "nothing else is known");
        assert_eq!(of("e"), None);
    }

    #[test]
    fn missing_key_gets_no_value_of_another_key_or_another_kind_of_registry() {
        let value = r#"{"weight":5,"down":0}"#;
        let recorded = |key: &str, value: &str| {
            let before = EntryBefore { key: key.into(), original: value.into(), modify_index: 1 };
            let state = NodeState { entries: vec![before], ..NodeState::default() };
            Release { nodes: [("a".to_owned(), state)].into(), ..Release::default() }
        };
        let (key, typo) = ("upstreams/app/10.0.1.1:80", "upstreams/ap/10.0.1.1:80");
        let releases = vec![recorded("10.0.1.1:80 at edge", "edge up"), recorded(key, value)];
        let history = History { releases, problems: Vec::new() };
        assert_eq!(history.value_before("a", key).as_deref(), Some(value));
        assert_eq!(history.value_before("a", typo), None);
    }

    /// A gateway does not list a node that is out. A gateway also does not list a node that has another name there.
    #[test]
    fn a_node_was_taken_out_if_the_newest_release_that_wrote_of_it_left_it_so() {
        let (out, up, none) = (Mark::Down, Mark::Up, Mark::Unknown);
        let history = History {
            releases: vec![
                release(3, &[("a", Phase::Blocked, none), ("b", Phase::LeftOut, none)]),
                release(2, &[("a", Phase::Failed, out), ("b", Phase::Done, up)]),
                release(1, &[("a", Phase::Done, up), ("b", Phase::Failed, out)]),
            ],
            problems: Vec::new(),
        };
        assert!(history.took_out("a").is_some(), "what did not write of it says nothing");
        assert!(history.took_out("b").is_none(), "it was brought back");
        assert!(history.took_out("c").is_none(), "no journal knows it");
    }
}
