//! The auditor compares the stops that services recorded with the routes that each worker of each gateway recorded. So
//! it finds faults that no client happened to notice.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use crate::gateway::Gateway;
use crate::gateway::views::View;
use crate::json_lines;
use crate::node::Node;
use crate::service::record::{Event, Record};

/// How a service's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself after a SIGTERM, or because of its fault.
    Exited,
    /// It was gone without a last record when the next one started: killed.
    Vanished,
    /// It was asked to stop but had not ended at the time of the audit.
    Stopping,
}

/// The end of a service's process.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The node's name.
    pub node: String,
    /// The version that ended.
    pub version: String,
    /// When it was asked to stop, or when its end was noticed, in Unix milliseconds.
    pub t: u64,
    /// Requests in flight when it was asked to stop.
    pub in_flight_at_term: u64,
    /// Requests that arrived after it was asked to stop.
    pub late_requests: u64,
    /// Requests in flight when it ended, as far as it knew.
    pub cut: u64,
    /// When the next process of the node started, if one did, in Unix milliseconds.
    pub next_started: Option<u64>,
    /// How it ended.
    pub ending: Ending,
}

/// When a worker routed to a service that could not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the moment when it was asked to stop.
    AtStop,
    /// Later, before the next process had started.
    WhileStopped,
}

/// A worker that routed to a stopped service.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The node's name.
    pub node: String,
    /// The gateway's name.
    pub gateway: String,
    /// The worker's process id, as on its gateway's pages.
    pub worker: u64,
    /// When the service was asked to stop, or when the worker routed to the node again.
    pub t: u64,
    /// Which of the two.
    pub when: When,
}

/// The result of the auditor.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Every end of a service's process, node by node.
    pub stops: Vec<Stop>,
    /// Every worker that routed to a stopped service.
    pub routed_at_stop: Vec<Routed>,
}

impl Audit {
    /// Returns whether no service was stopped while a worker routed to it, and no request was lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.routed_at_stop.is_empty()
            && self.stops.iter().all(|stop| {
                stop.cut == 0 && stop.late_requests == 0 && stop.ending != Ending::Vanished
            })
    }

    /// Returns the number of requests that were cut by the end of a service.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.stops.iter().map(|stop| stop.cut).sum()
    }

    /// Reads the files of a lab.
    pub(crate) fn read(nodes: &[Node], gateways: &[Gateway]) -> Result<Self> {
        let mut views = Vec::new();
        for gateway in gateways {
            views.push((gateway.name(), json_lines::read::<View>(&gateway.views_file())?));
        }
        let mut audit = Self::default();
        for node in nodes {
            let address = node.address().to_string();
            for life in lives(&json_lines::read(&node.audit_file())?) {
                let Some(stop) = life.stop(node.name()) else {
                    continue;
                };
                for (gateway, views) in &views {
                    for (worker, t, when) in routed(views, &address, stop.t, life.until) {
                        audit.routed_at_stop.push(Routed {
                            node: stop.node.clone(),
                            gateway: (*gateway).to_owned(),
                            worker,
                            t,
                            when,
                        });
                    }
                }
                audit.stops.push(stop);
            }
        }
        Ok(audit)
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late: u64 = self.stops.iter().map(|stop| stop.late_requests).sum();
        write!(
            formatter,
            "stops: {}, while routed: {}, late requests: {late}, cut requests: {}",
            self.stops.len(),
            self.routed_at_stop.len(),
            self.cut(),
        )?;
        for routed in &self.routed_at_stop {
            let when = match routed.when {
                When::AtStop => "when it stopped",
                When::WhileStopped => "again while it was stopped",
            };
            write!(
                formatter,
                "\n  {}: worker {} of {} routed to it {when} ({})",
                routed.node, routed.worker, routed.gateway, routed.t
            )?;
        }
        for stop in self.stops.iter().filter(|stop| stop.cut > 0 || stop.late_requests > 0) {
            write!(
                formatter,
                "\n  {}: version {} lost {} and got {} too late ({})",
                stop.node, stop.version, stop.cut, stop.late_requests, stop.t
            )?;
        }
        for stop in self.stops.iter().filter(|stop| stop.ending == Ending::Vanished) {
            write!(formatter, "\n  {}: version {} was killed", stop.node, stop.version)?;
        }
        Ok(())
    }
}

/// The records of one process of the service.
struct Life<'a> {
    records: Vec<&'a Record>,
    /// When the next process of the node started, if one did.
    until: Option<u64>,
}

impl Life<'_> {
    /// Returns how this process ended, if it has.
    fn stop(&self, node: &str) -> Option<Stop> {
        let find = |event| self.records.iter().find(|record| record.event == event);
        let count = |event| self.records.iter().filter(|record| record.event == event).count();
        let (term, exited) = (find(Event::Term), find(Event::Exited));
        let (ending, t) = match (term, exited, self.until) {
            (Some(term), Some(_), _) => (Ending::Exited, term.t),
            (None, Some(exited), _) => (Ending::Exited, exited.t),
            (Some(term), None, Some(_)) => (Ending::Vanished, term.t),
            (Some(term), None, None) => (Ending::Stopping, term.t),
            (None, None, Some(next)) => (Ending::Vanished, next),
            (None, None, None) => return None,
        };
        Some(Stop {
            node: node.to_owned(),
            version: self.records.first().map(|first| first.version.clone()).unwrap_or_default(),
            t,
            in_flight_at_term: term.map_or(0, |term| term.in_flight),
            late_requests: u64::try_from(count(Event::Late)).unwrap_or(u64::MAX),
            cut: find(Event::Cut).map_or(0, |cut| cut.in_flight),
            next_started: self.until,
            ending,
        })
    }
}

/// Splits a node's records at every start.
fn lives(records: &[Record]) -> Vec<Life<'_>> {
    let mut lives: Vec<Life<'_>> = Vec::new();
    for record in records {
        if record.event == Event::Started {
            if let Some(last) = lives.last_mut() {
                last.until = Some(record.t);
            }
            lives.push(Life { records: Vec::new(), until: None });
        }
        if let Some(life) = lives.last_mut() {
            life.records.push(record);
        }
    }
    lives
}

/// Returns the workers that routed to `address` at `stopped`, and those that began to route to it between then and
/// `started`.
fn routed(
    views: &[View],
    address: &str,
    stopped: u64,
    started: Option<u64>,
) -> Vec<(u64, u64, When)> {
    let mut workers: BTreeMap<u64, bool> = BTreeMap::new();
    let mut later = Vec::new();
    for view in views {
        let before = view.t <= stopped;
        match (view.event.as_deref(), view.worker) {
            (Some("exit"), Some(worker)) if before => {
                workers.remove(&worker);
            }
            (Some("start" | "stop"), _) if before => workers.clear(),
            (None, Some(worker)) if view.address.as_deref() == Some(address) => {
                let routed = view.routed == Some(true);
                if before {
                    workers.insert(worker, routed);
                } else if routed && started.is_none_or(|started| view.t < started) {
                    later.push((worker, view.t, When::WhileStopped));
                }
            }
            _ => {}
        }
    }
    let at_stop = workers
        .into_iter()
        .filter(|(_, routed)| *routed)
        .map(|(worker, _)| (worker, stopped, When::AtStop));
    at_stop.chain(later).collect()
}
