//! One cell of the tables: a mishap at a step of a release.

use std::fmt;

use super::kind::Kind;
use super::mishap::Mishap;
use super::step::Step;

/// A mishap when the first node reaches a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The kind of the release.
    pub kind: Kind,
    /// The fault.
    pub mishap: Mishap,
    /// The step.
    pub step: Step,
}

impl Cell {
    /// Returns every cell, in the order of the tables.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let steps = |row: Row| row.kind.steps().map(move |step| row.at(step));
        Row::all().into_iter().flat_map(steps).collect()
    }

    /// Returns the row of the cell.
    #[must_use]
    pub fn row(self) -> Row {
        Row { kind: self.kind, mishap: self.mishap }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.row().name(), self.step.name())
    }
}

/// A row of the tables: a mishap during one kind of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kind of the release.
    pub kind: Kind,
    /// The fault.
    pub mishap: Mishap,
}

impl Row {
    /// Returns every row, in order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let rows = Kind::ALL
            .into_iter()
            .flat_map(|kind| Mishap::ALL.into_iter().map(move |mishap| Self { kind, mishap }));
        rows.filter(|row| row.kind.allows(row.mishap.then())).collect()
    }

    /// Returns its name on the command line and in the tables.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}{}", self.kind.prefix(), self.mishap.name())
    }

    /// Returns the cell of a step.
    #[must_use]
    pub fn at(self, step: Step) -> Cell {
        Cell { kind: self.kind, mishap: self.mishap, step }
    }
}
