//! The tables of all cells, as a page of the documentation.

use std::collections::BTreeMap;

use super::cell::{Cell, Row};
use super::cell_result::CellResult;
use super::kind::Kind;
use super::step::Step;

const HEAD: &str = "\
# Faults at every step

`scripts/faults` writes this page. Do not edit it.

Each cell of the tables is one release: a `deploy` from version 1 to version 2, or, where the name begins with `restart-`, a
`deploy --restart` of version 1. Each cell has its own lab: three nodes, two gateways with two workers each, and one Consul
server (three for `leader-killed`). Clients send 80 requests a second (20 for `marked-up`). The fault happens when node-1
reaches the step. The release ends, and the fault is repaired. Then `resume` continues the release. For the faults whose name
ends with `-back`, `rollback` undoes it instead.

Every cell must pass these checks:

- The release ends with an exit code that this fault may cause at this step. 0 is always allowed, except after SIGKILL.
- No request fails, except requests to the part that the fault itself disabled.
- No service is stopped while a worker still routes to it. No request is cut.
- The report and `status` describe each node as the lab sees it.
- `resume` or `rollback` ends with exit code 0 and leaves the same state as a release without a fault: every node runs the
  right version (2 after the `resume` of a `deploy`, otherwise 1), is marked up, and every worker routes to it. No process is
  left behind.
- After the `resume` of a restart, every node has a new process, and node-2 and node-3 were restarted once.
";

/// The text above the tables of single cells.
const CELLS: &str = "
## Every cell

| column | meaning |
|---|---|
| `step` | the step of node-1 at which the fault happens |
| `result`, `exit` | the `result` of `release.finished` and the exit code; no result where rollgate was killed |
| `s` | how long the release took, in seconds |
| `node-1` to `node-3` | the version that the node serves (`dead`: none) and whether it is in rotation, at the end of the release. A lasting fault is not repaired yet. `?, routed 0/4`: Consul does not answer, and none of 4 workers routes to the node |
| `failed` | failed requests that the fault does not explain |
| `by the fault` | failed requests to the part that the fault disabled |
| `cut` | requests that the stop of a service cut |
| `then` | the exit code of the `resume` or `rollback` afterwards |
| `same end` | whether that leaves the same state as a release without a fault |
";

/// A cell of the written table.
struct Entry {
    codes: String,
    line: String,
    /// The differences from the expected result, if any.
    wrong: Option<String>,
}

/// The cells by the positions of their row and step.
type Entries = BTreeMap<(usize, usize), Entry>;

/// Returns the page with the results of the tried cells; the other cells stay as in `before`, the current page.
#[must_use]
pub fn page(tried: &[Cell], rows: &[CellResult], before: &str) -> String {
    let mut entries = read(before);
    for cell in tried {
        entries.remove(&place(*cell));
    }
    entries.extend(rows.iter().map(|row| (place(row.cell), entry(row))));
    write(&entries)
}

fn place(cell: Cell) -> (usize, usize) {
    let row = Row::all().iter().position(|row| *row == cell.row());
    let step = Step::ALL.iter().position(|step| *step == cell.step);
    (row.unwrap_or_default(), step.unwrap_or_default())
}

fn entry(row: &CellResult) -> Entry {
    let mark = if row.is_good() { "" } else { " ✗" };
    let wrong = (!row.is_good()).then(|| row.objections.join("; "));
    Entry { codes: format!("{}{mark}", row.codes()), line: line(row), wrong }
}

/// Reads a page that was written by [`write`].
fn read(page: &str) -> Entries {
    let rows = Row::all();
    let row = |name: &str| rows.iter().find(|row| row.name() == name);
    let step = |name: &str| Step::ALL.into_iter().find(|step| step.name() == name);
    let mut codes = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    let mut entries = Entries::new();
    let mut section = None;
    for line in page.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let first = cells.next().unwrap_or_default();
        if let Some(title) = line.strip_prefix("### ") {
            section = title.split(':').next().and_then(row);
        } else if let (Some(row), Some(step)) = (section, step(first)) {
            let place = place(row.at(step));
            let codes = codes.remove(&place).unwrap_or_default();
            let wrong = wrong.remove(&place);
            entries.insert(place, Entry { codes, line: format!("{line}\n"), wrong });
        } else if let Some(row) = row(first) {
            let told = row.kind.steps().zip(cells);
            codes.extend(told.map(|(step, codes)| (place(row.at(step)), codes.to_owned())));
        } else if let Some((cell, problem)) =
            line.strip_prefix("- ").and_then(|told| told.split_once(": "))
            && let Some((fault, at)) = cell.split_once(" in ")
            && let (Some(row), Some(step)) = (row(fault), step(at))
        {
            wrong.insert(place(row.at(step)), problem.to_owned());
        }
    }
    entries
}

