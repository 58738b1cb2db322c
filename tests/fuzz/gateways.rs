//! Replies of gateways, read by their drivers.

use proptest::prelude::*;
use rollgate::gateway::{Driver, Gateway, GatewaySpec, RotationControl, View, driver};
use rollgate::world::Reply;
use serde_json::json;

use crate::damaged::{assert_printable, bytes, cases};

/// Recorded status pages of real gateways of several kinds.
const SHOWN: [&str; 13] = [
    "Upstream name: 127.0.0.1; Backend server count: 1
        server 127.0.0.1:80 weight=1 max_fails=1 fail_timeout=10s;

Upstream name: app; Backend server count: 3
        server 127.0.0.1:18001 weight=1 max_fails=2 fail_timeout=10s;
        server 127.0.0.1:18002 weight=1 max_fails=2 fail_timeout=10s down;
        server 127.0.0.1:18003 weight=1 max_fails=2 fail_timeout=10s;
",
    "The upstream you requested does not exist. Please double-check the name",
    r#"{"servers": {"total": 2, "generation": 1, "server": [{"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0}, {"index": 1, "upstream": "app", "name": "127.0.0.1:18002", "status": "down", "rise": 0, "fall": 9, "type": "http", "port": 0}]}}"#,
    "host1\nserver 127.0.0.1:19003 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0\n\napp\nserver 127.0.0.1:19001 weight=5 max_conns=0 max_fails=3 fail_timeout=7 backup=0 down=1\n\n",
    "server 127.0.0.1:19001 addr=127.0.0.1:19001 weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns=2 down;\n",
    r#"{"peers":[{"max_fails":1,"weight":1,"name":"127.0.0.1:19003","server":"127.0.0.1:19003","fail_timeout":10,"backup":false,"conns":0,"down":true},{"name":"127.0.0.1:19001","conns":18446744073709551615,"down":false}]}"#,
    r#"{"shd_config_version":0,"peers":[[{"weight":1,"msg":null,"status":"ok","server":"node-dev.example:127.0.0.1:19001"}]],"checkup_timer_alive":true}"#,
    r#"{"app":{"enable":true,"cluster":[{"servers":[{"host":"127.0.0.1","port":19001}]}],"keepalive":20}}"#,
    "upstream app {\nserver 127.0.0.1:19001 weight=5 max_fails=3 fail_timeout=7s;\nserver 127.0.0.1:19002 down;\nkeepalive 8;\n}\nupstream host1 {\nserver 127.0.0.1:19003;\n}\n",
    r#"{"shd_config_version":0,"cls:app":[[{"weight":1,"msg":null,"status":"ok","server":"app:127.0.0.1:19001"}]],"checkup_timer_alive":true}"#,
    r#"[{"Key":"config/slardar/upstreams/app","Value":"eyJzZXJ2ZXJzIjpbXX0=","Flags":0,"ModifyIndex":7}]"#,
    r#"{"value":{"id":"app","type":"roundrobin","nodes":[{"host":"127.0.0.1","port":19001,"weight":0,"priority":0},{"host":"127.0.0.1","port":19002,"weight":1}]},"key":"/apisix/upstreams/app","modifiedIndex":1225}"#,
    r#"{"key":"/apisix/upstreams/app","value":{"id":"app","type":"roundrobin","nodes":{"127.0.0.1:19001":0,"127.0.0.1:19002":1}},"modifiedIndex":1225}"#,
];

/// The handler of a real Caddy, and its request counts.
const CADDY: [&str; 2] = [
    r#"{"@id":"app","handler":"reverse_proxy","health_checks":{"passive":{"fail_duration":"30s"}},"upstreams":[{"dial":"127.0.0.1:19001"},{"dial":"127.0.0.1:19002","max_requests":100},{"dial":"127.0.0.1:19003"}]}"#,
    r#"[{"address":"127.0.0.1:19002","num_requests":1,"fails":0},{"address":"127.0.0.1:19003","num_requests":1,"fails":0},{"address":"127.0.0.1:19001","num_requests":1,"fails":0}]"#,
];

/// The endpoints of a real Envoy.
const ENVOY_FILE: &str = r#"{"resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"app","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":19001}}}},{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":19002}}},"health_status":"DRAINING"}]}]}]}"#;

