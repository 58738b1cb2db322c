//! `history`: shows past releases. It changes nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::{Global, Output, PlaybookArguments};
use super::complete;
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::status::JournalStatus;
use super::{output, page};
use crate::ops::Refusal;
use crate::ops::past::{Ended, Filter, Past, past};
use crate::period::DurationSetting;
use crate::release::{CommandKind, Finished, LineData, Lines, NodeCounts, Outcome, Summary};
use crate::report::{print_page, stdout_width};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, to find the journals of its service
    #[arg(value_name = "FILE", add = complete::playbooks())]
    file: PathBuf,
    /// Show at most this many releases, the newest ones
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// Only releases that changed this node, or were to change it
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    node: Option<String>,
    /// Only releases that ended like this
    #[arg(long, value_enum, value_name = "RESULT", value_delimiter = ',')]
    result: Vec<ResultName>,
    /// Only releases of users whose name has this text
    #[arg(long, value_name = "TEXT")]
    by: Option<String>,
    /// Only releases that did something since then: `2d` ago, or a local date or time (`2026-11-29`, `2026-11-29T14:00`)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only releases by this command
    #[arg(long, value_enum, value_name = "COMMAND", value_delimiter = ',')]
    command: Vec<CommandName>,
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ResultName {
    /// Every node is as planned
    Done,
    /// Refused before any node left rotation
    Refused,
    /// Stopped on request
    Stopped,
    /// A node failed, or the release did not finish for another reason
    Failed,
    /// A node failed, and all nodes run again what they ran before
    RolledBack,
    /// Another release took the lock
    LockLost,
    /// Too few nodes serve, or a state is unknown
    Degraded,
    /// rollgate ended in the middle
    Interrupted,
    /// It is in progress
    Running,
}

impl From<ResultName> for Ended {
    fn from(name: ResultName) -> Self {
        match name {
            ResultName::Done => Self::As(Outcome::Done),
            ResultName::Refused => Self::As(Outcome::Refused),
            ResultName::Stopped => Self::As(Outcome::Stopped),
            ResultName::Failed => Self::As(Outcome::Failed),
            ResultName::RolledBack => Self::As(Outcome::RolledBack),
            ResultName::LockLost => Self::As(Outcome::LockLost),
            ResultName::Degraded => Self::As(Outcome::Degraded),
            ResultName::Interrupted => Self::Interrupted,
            ResultName::Running => Self::Running,
        }
    }
}

/// The command of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CommandName {
    /// `deploy`
    Deploy,
    /// `deploy --restart`
    Restart,
    /// `rollback`
    Rollback,
    /// `node out`
    NodeOut,
    /// `node in`
    NodeIn,
}

impl From<CommandName> for CommandKind {
    fn from(name: CommandName) -> Self {
        match name {
            CommandName::Deploy => Self::Deploy,
            CommandName::Restart => Self::Restart,
            CommandName::Rollback => Self::Rollback,
            CommandName::NodeOut => Self::NodeOut,
            CommandName::NodeIn => Self::NodeIn,
        }
    }
}

/// Reads a point in time: a duration ago, or a local date or time.
fn since(text: &str) -> Result<Timestamp, String> {
    let local = |at: civil::DateTime| {
        let zoned = at.to_zoned(TimeZone::system());
        zoned.map(|zoned| zoned.timestamp()).map_err(|error| error.to_string())
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return local(at);
    }
    if let Ok(DurationSetting(ago)) = DurationSetting::parse(text) {
        return Timestamp::now().checked_sub(ago).map_err(|error| error.to_string());
    }
    Err("write a duration (`2d`, `90m`), a date (`2026-11-29`) or a time (`2026-11-29T14:00`)"
        .into())
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&PlaybookArguments::of(&arguments.file), global, Missing::Open)?;
    let filter = Filter {
        limit: arguments.limit,
        node: arguments.node.clone(),
        ended: arguments.result.iter().copied().map(Ended::from).collect(),
        by: arguments.by.clone(),
        since: arguments.since,
        commands: arguments.command.iter().copied().map(CommandKind::from).collect(),
    };
    let past = connected(&session, global, async |connections, terminal| {
        past(&session, connections, terminal, &filter).await
    })?;
    if output::form(global) == Output::Jsonl {
        let mut lines = output::lines();
        tell(&past, &mut lines);
        let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
        return Ok(output::print(&lines.finish(finished), Exit::DONE));
    }
    print_page(&page::unread(&past.problems));
    let page = page::past(&past, &session, &filter, (TimeZone::system(), stdout_width()));
    Ok(output::show(&page, Exit::DONE))
}

