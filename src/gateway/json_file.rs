//! A gateway's JSON file on a machine: it is read, and replaced only if it is still as it was read.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::query::{Query, first, ok};
use super::rotation::{Listed, Listing, NotDone, RotationControl};
use crate::json;
use crate::node::NodeScript;
use crate::secret::Secret;
use crate::world::{Command, Host, OUTPUT_LIMIT, Reply, Stdin};

/// The time limit for one command on the file's machine, including the connection.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file that is written: a longer one could not be read back.
pub(super) const LIMIT: usize = OUTPUT_LIMIT - 1;

/// Where such a file is.
pub(super) struct JsonFile {
    pub(super) host: Host,
    pub(super) path: String,
    pub(super) sudo: bool,
}

impl JsonFile {
    /// Reads its content.
    pub(super) fn ask(&self) -> Query {
        self.run(NodeScript::File { path: self.path.clone() }, Stdin::Empty)
    }

    /// Replaces the content of the reply with another document.
    pub(super) fn replace(&self, reply: &Reply, document: &Value) -> Result<Query, String> {
        let content = format!("{document:#}\n");
        if content.len() > LIMIT {
            let (path, size) = (&self.path, content.len());
            return Err(format!("{path} would have {size} bytes, more than {LIMIT}"));
        }
        let path = self.path.clone();
        let sum = |bytes: &[u8]| crate::text::hex(&Sha256::digest(bytes));
        let (before, after) = (sum(&reply.body), sum(content.as_bytes()));
        // The content can be secret, and is much longer than a command line can be.
        let stdin = Stdin::Text(Secret::new(content));
        Ok(self.run(NodeScript::Replace { path, before, after }, stdin))
    }

    fn run(&self, script: NodeScript, stdin: Stdin) -> Query {
        let command = Command::new(script, COMMAND_TIMEOUT, self.sudo).reading(stdin);
        Query::Run(self.host.clone(), command)
    }
}

/// Takes nodes out of rotation and returns them, by changing such a file.
pub(super) struct FileControl {
    pub(super) file: JsonFile,
    /// The name of the part of the file that has the nodes.
    pub(super) pool: String,
    /// What to do about a file that cannot be read.
    pub(super) hint: &'static str,
    /// Finds all entries of an address in the file.
    pub(super) find: FindEntries,
    /// Returns whether an entry keeps requests away.
    pub(super) is_down: fn(&Value) -> Result<bool, String>,
    /// Makes an entry keep requests away, or not.
    pub(super) mark: fn(&mut Value, bool) -> Result<(), String>,
}

/// Finds the entries of an address in the pool with this name.
type FindEntries =
    for<'a> fn(&'a mut Value, pool: &str, address: &str) -> Result<Vec<&'a mut Value>, String>;

impl FileControl {
    fn parse<'a>(&self, replies: &'a [Reply]) -> Result<(&'a Reply, Value), String> {
        let reply = first(replies)?;
        let hint = self.hint;
        let document = json::document(&ok(reply)?.body);
        let document = document.map_err(|error| format!("the file is not JSON: {error}{hint}"))?;
        let value = json::value(document, json::LARGE);
        let value = value.map_err(|error| format!("the file cannot be read: {error}{hint}"))?;
        Ok((reply, value))
    }
}

impl RotationControl for FileControl {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let (_, mut document) = self.parse(replies)?;
        let mut mark = Listed::Down;
        for entry in (self.find)(&mut document, &self.pool, address)? {
            if !(self.is_down)(entry)? {
                mark = Listed::Up;
            }
        }
        Ok(mark.into())
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (reply, mut document) = self.parse(replies)?;
        for entry in (self.find)(&mut document, &self.pool, address)? {
            (self.mark)(entry, down)?;
        }
        Ok(vec![self.file.replace(reply, &document)?])
    }

    fn is_done(&self, _: &[Reply]) -> Result<(), NotDone> {
        Ok(())
    }
}
