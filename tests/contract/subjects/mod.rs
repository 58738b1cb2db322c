//! The kinds of gateways, each in the bytes of a real one.

mod apisix;
mod caddy;
mod command;
mod consul;
mod consul_template;
mod dyups;
mod envoy;
mod haproxy;
mod http_table;
mod nginx_upsync;
mod ngx_dynamic_upstream;
mod slardar;
mod traefik;

use super::ipv6::Ipv6;
use super::replay::Subject;

/// Every kind, and every way to it.
pub(crate) fn subjects() -> Vec<&'static dyn Subject> {
    let mut all: Vec<&'static dyn Subject> = vec![
        &apisix::Apisix,
        &caddy::Caddy,
        &command::Command,
        &consul::Dns,
        &consul::Passing,
        &consul_template::ConsulTemplate,
        &envoy::Envoy::Json,
        &envoy::Envoy::Yaml,
        &http_table::HttpTable,
        &nginx_upsync::Upsync,
        &dyups::Classic,
        &dyups::Head,
        &ngx_dynamic_upstream::Zigzagak,
        &ngx_dynamic_upstream::Cubicdaiya,
        &slardar::Slardar,
        &traefik::Traefik,
    ];
    all.extend(haproxy::SUBJECTS);
    all
}

/// The same with IPv6 nodes; the playbook refuses nginx-upsync there.
pub(crate) fn ipv6_subjects() -> Vec<&'static dyn Subject> {
    let others = subjects().into_iter().filter(|subject| subject.name() != "nginx-upsync");
    others.map(|subject| Box::leak(Box::new(Ipv6(subject))) as &dyn Subject).collect()
}
