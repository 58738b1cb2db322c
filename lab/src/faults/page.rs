//! The table of all cells, as a page of the documentation.

use super::{Mishap, Row, Step};

const HEAD: &str = "\
# Faults at every step

Made by `scripts/faults`; do not edit. Each cell is a release from version 1 to 2 on a lab of its own: three nodes,
two gateways with two workers each, one Consul (three for `leader-killed`), under 80 requests a second. When node-1
reaches the step, the fault happens. When the release has ended and everything is well again, `resume` goes on.

Checked in every cell: the exit code is one that the fault allows; no request fails but those that were sent to the part
that the fault itself took away; no service is stopped while a worker still routes to it, and no request is cut; what
the report and `status` say of each node is what the lab sees; `resume` ends with 0 and with what an undisturbed release
ends with: every node on the new version, up, routed by every worker, and nothing left running.
";

/// Returns the page.
#[must_use]
pub fn page(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    page += "\n## Exit codes: of the release, and of `resume` where there was something left to do\n\n| fault |";
    for step in Step::ALL {
        page += &format!(" {} |", step.name());
    }
    page += &format!("\n|---|{}\n", "---|".repeat(Step::ALL.len()));
    let tried = |mishap: &Mishap| rows.iter().any(|row| row.cell.mishap == *mishap);
    for mishap in Mishap::ALL.into_iter().filter(tried) {
        page += &format!("| {} |", mishap.name());
        for step in Step::ALL {
            let row = rows.iter().find(|row| row.cell.mishap == mishap && row.cell.step == step);
            let text = row.map_or(String::new(), |row| {
                let mark = if row.is_good() { "" } else { " ✗" };
                format!("{}{mark}", row.codes())
            });
            page += &format!(" {text} |");
        }
        page += "\n";
    }
    let wrong: Vec<_> = rows.iter().filter(|row| !row.is_good()).collect();
    page +=
        &format!("\n{} of {} cells are as they must be.\n", rows.len() - wrong.len(), rows.len());
    for row in wrong {
        page += &format!("\n- {}: {}", row.cell, row.objections.join("; "));
    }
    page += "\n## Every cell\n\nA node is shown as version and place at the end of the release, while a lasting fault still lasts.\n";
    for mishap in Mishap::ALL.into_iter().filter(tried) {
        page += &format!("\n### {}: {}\n\n", mishap.name(), mishap.describe());
        page += "| step | result | exit | s | node-1 | node-2 | node-3 | failed | by the fault | cut | then | same end |\n";
        page += &format!("|{}\n", "---|".repeat(12));
        for row in rows.iter().filter(|row| row.cell.mishap == mishap) {
            page += &line(row);
        }
    }
    page
}

fn line(row: &Row) -> String {
    let code = |code: Option<i32>| code.map_or("killed".to_owned(), |code| code.to_string());
    let nodes: Vec<_> = row.nodes.iter().map(ToString::to_string).collect();
    format!(
        "| {} | {} | {} | {:.1} | {} | {} | {} | {} | {} | {} |\n",
        row.cell.step.name(),
        row.result,
        code(row.code),
        row.seconds,
        nodes.join(" | "),
        row.failed,
        row.failed_by_fault,
        row.cut,
        code(row.then),
        if row.same_end { "yes" } else { "no" },
    )
}
