//! Uses recorded answers of Slardar 1.1.2.

use super::*;
use crate::consul::base64;
use crate::gateway::drivers::readings::Readings as _;
use crate::world::Method;

const POSTED: &str = r#"{"other":{"enable":true,"cluster":[{"servers":[{"host":"127.0.0.1","port":19001}]}]},"node-dev.example":{"enable":true,"cluster":[{"servers":[{"host":"127.0.0.1","port":19001,"weight":1,"max_fails":6,"fail_timeout":30},{"host":"127.0.0.1","port":19002,"weight":1,"max_fails":6,"fail_timeout":30},{"host":"10.9.9.9","port":80,"x":1.50}]}],"keepalive":20}}"#;

const STATUS: &str = r#"{"shd_config_version":0,"cls:node-dev.example":[[{"weight":1,"max_fails":6,"fail_timeout":30,"msg":null,"status":"ok","fail_num":0,"lastmodified":"2026-01-01 00:00:00","server":"node-dev.example:127.0.0.1:19001"},{"status":"err","server":"node-dev.example:127.0.0.1:19002"},{"status":"unchecked","server":"node-dev.example:10.9.9.9:80"}]],"checkup_timer_alive":true}"#;

const KEPT: &str = r#"{ "enable": true, "x": 1.50,
  "servers": [
    {"host": "127.0.0.1", "port": 19001, "weight": 1.0, "max_fails": 6, "fail_timeout": 30},
    {"host": "127.0.0.1", "port": 19002, "weight": 1, "max_fails": 6, "fail_timeout": 30}
  ], "keepalive": 20 }"#;

const NODE: &str = "127.0.0.1:19001";

fn slardar() -> SlardarDriver {
    let settings = r#"{ "upstream": "node-dev.example", "url": "http://gw:1995/",
        "server": { "weight": 1, "max_fails": 6, "fail_timeout": 30 } }"#;
    SlardarDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::default())
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: body.into(), ..Reply::default() }
}

