//! What tests read from a rotation control, one value at a time.

use crate::gateway::rotation::{Listed, RotationControl};
use crate::world::Reply;

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
}

impl<T: RotationControl + ?Sized> Readings for T {}
