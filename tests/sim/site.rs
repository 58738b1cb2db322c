//! What an operator works with: the playbook, the client, the artifact, and what was released before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use rollgate::consul::{Client, Settings};
use rollgate::foreign::Recorded;
use rollgate::journal;
use rollgate::json::Written;
use rollgate::node::Packing;
use rollgate::ops::session::OPEN;
use rollgate::ops::{Connections, Secrets, Session};
use rollgate::plan::Selection;
use rollgate::playbook::{Loaded, load_text};
use rollgate::release::{
    CommandKind, Digest, Event, EventKind, Finished, Inputs, Outcome, Started,
};
use rollgate::spec::ArtifactSpec;

use crate::ends::COPIES;
use crate::schedule::Schedule;
use crate::sim::Sim;
use crate::story::scratch;

/// The start of the old artifact's checksum, by which its release's folder is told.
const OLD_CHECKSUM: &str = "00000001";

/// The id of its release.
const OLD_RELEASE: &str = "r0";

/// When that was begun.
const BEGUN: &str = "2025-06-14T12:00:00Z";

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
        let settings = ArtifactSpec {
            packing: Packing::of(&file, true),
            file,
            expected: None,
            digest: None,
            keep: 2,
        };
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

/// The playbook of a text. All commands of a schedule have the same.
fn loaded(text: String) -> Loaded {
    thread_local! {
        static LAST: RefCell<Option<Loaded>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|last| last.source.text != text) {
            let loaded = load_text("app.yaml", text);
            *last = Some(loaded.unwrap_or_else(|invalid| panic!("{invalid}")));
        }
        last.clone().expect("it was just loaded")
    })
}

/// What an operator's command works on.
pub(crate) fn session(schedule: &Schedule, release: &str, state: PathBuf) -> Session {
    Session {
        loaded: loaded(schedule.shape.playbook()),
        // Each machine has the playbook elsewhere.
        file: PathBuf::from(state.file_name().expect("a machine")).join("app.yaml"),
        inputs: inputs(schedule, release),
        state,
        state_dir: None,
        before: Vec::new(),
        toward: Vec::new(),
        restart: schedule.shape.restarts,
        secrets: Secrets::default(),
    }
}

/// The session of a command that is given no variables: it takes those of the last release.
pub(crate) fn without_arguments(session: &Session) -> Session {
    let last = journal::latest(&session.state).and_then(|path| journal::read(&path).ok());
    let last = last.and_then(|(_, release)| release.started);
    let version = last.and_then(|started| {
        let none = BTreeMap::new();
        let values = started.inputs.each(&session.loaded.playbook, &none);
        values.into_iter().find_map(|(_, value)| value.ok())
    });
    let mut session = session.clone();
    let version = version.unwrap_or_else(|| OPEN.to_owned());
    session.inputs.variables = [("version".to_owned(), version)].into();
    session.inputs.artifact = None;
    session.restart = false;
    session
}

fn inputs(schedule: &Schedule, release: &str) -> Inputs {
    let (artifact_folder, digest) = artifact();
    let named = !schedule.shape.restarts;
    let version = named.then(|| ("version".to_owned(), "2".to_owned()));
    Inputs {
        release: release.into(),
        folder: PathBuf::from(artifact_folder.path()),
        variables: version.into_iter().collect(),
        artifact: (schedule.shape.artifact && named).then(|| digest.clone()),
    }
}

/// What an operator's command reaches.
pub(crate) fn connections(
    sim: &Arc<Sim>,
    schedule: &Schedule,
    session: &Session,
) -> Connections<Sim> {
    let servers = 1..=schedule.shape.servers;
    let settings = Settings {
        addresses: servers.map(|server| format!("http://consul-{server}:8500")).collect(),
        ..Settings::from_environment(|_| None).expect("settings")
    };
    let consul = Arc::new(Client::new(sim.clone(), settings));
    Connections::new(sim.clone(), consul, &session.loaded.playbook)
}

/// Which nodes an operator means.
pub(crate) fn selection(schedule: &Schedule) -> Selection {
    let skip = schedule.shape.left_out.iter().map(|node| format!("node-{}", node + 1));
    let restart = schedule.shape.restarts;
    Selection { skip: skip.collect(), restart, ..Selection::default() }
}

/// The journal, in Consul, of the release that brought what runs when a schedule begins: its key and its value.
pub(crate) fn past(schedule: &Schedule) -> (String, String) {
    let digest = Digest { sha256: format!("{OLD_CHECKSUM:0<64}"), size: 1, unpacked: 1 };
    let inputs = inputs(schedule, OLD_RELEASE);
    let started = Started {
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
            variables: [("version".to_owned(), "1".to_owned())].into(),
            artifact: schedule.shape.artifact.then_some(digest),
            ..inputs
        }),
        nodes: Vec::new().into(),
        pool: None,
        plan: None,
        before: Recorded::default(),
        toward: Recorded::default(),
    };
    let finished = Finished::unstarted(Outcome::Done, 0, None);
    let facts =
        [EventKind::ReleaseStarted(Box::new(started)), EventKind::ReleaseFinished(finished)];
    let lines = (1..).zip(facts).map(|(seq, fact)| {
        let at = BEGUN.parse().expect("a time");
        let (release, node, step) = (OLD_RELEASE.into(), None, None);
        Event { seq, at, release, node, step, fact }.to_line() + "\n"
    });
    let begun: String = BEGUN.chars().filter(char::is_ascii_alphanumeric).collect();
    (format!("{COPIES}{begun}-{OLD_RELEASE}/p000001"), lines.collect())
}

/// Whether a key belongs to that journal.
pub(crate) fn is_past(key: &str) -> bool {
    key.contains(&format!("-{OLD_RELEASE}/"))
}
