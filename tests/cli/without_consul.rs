//! Commands without Consul: the lock and the journal are files of the state folder.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Case;

/// A gateway whose list of servers is a folder; it reports its request count once the file `go` exists.
const PLAYBOOK: &str = r#"service: app
variables: { padding: { default: PADDING } }
registry: { type: gateway }
gateways:
  - type: command
    name: lb
    list: ls gw
    pattern: '(?m)^(?<address>\d+\.\d+\.\d+\.\d+:\d+)$'
    out: rm -f gw/"$1"
    in: touch gw/"$1"
    in_flight: 'touch counted; until [ -e go ]; do sleep 0.05; done; echo 0'
nodes:
  - { ssh: local, name: app-1, address: '127.0.0.1:9000' }
  - { ssh: local, name: app-2, address: '127.0.0.2:9000' }
  - { ssh: local, name: app-3, address: '127.0.0.3:9000' }
stop: 'true'
start: 'true'
health: { run: 'true' }
"#;

fn case() -> Case {
    let playbook = PLAYBOOK.replace("PADDING", &"x".repeat(3000));
    let case = Case::new(&[("app.yaml", playbook.as_bytes()), ("go", b"")]);
    let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    fs::create_dir(case.folder().join("gw")).expect("a folder");
    for node in 1..=3 {
        fs::write(case.folder().join(format!("gw/127.0.0.{node}:9000")), "").expect("a file");
    }
    case
}

fn state(case: &Case) -> PathBuf {
    case.folder().join(".rollgate/app")
}

fn journals(case: &Case) -> Vec<PathBuf> {
    let folders = fs::read_dir(state(case)).expect("a state folder").flatten();
    folders.map(|folder| folder.path().join("journal.jsonl")).filter(|path| path.exists()).collect()
}

/// Waits for an effect of another process.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts taking a node out of rotation, up to the point where the request count is held back.
fn held_up(case: &Case) -> Child {
    fs::remove_file(case.folder().join("go")).expect("it was there");
    let mut command = case.command(&["node", "out", "app.yaml", "app-1"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    until("requests are counted", || case.folder().join("counted").exists());
    child
}

/// A holder of the lock file runs: its age is no sign that it is dead, and its lock cannot be broken.
#[test]
fn lock_held_on_this_machine_names_the_process_that_runs() {
    let case = case();
    let mut first = held_up(&case);
    let runs = format!("process {} on this machine, which runs, acquired ", first.id());
    let out = ["node", "out", "app.yaml", "app-2"];
    let (_, stderr) = case.exits(4, &out);
    assert_eq!(stderr.matches(&runs).count(), 1, "{stderr}");
    assert!(!stderr.contains("waiting:") && !stderr.contains("last seen"), "{stderr}");
    assert!(!stderr.contains("lock break"), "{stderr}");
    assert!(stderr.contains(&format!("`kill {}` stops it safely", first.id())), "{stderr}");
    let (held, _) = case.exits(0, &["lock", "show", "app.yaml"]);
    assert!(held.contains(&runs), "{held}");
    let (status, _) = case.exits(0, &["status", "app.yaml"]);
    assert!(status.contains(&runs), "{status}");
    // The wait is told with the holder and the user's limit, once.
    let (_, stderr) = case.exits(4, &[&out[..], &["--lock-wait", "2s"]].concat());
    assert_eq!(stderr.matches(&runs).count(), 1, "{stderr}");
    let waiting: Vec<_> = stderr.lines().filter(|line| line.starts_with("waiting: ")).collect();
    assert!(matches!(waiting[..], [line] if line.ends_with(" (at most 2s)")), "{stderr}");
    let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.starts_with("error: the lock is still held after 2s by release "), "{stderr}");
    fs::write(case.folder().join("go"), "").expect("a file");
    first.wait().expect("ends");
}

#[test]
fn second_signal_tells_a_command_that_can_be_typed() {
    let case = case();
    fs::remove_file(case.folder().join("go")).expect("it was there");
    let out = ["node", "out", "app.yaml", "app-1", "--state-dir", "other state"];
    let mut command = case.command(&out);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("runs");
    until("requests are counted", || case.folder().join("counted").exists());
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut told = |words: &str| {
        let found =
            lines.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.contains(words)));
        found.expect(words).expect("UTF-8")
    };
    let interrupt = || {
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
    };
    interrupt();
    told("stopping");
    interrupt();
    let line = told("SIGINT again");
    let status = "`rollgate status app.yaml --state-dir 'other state'`";
    assert!(line.contains(status), "{line}");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let (status, _) = case.exits(0, &["status", "app.yaml", "--state-dir", "other state"]);
    assert!(status.contains("ago (rollgate ended in the middle)"), "{status}");
}

