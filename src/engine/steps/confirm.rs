//! Confirms that every gateway has stopped routing to a node, or routes to it again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::gateway::Method;
use crate::release::{EventKind, Step};
use crate::text::count;
use crate::world::World;

impl<W: World> NodeWorker<W> {
    /// Maximum time for the gateways to follow a change.
    pub(in crate::engine) fn confirm_time(&self) -> Duration {
        self.context.spec.confirm_time()
    }

    /// Maximum time for a write to reach every worker of every gateway.
    pub(in crate::engine) fn lag(&self) -> Duration {
        self.context.spec.lag()
    }

    /// Waits until every gateway is confirmed to route to the node, or to have stopped routing to it.
    pub(in crate::engine) async fn confirm(
        &self,
        step: Step,
        routed: bool,
        deadline: Instant,
    ) -> Result<StepOutcome, StepError> {
        let (sender, mut receiver) = mpsc::channel::<String>(16);
        let mut tasks = JoinSet::new();
        for gateway in &self.context.gateways {
            let gateway = gateway.clone();
            let (address, written, sender) =
                (self.node.address.clone(), self.written, sender.clone());
            tasks.spawn(async move {
                let tell = |message| {
                    let _ = sender.try_send(message);
                };
                let result = gateway.confirm(&address, routed, written, deadline, tell).await;
                (gateway.name().to_owned(), result)
            });
        }
        drop(sender);
        let mut proven = Vec::new();
        loop {
            tokio::select! {
                biased;
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Ok((gateway, Ok(confirmation)))) => {
                        let method = match confirmation.method {
                            Method::Workers => "workers",
                            Method::Samples => "samples",
                        };
                        proven.push(match confirmation.method {
                            Method::Workers => {
                                format!("{gateway} ({})", count(confirmation.workers, "worker"))
                            }
                            Method::Samples => {
                                format!("{gateway} ({})", count(confirmation.reads as usize, "read"))
                            }
                        });
                        let fact = EventKind::GatewayProven {
                            gateway,
                            routed,
                            reads: confirmation.reads,
                            workers: confirmation.workers,
                            method: method.into(),
                            pool: Some(confirmation.pool),
                        };
                        // It tells what was seen just now, so it does not wait for the end of the step.
                        self.context.note(&self.node.name, vec![(Some(step), fact)]).await;
                    }
                    Some(Ok((_, Err(unproven)))) => {
                        let what = if routed { "in rotation" } else { "out of rotation" };
                        let reason = format!("not confirmed {what}: {}", unproven.seen);
                        let blind = unproven.unreadable;
                        return Err(if blind { StepError::Blind(reason) } else { reason.into() });
                    }
                    Some(Err(error)) => return Err(StepError::from(error.to_string())),
                },
                Some(message) = receiver.recv() => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.tell(step, message, None, left);
                }
            }
        }
        proven.sort();
        Ok(StepOutcome::from(format!("confirmed by {}", proven.join(", "))))
    }
}
