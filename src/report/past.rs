//! Past releases as a table: who, when, what, how long, and why each one stopped.

use jiff::tz::TimeZone;

use crate::release::{CommandKind, NodeCounts, Outcome, RunState, Summary};
use crate::table::Table;
use crate::text::{self, count};

/// The start of the lines below a release.
const INDENT: &str = "           ";

/// How much of a reason is shown without a terminal, in characters.
const REASON: usize = 400;

/// Past releases, and where they are shown.
#[derive(Debug)]
pub struct PastReleases<'a> {
    /// The service.
    pub service: &'a str,
    /// The newest first; at least one.
    pub releases: &'a [Summary],
    /// There are more that match.
    pub has_more: bool,
    /// The zone of the times.
    pub zone: TimeZone,
    /// The width of the terminal, if it is one.
    pub width: Option<usize>,
}

impl PastReleases<'_> {
    /// Renders the releases: as a table, or below one another where a table is too wide.
    #[must_use]
    pub fn render(&self) -> String {
        let number = count(self.releases.len(), "release");
        let heading = if self.has_more {
            format!("the last {number}; `--limit` shows more")
        } else {
            format!("{number}, the newest first")
        };
        let table = self.table();
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let fits = self.width.is_none_or(|width| widest <= width);
        let list = if fits { self.with_reasons(&table) } else { self.stacked() };
        text::page(&format!("{}: {heading}\n\n{list}", text::harmless(self.service)))
    }

    fn table(&self) -> String {
        let mut table =
            Table::new(&["RELEASE", "WHEN", "COMMAND", "NODES", "TOOK", "RESULT", "BY"]);
        for release in self.releases {
            table.row(&[
                &release.id,
                &self.when(release),
                &command(release),
                &nodes(release.command, release.nodes),
                &text::duration(release.took),
                release.state.in_words(),
                &users(release),
            ]);
        }
        table.render()
    }

    fn with_reasons(&self, table: &str) -> String {
        let mut lines = table.lines();
        let mut list: String = lines.next().into_iter().flat_map(|line| [line, "\n"]).collect();
        for (line, release) in lines.zip(self.releases) {
            list += &format!("{line}\n{}", self.reason(release));
        }
        list
    }

    fn stacked(&self) -> String {
        let releases = self.releases.iter().map(|release| {
            let (when, took) = (self.when(release), text::duration(release.took));
            let head = format!(" {:<9} {when}  {}", release.id, command(release));
            let (ended, nodes) = (release.state.in_words(), nodes(release.command, release.nodes));
            let below = format!("{INDENT}{ended}, {took}, {nodes}; by {}", users(release));
            format!("{}\n{}\n{}", self.cut(&head), self.cut(&below), self.reason(release))
        });
        releases.collect::<Vec<_>>().join("\n")
    }

    /// The line that says why a release is not done; empty if it is.
    fn reason(&self, release: &Summary) -> String {
        let Some(reason) = release.reason.as_ref().filter(|_| !is_done(release.state)) else {
            return String::new();
        };
        format!("{}\n", self.cut(&format!("{INDENT}{reason}")))
    }

    /// A harmless line that fits.
    fn cut(&self, line: &str) -> String {
        let (line, width) = (text::harmless(line), self.width.unwrap_or(REASON));
        if line.chars().count() <= width {
            return line;
        }
        line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }

    fn when(&self, release: &Summary) -> String {
        release.begun.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }
}

fn is_done(state: RunState) -> bool {
    matches!(state.outcome(), Some(Outcome::Done | Outcome::Nothing))
}

/// `deploy 1 -> 2`.
fn command(release: &Summary) -> String {
    format!("{}{}", release.command, release.what)
}

fn users(release: &Summary) -> String {
    match release.resumed_by.as_ref().filter(|by| **by != release.actor) {
        Some(by) => format!("{}, resumed by {by}", release.actor),
        None => release.actor.clone(),
    }
}

