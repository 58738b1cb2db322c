//! The live view on a terminal: finished nodes scroll up and stay, nodes in progress are redrawn in place.

mod estimate;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Reporter;
use super::wrap::{width_of, wrapped};
use crate::engine::Sink;
use crate::release::{CommandKind, Drained, Event, EventKind, Planned, PlannedAction, Pool};
use crate::release::{Phase, Release};
use crate::text;

use estimate::Estimate;
use tally::Tally;

/// How many waiting nodes are named.
const WAITING_SHOWN: usize = 6;

/// The width of a row of a node: its time stands beside its text on a wide terminal, too.
const WIDEST_ROW: usize = 100;

/// The columns of a row besides its text: the indent, the spinner and the time.
const BESIDE_TEXT: usize = 10;

/// How often the spinners move.
const TICK: Duration = Duration::from_millis(120);

/// Draws on a terminal.
pub struct Live {
    screen: MultiProgress,
    title: ProgressBar,
    waiting: ProgressBar,
    pool: ProgressBar,
    hint: ProgressBar,
    nodes: BTreeMap<String, NodeLine>,
    width: usize,
    /// The columns of the terminal.
    columns: Box<dyn Fn() -> Option<usize> + Send>,
    colour: bool,
    /// The nodes that were marked up again. One line about each is enough.
    returned: BTreeSet<String>,
    /// How many nodes each gateway routed to at its last read.
    routed: BTreeMap<String, usize>,
    begun: Option<jiff::Timestamp>,
    tally: Tally,
    estimate: Estimate,
}

/// A node in progress.
struct NodeLine {
    bar: ProgressBar,
    drained: Option<Drained>,
    proven: usize,
}

impl Live {
    /// Draws to `target`, usually the terminal behind stderr.
    #[must_use]
    pub fn new(target: ProgressDrawTarget, colour: bool) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        // One line per node, cut to the terminal's width.
        let plain = ProgressStyle::with_template("{wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let add = || screen.add(ProgressBar::new_spinner().with_style(plain.clone()));
        let (title, waiting, pool, hint) = (add(), add(), add(), add());
        Self {
            title,
            waiting,
            pool,
            hint,
            screen,
            nodes: BTreeMap::new(),
            width: 7,
            columns: Box::new(|| width_of(std::io::stderr())),
            colour,
            returned: BTreeSet::new(),
            routed: BTreeMap::new(),
            begun: None,
            tally: Tally::default(),
            estimate: Estimate::default(),
        }
    }

    /// The same on a terminal of this width.
    #[cfg(test)]
    fn with_columns(self, columns: usize) -> Self {
        Self { columns: Box::new(move || Some(columns)), ..self }
    }

    /// Sets a redrawn line, cut to the terminal's width.
    fn draw(&self, line: &ProgressBar, message: &str) {
        let message = text::harmless(message);
        line.set_message(match (self.columns)() {
            Some(columns) => shortened(&message, columns),
            None => message,
        });
    }

    /// A line that stays on the screen, above the redrawn lines.
    fn print(&self, line: &str) {
        let _ = self.screen.println(wrapped(line, (self.columns)()));
    }

    fn paint(&self, code: &str, symbol: &str) -> String {
        if self.colour { format!("\x1b[{code}m{symbol}\x1b[0m") } else { symbol.to_owned() }
    }

    fn settle(&mut self, node: &str, symbol: &str, code: &str, rest: &str) {
        self.remove_row(node);
        let symbol = self.paint(code, symbol);
        let told = text::harmless(&format!("{node:<width$}  {rest}", width = self.width));
        self.print(&format!("  {symbol} {told}"));
    }

    fn remove_row(&mut self, node: &str) {
        if let Some(line) = self.nodes.remove(node) {
            line.bar.finish_and_clear();
        }
    }

    fn warn(&mut self, node: &str, release: &Release, message: &str) {
        let mark = self.paint("33", "!");
        self.print(&format!("  {mark} {}", text::harmless(message)));
        // A failed node that could not be returned, or removed, has no further step.
        if release.nodes.get(node).is_some_and(|node| node.phase == Phase::Failed) {
            self.remove_row(node);
        }
    }

