//! The counts of the load generator.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hyper::Uri;
use serde::Serialize;

use crate::clock::now_ms;

/// How many failures are kept in full.
const KEPT_FAILURES: usize = 20;

/// A request that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// When it failed, in Unix milliseconds.
    pub t: u64,
    /// The requested URL.
    pub url: String,
    /// What went wrong.
    pub reason: String,
}

/// The counts of requests and answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered with 200 by a service that sent its version.
    pub ok: u64,
    /// All other requests that have ended.
    pub failed: u64,
    /// Good answers by version.
    pub by_version: BTreeMap<String, u64>,
    /// Good answers by the service's address.
    pub by_node: BTreeMap<String, u64>,
    /// Failures by origin: the service that a gateway had chosen, or the gateway that did not answer.
    pub failed_by: BTreeMap<String, u64>,
    /// The time that half of the good answers took at most, in microseconds.
    pub p50_us: u64,
    /// The time that 99 % of the good answers took at most, in microseconds.
    pub p99_us: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p50 = Duration::from_micros(self.p50_us);
        let p99 = Duration::from_micros(self.p99_us);
        write!(
            formatter,
            "requests: {}, failed: {}, p50 {p50:.1?}, p99 {p99:.1?}, versions:",
            self.sent, self.failed
        )?;
        for (version, count) in &self.by_version {
            write!(formatter, " {version} ({count})")?;
        }
        for failure in &self.failures {
            write!(formatter, "\n  {} {}: {}", failure.t, failure.url, failure.reason)?;
        }
        Ok(())
    }
}

/// The origin of a good answer.
pub(super) struct Outcome {
    pub(super) version: String,
    pub(super) node: String,
}

/// Why a request failed, and at which part.
pub(super) struct Lost {
    pub(super) reason: String,
    pub(super) by: String,
}

/// The counts behind [`Totals`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    ended: Totals,
    /// How many good answers took how many microseconds, rounded to three digits.
    latencies: BTreeMap<u64, u64>,
}

impl Tally {
    /// Counts the end of a request.
    pub(super) fn add(&mut self, took: Duration, uri: &Uri, outcome: Result<Outcome, Lost>) {
        match outcome {
            Ok(Outcome { version, node }) => {
                self.ended.ok += 1;
                *self.ended.by_version.entry(version).or_default() += 1;
                *self.ended.by_node.entry(node).or_default() += 1;
                *self.latencies.entry(rounded(took)).or_default() += 1;
            }
            Err(Lost { reason, by }) => {
                self.ended.failed += 1;
                *self.ended.failed_by.entry(by).or_default() += 1;
                if self.ended.failures.len() < KEPT_FAILURES {
                    self.ended.failures.push(Failure { t: now_ms(), url: uri.to_string(), reason });
                }
            }
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            sent: self.sent,
            p50_us: self.percentile(50),
            p99_us: self.percentile(99),
            ..self.ended.clone()
        }
    }

    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.ended.ok * percent).div_ceil(100);
        let mut seen = 0;
        for (latency, count) in &self.latencies {
            seen += count;
            if seen >= wanted {
                return *latency;
            }
        }
        0
    }
}

/// Rounds to microseconds with three digits, so that the counts stay few.
fn rounded(took: Duration) -> u64 {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let unit = 10_u64.pow(micros.max(1).ilog10().saturating_sub(2));
    micros / unit * unit
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Lost, Outcome, Tally};

    #[test]
    fn percentiles_are_taken_from_good_answers() {
        let mut tally = Tally::default();
        let uri = "http://127.0.0.1/".parse().unwrap();
        for millisecond in 1..=100 {
            let outcome = Outcome { version: "1".to_owned(), node: "a".to_owned() };
            tally.add(Duration::from_millis(millisecond), &uri, Ok(outcome));
        }
        tally.add(
            Duration::from_secs(10),
            &uri,
            Err(Lost { reason: "late".to_owned(), by: "gw".to_owned() }),
        );
        let totals = tally.totals();
        assert_eq!((totals.p50_us, totals.p99_us), (50_000, 99_000));
        assert_eq!((totals.ok, totals.failed, totals.failures.len()), (100, 1, 1));
        assert_eq!(totals.failed_by["gw"], 1);
    }
}
