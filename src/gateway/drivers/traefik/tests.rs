use serde_json::Value;

use super::*;
use crate::gateway::drivers::readings::Readings as _;

const FIRST: &str = "127.0.0.1:19001";
const SECOND: &str = "127.0.0.1:19002";
const THIRD: &str = "127.0.0.1:19003";

/// As Traefik 3.7 shows it: the first server is out, and the third fails Traefik's own check.
const SERVICE: &str = include_str!("../../../../tests/fixtures/gateway/traefik/service.json");

const FILE: &str = r#"{"http":{"routers":{"app":{"rule":"PathPrefix(`/`)","service":"app"}},"services":{"app":{"loadBalancer":{"healthCheck":{"path":"/"},"servers":[
{"url":"http://127.0.0.1:19001","preservePath":true},{"url":"http://127.0.0.1:19002","weight":-5},{"url":"http://127.0.0.1:19003","weight":0}]}}}}}
"#;

fn traefik() -> TraefikDriver {
    let settings =
        r#"{"api_url":"http://gw:8080/","service":"app","ssh":"gw","file":"/etc/traefik/app.yml"}"#;
    TraefikDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::default())
}

fn reply(body: &str) -> Reply {
    Reply { status: 200, body: body.into(), ..Reply::default() }
}

fn servers(file: &Value) -> &Value {
    &file["http"]["services"]["app"]["loadBalancer"]["servers"]
}

#[test]
fn a_server_without_weight_is_out_whatever_its_status() {
    let view = traefik().read(&[reply(SERVICE)]).expect("readable");
    assert!(view.is_out(FIRST) && !view.routes_to(FIRST));
    assert!(view.routes_to(SECOND));
    assert!(!view.routes_to(THIRD) && !view.is_out(THIRD), "a check can change its mind");
}

#[test]
fn the_same_address_twice_is_routed_as_long_as_one_is() {
    let twice = SERVICE
        .replace("{\"url\":\"http://127.0.0.1:19002\"}", "{\"url\":\"http://127.0.0.1:19001/a\"}");
    let view = traefik().read(&[reply(&twice)]).expect("readable");
    assert!(view.routes_to(FIRST));
}

#[test]
fn odd_server_affects_no_other() {
    let servers = "\"servers\":[";
    assert!(SERVICE.contains(servers));
    let odd = r#"{"url":"x"},{"url":7,"weight":"no"},{"url":"http://10.9.9.9","weight":0.5},null,"#;
    let view = SERVICE.replacen(servers, &format!("{servers}{odd}"), 1);
    let view = traefik().read(&[reply(&view)]).expect("readable");
    assert!(view.is_out(FIRST) && view.routes_to(SECOND));
    // A weight that is not a number is an error of that server only.
    let own = SERVICE.replacen(
        "{\"url\":\"http://127.0.0.1:19002\"}",
        "{\"url\":\"http://127.0.0.1:19002\",\"weight\":\"1\"}",
        1,
    );
    let view = traefik().read(&[reply(&own)]).expect("readable");
    assert!(!view.is_out(SECOND) && !view.routes_to(SECOND), "{view:?}");
    assert!(view.is_out(FIRST));
}

