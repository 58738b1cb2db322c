//! What an operator sees in each situation, on one page: `tests/snapshots/reports.txt`.
//!
//! rollgate's own commands run in the simulated world and print by its own reporters. `UPDATE=1` writes the page.

mod afterwards;
mod beforehand;

use std::path::Path;
use std::time::Duration;

use crate::attempt::Act;
use crate::faults::{Fault, When};
use crate::gateway::Lie;
use crate::operator::Task;
use crate::process::Start;
use crate::scene::{Scene, typed};
use crate::schedule::{Kill, Meanwhile, Schedule};
use crate::story::{NEVER_ENDS, run, scratch};

/// Makes a schedule from the plain one.
pub(crate) fn plain(change: impl FnOnce(&mut Schedule)) -> Schedule {
    let mut schedule = Schedule::plain();
    change(&mut schedule);
    schedule
}

/// Adds a fault that strikes with the first event whose line in the history contains `event`.
fn with(mut schedule: Schedule, event: &str, fault: Fault) -> Schedule {
    let event = run(&schedule, scratch().path(), true).events_until(event);
    schedule.faults.push((When::Event(event), fault));
    schedule
}

/// A version that never becomes healthy on these nodes.
fn bad(schedule: &mut Schedule, nodes: &[usize]) {
    schedule.bad = nodes.iter().map(|node| (*node, Start::Never)).collect();
}

/// Another operator's command at this time.
fn meanwhile(at: u64, task: Task) -> Act {
    let rival = Meanwhile::Rival { at, waits: false, task, machine: 1, breaks: false };
    Act { meanwhile: Some(rival), ..Act::new(Task::Deploy, 0) }
}

/// The same on the same machine.
fn meanwhile_here(at: u64, task: Task) -> Act {
    let rival = Meanwhile::Rival { at, waits: false, task, machine: 0, breaks: false };
    Act { meanwhile: Some(rival), ..Act::new(Task::Deploy, 0) }
}

fn killed(event: u64) -> Act {
    Act { kill: Some(Kill::AfterEvent(event)), ..Act::new(Task::Deploy, 0) }
}

fn plans() -> Vec<String> {
    let capacity = plain(|schedule| {
        (schedule.shape.out, schedule.shape.left_out) = (vec![2], vec![2]);
    });
    let mixed = plain(|schedule| {
        schedule.shape.nodes = 5;
        (schedule.shape.done, schedule.shape.left_out) = (vec![1], vec![2]);
        schedule.shape.out = vec![4];
    });
    let lies = Fault::Lies { gateway: 1, lie: Lie::Refuses, lasts: NEVER_ENDS };
    let unreadable = plain(|schedule| schedule.faults = vec![(When::At(0), lies)]);
    let away = Fault::Unreachable { node: 1, lasts: NEVER_ENDS };
    let away = plain(|schedule| schedule.faults = vec![(When::At(0), away)]);
    vec![
        Scene::new("Plan of a release of three nodes.", plain(|_| {})).then(Task::Plan).end(),
        Scene::new(
            "Plan of a release: node-2 runs the version already, node-3 is excluded, node-5 is out.",
            mixed,
        )
        .then(Task::Plan)
        .end(),
        Scene::new("A plan file: something is changed before it runs.", plain(|_| {}))
            .then(Task::PlanOut)
            .change("another client edits the key of node-2, and the process of node-3 ends", |state| {
                state.strike(&Fault::ForeignEdit(1));
                state.strike(&Fault::Crash(2));
                state.spawn(2, false);
            })
            .then(Task::Status)
            .then(Task::DeployPlan)
            .then(Task::PlanOut)
            .then(Task::DeployPlan)
            .end(),
        Scene::new("Every node runs the version already.", plain(|schedule| {
            schedule.shape.done = vec![0, 1, 2];
        }))
        .then(Task::Plan)
        .then(Task::Deploy)
        .end(),
        Scene::new("The release would leave too few nodes in rotation.", capacity)
            .then(Task::Plan)
            .then(Task::Deploy)
            .then(Task::Doctor)
            .end(),
        Scene::new("A gateway refuses connections.", unreadable)
            .then(Task::Plan)
            .then(Task::Deploy)
            .then(Task::Doctor)
            .then(Task::Status)
            .then(Task::NodeOut(0))
            .end(),
        Scene::new("SSH login to a node is refused.", away)
            .then(Task::Plan)
            .then(Task::Deploy)
            .then(Task::Doctor)
            .then(Task::Status)
            .end(),
        Scene::new("The token may not write the keys of the upstreams.", plain(|_| {}))
            .change("the token may only read upstreams/", |state| {
                state.consul.read_only = vec!["upstreams/".into()];
            })
            .then(Task::Deploy)
            .then(Task::Doctor)
            .end(),
        Scene::new("The token may not write the lock.", plain(|_| {}))
            .change("the token may only read rollgate/", |state| {
                state.consul.read_only = vec!["rollgate/".into()];
            })
            .then(Task::Deploy)
            .then(Task::Doctor)
            .end(),
        Scene::new("Consul has no leader.", plain(|schedule| {
            schedule.faults = vec![(When::At(0), Fault::Election(NEVER_ENDS))];
        }))
        .then(Task::Deploy)
        .then(Task::Doctor)
        .then(Task::Status)
        .then(Task::ShowLock)
        .end(),
    ]
}

