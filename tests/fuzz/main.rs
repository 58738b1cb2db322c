//! Bytes that others wrote: of gateways, nodes, Consul and files. Whatever they are, reading them ends, with a result or
//! with an error that may be printed.
//!
//! Some seconds in CI; `PROPTEST_CASES=100000 cargo test --release --test fuzz` looks longer.

mod consul; // What Consul answers, and what it keeps for us.
mod gateways; // What gateways show of their peers.
mod nodes; // What nodes tell.
mod spoilt; // How bytes become hostile.
mod urls; // Names as parts of URLs.
mod written; // What rollgate itself writes is read back, and only that.
