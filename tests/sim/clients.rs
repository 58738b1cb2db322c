//! Virtual clients: a steady stream of requests through every worker of every gateway, some of them slow.

use crate::invariants::Rule;
use crate::node::{InFlight, Taken};
use crate::process::Cause;
use crate::world::State;

/// How long a fault on a node excuses requests that fail for want of nodes.
const AFTERMATH: u64 = 30_000;

/// The stream of requests through a worker.
#[derive(Debug, Clone, Copy)]
struct Stream {
    gateway: usize,
    worker: usize,
    /// When the next request is sent.
    next: u64,
}

/// What the clients have seen.
///
/// Nothing waits for a request, so requests are no happenings of the queue: those of an interval are worked off together
/// before anything else happens or is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    streams: Vec<Stream>,
    /// When the next request of any stream is sent.
    next: u64,
    /// Requests sent.
    pub(crate) sent: u64,
    /// Requests that failed by a fault of the schedule.
    pub(crate) lost_by_faults: u64,
    /// The longest pause between two requests through a worker.
    pub(crate) pause: u64,
    /// One request in this many is slow; 0 means none.
    pub(crate) slow_of: u64,
    /// The longest duration of a slow request.
    pub(crate) slowest: u64,
}

impl Clients {
    /// Clients send requests through a worker, from a moment on.
    pub(crate) fn begin(&mut self, gateway: usize, worker: usize, from: u64) {
        self.streams.push(Stream { gateway, worker, next: from });
        self.next = 0;
    }
}

impl State {
    /// Sends the requests that are due up to `now`, in the order of their times, and answers those that are due.
    pub(crate) fn serve_clients(&mut self, now: u64) {
        while self.clients.next <= now {
            let due = self.clients.streams.iter_mut().min_by_key(|stream| stream.next);
            let Some(stream) = due else {
                self.clients.next = u64::MAX;
                break;
            };
            self.clients.next = stream.next;
            if stream.next <= now {
                let Stream { gateway, worker, next } = *stream;
                stream.next += self.rng.u64(self.clients.pause / 3..=self.clients.pause).max(1);
                self.clock = self.clock.max(next);
                self.ask(gateway, worker);
            }
        }
        for node in &mut self.nodes {
            node.answer(now);
        }
    }

    /// A client sends a request through a worker.
    fn ask(&mut self, gateway: usize, worker: usize) {
        let own = &mut self.gateways[gateway];
        if self.clock < own.workers[worker].frozen_until {
            return;
        }
        self.clients.sent += 1;
        let held = |node: usize| own.checks.as_ref().is_some_and(|checks| checks[node].1);
        let own_worker = &mut own.workers[worker];
        let astray = own_worker.astray.is_some();
        let list = own_worker.up.iter().enumerate();
        let routed = list.filter(|(node, up)| **up && !held(*node)).map(|(node, _)| node);
        let turn = own_worker.turn;
        own_worker.turn = turn.wrapping_add(1);
        let count = routed.clone().count();
        let Some(node) = routed.clone().nth(turn % count.max(1)) else {
            return self.fail_unrouted(gateway, worker, astray);
        };
        let process = self.nodes[node].process.as_ref().filter(|_| self.nodes[node].serves());
        let Some(pid) = process.map(|process| process.pid) else {
            return self.refused(gateway, worker, node, astray);
        };
        let slow = self.clients.slow_of > 0 && self.rng.u64(0..self.clients.slow_of) == 0;
        let takes =
            if slow { self.rng.u64(300..=self.clients.slowest) } else { self.rng.u64(2..=40) };
        let (number, since) = (self.clients.sent, self.clock);
        let request = InFlight { number, pid, astray, since, until: since + takes };
        self.nodes[node].requests.push(request);
    }

    /// No node is in the worker's list.
    fn fail_unrouted(&mut self, gateway: usize, worker: usize, astray: bool) {
        let clock = self.clock;
        let recent = |at: Option<u64>| at.is_some_and(|at| clock - at < AFTERMATH);
        // Without the fault, a node that was dead when it was last taken would be in the list.
        let by_fault = self.nodes.iter().any(|node| {
            // A node that was empty and out never took requests.
            let is_new = node.is_empty() && node.was_out;
            let is_dead = node.deeds.taken == Taken::Dead || node.down_by == Some(Cause::Fault);
            let is_dead = is_dead && !is_new;
            is_dead || recent(node.struck_at)
        });
        let taken = self.nodes.iter().filter(|node| node.deeds.taken == Taken::Serving);
        let taken: Vec<_> = taken.map(|node| node.name.clone()).collect();
        if astray || by_fault || taken.is_empty() {
            self.clients.lost_by_faults += 1;
            return;
        }
        let text = format!(
            "gw-{} worker {worker} routes to no node; removed by the release: {taken:?}",
            gateway + 1
        );
        self.violate(Rule::RequestLost, text);
    }

    /// A request reaches a node that does not serve.
    fn refused(&mut self, gateway: usize, worker: usize, node: usize, astray: bool) {
        let own = &self.nodes[node];
        if astray || own.down_by == Some(Cause::Fault) {
            self.clients.lost_by_faults += 1;
            return;
        }
        let text = format!(
            "gw-{} worker {worker} sends a request to {}, which does not serve: {:?}",
            gateway + 1,
            own.name,
            own.process
        );
        self.violate(Rule::RequestLost, text);
    }

    /// The requests that a process works on are lost.
    pub(crate) fn cut(&mut self, at: usize, pid: u32, cause: Cause) {
        let node = &mut self.nodes[at];
        let (mut lost, mut ours) = (0, 0);
        node.requests.retain(|request| {
            let gone = request.pid == pid;
            lost += u64::from(gone);
            ours += u64::from(gone && !request.astray && cause == Cause::Release);
            !gone
        });
        node.deeds.cut += ours;
        self.clients.lost_by_faults += lost - ours;
        if lost > 0 {
            self.note(|| format!("node-{}: {lost} requests cut ({cause:?})", at + 1));
        }
    }
}
