//! Where the time of a node went.

use std::time::Duration;

use super::segment::{Activity, Segment, SegmentEnd};
use crate::release::step::Step;

/// What time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The service stopped.
    Stop,
    /// The service was started.
    Start,
    /// The service was not ready yet.
    Ready,
    /// The service was ready, and had to stay healthy for a while.
    StayHealthy,
    /// Commands of the playbook: `run` steps.
    Run,
    /// Gateways had not stopped routing to the node yet, as far as they confirmed.
    Out,
    /// Gateways did not route to the node again yet.
    In,
    /// Requests in flight had not ended.
    Drain,
    /// rollgate's own work.
    Own,
}

/// Where the time of a node went. The parts add up to its whole time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts([Duration; Part::ALL.len()]);

impl Part {
    /// Every part, in order.
    pub const ALL: [Self; 9] = [
        Self::Stop,
        Self::Start,
        Self::Ready,
        Self::StayHealthy,
        Self::Run,
        Self::Out,
        Self::In,
        Self::Drain,
        Self::Own,
    ];

    /// Its name, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::StayHealthy => "stay_healthy",
            Self::Run => "run",
            Self::Out => "gateways_out",
            Self::In => "gateways_in",
            Self::Drain => "drain",
            Self::Own => "rollgate",
        }
    }
}

impl From<Activity> for Part {
    fn from(activity: Activity) -> Self {
        match activity {
            Activity::Step(Step::Stop) => Self::Stop,
            Activity::Step(Step::Start | Step::Restart) => Self::Start,
            Activity::Step(Step::Health) => Self::Ready,
            Activity::Step(Step::Run(_)) => Self::Run,
            Activity::Step(Step::ConfirmOut) | Activity::Withdraw => Self::Out,
            Activity::Step(Step::ConfirmIn) | Activity::Return => Self::In,
            Activity::Step(Step::Drain) => Self::Drain,
            Activity::Step(
                Step::Stage | Step::Disable | Step::Activate | Step::Enable | Step::Prune,
            )
            | Activity::Between => Self::Own,
        }
    }
}

impl Parts {
    /// Adds up segments.
    #[must_use]
    pub fn of(segments: &[Segment], stays_healthy: Duration) -> Self {
        let mut parts = Self::default();
        for segment in segments {
            let is_health = segment.activity == Activity::Step(Step::Health);
            let took = segment.took();
            let stays = match segment.end {
                SegmentEnd::Done if is_health => took.min(stays_healthy),
                _ => Duration::ZERO,
            };
            parts.add(Part::StayHealthy, stays);
            parts.add(Part::from(segment.activity), took.saturating_sub(stays));
        }
        parts
    }

    fn add(&mut self, part: Part, time: Duration) {
        self.0[part as usize] += time;
    }

    /// The time of one part.
    #[must_use]
    pub fn get(&self, part: Part) -> Duration {
        self.0[part as usize]
    }

    /// The time of these parts together.
    #[must_use]
    pub fn sum(&self, parts: &[Part]) -> Duration {
        parts.iter().map(|part| self.get(*part)).sum()
    }

    /// The whole time.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The same with the time of another node.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for part in Part::ALL {
            self.add(part, other.get(part));
        }
        self
    }
}
