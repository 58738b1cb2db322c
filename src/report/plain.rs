//! Prints one line per change, for CI and logs: no escape codes, no carriage returns, and a heartbeat while
//! waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::Reporter;
use super::ci::{Ci, Level};
use super::print::{DATED, is_logging, log, write_stderr};
use super::sections::Sections;
use crate::engine::Sink;
use crate::release::Release;
use crate::release::{CommandKind, Event, EventKind, STILL_RUNNING, Started, Step};
use crate::text::{self, count};

/// The interval of lines while a step waits, in seconds.
const HEARTBEAT: i64 = 15;

/// A step that is done sooner has one line, at its end.
const SHORT: SignedDuration = SignedDuration::from_secs(3);

/// Prints lines.
pub struct Plain {
    quiet: bool,
    verbose: bool,
    width: usize,
    zone: TimeZone,
    /// What is done to each node now.
    waits: BTreeMap<String, Wait>,
    /// The nodes that were marked up again. One line about each is enough.
    returned: BTreeSet<String>,
    ci: Ci,
    sections: Sections,
    /// How the time of a line is written.
    time: &'static str,
    print: Box<dyn FnMut(&str) + Send>,
}

/// A step, or a check before it, that has not ended.
#[derive(Debug, Clone)]
struct Wait {
    word: String,
    since: jiff::Timestamp,
    /// When its next line is due, after its begin.
    next: SignedDuration,
    /// Its last progress.
    progress: Option<String>,
    /// When it gives up, after its begin.
    limit: Option<SignedDuration>,
}

impl Wait {
    fn new(event: &Event, release: &Release) -> Self {
        let word = super::doing(event, release);
        Self { word, since: event.at, next: SHORT, progress: None, limit: None }
    }

    /// Returns its line if one is due: the first one after a short time, and then one at each interval.
    fn line(&mut self, now: jiff::Timestamp) -> Option<String> {
        let waited = now.duration_since(self.since);
        let progress = self.progress.as_ref().filter(|_| waited >= self.next)?;
        self.next = SignedDuration::from_secs((waited.as_secs() / HEARTBEAT + 1) * HEARTBEAT);
        let time = match self.limit {
            Some(limit) => format!("{} of at most {}", seconds(waited), seconds(limit)),
            None => seconds(waited),
        };
        Some(match progress.as_str() {
            STILL_RUNNING => format!("{STILL_RUNNING}, {time}"),
            progress => format!("still waiting, {time}: {progress}"),
        })
    }
}

/// A time in whole seconds. Clocks differ: it is never negative.
fn seconds(time: SignedDuration) -> String {
    text::seconds(Duration::try_from(time).unwrap_or_default())
}

impl Plain {
    /// Prints for people; `quiet` leaves out everything but warnings and failures, `verbose` includes every
    /// step.
    #[must_use]
    pub fn new(quiet: bool, verbose: bool, ci: Ci) -> Self {
        Self::to(Box::new(write_stderr), quiet, verbose, ci)
    }

    /// The same, with another printer.
    #[must_use]
    pub fn to(print: Box<dyn FnMut(&str) + Send>, quiet: bool, verbose: bool, ci: Ci) -> Self {
        let (waits, returned, zone) = (BTreeMap::new(), BTreeSet::new(), TimeZone::system());
        let (sections, time) = (Sections::new(ci), "%H:%M:%S");
        Self { quiet, verbose, width: 8, zone, waits, returned, ci, sections, time, print }
    }

    /// Prints every step to the log file, if there is one.
    #[must_use]
    pub fn for_log_file() -> Option<Self> {
        let plain = is_logging().then(|| Self::to(Box::new(log), false, true, Ci::Plain));
        plain.map(|plain| Self { time: DATED, ..plain })
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
        let time = at.to_zoned(self.zone.clone()).strftime(self.time);
        let (who, place) = match node {
            Some(node) => {
                let (turn, all) = release.turn(node);
                (node, format!("{turn}/{all}"))
            }
            None => ("release", String::new()),
        };
        let line = format!("{time} {who:<width$} {place:>5} {word:<11} {rest}", width = self.width);
        (self.print)(&format!("{}\n", self.ci.tame(&text::harmless(line.trim_end()))));
    }