/// The servers of a real Traefik.
const TRAEFIK_FILE: &str = r#"{"http":{"routers":{"app":{"rule":"PathPrefix(`/`)","service":"app"}},"services":{"app":{"loadBalancer":{"servers":[{"url":"http://127.0.0.1:19001"},{"url":"http://127.0.0.1:19002","weight":-9223372036854775808},{"url":"http://127.0.0.1:19001/a","weight":5}]}}}}}"#;

fn read_by(settings: serde_json::Value) -> Box<dyn Driver> {
    let settings: Gateway = serde_json::from_value(settings).expect("settings");
    driver(&GatewaySpec {
        name: "gw".into(),
        settings,
        trust: rollgate::world::Trust::default(),
        nodes: nodes(),
        registry: 0,
    })
}

fn nodes() -> Vec<String> {
    ["127.0.0.1:19001", "127.0.0.1:19002"].map(String::from).to_vec()
}

fn upsync() -> Box<dyn Driver> {
    read_by(json!({
        "type": "nginx-upsync", "upstream": "app", "status_url": "http://gw/l?app", "check_url": "http://gw/c",
    }))
}

fn tables() -> Vec<Box<dyn Driver>> {
    let table = |settings: serde_json::Value| {
        let mut settings = settings;
        settings["type"] = "http-table".into();
        settings["url"] = "http://gw/peers".into();
        read_by(settings)
    };
    vec![
        table(json!({})),
        table(
            json!({ "list": "/peers", "address": "/name", "routed": "/down", "in_flight": "/conns" }),
        ),
        table(json!({ "list": "/peers/0", "address": "/server", "routed": "/status" })),
        table(json!({ "routed": "/enable" })),
        table(json!({ "pattern": r"server (?P<address>[^\s;]+:\d+)[^;]*?(?P<down>\sdown)?;" })),
        table(json!({ "pattern": r"(?m)^server (?P<address>\S+) .*down=(?:(?P<routed>0)|1)$" })),
    ]
}

const HAPROXY: [&str; 3] = [
    include_str!("../fixtures/gateway/haproxy/2.6.12/runtime-out.txt"),
    include_str!("../fixtures/gateway/haproxy/2.6.12/page-out.csv"),
    "app,s1,\"a, \"\"b\"\"\",DOWN 1/2,\"\n",
];

/// A gateway of commands that finds its peers as `how` says.
fn commands(how: &serde_json::Value) -> Box<dyn Driver> {
    let mut settings = how.clone();
    for (key, value) in [
        ("type", "command"),
        ("name", "lb"),
        ("list", "l"),
        ("out", "o"),
        ("in", "i"),
        ("in_flight", "n"),
    ] {
        settings[key] = value.into();
    }
    read_by(settings)
}

fn haproxies() -> [Box<dyn Driver>; 2] {
    [json!({ "tcp": "h:1" }), json!({ "stats_url": "http://h/s" })].map(|mut settings| {
        settings["type"] = "haproxy".into();
        settings["backend"] = "app".into();
        read_by(settings)
    })
}

/// The other forms of `check_status`.
const CHECKED: [&str; 6] = [
    include_str!("../fixtures/gateway/check_status/check-0.2.0.html"),
    include_str!("../fixtures/gateway/check_status/tengine-2.3.3.csv"),
    include_str!("../fixtures/gateway/check_status/tengine-2.3.3.prometheus"),
    include_str!("../fixtures/gateway/check_status/healthcheck.csv"),
    include_str!("../fixtures/gateway/check_status/healthcheck.html"),
    include_str!("../fixtures/gateway/check_status/healthcheck.json"),
];

/// The value that Consul keeps for Slardar: `{"servers":[{"host":"127.0.0.1","port":19001}]}`.
const KEY: &str = r#"[{"Key":"config/slardar/upstreams/app","Value":"eyJzZXJ2ZXJzIjpbeyJob3N0IjoiMTI3LjAuMC4xIiwicG9ydCI6MTkwMDF9XX0=","ModifyIndex":7}]"#;

