//! What is refused for gateways of nginx and Lua, kind by kind, with no other message.

use rollgate::playbook::load_text;

use crate::{SMALLEST, messages, refused};

const KV: &str = "registry: { type: consul-kv, prefix: upstreams/app/ }";
const UPSYNC: &str =
    "{ type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }";

/// The smallest file with another gateway and another registry.
fn with_gateway(registry: &str, gateway: &str) -> String {
    assert!(SMALLEST.contains(KV) && SMALLEST.contains(UPSYNC));
    SMALLEST.replace(KV, &format!("registry: {registry}")).replace(UPSYNC, gateway)
}

#[track_caller]
fn accepted(registry: &str, gateway: &str) {
    let text = with_gateway(registry, gateway);
    load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
}

#[track_caller]
fn refused_for(registry: &str, gateway: &str, message: &str) {
    let shown = refused(&with_gateway(registry, gateway));
    assert_eq!(messages(&shown), [message], "{shown}");
}

const GATEWAY: &str = "{ type: gateway }";

#[test]
fn gateway_with_an_api_of_its_own_rejects_other_registries() {
    for kind in ["dyups", "ngx-dynamic-upstream", "slardar"] {
        let gateway = format!("{{ type: {kind}, upstream: app, url: http://g/api }}");
        accepted(GATEWAY, &gateway);
        for registry in ["consul-kv", "consul-service"] {
            let keys = if registry == "consul-kv" { "prefix: a/" } else { "service: app" };
            let message = format!(
                "`{kind}` cannot follow the registry `{registry}`: only its own API changes its list, not \
                 `{registry}` (rule `incompatible-with`)"
            );
            refused_for(&format!("{{ type: {registry}, {keys} }}"), &gateway, &message);
        }
    }
}

#[test]
fn every_gateway_but_nginx_upsync_accepts_ipv6_nodes() {
    let with_ipv6 = |gateway: &str| {
        with_gateway("{ type: consul-service, service: app }", gateway)
            .replace("address: 10.0.1.11:9000", "address: '[fd00::11]:9000'")
            .replace("address: 10.0.1.12:9000", "address: '[fd00::12]:9000'")
    };
    let passing = with_ipv6("{ type: consul-passing, service: app }");
    let loaded = load_text("app.yaml", passing).unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(loaded.playbook.nodes[0].address, "[fd00::11]:9000");
    let follows = "upstream: app, upsync_type: consul_health";
    let shown = refused(&with_ipv6(&format!(
        "{{ type: nginx-upsync, status_url: http://g/l?app, {follows} }}"
    )));
    let message = "`nginx-upsync` does not support an IPv6 address such as `[fd00::11]:9000`";
    assert_eq!(messages(&shown), [message], "{shown}");
    let twice = with_ipv6("{ type: consul-passing, service: app }")
        .replace("[fd00::12]:9000", "[FD00:0::11]:9000");
    let shown = refused(&twice);
    assert_eq!(messages(&shown), ["two nodes have the address `[FD00:0::11]:9000`"], "{shown}");
}

#[test]
fn upsync_type_must_match_the_registry() {
    let of = |kind: &str| {
        format!(
            "{{ type: nginx-upsync, status_url: http://g/l?app, upstream: app, upsync_type: {kind} }}"
        )
    };
    let (keys, service) =
        ("{ type: consul-kv, prefix: a/ }", "{ type: consul-service, service: app }");
    accepted(keys, &of("consul"));
    accepted(service, &of("consul_health"));
    for (registry, kind, why) in [
        (keys, "consul_health", "it follows the health of a service in Consul, not `consul-kv`"),
        (service, "consul", "it follows keys in Consul, not `consul-service`"),
        (service, "consul_services", CATALOG),
        (keys, "consul_services", CATALOG),
        (GATEWAY, "consul_services", CATALOG),
    ] {
        let kind_of = registry.split([' ', ',']).nth(2).expect("a kind");
        let message = format!(
            "`nginx-upsync` cannot follow the registry `{kind_of}`: {why} (rule `incompatible-with`)"
        );
        refused_for(registry, &of(kind), &message);
    }
    for name in ["status", "STATUS"] {
        let url = format!("http://g/c?format=json&{name}=up");
        let filtered = UPSYNC.replace(" }", &format!(", check_url: '{url}' }}"));
        refused_for(keys, &filtered, &format!("`{url}` hides peers"));
    }
}

const CATALOG: &str = "its `upsync_type` reads the catalog, in which maintenance mode and failing checks have no effect; \
                       `consul_health` would follow `consul-service`";

