//! `schema`: prints the JSON Schema of playbooks.

use super::exit::Exit;
use super::output;

pub(super) fn run() -> Exit {
    let schema = serde_json::to_string_pretty(&crate::playbook::schema()).unwrap_or_default();
    output::print(&format!("{schema}\n"), Exit::DONE)
}
