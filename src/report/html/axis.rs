//! The scale of the lanes: time to the right, and the time between two runs left out.

use jiff::Timestamp;

/// The width of the scale.
pub(super) const WIDTH: f64 = 1000.0;

/// The width of the gap between two runs.
const GAP: f64 = 12.0;

/// How many times a scale has.
const TICKS: u32 = 5;

/// The scale of the lanes.
pub(super) struct Axis {
    runs: Vec<Run>,
}

/// A run, and its place on the scale.
struct Run {
    from: Timestamp,
    to: Timestamp,
    left: f64,
    right: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a position needs no more")]
fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_millis().max(0) as f64
}

impl Axis {
    pub(super) fn new(runs: &[(Timestamp, Timestamp)]) -> Self {
        // A run of one moment has a place, too.
        let length = |(from, to): &(Timestamp, Timestamp)| millis(*from, *to).max(1.0);
        let all: f64 = runs.iter().map(length).sum();
        let gaps = GAP * f64::from(u32::try_from(runs.len().saturating_sub(1)).unwrap_or(u32::MAX));
        let gap = if gaps > WIDTH / 2.0 { 0.0 } else { GAP };
        let room = if gap > 0.0 { WIDTH - gaps } else { WIDTH };
        let mut left = 0.0;
        let runs = runs.iter().map(|run| {
            let right = left + room * length(run) / all;
            let placed = Run { from: run.0, to: run.1, left, right };
            left = right + gap;
            placed
        });
        Self { runs: runs.collect() }
    }

    /// The scale of the time between two moments.
    pub(super) fn between(runs: &[(Timestamp, Timestamp)], from: Timestamp, to: Timestamp) -> Self {
        let within = runs.iter().filter(|run| run.0 <= to && run.1 >= from);
        Self::new(&within.map(|run| (run.0.max(from), run.1.min(to))).collect::<Vec<_>>())
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The place of a moment.
    pub(super) fn place(&self, at: Timestamp) -> f64 {
        let run = self.runs.iter().rev().find(|run| run.from <= at).or_else(|| self.runs.first());
        let Some(run) = run else { return 0.0 };
        let length = millis(run.from, run.to).max(1.0);
        let part = (millis(run.from, at) / length).min(1.0);
        run.left + (run.right - run.left) * part
    }

    /// The end of each run but the last, and the begin of the next one: nothing is drawn in between.
    pub(super) fn breaks(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.runs.windows(2).map(|pair| (pair[0].to, pair[1].from))
    }

    /// The times below the scale: evenly spaced in one run; of several runs the begin and the end.
    pub(super) fn ticks(&self, told: impl Fn(Timestamp) -> String) -> Vec<String> {
        let (Some(first), Some(last)) = (self.runs.first(), self.runs.last()) else {
            return Vec::new();
        };
        if self.runs.len() > 1 {
            return vec![told(first.from), told(last.to)];
        }
        let whole = first.to.duration_since(first.from);
        let at = |number: u32| {
            let step = i32::try_from(number).unwrap_or(0);
            let last = i32::try_from(TICKS - 1).unwrap_or(1);
            first.from.checked_add(whole * step / last).unwrap_or(first.to)
        };
        (0..TICKS).map(|number| told(at(number))).collect()
    }
}

/// A place as text, to a tenth.
pub(super) fn shown(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
