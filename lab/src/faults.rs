//! Faults at every step of a release: what happens when a part fails then, and whether `resume` or `rollback` reaches
//! the end of an undisturbed release afterwards. `lab faults` makes the whole table, the end-to-end tests some cells.

mod cell;
mod cell_result;
mod kind;
mod mishap;
mod observed_node;
mod page;
mod report_checks;
mod run;
mod step;

pub use cell::{Cell, Row};
pub use cell_result::CellResult;
pub use kind::Kind;
pub use mishap::{Lasts, Mishap, Place, Then};
pub use observed_node::ObservedNode;
pub use page::page;
pub use run::try_cell;
pub use step::Step;
