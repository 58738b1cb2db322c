//! Uses recorded answers of both programs.

use proptest::prelude::*;

use super::*;
use crate::gateway::drivers::readings::Readings as _;
use crate::world::Method;

/// `GET /detail` of the classic version; `app` is the upstream of the playbook.
const DETAIL: &str = "host1
server 127.0.0.1:19003 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0

app
server 127.0.0.1:19001 weight=5 max_conns=0 max_fails=3 fail_timeout=7 backup=0 down=0
server 127.0.0.1:19002 weight=2 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0
server 127.0.0.1:19003 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=1

";

/// `GET /list` since 2020-04, after a `POST` of the same.
const LIST: &str = "upstream app {
server 127.0.0.1:19001 weight=5 max_fails=3 fail_timeout=7s;
server 127.0.0.1:19002 weight=2;
server 127.0.0.1:19003 down;
keepalive 8;
}
upstream host1 {
server 127.0.0.1:19003;
}
";

const KEYS: &str = r#"
    "server": "weight=2", "servers": {
        "127.0.0.1:19001": "weight=5 max_fails=3 fail_timeout=7s", "127.0.0.1:19003": ""
    }, "extras": "keepalive 8;""#;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: body.into(), ..Reply::default() }
}

fn nodes() -> Vec<String> {
    ["127.0.0.1:19001", "127.0.0.1:19002", "127.0.0.1:19003"].map(String::from).to_vec()
}

