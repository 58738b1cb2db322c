//! The one rule of capacity: how many nodes must stay in rotation at a gateway when others leave it.

use super::{NodeSpec, Spec};
use crate::text::count;

/// The nodes of a service at one gateway when some of them leave.
#[derive(Debug)]
pub struct Remaining<'a> {
    /// Those that stay in rotation.
    pub stay: Vec<&'a NodeSpec>,
    /// Those that do not leave, and serve nothing all the same.
    pub idle: Vec<&'a NodeSpec>,
    floor: usize,
}

impl Spec {
    /// Tells what remains when the nodes leave that `leaves` names, of those that serve at a gateway.
    pub fn remaining(
        &self,
        leaves: impl Fn(&NodeSpec) -> bool,
        serves: impl Fn(&NodeSpec) -> bool,
    ) -> Remaining<'_> {
        let nodes = self.nodes.iter().map(AsRef::as_ref).filter(|node| !leaves(node));
        let (stay, idle) = nodes.partition(|node| serves(node));
        Remaining { stay, idle, floor: self.floor() }
    }
}

impl Remaining<'_> {
    /// Returns whether fewer stay than must.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.stay.len() < self.floor
    }

    /// `1 node only, fewer than 2`.
    #[must_use]
    pub fn shortage(&self) -> String {
        format!("{} only, fewer than {}", count(self.stay.len(), "node"), self.floor)
    }
}
