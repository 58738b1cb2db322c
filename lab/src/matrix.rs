//! `lab faults`: runs every fault at every step of a release, and writes the tables of results.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rollgate_lab::faults::{Cell, CellResult, page, try_cell};

use crate::rollgate_binary::rollgate;

/// Options of `lab faults`.
#[derive(Args, Debug)]
pub(crate) struct MatrixOptions {
    /// The rollgate to run; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    rollgate: Option<PathBuf>,
    /// Only faults whose names begin with these, like `killed,restart-node-off`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    fault: Vec<String>,
    /// Only these steps, like `drain,stop`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    step: Vec<String>,
    /// How many labs to run at the same time; they mostly wait.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Write the tables to this file; it keeps the rows of cells that are not run.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the cells; the exit status is 1 when any result is not as expected.
pub(crate) fn run(options: &MatrixOptions) -> Result<ExitCode> {
    let rollgate = rollgate(options.rollgate.as_deref())?;
    let cells = options.cells()?;
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));

    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, cells.len()) {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match try_cell(&rollgate, *cell) {
                        Ok(row) => {
                            say(&row.to_string());
                            rows.lock().expect("no thread panics while adding").push(row);
                        }
                        Err(error) => {
                            say(&format!("{cell}: the lab failed: {error:#}"));
                        }
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no thread panics while adding");
    rows.sort_by_key(|row: &CellResult| cells.iter().position(|cell| *cell == row.cell));
    let good = rows.iter().filter(|row| row.is_good()).count();
    say(&format!("{good} of {} cells pass every check", cells.len()));
    if let Some(out) = &options.out {
        let before = fs::read_to_string(out).unwrap_or_default();
        fs::write(out, page(&cells, &rows, &before))
            .with_context(|| format!("could not write {}", out.display()))?;
    }
    Ok(if good == cells.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl MatrixOptions {
    fn cells(&self) -> Result<Vec<Cell>> {
        let wanted = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted.as_str()))
        };
        let is_wanted = |cell: &Cell| {
            wanted(&self.fault, &cell.row().name()) && wanted(&self.step, cell.step.name())
        };
        let cells: Vec<_> = Cell::all().into_iter().filter(is_wanted).collect();
        ensure!(!cells.is_empty(), "no fault or no step has this name");
        Ok(cells)
    }
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn say(line: &str) {
    println!("{line}");
}
