//! What each kind of gateway requires of its keys.

use rollgate::playbook::load_text;

use crate::{SMALLEST, messages, refused};

/// The smallest file with another gateway, and the registry `gateway`.
fn behind(gateway: &str) -> String {
    let line = SMALLEST.lines().find(|line| line.contains("nginx-upsync")).expect("a gateway");
    let registry = "registry: { type: consul-kv, prefix: upstreams/app/ }";
    assert!(SMALLEST.contains(registry));
    SMALLEST
        .replace(line, &format!("  - {{ {gateway} }}"))
        .replace(registry, "registry: { type: gateway }")
}

#[track_caller]
fn assert_refused(cases: &[(&str, &str)]) {
    for (gateway, message) in cases {
        let shown = refused(&behind(gateway));
        assert_eq!(messages(&shown), [*message], "{shown}");
    }
}

#[track_caller]
fn name_of(gateway: &str) -> String {
    let loaded = load_text("app.yaml", behind(gateway)).unwrap_or_else(|error| panic!("{error}"));
    loaded.playbook.gateways[0].gateway.display_name().to_owned()
}

#[test]
fn haproxy_is_reached_in_exactly_one_way() {
    let one = "HAProxy is reached by exactly one of `socket`, `tcp` and `stats_url`";
    assert_refused(&[
        ("type: haproxy, backend: app", one),
        ("type: haproxy, backend: app, tcp: 'h:1', socket: { path: /s }", one),
        ("type: haproxy, backend: app, tcp: 'h:1', stats_url: http://h/", one),
        ("type: haproxy, backend: app, tcp: h", "`h` is not an address like `10.0.1.11:8080`"),
        ("type: haproxy, backend: app, socket: { path: s }", "`s` is not allowed here"),
        (
            "type: haproxy, backend: app, socket: { path: /s, ssh: -oProxyCommand=x }",
            "`-oProxyCommand=x` is not an ssh destination",
        ),
        ("type: haproxy, backend: app, stats_url: h", "`h` is not a URL"),
        ("type: haproxy, backend: a;b, tcp: 'h:1'", "`a;b` is not the name of a backend"),
        (
            "type: haproxy, backend: app, stats_url: http://h/, state: drain",
            "the stats page does not show whether a server is drained",
        ),
        (
            "type: haproxy, backend: app, stats_url: http://h/, master: true",
            "the master process has no stats page",
        ),
    ]);
}

#[test]
fn gateway_file_needs_a_valid_ssh_destination() {
    let envoy = "type: envoy, admin_url: http://h, cluster: app, file: /f, ssh:";
    assert_refused(&[
        (&format!("{envoy} -oProxyCommand=x"), "`-oProxyCommand=x` is not an ssh destination"),
        (&format!("{envoy} a b"), "`a b` is not an ssh destination"),
    ]);
    assert_eq!(name_of(&format!("{envoy} local")), "h");
}

#[test]
fn traefik_file_and_service_must_be_readable_by_traefik() {
    let traefik = "type: traefik, api_url: http://h, service: app, ssh: h, file:";
    assert_refused(&[
        (&format!("{traefik} app.yml"), "`file` is not an absolute path"),
        (&format!("{traefik} /app.json"), "Traefik does not read YAML from a file with this name"),
        (&format!("{traefik} /app.toml"), "Traefik does not read YAML from a file with this name"),
    ]);
    let of = "type: traefik, api_url: http://h, ssh: h, file: /app.yml, service:";
    for (service, shown) in [("''", "``"), ("app@file", "`app@file`"), ("a/../b?x", "`a/../b?x`")] {
        let message = format!("{shown} is not the name of a service in the file");
        assert_refused(&[(&format!("{of} {service}"), &message)]);
    }
    for name in ["app.yml", "app.yaml", "${{ release.service }}"] {
        assert_eq!(name_of(&format!("{traefik} '/{name}'")), "h");
    }
    let registry = behind(&format!("{traefik} /app.yml"))
        .replace("{ type: gateway }", "{ type: consul-service, service: app }");
    let shown = refused(&registry);
    assert!(shown.contains("it follows its own file"), "{shown}");
}

#[test]
fn haproxy_with_dns_slots_does_not_support_counting_requests() {
    let counted = "type: haproxy, backend: app, tcp: 'h:1' }\ndrain: { in_flight: gateways";
    let text =
        behind(counted).replace("{ type: gateway }", "{ type: consul-service, service: app }");
    assert!(load_text("app.yaml", behind(counted)).is_ok());
    let shown = refused(&text);
    assert_eq!(messages(&shown), ["gateway `h:1` does not count requests in flight"], "{shown}");
}

#[test]
fn haproxy_name_defaults_to_its_address() {
    let socket = "type: haproxy, backend: app, socket: { path: /run/h.sock";
    assert_eq!(name_of(&format!("{socket} }}")), "app");
    assert_eq!(name_of(&format!("{socket}, ssh: ops@10.0.0.12 }}")), "ops@10.0.0.12");
    assert_eq!(name_of("type: haproxy, backend: app, tcp: '10.0.0.13:9999'"), "10.0.0.13:9999");
    let page = "type: haproxy, backend: app, stats_url: http://10.0.0.14:8404/stats";
    assert_eq!(name_of(page), "10.0.0.14:8404");
}

#[test]
fn command_gateway_has_both_out_and_in_or_only_list() {
    let list = "type: command, name: lb, list: x";
    let incompatible_with = "`command` cannot follow the registry `gateway`: it lacks the commands `out` and `in` (rule \
                    `incompatible-with`)";
    assert_refused(&[
        (list, incompatible_with),
        (&format!("{list}, out: x, in: x, ssh: a b"), "`a b` is not an ssh destination"),
        (
            &format!("{list}, out: x, in: x, peers: /p, pattern: '(?<address>x)'"),
            "both `peers` and `pattern` are given",
        ),
        (&format!("{list}, out: x, in: x, pattern: x"), "the pattern has no group `address`"),
        (&format!("{list}, out: x, in: '${{{{ nobody }}}}'"), "unknown name `nobody`"),
    ]);
    let shown = refused(&behind(&format!("{list}, in: x")));
    assert_eq!(messages(&shown), [incompatible_with, "`in` without `out`"], "{shown}");
    assert_eq!(name_of(&format!("{list}, out: x, in: x")), "lb");
    let only_lists = SMALLEST
        .replace("upstream: app }", "upstream: app }\n  - { type: command, name: lb, list: x }");
    load_text("app.yaml", only_lists).unwrap_or_else(|error| panic!("{error}"));
}

/// Otherwise the drain would reach its timeout at every node.
#[test]
fn in_flight_of_a_table_needs_routed_or_down() {
    let table = |keys: &str| {
        let line = SMALLEST.lines().find(|line| line.contains("nginx-upsync")).expect("a gateway");
        let gateway = format!("  - {{ type: http-table, url: http://h/, {keys} }}");
        SMALLEST.replace(line, &gateway)
    };
    let shown = refused(&table("address: /a, in_flight: /n"));
    let message = "`in_flight` without `routed` or `down` cannot count a node that is out";
    assert_eq!(messages(&shown), [message], "{shown}");
    for told in ["routed: /up", "down: /down"] {
        let counted = table(&format!("address: /a, {told}, in_flight: /n"));
        load_text("app.yaml", counted).unwrap_or_else(|error| panic!("{told}: {error}"));
    }
}
