//! The names of the pool of nodes.

/// The gateways' name for the pool, and its service's name in Consul.
pub(crate) const UPSTREAM: &str = "app";

/// The registry's prefix for it.
pub(crate) const PREFIX: &str = "upstreams/app/";
