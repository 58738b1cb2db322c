use super::*;

const LAG: Duration = Duration::from_secs(2);

fn rule(workers: Option<u32>) -> Rule {
    Rule { workers, lag: LAG, apply_delay: Duration::ZERO }
}

/// A gateway that shares its connections evenly.
fn even() -> Roster {
    let mut roster = Roster::default();
    roster.learn(Some("nginx/1.22.1"));
    roster
}

fn proof(workers: Option<u32>) -> Proof {
    Proof::new(rule(workers), even())
}

/// The next confirmation at the same gateway.
fn next(proof: &Proof) -> Proof {
    let mut roster = proof.before.clone();
    proof.teach(&mut roster);
    Proof::new(proof.rule, roster)
}

#[test]
fn reads_miss_one_stale_worker_less_than_once_in_a_thousand() {
    assert_eq!([1, 2, 4, 8, 16].map(reads_for), [1, 10, 25, 52, 108]);
    let reads = |workers, even| rule(workers).reads(even);
    assert_eq!([Some(1), Some(4), None].map(|workers| reads(workers, true)), [1, 25, 108]);
    assert_eq!(
        [Some(1), Some(4), Some(8), None].map(|workers| reads(workers, false)),
        [1, 64, 260, 216]
    );
}

/// The delay starts when the gateway shows the change, however late that is.
#[test]
fn change_must_be_shown_for_the_apply_delay() {
    let at = Duration::from_millis;
    let rule = Rule { workers: Some(1), lag: Duration::ZERO, apply_delay: at(100) };
    let mut proof = Proof::new(rule, even());
    proof.see(None, false, at(10));
    for (since, agrees, verdict) in [
        (666, true, Verdict::Open),
        (700, true, Verdict::Open),
        (720, false, Verdict::Disagrees),
        (740, true, Verdict::Open),
        (839, true, Verdict::Open),
    ] {
        proof.see(None, agrees, at(since));
        assert_eq!(proof.verdict(), verdict, "{since}");
    }
    proof.see(None, true, at(840));
    assert_eq!(proof.verdict(), Verdict::Open, "three in a row, once it was late and otherwise");
    proof.see(None, true, at(841));
    proof.see(None, true, at(842));
    assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
}

/// A gateway that is not settled yet has begun to follow all the same.
#[test]
fn apply_delay_continues_while_the_gateway_is_unsettled() {
    let rule = Rule { workers: Some(1), lag: Duration::ZERO, apply_delay: LAG };
    let mut proof = Proof::new(rule, even());
    proof.unsettle(LAG / 2);
    proof.unsettle(LAG);
    assert_eq!(proof.verdict(), Verdict::Disagrees);
    proof.see(None, true, LAG);
    assert_eq!(proof.verdict(), Verdict::Open);
    proof.see(None, true, LAG / 2 + LAG);
    assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
}

#[test]
fn one_agreeing_worker_says_nothing_about_the_others() {
    let mut proof = proof(Some(4));
    for _ in 0..24 {
        proof.see(Some("1"), true, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Open);
    }
    for worker in ["2", "3"] {
        proof.see(Some(worker), true, Duration::ZERO);
        assert_eq!(proof.verdict(), Verdict::Open);
    }
    proof.see(Some("4"), false, Duration::ZERO);
    assert_eq!(proof.verdict(), Verdict::Disagrees);
    proof.see(Some("1"), true, Duration::ZERO);
    assert_eq!(proof.verdict(), Verdict::Disagrees, "4 has not answered again");
    proof.see(Some("4"), true, Duration::ZERO);
    assert_eq!(proof.verdict(), Verdict::Proven(Method::Workers));
}

#[test]
fn nameless_replies_need_a_row_that_begins_after_the_lag() {
    let mut proof = proof(Some(4));
    for _ in 0..100 {
        proof.see(None, true, LAG / 2);
        assert_eq!(proof.verdict(), Verdict::Open);
    }
    for _ in 0..25 {
        assert_eq!(proof.verdict(), Verdict::Open);
        proof.see(None, true, LAG);
    }
    assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
    proof.fail();
    assert_eq!(proof.verdict(), Verdict::Disagrees);
    proof.see(None, true, LAG);
    assert_eq!(proof.verdict(), Verdict::Open, "the row starts anew");
}

#[test]
fn a_gateway_that_may_favour_workers_needs_more_connections() {
    for server in [None, Some("nginx"), Some("nginx/1.18.0")] {
        let mut proof = Proof::new(rule(Some(4)), Roster::default());
        proof.learn(server, true);
        for read in 0..64 {
            assert_eq!(proof.verdict(), Verdict::Open, "{server:?} {read}");
            proof.see(None, true, LAG);
        }
        assert_eq!(proof.verdict(), Verdict::Proven(Method::Samples));
    }
}

#[test]
fn closed_connections_do_not_count_at_a_gateway_that_may_favour_a_worker() {
    for (server, workers, proves) in [
        (Some("nginx/1.18.0"), 4, false),
        (Some("nginx"), 4, false),
        (Some("nginx/1.18.0"), 1, true),
        (Some("nginx/1.22.1"), 4, true),
        (Some("SimpleHTTP/0.6"), 4, true),
    ] {
        let mut proof = Proof::new(rule(Some(workers)), Roster::default());
        for _ in 0..200 {
            proof.learn(server, false);
            proof.see(None, true, LAG);
        }
        let expected = if proves { Verdict::Proven(Method::Samples) } else { Verdict::Open };
        assert_eq!((proof.verdict(), proof.is_beyond_reach()), (expected, !proves), "{server:?}");
    }
}

