//! Running the binary in a folder of its own.

use std::path::Path;
use std::process::{Command, Output};

/// The repository.
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

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("rollgate runs")
    }

    /// Asserts the exit code and returns stdout and stderr.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
        (stdout, stderr)
    }
}

/// The smallest useful playbook, with a variable.
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
    /// Makes a file seem large without writing it.
    pub(crate) fn stretch(&self, name: &str, size: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(self.folder.path().join(name));
        file.expect("the file is there").set_len(size).expect("it can be stretched");
    }
}
