//! Waits for changes to the registry, if the registry reports them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::service::Service;
use crate::consul::Index;
use crate::world::World;

/// Reports when a node's switch may have changed. A query to Consul stays open between two calls of [`Self::next`],
/// even if a call was dropped before it returned.
pub struct Changes<W>(Vec<Watched<W>>);

/// The instances of one service, and the open query for their changes.
struct Watched<W> {
    service: Service<W>,
    since: Index,
    question: Option<Pin<Box<dyn Future<Output = Index> + Send>>>,
}

impl<W: World> Changes<W> {
    pub(super) fn new(services: impl Iterator<Item = Service<W>>) -> Self {
        let watched = |service| Watched { service, since: Index::default(), question: None };
        Self(services.map(watched).collect())
    }

    /// Returns when a switch may have changed since the last call. Never returns if changes are not reported.
    pub async fn next(&mut self) {
        poll_fn(|context| {
            let is_changed = |watched: &mut Watched<W>| watched.poll(context).is_ready();
            // Each is polled, so that each wakes this task.
            let changed = self.0.iter_mut().map(is_changed).filter(|changed| *changed).count();
            if changed > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<W: World> Watched<W> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let ask = || {
            let (service, since) = (self.service.clone(), self.since);
            Box::pin(async move { service.changed(since).await }) as Pin<Box<_>>
        };
        let question = self.question.get_or_insert_with(ask);
        question.as_mut().poll(context).map(|since| {
            self.since = since;
            self.question = None;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::consul::{Client, Settings};
    use crate::playbook::load_text;
    use crate::registry::Registry;
    use crate::release::Inputs;
    use crate::spec::Spec;
    use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError};

    /// A Consul without changes: it answers a query for changes when its time is over.
    #[derive(Default)]
    struct Unchanging {
        asked: AtomicUsize,
    }

    impl World for Unchanging {
        async fn http(&self, request: Request) -> Result<Reply, HttpError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if request.url.contains("index=") {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let headers = [("x-consul-index".to_owned(), "7".to_owned())].into();
            Ok(Reply { status: 200, headers, body: b"[]".into(), ..Reply::default() })
        }

        async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
            unreachable!("nothing runs")
        }

        async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
            unreachable!("Consul is asked by HTTP")
        }

        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    #[tokio::test(start_paused = true)]
    async fn query_stays_open_between_two_calls() {
        let text = "service: app
registry: { type: consul-service, service: app }
gateways: [{ type: consul-passing, service: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
stop: stop-it
start: start-it
health: { tcp: '${{ node.address }}' }";
        let loaded = load_text("app.yaml", text.to_owned());
        let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        let world = Arc::new(Unchanging::default());
        let settings = Settings::from_environment(|_| None).expect("settings");
        let consul = Arc::new(Client::new(world.clone(), settings));
        let mut changes = Registry::new(&world, &consul, &spec).changes();
        changes.next().await;
        for _ in 0..59 {
            let waited = tokio::time::timeout(Duration::from_secs(1), changes.next()).await;
            assert!(waited.is_err(), "nothing has changed");
        }
        assert_eq!(world.asked.load(Ordering::Relaxed), 2);
    }
}
