//! Where an artifact lives on a node, and the scripts that stage, activate and delete releases.
//!
//! The work itself is in `scripts/`: `owner.sh` selects the user that works in a folder, `release.sh` holds
//! the shared functions.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::shell::assign;

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

/// The file name endings of archives.
pub const ARCHIVES: [(&str, Packing); 11] = [
    (".tar.gz", Packing::TarGz),
    (".tgz", Packing::TarGz),
    (".tar.xz", Packing::TarXz),
    (".txz", Packing::TarXz),
    (".tar.bz2", Packing::TarBz2),
    (".tbz2", Packing::TarBz2),
    (".tbz", Packing::TarBz2),
    (".tar.zst", Packing::TarZst),
    (".tzst", Packing::TarZst),
    (".tar", Packing::Tar),
    (".zip", Packing::Zip),
];

/// How an artifact is packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// A tar archive, packed by gzip.
    TarGz,
    /// The same, by xz.
    TarXz,
    /// The same, by bzip2.
    TarBz2,
    /// The same, by zstd.
    TarZst,
    /// A tar archive.
    Tar,
    /// A zip archive.
    Zip,
    /// One file, which gets this name in the release's folder.
    File(String),
}

impl Packing {
    /// The packing of a file with this name; `unpack`: archives are unpacked.
    #[must_use]
    pub fn of(file: &Path, unpack: bool) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let archive = ARCHIVES.into_iter().find(|(ending, _)| unpack && name.ends_with(ending));
        archive.map_or(Self::File(name), |(_, packing)| packing)
    }

    /// The name of the form, as the script that unpacks it knows it.
    #[must_use]
    pub fn form(&self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::TarXz => "tar.xz",
            Self::TarBz2 => "tar.bz2",
            Self::TarZst => "tar.zst",
            Self::Tar => "tar",
            Self::Zip => "zip",
            Self::File(_) => "file",
        }
    }

    /// The tool that unpacks it, besides `tar`.
    #[must_use]
    pub fn tool(&self) -> Option<&'static str> {
        match self {
            Self::TarGz => Some("gzip"),
            Self::TarXz => Some("xz"),
            Self::TarBz2 => Some("bzip2"),
            Self::TarZst => Some("zstd"),
            Self::Zip => Some("unzip"),
            Self::Tar | Self::File(_) => None,
        }
    }

    /// The tools that a node needs to stage it.
    #[must_use]
    pub fn tools(&self) -> Vec<&'static str> {
        let tar = !matches!(self, Self::Zip | Self::File(_));
        ["sha256sum"].into_iter().chain(tar.then_some("tar")).chain(self.tool()).collect()
    }
}

/// Exit status of [`NodeScript::Upload`](super::NodeScript::Upload) and
/// [`NodeScript::Unpack`](super::NodeScript::Unpack) for a wrong checksum.
pub const CHECKSUM_MISMATCH: i32 = 65;

/// Selects the user that works in a folder.
pub(super) const OWNER: &str = include_str!("scripts/owner.sh");

/// Shared functions for the folder of releases.
const RELEASE: &str = include_str!("scripts/release.sh");

/// The layout as shell variables.
fn variables(layout: &Layout) -> String {
    let single = match &layout.packing {
        Packing::File(name) => name,
        _ => "",
    };
    let node = layout.node.replace('/', "_");
    assign(&[
        ("releases", layout.releases.trim_end_matches('/')),
        ("current", &layout.current),
        ("name", &layout.name),
        ("sum", &layout.sha256),
        ("single", single),
        ("form", layout.packing.form()),
        ("node", &node),
        ("mismatch", &CHECKSUM_MISMATCH.to_string()),
    ])
}

/// Selects the users that work in the folders, and runs a script that gets these variables.
fn script(layout: &Layout, extra: &[(&str, &str)], text: &str) -> String {
    let decide = include_str!("scripts/decide.sh");
    format!("{}{}{OWNER}\n{decide}\n{text}", variables(layout), assign(extra))
}

/// A script for the folder of releases, which runs in its own shell.
fn in_releases(layout: &Layout, extra: &[(&str, &str)], text: &str) -> String {
    format!("{}{}{RELEASE}\n{text}", variables(layout), assign(extra))
}

fn work(layout: &Layout, extra: &[(&str, &str)], text: &str) -> String {
    let work = in_releases(layout, extra, text);
    let run = concat!(include_str!("scripts/refuse.sh"), include_str!("scripts/work.sh"));
    script(layout, &[("in_releases", &work)], run)
}

pub(super) fn upload(layout: &Layout) -> String {
    work(layout, &[], include_str!("scripts/upload.sh"))
}

pub(super) fn unpack(layout: &Layout) -> String {
    work(layout, &[], include_str!("scripts/unpack.sh"))
}

pub(super) fn activate(layout: &Layout) -> String {
    let note = in_releases(layout, &[], include_str!("scripts/note.sh"));
    let switch = in_releases(layout, &[], include_str!("scripts/switch.sh"));
    let run = concat!(include_str!("scripts/refuse.sh"), include_str!("scripts/activate.sh"));
    script(layout, &[("in_releases", &note), ("beside_current", &switch)], run)
}

/// rollgate deletes only what it has created.
pub(super) fn prune(layout: &Layout, keep: Option<u32>, spare: &[String]) -> String {
    let keep = keep.map_or_else(String::new, |keep| keep.to_string());
    let extra = [("keep", keep.as_str()), ("spare", &spare.join("\n"))];
    work(layout, &extra, include_str!("scripts/prune.sh"))
}

/// The result of [`NodeScript::Prune`](super::NodeScript::Prune).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of the deleted releases.
    pub deleted: Vec<String>,
    /// What could not be deleted, and why.
    pub left: Vec<String>,
}

impl Pruned {
    /// Reads the script's answer.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let told = |what: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(what));
            lines.map(|line| crate::text::line(line, 200)).collect()
        };
        Self { deleted: told("deleted="), left: told("left=") }
    }
}

/// Reports the state of both folders.
pub(super) fn look(layout: &Layout) -> String {
    let look = in_releases(layout, &[], include_str!("scripts/look.sh"));
    let extra =
        [("in_releases", look.as_str()), ("beside_current", include_str!("scripts/writable.sh"))];
    script(layout, &extra, include_str!("scripts/folders.sh"))
}

#[cfg(test)]
mod tests;
