//! A Consul that accepts connections and never answers: a command reports what it waits for, and a signal ends it.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Case, SMALL};

#[test]
fn signal_ends_every_command_that_waits_for_a_silent_consul() {
    let consul = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = format!("http://{}", consul.local_addr().expect("an address"));
    let playbook = SMALL
        .replace("http://127.0.0.1:1'", &format!("{address}'"))
        .replace("http://127.0.0.1:1/", &format!("{address}/"));
    let version = ["--var", "version=2"];
    let commands = [
        ("status", &[][..], "inspecting nodes"),
        ("doctor", &[][..], "inspecting nodes"),
        ("plan", &version[..], "inspecting nodes"),
        ("deploy", &["--yes", "--var", "version=2"], "taking the lock"),
        ("resume", &["--yes"], "reading the release's journal"),
        ("rollback", &["--yes"], "taking the lock"),
        ("node out", &["app-1", "--var", "version=2"], "taking the lock"),
        ("lock show", &[], "reading the lock"),
        ("lock break", &["--yes"], "reading the lock"),
    ];
    let runs: Vec<_> = commands
        .map(|(command, arguments, what)| {
            let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
            let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            let words: Vec<_> = command.split(' ').collect();
            let mut run = case.command(&[&words[..], &["app.yaml"], arguments].concat());
            let child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
            (command, what, child, case)
        })
        .into();
    for (command, what, mut child, _case) in runs {
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert!(line.starts_with("waiting: ") && line.contains(what), "{command}: {line}");
        let pid = child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(killed.success());
        let code = child.wait().expect("ends").code();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("UTF-8");
        assert_eq!(code, Some(10), "{command}: {rest}");
    }
}

/// Nothing listens at Consul's address. A restart takes seconds, and a command that has changed nothing waits no longer.
#[test]
fn command_that_changes_nothing_gives_up_soon_if_consul_refuses_connections() {
    let commands = [
        (0, &["status"][..], &[][..]),
        (3, &["lock", "show"], &[]),
        (3, &["lock", "break"], &["--yes"]),
        (3, &["resume"], &["--yes"]),
    ];
    let begun = Instant::now();
    let runs = commands.map(|(code, command, arguments)| {
        let case = Case::new(&[("app.yaml", SMALL.as_bytes())]);
        let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut run = case.command(&[command, &["app.yaml"], arguments].concat());
        let child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        (code, command, child, case)
    });
    for (code, command, mut child, _case) in runs {
        assert_eq!(child.wait().expect("ends").code(), Some(code), "{command:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// A lock that a session holds.
const HELD: &str =
    r#"[{"Key":"rollgate/app/lock","Value":"e30=","ModifyIndex":7,"Session":"5e551012"}]"#;

/// Answers every request but the one with `silent`.
fn answer(mut stream: TcpStream, silent: &str, told: &mpsc::Sender<String>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
    let request = lines.next().and_then(Result::ok).unwrap_or_default();
    let is_silent = request.contains(silent);
    let is_read = request.starts_with("GET /v1/kv/rollgate/app/lock");
    told.send(request).expect("the test listens");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let body = if is_read { HELD } else { "{\"ID\":\"5e551011\"}" };
    if !is_silent {
        let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        return;
    }
    // Until the client closes the connection.
    lines.for_each(drop);
}

/// Starts a Consul that answers every request but the one with `silent`, and a command against it.
fn against(silent: &'static str, arguments: &[&str]) -> (Case, Child, mpsc::Receiver<String>) {
    let consul = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = format!("http://{}'", consul.local_addr().expect("an address"));
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in consul.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream, silent, &told));
        }
    });
    let playbook = SMALL.replace("http://127.0.0.1:1'", &address);
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
    let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut run = case.command(arguments);
    let child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    (case, child, heard)
}

fn until(heard: &mpsc::Receiver<String>, word: &str) {
    let patience = Duration::from_secs(60);
    while !heard.recv_timeout(patience).expect(word).contains(word) {}
}

fn end(child: &Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

fn said(child: Child) -> String {
    let ended = child.wait_with_output().expect("ends");
    String::from_utf8(ended.stderr).expect("UTF-8")
}

/// Consul may have executed the unanswered request: without this the lock would stay closed until the session expires.
#[test]
fn signal_during_lock_acquisition_ends_the_session() {
    let deploy = ["deploy", "app.yaml", "--yes", "--var", "version=2"];
    let (_case, mut child, heard) = against("acquire=", &deploy);
    until(&heard, "acquire=5e551011");
    end(&child);
    until(&heard, "/v1/kv/rollgate/app/lock?release=5e551011");
    until(&heard, "/v1/session/destroy/5e551011");
    assert_eq!(child.wait().expect("ends").code(), Some(10));
}

#[test]
fn signal_while_a_lock_is_broken_leaves_it_unknown_whether_it_was() {
    let (_case, child, heard) = against("release=", &["lock", "break", "app.yaml", "--yes"]);
    until(&heard, "release=5e551012");
    end(&child);
    let said = said(child);
    let told = "stopped on request; whether the lock was broken is unknown";
    assert!(said.contains(told) && said.contains("rollgate lock show app.yaml"), "{said}");
    assert!(!said.contains("nothing was changed"), "{said}");
}

#[test]
fn lock_write_of_unknown_effect_is_not_reported_as_no_change() {
    let deploy = ["deploy", "app.yaml", "--yes", "--var", "version=2"];
    let (_case, child, heard) = against("/v1/session/create", &deploy);
    until(&heard, "/v1/session/create");
    let said = said(child);
    assert!(said.contains("its effect is unknown"), "{said}");
    assert!(
        said.contains("no node was touched") && !said.contains("nothing was changed"),
        "{said}"
    );
}
