//! Where an artifact lives on a node, and how it gets there, becomes the running release and goes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::shell::quote;

/// Where an artifact lives on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The folder with one folder per release.
    pub releases: String,
    /// The symlink to the running release.
    pub current: String,
    /// Name of this release's folder: the artifact's name and the start of its checksum.
    pub name: String,
    /// SHA-256 of the artifact, in lower-case hex.
    pub sha256: String,
    /// How the artifact is unpacked.
    pub packing: Packing,
    /// The node's address: several nodes may share a host and its folders.
    pub node: String,
}

impl Layout {
    /// The folder of this release.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/{}", self.releases.trim_end_matches('/'), self.name)
    }

    /// The folder that notes which releases rollgate has put there.
    fn ledger(&self) -> String {
        format!("{}/.rollgate", self.releases.trim_end_matches('/'))
    }

    /// The uploaded, not yet unpacked artifact; nobody would take it for a release.
    fn upload(&self) -> String {
        let releases = self.releases.trim_end_matches('/');
        format!("{releases}/.staging/{}@{}", self.name, self.node)
    }
}

/// How the names of gzipped tar archives end.
pub const ARCHIVES: [&str; 2] = [".tar.gz", ".tgz"];

/// How an artifact is packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// A gzipped tar archive.
    TarGz,
    /// One file, put into the release's folder under this name.
    File(String),
}

impl Packing {
    /// How a file of this name is packed.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let archive = ARCHIVES.iter().any(|ending| name.ends_with(ending));
        if archive { Self::TarGz } else { Self::File(name) }
    }
}

/// Exit status of [`Operation::Upload`](super::Operation::Upload) and [`Operation::Unpack`](super::Operation::Unpack) for a
/// wrong checksum.
pub const CHECKSUM_MISMATCH: i32 = 65;

pub(super) fn upload(layout: &Layout) -> String {
    let file = layout.upload();
    format!(
        "set -e; umask 022; f={file}; \
         mkdir -p \"$(dirname \"$f\")\"; trap 'rm -f \"$f.part\"' EXIT; trap 'exit 143' HUP INT TERM; \
         cat >\"$f.part\"; \
         s=$(sha256sum <\"$f.part\" | cut -d' ' -f1); \
         [ \"$s\" = {sum} ] || {{ echo \"sha256 is $s\" >&2; exit {CHECKSUM_MISMATCH}; }}; \
         mv \"$f.part\" \"$f\"",
        file = quote(&file),
        sum = layout.sha256,
    )
}

pub(super) fn unpack(layout: &Layout) -> String {
    let place = match &layout.packing {
        // Rights as any other user would get them: root would keep set-user-id bits and foreign owners. Without
        // `-P` no name is absolute. What was looked through before it was sent is looked at once more.
        Packing::TarGz => "{ tar -xzf \"$f\" -C \"$t\" --no-same-owner --no-same-permissions && \
             ! find \"$t\" ! -type f ! -type d ! -type l -print | head -n 1 | grep . >&2; }"
            .to_owned(),
        Packing::File(name) => {
            let name = quote(name);
            format!("cp \"$f\" \"$t\"/{name} && chmod a+rx \"$t\"/{name}")
        }
    };
    format!(
        "set -e; umask 022; f={file}; t=\"$f.tree\"; d={folder}; l={ledger}; \
         [ -d \"$d\" ] && {{ rm -rf \"$f\" \"$t\"; exit 0; }}; \
         s=$(sha256sum <\"$f\" | cut -d' ' -f1); \
         [ \"$s\" = {sum} ] || {{ echo \"sha256 is $s\" >&2; exit {CHECKSUM_MISMATCH}; }}; \
         rm -rf \"$t\"; trap 'rm -rf \"$t\"' EXIT; trap 'exit 143' HUP INT TERM; mkdir \"$t\"; \
         {place} || {{ e=$?; a=$(df -Pk \"$t\" | {{ read -r _; read -r _ _ _ a _; echo \"$a\"; }}); \
         [ \"$a\" -ge 64 ] || echo \"No space left at $t\" >&2; exit $e; }}; touch \"$t\"; \
         sync -f \"$t\" 2>/dev/null || sync; mkdir -p \"$l\"; : >\"$l\"/{name}; \
         mv -T \"$t\" \"$d\" || [ -d \"$d\" ]; rm -f \"$f\"",
        name = quote(&layout.name),
        ledger = quote(&layout.ledger()),
        file = quote(&layout.upload()),
        folder = quote(&layout.folder()),
        sum = layout.sha256,
    )
}

pub(super) fn activate(layout: &Layout) -> String {
    format!(
        "set -e; c={current}; d={folder}; p=$(dirname \"$c\"); \
         [ -d \"$d\" ] || {{ echo \"$d does not exist\" >&2; exit 1; }}; \
         mkdir -p \"$p\"; ln -sfn \"$d\" \"$c.rollgate\"; mv -T \"$c.rollgate\" \"$c\"; \
         sync \"$p\" 2>/dev/null || :",
        current = quote(&layout.current),
        folder = quote(&layout.folder()),
    )
}

