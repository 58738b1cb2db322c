//! The rows of the nodes under way: one line each, as many as fit on the terminal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use jiff::Timestamp;

use crate::report::wrap::shortened;
use crate::text::{self, count};

/// How often the spinners move.
const TICK: Duration = Duration::from_millis(120);

/// The columns of the time and the limit of a step: `90s of 120s`.
const TIME: usize = 11;

/// The same, at most: `10m30s of 30m`.
const LONGEST_TIME: usize = 13;

/// The indent and the spinner, each with a space after it.
const BEFORE_TEXT: usize = 4;

/// The time of a step is at the same place for all usual steps.
const STEP: usize = 11;

/// The nodes under way.
pub(super) struct Rows {
    screen: MultiProgress,
    /// The line below the rows.
    below: ProgressBar,
    nodes: BTreeMap<String, Row>,
    /// The widest name of a node.
    pub(super) names: usize,
}

/// A node under way.
struct Row {
    /// Its line, if it fits.
    bar: Option<ProgressBar>,
    /// What is done to it.
    word: String,
    /// What it waits for, or what was found.
    message: String,
    since: Timestamp,
    limit: Limit,
    /// The texts on its line.
    drawn: (String, String),
}

/// When a step gives up, after its begin, if that is known.
type Limit = Arc<Mutex<Option<Duration>>>;

impl Rows {
    pub(super) fn new(screen: MultiProgress, below: ProgressBar) -> Self {
        Self { screen, below, nodes: BTreeMap::new(), names: 7 }
    }

    /// What is done to a node, since when, and the time that is left for it, if it is limited.
    pub(super) fn set(
        &mut self,
        node: &str,
        word: &str,
        message: &str,
        (now, left): (Timestamp, Option<Duration>),
    ) {
        let row = self.nodes.entry(node.to_owned()).or_insert_with(|| Row {
            bar: None,
            word: word.to_owned(),
            message: String::new(),
            since: now,
            limit: Limit::default(),
            drawn: Default::default(),
        });
        if row.word != word {
            row.begin(word, now);
        }
        message.clone_into(&mut row.message);
        if let Some(left) = left {
            row.limit_to(now, left);
        }
    }

    /// A step of a node begins.
    pub(super) fn begin(&mut self, node: &str, word: &str, message: &str, now: Timestamp) {
        if let Some(row) = self.nodes.get_mut(node) {
            row.begin(word, now);
        }
        self.set(node, word, message, (now, None));
    }

    pub(super) fn remove(&mut self, node: &str) {
        if let Some(bar) = self.nodes.remove(node).and_then(|row| row.bar) {
            bar.finish_and_clear();
        }
    }

    /// Removes every row.
    pub(super) fn clear(&mut self) {
        for row in std::mem::take(&mut self.nodes).into_values() {
            if let Some(bar) = row.bar {
                bar.finish_and_clear();
            }
        }
    }

    /// Draws as many rows as fit, `lines` at most, each within `columns`; the other nodes are counted.
    pub(super) fn draw(&mut self, columns: Option<usize>, lines: usize, now: Timestamp) {
        let mut shown = self.nodes.values().filter(|row| row.bar.is_some()).count();
        for row in self.nodes.values_mut() {
            if row.bar.is_some() && shown > lines {
                row.bar.take().inspect(ProgressBar::finish_and_clear);
                shown -= 1;
            } else if row.bar.is_none() && shown < lines {
                let bar = self.screen.insert_before(&self.below, ProgressBar::new_spinner());
                bar.set_style(style(&row.limit));
                let waited = now.duration_since(row.since).try_into().unwrap_or_default();
                let bar = bar.with_elapsed(waited);
                bar.enable_steady_tick(TICK);
                row.bar = Some(bar);
                row.drawn = Default::default();
                shown += 1;
            }
        }
        let names = self.names;
        for (node, row) in &mut self.nodes {
            let Some(bar) = &row.bar else { continue };
            let who = format!("{node:<names$}  {:<STEP$}", row.word);
            let who = text::harmless(&who);
            let room = columns.map_or(usize::MAX, |columns| {
                columns.saturating_sub(BEFORE_TEXT + who.chars().count() + 2 + LONGEST_TIME + 2)
            });
            let drawn = (who, shortened(&text::harmless(&row.message), room));
            if row.drawn != drawn {
                bar.set_prefix(drawn.0.clone());
                bar.set_message(drawn.1.clone());
                row.drawn = drawn;
            }
        }
    }

    /// The nodes that have no row, by what is done to them; empty if there are none.
    pub(super) fn others(&self) -> String {
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.nodes.values().filter(|row| row.bar.is_none()) {
            *words.entry(&row.word).or_default() += 1;
        }
        let all: usize = words.values().sum();
        if all == 0 {
            return String::new();
        }
        let words: Vec<_> = words.iter().map(|(word, number)| format!("{number} {word}")).collect();
        format!("  … {} under way: {}", count(all, "more node"), words.join(", "))
    }
}

impl Row {
    fn begin(&mut self, word: &str, now: Timestamp) {
        (self.since, self.word) = (now, word.to_owned());
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(bar) = &self.bar {
            bar.reset_elapsed();
        }
    }

    /// Steps tell the time that is left in whole seconds, so the limit that follows from it may differ by one.
    fn limit_to(&mut self, now: Timestamp, left: Duration) {
        let waited: Duration = now.duration_since(self.since).try_into().unwrap_or_default();
        let limit = waited.saturating_add(left);
        let mut known = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|known| known.abs_diff(limit) > Duration::from_secs(1)) {
            *known = Some(limit);
        }
    }
}

/// The spinner, the name and the step, their time, and what is waited for.
fn style(limit: &Limit) -> ProgressStyle {
    let limit = limit.clone();
    let took = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let limit = *limit.lock().unwrap_or_else(PoisonError::into_inner);
        let time = text::of_limit(state.elapsed(), limit);
        let _ = write!(out, "{time:<TIME$}");
    };
    ProgressStyle::with_template("  {spinner} {prefix}  {took}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("took", took)
}
