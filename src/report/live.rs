//! The live view on a terminal: finished nodes scroll up and stay, nodes in progress are redrawn in place.

mod rows;
mod tally;
mod title;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Reporter;
use super::wrap::{Size, shortened, size_of, wrapped};
use crate::engine::Sink;
use crate::release::{CommandKind, Drained, Event, EventKind, Planned, PlannedAction, Pool};
use crate::release::{Phase, Release, RotationState};
use crate::text;

use rows::Rows;
use tally::Tally;

/// How many waiting nodes are named.
const WAITING_SHOWN: usize = 6;

/// The redrawn lines besides the rows of nodes, and the line of the cursor.
const OTHER_LINES: usize = 6;

/// The lines of a terminal that does not tell them.
const USUAL_LINES: usize = 24;

/// Draws on a terminal.
pub struct Live {
    screen: MultiProgress,
    title: ProgressBar,
    /// The lines below the rows.
    below: [ProgressBar; 4],
    rows: Rows,
    /// The size of the terminal.
    size: Box<dyn Fn() -> Option<Size> + Send>,
    colour: bool,
    /// The nodes that were marked up again. One line about each is enough.
    returned: BTreeSet<String>,
    /// How many nodes each gateway routed to at its last read.
    routed: BTreeMap<String, usize>,
    begun: Option<jiff::Timestamp>,
    tally: Tally,
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
        let (title, below) = (add(), [add(), add(), add(), add()]);
        Self {
            title,
            rows: Rows::new(screen.clone(), below[0].clone()),
            below,
            screen,
            size: Box::new(|| size_of(std::io::stderr())),
            colour,
            returned: BTreeSet::new(),
            routed: BTreeMap::new(),
            begun: None,
            tally: Tally::default(),
        }
    }

    /// The same on a terminal of this size.
    #[cfg(test)]
    fn sized(self, size: Size) -> Self {
        Self { size: Box::new(move || Some(size)), ..self }
    }

    fn columns(&self) -> Option<usize> {
        (self.size)().map(|size| size.columns)
    }

    /// Sets a redrawn line, cut to the terminal's width.
    fn draw(&self, line: &ProgressBar, message: &str) {
        let message = text::harmless(message);
        line.set_message(match self.columns() {
            Some(columns) => shortened(&message, columns),
            None => message,
        });
    }

    /// A line that stays on the screen, above the redrawn lines.
    fn print(&self, line: &str) {
        let _ = self.screen.println(wrapped(line, self.columns()));
    }

    fn paint(&self, code: &str, symbol: &str) -> String {
        if self.colour { format!("\x1b[{code}m{symbol}\x1b[0m") } else { symbol.to_owned() }
    }

    fn settle(&mut self, node: &str, symbol: &str, code: &str, rest: &str) {
        self.rows.remove(node);
        let symbol = self.paint(code, symbol);
        let told = text::harmless(&format!("{node:<width$}  {rest}", width = self.rows.names));
        self.print(&format!("  {symbol} {told}"));
    }

    fn warn(&mut self, node: &str, release: &Release, message: &str) {
        let mark = self.paint("33", "!");
        self.print(&format!("  {mark} {}", text::harmless(message)));
        // A failed node that could not be returned, or removed, has no further step.
        if release.nodes.get(node).is_some_and(|node| node.phase == Phase::Failed) {
            self.rows.remove(node);
        }
    }

    fn under_way(&mut self, event: &Event, release: &Release, message: &str) {
        let Some(node) = &event.node else { return };
        let left = match &event.fact {
            EventKind::StepProgress { deadline_s, .. } => deadline_s.map(Duration::from_secs),
            _ => None,
        };
        self.rows.set(node, &super::doing(event, release), message, (event.at, left));
    }

    fn begins(&mut self, event: &Event, release: &Release) {
        let (Some(node), Some(step)) = (&event.node, event.step) else { return };
        let word = super::doing(event, release);
        self.rows.begin(node, &word, super::begun(step), event.at);
    }

    fn set_up(&mut self, nodes: &[Planned], at: jiff::Timestamp) {
        self.begun = Some(at);
        let widest = nodes.iter().map(|planned| planned.node.chars().count()).max();
        self.rows.names = widest.unwrap_or(0).max(7);
    }

    fn refresh(&mut self, release: &Release, now: jiff::Timestamp) {
        let size = (self.size)();
        let columns = size.map(|size| size.columns);
        let lines = size.map_or(USUAL_LINES, |size| size.lines).saturating_sub(OTHER_LINES).max(1);
        self.rows.draw(columns, lines, now);
        let Some(started) = &release.started else { return };
        let done = (self.tally.done(), self.tally.failed());
        self.draw(&self.title, &title::of(release, self.begun, done, now).fit(columns));
        let waiting = self.tally.waiting();
        let number = waiting.len();
        let names = text::few(waiting.map(str::to_owned), WAITING_SHOWN).join(", ");
        let waiting = match number {
            0 => String::new(),
            number => format!("  · {number} waiting: {names}"),
        };
        // Only the gateway with the fewest nodes counts.
        let pool = started.pool.map(|Pool { nodes, routed, min }| {
            let routed = self.routed.values().min().copied().unwrap_or(routed);
            format!("  Pool  {routed} of {nodes} routed (min_available {min})")
        });
        let last = match &release.stopping {
            Some(reason) => format!("  Stopping ({reason}): no further node is updated."),
            None => "  Ctrl-C stops the release at a safe point.".to_owned(),
        };
        let told = [self.rows.others(), waiting, pool.unwrap_or_default(), last];
        let told = told.iter().map(String::as_str).filter(|line| !line.is_empty());
        // An empty line between them would look like a gap.
        for (line, told) in self.below.iter().zip(told.chain(std::iter::repeat(""))) {
            self.draw(line, told);
        }
    }

    fn summary(node: &str, release: &Release, elapsed_ms: u64, gateways: usize) -> String {
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
        // Each gateway has confirmed it.
        let place = match state {
            Some(state) if state.rotation_state() == RotationState::Out => {
                format!("out {gateways}/{gateways}")
            }
            _ => {
                let proven = state.map_or(0, |state| state.proven);
                format!("routed {proven}/{proven}")
            }
        };
        format!("done  {version:<8}  {took:>6}  {drained:<18}  {place}")
    }
}

impl Reporter for Live {
    fn tick(&mut self, now: jiff::Timestamp, release: &Release) {
        if release.finished.is_none() {
            self.refresh(release, now);
        }
    }
}

impl Sink for Live {
    fn event(&mut self, event: &Event, release: &Release) {
        self.tally.update(event, release);
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
            EventKind::StepStarted {} => self.begins(event, release),
            EventKind::StepProgress { message, .. } => self.under_way(event, release, message),
            EventKind::StepFinished { message, .. } => {
                let done = release
                    .nodes
                    .get(&node)
                    .is_some_and(|state| matches!(state.phase, Phase::Done | Phase::Waiting));
                if done {
                    // The node is staged or pruned, not in progress.
                    self.rows.remove(&node);
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
                let rest = Self::summary(&node, release, *elapsed_ms, self.routed.len());
                self.settle(&node, "✓", "32", &rest);
            }
            EventKind::ReleaseFinished(_) => {
                self.rows.clear();
                for line in std::iter::once(&self.title).chain(&self.below) {
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
