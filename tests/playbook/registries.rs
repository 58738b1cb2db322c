//! A registry for each gateway.

use rollgate::playbook::load_text;
use rollgate::release::Inputs;
use rollgate::spec::{RegistrySpec, Spec};

use crate::{SMALLEST, messages, refused, with};

const KV: &str = "registry: { type: consul-kv, prefix: upstreams/app/ }\n";
const UPSYNC: &str =
    "  - { type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }\n";

/// The smallest file with another registry, and these gateways after the first one.
fn behind(registry: &str, gateways: &str) -> String {
    let text = SMALLEST.replacen(KV, registry, 1);
    text.replacen(UPSYNC, &format!("{UPSYNC}{gateways}"), 1)
}

fn spec(text: &str) -> Spec {
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}\n{text}"));
    Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
}

const EDGE: &str =
    "  - { name: edge, type: haproxy, backend: app, tcp: 'h:1', registry: { type: gateway } }\n";

#[test]
fn a_gateway_with_its_own_registry_does_not_follow_the_common_one() {
    let both = spec(&behind(KV, EDGE));
    let prefix = "upstreams/app/".to_owned();
    assert_eq!(both.registries, [RegistrySpec::ConsulKv { prefix }, RegistrySpec::Gateway]);
    assert_eq!(both.gateways.iter().map(|gateway| gateway.registry).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(both.place("A"), "upstreams/app/A, A at edge");
    // Equal registries are one.
    let edges = format!("{EDGE}{}", EDGE.replace("edge", "edge-2").replace("h:1", "h:2"));
    let all = spec(&behind(KV, &edges));
    assert_eq!(all.registries.len(), 2);
    assert_eq!(all.place("A"), "upstreams/app/A, A at edge, edge-2");
    let own = UPSYNC.replace(" }", ", registry: { type: consul-kv, prefix: upstreams/app/ } }");
    let same = spec(&SMALLEST.replacen(UPSYNC, &own, 1).replacen(KV, "", 1));
    assert_eq!(same.registries, spec(SMALLEST).registries);
    assert_eq!(same.place("A"), "upstreams/app/A");
}

#[test]
fn every_registry_of_instances_is_confirmed_by_consuls_own_list() {
    let dns = |name: &str, service: &str| {
        format!(
            "  - {{ name: {name}, type: consul-dns, server: '10.0.0.5:8600', record: {service}.service.consul, registry: {{ type: \
             consul-service, service: {service} }} }}\n"
        )
    };
    let spec = spec(&behind(KV, &(dns("one", "web") + &dns("two", "api"))));
    let seen = spec.gateways.iter().skip(1).map(|own| (own.name.as_str(), own.registry));
    let seen: Vec<_> = seen.collect();
    assert_eq!(seen, [("one", 1), ("two", 2), ("consul", 1), ("consul (api)", 2)]);
}

#[test]
fn registry_is_required_unless_every_gateway_has_its_own() {
    let missing = ["missing key `registry`"];
    assert_eq!(messages(&with(KV, "")), missing);
    assert_eq!(messages(&refused(&behind("", EDGE))), missing);
    let only = SMALLEST.replacen(UPSYNC, EDGE, 1);
    let shown = refused(&only);
    assert_eq!(messages(&shown), ["no gateway follows this registry: each has its own"], "{shown}");
    let spec = spec(&only.replacen(KV, "", 1));
    assert_eq!(spec.registries, [RegistrySpec::Gateway]);
}

#[test]
fn each_gateway_is_checked_against_the_registry_that_it_follows() {
    let refused_edge = |own: &str, message: &str| {
        let shown = refused(&behind(KV, &EDGE.replace("{ type: gateway }", own)));
        assert_eq!(messages(&shown), [message], "{shown}");
    };
    refused_edge("{ type: gatway }", "unknown type `gatway`");
    refused_edge(
        "{ type: consul-kv, prefix: upstreams/web }",
        "the prefix `upstreams/web` leaks into other upstreams (rule `prefix-leaks`)",
    );
    refused_edge("{ type: consul-kv, prefix: 'upstreams/${{ x }}/' }", "unknown name `x`");
    refused_edge(
        "{ type: consul-kv, prefix: upstreams/app/blue/ }",
        "of the prefixes `upstreams/app/blue/` and `upstreams/app/` one contains the other",
    );
    let own = UPSYNC.replace(" }", ", registry: { type: gateway } }");
    let shown = refused(&behind(KV, &own.replacen("{ type", "{ name: b, type", 1)));
    let message = "`nginx-upsync` cannot follow the registry `gateway`: it follows keys in Consul, not `gateway` (rule \
                   `incompatible-with`)";
    assert_eq!(messages(&shown), [message], "{shown}");
}

#[test]
fn registries_of_instances_with_different_agents_are_refused() {
    let web = |more: &str| {
        let registry = format!("{{ type: consul-service, service: web{more} }}");
        behind(
            "registry: { type: consul-service, service: app }\n",
            &format!(
                "  - {{ name: web, type: consul-passing, service: web, registry: {registry} }}\n"
            ),
        )
        .replacen(UPSYNC, "  - { name: app, type: consul-passing, service: app }\n", 1)
    };
    assert_eq!(spec(&web("")).registries.len(), 2);
    for (more, message) in [
        (", agent_on: node", "two registries have different agents"),
        (", maintenance: node", "`maintenance: node` with two registries of instances"),
    ] {
        let shown = refused(&web(more));
        assert_eq!(messages(&shown), [message], "{shown}");
    }
}
