use super::*;
use crate::gateway::drivers::readings::Readings as _;

/// As Caddy 2.11 shows a handler, and its counts while a request to the first upstream is in flight.
const HANDLER: &str = r#"{"@id":"app","handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:19001"},{"dial":"127.0.0.1:19002","max_requests":100},{"dial":"127.0.0.1:19003"}]}"#;
const OUT: &str = r#"{"@id":"app","handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:19002","max_requests":100},{"dial":"127.0.0.1:19003"}]}"#;
const COUNTS: &str = r#"[{"address":"127.0.0.1:19002","num_requests":1,"fails":0},{"address":"127.0.0.1:19003","num_requests":1,"fails":0},{"address":"127.0.0.1:19001","num_requests":1,"fails":0}]"#;
const COUNTS_LATER: &str = r#"[{"address":"127.0.0.1:19003","num_requests":0,"fails":0},{"address":"127.0.0.1:19002","num_requests":0,"fails":0}]"#;
const ETAG: &str = "\"/config/apps/http/servers/web/routes/0/handle/0 f7aad6acf1b7ae53\"";

const FIRST: &str = "127.0.0.1:19001";
const SECOND: &str = "127.0.0.1:19002";

fn caddy(more: &str) -> CaddyDriver {
    let settings = format!(r#"{{"admin_url":"http://gw:2019/","handler":"app"{more}}}"#);
    CaddyDriver::new(&serde_json::from_str(&settings).expect("settings"), Nodes::default())
}

fn reply(status: u16, body: &str) -> Reply {
    let headers = [("etag".to_owned(), ETAG.to_owned())].into();
    Reply { status, headers, body: body.into(), ..Reply::default() }
}

fn view(handler: &str, counts: &str) -> View {
    caddy("").read(&[reply(200, handler), reply(200, counts)]).expect("readable")
}

/// The only request that changes a node: its URL, `If-Match` and body.
fn turn(more: &str, handler: &str, address: &str, down: bool) -> Result<String, String> {
    let asks = caddy(more).set(&[reply(200, handler)], address, down)?;
    let [Query::Http(request)] = &asks[..] else { panic!("{asks:?}") };
    assert_eq!(request.method, Method::Patch);
    assert_eq!(request.url, "http://gw:2019/id/app/upstreams");
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.as_ref(), value.expose())).collect();
    assert_eq!(headers, [("content-type", "application/json"), ("if-match", ETAG)]);
    Ok(String::from_utf8(request.body.clone().expect("a body")).expect("text"))
}

#[test]
fn what_the_handler_lists_is_routed_and_counted() {
    let view = view(HANDLER, COUNTS);
    for address in [FIRST, SECOND, "127.0.0.1:19003"] {
        assert_eq!(
            view.peers[address],
            Peer { up: true, failing_check: false, in_flight: Some(1) },
            "{address}"
        );
    }
}

#[test]
fn an_upstream_that_was_taken_out_stays_listed_while_requests_are_in_flight() {
    let busy = view(OUT, COUNTS);
    assert!(busy.is_out(FIRST) && !busy.routes_to(FIRST));
    assert_eq!(busy.peers[FIRST].in_flight, Some(1));
    let idle = view(OUT, COUNTS_LATER);
    assert!(idle.is_out(FIRST));
    assert_eq!(idle.peers.get(FIRST), None);
}

