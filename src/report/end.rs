//! The report at the end: how it ended, why, every node's state, and what to type next. The same text on a
//! terminal and in a log.

use std::fmt::Write;
use std::time::Duration;

use crate::engine::release::{Phase, Release, Standing};
use crate::event::{Drained, Finished, Outcome};
use crate::plan::routed;
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::table::Table;
use crate::text::{self, count};

/// What is known of a node at the end, beyond the release's own state.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// The version it tells.
    pub version: Option<String>,
    /// Whether its check passes.
    pub process: &'static str,
    /// What its key says.
    pub key: &'static str,
    /// `routed 2/2`.
    pub gateways: String,
}

/// Everything that the report is made of.
pub struct Report<'a> {
    /// The release.
    pub release: &'a Release,
    /// What was released.
    pub spec: &'a Spec,
    /// The last look at everything; empty when there was none.
    pub fleet: Option<&'a Fleet>,
}

impl NodeView {
    /// What a look at everything says of a node.
    #[must_use]
    pub fn of(fleet: &Fleet, spec: &Spec, name: &str) -> Self {
        let Some((facts, node)) = fleet.nodes.get(name).zip(spec.node(name)) else {
            return Self::default();
        };
        let seen: Vec<_> =
            fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
        let count = seen.iter().filter(|seen| seen.routes_to(&node.address)).count();
        Self {
            version: facts.version(),
            process: match (&facts.health.problem, &facts.survey) {
                (None, _) => "healthy",
                (Some(_), Some(survey)) if !survey.tools.contains("ss") => "unhealthy",
                (Some(_), Some(survey)) if !survey.listener.bound => "not listening",
                (Some(_), Some(_)) => "unhealthy",
                (Some(_), None) => "unknown",
            },
            key: match facts.down {
                Some(true) => "down",
                Some(false) => "up",
                None => "?",
            },
            gateways: match fleet.gateways.len() - seen.len() {
                0 => routed(Some(count), seen.len()),
                unknown => format!("{}, {unknown} unknown", routed(Some(count), seen.len())),
            },
        }
    }
}

impl Report<'_> {
    /// Renders it.
    #[must_use]
    pub fn render(&self) -> String {
        let Some((finished, started)) =
            self.release.finished.as_ref().zip(self.release.started.as_ref())
        else {
            return String::new();
        };
        let mut text = self.headline(finished, &started.inputs.release);
        if finished.result == Outcome::Done {
            return text;
        }
        for (name, node) in self.release.in_order() {
            if let Some(failure) = &node.failure {
                let step = node.step.map_or(String::new(), |step| format!("{step}: "));
                section(&mut text, "Why", &format!("{name}, {step}{}", failure.reason));
                for (label, line) in &failure.seen {
                    let _ = writeln!(text, "        {label:<11} {}", text::harmless(line));
                }
                for line in &failure.log {
                    let _ = writeln!(text, "        log         {}", text::harmless(line));
                }
            }
        }
        for planned in self.release.planned() {
            if self
                .release
                .nodes
                .get(&planned.node)
                .is_some_and(|node| node.phase == Phase::Blocked)
            {
                section(&mut text, "Why", &format!("{}, {}", planned.node, planned.why));
            }
        }
        section(&mut text, "Nodes", "");
        text += &self.table();
        let _ = writeln!(text, "        {}", self.serving());
        if !finished.next.is_empty() {
            let widest =
                finished.next.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
            for (index, (what, command)) in finished.next.iter().enumerate() {
                let label = if index == 0 { "\nNext   " } else { "       " };
                let _ = writeln!(text, "{label} {what:<widest$}  {command}");
            }
        }
        text
    }

    fn headline(&self, finished: &Finished, id: &str) -> String {
        let took = text::duration(Duration::from_millis(finished.elapsed_ms));
        let done = self.release.count(|node| node.phase == Phase::Done);
        let failed = count(self.release.failures(), "node");
        match finished.result {
            Outcome::Nothing => "Nothing to do.\n".to_owned(),
            Outcome::Done => {
                let cut: u64 = self
                    .release
                    .nodes
                    .values()
                    .filter_map(|node| node.drained)
                    .map(|Drained { cut, .. }| cut)
                    .sum();
                let cut = count(usize::try_from(cut).unwrap_or(usize::MAX), "request");
                format!("DONE  release {id}: {} in {took}, {cut} cut\n", count(done, "node"))
            }
            Outcome::Refused => format!(
                "REFUSED  release {id}: {failed} could not be prepared; no node left rotation\n"
            ),
            Outcome::Stopped => {
                let reason = self.release.stopping.as_deref().unwrap_or("on request");
                format!(
                    "STOPPED  release {id} after {took}: {reason}; {} done\n",
                    count(done, "node")
                )
            }
            Outcome::Failed if self.release.failures() == 0 => {
                let reason = self.release.stopping.as_deref().unwrap_or("stopped");
                format!("FAILED  release {id} after {took}: {}\n", text::harmless(reason))
            }
            Outcome::Failed => {
                let limit = self.spec.max_failures;
                let at: Vec<_> = self
                    .release
                    .in_order()
                    .filter(|(_, node)| matches!(node.phase, Phase::Failed | Phase::Blocked))
                    .map(|(name, _)| name)
                    .collect();
                format!(
                    "FAILED  release {id} at {}   ({failed} failed, limit {limit})\n",
                    at.join(", ")
                )
            }
            Outcome::LockLost => {
                let reason = self.release.stopping.as_deref().unwrap_or("lost");
                format!(
                    "LOCK LOST  release {id} after {took}: {}; nothing was done from then on\n",
                    text::harmless(reason)
                )
            }
            Outcome::Degraded => format!(
                "DEGRADED  release {id}: too few nodes serve, or a state is unknown; page someone\n"
            ),
        }
    }

    fn table(&self) -> String {
        let headings = ["NODE", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
        let mut table = Table::new(&headings).indented(8);
        for (name, node) in self.release.in_order() {
            let view = self
                .fleet
                .map_or_else(NodeView::default, |fleet| NodeView::of(fleet, self.spec, name));
            let unknown =
                |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            table.row(&[
                name,
                view.version.as_deref().unwrap_or("?"),
                &unknown(view.process),
                &unknown(view.key),
                &unknown(&view.gateways),
                super::state_of(node),
            ]);
        }
        table.render()
    }

    /// Who serves the users now.
    fn serving(&self) -> String {
        let total = self.spec.nodes.len();
        let floor = self.spec.floor();
        let Some(fleet) = self.fleet else {
            let out = self.release.count(|node| node.standing() == Standing::Out);
            return format!(
                "{} out of rotation (min available {floor} of {total}).",
                count(out, "node")
            );
        };
        let seen: Vec<_> =
            fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
        let serving = self
            .spec
            .nodes
            .iter()
            .filter(|node| {
                !seen.is_empty() && seen.iter().all(|seen| seen.routes_to(&node.address))
            })
            .count();
        format!("Users are served by {serving} of {} (min {floor}).", count(total, "node"))
    }
}

fn section(text: &mut String, label: &str, rest: &str) {
    let _ = writeln!(text, "\n{}", format!("{label:<7} {}", text::harmless(rest)).trim_end());
}
