//! Prints one line per change, for CI and logs: no escape codes, no carriage returns, and a heartbeat while
//! waiting.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::Reporter;
use crate::engine::Sink;
use crate::release::Release;
use crate::release::{CommandKind, Event, EventKind, Started, Step};
use crate::text::{self, count};

/// The interval of lines while a step waits, in seconds.
const HEARTBEAT: i64 = 15;

/// How much earlier the first line comes if no step has begun.
const EARLIER: SignedDuration = SignedDuration::from_secs(10);

/// A step that is done sooner has one line, at its end, in seconds.
const SHORT: i64 = 3;

/// Prints lines.
pub struct Plain {
    quiet: bool,
    verbose: bool,
    width: usize,
    zone: TimeZone,
    /// For each node's step: when it began, and when its last line was printed.
    waits: BTreeMap<String, Wait>,
    /// Failures are marked in GitHub's format.
    github: bool,
    print: Box<dyn FnMut(&str) + Send>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    since: jiff::Timestamp,
    told: jiff::Timestamp,
    /// A step that was begun and has no line yet.
    untold: Option<Step>,
}

impl Plain {
    /// Prints for people; `quiet` leaves out everything but warnings and failures, `verbose` includes every
    /// step.
    #[must_use]
    pub fn new(quiet: bool, verbose: bool, github: bool) -> Self {
        Self::to(Box::new(super::print_stderr), quiet, verbose, github)
    }

    /// The same, with another printer.
    #[must_use]
    pub fn to(
        print: Box<dyn FnMut(&str) + Send>,
        quiet: bool,
        verbose: bool,
        github: bool,
    ) -> Self {
        let (waits, zone) = (BTreeMap::new(), TimeZone::system());
        Self { quiet, verbose, width: 8, zone, waits, github, print }
    }

    /// Prints times in this zone instead of the system's.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    fn line(&mut self, event: &Event, release: &Release, word: &str, rest: &str) {
        self.line_of(event.at, event.node.as_deref(), release, word, rest);
    }

    fn line_of(
        &mut self,
        at: jiff::Timestamp,
        node: Option<&str>,
        release: &Release,
        word: &str,
        rest: &str,
    ) {
        let time = at.to_zoned(self.zone.clone()).strftime("%H:%M:%S");
        let (who, place) = match node {
            Some(node) => {
                let (turn, all) = release.turn(node);
                (node, format!("{turn}/{all}"))
            }
            None => ("release", String::new()),
        };
        let line = format!("{time} {who:<width$} {place:>5} {word:<11} {rest}", width = self.width);
        (self.print)(&format!("{}\n", text::harmless(line.trim_end())));
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event, release: &Release) {
        if let Some(node) = &event.node {
            let beat = Wait { since: event.at, told: event.at, untold: None };
            match &event.fact {
                EventKind::StepStarted {} => {
                    let untold = event.step.filter(|step| may_last(*step) && !self.verbose);
                    self.waits.insert(node.clone(), Wait { untold, ..beat });
                }
                EventKind::StepFinished { .. } | EventKind::NodeFailed(_) => {
                    self.waits.remove(node);
                }
                EventKind::StepProgress { message, .. } => {
                    // A check before a step has no first line, so it is reported earlier.
                    let told = event.at.checked_sub(EARLIER).unwrap_or(event.at);
                    let wait = self.waits.entry(node.clone()).or_insert(Wait { told, ..beat });
                    if event.at.as_second() - wait.told.as_second() < HEARTBEAT {
                        return;
                    }
                    wait.told = event.at;
                    let waited = event.at.as_second() - wait.since.as_second();
                    let word = event.step.map_or(String::new(), |step| step.to_string());
                    let rest = format!("still waiting {waited}s: {message}");
                    return self.line(event, release, &word, &rest);
                }
                _ => {}
            }
        }
        let Some((word, rest, loud)) = wording(event, release, self.verbose) else { return };
        if self.quiet && !loud {
            return;
        }
        if let EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_) = &event.fact {
            let nodes = release.planned();
            self.width = nodes.iter().map(|planned| planned.node.len()).max().unwrap_or(0).max(7);
        }
        self.line(event, release, &word, &rest);
        if self.github && matches!(event.fact, EventKind::NodeFailed(_)) {
            let node = event.node.as_deref().unwrap_or("");
            (self.print)(&format!("::error::{}\n", text::harmless(&format!("{node}: {rest}"))));
        }
    }
}

