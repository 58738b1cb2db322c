//! One look at a gateway: the queries, the replies and the view that they give; alone, or over connections that are
//! held open together.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::driver::{Driver, GatewayInfo, Purpose};
use super::query::{Query, QueryClient, unanswered};
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
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Its name, if the reply has one.
    pub(super) worker: Option<String>,
    /// The `Server` header.
    pub(super) server: Option<String>,
    /// Whether its connection stays open next to the others of a row.
    pub(super) stays_open: bool,
    /// Looks of a row whose answers are the same share it.
    pub(super) view: Arc<View>,
}

/// How many different answers of a gateway are remembered, none longer than [`LONG`].
const REMEMBERED: usize = 8;

/// What the last answers of a gateway showed. Most answers are the same as one before, byte for byte.
#[derive(Default)]
struct Memory(VecDeque<(Vec<Vec<u8>>, Arc<View>)>);

impl Memory {
    fn find(&self, first: &Reply, rest: &[Reply]) -> Option<Arc<View>> {
        let is_same = |bodies: &[Vec<u8>]| match bodies {
            [own, others @ ..] => {
                *own == first.body && others.iter().eq(rest.iter().map(|reply| &reply.body))
            }
            [] => false,
        };
        let found = self.0.iter().rev().find(|(bodies, _)| is_same(bodies));
        found.filter(|_| is_ok(first) && rest.iter().all(is_ok)).map(|(_, view)| view.clone())
    }

    fn add(&mut self, replies: &[Reply], view: &Arc<View>) {
        if !replies.iter().all(is_ok) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        let bodies = replies.iter().map(|reply| reply.body.clone()).collect();
        self.0.push_back((bodies, view.clone()));
    }
}

/// What is said about any other reply also depends on its headers.
fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

/// Reads one gateway. Cheap to clone.
pub(super) struct Looker<W> {
    query_client: QueryClient<W>,
    driver: Arc<dyn Driver>,
    reading: Arc<Semaphore>,
    memory: Arc<Mutex<Memory>>,
    /// The addresses of the playbook.
    nodes: Arc<[String]>,
}

impl<W> Clone for Looker<W> {
    fn clone(&self) -> Self {
        let (query_client, driver) = (self.query_client.clone(), self.driver.clone());
        let (reading, memory) = (self.reading.clone(), self.memory.clone());
        Self { query_client, driver, reading, memory, nodes: self.nodes.clone() }
    }
}

impl<W: World> Looker<W> {
    pub(super) fn new(
        query_client: QueryClient<W>,
        driver: Arc<dyn Driver>,
        nodes: Arc<[String]>,
    ) -> Self {
        let reading = Arc::new(Semaphore::new(READ_AT_ONCE));
        Self { query_client, driver, reading, memory: Arc::default(), nodes }
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
        let url = request.url.clone();
        asking.spawn(async move { query_client.ask_held(request, connections, sender).await });
        while let Some(reply) = receiver.recv().await {
            let look = match reply {
                Ok(reply) => self.read_with(reply, &rest).await,
                Err(error) => Err(unanswered(&url, &error).to_string()),
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

    async fn read(&self, mut replies: Vec<Reply>) -> Result<Look, String> {
        if replies.is_empty() {
            return Ok(Look { view: self.view(replies).await?, ..Look::default() });
        }
        let first = replies.remove(0);
        self.read_with(first, &replies).await
    }

    async fn read_with(&self, reply: Reply, rest: &[Reply]) -> Result<Look, String> {
        let look = self.labels(&reply);
        let known = self.memory().find(&reply, rest);
        let view = if let Some(view) = known {
            view
        } else {
            // The first reply may be long, so it is not copied.
            let mut replies = vec![reply];
            replies.extend_from_slice(rest);
            self.view(replies).await?
        };
        Ok(Look { view, ..look })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a reply says besides its list.
    fn labels(&self, reply: &Reply) -> Look {
        let header = |name: &str| reply.header(name).map(str::to_owned);
        Look {
            worker: self.driver.facts().worker_header.as_deref().and_then(header),
            server: header("server"),
            stays_open: reply.stays_open,
            view: Arc::default(),
        }
    }

    async fn view(&self, replies: Vec<Reply>) -> Result<Arc<View>, String> {
        let length: usize = replies.iter().map(|reply| reply.body.len()).sum();
        if length <= LONG {
            let view = Arc::new(self.driver.read(&replies)?);
            self.memory().add(&replies, &view);
            return Ok(view);
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
                view.map(|view| Arc::new(view.without_others(&nodes)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    #[test]
    fn only_the_same_answers_are_recognised() {
        let mut memory = Memory::default();
        let view = Arc::new(View::default());
        memory.add(&[reply(200, "list"), reply(200, "checks")], &view);
        let found = |first: &Reply, rest: &[Reply]| memory.find(first, rest).is_some();
        assert!(found(&reply(200, "list"), &[reply(200, "checks")]));
        assert!(!found(&reply(200, "another"), &[reply(200, "checks")]));
        assert!(!found(&reply(200, "list"), &[reply(200, "others")]));
        assert!(!found(&reply(200, "list"), &[]));
        assert!(!found(&reply(500, "list"), &[reply(200, "checks")]));
        assert!(!found(&reply(200, "list"), &[reply(404, "checks")]));
    }

    #[test]
    fn few_answers_are_remembered_and_no_errors() {
        let mut memory = Memory::default();
        let view = Arc::new(View::default());
        for number in 0..=REMEMBERED {
            memory.add(&[reply(200, &number.to_string())], &view);
        }
        memory.add(&[reply(404, "none")], &view);
        assert_eq!(memory.0.len(), REMEMBERED);
        assert!(memory.find(&reply(200, "0"), &[]).is_none());
        assert!(memory.find(&reply(200, "1"), &[]).is_some());
    }
}
