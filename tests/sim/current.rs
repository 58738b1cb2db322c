//! A playbook that is corrected while a release waits for its resume or its rollback.

use crate::attempt::Act;
use crate::operator::Task;
use crate::reports::plain;
use crate::scene::{Scene, printed, typed};
use crate::schedule::Kill;
use crate::shape::Shape;
use crate::story::{run, scratch};

/// A release that fails at its first node, because the playbook's `stop` is wrong.
fn failed() -> Scene {
    let wrong = plain(|schedule| schedule.shape.stop = "svc stpo");
    Scene::new("corrected", wrong).untyped().then(Task::Deploy)
}

fn corrected(scene: Scene) -> Scene {
    scene.edit("corrected", |shape| shape.stop = "svc stop")
}

const RESUME: &str = "rollgate resume app.yaml --use-current";

const ROLLBACK: &str = "rollgate rollback app.yaml --use-current";

const DIFFERS: &str = "differs from the playbook in the journal of r1:\n  \
                       stop: \"svc stpo\" in the journal, \"svc stop\" in the file\n";

#[test]
fn resume_follows_the_journal_and_says_so_unless_the_file_is_wanted() {
    let text = corrected(failed()).then(Task::Resume).act(typed(RESUME)).then(Task::Resume);
    let text = text.end();
    let printed = printed(&text);
    assert!(printed[1].contains(DIFFERS), "{}", printed[1]);
    let hint = "The journal's playbook is used. To use the file: rollgate resume app.yaml r1 --use-current\n";
    let (notice, asked) = (printed[1].find(hint), printed[1].find("[y/N]"));
    assert!(notice.is_some() && notice < asked, "{}", printed[1]);
    assert!(printed[1].contains("FAILED") && printed[1].contains("sh: not found"), "{text}");
    let retry = "after a fix, retry node-1 and continue with the changed file  \
                 rollgate resume app.yaml r1 --use-current\n";
    assert!(printed[1].contains(retry), "{}", printed[1]);
    assert!(printed[2].contains(DIFFERS) && printed[2].contains("The file is used from now on."));
    assert!(printed[2].contains("DONE"), "{text}");
    assert!(printed[3].contains("Nothing to do"), "{text}");
}

#[test]
fn status_suggests_the_changed_file_only_where_the_release_can_continue_with_it() {
    let text = corrected(failed()).then(Task::Status).end();
    let command = "rollgate resume app.yaml r1 --use-current\n";
    assert!(printed(&text)[1].contains(command), "{}", printed(&text)[1]);
    let text = failed().edit("a node more", |shape| shape.nodes = 4).then(Task::Status).end();
    let told = printed(&text)[1];
    assert!(told.contains("rollgate resume app.yaml r1\n"), "{told}");
}

/// The file of the other machine is not corrected; Consul's replica has the new playbook.
#[test]
fn later_resume_on_another_machine_follows_the_new_playbook() {
    for event in [1, 5, 20, 60] {
        let kill = Some(Kill::AfterEvent(event));
        let scene = corrected(failed()).act(Act { kill, ..typed(RESUME) });
        let scene = scene.edit("the other machine", |shape| shape.stop = "svc stpo");
        let text = scene.act(Act::new(Task::Resume, 1)).end();
        let last = *printed(&text).last().expect("a command");
        if event > 1 {
            let told = "stop: \"svc stop\" in the journal, \"svc stpo\" in the file";
            assert!(last.contains(told) && last.contains("DONE"), "{event}: {text}");
        }
    }
}

/// The first suggestion after a correction, typed as it is printed.
#[test]
fn rollback_is_suggested_with_the_changed_file() {
    let status = corrected(failed()).then(Task::Status).end();
    let told = printed(&status)[1];
    let rollback = "return node-1 to version 1 with the changed file: \
                    rollgate rollback app.yaml r1 --use-current\n";
    assert!(told.contains(rollback), "{told}");
    let typed_as = "rollgate rollback app.yaml r1 --use-current";
    let text = corrected(failed()).act(typed(typed_as)).end();
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains("DONE"), "{text}");
    let text = corrected(failed()).then(Task::Rollback).end();
    let last = *printed(&text).last().expect("a command");
    let finish = "after a fix, finish the rollback with the changed file  rollgate resume app.yaml r2 --use-current\n";
    assert!(last.contains("FAILED") && last.replace("       ", "").contains(finish), "{last}");
}

#[test]
fn rollback_follows_the_file_only_if_it_is_wanted() {
    let broken = || {
        let broken = plain(|schedule| schedule.bad = vec![(1, crate::process::Start::Never)]);
        let scene = Scene::new("rollback", broken).untyped().then(Task::Deploy);
        scene.edit("`stop` is changed", |shape| shape.stop = "svc stpo")
    };
    let text = broken().then(Task::Rollback).end();
    assert!(printed(&text)[1].contains("The journal's playbook is used."), "{text}");
    assert!(printed(&text)[1].contains("DONE"), "{text}");
    let text = broken().act(typed(ROLLBACK)).end();
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains("The file is used from now on.") && last.contains("FAILED"), "{text}");
    // The rollback's own journal has that playbook.
    let text = broken().act(typed(ROLLBACK)).then(Task::Resume).end();
    let last = *printed(&text).last().expect("a command");
    assert!(!last.contains("differs") && last.contains("FAILED"), "{text}");
}

#[test]
fn file_with_other_nodes_is_refused_for_the_same_release() {
    let scene = corrected(failed()).edit("a node more", |shape| shape.nodes = 4);
    let text = scene.act(typed(RESUME)).then(Task::Resume).end();
    let printed = printed(&text);
    let why =
        "error: release r1 cannot continue with app.yaml: nodes.node-4: not set in the journal, ";
    assert!(printed[1].contains(why), "{}", printed[1]);
    let hint = "hint: nothing was changed; run it without --use-current, or `deploy` again";
    assert!(printed[1].contains(hint), "{}", printed[1]);
    let because = "The release cannot continue with the file, because `nodes.node-4` differs.";
    assert!(printed[2].contains(because), "{}", printed[2]);
}

/// The process that runs was started by the steps of the journal.
#[test]
fn node_begins_again_only_if_its_steps_have_changed() {
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let kill = Some(Kill::AfterEvent(whole.events_until("node-1 health: StepStarted")));
    let asked = |with: fn(&mut Shape)| {
        let killed = Scene::new("killed", plain(|_| {})).untyped();
        let killed = killed.act(Act { kill, ..Act::new(Task::Deploy, 0) });
        killed.edit("edited", with).act(typed(RESUME)).end()
    };
    let text = asked(|shape| shape.rise = 3);
    assert!(text.contains("node-1 from its health check, then 2 more nodes?"), "{text}");
    let text = asked(|shape| shape.stop = "svc note");
    assert!(text.contains("node-1 from its first step, then 2 more nodes?"), "{text}");
}
