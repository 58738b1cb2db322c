//! The number of nodes in rotation over time.

use jiff::Timestamp;

use super::axis::{Axis, shown};
use super::source::StoryPage;
use crate::text::count;

/// The height of the diagram.
const HEIGHT: f64 = 100.0;

/// The number of nodes in rotation over time.
pub(super) struct PoolView {
    pub(super) caption: String,
    pub(super) label: String,
    pub(super) lowest: String,
    /// The area below the line, the line, and the height of `min_available`.
    pub(super) area: String,
    pub(super) line: String,
    pub(super) floor: String,
    pub(super) rows: Vec<(String, usize)>,
}

impl PoolView {
    /// The diagram; none if the journal does not have the numbers.
    pub(super) fn new(page: &StoryPage<'_>, axis: &Axis) -> Option<Self> {
        let pool = page.story.started()?.pool?;
        let capacity = &page.story.timeline.capacity;
        let lowest = capacity.iter().map(|(_, routed)| *routed).min()?;
        let most = capacity.iter().map(|(_, routed)| *routed).fold(pool.nodes, usize::max).max(1);
        let level = |routed: usize| HEIGHT - HEIGHT * ratio(routed, most);
        let points = points(capacity, axis, page.summary.latest);
        let line: String = points.iter().map(|point| point.drawn(&level)).collect();
        let areas = points.chunk_by(|_, next| !next.is_first).filter_map(|run| {
            let top: String = run.iter().map(|point| point.drawn(&level)).collect();
            Some(format!("{top}V{HEIGHT}H{}Z", shown(run.first()?.x)))
        });
        let area = areas.collect::<Vec<_>>().concat();
        let nodes = count(pool.nodes, "node");
        Some(Self {
            caption: format!("of {}, min_available {}", pool.nodes, pool.min),
            label: format!(
                "At least {lowest} of {nodes} in rotation at every gateway; min_available is {}.",
                pool.min
            ),
            lowest: format!("≥ {lowest}"),
            area,
            line,
            floor: shown(level(pool.min)),
            rows: capacity.iter().map(|(at, routed)| (page.time(*at), *routed)).collect(),
        })
    }
}

/// A change of the number, or the begin or end of a run.
struct Point {
    x: f64,
    routed: usize,
    /// It is the first one of a run: no line leads to it.
    is_first: bool,
}

impl Point {
    fn drawn(&self, level: &impl Fn(usize) -> f64) -> String {
        let (x, y) = (shown(self.x), shown(level(self.routed)));
        if self.is_first { format!("M{x} {y}") } else { format!("H{x}V{y}") }
    }
}

fn points(capacity: &[(Timestamp, usize)], axis: &Axis, latest: Timestamp) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut breaks = axis.breaks().peekable();
    let mut routed = 0;
    for (at, next) in capacity {
        while let Some((end, begin)) = breaks.next_if(|(_, begin)| begin <= at) {
            points.push(Point { x: axis.place(end), routed, is_first: false });
            points.push(Point { x: axis.place(begin), routed, is_first: true });
        }
        points.push(Point { x: axis.place(*at), routed: *next, is_first: points.is_empty() });
        routed = *next;
    }
    for (end, begin) in breaks {
        points.push(Point { x: axis.place(end), routed, is_first: false });
        points.push(Point { x: axis.place(begin), routed, is_first: true });
    }
    points.push(Point { x: axis.place(latest), routed, is_first: false });
    points
}

#[expect(clippy::cast_precision_loss, reason = "a position needs no more")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
