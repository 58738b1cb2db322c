//! `status --watch` without a terminal: a page after each change, or lines, until a signal.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::Value;

use crate::line_schema::assert_line;
use crate::support::{Case, SMALL, serve};

/// A key that marks its node up, and one that marks it down.
const UP: &str = "eyJ3ZWlnaHQiOjEsIm1heF9mYWlscyI6MiwiZmFpbF90aW1lb3V0IjoxMCwiZG93biI6MH0=";
const DOWN: &str = "eyJ3ZWlnaHQiOjEsIm1heF9mYWlscyI6MiwiZmFpbF90aW1lb3V0IjoxMCwiZG93biI6MX0=";

/// `status --watch`, and the Consul that it reads.
struct Watch {
    case: Case,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// What Consul answers.
    phase: Arc<AtomicUsize>,
    /// Each read of the keys.
    reads: mpsc::Receiver<()>,
}

/// The key of the second node is up.
const IN: usize = 0;
/// It is down.
const OUT: usize = 1;
/// Consul answers no request.
const AWAY: usize = 2;

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let phase = Arc::new(AtomicUsize::new(IN));
        let (read, reads) = mpsc::channel();
        let now = phase.clone();
        let consul = serve(move |_, path, _| {
            let phase = now.load(Ordering::SeqCst);
            let key = |node: u8, value: &str| {
                format!(
                    "{{ \"Key\": \"upstreams/app/127.0.0.{node}:9000\", \"Value\": \"{value}\", \"Flags\": 0, \
                     \"LockIndex\": 0, \"CreateIndex\": 1, \"ModifyIndex\": 1 }}"
                )
            };
            match path {
                _ if phase == AWAY => (500, Arc::default()),
                "/v1/status/leader" => (200, Arc::new(b"\"127.0.0.1:8300\"".to_vec())),
                "/v1/kv/upstreams/app/" => {
                    let _ = read.send(());
                    let second = if phase == OUT { DOWN } else { UP };
                    let keys = format!("[{}, {}]", key(1, UP), key(2, second));
                    (200, Arc::new(keys.into_bytes()))
                }
                _ => (404, Arc::default()),
            }
        });
        let playbook = SMALL.replace("http://127.0.0.1:1'] }", &format!("http://{consul}'] }}"));
        let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
        let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut command =
            case.command(&[&["status", "app.yaml", "--watch=1s"], arguments].concat());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { case, child, stdout, phase, reads }
    }

    /// Reads lines up to the first one that satisfies a condition.
    #[track_caller]
    fn until(&mut self, condition: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.stdout.next().unwrap_or_else(|| panic!("it ended: {lines:?}"));
            lines.push(line.expect("UTF-8"));
            if lines.last().is_some_and(|line| condition(line)) {
                return lines;
            }
        }
    }

    /// Sends SIGINT, and returns the exit code, the rest of stdout, and stderr.
    fn interrupt(mut self) -> (Option<i32>, Vec<String>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
        let rest = self.stdout.map(|line| line.expect("UTF-8")).collect();
        let mut stderr = String::new();
        let mut piped = self.child.stderr.take().expect("piped");
        piped.read_to_string(&mut stderr).expect("UTF-8");
        drop(self.case);
        (self.child.wait().expect("ends").code(), rest, stderr)
    }
}

#[test]
fn page_is_printed_after_each_change_and_while_consul_is_away() {
    let mut watch = Watch::start(&[]);
    let is_node = |line: &str, mark: &str| line.starts_with(" app-2 ") && line.contains(mark);
    watch.until(|line| is_node(line, " up "));
    // Several rounds without a change.
    for _ in 0..4 {
        watch.reads.recv().expect("a round");
    }
    watch.phase.store(OUT, Ordering::SeqCst);
    let lines = watch.until(|line| is_node(line, " down "));
    let pages = lines.iter().filter(|line| line.starts_with("app: ")).count();
    assert_eq!(pages, 1, "a page without a change: {lines:?}");
    watch.phase.store(AWAY, Ordering::SeqCst);
    watch.until(|line| is_node(line, " unknown "));
    watch.phase.store(IN, Ordering::SeqCst);
    watch.until(|line| is_node(line, " up "));
    let (code, _, stderr) = watch.interrupt();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("waiting: ")), "{stderr}");
}

#[test]
fn programs_get_every_round_and_the_last_line_after_a_signal() {
    let mut watch = Watch::start(&["--output", "jsonl"]);
    let begins = |line: &str| line.contains("\"watch.round\"");
    let mut lines = watch.until(begins);
    lines.extend(watch.until(begins));
    let (code, rest, stderr) = watch.interrupt();
    assert_eq!(code, Some(0), "{stderr}");
    lines.extend(rest);
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, number) in lines.iter().zip(1..) {
        assert_line(line);
        assert_eq!(line["seq"], number, "{line}");
    }
    assert_eq!(
        (&lines[0]["data"]["round"], &lines[0]["data"]["interval_ms"]),
        (&1.into(), &1000.into())
    );
    let types: Vec<_> =
        lines[1..].iter().map(|line| line["type"].as_str().expect("a type")).collect();
    assert_eq!(
        types[..5],
        ["registry.status", "gateway.status", "node.status", "node.status", "watch.round"]
    );
    let last = &lines.last().expect("a last line");
    assert_eq!(
        (&last["type"], &last["data"]["exit_code"]),
        (&"release.finished".into(), &0.into())
    );
    assert_eq!(last["data"]["result"], "done");
}

#[test]
fn interval_is_a_time_of_at_least_one_second() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes())]);
    for (interval, why) in [("--watch=0s", "shorter than 1s"), ("--watch=x", "x")] {
        let (_, stderr) = case.exits(2, &["status", "app.yaml", interval]);
        assert!(stderr.contains(why), "{stderr}");
    }
    case.exits(2, &["status", "app.yaml", "--watch", "--exit-code"]);
}