/// One worker of four does not follow, and a minute is enough for many rows.
#[test]
fn stuck_worker_without_a_name_is_never_missed() {
    let mut chance = fastrand::Rng::with_seed(7);
    let mut overlooked = 0;
    for _ in 0..1_000 {
        let mut proof = proof(Some(4));
        for read in 0..3_000 {
            let since = if read < 300 { Duration::ZERO } else { LAG };
            proof.see(None, chance.u8(0..4) != 0, since);
            if proof.verdict() == Verdict::Proven(Method::Samples) {
                overlooked += 1;
                break;
            }
        }
    }
    assert!(overlooked <= 3, "overlooked {overlooked} times in 1000");
}

#[test]
fn more_workers_than_the_playbook_says_must_all_agree() {
    let mut proof = proof(Some(2));
    for (worker, agrees) in [("1", true), ("2", true), ("3", false)] {
        proof.see(Some(worker), agrees, LAG);
    }
    assert_eq!(proof.verdict(), Verdict::Disagrees);
}

#[test]
fn a_worker_that_disagreed_must_agree_or_be_replaced() {
    let row = |proof: &mut Proof, names: &[&str]| {
        for _ in 0..50 {
            for name in names {
                proof.see(Some(name), true, LAG);
            }
        }
        proof.end_row(true);
        proof.verdict()
    };
    let begin = || {
        let mut proof = proof(Some(4));
        proof.see(Some("4"), false, LAG);
        proof.end_row(false);
        proof
    };
    // No number of answers from the others replaces it; not in the next proof either.
    let mut silent = begin();
    for _ in 0..100 {
        assert_eq!(row(&mut silent, &["1", "2", "3"]), Verdict::Disagrees);
    }
    let mut later = next(&silent);
    for _ in 0..100 {
        assert_eq!(row(&mut later, &["1", "2", "3"]), Verdict::Open);
    }
    assert_eq!(later.missing(), ["4"]);
    // A reload: from here on only new workers answer.
    let mut replaced = begin();
    assert_eq!(row(&mut replaced, &["5", "6", "7", "8"]), Verdict::Disagrees);
    assert_eq!(row(&mut replaced, &["5", "6", "7", "8"]), Verdict::Proven(Method::Workers));
}

#[test]
fn fewer_workers_than_in_the_playbook_confirm_nothing() {
    let mut proof = proof(Some(4));
    for read in 0..10_000 {
        proof.see(Some(["1", "2"][read % 2]), true, LAG);
        assert_eq!(proof.verdict(), Verdict::Open);
    }
}

#[test]
fn late_worker_makes_the_next_proof_longer_as_well() {
    let mut first = proof(Some(4));
    first.see(None, false, LAG);
    let mut second = next(&first);
    for _ in 0..3 * 25 {
        assert_eq!(second.verdict(), Verdict::Open);
        second.see(None, true, LAG);
    }
    assert_eq!(second.verdict(), Verdict::Proven(Method::Samples));
}

/// Two gateways behind one address. Each says that it has one worker.
#[test]
fn one_answer_or_name_is_not_enough_after_a_contradiction() {
    for name in [None, Some("1")] {
        let mut first = proof(Some(1));
        first.see(name, true, LAG);
        assert!(matches!(first.verdict(), Verdict::Proven(_)), "{name:?}");
        let mut roster = Roster::default();
        first.teach(&mut roster);
        roster.contradict();
        let mut second = Proof::new(first.rule, roster);
        for read in 0..10_000 {
            second.see(name, read % 2 == 0, LAG);
            assert!(!matches!(second.verdict(), Verdict::Proven(_)), "{name:?} {read}");
        }
        let mut third = next(&second);
        for _ in 0..3 * 108 {
            assert_eq!(third.verdict(), Verdict::Open);
            third.see(name, true, LAG);
        }
        assert!(matches!(third.verdict(), Verdict::Proven(_)), "{name:?}");
    }
}

#[test]
fn connections_are_held_only_when_more_than_one_helps() {
    let mut named = proof(Some(4));
    assert_eq!(named.connections(Duration::ZERO), 1, "one that is behind shows alone");
    named.see(Some("1"), true, Duration::ZERO);
    assert_eq!(named.connections(Duration::ZERO), 100, "names need no lag");
    let mut nameless = proof(Some(4));
    nameless.see(None, true, Duration::ZERO);
    assert_eq!(nameless.connections(Duration::ZERO), 1, "the lag is not over");
    assert_eq!(nameless.connections(LAG), 25);
    nameless.see(None, false, LAG);
    assert_eq!(nameless.connections(LAG), 1);
    nameless.see(None, true, LAG);
    assert_eq!(nameless.connections(LAG), 74);
    let mut unknown = Proof::new(rule(None), Roster::default());
    unknown.see(None, true, LAG);
    assert_eq!(unknown.connections(LAG), 215);
}