/// `1 of 3 done, 1 failed, 1 out`.
#[must_use]
pub(super) fn nodes(command: CommandKind, nodes: NodeCounts) -> String {
    let NodeCounts { planned, done, failed, out, rolled_back } = nodes;
    let out = if command == CommandKind::NodeOut { 0 } else { out };
    let others = [(failed, "failed"), (rolled_back, "rolled back"), (out, "out")];
    let others = others.into_iter().filter(|(number, _)| *number > 0);
    let others = others.map(|(number, what)| format!("{number} {what}"));
    let all: Vec<_> = std::iter::once(format!("{done} of {planned} done")).chain(others).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::hostile;

    fn releases() -> Vec<Summary> {
        let at = |text: &str| text.parse().expect("a time");
        let base = Summary {
            id: "edb1d333".into(),
            command: CommandKind::Deploy,
            what: " 2.7.0 -> 2.7.1".into(),
            from: Some("2.7.0".into()),
            to: Some("2.7.1".into()),
            actor: "gitlab:8812".into(),
            resumed_by: None,
            begun: at("2026-11-30T13:03:39Z"),
            latest: at("2026-11-30T13:06:10Z"),
            took: Duration::from_secs(151),
            runs: 1,
            nodes: NodeCounts { planned: 12, done: 12, ..NodeCounts::default() },
            state: RunState::Ended(Outcome::Done, 0),
            reason: None,
        };
        let failed = Summary {
            id: "7f3a19c2".into(),
            nodes: NodeCounts { planned: 12, done: 1, failed: 1, out: 1, rolled_back: 0 },
            state: RunState::Ended(Outcome::Failed, 20),
            reason: Some(format!(
                "app-2, health: not healthy within 90s{}",
                "; and so on".repeat(9)
            )),
            resumed_by: Some("ana@laptop".into()),
            runs: 2,
            ..base.clone()
        };
        let interrupted = Summary {
            id: "0011aabb".into(),
            command: CommandKind::Restart,
            what: ", version 2.7.0 kept".into(),
            state: RunState::Interrupted,
            reason: Some("app-1 at drain".into()),
            nodes: NodeCounts { planned: 1, ..NodeCounts::default() },
            ..base.clone()
        };
        vec![base, failed, interrupted]
    }

    fn shown(releases: &[Summary], width: usize) -> String {
        let (zone, width) = (TimeZone::UTC, Some(width));
        PastReleases { service: "app", releases, has_more: false, zone, width }.render()
    }

    #[test]
    fn releases_fit_into_80_and_120_columns() {
        let releases = releases();
        for width in [80, 120] {
            let text = shown(&releases, width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{text}");
        }
        insta::assert_snapshot!(shown(&releases, 80), @r"
        app: 3 releases, the newest first

         edb1d333  2026-11-30 13:03  deploy 2.7.0 -> 2.7.1
                   done, 2m31s, 12 of 12 done; by gitlab:8812

         7f3a19c2  2026-11-30 13:03  deploy 2.7.0 -> 2.7.1
                   failed, 2m31s, 1 of 12 done, 1 failed, 1 out; by gitlab:8812, resume…
                   app-2, health: not healthy within 90s; and so on; and so on; and so …

         0011aabb  2026-11-30 13:03  deploy --restart, version 2.7.0 kept
                   interrupted, 2m31s, 0 of 1 done; by gitlab:8812
                   app-1 at drain
        ");
        insta::assert_snapshot!(shown(&releases[..1], 120), @r"
        app: 1 release, the newest first

         RELEASE   WHEN              COMMAND                NODES          TOOK   RESULT  BY
         edb1d333  2026-11-30 13:03  deploy 2.7.0 -> 2.7.1  12 of 12 done  2m31s  done    gitlab:8812
        ");
    }

    #[test]
    fn hostile_text_stays_within_its_line() {
        let release =
            crate::release::Release::replay(&hostile::release()).expect("they may follow");
        let summary = Summary::of(&release, None).expect("it has started");
        for width in [60, 120, 2_000] {
            hostile::assert_tame(&shown(std::slice::from_ref(&summary), width));
        }
    }
}
