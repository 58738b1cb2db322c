//! Checks that each rule detects its violation: a test drives the world wrongly by hand and expects the rule by name.

use std::future::Future;
use std::time::Duration;

use rollgate::mark::Mark;
use rollgate::node::NodeScript;
use rollgate::release::{NodeState, Outcome, Release, Stopped};
use rollgate::world::{Channel, Command, Host, Method, Reply, Request, World};

use crate::attempt::End;
use crate::ends::judge;
use crate::faults::Fault;
use crate::invariants::Rule;
use crate::schedule::{OWN_PREFIX, PREFIX, Schedule};
use crate::sim::Sim;

/// Runs something over the plain world.
pub(crate) fn drive<F: Future<Output = ()>>(work: impl FnOnce(std::sync::Arc<Sim>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { work(std::sync::Arc::new(Sim::new(&Schedule::plain(), true))).await });
}

/// Sends a request to Consul.
pub(crate) async fn consul(sim: &Sim, method: Method, path: &str, body: &str) -> Reply {
    let url = format!("http://consul-1:8500{path}");
    let body = Some(body.as_bytes().to_vec()).filter(|body| !body.is_empty());
    let timeout = Duration::from_secs(60);
    let channel = Channel::Consul;
    let request = Request { method, body, channel, ..Request::get(url, timeout) };
    sim.http(request).await.expect("an answer")
}

async fn mark(sim: &Sim, node: usize, down: u8) {
    let path = format!("/v1/kv/{PREFIX}10.0.1.{node}:9000");
    consul(sim, Method::Put, &path, &format!("{{\"down\":{down}}}")).await;
}

