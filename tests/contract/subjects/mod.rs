//! The kinds of gateways, each in the bytes of a real one.

mod http_table;
mod nginx_upsync;

use super::replay::Subject;

/// Every kind, and every way of it.
pub(crate) fn subjects() -> [&'static dyn Subject; 2] {
    [&nginx_upsync::Upsync, &http_table::HttpTable]
}
