//! The client: which server it asks, how often, and what the answers mean.
//!
//! Several addresses are tried in turn: after a refused connection, a 5xx, a rate limit (429) or
//! `No cluster leader`, the next one is asked, round after round, until the patience is over. `Retry-After` is
//! honoured up to that end. A request that may have been received but was not answered is repeated only if it is a
//! read. A write is then *unknown*, and the caller checks its effect before it acts again. The same is true of a
//! write that was answered with a 5xx other than `No cluster leader`: a leader that loses its place while it
//! commits answers 500 to a write that may take effect all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::time::Instant;

use super::answer::decode;
use super::error::Error;
use super::index::{Index, REQUEST_TIMEOUT};
use super::remote;
use super::retry::{Verdict, verdict};
use super::settings::Settings;
use crate::secret::Secret;
use crate::text;
use crate::url;
use crate::world::{BODY_LIMIT, Channel, Host, HttpError, Method, Permit, Reply, Request, World};

/// The time limit for an answer from any of the servers: long enough for an election.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The time after which every query has ended: the last one can begin when the patience ends.
pub const LONGEST: Duration = PATIENCE.saturating_add(REQUEST_TIMEOUT);

/// How long servers that all refuse the connection are asked again before anything is changed: long enough for a
/// restart.
const REFUSED_PATIENCE: Duration = Duration::from_secs(3);

/// The pause after a round in which no server could answer. It doubles up to one second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The shortest time between two queries of a loop: an index that does not move, or moves all the time, must not
/// keep both sides busy.
pub(super) const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// A client for one Consul datacenter.
#[derive(Debug)]
pub struct Client<W> {
    world: Arc<W>,
    settings: Settings,
    /// The machine from which it is asked, if it is not this one.
    remote: Option<Host>,
    /// The permit that a write from another machine needs.
    permit: Permit,
    /// The address that answered last.
    preferred: AtomicUsize,
    patience: Duration,
    /// The same while every server refuses the connection.
    refused_patience: Duration,
}

impl<W: World> Client<W> {
    /// A client that uses `settings` over `world`.
    #[must_use]
    pub fn new(world: Arc<W>, settings: Settings) -> Self {
        let preferred = AtomicUsize::new(0);
        let permit = Permit::default();
        let (patience, refused_patience) = (PATIENCE, PATIENCE);
        Self { world, settings, remote: None, permit, preferred, patience, refused_patience }
    }