    fn under_way(&mut self, event: &Event, release: &Release, message: &str) {
        let Some(node) = event.node.clone() else { return };
        let doing = super::doing(event, release);
        let message = format!("{node:<width$}  {doing:<11}  {message}", width = self.width);
        let columns = (self.columns)().unwrap_or(WIDEST_ROW).min(WIDEST_ROW);
        let room = columns.saturating_sub(BESIDE_TEXT);
        let message = shortened(&text::harmless(&message), room);
        let (screen, waiting) = (&self.screen, &self.waiting);
        let line = self.nodes.entry(node).or_insert_with(|| {
            let bar = screen.insert_before(waiting, ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed:>4} ")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar.enable_steady_tick(TICK);
            NodeLine { bar, drained: None, proven: 0 }
        });
        match &event.fact {
            EventKind::GatewayProven { .. } => line.proven += 1,
            EventKind::StepFinished { drained: Some(drained), .. } => line.drained = Some(*drained),
            _ => {}
        }
        line.bar.set_message(format!("{message:<room$}"));
    }

    /// The elapsed time of the release, and an estimate of the rest.
    fn times(&self, now: jiff::Timestamp) -> String {
        let Some(begun) = self.begun else { return String::new() };
        let elapsed = Duration::try_from(now.duration_since(begun)).unwrap_or_default();
        let elapsed = text::duration(Duration::from_secs(elapsed.as_secs()));
        match self.estimate.left(now) {
            Some(left) => format!(" · {elapsed} · about {} left", text::duration(left)),
            None => format!(" · {elapsed}"),
        }
    }

    fn set_up(&mut self, nodes: &[Planned], at: jiff::Timestamp) {
        self.begun = Some(at);
        let widest = nodes.iter().map(|planned| planned.node.chars().count()).max();
        self.width = widest.unwrap_or(0).max(7);
    }

    fn refresh(&self, release: &Release, now: jiff::Timestamp) {
        let Some(started) = &release.started else { return };
        let (done, all) = (self.tally.done(), started.nodes.updates());
        let versions = match started.command {
            CommandKind::Deploy | CommandKind::Restart => started.versions(),
            _ => String::new(),
        };
        let title = format!(
            "{} {}{versions} · {done} of {all} done{} · release {}",
            started.command,
            started.service,
            self.times(now),
            started.inputs.release(),
        );
        self.draw(&self.title, &title);
        let waiting = self.tally.waiting();
        let more = waiting.len().saturating_sub(WAITING_SHOWN);
        let names = waiting.take(WAITING_SHOWN).collect::<Vec<_>>().join(", ");
        let waiting = match more {
            0 if names.is_empty() => String::new(),
            0 => format!("  · {names} waiting"),
            more => format!("  · {names} and {more} more waiting"),
        };
        let last = match &release.stopping {
            Some(reason) => format!("  Stopping ({reason}): no further node is updated."),
            None => "  Ctrl-C stops the release at a safe point.".to_owned(),
        };
        self.draw(&self.waiting, &waiting);
        // Only the gateway with the fewest nodes counts.
        let pool = started.pool.map(|Pool { nodes, routed, min }| {
            let routed = self.routed.values().min().copied().unwrap_or(routed);
            format!("  Pool  {routed} of {nodes} routed (min_available {min})")
        });
        self.draw(&self.pool, &pool.unwrap_or_default());
        self.draw(&self.hint, &last);
    }

    fn summary(node: &str, release: &Release, elapsed_ms: u64) -> String {
        let started = release.started.as_ref();
        let version = started.and_then(|started| match started.command {
            CommandKind::Restart => started.nodes.named(node)?.runs.clone(),
            _ => started.to.clone(),
        });
        let version = version.unwrap_or_default();
        let took = text::duration(Duration::from_millis(elapsed_ms));
        let state = release.nodes.get(node);
        let drained = match state.and_then(|state| state.drained) {
            Some(Drained { from, cut: 0 }) => format!("drained {from} -> 0"),
            Some(Drained { from, cut }) => format!("drained {from} -> {cut}, {cut} CUT"),
            None => String::new(),
        };
        let proven = state.map_or(0, |state| state.proven);
        format!("done  {version:<8}  {took:>6}  {drained:<18}  routed {proven}/{proven}")
    }
}

/// Cuts a text to a number of columns.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

impl Reporter for Live {}

