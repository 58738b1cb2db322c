//! What a command tells the CI system that runs it, besides its log: errors beside the log, and the job's page.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, absolute};

use super::arguments::{CiSystem, Global};
use crate::diagnostic::Invalid;
use crate::ops::{Cause, Refusal};
use crate::report::ci::{Ci, Level, Place};
use crate::report::{markdown, print_stderr};

/// The file to which GitHub's jobs append their page.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The folder of the repository in GitHub's jobs.
const WORKSPACE: &str = "GITHUB_WORKSPACE";

/// Returns the CI system whose form the log gets.
pub(super) fn chosen(global: &Global) -> Ci {
    match global.ci {
        CiSystem::Auto => Ci::detect(|name| env::var(name).ok()),
        CiSystem::Github => Ci::GitHub,
        CiSystem::Gitlab => Ci::GitLab,
        CiSystem::Jenkins => Ci::Jenkins,
        CiSystem::None => Ci::Plain,
    }
}

/// Shows why a command was refused beside the log, each problem of a playbook at its place.
pub(super) fn annotate(refusal: &Refusal, global: &Global) {
    if refusal.cause == Cause::Stopped {
        return;
    }
    let ci = chosen(global);
    let told = match &refusal.invalid {
        Some(invalid) => problems(ci, invalid),
        None => ci.annotation(Level::Error, "rollgate", &refusal.reason, None).unwrap_or_default(),
    };
    print_stderr(&told);
}

fn problems(ci: Ci, invalid: &Invalid) -> String {
    let file = in_repository(&invalid.source.name);
    let told =
        invalid.problems.iter().zip(invalid.positions()).filter_map(|(problem, position)| {
            let place = Place { file: file.clone(), position };
            let help = problem.help.iter().map(|help| format!("; {help}"));
            let message = problem.message.clone() + &help.collect::<String>();
            ci.annotation(
                Level::Error,
                problem.path.as_deref().unwrap_or("playbook"),
                &message,
                Some(&place),
            )
        });
    told.collect()
}

/// The path of a file from the repository's folder, as GitHub wants it.
fn in_repository(file: &str) -> String {
    let whole = absolute(file).ok();
    let folder = env::var_os(WORKSPACE);
    let inside = whole.as_deref().zip(folder.as_deref()).and_then(|(file, folder)| {
        file.strip_prefix(Path::new(folder)).ok().map(|path| path.display().to_string())
    });
    inside.unwrap_or_else(|| file.to_owned())
}

/// Adds a page to that of the job. `text` makes it if there is one.
pub(super) fn summarise(global: &Global, text: impl FnOnce() -> String) {
    let Some(path) = env::var_os(SUMMARY).filter(|_| chosen(global) == Ci::GitHub) else { return };
    let opened = OpenOptions::new().append(true).create(true).open(&path);
    let written = opened.and_then(|mut file| file.write_all(format!("{}\n", text()).as_bytes()));
    if let Err(error) = written {
        let path = Path::new(&path).display();
        print_stderr(&format!("warning: cannot write the job's summary {path}: {error}\n"));
    }
}

/// Adds a page of a command to that of the job, as it is.
pub(super) fn summarise_page(global: &Global, heading: &str, page: &str) {
    summarise(global, || markdown::page(heading, page));
}
