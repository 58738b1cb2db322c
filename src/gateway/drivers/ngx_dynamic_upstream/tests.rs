//! Uses recorded answers of both modules.

use std::time::Duration;

use super::*;
use crate::gateway::drivers::readings::Readings as _;

const ZIGZAGAK: &str = "\
server 127.0.0.1:19001 addr=127.0.0.1:19001 weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns=2 down;
server 127.0.0.1:19002 addr=127.0.0.1:19002 weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns=0;
server 127.0.0.1:19003 addr=127.0.0.1:19003 weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns=1 backup;
";

const CUBICDAIYA: &str = "\
server 127.0.0.1:19001 weight=1 max_fails=1 fail_timeout=10 down;
server 127.0.0.1:19002 weight=1 max_fails=1 fail_timeout=10;
";

fn module(variant: &str) -> NgxDynamicUpstreamDriver {
    let settings = format!(r#"{{ "upstream": "app", "url": "http://gw/dynamic", {variant} }}"#);
    NgxDynamicUpstreamDriver::new(
        &serde_json::from_str(&settings).expect("settings"),
        Nodes::default(),
    )
}

fn zigzagak() -> NgxDynamicUpstreamDriver {
    module(r#""variant": "zigzagak""#)
}

fn cubicdaiya() -> NgxDynamicUpstreamDriver {
    module(r#""variant": "cubicdaiya""#)
}

fn reply(status: u16, body: &str) -> [Reply; 1] {
    [Reply { status, body: body.into(), ..Reply::default() }]
}

#[track_caller]
fn url(asks: &[Query]) -> &str {
    let [Query::Http(request)] = asks else { panic!("{asks:?}") };
    assert!(request.timeout <= Duration::from_secs(3) && request.body.is_none());
    &request.url
}

#[test]
fn the_list_is_read_with_its_requests_in_flight() {
    assert_eq!(url(&zigzagak().queries(Purpose::Look)), "http://gw/dynamic?upstream=app&verbose=");
    let view = zigzagak().read(&reply(200, ZIGZAGAK)).expect("readable");
    assert!(view.is_out("127.0.0.1:19001") && view.routes_to("127.0.0.1:19002"));
    assert_eq!(view.peers["127.0.0.1:19001"].in_flight, Some(2), "down, and still busy");
    assert!(view.routes_to("127.0.0.1:19003"));
    let view = cubicdaiya().read(&reply(200, CUBICDAIYA)).expect("readable");
    assert!(view.is_out("127.0.0.1:19001") && view.routes_to("127.0.0.1:19002"));
    assert_eq!(view.peers["127.0.0.1:19001"].in_flight, None);
}

/// An encoded colon is a 400; `down=` without `server=` kills a worker that holds the lock.
#[test]
fn colon_of_an_address_is_not_encoded() {
    let zigzagak = zigzagak();
    let shown = reply(200, ZIGZAGAK);
    let asks = zigzagak.set(&shown, "127.0.0.1:19002", true).expect("allowed");
    assert_eq!(url(&asks), "http://gw/dynamic?upstream=app&server=127.0.0.1:19002&down=");
    let asks = zigzagak.set(&shown, "127.0.0.1:19001", false).expect("allowed");
    assert_eq!(url(&asks), "http://gw/dynamic?upstream=app&server=127.0.0.1:19001&up=");
    for address in ["", "127.0.0.1", "127.0.0.1:19009"] {
        let refused = zigzagak.set(&shown, address, true).expect_err("not in the list");
        assert_eq!(refused, format!("its list has no server {address}"));
    }
}

#[test]
fn server_that_is_listed_twice_cannot_be_changed() {
    let twice = ZIGZAGAK.replace("127.0.0.1:19003", "127.0.0.1:19001");
    let zigzagak = zigzagak();
    let refused = zigzagak.is_down(&reply(200, &twice), "127.0.0.1:19001");
    assert_eq!(refused, Err("its list has 127.0.0.1:19001 twice".into()));
    let view = zigzagak.read(&reply(200, &twice)).expect("readable");
    assert!(view.routes_to("127.0.0.1:19001"), "by the other entry");
    assert_eq!(view.peers["127.0.0.1:19001"].in_flight, Some(3));
}

#[test]
fn wrong_variant_is_recognised_by_missing_counts() {
    let why = zigzagak().read(&reply(200, CUBICDAIYA)).expect_err("no conns");
    assert!(why.contains("`variant: cubicdaiya`"), "{why}");
    assert!(cubicdaiya().read(&reply(200, ZIGZAGAK)).is_ok());
}

#[test]
fn refusals_of_the_module_are_reported() {
    const HTML: &str =
        "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n</html>\r\n";
    for (module, status, body, why) in [
        (zigzagak(), 404, "upstream is not found", "it has no upstream `app`"),
        (cubicdaiya(), 404, HTML, "it has no zone `app`"),
        (zigzagak(), 501, "only for upstream with 'zone'", "the upstream `app` has no `zone`"),
        (zigzagak(), 400, "upstream required", "answered 400 upstream required"),
        (zigzagak(), 400, "server or peer is not found", "answered 400 server or peer is not"),
        (zigzagak(), 304, "", "answered 304"),
        (zigzagak(), 405, "only GET allowed", "answered 405 only GET allowed"),
    ] {
        let replies = reply(status, body);
        for told in [
            module.read(&replies).map(|_| ()),
            module.is_down(&replies, "127.0.0.1:19001").map(|_| ()),
            module.is_done(&replies).map_err(|not_done| not_done.to_string()),
        ] {
            let told = told.expect_err(why);
            assert!(told.starts_with(why), "{told}");
        }
    }
}

#[test]
fn odd_server_affects_no_other_and_non_numeric_count_is_unknown() {
    let odd = "server unix:/run/app.sock addr=unix:/run/app.sock weight=1 odd conns=0;\n";
    let view = zigzagak().read(&reply(200, &format!("{odd}{ZIGZAGAK}"))).expect("readable");
    assert!(view.is_out("127.0.0.1:19001") && view.routes_to("127.0.0.1:19002"));
    let uncounted = ZIGZAGAK.replacen("conns=2", "conns=", 1);
    let view = zigzagak().read(&reply(200, &uncounted)).expect("readable");
    assert_eq!(view.peers["127.0.0.1:19001"].in_flight, None);
    assert_eq!(view.peers["127.0.0.1:19002"].in_flight, Some(0));
    let odd = ZIGZAGAK.replacen("conns=2 down", "conns=2 dwn", 1);
    let view = zigzagak().read(&reply(200, &odd)).expect("readable");
    assert!(!view.is_out("127.0.0.1:19001") && !view.routes_to("127.0.0.1:19001"));
    assert!(zigzagak().listed_as(&reply(200, &odd), "127.0.0.1:19001").is_err());
    assert_eq!(zigzagak().listed_as(&reply(200, &odd), "127.0.0.1:19002"), Ok(Listed::Up));
}

/// The module writes what fits into a buffer. An entry that is cut off has lost its ` down`.
#[test]
fn incomplete_reply_and_other_text_are_refused() {
    for text in [
        "",
        "\n",
        "<html>",
        "server",
        "server \n",
        "server ;\n",
        "server 127.0.0.1:19001 addr=127.0.0.1:19001;\n",
        "server 127.0.0.1:19001 addr=127.0.0.1:19001 weight=1 conns=1 dow;\n",
        "server 127.0.0.1:19001 addr=127.0.0.1:19001 weight=1 conns=1",
    ] {
        assert!(zigzagak().read(&reply(200, text)).is_err(), "{text}");
        assert!(cubicdaiya().read(&reply(200, text)).is_err(), "{text}");
    }
    let (cut, _) = ZIGZAGAK.rsplit_once(" backup").expect("it is there");
    assert!(zigzagak().read(&reply(200, cut)).is_err());
}
