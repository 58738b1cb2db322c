//! Waiting for the requests in flight: an end told by requests, not by a sleep.

use std::time::Duration;

use regex_lite::Regex;
use tokio::time::Instant;

use super::node::{Found, NodeRun, Trouble};
use crate::event::{Drained, Failure, Step};
use crate::node::{Connection, Listener, Operation, in_flight};
use crate::playbook::OnTimeout;
use crate::spec::{CountSpec, NumberPlace};
use crate::text;
use crate::world::{Command, HttpError, Reply, Request, World};

/// Between two counts.
const PAUSE: Duration = Duration::from_millis(50);

/// For one count.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// For one command that only looks.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

impl<W: World> NodeRun<W> {
    /// Waits until no request is in flight at the node.
    pub(super) async fn drain(&self, step: Step) -> Result<Found, Trouble> {
        let settings = &self.shared.spec.drain;
        let begun = Instant::now();
        let deadline = begun + settings.timeout;
        let mut most = 0;
        let mut quiet_since = None;
        loop {
            let counted = self.count().await;
            let now = Instant::now();
            if let Ok(count) = counted {
                most = most.max(count);
            }
            if let Ok(0) = counted {
                let since = *quiet_since.get_or_insert(now);
                if now.duration_since(since) >= settings.settle {
                    let waited = text::duration(now.duration_since(begun));
                    let drained = Drained { from: most, cut: 0 };
                    let message = format!("{most} -> 0 in {waited}, 0 cut");
                    return Ok(Found { message, drained: Some(drained) });
                }
            } else {
                quiet_since = None;
            }
            let left = deadline.saturating_duration_since(now);
            let state = match &counted {
                Ok(count) => format!(
                    "{} in flight (at most {most})",
                    text::count(to_usize(*count), "request")
                ),
                Err(problem) => format!("requests in flight cannot be counted: {problem}"),
            };
            if left.is_zero() && settings.on_timeout != OnTimeout::Wait {
                let waited = text::duration(settings.timeout);
                return match (settings.on_timeout, counted) {
                    (OnTimeout::Proceed, Ok(cut)) => Ok(Found {
                        message: format!("{most} -> {cut} in {waited}, {cut} cut"),
                        drained: Some(Drained { from: most, cut }),
                    }),
                    (OnTimeout::Fail | OnTimeout::Wait, _) | (_, Err(_)) => Err(Failure {
                        reason: format!("not drained within {waited}: {state}"),
                        ..Failure::default()
                    }
                    .into()),
                };
            }
            self.tell(step, state, counted.ok(), left);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Counts the requests in flight, the way the playbook says.
    async fn count(&self) -> Result<u64, String> {
        match &self.node.in_flight {
            CountSpec::Metric { url, number } => {
                let reply = self.shared.world.http(Request::get(url, COUNT_TIMEOUT)).await;
                match reply {
                    Ok(reply) => {
                        number_in(&reply, number).map_err(|error| format!("{url}: {error}"))
                    }
                    // Who does not listen has no requests; everything else is not known to be none.
                    Err(HttpError::NotSent(problem)) => match self.listener().await {
                        Ok(listener) if !listener.bound => Ok(0),
                        Ok(_) | Err(_) => Err(format!("{url}: {problem}")),
                    },
                    Err(error) => Err(format!("{url}: {error}")),
                }
            }
            CountSpec::Sockets(idle) => {
                let output = self.ask(Operation::Sockets { port: self.node.port() }).await?;
                let connections = Connection::parse(&output, &self.node.address)?;
                Ok(in_flight(&connections, *idle) as u64)
            }
            CountSpec::Gateways => {
                let mut sum = 0_u64;
                for gateway in self.shared.gateways.iter().filter(|seen| seen.has_requests()) {
                    sum = sum.saturating_add(gateway.in_flight(&self.node.address).await?);
                }
                Ok(sum)
            }
        }
    }

    /// Looks at the node's listener.
    pub(super) async fn listener(&self) -> Result<Listener, String> {
        let output = self.ask(Operation::Listener { port: self.node.port() }).await?;
        Ok(Listener::parse(&output, &self.node.address))
    }

    /// Asks the node something that changes nothing.
    async fn ask(&self, operation: Operation) -> Result<String, String> {
        let command = Command::new(operation, COMMAND_TIMEOUT, self.shared.spec.sudo);
        let output = self.shared.world.run(&self.node.host, command).await;
        let output = output.map_err(|error| error.to_string())?;
        if output.success() {
            Ok(output.stdout_text())
        } else {
            Err(text::line(&output.stderr_text(), 200))
        }
    }
}

fn number_in(reply: &Reply, place: &NumberPlace) -> Result<u64, String> {
    if reply.status != 200 {
        return Err(format!("answered {}", reply.status));
    }
    match place {
        NumberPlace::Pointer(pointer) => {
            let document: serde_json::Value = serde_json::from_slice(&reply.body)
                .map_err(|error| format!("not JSON: {error}"))?;
            let number = document.pointer(pointer).and_then(serde_json::Value::as_u64);
            number.ok_or_else(|| format!("there is no number at `{pointer}`"))
        }
        NumberPlace::Pattern(pattern) => {
            let text = reply.searchable()?;
            let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
            let found = pattern.captures(&text).and_then(|found| found.get(1));
            let number = found.and_then(|number| number.as_str().parse().ok());
            number.ok_or_else(|| "the pattern finds no number".to_owned())
        }
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply { status: 200, body: text.into(), ..Reply::default() }
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
}
