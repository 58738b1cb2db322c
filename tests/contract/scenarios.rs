//! The contract that every kind of gateway must satisfy.

use rollgate::mark::Mark;
use rollgate::registry::Error;
use rollgate::world::World;
use tokio::time::Instant;

use super::stage::{Ailment, Stage};

/// Passes the name of every scenario to a macro.
macro_rules! for_each_scenario {
    ($play:ident) => {
        $play! {
            node_marked_down_is_confirmed_out_and_others_stay,
            node_marked_up_is_confirmed_in,
            requests_in_flight_are_counted_until_the_last,
            stale_worker_prevents_confirmation,
            confirmation_waits_for_the_last_worker,
            restart_during_drain_is_detected_and_corrected,
            node_listed_at_another_address_is_not_out,
            last_routed_node_is_recognised,
            unknown_upstream_is_an_error_and_nothing_is_written,
            unreachable_gateway_confirms_nothing,
            garbage_confirms_nothing,
            truncated_answer_never_shows_another_state,
            slow_answer_confirms_nothing_and_leaves_a_write_unknown,
        }
    };
}

pub(crate) use for_each_scenario;

/// Answers that no gateway sends.
const GARBAGE: [&[u8]; 8] = [
    b"",
    b"\n",
    b"\0\xff\xfe\x1b[2J",
    b"<html><body><h1>404 Not Found</h1></body></html>",
    b"null",
    b"0",
    b"{}",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
];

pub(crate) async fn node_marked_down_is_confirmed_out_and_others_stay<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    stage.turn(0, true).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    stage.confirm(0, false).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let seen = stage.observe().await.expect("readable");
    assert!(seen.is_out(stage.address(0)), "{name}: {seen:?}");
    assert!(!seen.routes_somewhere_to(stage.address(0)), "{name}: {seen:?}");
    for other in [1, 2] {
        assert!(seen.routes_to(stage.address(other)), "{name}: {seen:?}");
    }
    if let Some(marked) = stage.marked(0).await {
        assert_eq!(marked, Ok(Mark::Down), "{name}");
        // A step may run twice; the second time it has nothing to write.
        let writes = stage.hands.writes();
        stage.turn(0, true).await.expect("set");
        assert_eq!(stage.hands.writes(), writes, "{name}: written again");
    }
}

pub(crate) async fn node_marked_up_is_confirmed_in<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    stage.turn(0, true).await.expect("set");
    stage.confirm(0, false).await.expect("out");
    stage.turn(0, false).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    stage.confirm(0, true).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let seen = stage.observe().await.expect("readable");
    assert_eq!(seen.serving(), 3, "{name}: {seen:?}");
}

pub(crate) async fn requests_in_flight_are_counted_until_the_last<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    if !stage.hands.hold(2) {
        if !stage.hands.forgets_the_busy() {
            stage.in_flight(0).await.expect_err("it does not count");
        }
        return;
    }
    assert_eq!(stage.in_flight(0).await, Ok(2), "{name}");
    stage.turn(0, true).await.expect("set");
    assert_eq!(stage.in_flight(0).await, Ok(2), "{name}: marked down, and still busy");
    assert!(stage.hands.hold(0));
    assert_eq!(stage.in_flight(0).await, Ok(0), "{name}");
}

pub(crate) async fn stale_worker_prevents_confirmation<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    if stage.hands.stick() {
        // A gateway that reports its own lag refuses the write; others are detected by reads.
        if stage.turn(0, true).await.is_ok() {
            let proof = stage.try_to_confirm(0, false).await;
            proof.map(|proof| panic!("{name}: {proof:?}")).unwrap_err();
        }
    }
}

pub(crate) async fn confirmation_waits_for_the_last_worker<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    for down in [true, false] {
        let told = Instant::now();
        stage.turn(0, down).await.expect("set");
        stage.confirm_since(0, !down, told).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(told.elapsed() >= stage.hands.lag(), "{name}: after {:?}", told.elapsed());
    }
}

pub(crate) async fn restart_during_drain_is_detected_and_corrected<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    stage.turn(0, true).await.expect("set");
    stage.confirm(0, false).await.expect("out");
    if stage.hands.restart() {
        match stage.observe().await {
            Ok(seen) => assert!(seen.routes_somewhere_to(stage.address(0)), "{name}: {seen:?}"),
            Err(problem) => assert!(stage.hands.has_lost_its_list(), "{name}: {problem}"),
        }
        if let Some(marked) = stage.marked(0).await {
            assert_eq!(marked, Ok(Mark::Up), "{name}");
        }
        stage.turn(0, true).await.expect("set again");
    }
    stage.confirm(0, false).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// A typing error in the playbook, or another spelling at the gateway: the node still gets requests.
