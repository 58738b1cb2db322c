//! The nodes of a release in order, with an index of their names.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::slice::Iter;
use std::sync::Arc;

use super::node::NodeSpec;

/// The nodes in the order of the playbook. A copy shares them.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    list: Vec<Arc<NodeSpec>>,
    /// By name, the position in the list.
    places: BTreeMap<String, usize>,
}

impl Nodes {
    /// The node with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<NodeSpec>> {
        self.list.get(*self.places.get(name)?)
    }
}

impl FromIterator<Arc<NodeSpec>> for Nodes {
    fn from_iter<I: IntoIterator<Item = Arc<NodeSpec>>>(nodes: I) -> Self {
        let list: Vec<_> = nodes.into_iter().collect();
        let mut places = BTreeMap::new();
        for (place, node) in list.iter().enumerate() {
            places.entry(node.name.clone()).or_insert(place);
        }
        Self { list, places }
    }
}

impl Deref for Nodes {
    type Target = [Arc<NodeSpec>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = &'a Arc<NodeSpec>;
    type IntoIter = Iter<'a, Arc<NodeSpec>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