fn write(entries: &Entries) -> String {
    let mut page = HEAD.to_owned();
    page += "\n## Exit codes\n\n`A → B`: the release ended with A, and the `resume` or `rollback` after it with B. `killed`: the fault killed rollgate. A single 0: \
             both ended with 0. ✗: a check failed.\n";
    let of = |row: usize| entries.range((row, 0)..(row + 1, 0));
    let rows = Row::all().into_iter().enumerate();
    let tried: Vec<_> = rows.filter(|(place, _)| of(*place).next().is_some()).collect();
    for kind in Kind::ALL {
        let rows: Vec<_> = tried.iter().filter(|(_, row)| row.kind == kind).collect();
        if !rows.is_empty() {
            page += &heading(kind);
        }
        for (_, row) in rows {
            page += &format!("| {} |", row.name());
            for step in kind.steps() {
                let entry = entries.get(&place(row.at(step)));
                page += &format!(" {} |", entry.map_or("", |entry| entry.codes.as_str()));
            }
            page += "\n";
        }
    }
    let wrong = entries.iter().filter_map(|(place, entry)| Some((place, entry.wrong.as_ref()?)));
    let wrong: Vec<_> = wrong.collect();
    let good = entries.len() - wrong.len();
    page += &format!("\n{good} of {} cells pass every check.\n", entries.len());
    for (index, ((row, step), problem)) in wrong.into_iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let cell = Row::all()[*row].at(Step::ALL[*step]);
        page += &format!("{gap}- {cell}: {problem}\n");
    }
    page += CELLS;
    for (place, row) in &tried {
        page += &format!("\n### {}: {}\n\n", row.name(), row.mishap.describe());
        page += "| step | result | exit | s | node-1 | node-2 | node-3 | failed | by the fault | cut | then | same end |\n";
        page += &format!("|{}\n", "---|".repeat(12));
        page.extend(of(*place).map(|(_, entry)| entry.line.as_str()));
    }
    page
}

/// Returns the heading of the table of exit codes of one kind.
fn heading(kind: Kind) -> String {
    let steps: Vec<_> = kind.steps().map(Step::name).collect();
    format!("\n| fault | {} |\n|---|{}\n", steps.join(" | "), "---|".repeat(steps.len()))
}

fn line(row: &CellResult) -> String {
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

#[cfg(test)]
mod tests {
    use super::{Cell, CellResult, Kind, Step, page};
    use crate::faults::Mishap;

    fn row(mishap: Mishap, step: Step, objections: &[&str]) -> CellResult {
        CellResult {
            cell: Cell { kind: Kind::Deploy, mishap, step },
            code: Some(20),
            result: "failed".into(),
            seconds: 1.5,
            nodes: Vec::new(),
            failed_by_fault: 1,
            failed: 2,
            cut: 3,
            then: Some(0),
            same_end: true,
            objections: objections.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn page_in_docs_matches_the_code() {
        let kept = include_str!("../../../docs/faults.md");
        assert_eq!(page(&[], &[], kept), kept);
    }

    #[test]
    fn untried_cells_keep_their_rows() {
        let mut restarted = row(Mishap::NodeOff, Step::Start, &["a fourth"]);
        restarted.cell.kind = Kind::Restart;
        let rows = [
            row(Mishap::NodeOff, Step::Drain, &["one: thing", "another"]),
            row(Mishap::NodeOff, Step::Stop, &[]),
            row(Mishap::DiskFull, Step::Drain, &["a third"]),
            restarted,
        ];
        let cells = rows.each_ref().map(|row| row.cell);
        let whole = page(&cells, &rows, "");
        assert!(whole.contains("\n1 of 4 cells"), "{whole}");
        assert_eq!(page(&[], &[], &whole), whole);
        let good = [row(Mishap::NodeOff, Step::Drain, &[])];
        let mended = page(&cells[..1], &good, &whole);
        let [_, rest @ ..] = rows.clone();
        assert_eq!(mended, page(&cells, &[&good[..], &rest].concat(), ""));
        // A cell has no row if its lab has failed.
        assert_eq!(page(&cells[..1], &[], &whole), page(&cells, &rows[1..], ""));
    }
}