#[test]
fn counted_failures_hold_an_upstream_down() {
    let failed = COUNTS.replacen("\"fails\":0", "\"fails\":1", 1);
    let with = |passive: &str| {
        let checks = format!(r#"{{"health_checks":{{"passive":{passive}}},"@id""#);
        view(&HANDLER.replace("{\"@id\"", &checks), &failed).routes_to(SECOND)
    };
    assert!(view(HANDLER, &failed).routes_to(SECOND));
    assert!(with("{}"));
    assert!(!with(r#"{"fail_duration":"30s"}"#));
    assert!(with(r#"{"fail_duration":30000000000,"max_fails":2}"#));
}

#[test]
fn other_upstreams_stay_byte_for_byte() {
    let odd = HANDLER
        .replace("\"max_requests\":100", "\"max_requests\" : 1e2, \"x\":18446744073709551616");
    assert_eq!(
        turn("", &odd, FIRST, true).expect("turned"),
        r#"[{"dial":"127.0.0.1:19002","max_requests" : 1e2, "x":18446744073709551616},{"dial":"127.0.0.1:19003"}]"#
    );
}

#[test]
fn node_returns_with_the_settings_of_the_playbook() {
    let more = r#","max_requests":100"#;
    let without = turn(more, HANDLER, SECOND, true).expect("turned");
    let handler = format!(r#"{{"handler":"reverse_proxy","upstreams":{without}}}"#);
    assert_eq!(
        turn(more, &handler, SECOND, false).expect("turned"),
        r#"[{"dial":"127.0.0.1:19001"},{"dial":"127.0.0.1:19003"},{"dial":"127.0.0.1:19002","max_requests":100}]"#
    );
    assert_eq!(
        turn("", r#"{"handler":"reverse_proxy","upstreams":[]}"#, FIRST, false).as_deref(),
        Ok(r#"[{"dial":"127.0.0.1:19001"}]"#)
    );
}

#[test]
fn upstream_that_could_not_return_unchanged_is_not_taken_out() {
    for (more, address) in
        [("", SECOND), (r#","max_requests":100"#, FIRST), (r#","max_requests":1"#, SECOND)]
    {
        let error = turn(more, HANDLER, address, true).expect_err("refused");
        assert!(error.contains("would return to rotation as"), "{error}");
    }
    // `/id/u1` would disappear for other clients that use it.
    let named = HANDLER.replacen("{\"dial\"", "{\"@id\":\"u1\",\"dial\"", 1);
    let error = turn("", &named, FIRST, true).expect_err("refused");
    assert!(error.contains(r#"{"@id":"u1","dial":"127.0.0.1:19001"} would return"#), "{error}");
    let others = turn("", &named, "127.0.0.1:19003", true).expect("it keeps its name");
    assert!(others.contains(r#"{"@id":"u1","dial":"127.0.0.1:19001"}"#), "{others}");
}

#[test]
fn handler_without_its_own_list_is_not_written() {
    for (handler, why) in [
        (r#"{"handler":"file_server"}"#, "not `reverse_proxy`"),
        (r#"{"handler":"reverse_proxy"}"#, "has no `upstreams`"),
        (
            r#"{"handler":"reverse_proxy","upstreams":[],"dynamic_upstreams":{"source":"srv"}}"#,
            "has no effect",
        ),
        (r#"[{"dial":"127.0.0.1:19001"}]"#, "not a handler"),
        ("null", "not a handler"),
    ] {
        let error = turn("", handler, FIRST, true).expect_err(handler);
        assert!(error.contains(why), "{handler}: {error}");
        assert!(caddy("").read(&[reply(200, handler), reply(200, "[]")]).is_err(), "{handler}");
        assert!(caddy("").is_down(&[reply(200, handler)], FIRST).is_err(), "{handler}");
    }
    let unknown = reply(404, r#"{"error":"unknown object ID 'app'"}"#);
    assert!(caddy("").is_down(std::slice::from_ref(&unknown), FIRST).is_err());
    let no_etag = Reply { headers: [].into(), ..reply(200, HANDLER) };
    assert!(caddy("").set(&[no_etag], FIRST, true).is_err());
}

fn with_nodes(nodes: &[&str]) -> CaddyDriver {
    let settings = r#"{"admin_url":"http://gw:2019","handler":"app"}"#;
    let nodes: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
    CaddyDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::new(&nodes))
}

fn handler(dials: &[&str]) -> String {
    let upstreams: Vec<_> = dials.iter().map(|dial| json!({ "dial": dial })).collect();
    json!({ "handler": "reverse_proxy", "upstreams": upstreams }).to_string()
}

/// A name, a placeholder or another address can be the node that the list does not have.
#[test]
fn unknown_entries_are_reported_as_written() {
    let caddy = with_nodes(&[FIRST, SECOND]);
    for stranger in ["app.local:19001", "{env.APP1}", "unix//run/app.sock", "10.9.9.9:80", "{a}:1"]
    {
        let listed = [reply(200, &handler(&[stranger, SECOND]))];
        assert_eq!(caddy.listed_as(&listed, FIRST), Ok(Listed::Absent), "{stranger}");
        assert_eq!(caddy.listed_as(&listed, SECOND), Ok(Listed::Up), "{stranger}");
        assert_eq!(caddy.strangers(&listed), [stranger]);
    }
    let listed = [reply(200, r#"{"handler":"reverse_proxy","upstreams":[{},{"dial":7}]}"#)];
    assert_eq!(caddy.strangers(&listed), ["{}", r#"{"dial":7}"#]);
    let alone = [reply(200, &handler(&[SECOND]))];
    assert_eq!(caddy.strangers(&alone), Vec::<String>::new());
    assert_eq!(caddy.strangers(&[reply(404, "")]), Vec::<String>::new());
}

#[test]
fn node_in_another_spelling_is_found_and_not_taken_out() {
    for (spelling, node) in [
        ("tcp/127.0.0.1:19001", FIRST),
        ("tcp4/127.0.0.1:19001", FIRST),
        ("127.0.0.1:19001-19001", FIRST),
        ("[0:0::1]:19001", "[::1]:19001"),
        ("tcp6/[::1]:19001", "[::1]:19001"),
        ("APP:19001", "app:19001"),
    ] {
        let caddy = with_nodes(&[node]);
        let counts = format!(r#"[{{"address":"{spelling}","num_requests":2,"fails":0}}]"#);
        let replies = [reply(200, &handler(&[spelling])), reply(200, &counts)];
        let view = caddy.read(&replies).expect("readable");
        assert!(view.routes_to(node), "{spelling}: {view:?}");
        assert_eq!(view.peers[node].in_flight, Some(2), "{spelling}");
        assert_eq!(caddy.strangers(&replies), Vec::<String>::new());
        let refused = caddy.listed_as(&replies, node).expect_err(spelling);
        assert!(
            refused.contains(&format!("would return to rotation as {{\"dial\":\"{node}\"}}")),
            "{refused}"
        );
        assert_eq!(caddy.set(&replies, node, true).map(|_| ()), Err(refused));
    }
    let twice = [reply(200, &handler(&[FIRST, FIRST]))];
    let refused = with_nodes(&[FIRST]).listed_as(&twice, FIRST).expect_err("which one?");
    assert_eq!(refused, format!("its list has {FIRST} twice"));
}

#[test]
fn upstream_without_a_count_is_not_idle() {
    let odd = r#"[{"address":"127.0.0.1:19001","num_requests":null,"fails":0},{"fails":1},7,
        {"address":"127.0.0.1:19002","num_requests":-1,"fails":0}]"#;
    let shown = view(HANDLER, odd);
    for address in [FIRST, SECOND, "127.0.0.1:19003"] {
        assert!(shown.routes_to(address), "{address}");
        assert_eq!(shown.peers[address].in_flight, None, "{address}");
    }
    let checks = HANDLER
        .replace("{\"@id\"", r#"{"health_checks":{"passive":{"fail_duration":"30s"}},"@id""#);
    assert!(!view(&checks, "[]").routes_to(FIRST), "failures that are not known");
}

/// As 2.10.2 and 2.11.7 show a frame. Builds of distributions show no version.
#[test]
fn counts_are_used_only_from_versions_that_count_to_the_last_request() {
    let frame = |version: &str| {
        format!(
            "goroutine profile: total 11\n1 @ 0x1 0x2\n#\t0x1\tgithub.com/caddyserver/caddy/v2.adminHandler\
             .serveHTTP+0x53c\tgithub.com/caddyserver/caddy/v2{version}/admin.go:843\n"
        )
    };
    let of = |status, profile: &str| {
        caddy("").info(&[reply(200, HANDLER), reply(status, profile)]).miscounts
    };
    let why = |profile: &str| of(200, profile);
    for version in ["@v2.11.2", "@v2.11.7", "@v2.12.0", "@v2.12.0-beta.1", "@v3.0.0"] {
        assert_eq!(why(&frame(version)), None, "{version}");
    }
    for version in ["2.10.2", "2.11.0", "2.11.1", "2.11.2-beta.1", "2.11.2-0.20260101000000-1f3a"] {
        let why = why(&frame(&format!("@v{version}"))).expect(version);
        assert!(why.starts_with(&format!("it is Caddy {version}, which stops counting")), "{why}");
    }
    for unknown in [frame(""), String::new(), "@v2.11.7".into(), frame("@vx")] {
        assert!(why(&unknown).is_some(), "{unknown}");
    }
    assert!(of(403, &frame("@v2.11.7")).is_some());
}

#[test]
fn only_200_is_done() {
    let done = |status, body| caddy("").is_done(&[reply(status, body)]);
    assert_eq!(done(200, ""), Ok(()));
    let stale = r#"{"error":"If-Match header did not match current config hash"}"#;
    assert!(done(412, stale).expect_err("stale").to_string().contains("another writer"));
    assert!(
        done(
            500,
            r#"{"error":"decoding request body: unexpected end of JSON input, at offset 9"}"#
        )
        .is_err()
    );
    assert!(done(400, r#"{"error":"unacceptable content-type: application/x-www-form-urlencoded; 'application/json' required"}"#).is_err());
}