/// The drivers that write through an API of their own.
fn switched() -> Vec<Box<dyn Driver>> {
    let url = "http://gw/api";
    let dyups = |mode: &str| {
        read_by(json!({
            "type": "dyups", "upstream": "app", "url": url, "mode": mode, "extras": "keepalive 8;",
            "servers": { "127.0.0.1:19001": "weight=5 max_fails=3 fail_timeout=7s" },
        }))
    };
    let module = |variant: &str| {
        read_by(json!({
            "type": "ngx-dynamic-upstream", "upstream": "app", "url": url, "variant": variant,
        }))
    };
    let slardar = read_by(json!({ "type": "slardar", "upstream": "app", "url": url }));
    let apisix = read_by(json!({
        "type": "apisix", "admin_url": url, "admin_key": "${{ secrets.key }}", "control_url": url, "upstream": "app",
    }));
    vec![apisix, dyups("classic"), dyups("head"), module("zigzagak"), module("cubicdaiya"), slardar]
}

fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, body: body.into(), ..Reply::default() }
}

/// Returns whether a node is out, as far as its own address shows.
fn is_down(
    control: &dyn RotationControl,
    replies: &[Reply],
    address: &str,
) -> Result<bool, String> {
    control.listing(replies, address).map(|listing| listing.is_down())
}

