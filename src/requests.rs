//! Counts the requests in flight at a node, with the method of the playbook. What is not counted is not zero.

use std::time::Duration;

use serde_json::Number;
use serde_json::value::RawValue;

use crate::gateway::{GatewayMonitor, Observation, driver};
use crate::json;
use crate::node::{Connection, Listener, NodeScript, in_flight};
use crate::pattern::{self, Pattern};
use crate::spec::{CountSpec, NodeSpec, NumberPlace, Spec};
use crate::text;
use crate::world::{Command, HttpError, PATTERN_LIMIT, Reply, Request, Trust, World};

/// Limit of a plausible number of requests. Floating-point numbers far above it are not exact.
const LARGEST: f64 = 1e15;

/// Timeout of one count.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of one command that only reads.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// A count of requests in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The number that was counted.
    pub requests: u64,
    /// How it was counted.
    pub method: Method,
    /// Why there can be others.
    pub uncounted: Option<String>,
}

/// How requests in flight were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Connections at the node.
    Sockets {
        /// The first of the other sides.
        peers: Vec<String>,
    },
    /// The gateways' own counts.
    Gateways,
    /// The number that the service reports at a URL.
    Metric(String),
}

impl Counted {
    fn all(requests: u64, method: Method) -> Self {
        Self { requests, method, uncounted: None }
    }

    /// Says how many there are and how they were counted: `2 requests in flight (peak 5), counted as connections at the
    /// node: from 10.0.0.5:41022, 10.0.0.6:41023`.
    #[must_use]
    pub fn told(&self, most: u64) -> String {
        let all = usize::try_from(self.requests).unwrap_or(usize::MAX);
        let how = match &self.method {
            Method::Sockets { peers } if peers.is_empty() => {
                "counted as connections at the node".to_owned()
            }
            Method::Sockets { peers } => {
                let peers = text::first_of(peers.iter().map(String::as_str), all);
                format!("counted as connections at the node: from {peers}")
            }
            Method::Gateways => "counted by the gateways".to_owned(),
            Method::Metric(url) => format!("counted at {}", text::line(url, 200)),
        };
        format!("{} in flight (peak {most}), {how}", text::count(all, "request"))
    }
}

/// Counts at one node.
#[derive(Debug)]
pub struct Counter<'a, W> {
    /// The world.
    pub world: &'a W,
    /// The node.
    pub node: &'a NodeSpec,
    /// Whether commands run through `sudo -n`.
    pub sudo: bool,
}

