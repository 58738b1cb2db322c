//! Queries to gateways, and the client that sends them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::consul::{self, Client, Entry, KvWrite, SessionFence};
use crate::node::NodeScript;
use crate::text;
use crate::world::Method::Post;
use crate::world::{
    Command, Host, HttpError, NotPermitted, Output, Permit, Reply, Request, RunError, Trust, World,
};

/// The time limit for one read of a gateway.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit for one query to Consul about a gateway.
const CONSUL_PATIENCE: Duration = Duration::from_secs(3);

/// One query to a gateway, or about it.
#[derive(Debug, Clone)]
pub enum Query {
    /// A request.
    Http(Request),
    /// A command on the gateway's machine. Its output is the reply's body.
    Run(Host, Command),
    /// Bytes over TCP (`host:port`). The reply's body is everything until the other side closes the connection.
    Exchange(String, Vec<u8>, Duration),
    /// A path of Consul's API with its query, read from any of its servers.
    Consul(String, Vec<(&'static str, String)>),
    /// A key's new value in Consul. It is written only if the key has not changed since it was read, and while the
    /// lock is held.
    CompareAndSet(Entry, Vec<u8>),
}

impl Query {
    /// Returns whether the other side ends its answer by closing the connection, and never sends an empty answer.
    pub(crate) fn is_conversation(&self) -> bool {
        match self {
            Self::Exchange(..) => true,
            Self::Run(_, command) => matches!(command.script, NodeScript::UnixSocket { .. }),
            Self::Http(_) | Self::Consul(..) | Self::CompareAndSet(..) => false,
        }
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It had no effect.
    #[error("{0}")]
    NotSent(String),
    /// Its effect is unknown.
    #[error("{0}")]
    Unknown(String),
    /// It had no effect, and a retry would have none.
    #[error("{0}")]
    Refused(String),
    /// The command ran and failed.
    #[error("{0}")]
    Failed(String),
    /// Another writer changed a key in Consul; nothing was written.
    #[error("another writer changed the key in Consul")]
    Conflict,
    /// The lock is not held; nothing was written.
    #[error("the lock is not held")]
    NotHeld,
}

impl From<NotPermitted> for QueryError {
    fn from(refused: NotPermitted) -> Self {
        if refused.is_final { Self::NotHeld } else { Self::NotSent(refused.reason) }
    }
}

/// Sends queries to gateways, and to Consul if the playbook uses it. Cheap to clone.
#[derive(Debug)]
pub struct QueryClient<W> {
    world: Arc<W>,
    consul: Option<Arc<Client<W>>>,
    /// What a write to Consul depends on.
    guard: Option<SessionFence>,
    /// The permit that every other change needs.
    permit: Permit,
    /// Which certificates are accepted.
    trust: Trust,
}

impl<W> Clone for QueryClient<W> {
    fn clone(&self) -> Self {
        let (world, consul) = (self.world.clone(), self.consul.clone());
        let (guard, permit, trust) = (self.guard.clone(), self.permit.clone(), self.trust.clone());
        Self { world, consul, guard, permit, trust }
    }
}

impl<W: World> QueryClient<W> {
    /// Sends queries over `world`.
    #[must_use]
    pub fn new(world: Arc<W>, consul: Option<&Client<W>>) -> Self {
        let consul = consul.map(|consul| Arc::new(consul.with_patience(CONSUL_PATIENCE)));
        Self { world, consul, guard: None, permit: Permit::default(), trust: Trust::default() }
    }

    /// The same client for one gateway, with the certificates that it may have.
    #[must_use]
    pub fn trusting(self, trust: &Trust) -> Self {
        Self { trust: trust.clone(), ..self }
    }

    /// The same client; changes need this permit when it is [guarded](Self::guarded).
    #[must_use]
    pub fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// The same client for changes: in Consul while the lock of `guard` is held, otherwise with the permit
    /// immediately before each.
    #[must_use]
    pub fn guarded(&self, guard: &SessionFence) -> Self {
        Self { guard: Some(guard.clone()), ..self.clone() }
    }

    /// The permit that a query needs immediately before it is sent. A look needs none.
    fn permit(&self) -> Permit {
        self.guard.as_ref().map_or_else(Permit::default, |_| self.permit.clone())
    }

    /// Sends one query.
    ///
    /// # Errors
    ///
    /// If there is no reply.
    pub async fn ask(&self, ask: &Query) -> Result<Reply, QueryError> {
        match ask {
            Query::Http(request) => {
                self.permit().ask().await?;
                let url = &request.url;
                let request = Request { trust: self.trust.clone(), ..request.clone() };
                self.world.http(request).await.map_err(|error| unanswered(url, &error))
            }
            Query::Run(host, command) => {
                let command = command.clone().permitted(self.permit());
                let output = self.world.run(host, command).await;
                let output = output.map_err(|error| {
                    let problem = format!("{host}: {error}");
                    match error {
                        RunError::NotStarted(_) => QueryError::NotSent(problem),
                        RunError::NotPermitted(refused) => refused.into(),
                        RunError::TimedOut { .. } | RunError::Lost(_) => {
                            QueryError::Unknown(problem)
                        }
                    }
                })?;
                printed(output).map_err(|problem| QueryError::Failed(format!("{host}: {problem}")))
            }
            Query::Exchange(address, say, timeout) => {
                self.permit().ask().await?;
                let body = self.world.exchange(address, say, *timeout).await;
                let body = body.map_err(|error| unanswered(address, &error))?;
                Ok(Reply { status: 200, body, ..Reply::default() })
            }
            Query::Consul(path, query) => {
                let reply = self.consul()?.get(path, query).await;
                reply.map_err(|error| QueryError::NotSent(error.to_string()))
            }
            Query::CompareAndSet(entry, value) => {
                // Nothing is written without a lock.
                let guard = Some(self.guard.as_ref().ok_or(QueryError::NotHeld)?);
                match self.consul()?.kv_compare_and_set(guard, entry, value).await {
                    Ok(KvWrite::Done(_)) => Ok(Reply { status: 200, ..Reply::default() }),
                    Ok(KvWrite::Conflict) => Err(QueryError::Conflict),
                    Ok(KvWrite::NotHeld) => Err(QueryError::NotHeld),
                    Err(error @ consul::Error::Unknown(_)) => {
                        Err(QueryError::Unknown(error.to_string()))
                    }
                    Err(error) => Err(QueryError::NotSent(error.to_string())),
                }
            }
        }
    }

    /// Sends one request over connections that are held open together. The answers or errors go to `replies`.
    pub async fn ask_held(
        &self,
        request: Request,
        connections: usize,
        replies: mpsc::Sender<Result<Reply, HttpError>>,
    ) {
        let request = Request { trust: self.trust.clone(), ..request };
        // When the receiver is gone, no more requests are sent.
        tokio::select! {
            biased;
            () = self.world.http_held(request, connections, replies.clone()) => {}
            () = replies.closed() => {}
        }
    }

    /// Checks whether keys in Consul may be written; writes nothing.
    ///
    /// # Errors
    ///
    /// If the token lacks the permission, or Consul cannot be asked.
    pub async fn may_write(&self, keys: &[Entry]) -> Result<(), consul::Error> {
        match &self.consul {
            Some(consul) => consul.kv_may_write(&keys.iter().collect::<Vec<_>>()).await,
            None => Ok(()),
        }
    }

    fn consul(&self) -> Result<&Client<W>, QueryError> {
        let consul = self.consul.as_deref();
        consul.ok_or_else(|| QueryError::Refused("the playbook does not use Consul".into()))
    }

    /// Sends one query after the other.
    ///
    /// # Errors
    ///
    /// At the first query without a reply. If an earlier one had a reply, the effect of all together is unknown.
    pub async fn ask_all(&self, asks: &[Query]) -> Result<Vec<Reply>, QueryError> {
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            match self.ask(ask).await {
                Ok(reply) => replies.push(reply),
                Err(error) if replies.is_empty() => return Err(error),
                Err(error) => return Err(QueryError::Unknown(error.to_string())),
            }
        }
        Ok(replies)
    }
}

/// The output of a command that succeeded.
fn printed(output: Output) -> Result<Reply, String> {
    if output.success() && output.is_cut() {
        return Err("it printed more than 1 MiB; only the end was kept".into());
    }
    if output.success() {
        return Ok(Reply { status: 200, body: output.stdout, ..Reply::default() });
    }
    let said = output.stderr_text();
    let last = text::last_line(&said).unwrap_or("no message on standard error");
    Err(format!("{}: {}", output.ending(), text::line(last, 160)))
}

pub(super) fn unanswered(place: &str, error: &HttpError) -> QueryError {
    let problem = format!("{place}: {error}");
    match error {
        HttpError::NotSent(_) => QueryError::NotSent(problem),
        HttpError::Untrusted(_) => QueryError::Refused(problem),
        HttpError::TimedOut(_) | HttpError::Broken(_) => QueryError::Unknown(problem),
    }
}

/// A request on its own connection.
pub(super) fn get(url: &str) -> Request {
    Request::get(url, READ_TIMEOUT).fresh()
}

/// The same with a body.
pub(super) fn post(url: &str, body: &str) -> Request {
    Request { method: Post, body: Some(body.as_bytes().to_vec()), ..get(url) }
}

/// Returns the first reply.
pub(super) fn first(replies: &[Reply]) -> Result<&Reply, String> {
    replies.first().ok_or_else(|| "no reply".into())
}

/// A reply that must be 200.
pub(super) fn ok(reply: &Reply) -> Result<&Reply, String> {
    match reply.status {
        200 => Ok(reply),
        _ if reply.is_redirect() => Err(format!("answered {}", reply.ending())),
        status => Err(format!("answered {status} {}", text::line(&reply.text(), 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::OUTPUT_LIMIT;

    /// Only the end of a longer output is kept: a node at the beginning of the list would count as out.
    #[test]
    fn list_without_its_beginning_is_refused() {
        let output =
            |size| Output { status: Some(0), stdout: vec![b'x'; size], ..Output::default() };
        assert!(printed(output(OUTPUT_LIMIT - 1)).is_ok());
        let error = printed(output(OUTPUT_LIMIT)).expect_err("cut");
        assert_eq!(error, "it printed more than 1 MiB; only the end was kept");
    }
}