    /// Prints the lines that are due about steps that last.
    fn tell_waits(&mut self, now: jiff::Timestamp, release: &Release) {
        let told = self.waits.iter_mut();
        let told = told
            .filter_map(|(node, wait)| Some((node.clone(), wait.word.clone(), wait.line(now)?)));
        let told: Vec<_> = told.filter(|_| !self.quiet).collect();
        for (node, word, rest) in told {
            self.line_of(now, Some(&node), release, &word, &rest);
        }
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event, release: &Release) {
        if let Some(node) = &event.node {
            match &event.fact {
                EventKind::StepStarted {} => {
                    self.waits.insert(node.clone(), Wait::new(event, release));
                }
                EventKind::StepFinished { .. } | EventKind::NodeFailed(_) => {
                    self.waits.remove(node);
                }
                EventKind::NodePutBack { .. } => {
                    self.waits.remove(node);
                    self.returned.insert(node.clone());
                }
                EventKind::NodeInterrupted {} => {
                    self.waits.remove(node);
                    if self.returned.remove(node) {
                        return;
                    }
                }
                EventKind::StepProgress { message, deadline_s, .. } => {
                    let new = Wait::new(event, release);
                    let wait = self.waits.entry(node.clone()).or_insert_with(|| new.clone());
                    let left = deadline_s.and_then(|left| i64::try_from(left).ok());
                    let waited = event.at.duration_since(wait.since);
                    wait.limit =
                        left.map(|left| waited.saturating_add(SignedDuration::from_secs(left)));
                    (wait.word, wait.progress) = (new.word, Some(message.clone()));
                    return self.tell_waits(event.at, release);
                }
                _ => {}
            }
        }
        let told = wording(event, release, self.verbose);
        if !self.quiet {
            let is_loud = told.as_ref().is_some_and(|(_, _, loud)| *loud);
            let lines = self.sections.before(event, release, is_loud);
            if !lines.is_empty() {
                (self.print)(&lines);
            }
        }
        let Some((word, rest, loud)) = told else { return };
        if self.quiet && !loud {
            return;
        }
        if let EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_) = &event.fact {
            let nodes = release.planned();
            self.width = nodes.iter().map(|planned| planned.node.len()).max().unwrap_or(0).max(7);
        }
        self.line(event, release, &word, &rest);
        let level = match &event.fact {
            EventKind::NodeFailed(_) => Level::Error,
            EventKind::Warning { .. } => Level::Warning,
            _ => return,
        };
        let title = event.node.as_deref().unwrap_or("rollgate");
        if let Some(line) = self.ci.annotation(level, title, &rest, None) {
            (self.print)(&line);
        }
    }
}

impl Reporter for Plain {
    fn tick(&mut self, now: jiff::Timestamp, release: &Release) {
        self.tell_waits(now, release);
    }
}

