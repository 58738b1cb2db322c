//! A thin Consul client over the port: the parts of the HTTP API that rollgate needs.

mod answer;
mod client;
mod error;
mod index;
mod instance;
mod kv;
mod remote;
mod retry;
mod service;
mod session;
mod settings;
mod shared;

#[cfg(test)]
pub(crate) use answer::no_key;
pub use client::{Client, LONGEST, PATIENCE};
pub use error::Error;
pub use index::Index;
pub use instance::Instance;
#[cfg(test)]
pub(crate) use kv::base64;
pub use kv::{Entry, KvWrite, SessionFence, Write, entries, key};
pub use service::{Extent, Maintenance, Others, passing};
pub use session::SessionSettings;
pub use settings::{Settings, is_ssl, tls_from_environment, token_of, with_scheme};
pub use shared::shared_prefix;

#[cfg(test)]
mod tests;
