//! Uses replies in the form of the documentation of APISIX 3.

use super::*;
use crate::gateway::drivers::readings::Readings as _;
use crate::secret::remember_named;

const FIRST: &str = "127.0.0.1:19001";
const SECOND: &str = "127.0.0.1:19002";

/// `GET /v1/upstream/app` of the control API.
const CONTROL: &str = r#"{"value":{"id":"app","type":"roundrobin","scheme":"http","pass_host":"pass","hash_on":"vars","create_time":1634539759,"update_time":1634543819,"nodes":[{"host":"127.0.0.1","port":19001,"weight":0,"priority":0},{"host":"127.0.0.1","port":19002,"weight":1,"priority":0},{"host":"127.0.0.1","port":19003,"weight":1,"priority":0}]},"has_domain":false,"clean_handlers":{},"key":"/apisix/upstreams/app","createdIndex":938,"modifiedIndex":1225}"#;

/// `GET /apisix/admin/upstreams/app`.
const ADMIN: &str = r#"{"key":"/apisix/upstreams/app","value":{"id":"app","type":"roundrobin","scheme":"http","pass_host":"pass","hash_on":"vars","nodes":{"127.0.0.1:19001":0,"127.0.0.1:19002":1,"127.0.0.1:19003":1},"create_time":1634539759,"update_time":1634543819},"createdIndex":938,"modifiedIndex":1225}"#;

fn apisix(more: &str) -> ApisixDriver {
    let settings = format!(
        r#"{{"admin_url":"http://gw:9180/","admin_key":"${{{{ secrets.apisix-key }}}}","control_url":"http://gw:9090/",
            "upstream":"app"{more}}}"#
    );
    ApisixDriver::new(&serde_json::from_str(&settings).expect("settings"), Nodes::default())
}

fn reply(status: u16, body: &str) -> [Reply; 1] {
    [Reply { status, body: body.into(), ..Reply::default() }]
}

#[track_caller]
fn request(queries: &[Query]) -> &Request {
    let [Query::Http(request)] = queries else { panic!("{queries:?}") };
    request
}

#[test]
fn node_without_weight_is_out() {
    let view = apisix("").read(&reply(200, CONTROL)).expect("readable");
    assert!(view.is_out(FIRST) && view.routes_to(SECOND) && view.routes_to("127.0.0.1:19003"));
    assert_eq!(view.overridden, None);
}

#[test]
fn balancer_that_ignores_weights_is_refused() {
    for kind in ["ewma", "least_conn", ""] {
        let shown = CONTROL.replace("roundrobin", kind);
        let error = apisix("").read(&reply(200, &shown)).expect_err(kind);
        assert!(error.contains("`roundrobin` or `chash`"), "{error}");
    }
    assert!(apisix("").read(&reply(200, &CONTROL.replace("roundrobin", "chash"))).is_ok());
}

#[test]
fn weights_confirm_nothing_if_apisix_ignores_them() {
    for weights in ["\"weight\":0", "\"weight\": 0"] {
        let all = CONTROL.replace("\"weight\":1", weights);
        let view = apisix("").read(&reply(200, &all)).expect("readable");
        assert!(view.overridden.is_some_and(|why| why.starts_with("0 of its 3 nodes")));
    }
    let one = r#"{"value":{"type":"roundrobin","nodes":[{"host":"::1","port":80,"weight":0},
        {"host":"a","port":80,"weight":0}]}}"#;
    let only = one.replace(",\n        {\"host\":\"a\",\"port\":80,\"weight\":0}", "");
    for (shown, nodes) in [(one, 2), (&*only, 1)] {
        let view = apisix("").read(&reply(200, shown)).expect("readable");
        assert_eq!((view.peers.len(), view.overridden.is_some()), (nodes, true), "{shown}");
        assert!(view.peers.contains_key("[::1]:80"), "{view:?}");
    }
}

#[test]
fn only_the_weight_of_the_node_is_written() {
    remember_named(&[("apisix-key".to_owned(), Secret::new("k3y-of-the-admin-api"))].into());
    for (more, address, down, body) in [
        ("", SECOND, true, r#"{"nodes":{"127.0.0.1:19002":0}}"#),
        ("", FIRST, false, r#"{"nodes":{"127.0.0.1:19001":1}}"#),
        (r#","weights":{"127.0.0.1:19001":5}"#, FIRST, false, r#"{"nodes":{"127.0.0.1:19001":5}}"#),
    ] {
        let queries = apisix(more).set(&reply(200, ADMIN), address, down).expect("writable");
        let request = request(&queries);
        assert_eq!(request.method, Method::Patch);
        assert_eq!(request.url, "http://gw:9180/apisix/admin/upstreams/app");
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.as_ref(), value.expose())).collect();
        assert_eq!(
            headers,
            [("x-api-key", "k3y-of-the-admin-api"), ("content-type", "application/json")]
        );
        assert_eq!(request.body.as_deref(), Some(body.as_bytes()));
        assert!(!format!("{queries:?}").contains("k3y"), "{queries:?}");
    }
}

#[test]
fn key_is_sent_to_the_admin_api_alone() {
    remember_named(&[("apisix-key".to_owned(), Secret::new("k3y-of-the-admin-api"))].into());
    let apisix = apisix("");
    assert!(request(&apisix.queries(Purpose::Look)).headers.is_empty());
    let rotation = apisix.queries(Purpose::Rotation);
    assert_eq!(request(&rotation).headers.len(), 1);
}

#[test]
fn node_that_would_return_in_another_form_is_not_taken_out() {
    let is_down = |more: &str, address| apisix(more).is_down(&reply(200, ADMIN), address);
    assert_eq!((is_down("", FIRST), is_down("", SECOND)), (Ok(true), Ok(false)));
    let error = is_down(r#","weight":3"#, SECOND).expect_err("another weight");
    assert!(error.contains("would return to rotation with 3"), "{error}");
    assert!(is_down("", "127.0.0.1:1").expect_err("not listed").contains("has no node"));
    let older = format!(r#"{{"action":"get","node":{ADMIN}}}"#);
    assert_eq!(apisix("").is_down(&reply(200, &older), FIRST), Ok(true));
    let array = r#"{"value":{"nodes":[{"host":"127.0.0.1","port":19001,"weight":1}]}}"#;
    let error = apisix("").is_down(&reply(200, array), FIRST).expect_err("an array");
    assert!(error.contains("as an array"), "{error}");
}

#[test]
fn replies_that_show_no_upstream_are_errors() {
    let wrong_key = r#"{"error_msg":"failed to check token","description":"wrong apikey"}"#;
    let apisix = apisix("");
    assert!(
        apisix.listing(&reply(401, wrong_key), FIRST).expect_err("refused").contains("admin_key")
    );
    for (status, body) in [(404, "{}"), (503, "{}"), (200, ""), (200, "{}"), (200, "[]")] {
        assert!(apisix.read(&reply(status, body)).is_err(), "{status} {body}");
        assert!(apisix.listing(&reply(status, body), FIRST).is_err(), "{status} {body}");
    }
    assert_eq!(apisix.is_done(&reply(200, ADMIN)), Ok(()));
    assert!(matches!(apisix.is_done(&reply(400, "{}")), Err(NotDone::Refused(_))));
    assert!(matches!(apisix.is_done(&reply(503, "{}")), Err(NotDone::Unknown(_))));
}
