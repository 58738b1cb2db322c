//! Hears of a release's events, and kills it after one of them as `kill -9` would.

use std::fmt::Write;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::task::Poll;

use rollgate::engine::Sink;
use rollgate::release::Release;
use rollgate::release::{Event, EventKind};

use crate::screen::Screen;
use crate::shapes;
use crate::sim::Sim;
use crate::suggested::Suggested;

/// Hears of events.
pub(crate) struct Ear {
    sim: Arc<Sim>,
    /// Every event, journalled or not, as one line; where a history is kept.
    pub(crate) events: Option<String>,
    /// How many events were written down.
    pub(crate) durable: u64,
    kill_after: Option<u64>,
    /// The commands that were suggested at the end.
    pub(crate) next: Vec<Suggested>,
    /// What the operator sees, where a history is kept.
    pub(crate) screen: Option<Screen>,
}

/// The end of a killed release.
struct Killed;

impl Ear {
    pub(crate) fn new(sim: &Arc<Sim>, history: bool, kill_after: Option<u64>) -> Self {
        let (events, screen) = (history.then(String::new), history.then(Screen::new));
        Self { sim: sim.clone(), events, durable: 0, kill_after, next: Vec::new(), screen }
    }

    /// Shows a text to the operator.
    pub(crate) fn print(&self, text: &str) {
        if let Some(screen) = &self.screen {
            screen.print(text);
        }
    }
}

impl Sink for Ear {
    fn event(&mut self, event: &Event, release: &Release) {
        shapes::check(event);
        if let Some(screen) = &mut self.screen {
            screen.event(event, release);
        }
        if let Some(events) = &mut self.events {
            let _ = writeln!(events, "{}", event.to_line());
        }
        if !event.is_durable() {
            return;
        }
        self.durable += 1;
        match &event.fact {
            EventKind::ReleaseStarted(started) => {
                self.sim.look(|state| state.new_release(&event.release, started));
            }
            EventKind::ReleaseResumed(_) => {
                self.sim.look(|state| state.same_release(&event.release));
            }
            _ => {}
        }
        let operator = self.sim.operator;
        let line = || {
            let step = event.step.map(|step| step.to_string()).unwrap_or_default();
            let node = event.node.as_deref().unwrap_or("");
            format!("{operator}: EVENT {node} {step}: {:?}", event.fact)
        };
        self.sim.look(|state| {
            state.written_down(line);
            let woke = state.fence.just_woke(operator, state.clock);
            if let Some(node) = event.node.as_ref().filter(|_| !woke) {
                match &event.fact {
                    EventKind::StepFinished { drained: Some(drained), .. } => {
                        state.told_cut(node, drained.cut);
                    }
                    EventKind::GatewayProven { gateway, routed, method, .. } => {
                        state.check_proof(node, Some(gateway), *routed, method == "workers");
                    }
                    EventKind::NodePutBack { proven: true, .. } => {
                        state.check_proof(node, None, true, false);
                    }
                    _ => {}
                }
            }
        });
        if self.kill_after == Some(self.durable) {
            // As kill -9 would: no task learns that the event is on the disk, and nothing else happens.
            resume_unwind(Box::new(Killed));
        }
    }
}

/// Lets a future run until it ends or is killed from within.
pub(crate) async fn until_killed<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Err(cause) if cause.is::<Killed>() => Poll::Ready(None),
            Err(cause) => resume_unwind(cause),
        }
    })
    .await
}