async fn command(sim: &Sim, node: usize, text: &str) {
    let script = NodeScript::User { command: text.into() };
    let command = Command::new(script, Duration::from_secs(20), false);
    let output = sim.run(&Host::Ssh(format!("node-{node}")), command).await;
    assert!(output.expect("it runs").success());
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn broken(sim: &Sim) -> Vec<Rule> {
    let mut rules: Vec<Rule> =
        sim.look(|state| state.watch.violations.iter().map(|violation| violation.rule).collect());
    rules.dedup();
    rules
}

/// Reports a release in which nothing was done to a node.
fn untouched(node: &str) -> Release {
    Release { nodes: [(node.to_owned(), NodeState::default())].into(), ..Release::default() }
}

#[test]
fn rule_detects_stop_of_a_routed_node_and_its_lost_requests() {
    drive(async |sim| {
        pass(2).await;
        assert_eq!(broken(&sim), []);
        command(&sim, 1, "svc stop").await;
        pass(2).await;
        let rules = [Rule::StoppedWhileRouted, Rule::StoppedWhileUp, Rule::RequestLost];
        assert_eq!(broken(&sim), rules);
    });
}

#[test]
fn rule_allows_stop_only_when_no_worker_routes_to_the_node() {
    drive(async |sim| {
        pass(2).await;
        sim.look(|state| state.strike(&Fault::Stuck { gateway: 1, worker: 1, lasts: 30_000 }));
        mark(&sim, 1, 1).await;
        pass(20).await;
        command(&sim, 1, "svc stop").await;
        assert_eq!(broken(&sim)[..1], [Rule::StoppedWhileRouted]);
    });
    drive(async |sim| {
        mark(&sim, 1, 1).await;
        pass(20).await;
        command(&sim, 1, "svc stop").await;
        pass(5).await;
        assert_eq!(broken(&sim), []);
    });
}

#[test]
fn rule_detects_stop_of_a_node_that_one_registry_marks_up() {
    drive(async |sim| {
        sim.look(|state| {
            state.gateways[1].prefix = OWN_PREFIX;
            // Its workers do not follow that mark.
            for worker in 0..2 {
                state.strike(&Fault::Stuck { gateway: 1, worker, lasts: 60_000 });
                state.gateways[1].workers[worker].up[0] = false;
            }
            for node in 1..=3 {
                state.consul.store.set(&format!("{OWN_PREFIX}10.0.1.{node}:9000"), b"{}", 0);
            }
        });
        mark(&sim, 1, 1).await;
        pass(20).await;
        command(&sim, 1, "svc stop").await;
        assert_eq!(broken(&sim), [Rule::StoppedWhileUp]);
    });
}

#[test]
fn rule_detects_too_few_routed_nodes() {
    drive(async |sim| {
        // Reads every gateway, as a release does before each removal.
        pass(2).await;
        mark(&sim, 1, 1).await;
        pass(5).await;
        assert_eq!(broken(&sim), []);
        mark(&sim, 2, 1).await;
        assert_eq!(broken(&sim), [Rule::TooFewRouted]);
    });
}

#[test]
fn rule_detects_enable_without_a_healthy_process() {
    drive(async |sim| {
        mark(&sim, 1, 1).await;
        pass(5).await;
        command(&sim, 1, "svc stop").await;
        mark(&sim, 1, 0).await;
        assert_eq!(broken(&sim), [Rule::EnabledUnproven]);
        pass(5).await;
        assert_eq!(broken(&sim), [Rule::EnabledUnproven, Rule::RequestLost]);
    });
    // It serves again, with the version that it had before.
    drive(async |sim| {
        mark(&sim, 1, 1).await;
        pass(5).await;
        command(&sim, 1, "svc restart").await;
        pass(5).await;
        mark(&sim, 1, 0).await;
        assert_eq!(broken(&sim), [Rule::EnabledUnproven]);
    });
}

#[test]
fn rule_detects_enable_before_min_healthy() {
    drive(async |sim| {
        sim.look(|state| state.watch.min_healthy = 20_000);
        mark(&sim, 1, 1).await;
        pass(5).await;
        sim.look(|state| state.nodes[0].current = "app-2-x".into());
        command(&sim, 1, "svc restart").await;
        pass(5).await;
        mark(&sim, 1, 0).await;
        assert_eq!(broken(&sim), [Rule::EnabledUnproven]);
    });
}

#[test]
fn rule_detects_stop_while_a_done_node_is_dead() {
    for (dies, expected) in [(false, &[][..]), (true, &[Rule::FailureSpreads])] {
        drive(async |sim| {
            mark(&sim, 1, 1).await;
            pass(5).await;
            sim.look(|state| state.nodes[0].current = "app-2-x".into());
            command(&sim, 1, "svc restart").await;
            pass(5).await;
            mark(&sim, 1, 0).await;
            pass(5).await;
            if dies {
                sim.look(|state| state.strike(&Fault::Crash(0)));
            }
            mark(&sim, 2, 1).await;
            pass(11).await;
            command(&sim, 2, "svc stop").await;
            assert_eq!(broken(&sim), expected);
        });
    }
}

#[test]
fn rule_detects_unreported_cut_requests() {
    drive(async |sim| {
        sim.look(|state| (state.clients.slow_of, state.clients.slowest) = (1, 30_000));
        pass(5).await;
        mark(&sim, 1, 1).await;
        pass(3).await;
        command(&sim, 1, "svc stop").await;
        let mut told = untouched("node-1");
        let node = told.nodes.get_mut("node-1").expect("the node");
        (node.marked, node.stopped) = (Mark::Down, Stopped::Yes);
        sim.look(|state| state.check_told(&told, None, false));
        assert_eq!(broken(&sim), [Rule::CutUntold]);
    });
}

#[test]
fn rule_detects_wrongly_reported_state() {
    drive(async |sim| {
        sim.look(|state| state.check_told(&untouched("node-1"), Some(0), false));
        assert_eq!(broken(&sim), []);
        mark(&sim, 1, 1).await;
        sim.look(|state| state.check_told(&untouched("node-1"), Some(0), false));
        assert_eq!(broken(&sim), [Rule::StateUntrue]);
    });
    drive(async |sim| {
        let mut unknown = untouched("node-1");
        unknown.nodes.get_mut("node-1").expect("the node").writing = Some(Mark::Up);
        sim.look(|state| state.check_told(&unknown, Some(22), false));
        assert_eq!(broken(&sim), []);
        sim.look(|state| state.check_told(&unknown, Some(20), false));
        assert_eq!(broken(&sim), [Rule::StateUntrue]);
    });
}

#[test]
fn rule_detects_journal_that_restores_another_release() {
    drive(async |sim| {
        let empty = tempfile::NamedTempFile::new().expect("a file");
        sim.look(|state| state.check_journal(empty.path(), &Release::default()));
        assert_eq!(broken(&sim), []);
        sim.look(|state| state.check_journal(empty.path(), &untouched("node-1")));
        assert_eq!(broken(&sim), [Rule::JournalUntrue]);
    });
}

#[test]
fn rule_detects_registry_write_without_the_lock() {
    drive(async |sim| {
        sim.look(|state| state.watch.lock = Some(|key| key == "rollgate/app/lock"));
        let created = consul(&sim, Method::Put, "/v1/session/create", r#"{"TTL":"15s"}"#)
            .await
            .text()
            .into_owned();
        let session = created.split('"').nth(3).expect("an id").to_owned();
        let lock = format!("/v1/kv/rollgate/app/lock?acquire={session}");
        assert_eq!(consul(&sim, Method::Put, &lock, "me").await.text(), "true");
        let write = |session: &str| {
            format!(
                r#"[{{"KV":{{"Verb":"check-session","Key":"rollgate/app/lock","Session":"{session}"}}}},
                {{"KV":{{"Verb":"set","Key":"{PREFIX}10.0.1.1:9000","Value":"eyJ3ZWlnaHQiOjEsIm1heF9mYWlscyI6MiwiZG93biI6MH0="}}}}]"#
            )
        };
        assert_eq!(consul(&sim, Method::Put, "/v1/txn", &write(&session)).await.status, 200);
        assert_eq!(consul(&sim, Method::Put, "/v1/txn", &write("other")).await.status, 409);
        assert_eq!(broken(&sim), []);
        mark(&sim, 1, 0).await;
        assert_eq!(broken(&sim), [Rule::WrittenWithoutLock, Rule::ForeignChangeLost]);
    });
}

#[test]
fn rule_detects_late_wrong_or_missing_end() {
    let done = End::Finished(Outcome::Done, 0);
    drive(async |sim| {
        let plain = Schedule::plain();
        sim.look(|state| {
            state.stopped_at = Some(1_000);
            judge(state, &plain, &done, None, None, 6_000);
            assert!(state.watch.violations.is_empty());
            judge(state, &plain, &done, None, None, 6_001);
        });
        assert_eq!(broken(&sim), [Rule::StoppedLate]);
    });
    // An operator that is suspended when the signal comes has the same time from its wake-up on.
    drive(async |sim| {
        let plain = Schedule::plain();
        sim.look(|state| {
            state.stopped_at = Some(1_000);
            state.fence.slept(0, 500, 3_000);
            judge(state, &plain, &done, None, None, 8_000);
        });
        assert_eq!(broken(&sim), []);
        sim.look(|state| judge(state, &plain, &done, None, None, 8_001));
        assert_eq!(broken(&sim), [Rule::StoppedLate]);
    });
    drive(async |sim| {
        sim.look(|state| judge(state, &Schedule::plain(), &End::Hangs, None, None, 0));
        assert_eq!(broken(&sim), [Rule::NeverEnds, Rule::NotDone]);
    });
}
