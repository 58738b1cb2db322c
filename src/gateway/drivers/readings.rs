//! What tests read from a rotation control, one value at a time.

use crate::gateway::rotation::{Mark, RotationControl};
use crate::world::Reply;

/// An address that is not a node.
const NOWHERE: &str = "192.0.2.1:1";

pub(super) trait Readings: RotationControl {
    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        self.told(replies, address).map(|told| told.mark)
    }

    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String> {
        self.told(replies, address).map(|told| told.is_down())
    }

    fn is_inconsistent(&self, replies: &[Reply], address: &str) -> bool {
        self.told(replies, address).is_ok_and(|told| told.is_inconsistent)
    }

    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        self.told(replies, NOWHERE).map(|told| told.strangers).unwrap_or_default()
    }

    fn is_lost(&self, replies: &[Reply]) -> bool {
        self.told(replies, NOWHERE).is_ok_and(|told| told.is_lost)
    }
}

impl<T: RotationControl + ?Sized> Readings for T {}
