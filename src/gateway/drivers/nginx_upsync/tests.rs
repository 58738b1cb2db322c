use proptest::prelude::*;

use super::*;

const SHOW: &str = include_str!("../../../../tests/fixtures/gateway/text/upstream_show.txt");

const CHECK: &str = r#"{"servers": {"total": 3, "generation": 1, "server": [
    {"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},
    {"index": 1, "upstream": "app", "name": "127.0.0.1:18002", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},
    {"index": 2, "upstream": "other", "name": "127.0.0.1:18003", "status": "down", "rise": 0, "fall": 9, "type": "http", "port": 0}]}}"#;

fn reply(text: &str) -> Reply {
    Reply { status: 200, body: text.into(), ..Reply::default() }
}

fn upsync(check: bool) -> NginxUpsyncDriver {
    let mut settings = serde_json::json!({ "upstream": "App", "status_url": "http://gw/list?app" });
    if check {
        settings["check_url"] = "http://gw/check".into();
    }
    let settings = serde_json::from_value(settings).expect("settings");
    NginxUpsyncDriver::new(&settings, Nodes::default())
}

#[test]
fn peers_are_read_from_the_right_upstream_only() {
    let view = upsync(false).read(&[reply(SHOW)]).expect("readable");
    assert_eq!(view.peers.len(), 3);
    assert!(view.routes_to("127.0.0.1:18001") && view.routes_to("127.0.0.1:18003"));
    assert!(view.is_out("127.0.0.1:18002") && view.is_out("127.0.0.1:80"));
}

#[test]
fn parameters_of_nodes_are_read() {
    let settings = serde_json::json!({ "upstream": "app", "status_url": "http://gw/list?app" });
    let settings = serde_json::from_value(settings).expect("settings");
    let driver = NginxUpsyncDriver::new(&settings, Nodes::new(&["127.0.0.1:18002".into()]));
    let view = driver.read(&[reply(SHOW)]).expect("readable");
    let own = [("weight", 1), ("max_fails", 2), ("fail_timeout", 10)];
    let own = own.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(view.parameters, [("127.0.0.1:18002".to_owned(), own)].into());
}

#[test]
fn odd_entry_of_another_server_is_ignored() {
    let show = SHOW.replace("server count: 3", "server count: 4").replace(
        "        server 127.0.0.1:18001",
        "        server unix:/run/app.sock weight=1;\n        keepalive 16;\n        server 127.0.0.1:18001",
    );
    let odd = r#"{"upstream": "other"}, {"upstream": "app", "name": "10.9.9.9:80", "status": 7}, "#;
    let check = CHECK.replacen(r#"{"index": 0"#, &format!(r#"{odd}{{"index": 0"#), 1);
    let view = upsync(true).read(&[reply(&show), reply(&check)]).expect("readable");
    assert!(view.routes_to("127.0.0.1:18001") && view.routes_to("127.0.0.1:18003"));
    assert!(view.is_out("127.0.0.1:18002"));
    // An unknown status is an error of that server only.
    let odd = CHECK.replacen("\"up\"", "null", 1);
    let view = upsync(true).read(&[reply(&show), reply(&odd)]).expect("readable");
    assert!(!view.routes_to("127.0.0.1:18001") && !view.is_out("127.0.0.1:18001"));
    assert!(view.unread["127.0.0.1:18001"].contains("check_status"), "{view:?}");
    assert!(view.routes_to("127.0.0.1:18003"));
}

#[test]
fn check_module_can_hold_a_node_out_but_never_confirms_it() {
    let down = CHECK.replacen("\"up\"", "\"down\"", 1);
    let view = upsync(true).read(&[reply(SHOW), reply(&down)]).expect("readable");
    assert!(!view.routes_to("127.0.0.1:18001"));
    assert!(!view.is_out("127.0.0.1:18001"));
    assert!(view.is_out("127.0.0.1:18002"), "its `up` says nothing about `down=1`");
    assert!(view.routes_to("127.0.0.1:18003"), "forgotten by the check, or of another upstream");
}

#[test]
fn a_200_that_does_not_show_the_upstream_is_an_error() {
    let unknown = "The upstream you requested does not exist. Please double-check the name";
    for text in [
        unknown,
        "",
        "<html>",
        "Upstream name: apple; Backend server count: 0\n",
        "Upstream name: app; Backend server count: 2\n        server 1.2.3.4:1 weight=1;\n",
        "Upstream name: app; Backend server count: 1\n        server 1.2.3.4:1 wei",
        "Upstream name: app; Backend server count: x\n",
    ] {
        assert!(upsync(false).read(&[reply(text)]).is_err(), "{text}");
    }
    let bad_status = Reply { status: 502, ..reply(SHOW) };
    assert!(upsync(false).read(&[bad_status]).is_err());
    let trailing_comma = CHECK.replace("}]}}", "},]}}");
    assert!(upsync(true).read(&[reply(SHOW), reply(&trailing_comma)]).is_err());
}

#[test]
fn a_second_entry_of_the_same_address_keeps_it_routed() {
    let text = "Upstream name: app; Backend server count: 2
        server 1.2.3.4:80 weight=1 max_fails=2 fail_timeout=10s down;
        server 1.2.3.4:80 weight=1 max_fails=2 fail_timeout=10s;
";
    let view = upsync(false).read(&[reply(text)]).expect("readable");
    assert!(!view.is_out("1.2.3.4:80"));
}

proptest! {
    #[test]
    fn no_reply_makes_it_panic(text in "(?s).{0,300}", check in "(?s).{0,100}") {
        let _ = upsync(true).read(&[reply(&text), reply(&check)]);
        let _ = upsync(false).read(&[reply(&format!("{SHOW}{text}"))]);
    }
}
