//! Compares the journal of a release on this machine with the one in Consul, piece by piece.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::journal::pieces::Pieces;

/// Compares Consul's journal with the local one.
pub(super) struct Comparison {
    here: Pieces,
    /// How many bytes at the start are the same.
    same: u64,
    differs: bool,
    /// How many bytes Consul's journal has, and how many of them are complete lines.
    all: u64,
    lines: u64,
}

impl Comparison {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self { here: Pieces::open(path)?, same: 0, differs: false, all: 0, lines: 0 })
    }

    pub(super) fn feed(&mut self, there: &[u8]) -> Result<()> {
        if let Some(end) = there.iter().rposition(|byte| *byte == b'\n') {
            self.lines = self.all + end as u64 + 1;
        }
        self.all += there.len() as u64;
        if self.differs {
            return Ok(());
        }
        let mut here = Vec::with_capacity(there.len());
        let file = &mut self.here.file;
        file.take(there.len() as u64).read_to_end(&mut here).context(self.here.place.clone())?;
        let same = here.iter().zip(there).take_while(|(one, other)| one == other).count();
        self.same += same as u64;
        self.differs = same < there.len();
        Ok(())
    }

    /// Returns whether the local journal has all of Consul's lines and perhaps more: the replica may be
    /// behind. Otherwise the release was continued on another machine.
    pub(super) fn is_behind(&self) -> bool {
        self.same >= self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_may_be_behind_unless_another_machine_continued() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("journal");
        for (here, there, expected) in [
            ("1\n2\n", "1\n2\n", true),
            ("1\n2\n3\n", "1\n2\n", true),
            ("1\n2\n3\n", "1\n2\nto", true),
            ("1\n2\n", "1\n2\n3\n", false),
            ("1\n2\nto", "1\n2\n3\n", false),
            // A holder that lost the lock wrote more lines than the next holder has written so far.
            ("1\n2\n3\n4\n5\n", "1\n2\nresumed\n", false),
        ] {
            std::fs::write(&path, here).expect("write");
            for pieces in [1, 2, 3, 100] {
                let mut comparison = Comparison::open(&path).expect("readable");
                for piece in there.as_bytes().chunks(pieces) {
                    comparison.feed(piece).expect("readable");
                }
                assert_eq!(comparison.is_behind(), expected, "{here:?}, {there:?}, {pieces}");
            }
        }
    }
}
