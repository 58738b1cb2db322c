//! The files that a playbook names besides the artifact and secrets.

use std::collections::BTreeSet;
use std::path::Path;

use super::{InFlight, Playbook};

impl Playbook {
    /// Returns the paths of files that decide how rollgate reaches other systems: authorities, and the configuration of
    /// ssh. They are relative to the playbook's folder.
    #[must_use]
    pub fn named_files(&self) -> BTreeSet<&Path> {
        let gateways = self.gateways.iter().filter_map(|setup| setup.gateway.settings().facts().ca);
        let consul = self.consul.as_ref().and_then(|consul| consul.ca.as_deref());
        let health = self.health.http.as_ref().and_then(|http| http.0.ca.as_deref());
        let metric = match &self.drain.in_flight {
            Some(InFlight::Http(metric)) => metric.ca.as_deref(),
            _ => None,
        };
        let others = [consul, health, metric, self.ssh.config.as_deref()];
        gateways.chain(others.into_iter().flatten()).collect()
    }
}