#[test]
fn reply_without_the_service_is_refused() {
    let weighted = r#"{"weighted":{"services":[{"name":"app","weight":1}]},"status":"enabled","usedBy":["w@file"],"name":"w@file","provider":"file","type":"weighted"}"#;
    let disabled = r#"{"loadBalancer":{"servers":[{"url":"http://127.0.0.1:19001"}],"strategy":"wrr","passHostHeader":true,"responseForwarding":{"flushInterval":"100ms"},"serversTransport":"none@file"},"error":["error building proxy for server URL http://127.0.0.1:19001: getting RoundTripper: servers transport not found none@file"],"status":"disabled","usedBy":["bad@file"],"name":"bad@file","provider":"file","type":"loadbalancer"}"#;
    for (service, why) in [
        (weighted.to_owned(), "no servers of its own"),
        (disabled.to_owned(), "servers transport not found"),
        (SERVICE.replace("\"wrr\"", "\"p2c\""), "ignores weights"),
        ("404 page not found\n".into(), "cannot be read"),
    ] {
        let error = traefik().read(&[reply(&service)]).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
    let unknown = Reply { status: 404, ..reply("{\"message\":\"service not found: app@file\"}\n") };
    let error = traefik().read(&[unknown]).expect_err("unknown");
    assert!(error.contains("service not found"), "{error}");
}

#[test]
fn probe_reports_the_version() {
    let version =
        r#"{"Version":"3.7.15","Codename":"langres","startDate":"2026-11-21T20:47:34.444659226Z"}"#;
    let of = |version: &str| traefik().info(&[reply(SERVICE), reply(version)]);
    assert_eq!(of(version), GatewayInfo { is: "Traefik 3.7.15".into(), ..GatewayInfo::default() });
    assert_eq!(of("<html>").is, "Traefik");
    // It rejects a file in which a server has a weight.
    let old = of(r#"{"Version":"2.11.2","Codename":"mimolette"}"#);
    assert!(old.blockers[0].contains("before 3"), "{old:?}");
    let blockers = traefik().info(&[reply(&SERVICE.replace("\"wrr\"", "\"p2c\"")), reply(version)]);
    assert!(blockers.blockers[0].contains("p2c"), "{blockers:?}");
    let urls = traefik().queries(Purpose::Probe).into_iter().map(|ask| match ask {
        Query::Http(request) => request.url,
        other => panic!("{other:?}"),
    });
    let wanted = ["http://gw:8080/api/http/services/app@file", "http://gw:8080/api/version"];
    assert!(urls.eq(wanted));
}

/// The new content of the file, if it is still as it was read.
fn turn(file: &str, address: &str, down: bool) -> Result<Value, String> {
    traefik().control.replaced("/etc/traefik/app.yml", file, address, down)
}

#[test]
fn only_the_sign_of_the_nodes_weight_is_written() {
    let before: Value = serde_json::from_str(FILE).expect("JSON");
    for (address, index, down, weight) in
        [(FIRST, 0, true, -1), (SECOND, 1, false, 5), (THIRD, 2, false, 1), (SECOND, 1, true, -5)]
    {
        let mut after = turn(FILE, address, down).expect("turned");
        assert_eq!(servers(&after)[index]["weight"], weight, "{address}");
        let mut wanted = before.clone();
        for file in [&mut after, &mut wanted] {
            let list = &mut file["http"]["services"]["app"]["loadBalancer"]["servers"];
            list[index]["weight"] = Value::Null;
        }
        assert_eq!(after, wanted, "{address}");
    }
    let is_down = |address| traefik().control.is_down(&[reply(FILE)], address);
    assert_eq!([FIRST, SECOND, THIRD].map(is_down), [Ok(false), Ok(true), Ok(true)]);
}

#[test]
fn yaml_file_keeps_every_other_byte() {
    let yaml = "http:\n  services:\n    app:\n      loadBalancer:\n        servers:\n          \
                - url: http://127.0.0.1:19001 # one\n          - url: \"http://127.0.0.1:19002\"\n            weight: 2\n";
    let turn = |file: &str, address, down| {
        traefik().control.replaced_text("/etc/traefik/app.yml", file, address, down)
    };
    let out = turn(yaml, SECOND, true).expect("turned");
    assert_eq!(out, yaml.replace("weight: 2", "weight: -2"));
    assert_eq!(turn(&out, SECOND, false).as_deref(), Ok(yaml));
    let out = turn(yaml, FIRST, true).expect("turned");
    let first = "- url: http://127.0.0.1:19001";
    assert_eq!(out, yaml.replace(first, "- weight: -1\n            url: http://127.0.0.1:19001"));
}

/// With the names that Traefik accepts.
#[test]
fn names_keep_their_case() {
    let other = FILE.replace("loadBalancer", "loadbalancer").replace("\"weight\"", "\"Weight\"");
    let after = turn(&other, SECOND, false).expect("turned");
    let server = &after["http"]["services"]["app"]["loadbalancer"]["servers"][1];
    assert_eq!((&server["Weight"], server.get("weight")), (&5.into(), None));
}

#[test]
fn missing_entry_in_the_file_is_not_written() {
    for (file, why) in [
        (FILE.replace("\"services\":{\"app\"", "\"services\":{\"other\""), "no `http.services.app"),
        (FILE.replace("19001", "19009"), "no server 127.0.0.1:19001"),
        (FILE.replace("\"preservePath\":true", "\"weight\":\"5\""), "not a whole number"),
        ("http:\n  services: {}\n".into(), "no `http.services.app"),
        ("null".into(), "no `http.services.app"),
        (
            FILE.replace("\"/\"", &format!("\"/{}\"", "1".repeat(crate::gateway::file::LIMIT))),
            "bytes",
        ),
    ] {
        let error = turn(&file, FIRST, true).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn an_address_is_found_in_a_url() {
    for (url, address) in [
        ("http://10.0.1.11:9000", Some("10.0.1.11:9000")),
        ("h2c://10.0.1.11:9000/", Some("10.0.1.11:9000")),
        ("http://u:p@10.0.1.11:9000/a:1?b", Some("10.0.1.11:9000")),
        ("http://10.0.1.11", Some("10.0.1.11:80")),
        ("https://app.example/", Some("app.example:443")),
        ("http://[::1]", Some("[::1]:80")),
        ("https://[::1]:9000", Some("[::1]:9000")),
        ("10.0.1.11:9000", None),
        ("http://", None),
    ] {
        assert_eq!(file::address(url).ok().as_deref(), address, "{url}");
    }
}