impl<W: World> Counter<'_, W> {
    /// Counts the requests in flight. Gateways are read for it.
    ///
    /// # Errors
    ///
    /// Why they cannot be counted.
    pub async fn count(&self, gateways: &[GatewayMonitor<W>]) -> Result<Counted, String> {
        match &self.node.in_flight {
            CountSpec::Metric { url, trust, number } => {
                let requests = self.by_metric(url, trust, number).await?;
                Ok(Counted::all(requests, Method::Metric(url.clone())))
            }
            CountSpec::Sockets(idle) => self.sockets(*idle).await,
            CountSpec::Gateways { or_sockets } => self.at_gateways(gateways, *or_sockets).await,
        }
    }

    /// Counts at the gateways, or at the node if a gateway cannot count all requests.
    async fn at_gateways(
        &self,
        gateways: &[GatewayMonitor<W>],
        or_sockets: Option<Duration>,
    ) -> Result<Counted, String> {
        let gateways = || gateways.iter().filter(|seen| seen.has_requests());
        let mut uncounted = None;
        for gateway in gateways() {
            uncounted = uncounted.or(gateway.miscounts().await?);
        }
        let mut requests = 0_u64;
        if uncounted.is_none() || or_sockets.is_none() {
            for gateway in gateways() {
                let (count, why) = gateway.in_flight(&self.node.address).await?;
                requests = requests.saturating_add(count);
                uncounted = uncounted.or(why);
            }
        }
        match or_sockets.filter(|_| uncounted.is_some()) {
            Some(idle) => self.sockets(idle).await,
            None => Ok(Counted { requests, method: Method::Gateways, uncounted }),
        }
    }

    /// The same, from what gateways have shown already.
    ///
    /// # Errors
    ///
    /// As [`Self::count`].
    pub async fn count_seen(&self, spec: &Spec, seen: &[Seen]) -> Result<u64, String> {
        let or_sockets = match &self.node.in_flight {
            CountSpec::Metric { url, trust, number } => {
                return self.by_metric(url, trust, number).await;
            }
            CountSpec::Sockets(idle) => {
                return self.sockets(*idle).await.map(|counted| counted.requests);
            }
            CountSpec::Gateways { or_sockets } => or_sockets,
        };
        let mut sum = 0_u64;
        for (gateway, (name, seen)) in spec.gateways.iter().zip(seen) {
            if !driver(gateway).facts().has_requests {
                continue;
            }
            let told = seen.as_ref().map_err(|problem| format!("{name}: {problem}"))?;
            let number = told.in_flight.get(&self.node.address).copied().flatten();
            match (number.filter(|_| told.uncounted.is_none()), or_sockets, &told.uncounted) {
                (Some(number), ..) => sum = sum.saturating_add(number),
                (None, Some(idle), _) => {
                    return self.sockets(*idle).await.map(|counted| counted.requests);
                }
                (None, None, Some(why)) => return Err(format!("{name}: {why}")),
                (None, None, None) => {
                    return Err(format!("{name} does not show them without a further read"));
                }
            }
        }
        Ok(sum)
    }

    async fn by_metric(
        &self,
        url: &str,
        trust: &Trust,
        number: &NumberPlace,
    ) -> Result<u64, String> {
        let request = Request::get(url, COUNT_TIMEOUT).at_most(PATTERN_LIMIT);
        let request = Request { trust: trust.clone(), ..request };
        match self.world.http(request).await {
            Ok(reply) => {
                let (size, number) = (reply.body.len(), number.clone());
                let found = pattern::search(size, move || number_in(&reply, &number)).await;
                found.flatten().map_err(|error| format!("{url}: {error}"))
            }
            // Without a listener, zero requests are in flight. After any other error the number is unknown.
            Err(HttpError::NotSent(problem)) => match self.listener().await {
                Ok(listener) if !listener.bound => Ok(0),
                Ok(_) | Err(_) => Err(format!("{url}: {problem}")),
            },
            Err(error) => Err(format!("{url}: {error}")),
        }
    }

    async fn sockets(&self, idle: Duration) -> Result<Counted, String> {
        let address = self.node.address.clone();
        let output = self.ask(NodeScript::Sockets { address }).await?;
        let connections = Connection::parse(&output, &self.node.address)?;
        let busy = in_flight(&connections, idle);
        let requests = busy.clone().count() as u64;
        let peers = busy.take(text::NAMED).map(|connection| connection.peer.clone()).collect();
        Ok(Counted::all(requests, Method::Sockets { peers }))
    }

    /// Inspects the node's listener.
    ///
    /// # Errors
    ///
    /// If the node cannot be asked.
    pub async fn listener(&self) -> Result<Listener, String> {
        let output = self.ask(NodeScript::Listener { port: self.node.port() }).await?;
        Ok(Listener::parse(&output, &self.node.address))
    }

    /// Runs a read-only script on the node.
    async fn ask(&self, script: NodeScript) -> Result<String, String> {
        let command = Command::new(script, COMMAND_TIMEOUT, self.sudo);
        let output = self.world.run(&self.node.host, command).await;
        let output = output.map_err(|error| error.to_string())?;
        if output.is_cut() {
            Err("it printed more than 1 MiB; only the end was kept".to_owned())
        } else if output.success() {
            Ok(output.stdout_text())
        } else {
            Err(text::line(&output.stderr_text(), 200))
        }
    }
}

/// A gateway's name, and what it has shown.
type Seen = (String, Result<Observation, String>);

/// Reads the number of requests that a service reports. Several matches, such as one per worker, add up.
fn number_in(reply: &Reply, place: &NumberPlace) -> Result<u64, String> {
    if reply.status != 200 {
        return Err(format!("answered {}", reply.status));
    }
    let numbers: Vec<u64> = match place {
        NumberPlace::Pointer(pointer) => {
            let document =
                json::document(&reply.body).map_err(|error| format!("not JSON: {error}"))?;
            let nowhere = || format!("there is no number at `{pointer}`");
            let found = json::at(document, pointer)?.ok_or_else(nowhere)?;
            let number = |found: &RawValue| {
                let number: Number = json::typed(found).map_err(|_| nowhere())?;
                requests(&number.to_string())
            };
            let mut numbers = Vec::new();
            if json::is_list(found) || json::is_object(found) {
                json::each(found, |_, found| {
                    numbers.push(number(found)?);
                    Ok(())
                })?;
            } else {
                numbers.push(number(found)?);
            }
            numbers
        }
        NumberPlace::Pattern(pattern) => {
            let text = reply.searchable()?;
            let mut numbers = Vec::new();
            Pattern::new(pattern)?.each(&text, |found| {
                numbers.push(requests(found.get(1).map_or("", |number| number.as_str()))?);
                Ok(())
            })?;
            numbers
        }
    };
    if numbers.is_empty() {
        return Err("no number is found".to_owned());
    }
    Ok(numbers.into_iter().fold(0, u64::saturating_add))
}