impl Reporter for Plain {
    fn tick(&mut self, now: jiff::Timestamp, release: &Release) {
        let mut lasting = Vec::new();
        for (node, wait) in &mut self.waits {
            if now.as_second() - wait.since.as_second() >= SHORT {
                lasting.extend(wait.untold.take().map(|step| (node.clone(), step)));
            }
        }
        if self.quiet {
            return;
        }
        for (node, step) in lasting {
            self.line_of(now, Some(&node), release, &step.to_string(), "...");
        }
    }
}

/// Whether a step runs a command of the user's, which may take its time without a word.
fn may_last(step: Step) -> bool {
    matches!(step, Step::Stop | Step::Restart | Step::Start | Step::Run(_))
}

/// What a release is about to do, for its first line.
fn announced(release: &str, started: &Started) -> String {
    let versions = match started.command {
        CommandKind::Deploy | CommandKind::Restart => started.versions(),
        _ => String::new(),
    };
    format!(
        "{} {}{versions}, {}, release {} by {}",
        started.command,
        started.service,
        count(started.nodes.updates(), "node"),
        release,
        started.actor
    )
}

/// The version that these nodes ran before the release, if they all ran the same.
fn version_before(release: &Release, nodes: &[String]) -> Option<String> {
    let versions = release.started.as_ref()?.before.versions();
    let versions: BTreeSet<_> = nodes.iter().map(|node| versions.get(node.as_str())).collect();
    let mut versions = versions.into_iter();
    versions.next()?.filter(|_| versions.next().is_none()).cloned()
}

