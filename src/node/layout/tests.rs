//! Runs the scripts with real shells on real folders.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use super::*;
use crate::node::{NodeScript, Survey};

/// `echo hello`.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// A folder with releases, a link and an artifact.
struct Place {
    root: tempfile::TempDir,
    /// The shell of its scripts.
    shell: String,
    /// The folder of its tools, if not the usual one.
    path: Option<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("temp dir");
        std::fs::write(root.path().join("hello"), "hello\n").expect("write");
        Self { root, shell: "/bin/sh".into(), path: None }
    }

    /// With only the tools of busybox, as on Alpine.
    fn with_busybox() -> Self {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox.into_iter().find(|path| path.exists());
        let busybox = busybox.expect("no busybox; scripts/setup installs it");
        let place = Self::new();
        let bin = place.root.path().join("bin");
        std::fs::create_dir(&bin).expect("mkdir");
        let list = Command::new(busybox).arg("--list").output().expect("busybox runs");
        for applet in String::from_utf8_lossy(&list.stdout).lines() {
            std::os::unix::fs::symlink(busybox, bin.join(applet)).expect("symlink");
        }
        Self { shell: bin.join("sh").display().to_string(), path: Some(bin), ..place }
    }

    fn layout(&self, name: &str) -> Layout {
        let path = |name: &str| self.root.path().join(name).display().to_string();
        Layout {
            releases: path("rel eases"),
            current: path("it's current"),
            name: name.into(),
            sha256: HELLO.into(),
            packing: Packing::File("hello".into()),
            node: "10.0.0.1:80".into(),
        }
    }

    fn releases(&self) -> PathBuf {
        self.root.path().join("rel eases")
    }

    fn run(&self, script: &NodeScript, stdin: Option<&Path>) -> Output {
        let stdin = stdin
            .map_or_else(Stdio::null, |path| std::fs::File::open(path).expect("file opens").into());
        let mut command = Command::new(&self.shell);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let script = script.text().replace("/bin/sh", &self.shell);
        command.args(["-c", &script]).stdin(stdin).output().expect("sh runs")
    }

    /// Runs a script that must succeed and returns its output.
    fn done(&self, script: &NodeScript, stdin: Option<&Path>) -> String {
        let output = self.run(script, stdin);
        assert!(output.status.success() && output.stderr.is_empty(), "{script:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a script that must fail and returns its error.
    fn fails(&self, script: &NodeScript) -> String {
        let output = self.run(script, Some(&self.root.path().join("hello")));
        assert!(!output.status.success(), "{script:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn stage(&self, name: &str) -> Layout {
        let layout = self.layout(name);
        let file = self.root.path().join("hello");
        self.done(&NodeScript::Upload { layout: layout.clone() }, Some(&file));
        self.done(&NodeScript::Unpack { layout: layout.clone() }, None);
        layout
    }

    /// Stages and activates a release, and notes whether it is healthy.
    fn release(&self, name: &str, healthy: bool) -> Pruned {
        let layout = self.stage(name);
        self.done(&NodeScript::Activate { layout: layout.clone() }, None);
        if healthy { self.prune(&layout, Some(2), &[]) } else { Pruned::default() }
    }

    fn prune(&self, layout: &Layout, keep: Option<u32>, spare: &[&str]) -> Pruned {
        let (layout, spare) = (layout.clone(), spare.iter().map(ToString::to_string).collect());
        Pruned::parse(&self.done(&NodeScript::Prune { layout, keep, spare }, None))
    }

    fn survey(&self, name: &str) -> Survey {
        let script =
            NodeScript::Survey { port: 1, layout: Some(self.layout(name)), programs: Vec::new() };
        Survey::parse(&self.done(&script, None), "127.0.0.1:1")
    }

    /// The names in the folder, without rollgate's own.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.releases())
            .expect("read dir")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    /// Makes a release look older than it is in the ledger.
    fn age(&self, name: &str, hours: u64) {
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        for mark in [name.to_owned(), format!("healthy/{name}")] {
            if let Ok(file) = std::fs::File::options()
                .write(true)
                .open(self.releases().join(".rollgate").join(mark))
            {
                file.set_modified(then).expect("a time");
            }
        }
    }
}

#[test]
fn artifact_is_staged_activated_and_pruned() {
    for place in [Place::new(), Place::with_busybox()] {
        for number in 1..=4 {
            let name = format!("app-{number}-0000000{number}");
            let layout = place.layout(&name);
            let file = place.root.path().join("hello");
            place.done(&NodeScript::Upload { layout: layout.clone() }, Some(&file));
            assert!(!place.survey(&name).staged, "an upload is not a release yet");
            place.done(&NodeScript::Unpack { layout: layout.clone() }, None);
            place.done(&NodeScript::Unpack { layout: layout.clone() }, None);
            assert!(place.survey(&name).staged, "a step may run twice");
            place.done(&NodeScript::Activate { layout: layout.clone() }, None);
            place.prune(&layout, Some(2), &[]);
            place.age(&name, 10 - number);
        }
        // A folder that rollgate has not created.
        std::fs::create_dir(place.releases().join("backup-20240101")).expect("mkdir");
        let current = std::fs::read_to_string(place.root.path().join("it's current/hello"));
        assert_eq!(current.expect("read"), "hello\n");
        let last = place.layout("app-4-00000004");
        place.prune(&last, Some(2), &[]);
        assert_eq!(place.names(), ["app-3-00000003", "app-4-00000004", "backup-20240101"]);
        let staging = place.releases().join(".staging");
        assert_eq!(std::fs::read_dir(staging).expect("read dir").count(), 0, "nothing is left");
    }
}

#[test]
fn damaged_upload_leaves_nothing_behind() {
    let place = Place::new();
    std::fs::write(place.root.path().join("hello"), "hell").expect("write");
    let layout = place.layout("app-1-00000001");
    let upload = NodeScript::Upload { layout: layout.clone() };
    let output = place.run(&upload, Some(&place.root.path().join("hello")));
    assert_eq!(output.status.code(), Some(CHECKSUM_MISMATCH));
    let staging = place.releases().join(".staging");
    assert_eq!(std::fs::read_dir(staging).expect("read dir").count(), 0);
    place.fails(&NodeScript::Unpack { layout: layout.clone() });
    assert!(!Path::new(&layout.folder()).exists());
}

/// A part of it may have been deleted by another program.
#[test]
fn release_without_its_mark_is_staged_again_unless_it_runs() {
    let place = Place::new();
    let half = place.stage("app-1-00000001");
    let other = place.stage("app-2-00000002");
    std::fs::remove_file(Path::new(&half.folder()).join("hello")).expect("removed");
    std::fs::remove_file(place.releases().join(".rollgate/app-1-00000001")).expect("removed");
    assert!(!place.survey("app-1-00000001").staged);
    place.stage("app-1-00000001");
    assert!(place.survey("app-1-00000001").staged);
    assert!(Path::new(&half.folder()).join("hello").exists(), "it is whole");

    place.done(&NodeScript::Activate { layout: half.clone() }, None);
    std::fs::write(place.releases().join(".rollgate/app-1-00000001"), "").expect("no mark");
    let survey = place.survey("app-1-00000001");
    assert!(!survey.staged && survey.incomplete.is_some(), "{survey:?}");
    let file = place.root.path().join("hello");
    place.done(&NodeScript::Upload { layout: half.clone() }, Some(&file));
    let why = place.fails(&NodeScript::Unpack { layout: half.clone() });
    assert!(
        why.contains("which may be incomplete (nothing says that its upload finished)"),
        "{why}"
    );
    assert!(Path::new(&half.folder()).join("hello").exists(), "what runs is left alone");

    // The same for a release that another node of the host runs.
    let current = format!("{}-2", half.current);
    let neighbour = Layout { node: "10.0.0.2:80".into(), current, ..half.clone() };
    place.done(&NodeScript::Activate { layout: neighbour.clone() }, None);
    place.done(&NodeScript::Activate { layout: other }, None);
    let why = place.fails(&NodeScript::Unpack { layout: half });
    assert!(why.contains("10.0.0.2:80 runs "), "{why}");
    // Without a known artifact checksum the folder is used without a check.
    let unknown = Layout { sha256: String::new(), ..neighbour };
    let script = NodeScript::Survey { port: 1, layout: Some(unknown), programs: Vec::new() };
    assert!(Survey::parse(&place.done(&script, None), "127.0.0.1:1").staged);
}

#[test]
fn failed_releases_are_deleted_before_healthy_ones_and_previous_one_stays() {
    let place = Place::new();
    for (hours, name) in [(40, "app-1-00000001"), (30, "app-2-00000002")] {
        place.release(name, true);
        place.age(name, hours);
    }
    for number in 3..=7 {
        let name = format!("app-{number}-0000000{number}");
        place.release(&name, false);
        place.age(&name, 20 - number);
    }
    let pruned = place.release("app-8-00000008", true);
    assert_eq!(pruned.deleted.len(), 6, "{pruned:?}");
    assert_eq!(place.names(), ["app-2-00000002", "app-8-00000008"], "the one before can come back");

    // The version that ran before, as the journal has it, stays, whatever the ledger has.
    let place = Place::new();
    for name in ["app-1-00000001", "app-2-00000002"] {
        place.stage(name);
    }
    let last = place.stage("app-3-00000003");
    place.done(&NodeScript::Activate { layout: last.clone() }, None);
    let pruned = place.prune(&last, Some(1), &["app-1-00000001"]);
    assert_eq!(pruned.deleted, ["app-2-00000002"]);
    assert_eq!(place.prune(&last, None, &[]), Pruned::default(), "without a number all stay");
}

#[test]
fn releases_that_other_nodes_of_the_host_need_stay() {
    let place = Place::new();
    let of = |node: &str, name: &str| {
        let current = format!("{}-{node}", place.layout(name).current);
        Layout { node: node.into(), current, ..place.layout(name) }
    };
    let run = |node: &str, name: &str| {
        place.stage(name);
        place.done(&NodeScript::Activate { layout: of(node, name) }, None);
        place.prune(&of(node, name), Some(1), &[])
    };
    run("10.0.0.2:80", "app-1-00000001");
    run("10.0.0.2:80", "app-2-00000002");
    for number in 3..=5 {
        run("10.0.0.1:80", &format!("app-{number}-0000000{number}"));
    }
    let expected = ["app-1-00000001", "app-2-00000002", "app-4-00000004", "app-5-00000005"];
    assert_eq!(place.names(), expected, "two of each node");
}

/// A symlink at the place of rollgate's own folders or marks is refused.
#[test]
fn symlinks_in_place_of_own_folders_are_refused() {
    for name in [".staging", ".rollgate", ".rollgate/nodes", ".rollgate/app-1-00000001"] {
        let place = Place::new();
        let elsewhere = place.root.path().join("elsewhere");
        std::fs::create_dir_all(place.releases().join(".rollgate")).expect("mkdir");
        if name == ".rollgate" {
            std::fs::remove_dir(place.releases().join(name)).expect("removed");
        }
        std::fs::create_dir(&elsewhere).expect("mkdir");
        std::os::unix::fs::symlink(&elsewhere, place.releases().join(name)).expect("symlink");
        let layout = place.layout("app-1-00000001");
        let file = place.root.path().join("hello");
        let scripts = [
            NodeScript::Upload { layout: layout.clone() },
            NodeScript::Unpack { layout: layout.clone() },
            NodeScript::Prune { layout, keep: Some(1), spare: Vec::new() },
        ];
        let outputs = scripts.map(|script| place.run(&script, Some(&file)));
        let refused = outputs.iter().filter(|output| !output.status.success());
        let said: Vec<_> =
            refused.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
        assert!(said.iter().any(|said| said.contains("is a symlink")), "{name}: {outputs:?}");
        assert_eq!(std::fs::read_dir(&elsewhere).expect("read dir").count(), 0, "{name}");
        if !name.ends_with("00000001") {
            let refused = place.survey("app-1-00000001").refused.expect(name);
            assert!(refused.ends_with("is a symlink: remove it"), "{refused}");
        }
    }
}

/// Every form of archive is unpacked by the tools of a usual server, and by those of busybox where it has them.
#[test]
fn archive_of_every_form_is_unpacked() {
    let packs = [
        ("x.tar.gz", "tar -C in -czf x.tar.gz ."),
        ("x.tar.xz", "tar -C in -cJf x.tar.xz ."),
        ("x.tar.bz2", "tar -C in -cjf x.tar.bz2 ."),
        ("x.tar.zst", "tar -C in -cf - . | zstd -qc >x.tar.zst"),
        ("x.tar", "tar -C in -cf x.tar ."),
        ("x.zip", "(cd in && zip -qry ../x.zip .)"),
    ];
    for place in [Place::new(), Place::with_busybox()] {
        let root = place.root.path();
        let sh = |script: &str| {
            let output = Command::new("sh").args(["-c", script]).current_dir(root).output();
            let output = output.expect("sh runs");
            assert!(output.status.success(), "{script}: {output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        sh(
            "mkdir -p in/bin && echo hi >in/bin/run && chmod 777 in/bin/run && ln -s bin/run in/link",
        );
        for (name, pack) in packs {
            sh(pack);
            let packing = Packing::of(Path::new(name), true);
            let has_tool = |tool| place.path.as_ref().is_none_or(|bin| bin.join(tool).exists());
            if !packing.tool().is_none_or(has_tool) {
                continue;
            }
            let sha256 = sh(&format!("sha256sum {name} | cut -d' ' -f1"));
            let layout = Layout { sha256, packing, ..place.layout(name) };
            place.done(&NodeScript::Upload { layout: layout.clone() }, Some(&root.join(name)));
            place.done(&NodeScript::Unpack { layout: layout.clone() }, None);
            let folder = layout.folder();
            assert_eq!(sh(&format!("cat '{folder}/link'")), "hi", "{name}");
            assert_eq!(sh(&format!("stat -c %a '{folder}/bin/run'")), "755", "{name}");
        }
    }
}

/// A folder or file that another program created gives an archive no additional rights.
#[test]
fn archive_adds_no_permissions_no_devices_and_no_files_outside_its_folder() {
    for place in [Place::new(), Place::with_busybox()] {
        let root = place.root.path();
        let sh = |script: &str| {
            let output = Command::new("sh").args(["-c", script]).current_dir(root).output();
            let output = output.expect("sh runs");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let staged = |name: &str| {
            let sum = sh(&format!("sha256sum {name} | cut -d' ' -f1"));
            let layout = place.layout(name);
            let layout = Layout { sha256: sum, packing: Packing::TarGz, ..layout };
            place.done(&NodeScript::Upload { layout: layout.clone() }, Some(&root.join(name)));
            (place.run(&NodeScript::Unpack { layout: layout.clone() }, None), layout.folder())
        };
        sh("mkdir in && touch in/run && chmod 6777 in/run && tar -C in -czf rights .");
        let (output, folder) = staged("rights");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(sh(&format!("stat -c %a '{folder}/run'")), "755");
        sh("mkfifo in/pipe && tar -C in -czf pipe .");
        let (output, folder) = staged("pipe");
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("/pipe"), "{output:?}");
        assert!(!Path::new(&folder).exists());
        sh("touch x && tar -C in --transform 's,run,../x,' -czPf outside run && rm x");
        // Busybox unpacks it inside.
        let (output, folder) = staged("outside");
        assert!(!output.status.success() || place.path.is_some(), "{folder}: {output:?}");
        assert!(!root.join("rel eases/.staging/x").exists());
    }
}

#[test]
fn activate_refuses_to_point_at_nothing_or_to_replace_a_real_folder() {
    let place = Place::new();
    let layout = place.layout("app-1-00000001");
    place.fails(&NodeScript::Activate { layout: layout.clone() });
    std::fs::create_dir_all(layout.folder()).expect("mkdir");
    std::fs::create_dir(&layout.current).expect("mkdir");
    place.fails(&NodeScript::Activate { layout: layout.clone() });
    assert!(Path::new(&layout.current).is_dir());
    std::fs::remove_dir(&layout.current).expect("removed");
    // A folder that rollgate has not created can be activated: a rollback needs it.
    place.done(&NodeScript::Activate { layout: layout.clone() }, None);
    assert_eq!(std::fs::read_link(&layout.current).expect("a link"), Path::new(&layout.folder()));
}