pub(crate) async fn node_listed_at_another_address_is_not_out<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    if let Some(absent) = stage.absent(0).await {
        assert_eq!(absent, Ok(None), "{name}: listed");
        if stage.hands.respell()
            && let Some(Ok(absent)) = stage.absent(0).await
        {
            let absent = absent.unwrap_or_else(|| panic!("{name}: counts as out"));
            assert!(absent.contains("19009"), "{name}: {absent}");
        }
    }
}

/// No gateway refuses to remove the last node: the release has to know that it is the last.
pub(crate) async fn last_routed_node_is_recognised<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    for (node, left) in [(1, 2), (2, 1)] {
        stage.turn(node, true).await.expect("set");
        stage.confirm(node, false).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let seen = stage.observe().await.expect("readable");
        assert_eq!(seen.serving(), left, "{name}: {seen:?}");
    }
}

pub(crate) async fn unknown_upstream_is_an_error_and_nothing_is_written<W: World>(
    stage: &Stage<W>,
) {
    let name = stage.hands.name();
    if stage.hands.befall(Ailment::Unknown) {
        if stage.hands.tells_the_unknown() {
            confirms_nothing(stage).await;
        } else {
            let seen = stage.observe().await.expect("readable");
            assert!(seen.routed.is_empty(), "{name}: {seen:?}");
            confirms_neither(stage).await;
        }
        assert_eq!(stage.hands.writes(), 0, "{name}");
    }
}

pub(crate) async fn unreachable_gateway_confirms_nothing<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    if stage.is_switched() {
        let gone = || assert!(stage.hands.befall(Ailment::Unreachable), "{name}");
        let error = stage.turn_after(0, true, gone).await.expect_err("the gateway is gone");
        // Where a write may have happened, the state is read again.
        assert!(!matches!(error, Error::Gone(_)), "{name}: {error:?}");
        assert_eq!(stage.hands.writes(), 0, "{name}");
    } else {
        assert!(stage.hands.befall(Ailment::Unreachable), "{name}");
    }
    confirms_nothing(stage).await;
}

pub(crate) async fn garbage_confirms_nothing<W: World>(stage: &Stage<W>) {
    for garbage in GARBAGE {
        if !stage.hands.befall(Ailment::Garbage(garbage.to_vec())) {
            return;
        }
        confirms_nothing(stage).await;
    }
}

pub(crate) async fn truncated_answer_never_shows_another_state<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    stage.turn(1, true).await.expect("set");
    stage.confirm(1, false).await.expect("out");
    let whole = stage.observe().await.expect("readable");
    for length in (0..4000).step_by(13) {
        if !stage.hands.befall(Ailment::Cut(length)) {
            return;
        }
        let (seen, marked) = (stage.observe().await, stage.marked(0).await);
        // A longer part of the answer must not show less.
        let all = seen.is_ok() && marked.as_ref().is_none_or(Result::is_ok);
        if let Ok(seen) = seen {
            assert_eq!(seen, whole, "{name}: cut after {length} bytes");
        }
        if let Some(Ok(marked)) = marked {
            assert_eq!(marked, Mark::Up, "{name}: cut after {length} bytes");
        }
        if all {
            return;
        }
    }
}

pub(crate) async fn slow_answer_confirms_nothing_and_leaves_a_write_unknown<W: World>(
    stage: &Stage<W>,
) {
    let name = stage.hands.name();
    if stage.is_switched() && stage.hands.befall(Ailment::Swallowing) {
        let error = stage.turn(0, true).await.expect_err("it never answered");
        assert!(matches!(error, Error::Unknown(_)), "{name}: {error:?}");
        assert_eq!(stage.hands.writes(), 1, "{name}: done, and not answered");
    }
    assert!(stage.hands.befall(Ailment::Silent), "{name}");
    if stage.is_switched() {
        let writes = stage.hands.writes();
        let error = stage.turn(1, true).await.expect_err("it never answered");
        assert!(!matches!(error, Error::Gone(_)), "{name}: {error:?}");
        assert_eq!(stage.hands.writes(), writes, "{name}: what cannot be read is not written");
    }
    confirms_nothing(stage).await;
}

/// Asserts that no state and no mark is confirmed.
async fn confirms_nothing<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    let error = stage.observe().await.expect_err("nothing can be seen");
    assert!(!error.is_empty() && !error.contains(char::is_control), "{name}: {error:?}");
    confirms_neither(stage).await;
    if let Some(marked) = stage.marked(0).await {
        let error = marked.expect_err("nothing can be seen").to_string();
        assert!(!error.contains(char::is_control), "{name}: {error:?}");
    }
}

/// Asserts that neither state is confirmed.
async fn confirms_neither<W: World>(stage: &Stage<W>) {
    let name = stage.hands.name();
    let (out, back) = tokio::join!(stage.try_to_confirm(0, false), stage.try_to_confirm(0, true));
    for proof in [out, back] {
        proof.map(|proof| panic!("{name}: {proof:?}")).unwrap_err();
    }
}
