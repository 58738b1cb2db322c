//! The service's records for the auditor: one JSON object per line, appended.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;

/// The recorded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// The service listens.
    Started,
    /// It was asked to stop.
    Term,
    /// A request arrived after that.
    Late,
    /// It ends although requests are in flight.
    Cut,
    /// It ends.
    Exited,
}

/// One line of a node's audit file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) t: u64,
    pub(crate) event: Event,
    pub(crate) version: String,
    pub(crate) in_flight: u64,
    pub(crate) last_request_t: Option<u64>,
}

/// An audit file that is open for appending, or none.
#[derive(Debug)]
pub(super) struct Recorder {
    version: String,
    file: Option<Mutex<File>>,
}

impl Recorder {
    /// Opens the file, if there is one.
    pub(super) fn open(path: Option<&Path>, version: &str) -> Result<Self> {
        let file = path
            .map(|path| {
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("could not open {}", path.display()))
            })
            .transpose()?;
        Ok(Self { version: version.to_owned(), file: file.map(Mutex::new) })
    }

    /// Appends one line, in one write.
    pub(super) fn note(
        &self,
        event: Event,
        in_flight: u64,
        last_request_t: Option<u64>,
    ) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let version = self.version.clone();
        let record = Record { t: now_ms(), event, version, in_flight, last_request_t };
        let line = format!("{}\n", serde_json::to_string(&record)?);
        let mut file = file.lock().expect("no thread panics while it writes a line");
        file.write_all(line.as_bytes()).context("could not write to the audit file")
    }
}
