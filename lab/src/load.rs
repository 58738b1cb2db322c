//! A load generator that retries nothing: a failure here is a failure for a client.
//!
//! Requests leave at a fixed rate, whether or not earlier ones have been answered, up to a limit of outstanding
//! requests. Without the limit, requests that a busy machine answers late would look dropped. A gateway that does not
//! answer is still counted, for each request that waits for it. The generator has a thread of its own.

mod totals;

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

pub use totals::{Failure, Totals};
use totals::{Lost, Outcome, Tally};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How many independent clients there are for each target, so that every worker gets its share.
const CLIENTS_PER_TARGET: usize = 8;

/// The requests to send.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Base URLs of the gateways, used in turn.
    pub targets: Vec<String>,
    /// Requests a second, over all targets.
    pub rate: u32,
    /// The share of slow requests, from 0 to 1.
    pub slow_share: f64,
    /// How long slow requests take at the service.
    pub slow: Duration,
    /// Whether clients keep and reuse their connections.
    pub keepalive: bool,
}

impl LoadConfig {
    /// Returns 300 requests a second, a tenth of which take 800 ms.
    #[must_use]
    pub fn new(targets: Vec<String>) -> Self {
        let slow = Duration::from_millis(800);
        Self { targets, rate: 300, slow_share: 0.1, slow, keepalive: true }
    }
}

/// A running load generator.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts sending.
    ///
    /// # Errors
    ///
    /// When there is no target, a target is not a URL, or the thread cannot be started.
    pub fn start(config: &LoadConfig) -> Result<Self> {
        ensure!(!config.targets.is_empty(), "the load generator has no target");
        ensure!(config.rate > 0, "the load generator needs a rate above zero");
        let plan = Plan::new(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the load generator's runtime")?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&tally);
        let thread = thread::Builder::new()
            .name("lab-load".into())
            .spawn(move || runtime.block_on(send_all(plan, shared, stopped)))
            .context("could not start the load generator's thread")?;
        Ok(Self { tally, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn snapshot(&self) -> Totals {
        lock(&self.tally).totals()
    }

    /// Stops sending, waits for the outstanding answers, and returns the totals.
    #[must_use]
    pub fn stop(mut self) -> Totals {
        self.finish();
        self.snapshot()
    }

    fn finish(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; its counts are still valid.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// The targets of requests, and their order.
struct Plan {
    period: Duration,
    /// How many requests may be outstanding: the slow ones, and half a second of the others.
    outstanding: usize,
    slow_share: f64,
    lanes: Vec<Lane>,
}

/// One client and its requests.
struct Lane {
    client: HttpClient,
    slow: Uri,
    quick: [Uri; 2],
}

impl Plan {
    fn new(config: &LoadConfig) -> Result<Self> {
        let mut lanes = Vec::new();
        for _ in 0..CLIENTS_PER_TARGET {
            for target in &config.targets {
                let uri = |path: &str| {
                    format!("{}{path}", target.trim_end_matches('/'))
                        .parse::<Uri>()
                        .with_context(|| format!("`{target}` is not a URL"))
                };
                lanes.push(Lane {
                    client: client(config.keepalive),
                    slow: uri(&format!("/work?ms={}", config.slow.as_millis()))?,
                    quick: [uri("/work?ms=0")?, uri("/ping")?],
                });
            }
        }
        let period = Duration::from_secs(1) / config.rate;
        let in_half_a_second = usize::try_from(config.rate.div_ceil(2))?;
        let slow = config.slow.mul_f64(f64::from(config.rate) * config.slow_share);
        let outstanding = in_half_a_second + usize::try_from(slow.as_secs())?;
        Ok(Self { period, outstanding, slow_share: config.slow_share, lanes })
    }
}

fn client(keepalive: bool) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(3600))
        .pool_max_idle_per_host(if keepalive { usize::MAX } else { 0 })
        .retry_canceled_requests(false)
        .build(connector)
}

/// Sends until the stop, then waits for the outstanding requests.
async fn send_all(plan: Plan, tally: Arc<Mutex<Tally>>, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = tokio::time::interval(plan.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut requests = JoinSet::new();
    let mut owed = 0.0;
    for (number, lane) in plan.lanes.iter().cycle().enumerate() {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = turn(&mut ticks, &mut requests, plan.outstanding) => {}
        }
        owed += plan.slow_share;
        let uri = if owed >= 1.0 {
            owed -= 1.0;
            &lane.slow
        } else {
            // Alternates with every round over the lanes, so that each lane sends both kinds.
            &lane.quick[number / plan.lanes.len() % 2]
        };
        lock(&tally).sent += 1;
        requests.spawn(send(lane.client.clone(), uri.clone(), Arc::clone(&tally)));
    }
    while requests.join_next().await.is_some() {}
}

/// Waits until the next request may leave.
async fn turn(ticks: &mut Interval, requests: &mut JoinSet<()>, outstanding: usize) {
    ticks.tick().await;
    while requests.try_join_next().is_some() {}
    while requests.len() >= outstanding {
        requests.join_next().await;
    }
}

async fn send(client: HttpClient, uri: Uri, tally: Arc<Mutex<Tally>>) {
    let begun = Instant::now();
    let lost = |reason| {
        let by = uri.authority().map_or_else(String::new, ToString::to_string);
        Lost { reason, by }
    };
    let outcome = match tokio::time::timeout(TIMEOUT, client.get(uri.clone())).await {
        Ok(Ok(response)) => {
            let left = TIMEOUT.saturating_sub(begun.elapsed());
            let read = tokio::time::timeout(left, read(response)).await;
            read.unwrap_or_else(|_| Err(lost(format!("no whole answer within {TIMEOUT:?}"))))
        }
        Ok(Err(error)) => Err(lost(format!("{:#}", anyhow::Error::from(error)))),
        Err(_) => Err(lost(format!("no answer within {TIMEOUT:?}"))),
    };
    lock(&tally).add(begun.elapsed(), &uri, outcome);
}

/// Returns the service that answered with 200 and a whole body, or what was wrong.
async fn read(response: Response<Incoming>) -> Result<Outcome, Lost> {
    let status = response.status();
    let outcome =
        Outcome { version: header(&response, "x-app-version"), node: header(&response, "x-node") };
    let by = header(&response, "x-upstream");
    let lost = |reason| Err(Lost { reason, by: by.clone() });
    if let Err(error) = response.into_body().collect().await {
        return lost(format!("the body ended early: {error}"));
    }
    match (status.as_u16(), outcome.version.is_empty()) {
        (200, false) => Ok(outcome),
        (200, true) => lost("no X-App-Version in the answer".to_owned()),
        _ => lost(format!("status {status}")),
    }
}

fn header<T>(response: &Response<T>, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("no thread panics while it counts")
}