/// Reads a reply; an error must be printable.
fn read(driver: &dyn Driver, replies: &[Reply]) -> Option<View> {
    driver.read(replies).inspect_err(|error| assert_printable(error)).ok()
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn any_reply_is_read_as_a_table_or_refused(body in bytes(&SHOWN), status in 0_u16..700) {
        for table in tables() {
            read(&*table, &[reply(200, &body.0)]);
            read(&*table, &[reply(status, &body.0)]);
            read(&*table, &[]);
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn any_reply_of_an_api_is_read_or_refused(body in bytes(&SHOWN), status in 0_u16..700) {
        for driver in switched() {
            let control = driver.rotation_control().expect("an API");
            let key = || reply(200, KEY.as_bytes());
            for replies in [
                vec![reply(200, &body.0)],
                vec![reply(status, &body.0)],
                vec![reply(200, &body.0), key()],
                vec![reply(200, SHOWN[7].as_bytes()), reply(200, &body.0)],
                Vec::new(),
            ] {
                let view = read(&*driver, &replies);
                for node in nodes() {
                    let down = is_down(control, &replies, &node);
                    let turned = control.set(&replies, &node, true).map(|_| ());
                    let done = control.is_done(&replies).map_err(|not_done| not_done.to_string());
                    for error in [down.clone().map(|_| ()), turned, done] {
                        let _ = error.inspect_err(|error| assert_printable(error));
                    }
                    // The reads before a write and for a confirmation agree.
                    if let (Some(view), Ok(down)) = (&view, down) {
                        prop_assert_eq!(down, view.is_out(&node), "{}", node);
                    }
                }
            }
        }
    }
}

/// Recorded DNS answers of a real Consul over TCP: eight instances, none, a name without an address, and a truncated
/// one.
const RECORDS: [&[u8]; 4] = [
    include_bytes!("../fixtures/gateway/consul-dns/eight.bin"),
    include_bytes!("../fixtures/gateway/consul-dns/no-instance.bin"),
    include_bytes!("../fixtures/gateway/consul-dns/name.bin"),
    include_bytes!("../fixtures/gateway/consul-dns/cut.bin"),
];

fn dns() -> Box<dyn Driver> {
    read_by(json!({ "type": "consul-dns", "server": "h:8600", "record": "app.service.consul" }))
}

/// The output of consul-template, before the numbers of leaving and of older workers.
const RENDERED: [&str; 2] = [
    "upstream app {\n  server 127.0.0.1:19001 weight=5;\n  server 127.0.0.1:19002 down;\n}\n\nleaving=2 older=0\n",
    "upstream app {\n  server 127.0.0.1:1 down;\n}\n\nleaving=0 older=0\n",
];

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_answer_of_a_dns_server_is_read_or_refused(
        which in 0..RECORDS.len(),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..8),
        end in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut answer = RECORDS[which].to_vec();
        for (at, byte) in spoilt {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        answer.extend(tail);
        read(&*dns(), &[reply(200, &answer)]);
        answer.truncate(end.index(answer.len()));
        read(&*dns(), &[reply(200, &answer)]);
        read(&*dns(), &[reply(200, &noise)]);
        let cut = &RECORDS[0][..end.index(RECORDS[0].len())];
        prop_assert_eq!(read(&*dns(), &[reply(200, cut)]), None);
    }

    #[test]
    fn any_rendered_file_is_read_or_refused(said in bytes(&RENDERED)) {
        let rendered = read_by(json!({
            "type": "consul-template", "ssh": "gw", "file": "/app.conf", "pid_file": "/run/nginx.pid",
        }));
        let view = read(&*rendered, &[reply(200, &said.0)]);
        let counted = said.0.windows(9).any(|nine| nine == b"\nleaving=");
        prop_assert!(counted || view.is_none(), "{view:?}");
    }

    #[test]
    fn any_reply_of_nginx_upsync_is_read_or_refused(
        shown in bytes(&[SHOWN[0]]),
        checked in bytes(&CHECKED),
        status in 0_u16..700,
    ) {
        let (show, check) = (|| reply(200, SHOWN[0].as_bytes()), || reply(200, SHOWN[2].as_bytes()));
        read(&*upsync(), &[reply(200, &shown.0), check()]);
        read(&*upsync(), &[show(), reply(200, &checked.0)]);
        read(&*upsync(), &[reply(status, &shown.0), check()]);
        read(&*upsync(), &[show(), reply(status, &checked.0)]);
        read(&*upsync(), &[show()]);
    }

    #[test]
    fn any_output_of_a_command_is_read_or_refused(said in bytes(&SHOWN)) {
        let json = json!({ "peers": "/peers", "address": "/name", "routed": "/down" });
        let text = json!({ "pattern": r"server (?P<address>\S+) [^;]*?(?P<down>down)?;" });
        for how in [json, text] {
            let commands = commands(&how);
            let said = reply(200, &said.0);
            read(&*commands, std::slice::from_ref(&said));
            let control = commands.rotation_control().expect("it has one");
            let down = is_down(control, std::slice::from_ref(&said), "127.0.0.1:18001");
            let number = commands.read_count(&said);
            for error in [down.err(), number.err()].into_iter().flatten() {
                assert_printable(&error);
            }
        }
    }

    #[test]
    fn any_answer_of_haproxy_is_read_or_refused(said in bytes(&HAPROXY), status in 0_u16..700) {
        for haproxy in haproxies() {
            read(&*haproxy, &[reply(200, &said.0)]);
            read(&*haproxy, &[reply(status, &said.0)]);
            let control = haproxy.rotation_control().expect("it has one");
            let replies = [reply(200, &said.0), reply(200, &said.0)];
            if let Err(error) = is_down(control, &replies, "127.0.0.1:19001") {
                assert_printable(&error);
            }
            if let Ok(asks) = control.set(&replies, "127.0.0.1:19001", true) {
                // Whatever names HAProxy has for its servers, one line with one command is sent.
                let said = format!("{asks:?}");
                prop_assert!(said.matches("\\n").count() <= 1 && !said.contains(';'), "{said}");
            }
            if let Err(error) = control.is_done(&replies) {
                assert_printable(&error.to_string());
            }
        }
    }

    #[test]
    fn truncated_answer_of_haproxy_never_shows_other_peers(
        at in any::<prop::sample::Index>(),
    ) {
        let whole = HAPROXY[0].as_bytes();
        let runtime = &haproxies()[0];
        let view = read(&**runtime, &[reply(200, whole)]);
        prop_assert!(view.is_some());
        let cut = read(&**runtime, &[reply(200, &whole[..at.index(whole.len())])]);
        prop_assert_eq!(cut, None);
    }

    #[test]
    fn any_reply_of_caddy_is_read_or_refused(
        handler in bytes(&[CADDY[0]]),
        counts in bytes(&[CADDY[1]]),
        status in 0_u16..700,
    ) {
        let caddy = read_by(json!({ "type": "caddy", "admin_url": "http://gw", "handler": "app" }));
        let control = caddy.rotation_control().expect("it has one");
        read(&*caddy, &[reply(200, &handler.0), reply(200, CADDY[1].as_bytes())]);
        read(&*caddy, &[reply(200, CADDY[0].as_bytes()), reply(200, &counts.0)]);
        read(&*caddy, &[reply(status, &handler.0)]);
        let mut listed = reply(200, &handler.0);
        listed.headers.insert("etag".into(), "\"/config 1\"".into());
        let address = "127.0.0.1:19001";
        let said = is_down(control, std::slice::from_ref(&listed), address).err();
        let refused = control.set(&[listed], address, true).err();
        let done = control.is_done(&[reply(status, &counts.0)]).err();
        let done = done.map(|not_done| not_done.to_string()).into_iter();
        let info = caddy.info(&[reply(200, &handler.0), reply(200, &counts.0)]);
        for error in said.into_iter().chain(refused).chain(done).chain(info.miscounts) {
            assert_printable(&error);
        }
    }

    #[test]
    fn any_reply_of_envoy_is_read_or_refused(
        clusters in bytes(&[include_str!("../fixtures/gateway/envoy/clusters.json")]),
        file in bytes(&[ENVOY_FILE]),
        status in 0_u16..700,
    ) {
        let envoy = read_by(json!({
            "type": "envoy", "admin_url": "http://gw", "cluster": "app", "ssh": "gw", "file": "/eds",
        }));
        let control = envoy.rotation_control().expect("it has one");
        read(&*envoy, &[reply(200, &clusters.0)]);
        read(&*envoy, &[reply(status, &clusters.0)]);
        let file = [reply(200, &file.0)];
        let said = is_down(control, &file, "127.0.0.1:19001").err();
        let refused = control.set(&file, "127.0.0.1:19001", true).err();
        said.into_iter().chain(refused).for_each(|error| assert_printable(&error));
    }

    #[test]
    fn any_reply_of_traefik_is_read_or_refused(
        service in bytes(&[include_str!("../fixtures/gateway/traefik/service.json")]),
        version in bytes(&[r#"{"Version":"3.7.15","Codename":"langres"}"#]),
        file in bytes(&[TRAEFIK_FILE]),
        status in 0_u16..700,
    ) {
        let traefik = read_by(json!({
            "type": "traefik", "api_url": "http://gw", "service": "app", "ssh": "gw", "file": "/app.yml",
        }));
        let control = traefik.rotation_control().expect("it has one");
        read(&*traefik, &[reply(200, &service.0)]);
        read(&*traefik, &[reply(status, &service.0)]);
        let info = traefik.info(&[reply(200, &service.0), reply(status, &version.0)]);
        info.blockers.iter().chain([&info.is]).for_each(|text| assert_printable(text));
        let file = [reply(200, &file.0)];
        let said = is_down(control, &file, "127.0.0.1:19001").err();
        let refused = control.set(&file, "127.0.0.1:19001", true).err();
        let back = control.set(&file, "127.0.0.1:19002", false).err();
        said.into_iter().chain(refused).chain(back).for_each(|error| assert_printable(&error));
    }

    #[test]
    fn truncated_reply_never_shows_other_peers(at in any::<prop::sample::Index>()) {
        let check = || reply(200, SHOWN[2].as_bytes());
        let whole = read(&*upsync(), &[reply(200, SHOWN[0].as_bytes()), check()]);
        prop_assert!(whole.is_some());
        let cut = at.index(SHOWN[0].len());
        let view = read(&*upsync(), &[reply(200, &SHOWN[0].as_bytes()[..cut]), check()]);
        prop_assert!(view.is_none() || view == whole, "cut at {cut}: {view:?}");
        let cut = at.index(SHOWN[5].len());
        let table = &tables()[1];
        prop_assert!(read(&**table, &[reply(200, SHOWN[5].as_bytes())]).is_some());
        prop_assert_eq!(read(&**table, &[reply(200, &SHOWN[5].as_bytes()[..cut])]), None);
    }
}

#[test]
fn long_replies_are_read_or_refused_quickly() {
    let begun = std::time::Instant::now();
    let long = |text: &str| text.repeat((1 << 19) / text.len());
    for text in ["[", "{\"a\":", "\"", "server ", "server a:1 x", "Upstream name: ", "\n", " ", "9"]
    {
        let replies = [reply(200, long(text).as_bytes()), reply(200, long(text).as_bytes())];
        read(&*upsync(), &replies);
        for table in tables().iter().take(4).chain(&switched()) {
            read(&**table, &replies);
        }
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
