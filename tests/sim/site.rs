//! What an operator works with: the playbook, the client, and the state folder of a machine.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rollgate::consul::{Client, Settings};
use rollgate::foreign::Recorded;
use rollgate::json::Written;
use rollgate::lock::Holder;
use rollgate::plan::Selection;
use rollgate::playbook::{Playbook, load_text};
use rollgate::release::{CommandKind, Started};
use rollgate::release::{Digest, Inputs};
use rollgate::spec::ArtifactSpec;
use rollgate::world::World;

use crate::schedule::Schedule;
use crate::sim::Sim;
use crate::story::scratch;

/// The start of the old artifact's checksum, by which its release's folder is told.
const OLD_CHECKSUM: &str = "00000001";

/// The artifact: a file of this machine that is made once.
fn artifact() -> &'static (tempfile::TempDir, Digest) {
    static ARTIFACT: OnceLock<(tempfile::TempDir, Digest)> = OnceLock::new();
    ARTIFACT.get_or_init(|| {
        let folder = scratch();
        let file = folder.path().join("app-2.tar.gz");
        let archive = std::fs::File::create(&file).expect("an artifact");
        let mut archive = tar::Builder::new(GzEncoder::new(archive, Compression::default()));
        let mut header = tar::Header::new_gnu();
        header.set_size(9);
        header.set_mode(0o644);
        archive.append_data(&mut header, "app", &b"version 2"[..]).expect("in it");
        archive.into_inner().and_then(GzEncoder::finish).expect("its end");
        let settings = ArtifactSpec { file, expected: None, digest: None, keep: 2 };
        let digest = rollgate::artifact::read(&settings).expect("a digest");
        (folder, digest)
    })
}

/// The folder of the new release on a node.
pub(crate) fn new_release() -> String {
    format!("app-2-{}", &artifact().1.sha256[..8])
}

/// The folder of the release that was there before.
pub(crate) fn old_release() -> String {
    format!("app-1-{OLD_CHECKSUM}")
}

/// A playbook with everything that it needs.
pub(crate) struct Site {
    pub(crate) playbook: Playbook,
    pub(crate) selection: Selection,
    pub(crate) inputs: Inputs,
    pub(crate) consul: Arc<Client<Sim>>,
}

impl Site {
    pub(crate) fn new(sim: &Arc<Sim>, schedule: &Schedule, release: &str) -> Self {
        let text = schedule.shape.playbook();
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let (artifact_folder, digest) = artifact();
        let inputs = Inputs {
            release: release.into(),
            folder: PathBuf::from(artifact_folder.path()),
            variables: [("version".to_owned(), "2".to_owned())].into(),
            artifact: schedule.shape.artifact.then(|| digest.clone()),
        };
        let servers = 1..=schedule.shape.servers;
        let settings = Settings {
            addresses: servers.map(|server| format!("http://consul-{server}:8500")).collect(),
            ..Settings::from_environment(|_| None).expect("settings")
        };
        let consul = Arc::new(Client::new(sim.clone(), settings));
        let skip = schedule.shape.left_out.iter().map(|node| format!("node-{}", node + 1));
        let selection = Selection { skip: skip.collect(), ..Selection::default() };
        Self { playbook: loaded.playbook, selection, inputs, consul }
    }

    /// The release that brought what runs when a schedule begins, as its journal would tell.
    pub(crate) fn past(&self) -> Started {
        let digest = Digest { sha256: format!("{OLD_CHECKSUM:0<64}"), size: 1, unpacked: 1 };
        Started {
            service: "app".into(),
            command: CommandKind::Deploy,
            from: None,
            to: Some("1".into()),
            actor: "simulator".into(),
            file: "app.yaml".into(),
            selection: Vec::new(),
            arguments: Vec::new(),
            playbook: Written::default(),
            inputs: Recorded::new(Inputs {
                release: "r0".into(),
                variables: [("version".to_owned(), "1".to_owned())].into(),
                artifact: self.inputs.artifact.as_ref().map(|_| digest),
                ..self.inputs.clone()
            }),
            nodes: Vec::new(),
            pool: None,
            before: Recorded::default(),
            toward: Recorded::default(),
        }
    }

    /// For what is only asked in passing.
    pub(crate) fn hurried(&self) -> Client<Sim> {
        self.consul.with_patience(Duration::from_secs(2))
    }
}

/// Who an operator is, for whoever waits for the lock.
pub(crate) fn holder(sim: &Sim, command: &str, release: &str) -> Holder {
    let now = sim.now();
    Holder {
        release: release.into(),
        command: command.into(),
        by: format!("operator {}", sim.operator),
        host: "here".into(),
        pid: 1,
        since: now,
        seen: now,
        doing: String::new(),
        file: None,
        released: false,
    }
}