#[test]
fn state_folder_is_accessible_to_its_owner_only() {
    let case = case();
    case.exits(0, &["node", "out", "app.yaml", "app-1"]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let journals = journals(&case);
    assert_eq!((mode(&state(&case)), mode(&state(&case).join("lock"))), (0o700, 0o600));
    assert_eq!(journals.iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o600]);
}

/// The command of a load balancer can fail for seconds.
#[test]
fn failing_command_is_retried_until_its_step_deadline() {
    let fails = r#"printf x >>tries; [ "$(wc -c <tries)" -gt 6 ] || { echo refused >&2; exit 1; }"#;
    let out = r#"rm -f gw/"$1""#;
    let playbook = PLAYBOOK.replace(out, &format!("'{fails}; {out}'"));
    let case = case();
    fs::write(case.folder().join("app.yaml"), playbook).expect("written");
    let (_, stderr) = case.exits(0, &["node", "out", "app.yaml", "app-1"]);
    assert!(!case.folder().join("gw/127.0.0.1:9000").exists(), "{stderr}");
    assert_eq!(fs::read(case.folder().join("tries")).expect("tried").len(), 7);
}

#[test]
fn reading_the_lock_does_not_block_a_release() {
    let case = case();
    case.exits(0, &["node", "out", "app.yaml", "app-1"]);
    let lock = File::open(state(&case).join("lock")).expect("a lock file");
    lock.try_lock_shared().expect("nothing runs");
    let (free, _) = case.exits(0, &["lock", "show", "app.yaml"]);
    assert_eq!(free, "free\n");
    let mut command = case.command(&["node", "out", "app.yaml", "app-2"]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("runs");
    std::thread::sleep(Duration::from_millis(300));
    drop(lock);
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

#[test]
fn removed_state_folder_does_not_admit_a_second_release() {
    let case = case();
    let mut first = held_up(&case);
    fs::remove_dir_all(state(&case)).expect("removed");
    let (_, stderr) = case.exits(4, &["node", "out", "app.yaml", "app-2"]);
    assert!(stderr.contains("the lock is held by an unknown process"), "{stderr}");
    let (held, _) = case.exits(0, &["lock", "show", "app.yaml"]);
    assert_eq!(held, "held by an unknown process\n");
    let (status, _) = case.exits(0, &["status", "app.yaml"]);
    assert!(status.contains("Lock held by an unknown process"), "{status}");
    fs::write(case.folder().join("go"), "").expect("a file");
    first.wait().expect("ends");
    assert!(case.folder().join("gw/127.0.0.2:9000").exists(), "the second did nothing");
    let (free, _) = case.exits(0, &["lock", "show", "app.yaml"]);
    assert_eq!(free, "free\n");
}

#[test]
fn file_size_limit_stops_a_release_without_killing_it() {
    let undisturbed = case();
    undisturbed.exits(0, &["node", "out", "app.yaml", "app-1"]);
    let journal = fs::read(&journals(&undisturbed)[0]).expect("a journal");
    let first = journal.iter().position(|byte| *byte == b'\n').expect("a line");
    let limit = |blocks: usize| {
        let case = case();
        let plain = case.command(&[]);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" node out app.yaml app-1")])
            .arg(plain.get_program())
            .current_dir(case.folder());
        let output = command.output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr, case)
    };
    // Not even the first event can be written.
    let (code, stderr, case) = limit(1);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("cannot write the journal"), "{stderr}");
    assert!(case.folder().join("gw/127.0.0.1:9000").exists(), "nothing was done");
    // The first event can be written, and the next one cannot: blocks are of 512 bytes.
    let (code, stderr, case) = limit(first / 512 + 1);
    assert_eq!(code, Some(20), "{stderr}");
    assert!(stderr.contains("cannot write the journal"), "{stderr}");
    assert!(case.folder().join("gw/127.0.0.1:9000").exists(), "it is in rotation");
}

#[test]
fn file_in_place_of_the_state_folder_is_refused() {
    let case = case();
    std::fs::write(case.folder().join("file"), "").expect("written");
    for command in ["status", "plan", "doctor"] {
        let (_, stderr) = case.exits(2, &[command, "app.yaml", "--state-dir", "file"]);
        assert!(stderr.contains("the state folder file is not a folder"), "{command}: {stderr}");
    }
}

#[test]
fn overlong_lock_wait_is_a_usage_error() {
    let case = case();
    for wait in ["18446744073709551615s", "31d", "-1s", "600"] {
        let wait = format!("--lock-wait={wait}");
        let (_, stderr) = case.exits(2, &["node", "out", "app.yaml", "app-1", &wait]);
        assert!(stderr.contains("--lock-wait"), "{stderr}");
        let is_unit = wait.ends_with("600") && stderr.contains("`600` has no unit; write `600s`");
        let is_time = wait.ends_with("-1s") && stderr.contains("is not a duration like `30s`");
        assert!(is_unit || is_time || stderr.contains("longer than"), "{stderr}");
    }
    case.exits(0, &["node", "out", "app.yaml", "app-1", "--lock-wait=30d"]);
}

