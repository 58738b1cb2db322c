//! A laboratory of real parts, used by the demo, the end-to-end tests and the benchmarks.
//!
//! [`Lab::start`] starts Consul, SSH hosts with a small service, nginx gateways that follow Consul, HAProxy, Caddy,
//! Envoy and Traefik, all as child processes on addresses of 127.0.0.0/8. [`Load`] sends requests through the gateways
//! and counts every failure; [`Lab::audit`] then reports whether a service was stopped while a worker routed to it.
//! Nothing outside the lab's own directory is changed, and no process survives the lab, not even when its own process
//! is killed.

mod artifact;
mod audit;
mod authority;
mod clock;
mod consul;
pub mod faults;
mod gateway;
mod home;
mod http;
mod json_lines;
mod lab;
mod load;
mod node;
mod part_kind;
mod playbook;
mod pool;
mod process;
pub mod render;
pub mod service;
mod ssh;
mod ssh_key;
mod tools;
mod wait;
mod wire;

pub use artifact::{Fault, Release};
pub use audit::{Audit, Ending, Routed, Stop, When};
pub use authority::{Authority, Identity};
pub use consul::{Access, Agent, Check, Consul};
pub use gateway::{
    ActiveCheck, Caddy, Envoy, Follow, Gateway, GatewayConfig, Haproxy, HaproxyConfig, Include,
    Reach, Rendered, Renderer, Resolver, Servers, Source, Traefik,
};
pub use http::{Reply, get, request};
pub use lab::{Lab, LabConfig};
pub use load::{Failure, Load, LoadConfig, Totals};
pub use node::{Node, NodeConfig};
pub use wait::until;
