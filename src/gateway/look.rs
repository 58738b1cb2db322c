//! One look at a gateway: the queries, the replies and the view that they give; alone, or over connections that are
//! held open together.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::driver::{Driver, GatewayInfo, Purpose};
use super::query::{Query, QueryClient};
use super::view::View;
use crate::world::{Reply, World};

/// How many looks run at the same time, if connections cannot be held open.
const AT_ONCE: usize = 4;

/// How many answers wait to be read.
const WAITING: usize = 2;

/// Longer answers, in bytes, are read on another thread: a hostile one could take seconds.
const LONG: usize = 16 * 1024;

/// The time limit for reading one answer.
const READING_TIME: Duration = Duration::from_secs(3);

/// How many long answers of one gateway are read at the same time. An answer that exceeds its time limit still
/// counts.
const READ_AT_ONCE: usize = 2;

/// How many long answers of all gateways are read at the same time: each one needs memory.
static READING: Semaphore = Semaphore::const_new(2);

/// What one worker has shown.
#[derive(Debug)]
pub(super) struct Look {
    /// Its name, if the reply has one.
    pub(super) worker: Option<String>,
    /// The `Server` header.
    pub(super) server: Option<String>,
    /// Whether its connection stays open next to the others of a row.
    pub(super) stays_open: bool,
    pub(super) view: View,
}

/// Reads one gateway. Cheap to clone.
pub(super) struct Looker<W> {
    query_client: QueryClient<W>,
    driver: Arc<dyn Driver>,
    reading: Arc<Semaphore>,
    /// The addresses of the playbook.
    nodes: Arc<[String]>,
}

impl<W> Clone for Looker<W> {
    fn clone(&self) -> Self {
        let (query_client, driver) = (self.query_client.clone(), self.driver.clone());
        Self { query_client, driver, reading: self.reading.clone(), nodes: self.nodes.clone() }
    }
}

impl<W: World> Looker<W> {
    pub(super) fn new(
        query_client: QueryClient<W>,
        driver: Arc<dyn Driver>,
        nodes: Arc<[String]>,
    ) -> Self {
        Self { query_client, driver, reading: Arc::new(Semaphore::new(READ_AT_ONCE)), nodes }
    }

    pub(super) fn query_client(&self) -> &QueryClient<W> {
        &self.query_client
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// Asks what the gateway is.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub(super) async fn probe(&self) -> Result<GatewayInfo, String> {
        let replies = self.query_client.ask_all(&self.driver.queries(Purpose::Probe)).await;
        Ok(self.driver.info(&replies.map_err(|error| error.to_string())?))
    }

    /// Sends every query of the driver, one after the other, each over its own connection.
    ///
    /// # Errors
    ///
    /// If a query has no answer or an answer cannot be read. The error says which.
    pub(super) async fn one(&self) -> Result<Look, String> {
        let replies = self.query_client.ask_all(&self.driver.queries(Purpose::Look)).await;
        self.read(replies.map_err(|error| error.to_string())?).await
    }

    /// Looks over `connections` connections that are held open together, until `take` stops it. Returns whether all
    /// of them were asked.
    ///
    /// Only the first query of a driver is answered by one worker for itself. The other answers are the same for
    /// all workers.
    pub(super) async fn row(
        &self,
        connections: usize,
        mut take: impl FnMut(Result<Look, String>) -> ControlFlow<()>,
    ) -> bool {
        let asks = self.driver.queries(Purpose::Look);
        let [Query::Http(request), rest @ ..] = asks.as_slice() else {
            return self.several(connections, take).await;
        };
        let rest = match self.query_client.ask_all(rest).await {
            Ok(rest) => rest,
            Err(error) => return take(Err(error.to_string())).is_continue(),
        };
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let mut asking = JoinSet::new();
        let (query_client, request) = (self.query_client.clone(), request.clone());
        asking.spawn(async move { query_client.ask_held(request, connections, sender).await });
        while let Some(reply) = receiver.recv().await {
            let look = match reply {
                Ok(reply) => self.read([&[reply], rest.as_slice()].concat()).await,
                Err(problem) => Err(problem),
            };
            if take(look).is_break() {
                return false;
            }
        }
        true
    }

    /// The same if a look is not an HTTP request.
    async fn several(
        &self,
        looks: usize,
        mut take: impl FnMut(Result<Look, String>) -> ControlFlow<()>,
    ) -> bool {
        let mut left = looks;
        let mut looking = JoinSet::new();
        loop {
            while left > 0 && looking.len() < AT_ONCE {
                left -= 1;
                let looker = self.clone();
                looking.spawn(async move { looker.one().await });
            }
            let Some(look) = looking.join_next().await else { return true };
            if take(look.unwrap_or_else(|error| Err(error.to_string()))).is_break() {
                return false;
            }
        }
    }

    async fn read(&self, replies: Vec<Reply>) -> Result<Look, String> {
        let header = |name: &str| Some(replies.first()?.header(name)?.to_owned());
        let worker = self.driver.facts().worker_header.as_deref().and_then(header);
        let server = header("server");
        let stays_open = replies.first().is_some_and(|reply| reply.stays_open);
        let view = self.view(replies).await?;
        Ok(Look { worker, server, stays_open, view })
    }

    async fn view(&self, replies: Vec<Reply>) -> Result<View, String> {
        let length: usize = replies.iter().map(|reply| reply.body.len()).sum();
        if length <= LONG {
            return self.driver.read(&replies);
        }
        let place = self.reading.clone().try_acquire_owned();
        let place = place.map_err(|_| "an earlier answer is still being read".to_owned())?;
        let driver = self.driver.clone();
        let nodes = self.nodes.clone();
        let reading = async move {
            // The semaphore is never closed.
            let turn = READING.acquire().await.map_err(|error| error.to_string())?;
            let reading = tokio::task::spawn_blocking(move || {
                let _places = (place, turn);
                let view = driver.read(&replies).and_then(View::complete);
                view.map(|view| view.without_others(&nodes))
            });
            reading.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        tokio::time::timeout(READING_TIME, reading).await.unwrap_or_else(|_| {
            let (size, time) = (crate::text::size(length as u64), READING_TIME);
            Err(format!(
                "its answer of {size} takes longer to read than {}",
                crate::text::duration(time)
            ))
        })
    }
}
