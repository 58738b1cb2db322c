//! `status`: shows the current state of each node, the last release, the lock, and the next command.
//!
//! It changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::caller::unless_stopped;
use super::counts::{Counts, counts};
use super::history::History;
use super::lock_state::LockState;
use super::look::look_within;
use super::{Caller, Connections, Refusal, Session, history};
use crate::plan::LastLook;
use crate::release::{CommandKind, NodeState, Outcome, Phase, Release, Started, Step};
use crate::spec::{NodeSpec, Spec};
use crate::suggestions::{self, Inspection, Situation};
use crate::survey::{Fleet, NodeFacts, PATIENCE};
use crate::world::World;

/// How long each part of a repeated look may take. What does not answer is shown as unknown until the next one.
const ROUND: Duration = Duration::from_secs(10);

/// The content of `status`.
#[derive(Debug)]
pub struct Status {
    /// When the inspection began.
    pub begun: Timestamp,
    /// The state of all systems.
    pub fleet: Fleet,
    /// Past releases.
    pub history: History,
    /// The lock.
    pub lock: LockState,
    /// The requests in flight at each node that could be asked, or why they are not counted.
    pub requests: Counts,
    /// A release is in progress and runs the playbook's file as it is now, which has the limits of its steps.
    pub knows_limits: bool,
}

/// A node that a running release works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Its step; none between two steps.
    pub step: Option<Step>,
    /// When the step began.
    pub since: Option<Timestamp>,
    /// When the step gives up, after its begin, if that is known.
    pub limit: Option<Duration>,
    /// It returns to the version before.
    pub goes_back: bool,
}

/// What a monitoring system needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every node is healthy and in rotation, none is held, and all run one version.
    AsItShouldBe,
    /// A node is out of rotation, held or unhealthy, nodes run different versions, or a release was interrupted.
    Deviates,
    /// A release runs.
    UnderWay,
    /// The registry, a gateway or the lock cannot be read.
    Unknown,
}

/// Reads everything that `status` shows.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn status<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
) -> Result<Status, Refusal> {
    read(session, connections, caller, spec, (PATIENCE, None)).await
}

/// The same again, after an earlier read: with less patience, and without the journals that cannot have changed.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn status_again<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
    before: Option<Status>,
) -> Result<Status, Refusal> {
    let history = before.map(|before| before.history);
    read(session, connections, caller, spec, (ROUND, history)).await
}

async fn read<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
    (patience, before): (Duration, Option<History>),
) -> Result<Status, Refusal> {
    let begun = connections.world.now();
    let fleet = look_within(session, connections, caller, spec, patience).await?;
    let reachable = fleet.registry_problem.is_none();
    let history = async {
        match before {
            Some(before) => before.read_again(session, connections, reachable).await,
            None => History::read(session, connections, reachable).await,
        }
    };
    let both = async { tokio::join!(history, counts(&connections.world, spec, &fleet)) };
    let (history, requests) = unless_stopped(caller, history::JOURNALS, both).await?;
    let lock = LockState::read(session, connections, caller, reachable).await?;
    let mut status = Status { begun, fleet, history, lock, requests, knows_limits: false };
    let running = status.running();
    status.knows_limits = running.is_some_and(|(_, started)| session.is_file_of(started));
    Ok(status)
}

impl Status {
    /// Returns the last release, and its first record.
    #[must_use]
    pub fn last(&self) -> Option<(&Release, &Started)> {
        let release = self.history.releases.first()?;
        Some((release, release.started.as_ref()?))
    }

    /// Returns the last release and its first record if a process runs it, or may run it.
    #[must_use]
    pub fn running(&self) -> Option<(&Release, &Started)> {
        self.last().filter(|(release, started)| {
            let runs = || self.lock.runs(started.inputs.release());
            release.finished.is_none() && runs() == Some(true)
        })
    }

    /// Returns what a running release does with a node, if it works on it.
    #[must_use]
    pub fn under_way(&self, spec: &Spec, name: &str) -> Option<UnderWay> {
        let (release, _) = self.running()?;
        let state = release.nodes.get(name).filter(|state| state.phase == Phase::Taken)?;
        let node = spec.node(name).filter(|_| self.knows_limits);
        let limit = node.zip(state.step).and_then(|(node, step)| spec.limit(node, step));
        let (step, since) = (state.step, state.since);
        Some(UnderWay { step, since, limit, goes_back: state.goes_back() })
    }

    /// Returns the newest release by a command of this kind, and its first record.
    fn newest(&self, is: impl Fn(CommandKind) -> bool) -> Option<(&Release, &Started)> {
        let releases = self.history.releases.iter();
        let mut started = releases.filter_map(|old| Some((old, old.started.as_ref()?)));
        started.find(|(_, started)| is(started.command))
    }

    /// Returns the last release, without changes by hand, and its first record.
    #[must_use]
    pub fn last_release(&self) -> Option<(&Release, &Started)> {
        self.newest(CommandKind::is_release)
    }

