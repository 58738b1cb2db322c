//! The result of one cell.

use std::fmt;

use super::cell::Cell;
use super::observed_node::ObservedNode;

/// The result of one cell.
#[derive(Clone, Debug)]
pub struct CellResult {
    /// The cell.
    pub cell: Cell,
    /// The release's exit code; none when it was killed.
    pub code: Option<i32>,
    /// Its result, from its last event.
    pub result: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Every node at the release's end, while a lasting fault still lasts.
    pub nodes: Vec<ObservedNode>,
    /// Failed requests that belong to the fault itself: sent to the part that it disabled.
    pub failed_by_fault: u64,
    /// All other failed requests.
    pub failed: u64,
    /// Requests that were cut by the end of a service.
    pub cut: u64,
    /// The exit code of `resume` or `rollback`, after the fault has ended.
    pub then: Option<i32>,
    /// Whether the final state is that of an undisturbed release.
    pub same_end: bool,
    /// Every difference from the expected result.
    pub objections: Vec<String>,
}

impl CellResult {
    /// Returns the exit codes for the table: `0`, `20, then 0`.
    #[must_use]
    pub fn codes(&self) -> String {
        let told = |code: Option<i32>| code.map_or("killed".to_owned(), |code| code.to_string());
        match (self.code, self.then) {
            (Some(0), Some(0)) => "0".to_owned(),
            (code, None) => told(code),
            (code, then) => format!("{} → {}", told(code), told(then)),
        }
    }

    /// Returns whether the result is as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.objections.is_empty()
    }
}

impl fmt::Display for CellResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        write!(
            formatter,
            "{:<28} {:<12} {:>5.1} s  [{}]  failed {} + {} by the fault, cut {}  {}",
            self.cell.to_string(),
            self.codes(),
            self.seconds,
            nodes.join(" | "),
            self.failed,
            self.failed_by_fault,
            self.cut,
            if self.is_good() { "ok" } else { "WRONG" },
        )?;
        for objection in &self.objections {
            write!(formatter, "\n    {objection}")?;
        }
        Ok(())
    }
}