impl Sink for Live {
    fn event(&mut self, event: &Event, release: &Release) {
        self.tally.update(event, release);
        let all = release.started.as_ref().map_or(0, |started| started.nodes.updates());
        self.estimate.update(event, release, all.saturating_sub(self.tally.done()));
        let node = event.node.clone().unwrap_or_default();
        match &event.fact {
            EventKind::ReleaseResumed(resumed) => {
                self.set_up(release.planned(), event.at);
                let what = super::continues_with(resumed, release);
                self.print(&text::harmless(&format!("  continues with {what}")));
            }
            EventKind::ReleaseStarted(started) => {
                self.set_up(&started.nodes, event.at);
                for planned in started.nodes.iter() {
                    let (symbol, code, word) = match planned.will {
                        PlannedAction::Update => continue,
                        PlannedAction::Skip => ("-", "2", "up to date"),
                        PlannedAction::LeftOut => ("-", "2", "left out"),
                        PlannedAction::Blocked => ("x", "31", "not usable"),
                    };
                    self.settle(&planned.node, symbol, code, &format!("{word}: {}", planned.why));
                }
            }
            EventKind::StepStarted {} => self.under_way(event, release, ""),
            EventKind::StepProgress { message, deadline_s, .. } => {
                let left = deadline_s.map(|left| text::duration(Duration::from_secs(left)));
                let left = left.map_or(String::new(), |left| format!(", {left} left"));
                self.under_way(event, release, &format!("{message}{left}"));
            }
            EventKind::StepFinished { message, .. } => {
                let done = release
                    .nodes
                    .get(&node)
                    .is_some_and(|state| matches!(state.phase, Phase::Done | Phase::Waiting));
                if done {
                    // The node is staged or pruned, not in progress.
                    self.remove_row(&node);
                } else {
                    self.under_way(event, release, message);
                }
            }
            EventKind::Notice { message } => {
                self.print(&format!("    {}", text::harmless(message)));
            }
            EventKind::Warning { message } => self.warn(&node, release, message),
            EventKind::NodeFailed(failure) => {
                let step = event.step.map_or(String::new(), |step| format!("{step}: "));
                self.settle(&node, "x", "31", &format!("FAILED  {step}{}", failure.reason));
            }
            EventKind::NodePutBack { proven, problem } => {
                self.settle(&node, "-", "33", &super::put_back(*proven, problem.as_ref()));
                self.returned.insert(node);
            }
            EventKind::NodeInterrupted {} if self.returned.remove(&node) => {}
            EventKind::NodeInterrupted {} => {
                let state = release.nodes.get(&node).map_or("", super::state_of);
                self.settle(&node, "-", "33", &format!("interrupted: {state}"));
            }
            EventKind::NodeDone { elapsed_ms } => {
                let rest = Self::summary(&node, release, *elapsed_ms);
                self.settle(&node, "✓", "32", &rest);
            }
            EventKind::ReleaseFinished(_) => {
                for line in std::mem::take(&mut self.nodes).into_values() {
                    line.bar.finish_and_clear();
                }
                for line in [&self.title, &self.waiting, &self.pool, &self.hint] {
                    line.finish_and_clear();
                }
                return;
            }
            EventKind::CapacitySeen { routed } => self.routed.extend(routed.clone()),
            EventKind::GatewayProven { gateway, pool, .. } => {
                self.routed.extend(pool.map(|pool| (gateway.clone(), pool)));
                self.under_way(event, release, &format!("{gateway}: confirmed"));
            }
            EventKind::NodeRollingBack { version } => {
                self.under_way(event, release, &super::rolling_back(version));
            }
            EventKind::NodeRolledBack { elapsed_ms } => {
                let took = text::duration(Duration::from_millis(*elapsed_ms));
                self.settle(&node, "<", "33", &format!("rolled back  {took:>6}"));
            }
            EventKind::RegistryWriting { down: false, .. } => {
                self.under_way(event, release, "marking up");
            }
            EventKind::RegistryWritten { down: false, .. } => {
                self.under_way(event, release, "marked up");
            }
            EventKind::BatchStarted { .. }
            | EventKind::RegistryWriting { .. }
            | EventKind::RegistryWritten { .. }
            | EventKind::RegistryRefused {}
            | EventKind::NodeMarked { .. }
            | EventKind::ReleaseStopping { .. } => {}
        }
        self.refresh(release, event.at);
    }
}

#[cfg(test)]
mod tests;
