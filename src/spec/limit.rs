//! When a step gives up.

use std::time::Duration;

use super::node::NodeSpec;
use super::resolved::Spec;
use crate::gateway::driver;
use crate::playbook::OnTimeout;
use crate::release::Step;

/// Maximum time for a gateway to follow a change, beyond twice its own lag: its active checks need time.
const CONFIRM_TIME: Duration = Duration::from_secs(60);

impl Spec {
    /// Maximum time for a write to reach every worker of every gateway.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let lags = self.gateways.iter().map(|gateway| driver(gateway).facts().lag);
        lags.max().unwrap_or_default()
    }

    /// Maximum time for the registry to accept a change, and for the gateways to follow it.
    #[must_use]
    pub fn confirm_time(&self) -> Duration {
        CONFIRM_TIME + 2 * self.lag()
    }

    /// How long a step of a node can take before it gives up. `None` if it does not, or if the time depends on the size
    /// of the artifact.
    #[must_use]
    pub fn limit(&self, node: &NodeSpec, step: Step) -> Option<Duration> {
        match step {
            Step::Disable | Step::ConfirmOut | Step::Enable | Step::ConfirmIn => {
                Some(self.confirm_time())
            }
            Step::Drain => {
                Some(self.drain.timeout).filter(|_| self.drain.on_timeout != OnTimeout::Wait)
            }
            Step::Stop | Step::Run(_) | Step::Start | Step::Restart => {
                let command = node.action(step).and_then(|action| action.command.as_ref());
                command.map(|command| command.timeout)
            }
            Step::Health => Some(node.health.longest()),
            Step::Stage | Step::Activate | Step::Prune => None,
        }
    }
}
