//! What tests read from a rotation control.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::gateway::query::Query;
use crate::gateway::rotation::{Listed, RotationControl};
use crate::node::NodeScript;
use crate::world::{Host, Reply, Stdin};

/// An address that is not a node.
const NOWHERE: &str = "192.0.2.1:1";

pub(super) trait Readings: RotationControl {
    fn listed_as(&self, replies: &[Reply], address: &str) -> Result<Listed, String> {
        self.listing(replies, address).map(|listing| listing.node)
    }

    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String> {
        self.listing(replies, address).map(|listing| listing.is_down())
    }

    fn is_inconsistent(&self, replies: &[Reply], address: &str) -> bool {
        self.listing(replies, address).is_ok_and(|listing| listing.is_inconsistent)
    }

    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        self.listing(replies, NOWHERE).map(|listing| listing.strangers).unwrap_or_default()
    }

    fn is_lost(&self, replies: &[Reply]) -> bool {
        self.listing(replies, NOWHERE).is_ok_and(|listing| listing.is_lost)
    }

    /// The new JSON content of the file at `place`.
    fn replaced(
        &self,
        place: &str,
        file: &str,
        address: &str,
        down: bool,
    ) -> Result<Value, String> {
        let text = self.replaced_text(place, file, address, down)?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }

    /// The new content of the file at `place`, which is written only if the file is still as it was read.
    fn replaced_text(
        &self,
        place: &str,
        file: &str,
        address: &str,
        down: bool,
    ) -> Result<String, String> {
        let read = Reply { status: 200, body: file.into(), ..Reply::default() };
        let asks = self.set(&[read], address, down)?;
        let [Query::Run(Host::Ssh(_), command)] = &asks[..] else { panic!("{asks:?}") };
        let (NodeScript::Replace { path, before, after }, Stdin::Text(content)) =
            (&command.script, &command.stdin)
        else {
            panic!("{command:?}")
        };
        let content = content.expose();
        assert!(!command.script.text().contains(content.trim()), "no command line has it");
        assert_eq!(*after, crate::text::hex(&Sha256::digest(content)));
        assert_eq!(path, place);
        assert_eq!(*before, crate::text::hex(&Sha256::digest(file)));
        Ok(content.to_owned())
    }
}

impl<T: RotationControl + ?Sized> Readings for T {}