    /// Returns the newest `deploy` if it is not done, a later `rollback` has returned some of its nodes, and others
    /// are still as the `deploy` has left them.
    #[must_use]
    pub fn unfinished(&self) -> Option<(&Release, &Started)> {
        let (later, _) = self.last_release()?;
        let (deploy, started) = self.newest(|command| command == CommandKind::Deploy)?;
        let is_whole = |release: &Release| {
            release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done)
        };
        let changed = |node: &NodeState| {
            matches!(node.phase, Phase::Done | Phase::Failed | Phase::Interrupted | Phase::Taken)
        };
        let is_last = |name: &str| {
            self.history.of(name).is_some_and(|(newest, _)| std::ptr::eq(newest, deploy))
        };
        let mut left = deploy.nodes.iter().filter(|(name, node)| changed(node) && is_last(name));
        let is_left = !std::ptr::eq(later, deploy) && is_whole(later) && left.next().is_some();
        (is_left && !is_whole(deploy)).then_some((deploy, started))
    }

    /// Returns the nodes that releases after this one have changed.
    fn changed_after(&self, release: &Release) -> Vec<&str> {
        let releases = self.history.releases.iter();
        let later = releases.take_while(|later| !std::ptr::eq(*later, release)).filter(|later| {
            later.started.as_ref().is_some_and(|started| started.command.is_release())
        });
        let nodes = later.flat_map(Release::in_order);
        nodes.filter(|(_, node)| node.is_changed()).map(|(name, _)| name).collect()
    }

    /// Returns the state as a monitoring system sees it.
    #[must_use]
    pub fn level(&self, spec: &Spec) -> Level {
        let look = LastLook { spec, fleet: &self.fleet, released: None };
        if !look.is_complete() || matches!(self.lock, LockState::Unknown(_)) {
            return Level::Unknown;
        }
        if self.running().is_some() {
            return Level::UnderWay;
        }
        let serves = |node: &NodeSpec| {
            let routed = self.fleet.is_routed(&node.address);
            // Releases leave a held node out, also if another program marked it up.
            let is_held =
                self.fleet.nodes.get(&node.name).is_some_and(|facts| facts.held.is_some());
            !is_held && routed && look.is_healthy(&node.name) && !look.is_down(&node.name)
        };
        let versions: BTreeSet<_> = self.fleet.nodes.values().map(NodeFacts::version).collect();
        let is_interrupted = self.last().is_some_and(|(release, _)| release.finished.is_none());
        let all_serve = spec.nodes.iter().all(|node| serves(node));
        if all_serve && versions.len() <= 1 && !is_interrupted {
            Level::AsItShouldBe
        } else {
            Level::Deviates
        }
    }

    /// Updates nodes that a `deploy` has finished, and that are out of rotation and do not serve.
    fn update_lost(
        &self,
        session: &Session,
        look: &LastLook<'_>,
        spec: &Spec,
    ) -> Option<(String, String)> {
        let is_lost = |name: &str| look.is_down(name) && !look.is_healthy(name);
        let done = |name| {
            let (release, state) = self.history.of(name).filter(|_| is_lost(name))?;
            let started = release.started.as_ref()?;
            let is_done = started.command == CommandKind::Deploy && state.phase == Phase::Done;
            is_done.then_some((name, started))
        };
        let lost: Vec<_> = spec.nodes.iter().filter_map(|node| done(node.name.as_str())).collect();
        let (_, started) = lost.first()?;
        let same = lost.iter().filter(|(_, other)| std::ptr::eq(*other, *started));
        let names: Vec<_> = same.map(|(name, _)| *name).collect();
        suggestions::update(&names, started.to.as_deref(), &session.repeated_of(started))
    }

    /// Returns the next commands and their purposes. They are made anew and not read from the journal. A journal may
    /// come from another machine, and an operator runs these commands.
    #[must_use]
    pub fn next(&self, session: &Session, spec: &Spec) -> Vec<(String, String)> {
        // A release changes the nodes now: another command would only wait for its lock.
        if self.running().is_some() {
            return Vec::new();
        }
        let look = LastLook { spec, fleet: &self.fleet, released: None };
        let nodes = spec.nodes.iter().map(|node| node.name.as_str());
        let serves = |name: &&str| look.is_down(name) && look.is_healthy(name);
        let also_out: Vec<_> = nodes.filter(serves).collect();
        let commands = |(release, started): (&Release, &Started), is_superseded| {
            let outcome = match release.finished.as_ref().map(|finished| finished.result) {
                // No release holds the lock now.
                None | Some(Outcome::LockLost) => Outcome::Stopped,
                Some(outcome) => outcome,
            };
            let repeated = session.repeated_of(started);
            let situation = Situation::new(release, outcome, &repeated);
            let released = session
                .with_file(started)
                .and_then(|same| same.spec().map_err(|refusal| refusal.reason));
            let look = LastLook { released: released.as_deref().ok(), ..look };
            let (seen, also_out): (Option<&dyn Inspection>, _) = (Some(&look), &also_out[..]);
            let changed_later =
                if is_superseded { self.changed_after(release) } else { Vec::new() };
            let changed_later = &changed_later[..];
            Situation { is_superseded, changed_later, seen, also_out, ..situation }.commands()
        };
        let by_hand = self.last().filter(|(_, started)| started.command.is_by_hand());
        let mut next = by_hand.map_or_else(Vec::new, |last| commands(last, false));
        let unfinished = self.unfinished();
        let release = unfinished.or_else(|| self.last_release());
        next.extend(release.map_or_else(Vec::new, |it| commands(it, unfinished.is_some())));
        next.extend(suggestions::node_in(&also_out, &session.repeated(false)));
        if next.is_empty() {
            next.extend(suggestions::restart(&look.dead(), &session.repeated(false)));
        }
        if next.is_empty() {
            next.extend(self.update_lost(session, &look, spec));
        }
        // This is the command that already runs.
        let status = session.command("status");
        let mut known = BTreeSet::from([status]);
        next.retain(|(_, command)| known.insert(command.clone()));
        next.truncate(suggestions::MOST);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Observation;
    use crate::mark::Mark;
    use crate::ops::Secrets;
    use crate::playbook::load_text;
    use crate::release::{Hold, Inputs, NodeState, Phase};
    use crate::survey::HeldFacts;

    const PLAYBOOK: &str = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";

    #[test]
    fn held_node_deviates_wherever_it_is_marked() {
        let loaded = load_text("app.yaml", PLAYBOOK).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        let mut view = Observation::default();
        view.routed.extend(spec.nodes.iter().map(|node| (node.address.clone(), true)));
        let up = NodeFacts { mark: Mark::Up, ..NodeFacts::default() };
        let nodes = ["a", "b"].map(|name| (name.to_owned(), up.clone())).into();
        let gateways = vec![("edge".to_owned(), Ok(view))];
        let mut status = Status {
            begun: Timestamp::UNIX_EPOCH,
            fleet: Fleet { nodes, gateways, ..Fleet::default() },
            history: History { releases: Vec::new(), problems: Vec::new() },
            lock: LockState::Free,
            requests: Counts::new(),
            knows_limits: false,
        };
        assert_eq!(status.level(&spec), Level::AsItShouldBe);
        let by_hand =
            Hold { by: "me".into(), since: jiff::Timestamp::UNIX_EPOCH, reason: String::new() };
        let facts_held = HeldFacts { hold: by_hand, told: "by me for 1h".into() };
        for mark in [Mark::Up, Mark::Down] {
            let facts = NodeFacts { mark, held: Some(facts_held.clone()), ..NodeFacts::default() };
            status.fleet.nodes.insert("b".into(), facts);
            assert_eq!(status.level(&spec), Level::Deviates, "{mark:?}");
        }
    }

    #[test]
    fn every_node_that_is_out_and_healthy_is_in_one_suggestion() {
        let loaded = load_text("app.yaml", PLAYBOOK).unwrap_or_else(|invalid| panic!("{invalid}"));
        let session = Session {
            loaded,
            file: "app.yaml".into(),
            inputs: Inputs::default(),
            state: "state".into(),
            state_dir: None,
            before: Vec::new(),
            toward: Vec::new(),
            restart: false,
            secrets: Secrets::default(),
        };
        let started = serde_json::json!({
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml", "playbook": null,
            "nodes": [{ "node": "a", "will": "update" }],
            "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
        });
        let failed = NodeState { phase: Phase::Failed, marked: Mark::Down, ..NodeState::default() };
        let finished = serde_json::json!({
            "result": Outcome::Failed, "exit_code": 20, "nodes": {}, "next": [], "elapsed_ms": 1,
        });
        let release = Release {
            started: Some(serde_json::from_value(started).expect("a start")),
            nodes: [("a".to_owned(), failed)].into(),
            finished: Some(serde_json::from_value(finished).expect("an end")),
            ..Release::default()
        };
        let down = || NodeFacts { mark: Mark::Down, ..NodeFacts::default() };
        let nodes = ["a", "b"].map(|name| (name.to_owned(), down())).into();
        let status = Status {
            begun: Timestamp::UNIX_EPOCH,
            fleet: Fleet { nodes, ..Fleet::default() },
            history: History { releases: vec![release], problems: Vec::new() },
            lock: LockState::Free,
            requests: Counts::new(),
            knows_limits: false,
        };
        let spec = session.spec().unwrap_or_else(|refusal| panic!("{}", refusal.reason));
        let next = status.next(&session, &spec);
        let commands: Vec<_> = next.iter().map(|(_, command)| command.as_str()).collect();
        let expected = ["resume app.yaml r1", "node in app.yaml a b"];
        assert_eq!(commands, expected.map(|command| format!("rollgate {command}")));
    }
}
