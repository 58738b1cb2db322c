//! Waits for the requests in flight. It ends when it counts zero requests, not after a fixed sleep.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::node::Listener;
use crate::playbook::OnTimeout;
use crate::release::{Drained, Failure, Step};
use crate::requests::{Counted, Counter};
use crate::text;
use crate::world::World;

/// Pause between two counts.
const PAUSE: Duration = Duration::from_millis(50);

impl<W: World> NodeWorker<W> {
    /// Waits until no request is in flight at the node.
    pub(in crate::engine) async fn drain(&self, step: Step) -> Result<StepOutcome, StepError> {
        let settings = &self.context.spec.drain;
        let begun = Instant::now();
        let deadline = begun + settings.timeout;
        let mut most = 0;
        let mut quiet_since = None;
        loop {
            let asked = Instant::now();
            let counted = self.count().await;
            let now = Instant::now();
            if let Ok(counted) = &counted {
                most = most.max(counted.requests);
            }
            if let Ok(Counted { requests: 0, uncounted, .. }) = &counted {
                let since = *quiet_since.get_or_insert(now);
                if now.duration_since(since) >= settings.settle {
                    let drained = Drained { from: most, cut: 0 };
                    let but = uncounted.as_ref().map_or(String::new(), |why| format!("; {why}"));
                    let message = format!("{most} -> 0 in flight, 0 cut{but}");
                    return Ok(StepOutcome { message, drained: Some(drained) });
                }
            } else {
                quiet_since = None;
            }
            let left = deadline.saturating_duration_since(now);
            let state = match &counted {
                Ok(counted) => counted.told(most),
                Err(problem) => format!("requests in flight cannot be counted: {problem}"),
            };
            // A count asked for before the deadline may be outdated now, for example after rollgate was suspended.
            let is_over = asked >= deadline;
            if is_over && settings.on_timeout != OnTimeout::Wait {
                let waited = text::duration(settings.timeout);
                return match (settings.on_timeout, counted) {
                    (OnTimeout::Proceed, Ok(Counted { requests: cut, .. })) => Ok(StepOutcome {
                        message: format!(
                            "timed out after {waited}: {most} -> {cut} in flight, {cut} cut"
                        ),
                        drained: Some(Drained { from: most, cut }),
                    }),
                    (OnTimeout::Fail | OnTimeout::Wait, _) | (_, Err(_)) => Err(Failure {
                        reason: format!("not drained within {waited}: {state}"),
                        ..Failure::default()
                    }
                    .into()),
                };
            }
            let left = (settings.on_timeout != OnTimeout::Wait).then_some(left);
            self.tell(step, state, counted.ok().map(|counted| counted.requests), left);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Counts the requests in flight with the playbook's method.
    async fn count(&self) -> Result<Counted, String> {
        self.counter().count(&self.context.gateways).await
    }

    fn counter(&self) -> Counter<'_, W> {
        Counter { world: &self.context.world, node: &self.node, sudo: self.context.spec.sudo }
    }

    /// Inspects the node's listener.
    pub(in crate::engine) async fn listener(&self) -> Result<Listener, String> {
        self.counter().listener().await
    }
}
