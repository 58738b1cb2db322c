//! Foreign bytes: of gateways, nodes, Consul and files. Reading any bytes ends with a result or with a printable error.
//!
//! The tests take some seconds in CI; `PROPTEST_CASES=100000 cargo test --release --test fuzz` searches longer.

mod consul; // The answers of Consul, and the values that it keeps.
mod damaged; // Corrupt transcripts.
mod gateways; // The status pages of gateways.
mod nodes; // The reports of nodes.
mod own_files; // Journals and lock holders are read back.
mod urls; // Names as parts of URLs.
