//! One cell of the table: a mishap at a step.

use std::fmt;

use super::mishap::Mishap;
use super::step::Step;

/// A mishap when the first node reaches a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The fault.
    pub mishap: Mishap,
    /// The step.
    pub step: Step,
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.mishap.name(), self.step.name())
    }
}