    /// The same client with another patience for unreachable servers.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let preferred = AtomicUsize::new(self.preferred.load(Ordering::Relaxed));
        Self {
            world: self.world.clone(),
            settings: self.settings.clone(),
            remote: self.remote.clone(),
            permit: self.permit.clone(),
            preferred,
            patience,
            refused_patience: self.refused_patience,
        }
    }

    /// The same client for queries before anything is changed. It gives up soon if nothing listens at any address.
    #[must_use]
    pub fn before_a_change(&self) -> Self {
        Self { refused_patience: REFUSED_PATIENCE, ..self.with_patience(self.patience) }
    }

    /// The same client. Its writes from another machine need this permit.
    #[must_use]
    pub fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// The wall clock, for time stamps, and for time during which the machine was suspended.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.world.now()
    }

    /// The leader's address. Empty if there is no leader.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn leader(&self) -> Result<String, Error> {
        let reply = self.call(Method::Get, "/v1/status/leader", &[], None, REQUEST_TIMEOUT).await?;
        decode("/v1/status/leader", &reply)
    }

    /// The same rights at one address only: that of the agent that owns an instance, as seen from this machine or
    /// from another one.
    #[must_use]
    pub fn at(&self, address: &str, remote: Option<&Host>) -> Self {
        let settings = Settings { addresses: vec![address.to_owned()], ..self.settings.clone() };
        let client = Self::new(self.world.clone(), settings);
        let (patience, refused_patience) = (self.patience, self.refused_patience);
        Self { remote: remote.cloned(), patience, refused_patience, ..client }
    }

    /// The addresses of the servers.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.settings.addresses
    }

    /// Whether requests have a token, or another secret that identifies the client.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.settings.token.is_some() || self.settings.basic_auth.is_some()
    }

    /// Whether `https://` shows that a host belongs to Consul.
    #[must_use]
    pub fn proves_agents(&self) -> bool {
        self.settings.proves_agents
    }

    /// Reads a path from any server that answers.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Reply, Error> {
        self.call(Method::Get, path, query, None, REQUEST_TIMEOUT).await
    }

    /// Asks for changes since an index, for at most this time. Answers come one by one, with a pause between them.
    pub(super) async fn poll(
        &self,
        path: &str,
        index: &mut Index,
        wait: Duration,
    ) -> Result<Reply, Error> {
        let (query, timeout) = index.query(wait);
        let begun = Instant::now();
        let reply = self.call(Method::Get, path, &query, None, timeout).await?;
        // The first query does not wait for a change.
        if !query.is_empty() {
            tokio::time::sleep_until(begun + LEAST_PAUSE).await;
        }
        index.note(&reply);
        Ok(reply)
    }

    /// Sends one request to the first server that can answer it.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let end = Instant::now() + self.patience;
        let mut refused_since = None;
        let mut pause = FIRST_PAUSE;
        let addresses = &self.settings.addresses;
        loop {
            let mut problems = Vec::new();
            let (mut untrusted, mut refused) = (0, 0);
            let mut answered = false;
            // How long each server that could not answer asks the client to wait.
            let mut waits = Vec::new();
            for turn in 0..addresses.len() {
                let at = (self.preferred.load(Ordering::Relaxed) + turn) % addresses.len();
                let request =
                    self.request(method, &addresses[at], path, query, body.clone(), timeout);
                let answer = match &self.remote {
                    None => self.world.http(request).await,
                    Some(host) => remote::http(&*self.world, host, request, &self.permit).await,
                };
                let mut wait = None;
                let problem = match answer {
                    Ok(reply) => match verdict(&reply, self.world.now()) {
                        Verdict::Answered if is_foreign(path, &reply) => {
                            let (address, what) = (addresses[at].clone(), path.to_owned());
                            return Err(Error::Foreign { address, what });
                        }
                        Verdict::Answered if matches!(reply.status, 200 | 404 | 409) => {
                            self.preferred.store(at, Ordering::Relaxed);
                            return Ok(reply);
                        }
                        Verdict::Answered => {
                            return Err(Error::Refused {
                                what: path.to_owned(),
                                status: reply.status,
                                message: text::line(&reply.text(), 200),
                            });
                        }
                        Verdict::Unknown if method != Method::Get => {
                            let problem = said(&reply);
                            return Err(Error::Unknown(format!("{}: {problem}", addresses[at])));
                        }
                        Verdict::Unknown => {
                            answered = true;
                            said(&reply)
                        }
                        Verdict::NotDone(asked) => {
                            (wait, answered) = (asked, true);
                            said(&reply)
                        }
                    },
                    Err(error @ HttpError::NotSent(_)) => {
                        refused += usize::from(error.is_refused());
                        error.to_string()
                    }
                    Err(HttpError::Untrusted(problem)) => {
                        untrusted += 1;
                        problem
                    }
                    Err(error) if method == Method::Get => error.to_string(),
                    Err(error) => {
                        return Err(Error::Unknown(format!("{}: {error}", addresses[at])));
                    }
                };
                problems.push(format!("{}: {problem}", addresses[at]));
                waits.push(wait.unwrap_or_default());
            }
            // No election and no restart changes a certificate.
            if untrusted == addresses.len() {
                return Err(Error::Untrusted(problems.join("; ")));
            }
            let now = Instant::now();
            refused_since = (refused == addresses.len()).then(|| refused_since.unwrap_or(now));
            let deadline =
                refused_since.map_or(end, |since| end.min(since + self.refused_patience));
            // The next round begins when the first server may be asked again, at the latest at the end of the
            // patience.
            let asked = waits.into_iter().min().unwrap_or_default();
            let next = if asked > pause { now.checked_add(asked) } else { Some(now + pause) };
            let next = match next {
                Some(next) if next < deadline => next,
                _ if asked > pause && now < deadline => deadline,
                _ if answered => return Err(Error::Unserved(problems.join("; "))),
                _ => return Err(Error::Unreachable(problems.join("; "))),
            };
            tokio::time::sleep_until(next).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn request(
        &self,
        method: Method,
        address: &str,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Request {
        let mut url = match address.strip_prefix("unix://") {
            Some(socket) => format!("unix://{socket}:{path}"),
            None => format!("{}{path}", address.trim_end_matches('/')),
        };
        let own = [
            ("dc", self.settings.datacenter.as_ref()),
            ("ns", self.settings.namespace.as_ref()),
            ("partition", self.settings.partition.as_ref()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        let mut separator = '?';
        for (name, value) in query.iter().cloned().chain(own) {
            url.push(separator);
            url += name;
            if !value.is_empty() {
                url.push('=');
                url += &url::value(&value);
            }
            separator = '&';
        }
        let mut headers = Vec::new();
        if let Some(token) = &self.settings.token {
            headers.push(("X-Consul-Token".into(), token.clone()));
        }
        if let Some(login) = &self.settings.basic_auth {
            let login = BASE64_STANDARD.encode(login.expose());
            headers.push(("Authorization".into(), Secret::new(format!("Basic {login}"))));
        }
        let limit = BODY_LIMIT;
        let channel = Channel::Consul;
        Request { method, headers, body, channel, limit, ..Request::get(url, timeout) }
    }
}

/// An answer that cannot be used, for messages.
fn said(reply: &Reply) -> String {
    format!("{} {}", reply.status, text::line(&reply.text(), 120))
}

/// Whether the answer is from another server than Consul. Consul knows these paths, and its 404 for a key has
/// headers of its own (seen on Consul 1.8.7: `X-Consul-Index` and others). Without this check, a wrong address would look like a Consul without keys.
fn is_foreign(path: &str, reply: &Reply) -> bool {
    let known = ["/v1/kv/", "/v1/txn", "/v1/session/create", "/v1/status/"];
    reply.status == 404
        && known.iter().any(|known| path.starts_with(known))
        && !reply.headers.keys().any(|name| name.starts_with("x-consul-"))
}
