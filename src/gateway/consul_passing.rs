//! Consul's own list of passing instances, for a gateway that follows it and shows nothing of its own; and what
//! proves maintenance mode itself.
//!
//! An instance in maintenance has a critical check more and leaves the list at once (seen on 1.8.7: 1 ms after the
//! answer to the `PUT`). When maintenance ends, it is back only if its own checks pass: the list proves that, the
//! answer to the `PUT` does not.

use std::time::Duration;

use super::{Driver, Nodes, Peer, Query, View, ok};
use crate::consul::{Instance, passing};
use crate::playbook;
use crate::world::Reply;

/// A gateway of this kind.
pub(super) struct ConsulPassing {
    service: String,
    interval: Duration,
    nodes: Nodes,
}

impl ConsulPassing {
    pub(super) fn new(settings: &playbook::ConsulPassing, nodes: Nodes) -> Self {
        let interval = settings.sync_interval.map_or(Duration::ZERO, |period| period.0);
        Self { service: settings.service.as_str().to_owned(), interval, nodes }
    }
}

impl Driver for ConsulPassing {
    fn asks(&self) -> Vec<Query> {
        let (path, query) = passing(&self.service);
        vec![Query::Consul(path, query)]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let instances = Instance::of_health(&ok(reply)?.body)?;
        let peer = Peer { up: true, failing_check: false, in_flight: None };
        let named = |instance: Instance| (self.nodes.name(&instance.address), peer);
        let peers = instances.into_iter().map(named).collect();
        Ok(View { peers, ..View::default() })
    }

    fn kind(&self) -> String {
        "Consul's list of passing instances".into()
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn lag(&self) -> Duration {
        self.interval
    }

    /// It begins to follow when the list has changed, however late that is.
    fn apply_delay(&self) -> Duration {
        self.lag()
    }

    /// Consul is no gateway.
    fn has_requests(&self) -> bool {
        false
    }

    /// One list for everybody.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(body: &str) -> Result<View, String> {
        let settings = r#"{"service":"app","sync_interval":"5s"}"#;
        let settings = serde_json::from_str(settings).expect("settings");
        let reply = Reply { status: 200, body: body.into(), ..Reply::default() };
        ConsulPassing::new(&settings, Nodes::default()).read(&[reply])
    }

    #[test]
    fn an_instance_is_known_by_its_own_address_or_by_its_nodes() {
        let body = r#"[
            {"Node": {"Node": "n1", "Address": "10.0.1.1"},
             "Service": {"ID": "app-1", "Service": "app", "Address": "", "Port": 80}, "Checks": []},
            {"Node": {"Node": "n2", "Address": "10.0.1.2"},
             "Service": {"ID": "app-2", "Service": "app", "Address": "10.9.9.2", "Port": 81}, "Checks": []}
        ]"#;
        let view = view(body).expect("readable");
        assert!(view.routes_to("10.0.1.1:80") && view.routes_to("10.9.9.2:81"));
        assert!(view.is_out("10.0.1.2:81"));
    }

    #[test]
    fn what_is_no_list_of_instances_proves_nothing() {
        for body in ["", "{}", "null", "<html>", r#"[{"Node": {}}]"#] {
            assert!(view(body).is_err(), "{body}");
        }
    }
}
