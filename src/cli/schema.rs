//! `schema`: the JSON Schema of playbooks.

use super::Exit;
use crate::report::put;

pub(super) fn run() -> Exit {
    let schema = serde_json::to_string_pretty(&crate::playbook::schema()).unwrap_or_default();
    put(&format!("{schema}\n"));
    Exit::DONE
}
