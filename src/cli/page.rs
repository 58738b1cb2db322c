//! The results of commands as text for people.

mod past;

use std::fmt::Write;

use crate::diagnostic::render;
use crate::ops::lock::{Broken, Found};
use crate::ops::plan::Preview;
use crate::ops::plan_file::ReadPlan;
use crate::ops::{Ending, Refusal, Run, Session};
use crate::plan::Selection;
use crate::release::{Outcome, PlannedAction};
use crate::report::{Report, markdown};
use crate::text::{self, harmless};

pub use past::{past, unread};

/// Why a command does not start, and what to do next.
#[must_use]
pub fn refusal(refusal: &Refusal, colour: bool) -> String {
    let mut text = match (&refusal.invalid, &refusal.text) {
        // The rendered text keeps its colours.
        (Some(invalid), _) => render(invalid, colour),
        (None, Some(text)) => text::page(text),
        (None, None) => text::page(&format!("error: {}\n", refusal.reason)),
    };
    for hint in &refusal.hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// The result of a command that was not refused.
#[must_use]
pub fn ending(ending: &Ending) -> String {
    match ending {
        Ending::Nothing(why) => format!("Nothing to do: {}.\n", harmless(why)),
        Ending::Ran(run) => ran(run),
    }
}

fn ran(run: &Run) -> String {
    let Run { ended, spec, journal, fleet, repeated, cost } = run;
    let Some(finished) = &ended.release.finished else {
        let status = repeated.command("status", []);
        return format!(
            "error: {}\nhint: `{status}` tells where each node stands\n",
            internal_error(run)
        );
    };
    let next = run.next();
    let report = Report {
        release: &ended.release,
        spec,
        fleet: fleet.as_ref(),
        next: &next,
        cost: cost.as_ref(),
    };
    let mut text = report.render();
    if finished.result != Outcome::Done {
        let torn = match ended.unwritten {
            Some(_) => " (incomplete: its last events are missing)",
            None => "",
        };
        let _ =
            write!(text, "\njournal {}{torn}\nexit {}\n", journal.display(), finished.exit_code);
    }
    text
}

/// The same result as Markdown, for the page of a CI job.
#[must_use]
pub fn summary(result: &Ending) -> String {
    match result {
        Ending::Ran(run) if run.ended.release.finished.is_some() => {
            let (release, spec) = (&run.ended.release, &run.spec);
            let (next, fleet, cost) = (run.next(), run.fleet.as_ref(), run.cost.as_ref());
            Report { release, spec, fleet, next: &next, cost }.markdown()
        }
        Ending::Nothing(_) | Ending::Ran(_) => markdown::page("rollgate", &ending(result)),
    }
}

/// Why a release has no result.
pub(super) fn internal_error(run: &Run) -> String {
    let why = run.ended.failed.as_ref().map_or(String::new(), |error| format!(": {error:#}"));
    harmless(&format!("the release ended with an internal error{why}"))
}

/// The plan of a release, and how it is run: as it was `saved`, if it was.
#[must_use]
pub fn plan(
    Preview { plan, spec, .. }: &Preview,
    session: &Session,
    selection: &Selection,
    saved: Option<&ReadPlan>,
) -> String {
    let mut text = plan.render(spec, &session.file.display().to_string());
    if !plan.refusals.is_empty() {
        return text;
    }
    let is_idle = plan.count(PlannedAction::Update) == 0;
    if is_idle {
        text += &format!("Nothing to do: {}.\n", plan.idle());
    }
    text += &match saved {
        Some(saved) => {
            let deploy = session.command_by_plan(&saved.path);
            format!("Nothing was changed. To run exactly this plan: {}\n", harmless(&deploy))
        }
        None if is_idle => return text,
        None => {
            let deploy = session.command_for("deploy", selection);
            let what = if spec.is_restart { "restart" } else { "release" };
            format!("Nothing was changed. To {what}: {deploy}\n")
        }
    };
    text
}

/// The state of the lock.
#[must_use]
pub fn lock(found: &Found) -> String {
    match found {
        Found::Held(who) => format!("held by {who}\n"),
        Found::Left(who) => {
            format!(
                "held by {who}; its process has ended, so the next command on this machine takes the lock\n"
            )
        }
        Found::Free(who) => format!("free; last held by {who}\n"),
        Found::Unused => "free\n".to_owned(),
    }
}

/// The result of `lock break`.
#[must_use]
pub fn broken(broken: &Broken) -> String {
    match broken {
        Broken::Free => "The lock is free.\n".to_owned(),
        Broken::From(who) => format!("The lock is free; it was taken from {who}.\n"),
    }
}
