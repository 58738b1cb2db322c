//! Runs every script under each shell that a Linux server may have as `sh`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;

/// Debian's, RHEL's and Alpine's.
pub(super) const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

/// A folder with a shell named `sh`: some shells behave differently under another name.
pub(super) struct Shell(tempfile::TempDir);

impl Shell {
    pub(super) fn new(name: &str) -> Self {
        let path = ["/bin", "/usr/bin"].map(|bin| Path::new(bin).join(name));
        let path = path.into_iter().find(|path| path.exists());
        let path = path.unwrap_or_else(|| panic!("no {name}; scripts/setup installs it"));
        let folder = tempfile::tempdir().expect("temp dir");
        symlink(path, folder.path().join("sh")).expect("symlink");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(super) fn run(&self, script: &NodeScript, input: &str) -> Output {
        let script = script.text().replace("/bin/sh", &self.text("sh"));
        let mut child = Command::new(self.path("sh"))
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the shell runs");
        let mut stdin = child.stdin.take().expect("piped");
        // Most scripts do not read their input.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("ends")
    }

    /// Runs a script that must succeed without output on standard error, and returns its output.
    fn done(&self, script: &NodeScript, input: &str) -> String {
        let output = self.run(script, input);
        assert!(output.status.success() && output.stderr.is_empty(), "{script:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn layout(&self) -> Layout {
        Layout {
            releases: self.text("rel eases"),
            current: self.text("it's current"),
            name: "app-1".into(),
            sha256: sum("hello\n"),
            packing: Packing::File("hello".into()),
            node: "10.0.0.1:80".into(),
        }
    }
}

fn sum(content: &str) -> String {
    crate::text::hex(&Sha256::digest(content))
}

#[test]
fn files_are_read_and_replaced_under_every_shell() {
    for shell in SHELLS.map(Shell::new) {
        let path = shell.text("it's a $(file)");
        std::fs::write(&path, "one\n").expect("a file");
        assert_eq!(shell.done(&NodeScript::File { path: path.clone() }, ""), "one\n");
        let (before, after) = (sum("one\n"), sum("two\n"));
        let replace = NodeScript::Replace { path: path.clone(), before, after };
        shell.done(&replace, "two\n");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "two\n");
        let again = shell.run(&replace, "two\n");
        assert!(String::from_utf8_lossy(&again.stderr).contains("has changed"), "{again:?}");
    }
}

#[test]
fn listeners_and_connections_are_seen_under_every_shell() {
    for shell in SHELLS.map(Shell::new) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let _client = TcpStream::connect(address).expect("connected");
        let port = address.port();
        let text = shell.done(&NodeScript::Listener { port }, "");
        let found = Listener::parse(&text, &address.to_string());
        assert!(found.owners.iter().any(|owner| owner.pid == std::process::id()), "{text}");
        let text = shell.done(&NodeScript::Sockets { address: address.to_string() }, "");
        assert!(text.starts_with("own-address\nlisten=LISTEN"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("0 ")), "no connection: {text}");
    }
}

#[test]
fn sockets_and_urls_are_asked_under_every_shell() {
    for shell in SHELLS.map(Shell::new) {
        let path = shell.text("it's a socket");
        let listener = UnixListener::bind(&path).expect("bind");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            stream.write_all(format!("heard {line}").as_bytes()).expect("written");
        });
        let say = r#"set server 'a' "$HOME" %s \n"#;
        let script = NodeScript::UnixSocket { path, say: say.into() };
        assert_eq!(shell.done(&script, ""), format!("heard {say}\n"));

        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 4096];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let url = format!("http://{address}/a?b='$c'");
        let script = NodeScript::Fetch { method: "PUT", url, timeout: Duration::from_secs(5) };
        let answer = shell.done(&script, "header = \"X-Token: secret\"\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
        let request = server.join().expect("served");
        assert!(
            request.starts_with("PUT /a?b='$c' ") && request.contains("X-Token: secret"),
            "{request}"
        );
    }
}

#[test]
fn releases_are_staged_activated_and_pruned_under_every_shell() {
    for shell in SHELLS.map(Shell::new) {
        let layout = shell.layout();
        let survey = || {
            let script =
                NodeScript::Survey { port: 1, layout: Some(shell.layout()), programs: Vec::new() };
            Survey::parse(&shell.done(&script, ""), "127.0.0.1:1")
        };
        assert!(survey().writable && !survey().staged);
        shell.done(&NodeScript::Upload { layout: layout.clone() }, "hello\n");
        shell.done(&NodeScript::Unpack { layout: layout.clone() }, "");
        shell.done(&NodeScript::Activate { layout: layout.clone() }, "");
        let found = survey();
        assert!(found.staged && found.tools.contains("tar"), "{found:?}");
        assert_eq!(found.linked_release(), Some(Ok("app-1".to_owned())));
        let prune = NodeScript::Prune { layout, keep: Some(2), spare: Vec::new() };
        assert_eq!(Pruned::parse(&shell.done(&prune, "")), Pruned::default());
    }
}
