//! The `rollgate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rollgate::cli::run().0)
}