/// As Consul shows a key.
fn kept(value: &str) -> Reply {
    let (key, value) = ("config/slardar/upstreams/node-dev.example", base64(value.as_bytes()));
    reply(200, &format!(r#"[{{"Key":"{key}","Value":"{value}","Flags":3,"ModifyIndex":7}}]"#))
}

fn both() -> [Reply; 2] {
    [reply(200, POSTED), kept(KEPT)]
}

/// The new value in Consul, and the list that is posted.
#[track_caller]
fn written(asks: &[Query]) -> (Option<String>, Option<String>) {
    let mut written = (None, None);
    for ask in asks {
        match ask {
            Query::CompareAndSet(entry, value) => {
                assert_eq!((entry.modify_index, entry.flags), (7, 3));
                assert_eq!(written.1, None, "Consul first");
                written.0 = Some(String::from_utf8(value.clone()).expect("text"));
            }
            Query::Http(request) => {
                assert_eq!(request.method, Method::Post);
                assert_eq!(request.url, "http://gw:1995/upstream/node-dev.example");
                let body = request.body.clone().unwrap_or_default();
                written.1 = Some(String::from_utf8(body).expect("text"));
            }
            other => panic!("{other:?}"),
        }
    }
    written
}

#[test]
fn a_worker_shows_its_list_and_what_its_heartbeats_say() {
    let view = slardar().read(&[reply(200, STATUS)]).expect("readable");
    assert!(view.routes_to(NODE) && view.routes_to("10.9.9.9:80"));
    assert!(!view.routes_to("127.0.0.1:19002"), "its heartbeats fail");
    assert!(!view.is_out("127.0.0.1:19002"), "and it may come back any time");
    assert!(view.is_out("127.0.0.1:19003"));
    assert_eq!(slardar().facts().lag, Duration::from_secs(2));
}

#[test]
fn a_node_is_taken_out_of_both_lists_and_nothing_else_changes() {
    let slardar = slardar();
    assert_eq!(slardar.is_down(&both(), NODE), Ok(false));
    let (value, body) = written(&slardar.set(&both(), NODE, true).expect("allowed"));
    let node = r#"{"host": "127.0.0.1", "port": 19001, "weight": 1.0, "max_fails": 6, "fail_timeout": 30},
    "#;
    let value = value.expect("written");
    assert_eq!(value, KEPT.replace(node, ""));
    let others = r#"{"host":"127.0.0.1","port":19002,"weight":1,"max_fails":6,"fail_timeout":30},{"host":"10.9.9.9","port":80,"x":1.50}"#;
    assert_eq!(body, Some(format!(r#"{{"servers":[{others}]}}"#)));

    let posted = POSTED.replace(
        r#"{"host":"127.0.0.1","port":19001,"weight":1,"max_fails":6,"fail_timeout":30},"#,
        "",
    );
    let replies = [reply(200, &posted), kept(&value)];
    assert_eq!(slardar.is_down(&replies, NODE), Ok(true));
    let (value, body) = written(&slardar.set(&replies, NODE, false).expect("allowed"));
    // With a port that is not a number, /status would answer 500 to every client.
    let node = r#"{"host":"127.0.0.1","port":19001,"weight":1,"max_fails":6,"fail_timeout":30}"#;
    assert_eq!(body, Some(format!(r#"{{"servers":[{others},{node}]}}"#)));
    assert!(value.expect("written").contains(&format!(",{node}\n  ], \"keepalive\": 20 }}")));
}

/// The entry stays byte for byte, whatever it is.
#[test]
fn server_without_an_address_is_kept_and_is_not_a_node() {
    let slardar = slardar();
    let odd = r#"{"socket":"/run/app.sock","x":1.50},"#;
    let posted = POSTED.replacen(
        r#"{"host":"127.0.0.1","port":19001,"weight""#,
        &format!(r#"{odd}{{"host":"127.0.0.1","port":19001,"weight""#),
        1,
    );
    let value = KEPT.replacen("{\"host\"", &format!("{odd}{{\"host\""), 1);
    let replies = [reply(200, &posted), kept(&value)];
    assert_eq!(slardar.listed_as(&replies, NODE), Ok(Listed::Up));
    let (value, body) = written(&slardar.set(&replies, NODE, true).expect("allowed"));
    let kept = odd.trim_end_matches(',');
    assert!(value.expect("written").contains(kept) && body.expect("posted").contains(kept));
    let nodes = Nodes::new(&[NODE.into(), "127.0.0.1:19002".into()]);
    let strangers = SlardarDriver { nodes, ..slardar }.strangers(&replies);
    assert_eq!(strangers, [kept, "10.9.9.9:80"]);
}

#[test]
fn unreadable_server_is_an_error_of_that_server_only() {
    let odd = STATUS.replace("\"status\":\"ok\"", "\"status\":null");
    let odd = odd.replacen("[[", r#"[[{"server":"app.sock"},7,"#, 1);
    let view = slardar().read(&[reply(200, &odd)]).expect("readable");
    assert!(!view.is_out(NODE) && !view.routes_to(NODE), "{view:?}");
    assert!(view.routes_to("10.9.9.9:80"));
}

/// A write that was interrupted between the two, or a reload after only the API was changed.
#[test]
fn change_in_only_one_list_is_inconsistent_and_completed() {
    let slardar = slardar();
    let replies = both();
    let (value, _) = written(&slardar.set(&replies, NODE, true).expect("allowed"));
    let replies = [reply(200, POSTED), kept(&value.expect("written"))];
    assert!(slardar.is_inconsistent(&replies, NODE) && !slardar.is_inconsistent(&both(), NODE));
    let (value, body) = written(&slardar.set(&replies, NODE, true).expect("allowed"));
    assert!(value.is_none() && body.is_some());
    let (value, body) = written(&slardar.set(&replies, NODE, false).expect("allowed"));
    assert!(value.is_some() && body.is_none());
}

#[test]
fn unsafe_writes_are_refused() {
    let slardar = slardar();
    let only = r#"{"node-dev.example":{"cluster":[{"servers":[{"host":"127.0.0.1","port":19001,"weight":1,"max_fails":6,"fail_timeout":30}]}]}}"#;
    let other = POSTED.replace("\"max_fails\":6", "\"max_fails\":2");
    let more = POSTED.replace("\"fail_timeout\":30}", "\"fail_timeout\":30,\"y\":true}");
    let levels = POSTED.replace("[{\"servers\":[", "[{\"servers\":[]},{\"servers\":[");
    let twice = POSTED.replace("19002", "19001");
    for (posted, value, why) in [
        (only, kept(KEPT), "127.0.0.1:19001 is the only server, and Slardar refuses an empty list"),
        (&other, kept(KEPT), "/upstreams: 127.0.0.1:19001 is listed as {"),
        (&more, kept(KEPT), "/upstreams: 127.0.0.1:19001 is listed as {"),
        (&levels, kept(KEPT), "/upstreams: the upstream must have exactly one level"),
        (&twice, kept(KEPT), "/upstreams: 127.0.0.1:19001 is listed twice"),
        (POSTED, reply(404, ""), "Consul has no key config/slardar/upstreams/node-dev.example"),
        (POSTED, reply(500, "x"), "answered 500 x"),
        (
            POSTED,
            kept(&KEPT.replace("19002", "19001")),
            "config/slardar/upstreams/node-dev.example: 1",
        ),
        (POSTED, kept("{}"), "config/slardar/upstreams/node-dev.example: its value cannot be read"),
        (POSTED, kept("\u{feff}"), "config/slardar/upstreams/node-dev.example: its value cannot"),
    ] {
        let refused = slardar.set(&[reply(200, posted), value], NODE, true);
        let refused = refused.map(|asks| panic!("{asks:?}")).unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
    assert!(slardar.set(&both(), "localhost", true).is_err());
}

#[test]
fn change_is_done_only_if_the_body_says_so() {
    let done = |status, said| slardar().is_done(&[reply(200, ""), reply(status, said)]);
    assert_eq!(done(200, r#"{"status":200}"#), Ok(()));
    for (status, said) in [
        (400, r#"{"status":400,"msg":"servers invalid"}"#),
        (400, r#"{"status":400,"msg":"decode body error"}"#),
        (405, r#"{"status":405,"msg":"method not allowed"}"#),
        (200, r#"{"status":400,"msg":"body invalid"}"#),
        (200, "<html>"),
    ] {
        assert!(done(status, said).is_err(), "{status} {said}");
    }
}

#[test]
fn reply_that_is_not_a_list_is_refused() {
    for shown in [
        "",
        "null",
        "{}",
        r#"{"cls:other":[[]]}"#,
        r#"{"cls:node-dev.example":{}}"#,
        r#"{"cls:node-dev.example":[{}]}"#,
        r#"{"cls:node-dev.example":[[{"server":"other:127.0.0.1:19001","status":"ok"}]]}"#,
        r#"{"cls:node-dev.example":[[{"server":"node-dev.example:127.0.0.1:19001"}]]}"#,
    ] {
        assert!(slardar().read(&[reply(200, shown)]).is_err(), "{shown}");
    }
    assert!(slardar().read(&[reply(500, STATUS)]).is_err(), "a port that is no number");
    for shown in ["", "null", "{}", r#"{"node-dev.example":{"cluster":{}}}"#] {
        assert!(slardar().is_down(&[reply(200, shown), kept(KEPT)], NODE).is_err(), "{shown}");
    }
    assert!(slardar().is_down(&[reply(200, POSTED)], NODE).is_err());
}