/// Only what rollgate has put there is rollgate's to delete.
pub(super) fn prune(layout: &Layout, keep: u32) -> String {
    format!(
        "cd {releases} || exit 1; r=$(readlink {current}); r=$(basename \"$r\"); \
         [ -n \"$r\" ] || exit 0; n=0; \
         for d in $(ls -1t); do \
         [ -e \".rollgate/$d\" ] && [ -d \"$d\" ] && [ ! -L \"$d\" ] || continue; n=$((n+1)); \
         [ \"$d\" = \"$r\" ] && continue; [ \"$n\" -gt {keep} ] || continue; \
         rm -rf -- \"./$d\" && rm -f \".rollgate/$d\" && echo \"$d\"; done; \
         find .staging -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {{}} + 2>/dev/null; :",
        releases = quote(&layout.releases),
        current = quote(&layout.current),
    )
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output, Stdio};

    use super::*;
    use crate::node::Operation;

    /// Runs an operation with the real shell on real folders.
    fn run(operation: &Operation, stdin: Option<&Path>) -> Output {
        let stdin = stdin
            .map_or_else(Stdio::null, |path| std::fs::File::open(path).expect("file opens").into());
        Command::new("sh").args(["-c", &operation.script()]).stdin(stdin).output().expect("sh runs")
    }

    fn layout(root: &Path, name: &str, sha256: &str, packing: Packing) -> Layout {
        Layout {
            releases: root.join("rel eases").display().to_string(),
            current: root.join("current").display().to_string(),
            name: name.into(),
            sha256: sha256.into(),
            packing,
            node: "10.0.0.1:80".into(),
        }
    }

    const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    #[test]
    fn an_artifact_is_staged_activated_and_pruned() {
        let root = tempfile::tempdir().expect("temp dir");
        let file = root.path().join("hello");
        std::fs::write(&file, "hello\n").expect("write");
        let releases = root.path().join("rel eases");
        for number in 1..=4 {
            let layout = layout(
                root.path(),
                &format!("app-{number}-0000000{number}"),
                HELLO,
                Packing::File("hello".into()),
            );
            assert!(
                run(&Operation::Upload { layout: layout.clone() }, Some(&file)).status.success()
            );
            assert!(!Path::new(&layout.folder()).exists(), "an upload is not a release yet");
            assert!(run(&Operation::Unpack { layout: layout.clone() }, None).status.success());
            let again = run(&Operation::Unpack { layout: layout.clone() }, None);
            assert!(again.status.success(), "a step may run twice");
            if number == 1 {
                assert!(run(&Operation::Activate { layout }, None).status.success());
            }
        }
        // A folder that looks like one of ours and is not.
        std::fs::create_dir(releases.join("backup-20240101")).expect("mkdir");
        assert_eq!(
            std::fs::read_to_string(root.path().join("current/hello")).expect("read"),
            "hello\n"
        );
        let last = layout(root.path(), "app-4-00000004", HELLO, Packing::TarGz);
        let output = run(&Operation::Prune { layout: last, keep: 2 }, None);
        assert!(output.status.success());
        let mut left: Vec<_> = std::fs::read_dir(&releases)
            .expect("read dir")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8"))
            .collect();
        left.sort();
        // `ls -t` orders equal times by name, so which two are newest depends on the clock's grain;
        // the running one and the foreign folder stay in any case.
        assert!(left.contains(&"app-1-00000001".into()), "the running release stays: {left:?}");
        assert!(left.contains(&"backup-20240101".into()), "what is not ours stays: {left:?}");
        assert!(left.iter().filter(|name| name.starts_with("app-")).count() <= 3, "{left:?}");
    }

    #[test]
    fn a_damaged_or_interrupted_upload_leaves_nothing_behind() {
        let root = tempfile::tempdir().expect("temp dir");
        let file = root.path().join("hell");
        std::fs::write(&file, "hell").expect("write");
        let layout = layout(root.path(), "app-1-00000001", HELLO, Packing::File("hello".into()));
        let output = run(&Operation::Upload { layout: layout.clone() }, Some(&file));
        assert_eq!(output.status.code(), Some(CHECKSUM_MISMATCH));
        let staging = root.path().join("rel eases/.staging");
        assert_eq!(std::fs::read_dir(staging).expect("read dir").count(), 0);
        assert!(!run(&Operation::Unpack { layout: layout.clone() }, None).status.success());
        assert!(!Path::new(&layout.folder()).exists());
    }

    /// What was put on the node by another hand than rollgate's is not better for it.
    #[test]
    fn an_archive_brings_no_rights_no_devices_and_nothing_outside_its_folder() {
        let root = tempfile::tempdir().expect("temp dir");
        let sh = |script: &str| {
            let output = Command::new("sh").args(["-c", script]).current_dir(root.path()).output();
            let output = output.expect("sh runs");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let staged = |name: &str| {
            let sum = sh(&format!("sha256sum {name} | cut -d' ' -f1"));
            let layout = layout(root.path(), name, &sum, Packing::TarGz);
            let upload = Operation::Upload { layout: layout.clone() };
            assert!(run(&upload, Some(&root.path().join(name))).status.success());
            (run(&Operation::Unpack { layout: layout.clone() }, None), layout.folder())
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
        let (output, folder) = staged("outside");
        assert!(!output.status.success(), "{output:?}");
        assert!(!Path::new(&folder).exists() && !root.path().join("x").exists());
    }

    #[test]
    fn activate_refuses_to_point_at_nothing_or_to_replace_a_real_folder() {
        let root = tempfile::tempdir().expect("temp dir");
        let layout = layout(root.path(), "app-1-00000001", HELLO, Packing::TarGz);
        assert!(!run(&Operation::Activate { layout: layout.clone() }, None).status.success());
        std::fs::create_dir_all(layout.folder()).expect("mkdir");
        std::fs::create_dir(&layout.current).expect("mkdir");
        assert!(!run(&Operation::Activate { layout: layout.clone() }, None).status.success());
        assert!(Path::new(&layout.current).is_dir());
    }
}