fn dyups_of(keys: &str) -> DyupsDriver {
    let settings = format!(r#"{{ "upstream": "app", "url": "http://gw:8081/", {keys} }}"#);
    let settings = serde_json::from_str(&settings).expect("settings");
    DyupsDriver::new(&settings, Nodes::new(&nodes()))
}

fn classic() -> DyupsDriver {
    dyups_of(KEYS)
}

fn head() -> DyupsDriver {
    dyups_of(&format!(r#"{KEYS}, "mode": "head""#))
}

#[track_caller]
fn asked(asks: &[Query]) -> (Method, String, String) {
    let [Query::Http(request)] = asks else { panic!("{asks:?}") };
    let body = request.body.clone().unwrap_or_default();
    (request.method, request.url.clone(), String::from_utf8(body).expect("text"))
}

#[test]
fn both_versions_are_asked_their_own_query_and_read_the_same() {
    assert_eq!(asked(&classic().queries(Purpose::Look)).1, "http://gw:8081/detail");
    assert_eq!(asked(&head().queries(Purpose::Look)).1, "http://gw:8081/list");
    for (dyups, shown) in [(classic(), DETAIL), (head(), LIST)] {
        let view = dyups.read(&[reply(200, shown)]).expect("readable");
        assert!(view.routes_to("127.0.0.1:19001") && view.routes_to("127.0.0.1:19002"));
        assert!(view.is_out("127.0.0.1:19003"), "that it is up in `host1` is no matter");
        for (address, down) in [("127.0.0.1:19001", false), ("127.0.0.1:19003", true)] {
            assert_eq!(dyups.is_down(&[reply(200, shown)], address), Ok(down));
        }
    }
}

/// A list that is posted by hand is often one line, and `GET /list` shows that line since 2020-04.
#[test]
fn what_was_posted_on_one_line_is_read_server_by_server() {
    let shown = "upstream app {\nserver 127.0.0.1:19001 weight=5 max_fails=3 fail_timeout=7s;server 127.0.0.1:19002 weight=2;\
                 server 127.0.0.1:19003 down;keepalive 8;\n}\n";
    let replies = [reply(200, shown)];
    let view = head().read(&replies).expect("readable");
    assert!(view.routes_to("127.0.0.1:19001") && view.routes_to("127.0.0.1:19002"));
    assert!(view.is_out("127.0.0.1:19003"));
    let asks = head().set(&replies, "127.0.0.1:19003", false).expect("all of it is known");
    assert!(!asked(&asks).2.contains("down"));
}

/// `GET` does not round-trip: the parameters and `keepalive` come from the playbook.
#[test]
fn whole_list_is_posted_with_one_node_changed() {
    for (dyups, shown) in [(classic(), DETAIL), (head(), LIST)] {
        let asks = dyups.set(&[reply(200, shown)], "127.0.0.1:19002", true).expect("allowed");
        let body = "server 127.0.0.1:19001 weight=5 max_fails=3 fail_timeout=7s;\n\
                    server 127.0.0.1:19002 weight=2 down;\n\
                    server 127.0.0.1:19003 down;\n\
                    keepalive 8;\n";
        let url = "http://gw:8081/upstream/app";
        assert_eq!(asked(&asks), (Method::Post, url.to_owned(), body.to_owned()));
        let asks = dyups.set(&[reply(200, shown)], "127.0.0.1:19003", false).expect("allowed");
        assert!(asked(&asks).2.contains("server 127.0.0.1:19003;\n"));
    }
}

#[test]
fn a_list_that_was_lost_is_not_down_and_is_written_back_whole() {
    // 204: no upstream at all, after a reload or a restart. The other answer: no upstream with this name.
    let without = DETAIL.split_once("app\n").expect("it is there").0;
    let posted = LIST.split_once("upstream host1").expect("it is there").1;
    let posted = format!("upstream host1{posted}");
    for (dyups, lost) in [
        (classic(), reply(204, "")),
        (classic(), reply(200, without)),
        (head(), reply(204, "")),
        (head(), reply(200, &posted)),
    ] {
        let lost = [lost];
        assert_eq!(dyups.is_down(&lost, "127.0.0.1:19003"), Ok(false));
        assert!(dyups.is_lost(&lost));
        let why = dyups.read(&lost).expect_err("it proves nothing");
        let only = if lost[0].status == 204 { "" } else { ", only host1" };
        assert!(why.starts_with(&format!("it has no upstream `app`{only}: it was never")), "{why}");
        assert!(why.contains("restart of nginx lost it; post the list to http://gw:8081/upstream/app, with `down`"), "{why}");
        let body = asked(&dyups.set(&lost, "127.0.0.1:19003", true).expect("allowed")).2;
        assert_eq!(body.matches("server ").count(), 3, "{body}");
        assert_eq!(body.matches(" down;").count(), 1, "{body}");
        assert!(body.contains("server 127.0.0.1:19003 down;\n"), "{body}");
    }
    assert!(!classic().is_lost(&[reply(200, DETAIL)]));
    assert!(!classic().is_lost(&[reply(502, "")]));
}

#[test]
fn list_that_differs_from_the_playbook_is_not_overwritten() {
    let stranger =
        DETAIL.replace("\napp\n", "\napp\nserver 10.9.9.9:80 weight=1 backup=1 down=0\n");
    let changed = DETAIL.replace("weight=5", "weight=7");
    let twice = DETAIL.replace(
        "server 127.0.0.1:19002",
        "server 127.0.0.1:19003 weight=1 down=0\nserver 127.0.0.1:19002",
    );
    let posted = LIST.replace("keepalive 8;", "keepalive 8; ip_hash;");
    for (dyups, shown, why) in [
        (classic(), stranger.as_str(), "10.9.9.9:80, which is not a node and not in `others`"),
        (classic(), &changed, "127.0.0.1:19001 with fail_timeout=7 max_fails=3 weight=7"),
        (classic(), &twice, "127.0.0.1:19003 twice"),
        (head(), &posted, "`ip_hash; keepalive 8` besides the servers"),
    ] {
        let replies = [reply(200, shown)];
        let refused = dyups.set(&replies, "127.0.0.1:19002", true).expect_err(why);
        assert!(refused.contains(why), "{refused}");
        let is_old = dyups.mode == DyupsMode::Classic;
        let from_file =
            "if a reload or restart of nginx brought back its configuration's list, post";
        assert_eq!(refused.contains(from_file), is_old, "{refused}");
        assert_eq!(dyups.is_down(&replies, "127.0.0.1:19002"), Err(refused), "told beforehand");
    }
    let others = r#", "others": ["server 10.9.9.9 backup;"]"#;
    let told = dyups_of(&format!("{KEYS}{others}"));
    let asks = told.set(&[reply(200, &stranger)], "127.0.0.1:19002", true).expect("allowed");
    assert!(asked(&asks).2.contains("server 10.9.9.9 backup;\nkeepalive 8;\n"));
}

#[test]
fn a_node_that_is_not_in_the_list_stays_without_requests() {
    let kept: Vec<_> = DETAIL.lines().filter(|line| !line.contains("19001")).collect();
    let without = format!(
        "{}
",
        kept.join(
            "
"
        )
    );
    let replies = [reply(200, &without)];
    assert_eq!(classic().is_down(&replies, "127.0.0.1:19001"), Ok(true));
    let body = asked(&classic().set(&replies, "127.0.0.1:19002", true).expect("allowed")).2;
    assert!(body.contains("server 127.0.0.1:19001 weight=5 max_fails=3 fail_timeout=7s down;"));
}

/// `others` can have entries that our own message suggested, for a node with another address.
#[test]
fn entries_of_others_are_reported_as_unknown() {
    let stranger = DETAIL.replace("127.0.0.1:19001", "10.9.9.9:19001");
    let keys = format!(
        r#"{KEYS}, "others": ["server 10.9.9.9:19001 weight=5 max_fails=3 fail_timeout=7s;"]"#
    );
    let replies = [reply(200, &stranger)];
    assert_eq!(dyups_of(&keys).listed_as(&replies, "127.0.0.1:19001"), Ok(Listed::Absent));
    assert_eq!(dyups_of(&keys).strangers(&replies), ["10.9.9.9:19001"]);
    assert_eq!(classic().strangers(&[reply(200, DETAIL)]), Vec::<String>::new());
}

macro_rules! recorded {
    ($file:literal) => {
        include_str!(concat!("../../../../tests/fixtures/gateway/dyups/", $file))
    };
}

/// `dyn` was posted, with 18003 down. 0.2.9 of 2016-04 shows upstreams of the configuration, too; `max_conns` came
/// 2018-06.
#[test]
fn detail_is_read_in_every_version_with_parameters() {
    let settings = r#"{ "upstream": "dyn", "url": "http://gw:8081", "servers": {
        "127.0.0.1:18001": "weight=5 max_fails=3 fail_timeout=7s" } }"#;
    let settings = serde_json::from_str(settings).expect("settings");
    let nodes = ["127.0.0.1:18001", "127.0.0.1:18002", "127.0.0.1:18003"].map(String::from);
    let dyups = DyupsDriver::new(&settings, Nodes::new(&nodes));
    for shown in [recorded!("0.2.9.txt"), recorded!("tengine-2.3.3.txt")] {
        let replies = [reply(200, shown)];
        let view = dyups.read(&replies).expect("readable");
        let routed = nodes.each_ref().map(|node| view.routes_to(node));
        assert_eq!(routed, [true, true, false], "{shown}");
        let asks = dyups.set(&replies, "127.0.0.1:18002", true).expect("all of it is known");
        assert_eq!(asked(&asks).2.matches(" down;").count(), 2);
    }
}

#[test]
fn detail_without_parameters_is_refused_with_the_reason() {
    for shown in [recorded!("0.2.8.txt"), recorded!("tengine-2.2.0.txt")] {
        let dyups = dyups_of(r#""extras": """#);
        let replies = [reply(200, shown)];
        let why = dyups.read(&replies).expect_err("cannot be read");
        assert!(why.contains("shows addresses only, like dyups before 2016-03-23"), "{why}");
        assert_eq!(dyups.is_down(&replies, "127.0.0.1:18003"), Err(why.clone()));
        assert_eq!(dyups.set(&replies, "127.0.0.1:18003", true).expect_err("not written"), why);
        assert!(!dyups.is_lost(&replies));
    }
}

#[test]
fn wrong_mode_is_recognised_by_detail() {
    let gone = [reply(404, "")];
    let why = classic().read(&gone).expect_err("no /detail");
    assert!(why.contains("`mode: head`") && why.contains("$dyups_host"), "{why}");
    assert_eq!(classic().is_down(&gone, "127.0.0.1:19001"), Err(why));
    // The classic version shows only names.
    let why = head().read(&[reply(200, "host1\napp\n")]).expect_err("names");
    assert!(why.contains("remove `mode: head`"), "{why}");
}

#[test]
fn only_success_is_done() {
    assert_eq!(classic().is_done(&[reply(200, "success")]), Ok(()));
    for (status, said) in [
        (204, ""), // A POST without a body changes nothing.
        (500, "add server failed"),
        (500, "alert: update success but not sync to other process"),
        (409, "wait and try again\n"),
        (404, "not support this api"),
        (405, ""),
        (200, ""),
    ] {
        assert!(classic().is_done(&[reply(status, said)]).is_err(), "{status} {said}");
    }
}

#[test]
fn reply_that_is_not_a_list_is_refused() {
    for shown in [
        "",
        "<html>",
        "\n",
        "app",
        "app\nserver 127.0.0.1:19001 weight=5 max_conns=0 max_fails=3 fail_timeout=7 backup=0 down=0\n",
        "app\nserver 127.0.0.1:19001 weight=5 backup=0\n\n",
        "server 127.0.0.1:19001\n",
    ] {
        assert!(classic().read(&[reply(200, shown)]).is_err(), "{shown}");
        assert!(!classic().is_lost(&[reply(200, shown)]), "{shown}");
    }
    for shown in ["", "<html>", "upstream app {\nserver a:1;", "upstream app {\nserver a:1\n}\n"] {
        assert!(head().read(&[reply(200, shown)]).is_err(), "{shown}");
        assert!(!head().is_lost(&[reply(200, shown)]), "{shown}");
    }
    assert!(classic().read(&[reply(502, DETAIL)]).is_err());
    assert!(classic().read(&[]).is_err());
}

#[test]
fn workers_follow_later_in_classic_mode_and_at_once_in_head_mode() {
    assert_eq!(classic().facts().lag, Duration::from_millis(1500));
    assert_eq!((classic().facts().workers, head().facts().workers), (None, Some(1)));
    assert_eq!(head().facts().lag, Duration::ZERO);
}

proptest! {
    #[test]
    fn a_reply_that_is_cut_short_shows_no_other_state(at in 0_usize..1000) {
        for (dyups, shown) in [(classic(), DETAIL), (head(), LIST)] {
            let whole = dyups.read(&[reply(200, shown)]);
            let cut = dyups.read(&[reply(200, &shown[..at % shown.len()])]);
            prop_assert!(cut.is_err() || cut == whole, "{cut:?}");
        }
    }
}
