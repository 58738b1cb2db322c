//! Runs the binary in a folder of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use crate::line_schema::assert_lines;
use crate::suggested::assert_accepted;

/// Returns the repository's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A run of rollgate in a folder with the given files.
pub(crate) struct Case {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Case {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        Self { folder, environment: Vec::new() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollgate"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it. The lines for programs must be as published.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("rollgate runs");
        if arguments.contains(&"jsonl") {
            assert_lines(&String::from_utf8_lossy(&output.stdout));
        }
        output
    }

    /// Asserts the exit code and returns stdout and stderr.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
        assert_accepted(&format!("{stdout}\n{stderr}"));
        (stdout, stderr)
    }
}

/// The smallest valid playbook, with a variable.
pub(crate) const SMALL: &str = "service: app
variables:
  version: { required: true, pattern: '^\\d+$' }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways:
  - { type: nginx-upsync, status_url: 'http://127.0.0.1:1/upstream_list?app', upstream: app }
nodes:
  - { ssh: local, name: app-1, address: '127.0.0.1:9000' }
  - { ssh: local, name: app-2, address: '127.0.0.2:9000' }
stop: 'true'
start: 'true'
health:
  http: 'http://${{ node.address }}/ping'
  identity: { header: x-version, equals: '${{ version }}' }
consul: { addresses: ['http://127.0.0.1:1'] }
";

impl Case {
    /// Makes a file appear large without writing it.
    pub(crate) fn stretch(&self, name: &str, size: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(self.folder.path().join(name));
        file.expect("the file is there").set_len(size).expect("it can be stretched");
    }
}

/// The body of an answer.
pub(crate) type Body = Arc<Vec<u8>>;

/// Starts a server on a port of its own and returns its address. It answers by its own address, a path and a query,
/// with a status and a body.
pub(crate) fn serve(
    answer: impl Fn(&str, &str, &str) -> (u16, Body) + Send + Sync + 'static,
) -> String {
    serve_at("127.0.0.1:0", String::new, answer)
}

/// The same at an address, with more headers. Each is a whole line.
pub(crate) fn serve_at(
    address: &str,
    headers: impl Fn() -> String + Send + Sync + 'static,
    answer: impl Fn(&str, &str, &str) -> (u16, Body) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind(address).expect("bind");
    let address = listener.local_addr().expect("an address").to_string();
    let (own, answer) = (address.clone(), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (own, answer, headers) = (own.clone(), answer.clone(), headers());
            std::thread::spawn(move || {
                reply(stream, &headers, |path, query| answer(&own, path, query));
            });
        }
    });
    address
}

fn reply(mut stream: TcpStream, headers: &str, answer: impl Fn(&str, &str) -> (u16, Body)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = answer(path, query);
    let length = body.len();
    // rollgate knows Consul's 404 by this header.
    let consul = if path.starts_with("/v1/kv/") { "X-Consul-Index: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} x\r\n{consul}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// Every source below a folder, in order, but for files of tests.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
            continue;
        }
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let is_test =
            path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if is_source && !is_test {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Whether an item is compiled for tests only.
pub(crate) fn is_for_tests(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}
