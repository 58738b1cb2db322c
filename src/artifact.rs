//! The artifact on this machine: its digest, its sizes, and whether a node may unpack it.

mod archive;
mod links;
mod unfit;
mod unpack;
mod zip;

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::node::Packing;
use crate::release::Digest;
use crate::spec::ArtifactSpec;
use crate::text;

pub use unfit::Unfit;

/// Reads the artifact once, compares it with the playbook's checksum, and checks an archive's entries.
///
/// # Errors
///
/// When it cannot be read, its checksum differs from the playbook's, or it would be unpacked outside its release's
/// folder.
pub fn read(artifact: &ArtifactSpec) -> Result<Digest, Unfit> {
    let path = artifact.file.display();
    let unfit =
        |problem: String| Unfit { problem: format!("the artifact {path} {problem}"), mend: None };
    let trouble = |error: io::Error| unfit(format!("cannot be read: {error}"));
    let file = File::open(&artifact.file).map_err(trouble)?;
    let status = file.metadata().map_err(trouble)?;
    if !status.is_file() {
        return Err(unfit("is not a file".to_owned()));
    }
    let mut bytes = Hashing { file, hasher: Sha256::new(), size: 0 };
    let packing = &artifact.packing;
    let archive = match packing {
        Packing::Zip | Packing::File(_) => None,
        _ => Some(archive::check(unpack::tar(packing, &mut bytes), status.len(), packing)),
    };
    io::copy(&mut bytes, &mut io::sink()).map_err(trouble)?;
    let (size, sha256) = (bytes.size, text::hex(&bytes.hasher.finalize()));
    if let Some(expected) = &artifact.expected
        && *expected != sha256
    {
        return Err(unfit(format!(
            "({}) has the SHA-256 {sha256}, but the playbook wants {expected}",
            text::size(size)
        )));
    }
    let archive = match packing {
        Packing::Zip => Some(zip::check(&bytes.file, size)),
        _ => archive,
    };
    let refused =
        |Unfit { problem, mend }| Unfit { mend, ..unfit(format!("is refused: {problem}")) };
    let unpacked = archive.transpose().map_err(refused)?.unwrap_or(size);
    Ok(Digest { sha256, size, unpacked })
}

/// A file that is hashed while it is read, so the checked content is exactly what the node accepts.
struct Hashing {
    file: File,
    hasher: Sha256,
    size: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(ending: &str, bytes: &[u8], expected: Option<&str>) -> Result<Digest, Unfit> {
        let file = tempfile::Builder::new().suffix(ending).tempfile().expect("temp file");
        std::fs::write(file.path(), bytes).expect("write");
        read(&ArtifactSpec {
            file: file.path().to_owned(),
            expected: expected.map(Into::into),
            digest: None,
            packing: Packing::of(file.path(), true),
            keep: 5,
        })
    }

    #[test]
    fn digest_and_sizes_are_reported() {
        let hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let digest = artifact("", b"hello\n", Some(hello)).expect("readable");
        assert_eq!(digest, Digest { sha256: hello.into(), size: 6, unpacked: 6 });
    }

    #[test]
    fn artifact_with_another_checksum_is_refused_whatever_its_content() {
        for ending in ["", ".tar.gz"] {
            let error = artifact(ending, b"hello", Some(&"0".repeat(64))).expect_err("refused");
            assert!(error.problem.contains("the playbook wants 000000"), "{error}");
        }
    }

    #[test]
    fn archive_is_hashed_to_its_last_byte_and_checked() {
        let folder = tempfile::tempdir().expect("temp dir");
        std::fs::write(folder.path().join("run"), [7; 5000]).expect("write");
        let pack = |arguments: &[&str]| {
            let mut tar = std::process::Command::new("tar");
            let tar = tar.args(["-C", folder.path().to_str().expect("UTF-8")]).args(arguments);
            let output = tar.output().expect("tar runs");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let bytes = pack(&["-czf", "-", "."]);
        let sha256 = text::hex(&Sha256::digest(&bytes));
        let digest = artifact(".tgz", &bytes, Some(&sha256)).expect("fit");
        let size = bytes.len() as u64;
        assert_eq!(digest, Digest { sha256, size, unpacked: 3 * 4096 });

        let outside = pack(&["-czf", "-", "--transform", "s,run,../run,", "run"]);
        let error = artifact(".tar.gz", &outside, None).expect_err("refused");
        assert!(error.problem.contains("is refused: its entry `../run` has `..`"), "{error}");
        assert!(error.mend.is_some_and(|mend| mend.contains("tar -C FOLDER")), "{error:?}");
        artifact(".gz", &outside, None).expect("a single file is not unpacked");
        for (option, ending) in
            [("-cJf", ".tar.xz"), ("-cjf", ".tbz2"), ("-cf", ".tar"), ("--zstd", ".tar.zst")]
        {
            let how = if option == "--zstd" { vec![option, "-cf", "-"] } else { vec![option, "-"] };
            let good = pack(&[how.clone(), vec!["."]].concat());
            assert_eq!(artifact(ending, &good, None).expect(ending).unpacked, 3 * 4096);
            let outside = pack(&[how, vec!["--transform", "s,run,../run,", "run"]].concat());
            let error = artifact(ending, &outside, None).expect_err("refused");
            assert!(error.problem.contains("its entry `../run` has `..`"), "{ending}: {error}");
            let error = artifact(ending, b"hello", None).expect_err("refused");
            assert!(error.problem.contains("it is not a whole tar archive"), "{ending}: {error}");
        }
    }
}
