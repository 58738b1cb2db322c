//! The artifact on this machine: its digest and its sizes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

use crate::spec::{ArtifactSpec, Digest};
use crate::text;

/// Reads the artifact and checks it against the playbook's checksum.
///
/// # Errors
///
/// When it cannot be read, or is another one than the playbook says.
pub fn read(artifact: &ArtifactSpec) -> Result<Digest, String> {
    let path = artifact.file.display();
    let trouble = |error: std::io::Error| format!("the artifact {path} cannot be read: {error}");
    let mut file = File::open(&artifact.file).map_err(trouble)?;
    if !file.metadata().map_err(trouble)?.is_file() {
        return Err(format!("the artifact {path} is not a file"));
    }
    let mut hasher = Sha256::new();
    let size = std::io::copy(&mut file, &mut hasher).map_err(trouble)?;
    let sha256 = format!("{:x}", hasher.finalize());
    if let Some(expected) = &artifact.expected
        && *expected != sha256
    {
        return Err(format!(
            "the artifact {path} ({}) has the SHA-256 {sha256}, the playbook wants {expected}",
            text::size(size)
        ));
    }
    let unpacked = unpacked_size(&mut file).unwrap_or(size).max(size);
    Ok(Digest { sha256, size, unpacked })
}

/// The last four bytes of a gzip file are its content's size, modulo 4 GiB (RFC 1952): good for an estimate.
fn unpacked_size(file: &mut File) -> Option<u64> {
    let mut magic = [0; 2];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut magic).ok()?;
    if magic != [0x1f, 0x8b] {
        return None;
    }
    let mut size = [0; 4];
    file.seek(SeekFrom::End(-4)).ok()?;
    file.read_exact(&mut size).ok()?;
    Some(u64::from(u32::from_le_bytes(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(bytes: &[u8], expected: Option<&str>) -> Result<Digest, String> {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), bytes).expect("write");
        read(&ArtifactSpec {
            file: file.path().to_owned(),
            expected: expected.map(Into::into),
            digest: None,
            keep: 5,
        })
    }

    #[test]
    fn digest_and_sizes_are_told() {
        let hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let digest = artifact(b"hello\n", Some(hello)).expect("readable");
        assert_eq!(digest, Digest { sha256: hello.into(), size: 6, unpacked: 6 });
        let gzip = [&[0x1f, 0x8b, 8, 0][..], &7_000_u32.to_le_bytes()].concat();
        assert_eq!(artifact(&gzip, None).expect("readable").unpacked, 7_000);
    }

    #[test]
    fn another_artifact_than_the_playbook_says_is_refused() {
        let error = artifact(b"hello", Some(&"0".repeat(64))).expect_err("refused");
        assert!(error.contains("the playbook wants 000000"), "{error}");
    }
}