/// The first word and the rest of an event's line, and whether it is printed even when quiet.
fn wording(event: &Event, release: &Release, verbose: bool) -> Option<(String, String, bool)> {
    let quietly = |word: &str, rest: String| Some((word.to_owned(), rest, false));
    match &event.fact {
        EventKind::ReleaseStarted(started) => quietly("start", announced(&event.release, started)),
        EventKind::ReleaseResumed(resumed) => {
            let names: Vec<_> = resumed.nodes.iter().map(|found| found.node.as_str()).collect();
            let rest = format!("resumed by {}: {}", resumed.actor, names.join(", "));
            quietly("resume", rest)
        }
        EventKind::NodeRollingBack { version } => {
            Some(("rollback".into(), super::rolling_back(version), true))
        }
        EventKind::NodeRolledBack { elapsed_ms } => {
            let took = text::duration(std::time::Duration::from_millis(*elapsed_ms));
            quietly("rolled back", took)
        }
        EventKind::BatchStarted { nodes, back: true, .. } => {
            let to = version_before(release, nodes);
            let to = to.map_or(String::new(), |version| format!(" to version {version}"));
            Some(("rollback".into(), format!("rolling back{to}: {}", nodes.join(", ")), true))
        }
        EventKind::BatchStarted { number, nodes, back: false } => {
            let several = nodes.len() > 1;
            (several || verbose)
                .then(|| ("batch".into(), format!("{number}: {}", nodes.join(", ")), false))
        }
        EventKind::StepStarted {} => {
            let step = event.step?;
            (verbose && !matches!(step, Step::Stage | Step::Prune))
                .then(|| (step.to_string(), "...".into(), false))
        }
        EventKind::StepFinished { message, elapsed_ms, drained } => {
            let step = event.step?;
            let took = text::duration(std::time::Duration::from_millis(*elapsed_ms));
            let rest = if message.is_empty() { took } else { format!("{message} ({took})") };
            match step {
                Step::Prune if message.is_empty() && !verbose => None,
                Step::ConfirmOut => quietly("out", rest),
                Step::Drain if drained.is_none_or(|drained| drained.cut == 0) => {
                    quietly("drained", rest)
                }
                Step::ConfirmIn => quietly("in", rest),
                _ => quietly(&step.to_string(), rest),
            }
        }
        EventKind::GatewayProven { gateway, routed, reads, workers, method, .. } => {
            verbose.then(|| {
                let what = if *routed { "routes to it" } else { "no longer routes to it" };
                (
                    "confirmed".into(),
                    format!("{gateway} {what}: {method}, {reads} reads, {workers} workers"),
                    false,
                )
            })
        }
        EventKind::CapacitySeen { routed } => verbose.then(|| {
            let routed: Vec<_> =
                routed.iter().map(|(gateway, nodes)| format!("{gateway} {nodes}")).collect();
            ("capacity".into(), format!("nodes routed per gateway: {}", routed.join(", ")), false)
        }),
        EventKind::Warning { message } => Some(("WARNING".into(), message.clone(), true)),
        EventKind::NodeFailed(failure) => {
            let step = event.step.map_or(String::new(), |step| format!("{step}: "));
            Some(("FAILED".into(), format!("{step}{}", failure.reason), true))
        }
        EventKind::NodePutBack { proven } => {
            let rest = if *proven {
                "back in rotation, confirmed"
            } else {
                "marked up, not yet confirmed"
            };
            quietly("returned", rest.into())
        }
        EventKind::NodeInterrupted {} => {
            let state = release.nodes.get(event.node.as_deref()?).map(super::state_of)?;
            quietly("interrupted", state.into())
        }
        EventKind::NodeDone { elapsed_ms } => {
            let took = text::duration(std::time::Duration::from_millis(*elapsed_ms));
            quietly("done", took)
        }
        EventKind::ReleaseStopping { reason } => Some(("stopping".into(), reason.clone(), true)),
        EventKind::RegistryWriting { .. }
        | EventKind::RegistryWritten { .. }
        | EventKind::RegistryRefused {}
        | EventKind::NodeMarked { .. }
        | EventKind::StepProgress { .. }
        | EventKind::ReleaseFinished(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::hostile;

    #[test]
    fn hostile_text_stays_within_its_line() {
        let told = Arc::new(Mutex::new(String::new()));
        let heard = told.clone();
        let print = move |line: &str| {
            hostile::assert_tame(line);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            *heard.lock().expect("lock") += line;
        };
        let mut plain = Plain::to(Box::new(print), false, true, true);
        let mut release = Release::default();
        for event in hostile::release() {
            release.apply(&event).expect("it may follow");
            plain.event(&event, &release);
        }
        let told = told.lock().expect("lock");
        assert!(told.lines().count() > 10 && told.contains("\n::error::nx"), "{told}");
    }
    #[test]
    fn a_step_has_a_line_at_its_end_and_another_one_only_if_it_lasts() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let print = move |line: &str| heard.lock().expect("lock").push(line.to_owned());
        let mut plain = Plain::to(Box::new(print), false, false, false);
        let release = Release::default();
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        let mut event = |second, fact| {
            let (node, step) = (Some("a".to_owned()), Some(Step::Stop));
            let release_id = "r".to_owned();
            let event = Event { seq: 1, at: at(second), release: release_id, node, step, fact };
            plain.event(&event, &release);
            let lines = told.lock().expect("lock").len();
            plain.tick(at(second + 2), &release);
            assert_eq!(told.lock().expect("lock").len(), lines, "too early");
            plain.tick(at(second + 3), &release);
            plain.tick(at(second + 4), &release);
        };
        let done =
            || EventKind::StepFinished { elapsed_ms: 39, message: String::new(), drained: None };
        event(10, done());
        event(20, EventKind::StepStarted {});
        event(30, done());
        let told = told.lock().expect("lock");
        let words: Vec<_> = told
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>()[3..].join(" "))
            .collect();
        assert_eq!(words, ["stop 39ms", "stop ...", "stop 39ms"]);
    }
}