/// What a release is about to do, for its first line.
fn announced(release: &str, started: &Started) -> String {
    let versions = match started.command {
        CommandKind::Deploy | CommandKind::Restart => started.versions(),
        _ => String::new(),
    };
    let plan =
        started.plan.as_ref().map_or(String::new(), |plan| format!(", runs {}", plan.told()));
    format!(
        "{} {}{versions}, {}, release {} by {}{plan}",
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
pub(super) fn wording(
    event: &Event,
    release: &Release,
    verbose: bool,
) -> Option<(String, String, bool)> {
    let quietly = |word: &str, rest: String| Some((word.to_owned(), rest, false));
    match &event.fact {
        EventKind::ReleaseStarted(started) => quietly("start", announced(&event.release, started)),
        EventKind::ReleaseResumed(resumed) => {
            let what = super::continues_with(resumed, release);
            quietly("resume", format!("resumed by {}: {what}", resumed.actor))
        }
        EventKind::NodeRollingBack { version } => {
            Some(("rollback".into(), super::rolling_back(version), true))
        }
        EventKind::NodeRolledBack { elapsed_ms } => {
            let took = text::duration(Duration::from_millis(*elapsed_ms));
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
            let took = text::duration(Duration::from_millis(*elapsed_ms));
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
        EventKind::Notice { message } => quietly("notice", message.clone()),
        EventKind::Warning { message } => Some(("WARNING".into(), message.clone(), true)),
        EventKind::NodeFailed(failure) => {
            let step = event.step.map_or(String::new(), |step| format!("{step}: "));
            Some(("FAILED".into(), format!("{step}{}", failure.reason), true))
        }
        EventKind::NodePutBack { proven, problem } => {
            Some(("returned".into(), super::put_back(*proven, problem.as_ref()), !*proven))
        }
        EventKind::NodeInterrupted {} => {
            let state = release.nodes.get(event.node.as_deref()?).map(super::state_of)?;
            quietly("interrupted", state.into())
        }
        EventKind::NodeDone { elapsed_ms } => {
            let took = text::duration(Duration::from_millis(*elapsed_ms));
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
        let mut plain = Plain::to(Box::new(print), false, true, Ci::GitHub);
        let mut release = Release::default();
        for event in hostile::release() {
            release.apply(&event).expect("it may follow");
            plain.event(&event, &release);
        }
        let told = told.lock().expect("lock");
        assert!(told.lines().count() > 10 && told.contains("\n::error title=nx"), "{told}");
    }
    #[test]
    fn a_step_that_lasts_has_a_line_with_its_time_and_its_limit() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let print = move |line: &str| heard.lock().expect("lock").push(line.to_owned());
        let plain = Plain::to(Box::new(print), false, false, Ci::Plain);
        let (mut plain, release) = (plain.in_zone(TimeZone::UTC), Release::default());
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        let mut event = |second, fact| {
            let (node, step) = (Some("a".to_owned()), Some(Step::Stop));
            let release_id = "r".to_owned();
            let event = Event { seq: 1, at: at(second), release: release_id, node, step, fact };
            plain.event(&event, &release);
            for second in second..second + 9 {
                plain.tick(at(second), &release);
            }
        };
        let progress = |message: &str, left| EventKind::StepProgress {
            message: message.into(),
            in_flight: None,
            deadline_s: left,
        };
        let done =
            || EventKind::StepFinished { elapsed_ms: 39, message: String::new(), drained: None };
        event(10, done());
        event(20, EventKind::StepStarted {});
        event(21, progress(STILL_RUNNING, Some(59)));
        event(30, progress(STILL_RUNNING, Some(50)));
        event(39, done());
        event(50, EventKind::StepStarted {});
        event(51, progress("2 requests in flight", Some(299)));
        event(60, progress("1 request in flight", Some(290)));
        event(69, progress("1 request in flight", Some(281)));
        event(78, progress("1 request in flight", None));
        event(87, done());
        let told = told.lock().expect("lock");
        let words: Vec<_> = told
            .iter()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                format!("{} {}", words[0], words[3..].join(" "))
            })
            .collect();
        assert_eq!(
            words,
            [
                "00:00:10 stop 39ms",
                "00:00:23 stop still running, 3s of at most 60s",
                "00:00:35 stop still running, 15s of at most 60s",
                "00:00:39 stop 39ms",
                "00:00:53 stop still waiting, 3s of at most 5m: 2 requests in flight",
                "00:01:05 stop still waiting, 15s of at most 5m: 1 request in flight",
                "00:01:20 stop still waiting, 30s: 1 request in flight",
                "00:01:27 stop 39ms",
            ]
        );
    }
}
