//! Where an artifact lives on a node, and how it gets there, becomes the running release and goes.
//!
//! The work itself is in `scripts/`: `owner.sh` decides as which user it is done, `release.sh` has what it has in common.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::shell::{assign, quote};

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

/// Decides as which user a folder is worked in.
pub(super) const OWNER: &str = include_str!("scripts/owner.sh");

/// What is common to the work in the folder of releases.
const RELEASE: &str = include_str!("scripts/release.sh");

/// What the scripts know of the layout.
fn variables(layout: &Layout) -> String {
    let single = match &layout.packing {
        Packing::TarGz => "",
        Packing::File(name) => name,
    };
    let node = layout.node.replace('/', "_");
    assign(&[
        ("releases", layout.releases.trim_end_matches('/')),
        ("current", &layout.current),
        ("name", &layout.name),
        ("sum", &layout.sha256),
        ("single", single),
        ("node", &node),
        ("mismatch", &CHECKSUM_MISMATCH.to_string()),
    ])
}

/// Looks at the folders and decides as whom they are worked in; what runs is found with the rights of the login.
pub(super) fn decided(layout: &Layout, refused: &str) -> String {
    let variables = variables(layout);
    format!(
        "{variables}{OWNER}\nlinked=$(readlink \"$current\")\nlinked=${{linked%/}}\n\
         serving=$(cd -P \"$current\" 2>/dev/null && pwd)\nexport linked serving\n\
         decide || {{ {refused}; }}\n"
    )
}

/// Does work in the folder of releases.
pub(super) fn in_releases(layout: &Layout, extra: &[(&str, &str)], script: &str) -> String {
    let work = format!("{}{}{RELEASE}\n{script}", variables(layout), assign(extra));
    format!("work \"$releases\" {}", quote(&work))
}

fn work(layout: &Layout, extra: &[(&str, &str)], script: &str) -> String {
    let decided = decided(layout, "echo \"$refused\" >&2; exit 77");
    format!("{decided}{}\n", in_releases(layout, extra, script))
}

pub(super) fn upload(layout: &Layout) -> String {
    work(layout, &[], include_str!("scripts/upload.sh"))
}

pub(super) fn unpack(layout: &Layout) -> String {
    work(layout, &[], include_str!("scripts/unpack.sh"))
}

pub(super) fn activate(layout: &Layout) -> String {
    // What the node is about to run is noted first; that this is not possible keeps no release from being activated.
    let note = work(layout, &[], "alone 10\nnote");
    let switch = format!("{}{RELEASE}\n{}", variables(layout), include_str!("scripts/switch.sh"));
    format!(
        "{} >/dev/null 2>&1 || :\nwork \"$(dirname \"$current\")\" {}\n",
        note.trim_end(),
        quote(&switch)
    )
}

/// Only what rollgate has put there is rollgate's to delete.
pub(super) fn prune(layout: &Layout, keep: Option<u32>, spare: &[String]) -> String {
    let keep = keep.map_or_else(String::new, |keep| keep.to_string());
    let extra = [("keep", keep.as_str()), ("spare", &spare.join("\n"))];
    work(layout, &extra, include_str!("scripts/prune.sh"))
}

/// What [`Operation::Prune`](super::Operation::Prune) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of the releases that are gone.
    pub deleted: Vec<String>,
    /// What could not be deleted, and why.
    pub left: Vec<String>,
}

impl Pruned {
    /// Reads the operation's answer.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let told = |what: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(what));
            lines.map(|line| crate::text::line(line, 200)).collect()
        };
        Self { deleted: told("deleted="), left: told("left=") }
    }
}

/// Tells how both folders stand.
pub(super) fn look(layout: &Layout) -> String {
    let writable = "[ ! -w \"${base:-/}\" ] || [ ! -x \"${base:-/}\" ] || echo writable=current";
    format!(
        "{}if [ -z \"$refused\" ]; then\n{}\nwork \"$(dirname \"$current\")\" {}\nfi\n\
         if [ -L \"$current\" ]; then\necho \"current=$linked\"\n\
         echo \"current_age=$(($(date +%s) - $(stat -c %Y \"$current\")))\"\n\
         elif [ -e \"$current\" ]; then\necho current_is_no_link=yes\nfi\n",
        decided(layout, "echo \"refused=$refused\""),
        in_releases(layout, &[], include_str!("scripts/look.sh")),
        quote(writable),
    )
}

#[cfg(test)]
mod tests;