/// Writes the JSON events for programs.
fn tell(past: &Past, lines: &mut Lines) {
    for release in &past.releases {
        lines.tell(None, None, &SummaryLine::of(release));
    }
    for problem in &past.problems {
        lines.tell(None, None, &JournalStatus { problem });
    }
}

/// A release in one line, for programs.
#[derive(Serialize, JsonSchema)]
pub(super) struct SummaryLine<'a> {
    /// Its id.
    id: &'a str,
    /// Its command.
    command: CommandKind,
    /// The user that started it.
    actor: &'a str,
    /// The user that resumed it last.
    resumed_by: Option<&'a str>,
    /// The version before, if all nodes had the same.
    from: Option<&'a str>,
    /// The version after.
    to: Option<&'a str>,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    begun: String,
    /// When it ended; `null` without an end.
    #[schemars(extend("format" = "date-time"))]
    ended: Option<String>,
    /// The time of its last event.
    #[schemars(extend("format" = "date-time"))]
    last_event: String,
    /// How long its runs took together.
    elapsed_ms: u64,
    /// How many runs it had: the first one, and one for each resume.
    runs: usize,
    /// Whether it has ended. `unknown`: `running` or `interrupted`, because the lock cannot be read.
    #[schemars(extend("enum" = ["ended", "running", "interrupted", "unknown"]))]
    state: &'static str,
    /// How it ended; `null` without an end.
    result: Option<Outcome>,
    /// Its exit code; `null` without an end.
    exit_code: Option<u8>,
    /// Why the result is not `done`. Without an end, the steps at which nodes are.
    reason: Option<&'a str>,
    /// How many nodes were to be changed, and what became of them.
    nodes: NodeCounts,
}

impl LineData for SummaryLine<'_> {
    const KIND: &'static str = "history.release";
}

impl<'a> SummaryLine<'a> {
    pub(super) fn of(release: &'a Summary) -> Self {
        let result = release.state.outcome();
        let latest = format!("{:.3}", release.latest);
        Self {
            id: &release.id,
            command: release.command,
            actor: &release.actor,
            resumed_by: release.resumed_by.as_deref(),
            from: release.from.as_deref(),
            to: release.to.as_deref(),
            begun: format!("{:.3}", release.begun),
            ended: result.map(|_| latest.clone()),
            last_event: latest,
            elapsed_ms: u64::try_from(release.took.as_millis()).unwrap_or(u64::MAX),
            runs: release.runs,
            state: release.state.word(),
            result,
            exit_code: release.state.exit_code(),
            reason: release.reason.as_deref(),
            nodes: release.nodes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_duration_ago_or_a_date() {
        let ago = since("90m").expect("a duration").as_second();
        assert!((5_399..5_410).contains(&(Timestamp::now().as_second() - ago)), "{ago}");
        let utc = since("2026-11-29T14:00:00Z").expect("a time");
        assert_eq!(utc.to_string(), "2026-11-29T14:00:00Z");
        let noon = since("2026-11-29T12:00").expect("a local time").as_second();
        let midnight = since("2026-11-29").expect("a date").as_second();
        assert_eq!(noon - midnight, 12 * 3600);
        for wrong in ["yesterday", "5", "2026-13-01", ""] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