fn releases() -> Vec<String> {
    let fails = |on_failure: &'static str| {
        plain(|schedule| {
            schedule.shape.on_failure = on_failure;
            bad(schedule, &[1]);
        })
    };
    let slow = |on_timeout: &'static str| {
        plain(|schedule| {
            let shape = &mut schedule.shape;
            (shape.slow_of, shape.slowest, shape.drain_timeout) = (1, 60_000, 2_000);
            shape.on_timeout = on_timeout;
        })
    };
    let stuck = Fault::Stuck { gateway: 0, worker: 1, lasts: NEVER_ENDS };
    let unconfirmed = with(plain(|_| {}), "node-1 disable: StepStarted", stuck);
    let dies = with(plain(|_| {}), "node-1 stop: StepStarted", Fault::Crash(2));
    vec![
        Scene::new("A release that succeeds.", plain(|_| {}))
            .whole()
            .then(Task::Status)
            .then(Task::Doctor)
            .then(Task::ShowLock)
            .then(Task::Deploy)
            .then(Task::Status)
            .then(Task::ShowLock)
            .then(Task::BreakLock)
            .then(Task::Resume)
            .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is stop. Then a rollback.",
            fails("stop"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .then(Task::Rollback)
        .then(Task::Status)
        .end(),
        Scene::new("node-2 fails its health check; on_failure is continue.", fails("continue"))
            .then(Task::Deploy)
            .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is rollback_node.",
            fails("rollback_node"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is rollback_all.",
            fails("rollback_all"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .end(),
        Scene::new("The drain of node-1 times out; on_timeout is fail.", slow("fail"))
            .then(Task::Deploy)
            .end(),
        Scene::new("The drain of each node times out; on_timeout is proceed.", slow("proceed"))
            .then(Task::Deploy)
            .end(),
        Scene::new("node-3 ends by itself before the release reaches it.", dies)
            .then(Task::Deploy)
            .end(),
        Scene::new("A release of one node of three.", plain(|_| {}))
            .act(typed("rollgate deploy app.yaml --var version=2 --limit 1"))
            .end(),
        Scene::new("A worker of gw-1 does not stop routing to node-1.", unconfirmed)
            .then(Task::Deploy)
            .then(Task::Status)
            .end(),
    ]
}

fn interruptions() -> Vec<String> {
    let drain = "node-2 drain: StepStarted";
    let signal = with(plain(|_| {}), drain, Fault::Signal);
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let drains = whole.events_until(drain);
    let elsewhere = |task| Act::new(task, 1);
    let election = with(plain(|_| {}), drain, Fault::Election(20_000));
    let full = plain(|schedule| schedule.faults = vec![(When::At(0), Fault::DiskFull(1))]);
    vec![
        Scene::new("A signal stops the release at node-2. Then a resume.", signal)
            .then(Task::Deploy)
            .then(Task::Status)
            .then(Task::Resume)
            .end(),
        Scene::new(
            "rollgate is killed at node-2. Another machine resumes the release.",
            plain(|_| {}),
        )
        .act(killed(drains))
        .act(Act { wait: Duration::ZERO, ..Act::new(Task::Deploy, 1) })
        .then(Task::ShowLock)
        .then(Task::Status)
        .act(elsewhere(Task::Resume))
        .act(elsewhere(Task::Status))
        .end(),
        Scene::new("rollgate is killed at node-2. Then a rollback.", plain(|_| {}))
            .act(killed(drains))
            .then(Task::Rollback)
            .end(),
        Scene::new("Another program has changed node-1 before a resume.", plain(|_| {}))
            .act(killed(drains))
            .change("node-1 runs version 3 now", |state| {
                let process = state.nodes[0].process.as_mut().expect("a process");
                process.version = "3".into();
                process.pid += 1;
            })
            .then(Task::Resume)
            .end(),
        Scene::new("A rollback of a release that succeeded.", plain(|_| {}))
            .then(Task::Deploy)
            .then(Task::Rollback)
            .then(Task::Status)
            .then(Task::Rollback)
            .end(),
        Scene::new("Consul has no leader for 20 s during the drain of node-2.", election)
            .then(Task::Deploy)
            .end(),
        Scene::new("The disk of node-2 is full.", full).then(Task::Deploy).end(),
        Scene::new(
            "The playbook's `stop` is wrong. It is corrected in the file, and the release resumes twice.",
            plain(|schedule| schedule.shape.stop = "svc stpo"),
        )
        .untyped()
        .then(Task::Deploy)
        .edit("`stop` is corrected in app.yaml", |shape| shape.stop = "svc stop")
        .then(Task::Resume)
        .act(typed("rollgate resume app.yaml --use-current"))
        .end(),
        Scene::new("A node is taken out of rotation by hand, and returned.", plain(|_| {}))
            .then(Task::NodeOut(0))
            .then(Task::Status)
            .then(Task::NodeIn(0))
            .then(Task::Status)
            .end(),
        Scene::new(
            "A release leaves a held node out. A second one includes it.",
            plain(|schedule| schedule.shape.min_available = 1),
        )
        .act(typed("rollgate node out app.yaml node-3 --reason 'disk is replaced'"))
        .then(Task::Plan)
        .then(Task::Doctor)
        .then(Task::Deploy)
        .then(Task::Status)
        .act(typed("rollgate plan app.yaml --var version=2 --include-held"))
        .act(typed("rollgate deploy app.yaml --var version=2 --include-held"))
        .then(Task::Status)
        .end(),
    ]
}

/// Two operators at the same time.
fn two_operators() -> Vec<String> {
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let at = whole.moment("node-2 drain: StepStarted") + 100;
    let health = whole.moment("node-1 health: StepStarted") + 100;
    vec![
        Scene::new("Another operator looks while a release is in progress.", plain(|_| {}))
            .act(meanwhile(health, Task::Status))
            .end(),
        Scene::new(
            "Another operator runs the doctor while a release is in progress.",
            plain(|_| {}),
        )
        .act(meanwhile(health, Task::Doctor))
        .end(),
        Scene::new("Another operator deploys while a release is in progress.", plain(|_| {}))
            .act(meanwhile(health, Task::Deploy))
            .end(),
        Scene::new("The same on the machine of the release.", plain(|_| {}))
            .act(meanwhile_here(at, Task::Deploy))
            .end(),
        Scene::new("A lock is shown on the machine of its release.", plain(|_| {}))
            .act(meanwhile_here(at, Task::ShowLock))
            .end(),
        Scene::new("A lock is broken on the machine of its release.", plain(|_| {}))
            .act(meanwhile_here(at, Task::BreakLock))
            .end(),
        Scene::new(
            "Another operator breaks the lock while a release is in progress.",
            plain(|_| {}),
        )
        .whole()
        .act(meanwhile(at, Task::BreakLock))
        .then(Task::Status)
        .end(),
    ]
}

/// Situations in which the next command is not obvious.
fn what_next() -> Vec<String> {
    let many = plain(|schedule| {
        let shape = &mut schedule.shape;
        (shape.nodes, shape.batches, shape.min_available) = (10, "3".into(), 3);
        (shape.on_failure, shape.max_failures) = ("continue", 10);
        bad(schedule, &[2, 3, 4, 5, 6, 7]);
    });
    let fails = || plain(|schedule| bad(schedule, &[1]));
    let stuck = plain(|schedule| {
        schedule.shape.on_failure = "rollback_node";
        bad(schedule, &[1]);
    });
    let back = "node-2 : NodeRollingBack";
    let stuck = with(stuck, back, Fault::NextStart { node: 1, start: Start::Fails });
    let away = with(
        fails(),
        "node-2 health: NodeFailed",
        Fault::Unreachable { node: 1, lasts: NEVER_ENDS },
    );
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let stops = whole.events_until("node-2 stop: StepStarted");
    let done = whole.events_until("node-2 : NodeDone");
    let partly = "rollgate rollback app.yaml r1 --only node-2";
    vec![
        Scene::new("Six of ten nodes fail.", many).then(Task::Deploy).then(Task::Status).end(),
        Scene::new("A rollback fails, too: the old version does not start.", fails())
            .then(Task::Deploy)
            .change("the service of node-1 does not start the next time", |state| {
                state.nodes[0].next_start = Some(Start::Fails);
            })
            .then(Task::Rollback)
            .then(Task::Status)
            .end(),
        Scene::new("The rollback of a failed node fails.", stuck)
            .then(Task::Deploy)
            .then(Task::Status)
            .end(),
        Scene::new("A node fails, and then its machine cannot be reached.", away)
            .then(Task::Deploy)
            .then(Task::Status)
            .end(),
        Scene::new("Only the failed node is rolled back.", fails())
            .then(Task::Deploy)
            .act(typed(partly))
            .then(Task::Status)
            .end(),
        Scene::new("The key of node-1 is deleted by hand after a failed release.", fails())
            .then(Task::Deploy)
            .change("the key of node-1 is deleted", |state| {
                state.consul.store.keys.remove("upstreams/app/10.0.1.1:9000");
            })
            .then(Task::Plan)
            .then(Task::Status)
            .end(),
        Scene::new("A node that was taken out by hand ends.", plain(|_| {}))
            .then(Task::NodeOut(0))
            .change("the process of node-1 ends", |state| state.strike(&Fault::Crash(0)))
            .then(Task::Status)
            .end(),
        Scene::new("rollgate is killed at node-2, and status is typed at once.", plain(|_| {}))
            .soon()
            .act(killed(stops))
            .then(Task::Status)
            .then(Task::ShowLock)
            .end(),
        Scene::new(
            "rollgate is killed at node-2. Another machine looks, and deploys, after 12 s each.",
            plain(|_| {}),
        )
        .after(12_000)
        .act(killed(stops))
        .act(Act::new(Task::Status, 1))
        .act(Act { wait: Duration::ZERO, ..Act::new(Task::Deploy, 1) })
        .end(),
        Scene::new(
            "rollgate is killed between two nodes; a node is out by hand.",
            plain(|schedule| schedule.shape.min_available = 1),
        )
        .then(Task::NodeOut(2))
        .act(killed(done))
        .then(Task::Status)
        .end(),
    ]
}

#[test]
fn reports_page_shows_every_situation() {
    let mut page = String::from("What an operator sees. Written by tests/sim/reports.rs.\n");
    page += &[
        plans(),
        beforehand::scenes(),
        releases(),
        interruptions(),
        two_operators(),
        what_next(),
        afterwards::scenes(),
    ]
    .concat()
    .concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/reports.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "{}: run the test with UPDATE=1", path.display());
}
