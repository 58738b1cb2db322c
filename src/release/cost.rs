//! What a release cost: the time of its nodes, and how much of it gateways needed.

use std::time::Duration;

use super::step::Step;
use super::timeline::{Activity, Part, Parts, Segment, Timeline};
use crate::text;

/// The time that a release took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The node that took longest, and its time.
    pub longest: (String, Duration),
    /// The time of all nodes together.
    pub all: Duration,
    /// How much of it was spent until gateways followed a change.
    pub gateways: Duration,
}

impl Cost {
    /// Adds up what nodes did. `None` if the release worked on none.
    #[must_use]
    pub fn of(timeline: &Timeline) -> Option<Self> {
        let nodes = timeline.nodes();
        // Staging and deleting artifacts does not keep a node from serving.
        let is_update = |segment: &&Segment| {
            !matches!(segment.activity, Activity::Step(Step::Stage | Step::Prune))
        };
        let parts = nodes.iter().map(|name| {
            let segments = timeline.segments(name).iter().filter(is_update).cloned();
            (*name, Parts::of(&segments.collect::<Vec<_>>(), Duration::ZERO))
        });
        let mut cost: Option<Self> = None;
        for (name, parts) in parts {
            let (total, gateways) = (parts.total(), parts.sum(&[Part::Out, Part::In]));
            let longest = (name.to_owned(), total);
            let cost = cost.get_or_insert_with(|| Self {
                longest: longest.clone(),
                all: Duration::ZERO,
                gateways: Duration::ZERO,
            });
            cost.all += total;
            cost.gateways += gateways;
            if total > cost.longest.1 {
                cost.longest = longest;
            }
        }
        cost
    }

    /// The cost in one line.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { longest: (node, longest), all, gateways } = self;
        let [longest, all, gateways] = [*longest, *all, *gateways].map(text::duration);
        format!(
            "{node} took longest, {longest}; {gateways} of {all} were spent waiting for gateways"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Event, EventKind, Step};

    #[test]
    fn longest_node_and_the_time_in_gateways_are_told() {
        let mut timeline = Timeline::default();
        let mut tell = |second, node: Option<&str>, step, fact| {
            let at = jiff::Timestamp::from_second(second).expect("a time");
            let node = node.map(str::to_owned);
            timeline.take(&Event { seq: 1, at, release: "r".into(), node, step, fact });
        };
        let done =
            || EventKind::StepFinished { elapsed_ms: 0, message: String::new(), drained: None };
        for (begun, node, gateways, drain) in [(9, "a", 4, 6), (19, "b", 5, 25)] {
            let nodes = vec![node.to_owned()];
            tell(begun - 9, Some(node), Some(Step::Stage), EventKind::StepStarted {});
            tell(begun, Some(node), Some(Step::Stage), done());
            tell(begun, None, None, EventKind::BatchStarted { number: 1, nodes, back: false });
            tell(begun, Some(node), Some(Step::ConfirmOut), EventKind::StepStarted {});
            tell(begun + gateways, Some(node), Some(Step::ConfirmOut), done());
            tell(begun + gateways, Some(node), Some(Step::Drain), EventKind::StepStarted {});
            let end = begun + gateways + drain;
            tell(end, Some(node), Some(Step::Drain), done());
            tell(end, Some(node), None, EventKind::NodeDone { elapsed_ms: 0 });
        }
        let cost = Cost::of(&timeline).expect("two nodes");
        assert_eq!(cost.told(), "b took longest, 30s; 9s of 40s were spent waiting for gateways");
        assert_eq!(Cost::of(&Timeline::default()), None);
    }
}