#[test]
fn dyups_list_must_be_valid_nginx_syntax() {
    let with = |keys: &str| format!("{{ type: dyups, upstream: app, url: http://g/, {keys} }}");
    accepted(GATEWAY, &with("server: weight=5, others: ['server 10.9.9.9:80 backup;']"));
    accepted(GATEWAY, &with("extras: 'keepalive 8; ip_hash;', servers: { '10.0.1.11:9000': '' }"));
    for (keys, message) in [
        ("server: weight=5;", "`weight=5;` contains more than the parameters of one server"),
        ("server: weight=5 down", "a release sets `down`"),
        (
            "servers: { '10.0.1.11:9000': 'a=1 } b' }",
            "`a=1 } b` contains more than the parameters of one server",
        ),
        ("servers: { '10.0.1.19:9000': '' }", "`10.0.1.19:9000` is not the address of a node"),
        ("others: ['10.9.9.9:80']", "`10.9.9.9:80` is not one `server` of an upstream"),
        (
            "others: ['server a:1; server b:1;']",
            "`server a:1; server b:1;` is not one `server` of an upstream",
        ),
        ("extras: keepalive 8", "`keepalive 8` is not allowed in `extras`"),
        ("extras: 'server a:1;'", "`server a:1;` is not allowed in `extras`"),
        ("extras: 'keepalive 8; }'", "`keepalive 8; }` is not allowed in `extras`"),
    ] {
        refused_for(GATEWAY, &with(keys), message);
    }
}

#[test]
fn value_that_ngx_dynamic_upstream_cannot_decode_is_refused() {
    for (keys, message) in [
        ("upstream: 'a&b', url: http://g/", "`a&b` cannot be used in the module's API"),
        ("upstream: a b, url: http://g/", "`a b` cannot be used in the module's API"),
        ("upstream: a, url: 'http://g/d?x=1'", "`http://g/d?x=1` has a query"),
    ] {
        refused_for(GATEWAY, &format!("{{ type: ngx-dynamic-upstream, {keys} }}"), message);
    }
}

#[test]
fn slardar_settings_are_validated() {
    let with = |keys: &str| format!("{{ type: slardar, url: http://g:1995, {keys} }}");
    accepted(
        GATEWAY,
        &with(
            "upstream: app.dev, server: { weight: 1 }, servers: { '10.0.1.11:9000': { weight: 5 } }",
        ),
    );
    for (keys, message) in [
        ("upstream: a/b", "`a/b` cannot be used in Slardar's API"),
        ("upstream: a, prefix: config", "the prefix `config` does not end in `/`"),
        (
            "upstream: a, servers: { '10.0.1.19:9000': {} }",
            "`10.0.1.19:9000` is not the address of a node",
        ),
        ("upstream: a, server: { wieght: 5 }", "unknown key `wieght`"),
    ] {
        refused_for(GATEWAY, &with(keys), message);
    }
}

/// The smallest file with this registry, and these keys added to its first node.
fn with_agents(registry: &str, node: &str) -> String {
    let gateway = "{ type: consul-passing, service: app }";
    let first = "{ ssh: deploy@10.0.1.11,";
    let text = with_gateway(registry, gateway);
    assert!(text.contains(first), "{text}");
    text.replace(first, &format!("{first} {node}"))
}

#[test]
fn agent_settings_need_a_consul_service_registry_and_a_valid_url() {
    let service = |more: &str| format!("{{ type: consul-service, service: app{more} }}");
    for (more, node) in [
        ("", ""),
        (", agent_on: node", ""),
        (", agent_on: node", "agent: 'http://127.0.0.1:8501',"),
        (", agent: 'https://${{ node.host }}:8501'", "agent: 'http://a:8500',"),
    ] {
        let text = with_agents(&service(more), node);
        load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    }
    let own = "agent: 'https://127.0.0.1:8501',";
    for (registry, node, message) in [
        (service(", agent: 127.0.0.1"), "", "`127.0.0.1` is not an address like `10.0.1.11:8080`"),
        (service(""), "agent: 'unix:///run/consul',", "`unix:///run/consul` is not a URL"),
        (service(", agent_on: node"), own, "an agent that is asked from its node needs `http://`"),
        (service(", agent_on: here"), own, "unknown word `here`"),
    ] {
        let shown = refused(&with_agents(&registry, node));
        assert_eq!(messages(&shown), [message], "{shown}");
    }
    let first = "{ ssh: deploy@10.0.1.11,";
    let shown = refused(&SMALLEST.replace(first, &format!("{first} {own}")));
    let message = "`agent` has no effect with the registry `consul-kv`";
    assert_eq!(messages(&shown), [message], "{shown}");
}

#[test]
fn dns_server_and_record_must_be_valid() {
    let service = "{ type: consul-service, service: app }";
    let of = |server: &str, record: &str| {
        format!("{{ type: consul-dns, server: '{server}', record: '{record}' }}")
    };
    for (server, record) in
        [("10.0.0.5:8600", "app.service.consul."), ("[::1]:53", "_app._tcp.service.consul")]
    {
        accepted(service, &of(server, record));
    }
    for server in ["10.0.0.5", "http://10.0.0.5:8600", "::1", "x:0", ":8600"] {
        let message = format!("`{server}` is not an address like `10.0.0.5:8600`");
        refused_for(service, &of(server, "app.service.consul"), &message);
    }
    for record in ["a..b", "-", "app service"] {
        let message = format!("`{record}` is not the name of a record");
        refused_for(service, &of("10.0.0.5:8600", record), &message);
    }
}
