//! The plan for each node of a release.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::hold::Hold;

/// The plan for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// The node.
    pub node: String,
    /// The planned action.
    pub will: PlannedAction,
    /// The reason, if it is not obvious.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The running version, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// Whether it was out of rotation.
    #[serde(default)]
    pub was_out: bool,
    /// Whether nothing was ever installed on it, and nothing runs there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_install: bool,
    /// Whether a journal says that rollgate took it out of rotation: a gateway that does not list it has it
    /// out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_out: bool,
    /// Gateway entries at that time that are not nodes of the playbook.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub strangers: BTreeSet<String>,
    /// The hold that keeps it out of rotation: `node out` begins it, `node in` and `--include-held` end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Hold>,
}

/// The planned action for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// It is updated.
    Update,
    /// No action: the node is up to date.
    Skip,
    /// No action: the operator left it out, or holds it.
    LeftOut,
    /// No action: the node cannot be reached or used; it counts as failed.
    Blocked,
}

impl PlannedAction {
    /// The action in words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Skip => "skip",
            Self::LeftOut => "left out",
            Self::Blocked => "blocked",
        }
    }
}

/// The plan for each node, in the order of the release, with an index of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "Vec<Planned>")]
#[schemars(with = "Vec<Planned>", inline)]
pub struct PlannedNodes {
    list: Vec<Planned>,
    places: BTreeMap<String, Place>,
    updates: usize,
}

/// The place of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The position in the list.
    index: usize,
    /// The number among the updated nodes, from 1; 0 if it is not updated.
    turn: usize,
}

impl PlannedAction {
    /// The action in words, for people. In a restart, an updated node only restarts.
    #[must_use]
    pub fn in_words(self, is_restart: bool) -> &'static str {
        match self {
            Self::Update if is_restart => "restart",
            Self::Update => "update",
            Self::Skip => "nothing",
            Self::LeftOut => "left out",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl PlannedNodes {
    /// The plan for the node with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Planned> {
        self.list.get(self.places.get(name)?.index)
    }

    /// The position of a node in the order of the release, from 0.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).map(|place| place.index)
    }

    /// How many nodes are updated.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// The position of a node among the updated ones, from 1, and their number.
    #[must_use]
    pub fn turn(&self, name: &str) -> (usize, usize) {
        (self.places.get(name).map_or(0, |place| place.turn), self.updates)
    }
}

impl From<Vec<Planned>> for PlannedNodes {
    fn from(list: Vec<Planned>) -> Self {
        let (mut places, mut updates) = (BTreeMap::new(), 0);
        for (index, planned) in list.iter().enumerate() {
            let is_updated = planned.will == PlannedAction::Update;
            updates += usize::from(is_updated);
            let turn = if is_updated { updates } else { 0 };
            places.entry(planned.node.clone()).or_insert(Place { index, turn });
        }
        Self { list, places, updates }
    }
}

impl Serialize for PlannedNodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl Deref for PlannedNodes {
    type Target = [Planned];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_its_plan_and_its_turn_among_the_updated_ones() {
        let json = r#"[{"node":"b","will":"update","was_out":false},{"node":"c","will":"skip","was_out":true},{"node":"a","will":"update","was_out":false}]"#;
        let nodes: PlannedNodes = serde_json::from_str(json).expect("a plan");
        assert_eq!(
            ["b", "c", "a", "d"].map(|name| nodes.turn(name)),
            [(1, 2), (0, 2), (2, 2), (0, 2)]
        );
        assert_eq!(
            ["b", "c", "a", "d"].map(|name| nodes.place(name)),
            [Some(0), Some(1), Some(2), None]
        );
        assert!(nodes.named("c").is_some_and(|planned| planned.was_out));
        assert_eq!(nodes.named("d"), None);
        assert_eq!(serde_json::to_string(&nodes).expect("text"), json);
    }
}
