//! The live [`World`]: HTTP by reqwest, commands by the user's own `ssh`, the real clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::control::Configuration;
use super::http::Http;
use super::settings::LiveSettings;
use super::ssh::Ssh;
use super::{Command, Host, HttpError, Output, Reply, Request, RunError, World, held, local, tcp};

/// How many TLS connections are opened at the same time to reach all workers of a server.
const TOGETHER: usize = 32;

/// The live [`World`]. Clones share everything; dropping the last clone closes every connection.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    ssh: Ssh,
}

impl Live {
    /// Reads the files that the settings name; does not connect yet.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or used, or ssh would misread a user or a jump host.
    pub fn new(settings: LiveSettings) -> anyhow::Result<Self> {
        let ssh = Ssh::new(Configuration::new(&settings)?, settings.max_connections);
        let http = Http::new(settings.consul_tls)?;
        Ok(Self(Arc::new(Inner { http, ssh })))
    }

    /// Ends every ssh connection, removes its files, and waits for both.
    pub async fn close(&self) {
        self.0.ssh.close().await;
    }
}

impl World for Live {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        self.0.http.send(request).await
    }

    async fn http_held(
        &self,
        request: Request,
        connections: usize,
        replies: mpsc::Sender<Result<Reply, HttpError>>,
    ) {
        if held::ask(&request, connections, &replies).await {
            return;
        }
        // These connections are not held, so no reply reports that its connection stays open.
        let mut left = connections;
        let mut asking = JoinSet::new();
        loop {
            while left > 0 && asking.len() < TOGETHER {
                left -= 1;
                let (live, request) = (self.clone(), request.clone());
                asking.spawn(async move { live.http(request).await });
            }
            let Some(reply) = asking.join_next().await else { return };
            let crashed = |error: JoinError| Err(HttpError::Broken(error.to_string()));
            if replies.send(reply.unwrap_or_else(crashed)).await.is_err() {
                return;
            }
        }
    }

    async fn run(&self, host: &Host, command: Command) -> Result<Output, RunError> {
        // A conversation is large and would be part of every calling future.
        match host {
            Host::Local => Box::pin(local::run(command)).await,
            Host::Ssh(destination) => Box::pin(self.0.ssh.run(destination, command)).await,
        }
    }

    fn expect(&self, host: &Host, sudo: bool) {
        if let Host::Ssh(destination) = host {
            self.0.ssh.expect(destination, sudo);
        }
    }

    async fn exchange(
        &self,
        address: &str,
        say: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, HttpError> {
        tcp::exchange(address, say, timeout).await
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}
