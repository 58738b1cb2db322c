//! rollgate against real parts: Consul, sshd, nginx, a service under load. Every test has a lab of its own.

#![expect(clippy::print_stdout, reason = "figures for manual runs")]

mod artifacts;
mod caddy;
mod ci;
mod commands;
mod consul;
mod consul_access;
mod contract;
mod doctor;
mod envoy;
mod failures;
mod faults;
mod first_install;
mod guard;
mod haproxy;
mod harness;
mod init;
mod kinds;
#[path = "../cli/line_schema.rs"]
mod line_schema;
mod lock;
mod maintenance;
mod overhead;
mod plans;
mod refusals;
mod releases;
mod rendered;
mod resolver;
mod resume;
mod rollback;
mod signals;
mod situations;
mod source_only;
#[path = "../sim/suggested.rs"]
mod suggested;
mod terminal;
mod traefik;
mod tutorial;
mod two_registries;
mod without_consul;