/// Parses a number of requests: an integer, or the float form of metrics (`3.0`, `1e2`). A fraction rounds up.
fn requests(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.parse::<f64>() {
        Ok(number) if (0.0..LARGEST).contains(&number) => {
            // Not negative, and far below what an integer can hold.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            let whole = number.ceil() as u64;
            Ok(whole)
        }
        _ => Err(format!("`{}` is not a number of requests", text::line(text, 40))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply { status: 200, body: text.into(), ..Reply::default() }
    }

    #[test]
    fn a_count_says_how_it_was_made_and_names_the_first_clients() {
        let peers = ["10.0.0.5:41022", "[fd00::1]:80", "10.0.0.7:3"].map(String::from).to_vec();
        for (requests, method, how) in [
            (
                5,
                Method::Sockets { peers },
                "as connections at the node: from 10.0.0.5:41022, [fd00::1]:80, 10.0.0.7:3 and 2 more",
            ),
            (0, Method::Sockets { peers: Vec::new() }, "as connections at the node"),
            (5, Method::Gateways, "by the gateways"),
            (1, Method::Metric("http://a:1/metrics".into()), "at http://a:1/metrics"),
        ] {
            let told = Counted::all(requests, method).told(7);
            assert!(told.ends_with(&format!(" in flight (peak 7), counted {how}")), "{told}");
        }
    }

    #[test]
    fn a_number_is_found_or_it_is_an_error() {
        let pattern = NumberPlace::Pattern(r"in_flight (\d+)".into());
        assert_eq!(number_in(&reply("up 1\nin_flight 12\n"), &pattern), Ok(12));
        assert!(number_in(&reply("in_flight none"), &pattern).is_err());
        assert!(number_in(&Reply { status: 503, ..reply("in_flight 0") }, &pattern).is_err());
        let long = reply(&"in_flight 0\n".repeat(1024 * 1024 / 12 + 1));
        assert!(number_in(&long, &pattern).is_err());
        let pointer = NumberPlace::Pointer("/requests/active".into());
        assert_eq!(number_in(&reply(r#"{"requests":{"active":3}}"#), &pointer), Ok(3));
        assert!(number_in(&reply(r#"{"requests":{"active":-1}}"#), &pointer).is_err());
    }

    /// `client_python` in several processes has one series per process.
    #[test]
    fn several_series_of_one_metric_add_up() {
        let pattern = NumberPlace::Pattern(r"inprogress\{[^}]*\} (\S+)".into());
        let series = |numbers: &[&str]| {
            let line = |number: &&str| format!("inprogress{{pid=\"7\"}} {number}\n");
            number_in(&reply(&numbers.iter().map(line).collect::<String>()), &pattern)
        };
        assert_eq!(series(&["0.0", "3.0", "0"]), Ok(3));
        assert_eq!(series(&["0", "1e2", "0.2"]), Ok(101));
        assert_eq!(series(&["18446744073709551615", "1"]), Ok(u64::MAX));
        for odd in ["-1", "NaN", "+Inf", "1e400", "x", "1e16"] {
            assert!(series(&["0", odd]).is_err(), "{odd}");
        }
        assert_eq!(series(&[]), Err("no number is found".into()));
        let pointer = NumberPlace::Pointer("/workers".into());
        let at = |json: &str| number_in(&reply(&format!(r#"{{"workers":{json}}}"#)), &pointer);
        assert_eq!(at("[0, 2, 1.0]"), Ok(3));
        assert_eq!(at(r#"{"a":1,"b":4}"#), Ok(5));
        for odd in ["[]", "{}", "[1,null]", r#"["1"]"#, "null", r#""""#, "[[1]]", "-1"] {
            assert!(at(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_group_that_took_no_part_is_no_number() {
        let pattern = NumberPlace::Pattern(r"in_flight (\d+)?".into());
        assert!(number_in(&reply("in_flight 3\nin_flight \n"), &pattern).is_err());
    }
}
