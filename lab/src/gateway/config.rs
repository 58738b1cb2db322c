//! The configuration of a gateway.

use std::time::Duration;

/// The port of every gateway on its own address.
pub(super) const PORT: u16 = 8000;

/// How a gateway's workers learn of a change in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Each worker by itself with a blocking query; after every answer it sleeps this long plus 0–999 ms.
    Upsync(Duration),
    /// One worker polls at this interval, for all of them.
    Poll(Duration),
    /// Each worker by itself with a blocking query, without sleeping.
    Immediate,
}

/// The source of the pool in Consul.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The keys below the registry's prefix.
    #[default]
    Keys,
    /// The passing instances of the service.
    Passing,
    /// Their SRV records in Consul's DNS.
    Records,
}

/// The initial state of a worker, before its first answer from Consul.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// The last list of any worker.
    #[default]
    Dump,
    /// The list at the start of the lab, with all nodes up: a new worker routes to a drained node for a while.
    Static,
}

/// The gateway's own health check, which can keep out a node that the registry has up.
#[derive(Clone, Copy, Debug)]
pub struct ActiveCheck {
    /// How often each node is checked.
    pub interval: Duration,
    /// How many successes in a row bring a node back.
    pub rise: u32,
    /// How many failures in a row take a node out.
    pub fall: u32,
}

/// The configuration of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The number of workers.
    pub workers: u32,
    /// How they follow the registry.
    pub follow: Follow,
    /// Their source.
    pub source: Source,
    /// The list that a new worker starts from.
    pub include: Include,
    /// Whether connections to nodes are kept and used again.
    pub keepalive_upstream: bool,
    /// The gateway's own check, if it has one.
    pub check: Option<ActiveCheck>,
    /// Whether status pages name the answering worker, in `X-Worker`.
    pub worker_header: bool,
    /// Whether each worker has a listening socket of its own, which spreads new connections evenly.
    pub reuseport: bool,
}

impl GatewayConfig {
    /// Returns a gateway whose workers follow in this way, with all options off.
    #[must_use]
    pub fn new(workers: u32, follow: Follow) -> Self {
        Self {
            workers,
            follow,
            source: Source::Keys,
            include: Include::Dump,
            keepalive_upstream: false,
            check: None,
            worker_header: false,
            reuseport: true,
        }
    }

    /// Returns a gateway that follows as nginx-upsync with this interval does.
    #[must_use]
    pub fn upsync(workers: u32, interval_ms: u64) -> Self {
        Self::new(workers, Follow::Upsync(Duration::from_millis(interval_ms)))
    }

    /// Returns a gateway that reads the registry at this interval.
    #[must_use]
    pub fn poll(workers: u32, interval_ms: u64) -> Self {
        Self::new(workers, Follow::Poll(Duration::from_millis(interval_ms)))
    }

    /// Returns a gateway that follows without lag.
    #[must_use]
    pub fn immediate(workers: u32) -> Self {
        Self::new(workers, Follow::Immediate)
    }

    /// Returns the same gateway with status pages that name the answering worker.
    #[must_use]
    pub fn naming_workers(mut self) -> Self {
        self.worker_header = true;
        self
    }

    /// Returns the same gateway, following another source.
    #[must_use]
    pub fn of(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Returns the same gateway with a check of its own.
    #[must_use]
    pub fn with_check(mut self, interval_ms: u64, rise: u32, fall: u32) -> Self {
        self.check = Some(ActiveCheck { interval: Duration::from_millis(interval_ms), rise, fall });
        self
    }
}
