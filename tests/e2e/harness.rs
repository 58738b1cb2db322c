//! What the tests share: a lab with a playbook, releases under load, and checks of the result.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rollgate_lab::{Fault, GatewayConfig, Lab, LabConfig, Load, LoadConfig, Totals};
use serde_json::Value;

use crate::line_schema::{assert_line, assert_lines};
use crate::suggested::assert_accepted;

/// The binary under test.
pub(crate) fn rollgate() -> PathBuf {
    env!("CARGO_BIN_EXE_rollgate").into()
}

/// A gateway that follows at once and names its workers, for tests of other things.
pub(crate) fn quick(workers: u32) -> GatewayConfig {
    GatewayConfig { worker_header: true, ..GatewayConfig::immediate(workers) }
}

/// A gateway that lags a little and names its workers.
pub(crate) fn lagging() -> GatewayConfig {
    GatewayConfig { worker_header: true, ..GatewayConfig::upsync(2, 200) }
}

/// A lab with its playbook and the artifacts of versions 2 and 3.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) playbook: PathBuf,
}

impl Bench {
    pub(crate) fn new(nodes: usize, gateways: Vec<GatewayConfig>) -> Self {
        Self::with(LabConfig::new(nodes, gateways), |_| {})
    }

    pub(crate) fn with(config: LabConfig, edit: impl FnOnce(&mut Value)) -> Self {
        let lab = Lab::start(config).expect("the lab starts");
        for version in ["1", "2", "3"] {
            lab.artifact(version, Fault::None).expect("an artifact");
        }
        let playbook = lab.playbook(edit).expect("a playbook");
        Self { lab, playbook }
    }

    pub(crate) fn file(&self) -> &str {
        self.playbook.to_str().expect("a path in UTF-8")
    }

    /// Runs rollgate with the playbook as its first positional argument.
    pub(crate) fn run(&self, command: &[&str], rest: &[&str]) -> Ran {
        self.run_on(self.file(), command, rest)
    }

    pub(crate) fn run_on(&self, file: &str, command: &[&str], rest: &[&str]) -> Ran {
        let arguments: Vec<_> = command.iter().chain([&file]).chain(rest).copied().collect();
        Ran(self.lab.run(&rollgate(), &arguments).expect("rollgate runs"))
    }

