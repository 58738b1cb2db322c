use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn table(settings: &str) -> HttpTableDriver {
    let mut value: Value = serde_json::from_str(settings).expect("json");
    value["url"] = "http://gw/peers".into();
    HttpTableDriver::new(&serde_json::from_value(value).expect("settings"), Nodes::default())
}

fn view(settings: &str, text: &str) -> Result<View, String> {
    table(settings).read(&[Reply { status: 200, body: text.into(), ..Reply::default() }])
}

#[test]
fn json_is_found_by_pointers() {
    let settings = r#"{"list":"/peers","address":"/name","routed":"/state","in_flight":"/conns"}"#;
    let text = r#"{"peers":[{"name":"a:1","state":"UP","conns":2},{"name":"b:1","state":"draining","conns":1}]}"#;
    let view = view(settings, text).expect("readable");
    assert!(view.routes_to("a:1") && view.is_out("b:1"));
    assert_eq!(view.peers["b:1"].in_flight, Some(1));
}

/// lua-resty-checkups sends requests to a server that is `unstable`. An unknown word of another program can mean
/// anything.
#[test]
fn unknown_word_takes_no_node_out() {
    let settings = r#"{"address":"/a","routed":"/s"}"#;
    for (state, routed) in
        [(r#""passing""#, true), (r#""DOWN""#, false), ("1", true), ("0.0", false)]
    {
        let text = format!(r#"[{{"a":"x:1","s":{state}}}]"#);
        assert_eq!(view(settings, &text).expect("readable").routes_to("x:1"), routed, "{state}");
    }
    for state in [r#""unstable""#, r#""up 1/3""#, r#""""#, "null", "[]", "{}"] {
        let error = view(settings, &format!(r#"[{{"a":"x:1","s":{state}}}]"#)).expect_err(state);
        assert!(error.contains(state) && error.contains("unknown `routed` value"), "{error}");
    }
}

/// As the Lua binding's `get_primary_peers` shows peers: it has `down` only for a peer that is down.
#[test]
fn the_peers_of_ngx_dynamic_upstreams_lua_binding_are_read_as_the_playbook_says() {
    let playbook = include_str!("../../../../playbooks/openresty-blocking.yaml");
    let loaded = crate::playbook::load_text("openresty-blocking.yaml", playbook);
    let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
    let crate::playbook::Gateway::HttpTable(settings) = &loaded.playbook.gateways[0].gateway else {
        panic!("{:?}", loaded.playbook.gateways)
    };
    let read = |text: &str| {
        let body = format!(r#"{{"peers":[{text}]}}"#).into();
        HttpTableDriver::new(settings, Nodes::default()).read(&[Reply {
            status: 200,
            body,
            ..Reply::default()
        }])
    };
    let up = r#"{"max_fails":1,"weight":1,"max_conns":0,"name":"127.0.0.1:19003","server":"127.0.0.1:19003","fail_timeout":10,"backup":false,"conns":0}"#;
    let down = r#"{"max_fails":1,"weight":1,"down":true,"max_conns":0,"name":"127.0.0.1:19001","server":"127.0.0.1:19001","fail_timeout":10,"backup":false,"conns":2}"#;
    let view = read(&format!("{up},{down}")).expect("readable");
    assert!(view.routes_to("127.0.0.1:19003") && view.is_out("127.0.0.1:19001"));
    for (told, out) in [("false", false), ("null", false), ("0", false), ("1", true)] {
        let view = read(&down.replace("true", told)).expect("readable");
        assert_eq!(view.is_out("127.0.0.1:19001"), out, "{told}");
    }
    for unknown in [r#""no""#, "[]", "{}"] {
        assert!(read(&down.replace("true", unknown)).is_err(), "{unknown}");
    }
}

#[test]
fn missing_count_is_never_zero() {
    let settings = r#"{"address":"/a","in_flight":"/n"}"#;
    let text = r#"[{"a":"x:1","n":18446744073709551615},{"a":"x:1","n":1}]"#;
    let view = view(settings, text).expect("readable");
    assert_eq!(view.peers["x:1"].in_flight, Some(u64::MAX));
}

#[test]
fn missing_value_is_unknown_only_for_its_own_peer() {
    let settings = r#"{"address":"/a","routed":"/s","in_flight":"/n"}"#;
    let text = r#"[{"a":"a:1","s":"up","n":0},{"a":"b:1","s":"up"},{"a":"c:1","s":"odd","n":0},
        {"a":"d:1","s":"up","n":"0"},{"s":"up","n":1},7]"#;
    let view = view(settings, text).expect("readable");
    let in_flight = |address: &str| view.peers[address].in_flight;
    assert_eq!(in_flight("a:1"), Some(0));
    assert_eq!((in_flight("b:1"), in_flight("d:1")), (None, None), "absent, and no number");
    assert!(view.routes_to("a:1") && view.routes_to("b:1"));
    assert!(!view.routes_to("c:1") && !view.is_out("c:1"), "neither in nor out");
    // A value that every peer lacks is a mistake in the playbook.
    for (text, why) in [
        (r#"[{"s":"up","n":1}]"#, "no address"),
        (r#"[{"a":"a:1","s":"up"}]"#, "no number of requests in flight"),
    ] {
        let error = self::view(settings, text).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn object_and_bare_addresses_are_accepted() {
    let view_of = |settings, text| view(settings, text).expect("readable");
    assert!(view_of("{}", r#"["a:1"]"#).routes_to("a:1"));
    let by_key = view_of(r#"{"routed":""}"#, r#"{"a:1":true,"b:1":0}"#);
    assert!(by_key.routes_to("a:1") && by_key.is_out("b:1"));
    // cjson writes an empty list as an empty object.
    assert!(view_of(r#"{"list":"/p"}"#, r#"{"p":{}}"#).peers.is_empty());
}

/// A reply, and the peers that it shows: routed, and out.
type Shown = (&'static str, &'static [&'static str], &'static [&'static str]);

macro_rules! fixture {
    ($file:literal) => {
        include_str!(concat!("../../../../tests/fixtures/gateway/", $file))
    };
}

/// What gateways reply, by the beginning of the documented pattern that reads it.
const SHOWN: [(&str, &[Shown]); 4] = [
    (
        "server (?P<address>",
        &[
            (
                fixture!("text/upstream_show.txt"),
                &["127.0.0.1:80", "127.0.0.1:18001", "127.0.0.1:18003"],
                &["127.0.0.1:18002"],
            ),
            (
                fixture!("text/dynamic_upstream.txt"),
                &["127.0.0.1:19002", "127.0.0.1:19003"],
                &["127.0.0.1:19001"],
            ),
            (
                "server a:1;server [::1]:2 weight=1 down;server b:1 down;",
                &["a:1"],
                &["[::1]:2", "b:1"],
            ),
        ],
    ),
    (r"(?m)^\s+->", &[(fixture!("text/ipvsadm.txt"), &["10.0.1.12:9000"], &["10.0.1.11:9000"])]),
    (
        r"(?m)^(?<address>",
        &[("10.0.1.11:9000\n10.0.1.12:9000\n", &["10.0.1.11:9000", "10.0.1.12:9000"], &[])],
    ),
    (
        r#""https?://"#,
        &[(
            fixture!("traefik/service.json"),
            &["127.0.0.1:19001", "127.0.0.1:19002"],
            &["127.0.0.1:19003"],
        )],
    ),
];

/// The patterns with an address in the documentation and in the playbooks.
fn documented() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let playbooks = std::fs::read_dir(root.join("playbooks")).expect("playbooks");
    let mut files: Vec<_> = playbooks.map(|file| file.expect("a playbook").path()).collect();
    files.push(root.join("docs/gateways.md"));
    let text: String =
        files.iter().map(|file| std::fs::read_to_string(file).expect("a text")).collect();
    let quoted = regex::Regex::new("pattern: '([^']*<address>[^']*)'").expect("a pattern");
    quoted.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn documented_patterns_find_every_peer_of_real_replies() {
    let documented = documented();
    assert!(documented.len() >= 2 * SHOWN.len(), "{documented:?}");
    for pattern in documented {
        let shown = SHOWN.iter().find(|(start, _)| pattern.starts_with(start));
        let (_, shown) = shown.unwrap_or_else(|| panic!("no recorded reply for {pattern}"));
        let settings = serde_json::json!({ "pattern": pattern }).to_string();
        for (text, routed, out) in *shown {
            let view = view(&settings, text).expect("readable");
            let with = |routed: bool| {
                let peers = view.peers.iter().filter(move |(_, peer)| peer.routed() == routed);
                peers
                    .map(|(address, _)| address.as_str())
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(with(true), routed.iter().copied().collect(), "{pattern}: {text}");
            assert_eq!(with(false), out.iter().copied().collect(), "{pattern}: {text}");
        }
    }
}

#[test]
fn text_is_found_by_a_pattern() {
    let settings = r#"{"pattern":"server (?P<address>\\S+) [^;]*?(?P<down>down)?;"}"#;
    let text = "server a:1 addr=a:1 conns=0;\nserver b:1 addr=b:1 conns=2 down;\n";
    let view = view(settings, text).expect("readable");
    assert!(view.routes_to("a:1") && view.is_out("b:1"));
}

/// Traefik 3.7 shows a server that fails its check as down, and omits one in maintenance.
#[test]
fn the_servers_of_traefik_are_found_by_the_pattern_of_the_documentation() {
    let pattern = r#"{"pattern":"\"https?://(?<address>[^\"/]+)\":\"(?:(?<routed>UP)|DOWN)\""}"#;
    let text = r#"{"loadBalancer":{"servers":[{"url":"http://127.0.0.1:19002"},{"url":"http://127.0.0.1:19003"}],"strategy":"wrr","passHostHeader":true,"responseForwarding":{"flushInterval":"100ms"}},"status":"enabled","usedBy":["app@file"],"name":"app@file","provider":"file","type":"loadbalancer","serverStatus":{"http://127.0.0.1:19002":"UP","http://127.0.0.1:19003":"DOWN"}}"#;
    let view = view(pattern, text).expect("readable");
    assert!(view.routes_to("127.0.0.1:19002"));
    assert!(!view.routes_to("127.0.0.1:19003"));
    assert!(view.is_out("127.0.0.1:19001"));
    let unknown = br#"{"message":"service not found: nope@file"}"#.to_vec();
    let unknown = Reply { status: 404, body: unknown, ..Reply::default() };
    assert!(table(pattern).read(&[unknown]).is_err());
}

#[test]
fn a_reply_that_would_take_long_to_search_is_an_error() {
    let settings = r#"{"pattern":"server (?P<address>\\S+) [^;]*?(?P<down>down)?;"}"#;
    let text = "server a:1 ".repeat(1024 * 1024 / 11 + 1);
    let error = view(settings, &text).expect_err("too long");
    assert!(error.contains("answered 1.0 MiB, too much to search"), "{error}");
}

#[test]
fn unreadable_reply_is_an_error() {
    let settings = r#"{"list":"/peers","address":"/name","routed":"/state"}"#;
    for text in [
        "",
        "<html>",
        "{}",
        r#"{"peers":3}"#,
        r#"{"peers":[{"name":"a:1"}]}"#,
        r#"{"peers":[{"state":true}]}"#,
    ] {
        assert!(view(settings, text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_reply_makes_it_panic(text in "(?s).{0,200}") {
        let _ = view(r#"{"list":"/p","routed":"/r"}"#, &text);
        let _ = view(r#"{"pattern":"(?P<address>.)(?P<routed>x)?"}"#, &text);
    }
}
