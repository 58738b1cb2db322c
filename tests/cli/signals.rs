//! A Consul that takes connections and never answers: a command says what it waits for, and a signal ends it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Case, SMALL};

#[test]
fn a_silent_consul_swallows_no_signal_of_any_command() {
    let consul = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = format!("http://{}", consul.local_addr().expect("an address"));
    let playbook = SMALL
        .replace("http://127.0.0.1:1'", &format!("{address}'"))
        .replace("http://127.0.0.1:1/", &format!("{address}/"));
    let version = ["--var", "version=2"];
    let commands = [
        ("status", &[][..], "looking at nodes"),
        ("doctor", &[][..], "looking at nodes"),
        ("plan", &version[..], "looking at nodes"),
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