    /// Runs rollgate with these variables in its environment.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], command: &[&str]) -> Ran {
        let mut run = self.lab.command(&rollgate());
        run.envs(environment.iter().copied()).args(command);
        Ran(run.output().expect("rollgate runs"))
    }

    pub(crate) fn deploy(&self, version: &str) -> Ran {
        self.run(&["deploy"], &["--var", &format!("version={version}"), "--yes"])
    }

    /// Starts a release and returns when it has reached a step of a node, with a reader of the later events.
    pub(crate) fn start_until(
        &self,
        version: &str,
        step: &str,
    ) -> (Child, impl Iterator<Item = std::io::Result<String>> + use<>) {
        self.start_with_until(&["--var", &format!("version={version}")], step)
    }

    /// The same with other options of `deploy`.
    pub(crate) fn start_with_until(
        &self,
        options: &[&str],
        step: &str,
    ) -> (Child, impl Iterator<Item = std::io::Result<String>> + use<>) {
        let mut child = self
            .lab
            .command(&rollgate())
            .args(["deploy", self.file(), "--yes", "--output", "jsonl"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rollgate starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let reached = lines.by_ref().map(|line| line.expect("a line")).any(|line| {
            let event: Value = serde_json::from_str(&line).expect("an event");
            assert_line(&event);
            event["type"] == "step.started" && event["step"] == step
        });
        assert!(reached, "{step} was never reached");
        (child, lines)
    }

    /// Starts requests through every gateway.
    pub(crate) fn load(&self) -> Load {
        self.load_with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn load_with(&self, edit: impl FnOnce(&mut LoadConfig)) -> Load {
        let gateways = self.lab.gateways.iter().map(|gateway| gateway.url(""));
        let haproxies = self.lab.haproxies.iter().map(|haproxy| haproxy.url(""));
        let caddies = self.lab.caddies.iter().map(|caddy| caddy.url(""));
        let envoys = self.lab.envoys.iter().map(|envoy| envoy.url(""));
        let resolvers = self.lab.resolvers.iter().map(|resolver| resolver.url(""));
        let rendered = self.lab.rendered.iter().map(|rendered| rendered.url(""));
        let traefiks = self.lab.traefiks.iter().map(|traefik| traefik.url(""));
        let targets = gateways.chain(haproxies).chain(caddies).chain(envoys);
        let targets = targets.chain(resolvers).chain(rendered).chain(traefiks);
        // A third of the demo's rate: several labs share the machine.
        let mut config = LoadConfig { rate: 100, ..LoadConfig::new(targets.collect()) };
        edit(&mut config);
        Load::start(&config).expect("the load starts")
    }

    /// Puts a node's instance into maintenance, and returns when the load's last answer came from it.
    pub(crate) fn last_answer(&self, load: &Load, index: usize) -> Duration {
        let node = self.lab.nodes[index].address().to_string();
        let answers = || load.snapshot().by_node.get(&node).copied();
        let begun = Instant::now();
        self.lab.agents[index].maintain(true, "lag").expect("maintenance");
        let (mut before, mut last) = (answers(), Duration::ZERO);
        while begun.elapsed() < last + Duration::from_millis(1500) {
            let now = answers();
            if now != before {
                (before, last) = (now, begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        last
    }

    pub(crate) fn versions(&self) -> Vec<Option<String>> {
        self.lab.nodes.iter().map(rollgate_lab::Node::version).collect()
    }

    /// Every key with its value, to detect writes.
    pub(crate) fn keys(&self) -> Vec<Option<String>> {
        (0..self.lab.nodes.len())
            .map(|index| {
                let key = self.lab.registry_key(index).expect("a key");
                self.lab.consul.get(&key).expect("Consul answers")
            })
            .collect()
    }

    pub(crate) fn is_down(&self, index: usize) -> bool {
        let value = self.keys()[index].clone().expect("the key is there");
        let value: Value = serde_json::from_str(&value).expect("JSON");
        value["down"] == 1
    }

    /// What a node has under `/srv/app/releases`, hidden files included.
    pub(crate) fn releases(&self, index: usize) -> Vec<String> {
        let output =
            self.lab.nodes[index].exec("ls -A /srv/app/releases").expect("the node answers");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Releases version 2 to all nodes under load, in which all of them serve and no request fails; prints the duration
    /// of each confirmation, and returns the events.
    #[track_caller]
    pub(crate) fn release(&self) -> Vec<Value> {
        self.release_under(self.load(), self.file())
    }

    /// The same, with requests that are in flight for longer than a confirmation takes on a busy machine. Asserts that
    /// each drain was counted.
    #[track_caller]
    pub(crate) fn release_counted(&self) {
        let load = self.load_with(|load| load.slow = Duration::from_secs(3));
        assert_counted(&self.release_under(load, self.file()), self.lab.nodes.len());
    }

    /// The same with another playbook, under a load that already runs.
    #[track_caller]
    pub(crate) fn release_under(&self, load: Load, file: &str) -> Vec<Value> {
        let arguments = ["--var", "version=2", "--yes", "--output", "jsonl"];
        let ran = self.run_on(file, &["deploy"], &arguments).exits(0);
        let totals = self.assert_unnoticed(load);
        assert_eq!(totals.by_node.len(), self.lab.nodes.len(), "{totals:?}");
        let events = events(&ran.stdout());
        print_costs(&events);
        assert!(self.versions().iter().all(|version| version.as_deref() == Some("2")));
        events
    }

    /// Asserts no client impact: no service was stopped while it was routed, and no request was cut.
    #[track_caller]
    pub(crate) fn assert_unnoticed(&self, load: Load) -> Totals {
        let totals = load.stop();
        assert_eq!(totals.failed, 0, "{totals}\n{:?}", totals.failures);
        assert!(totals.sent > 100, "the load was real: {totals}");
        let audit = self.lab.audit().expect("an audit");
        assert!(audit.is_clean(), "{audit}");
        println!("{totals}\n{audit}");
        totals
    }

    /// Asserts that `run` is refused with exit 3, states the reason, and changes nothing.
    #[track_caller]
    pub(crate) fn assert_refused(&self, why: &str, run: impl FnOnce() -> Ran) -> Ran {
        self.assert_unchanged(3, why, run)
    }

    /// The same with another exit code.
    #[track_caller]
    pub(crate) fn assert_unchanged(&self, code: i32, why: &str, run: impl FnOnce() -> Ran) -> Ran {
        let keys = self.keys();
        let journals_before = journals(&self.playbook).len();
        let seen = || (0..self.lab.nodes.len()).map(|index| self.releases(index)).collect();
        let (versions, releases): (_, Vec<Vec<String>>) = (self.versions(), seen());
        let ran = run().exits(code).says(why);
        assert!(ran.stderr().contains("nothing was changed"), "{}", ran.stderr());
        assert_eq!(self.keys(), keys);
        assert_eq!(journals(&self.playbook).len(), journals_before);
        assert_eq!(self.versions(), versions);
        assert_eq!(seen(), releases, "nothing is staged");
        ran
    }

    /// Asserts that no ssh connection of this lab is left, and on its nodes no process but the service's own.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        let limit = Duration::from_secs(60);
        let clear = rollgate_lab::until("nothing to be left", limit, || {
            left = self.lab.leftovers()?;
            Ok(left.is_empty().then_some(()))
        });
        assert!(clear.is_ok(), "{clear:?}: {left:?}");
    }
}

/// Sends a signal by its name, like `-STOP`.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// A finished run of rollgate.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// Asserts the exit code; shows everything if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\n{}", self.stdout(), self.stderr());
        assert_accepted(&format!("{}\n{}", self.stdout(), self.stderr()));
        assert_lines(&self.stdout());
        self
    }

    /// Asserts that stderr contains this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "`{text}` is missing in:\n{}", self.stderr());
        self
    }

    /// Returns the command that the report suggests for a purpose.
    #[track_caller]
    pub(crate) fn next(&self, purpose: &str) -> Vec<String> {
        let text = self.stderr();
        let line = text.lines().find(|line| line.contains(purpose) && line.contains("  rollgate "));
        let line = line.unwrap_or_else(|| panic!("no next command for `{purpose}` in:\n{text}"));
        let command = &line[line.find("  rollgate ").expect("found above") + 2..];
        command.split_whitespace().skip(1).map(str::to_owned).collect()
    }
}

/// Every event of a `jsonl` run.
#[track_caller]
pub(crate) fn events(stdout: &str) -> Vec<Value> {
    assert_lines(stdout);
    stdout.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

/// The seconds from each write to the confirmation of each gateway, by gateway and direction. The nodes of a batch are
/// written one after the other.
pub(crate) fn costs(events: &[Value]) -> Vec<(String, bool, f64)> {
    let at = |event: &Value| -> jiff::Timestamp {
        event["ts"].as_str().expect("a time").parse().expect("a time")
    };
    let mut written = BTreeMap::new();
    let mut costs = Vec::new();
    for event in events {
        let node = event["node"].to_string();
        if event["type"] == "registry.written" {
            written.insert(node, at(event));
        } else if event["type"] == "gateway.proven" {
            let took = at(event).duration_since(*written.get(&node).expect("after a write"));
            let gateway = event["data"]["gateway"].as_str().expect("a name").to_owned();
            let routed = event["data"]["routed"].as_bool().expect("a direction");
            costs.push((gateway, routed, took.as_secs_f64()));
        }
    }
    costs
}

/// Prints the duration of each confirmation.
pub(crate) fn print_costs(events: &[Value]) {
    for (gateway, routed, seconds) in costs(events) {
        println!("{gateway}: {} after {seconds:.3} s", if routed { "in" } else { "out" });
    }
}

/// Asserts that each of the nodes' drains was counted, and that the counts were not zero.
#[track_caller]
pub(crate) fn assert_counted(events: &[Value], nodes: usize) {
    // A tenth of the requests takes long: some were in flight.
    let drained = events.iter().filter_map(|event| event["data"]["drained"]["from"].as_u64());
    let drained: Vec<u64> = drained.collect();
    println!("in flight when they were told to leave: {drained:?}");
    assert!(drained.len() == nodes && drained.iter().any(|count| *count > 0), "{drained:?}");
}

/// The journal of the only release in the state folder of `playbook`.
pub(crate) fn journals(playbook: &Path) -> Vec<PathBuf> {
    let state = playbook.parent().expect("a folder").join(".rollgate/app");
    let entries = std::fs::read_dir(state).map(|entries| entries.flatten().collect());
    let entries: Vec<std::fs::DirEntry> = entries.unwrap_or_default();
    let paths = entries.into_iter().map(|entry| entry.path().join("journal.jsonl"));
    paths.filter(|path| path.exists()).collect()
}
