//! Plan files on the disk: private, and never in the place of another file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Cause, Refusal};
use crate::file;
use crate::plan::PlanFile;
use crate::text::{harmless, hex};

/// The size limit of a plan file. A plan of 20,000 nodes has about 20 MB.
const LARGEST: u64 = 64 << 20;

/// A plan file that was read.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Its content.
    pub plan: PlanFile,
    /// The path of the file.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

/// Reads a plan file.
///
/// # Errors
///
/// If it cannot be read, is not a plan, is newer than this rollgate, or was cut off or edited.
pub fn read(path: &Path) -> Result<ReadPlan, Refusal> {
    let read = || {
        let text = file::read_text(path, LARGEST)?;
        let plan = PlanFile::read(&text)?;
        Ok(ReadPlan { plan, path: path.to_owned(), sha256: hex(&Sha256::digest(&text)) })
    };
    read().map_err(|problem: String| {
        Refusal::new(Cause::Invalid, format!("plan {}: {problem}", shown(path)))
            .hint("nothing was changed; `rollgate plan FILE --out PLAN` makes a plan")
    })
}

/// Checks that a plan file can be written there, before anything is inspected.
///
/// # Errors
///
/// If another file is in its place, or the folder does not exist.
pub fn check_place(path: &Path) -> Result<(), Refusal> {
    let problem = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => "it is a symlink",
        Ok(found) if found.is_dir() => "it is a folder",
        Ok(_) => match is_replaceable(path) {
            Ok(true) => return Ok(()),
            Ok(false) => "this file exists and is not a plan of rollgate",
            Err(error) => return Err(unwritable(Cause::Invalid, path, &error.to_string())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound && folder(path).is_dir() => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => "its folder does not exist",
        Err(error) => return Err(unwritable(Cause::Invalid, path, &error.to_string())),
    };
    Err(unwritable(Cause::Invalid, path, problem).hint("choose another name for `--out`"))
}

/// Writes a plan file that only this user can read.
///
/// # Errors
///
/// If another file is in its place, or the disk refuses.
pub fn write(path: &Path, plan: PlanFile) -> Result<ReadPlan, Refusal> {
    check_place(path)?;
    let text = plan.clone().text();
    let write = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = file::open_private(path, OpenOptions::new().write(true).create_new(true))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| unwritable(Cause::Internal, path, &error.to_string()))?;
    Ok(ReadPlan { plan, path: path.to_owned(), sha256: hex(&Sha256::digest(&text)) })
}

/// Whether a file is a plan, or has no content that could be lost.
fn is_replaceable(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file::open_regular(path)?.take(PlanFile::RECOGNISED_BY).read_to_end(&mut start)?;
    Ok(start.is_empty() || PlanFile::recognises(&start))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn unwritable(cause: Cause, path: &Path, problem: &str) -> Refusal {
    Refusal::new(cause, format!("cannot write the plan to {}: {problem}", shown(path)))
        .hint("nothing was changed")
}

fn shown(path: &Path) -> String {
    harmless(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::plan::example;

    #[test]
    fn plan_file_is_private_and_replaces_only_plans_and_empty_files() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let written = write(&at("new.json"), example()).expect("written");
        assert_eq!(mode(&at("new.json")), 0o600);
        let again = read(&at("new.json")).expect("a plan");
        assert_eq!((&again.sha256, &again.plan.made_by), (&written.sha256, &written.plan.made_by));
        fs::write(at("empty"), "").expect("write");
        fs::set_permissions(at("empty"), fs::Permissions::from_mode(0o644)).expect("chmod");
        // A plan that was cut off, and one of a newer rollgate.
        fs::write(at("cut"), "{\n  \"type\": \"rollgate.plan\",\n  \"v").expect("write");
        for name in ["new.json", "empty", "cut"] {
            write(&at(name), example()).expect(name);
            assert_eq!(mode(&at(name)), 0o600, "{name}");
        }
        symlink(at("new.json"), at("link")).expect("symlink");
        fs::write(at("app.yaml"), "service: app\n").expect("write");
        fs::write(at("other.json"), "{\"type\":\"other\"}").expect("write");
        for (name, why) in [
            ("link", "symlink"),
            (".", "folder"),
            ("app.yaml", "not a plan of rollgate"),
            ("other.json", "not a plan of rollgate"),
            ("none/plan.json", "its folder does not exist"),
        ] {
            let refusal = write(&at(name), example()).expect_err(name);
            assert!(refusal.reason.contains(why), "{}", refusal.reason);
            assert_eq!(refusal.cause, Cause::Invalid);
        }
        assert_eq!(fs::read_to_string(at("app.yaml")).expect("read"), "service: app\n");
    }
}
