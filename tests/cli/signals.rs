//! A Consul that accepts connections and never answers: a command reports what it waits for, and a signal ends it.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

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

/// Answers every request but the one that acquires the lock.
fn answer(mut stream: TcpStream, told: &mpsc::Sender<String>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
    let request = lines.next().and_then(Result::ok).unwrap_or_default();
    let is_taking = request.contains("acquire=");
    told.send(request).expect("the test listens");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let body = "{\"ID\":\"5e551011\"}";
    if !is_taking {
        let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        return;
    }
    // Until the client closes the connection.
    lines.for_each(drop);
}

/// Consul may have executed the unanswered request: without this the lock would stay closed until the session expires.
#[test]
fn signal_during_lock_acquisition_ends_the_session() {
    let consul = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = format!("http://{}'", consul.local_addr().expect("an address"));
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in consul.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream, &told));
        }
    });
    let playbook = SMALL.replace("http://127.0.0.1:1'", &address);
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
    let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut run = case.command(&["deploy", "app.yaml", "--yes", "--var", "version=2"]);
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    let until = |word: &str| {
        let patience = Duration::from_secs(60);
        while !heard.recv_timeout(patience).expect(word).contains(word) {}
    };
    until("acquire=5e551011");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    until("/v1/kv/rollgate/app/lock?release=5e551011");
    until("/v1/session/destroy/5e551011");
    assert_eq!(child.wait().expect("ends").code(), Some(10));
}