/// Without Consul, the holds are a file of the state folder.
#[test]
fn held_node_is_left_out() {
    let case = case();
    case.exits(0, &["node", "out", "app.yaml", "app-1", "--reason", "disk is replaced"]);
    let holds = state(&case).join("holds.json");
    assert_eq!(fs::metadata(&holds).expect("there").permissions().mode() & 0o777, 0o600);
    let (status, _) = case.exits(0, &["status", "app.yaml"]);
    let held = status.lines().find(|line| line.starts_with("Held  app-1 by ")).unwrap_or("");
    assert!(held.ends_with(": disk is replaced") && !status.contains("Next"), "{status}");
    let (plan, _) = case.exits(0, &["plan", "app.yaml"]);
    assert!(plan.contains("left out  held by "), "{plan}");
    let deploy = ["deploy", "app.yaml", "--yes", "--only", "app-1"];
    let (_, stderr) = case.exits(0, &deploy);
    assert!(stderr.contains("app-1 is held out of rotation by "), "{stderr}");
    assert!(stderr.contains("Nothing to do: 3 nodes left out."), "{stderr}");
    assert!(!case.folder().join("gw/127.0.0.1:9000").exists(), "it stays out");
    let long = "x".repeat(10_000);
    let (_, stderr) = case.exits(2, &["node", "out", "app.yaml", "app-1", "--reason", &long]);
    assert_eq!(
        stderr.lines().next(),
        Some("error: --reason has 10000 characters: it can have 200")
    );
    // Another reason replaces the hold; without one it stays.
    case.exits(0, &["node", "out", "app.yaml", "app-1", "--reason", "fan is replaced"]);
    case.exits(0, &["node", "out", "app.yaml", "app-1"]);
    let (status, _) = case.exits(0, &["status", "app.yaml", "--output", "jsonl"]);
    assert!(status.contains(r#""reason":"fan is replaced""#), "{status}");
    fs::write(&holds, "[]").expect("written");
    let (_, stderr) = case.exits(3, &deploy);
    assert!(stderr.contains("holds.json cannot be read ("), "{stderr}");
    case.exits(2, &["node", "out", "app.yaml", "app-1", "--reason", &"x".repeat(201)]);
}

/// Before the first release, no version is known: `node in` does not need one.
#[test]
fn node_leaves_and_returns_without_the_variables_of_a_release() {
    let case = case();
    let playbook = PLAYBOOK.replace(
        "variables: { padding: { default: PADDING } }",
        "variables: { version: { required: true, pattern: '[0-9]+' } }",
    );
    let service = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = service.local_addr().expect("bound").to_string();
    let playbook = playbook.replace("127.0.0.1:9000", &address);
    let starts = playbook.replace("start: 'true'", "start: 'begin ${{ version }}'");
    fs::write(case.folder().join("app.yaml"), &starts).expect("written");
    fs::remove_file(case.folder().join("gw/127.0.0.1:9000")).expect("it was there");
    let (status, _) = case.exits(0, &["status", "app.yaml"]);
    let next = status.lines().find(|line| line.contains("rollgate node in"));
    let next = next.unwrap_or_else(|| panic!("{status}"));
    let typed = next.split("rollgate ").nth(1).expect("a command");
    case.exits(0, &typed.split_whitespace().collect::<Vec<_>>());
    assert!(case.folder().join("gw").join(&address).exists());
    case.exits(0, &["node", "out", "app.yaml", "app-2"]);
    let (status, _) = case.exits(0, &["status", "app.yaml"]);
    assert!(!status.contains("version=?"), "{status}");
    // A given value is checked, and so is one that the change needs.
    case.exits(2, &["node", "in", "app.yaml", "app-2", "--var", "version=x"]);
    let checks = starts.replace("run: 'true'", "run: 'check ${{ version }}'");
    fs::write(case.folder().join("app.yaml"), checks).expect("written");
    let (_, stderr) = case.exits(2, &["node", "in", "app.yaml", "app-2"]);
    assert!(stderr.contains("variable `version` is required and has no value"), "{stderr}");
}

/// A service that stays in the foreground looks like a command that hangs.
#[test]
fn start_command_that_does_not_end_is_explained() {
    let case = case();
    let start = "start: { run: 'sleep 60', timeout: 1s }";
    let playbook = PLAYBOOK.replace("start: 'true'", start);
    fs::write(case.folder().join("app.yaml"), playbook).expect("written");
    let (_, stderr) = case.exits(20, &["deploy", "app.yaml", "--yes", "--only", "app-1"]);
    for told in [
        "start: not finished within 1s; the command was ended. The command must end while the service runs on",
        "log         (no log: the playbook can have a command that prints it, `hooks.on_failure`)",
    ] {
        assert!(stderr.contains(told), "{stderr}");
    }
}
