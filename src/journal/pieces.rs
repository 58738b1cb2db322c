//! Reads a journal on this machine piece by piece, so that a long one takes little memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use super::disk::Folding;
use crate::file;
use crate::release::Release;

/// How much of a journal is read at once.
const BUFFER: usize = 64 * 1024;

/// A file that is read piece by piece.
pub(super) struct Pieces {
    pub(super) file: File,
    buffer: Vec<u8>,
    /// The error of a failed read.
    pub(super) place: String,
}

impl Pieces {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let place = format!("cannot read the journal {}", path.display());
        let file = file::open_regular(path).with_context(|| place.clone())?;
        Ok(Self { file, buffer: vec![0; BUFFER], place })
    }

    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        let count = self.file.read(&mut self.buffer).with_context(|| self.place.clone())?;
        Ok((count > 0).then(|| &self.buffer[..count]))
    }
}

/// Folds a journal.
///
/// # Errors
///
/// If it cannot be read, or a line is not an event that may follow.
pub(super) fn fold(path: &Path, mut folding: Folding) -> Result<Release> {
    let mut pieces = Pieces::open(path)?;
    while let Some(piece) = pieces.next()? {
        folding.feed(piece, drop)?;
    }
    Ok(folding.finish())
}
