//! The plan as JSON lines: a line for each node, each gateway, each write and each refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Plan, Row, gateway_keys};
use crate::gateway::{GatewaySpec, following};
use crate::mark::Mark;
use crate::release::{Hold, LineData, LineSchema, Lines, PlannedAction, Step};
use crate::spec::{NodeSpec, Spec};
use crate::survey::EntryLine;

/// Adds the lines of a plan.
pub fn describe(schema: &mut LineSchema) {
    schema.add::<HeadLine<'_>>();
    schema.add::<GatewayLine<'_>>();
    schema.add::<NodeLine<'_>>();
    schema.add::<WriteLine<'_>>();
    schema.add::<RefusalLine<'_>>();
    schema.add::<WarningLine<'_>>();
}

/// What the release would do.
#[derive(Serialize, JsonSchema)]
struct HeadLine<'a> {
    /// The service.
    service: &'a str,
    /// The playbook, as given.
    file: String,
    /// The version before: one, or several.
    from: Option<&'a str>,
    /// The version that would be deployed; `null` for a restart.
    to: Option<&'a str>,
    /// Whether every node keeps its version.
    restart: bool,
    /// The artifact, if there is one.
    artifact: Option<ArtifactLine<'a>>,
    /// The batches: numbers of nodes, or percentages.
    batches: Vec<String>,
    /// How many batches the release would have.
    number_of_batches: usize,
    /// How long a node must stay healthy.
    min_healthy_time_ms: Option<u64>,
    /// After more failed nodes, the release stops.
    max_failures: u32,
    /// The routed nodes.
    pool: PoolLine,
    /// The smallest number of routed nodes on the way; `null` if it is unknown.
    lowest: Option<usize>,
}

/// The artifact of a plan.
#[derive(Serialize, JsonSchema)]
struct ArtifactLine<'a> {
    /// Its path.
    file: String,
    /// The SHA-256 of its bytes.
    sha256: Option<&'a str>,
    /// Its size in bytes.
    size: Option<u64>,
    /// `tar.gz`, …, or `file` if it is not unpacked.
    form: &'a str,
}

/// How many nodes serve, and how many must.
#[derive(Serialize, JsonSchema)]
struct PoolLine {
    /// All nodes of the playbook.
    nodes: usize,
    /// The nodes that the gateway with the fewest routes to; `null` if that is unknown.
    routed: Option<usize>,
    /// The smallest allowed number of routed nodes.
    min: usize,
}

/// A gateway of a plan.
#[derive(Serialize, JsonSchema)]
struct GatewayLine<'a> {
    /// Its name.
    gateway: &'a str,
    /// Its `type` in the playbook.
    #[serde(rename = "type")]
    kind: &'static str,
    /// How many workers follow separately, if it is known.
    workers: Option<u32>,
    /// How often it reads the registry.
    sync_interval_ms: u64,
    /// How long a write may take to reach every worker.
    lag_ms: u64,
    /// How many reads a confirmation needs.
    reads: u32,
    /// When a change is confirmed, in words, if something else than its own answers shows it.
    confirmed_when: Option<String>,
    /// Why it cannot be read.
    problem: Option<&'a str>,
}

/// What would happen to a node.
#[derive(Serialize, JsonSchema)]
struct NodeLine<'a> {
    /// The planned action.
    will: PlannedAction,
    /// Its place among the updated nodes, from 1.
    turn: Option<usize>,
    /// The reason, if it is not obvious.
    why: &'a str,
    /// The running version, if it is known.
    from: Option<&'a str>,
    /// The version after an update.
    to: Option<&'a str>,
    /// Its address.
    address: &'a str,
    /// Whether its registry entry is down; `null` if it is unknown, or differs between registries.
    down: Option<bool>,
    /// Whether it is out of rotation now.
    was_out: bool,
    /// Whether nothing was ever installed on it.
    first_install: bool,
    /// The hold that keeps it out of rotation.
    held: Option<&'a Hold>,
    /// How many gateways route to it; `null` if not all of them can be read.
    routed: Option<usize>,
    /// How many gateways there are.
    gateways: usize,
    /// Its entry in each registry, if there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entries: &'a [EntryLine],
}

/// One write for a node.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum WriteLine<'a> {
    /// A folder for the artifact.
    Folder {
        /// Its path.
        folder: String,
    },
    /// The node's mark.
    Mark {
        /// The key, or the keys.
        key: String,
        /// Whether the node is marked down.
        down: bool,
        /// The entry in each of several registries.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<String>,
        /// The keys in Consul that the gateways need.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        keys: &'a BTreeSet<String>,
    },
    /// A link.
    Link {
        /// Its path.
        link: &'a str,
        /// Its new target.
        to: String,
    },
    /// A command.
    Command {
        /// Its text.
        command: &'a str,
        /// Whether it runs with `sudo`.
        sudo: bool,
    },
    /// The deletion of old releases.
    Prune {
        /// How many are kept.
        keep: u32,
    },
}

/// One reason why the release is refused.
#[derive(Serialize, JsonSchema)]
struct RefusalLine<'a> {
    /// The reason.
    reason: &'a str,
}

/// One reason why the release may fail on a node.
#[derive(Serialize, JsonSchema)]
struct WarningLine<'a> {
    /// The reason.
    reason: &'a str,
}

impl LineData for HeadLine<'_> {
    const KIND: &'static str = "plan.started";
}

impl LineData for GatewayLine<'_> {
    const KIND: &'static str = "plan.gateway";
}

impl LineData for NodeLine<'_> {
    const KIND: &'static str = "plan.node";
    const NAMES: &'static [&'static str] = &["node"];
}

impl LineData for WriteLine<'_> {
    const KIND: &'static str = "plan.write";
    const NAMES: &'static [&'static str] = &["node", "step"];
}

impl LineData for RefusalLine<'_> {
    const KIND: &'static str = "plan.refused";
}

impl LineData for WarningLine<'_> {
    const KIND: &'static str = "plan.warning";
}

impl Plan {
    /// Adds the plan's lines.
    pub fn tell(&self, spec: &Spec, file: &str, lines: &mut Lines) {
        lines.tell(None, None, &self.head(spec, file));
        for (gateway, problem) in spec.gateways.iter().zip(&self.gateways) {
            lines.tell(None, None, &described(gateway, problem.as_deref()));
        }
        let mut turn = 0;
        for row in &self.rows {
            let updated = row.planned.will == PlannedAction::Update;
            turn += usize::from(updated);
            let data = node_line(spec, row, updated.then_some(turn));
            lines.tell(Some(&row.planned.node), None, &data);
        }
        let keys = gateway_keys(spec);
        for row in self.rows.iter().filter(|row| row.planned.will == PlannedAction::Update) {
            let Some(node) = spec.node(&row.planned.node) else { continue };
            for (step, data) in writes(spec, &keys, node, row) {
                lines.tell(Some(&node.name), Some(step), &data);
            }
        }
        for reason in &self.refusals {
            lines.tell(None, None, &RefusalLine { reason });
        }
        for reason in &self.warnings {
            lines.tell(None, None, &WarningLine { reason });
        }
    }

    /// The nodes by their planned action.
    #[must_use]
    pub fn by_will(&self) -> BTreeMap<String, Vec<String>> {
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &self.rows {
            let word = match row.planned.will {
                PlannedAction::Update => "update",
                PlannedAction::Skip => "skip",
                PlannedAction::LeftOut => "left_out",
                PlannedAction::Blocked => "blocked",
            };
            nodes.entry(word.into()).or_default().push(row.planned.node.clone());
        }
        nodes
    }

    fn head<'a>(&'a self, spec: &'a Spec, file: &str) -> HeadLine<'a> {
        let artifact = spec.artifact.as_ref().map(|artifact| {
            let digest = artifact.digest.as_ref();
            ArtifactLine {
                file: artifact.file.display().to_string(),
                sha256: digest.map(|digest| digest.sha256.as_str()),
                size: digest.map(|digest| digest.size),
                form: artifact.packing.form(),
            }
        });
        // If no gateway can be read, the number is unknown.
        let known = self.gateways.iter().all(Option::is_none);
        let routed = known.then_some(self.routed_now);
        HeadLine {
            service: &spec.service,
            file: file.to_owned(),
            from: self.from.as_deref(),
            to: spec.version.as_deref(),
            restart: spec.is_restart,
            artifact,
            batches: spec.batches.0.iter().map(ToString::to_string).collect(),
            number_of_batches: self.batches(spec),
            min_healthy_time_ms: spec
                .nodes
                .first()
                .map(|node| millis(node.health.min_healthy_time)),
            max_failures: spec.max_failures,
            pool: PoolLine { nodes: spec.nodes.len(), routed, min: spec.floor() },
            lowest: known.then_some(self.lowest),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn described<'a>(gateway: &'a GatewaySpec, problem: Option<&'a str>) -> GatewayLine<'a> {
    let following = following(gateway);
    GatewayLine {
        gateway: &gateway.name,
        kind: following.kind,
        workers: following.workers,
        sync_interval_ms: millis(following.interval),
        lag_ms: millis(following.lag),
        reads: following.reads,
        confirmed_when: following.confirmed_when,
        problem,
    }
}

/// The line of a node. `turn` is its place among the updated ones.
fn node_line<'a>(spec: &'a Spec, row: &'a Row, turn: Option<usize>) -> NodeLine<'a> {
    let planned = &row.planned;
    let to = if spec.is_restart { planned.runs.as_deref() } else { spec.version.as_deref() };
    NodeLine {
        will: planned.will,
        turn,
        why: &planned.why,
        from: planned.runs.as_deref(),
        to: to.filter(|_| turn.is_some()),
        address: &row.address,
        down: row.mark.is_down(),
        was_out: planned.was_out,
        first_install: planned.first_install,
        held: planned.held.as_ref(),
        routed: row.routed,
        gateways: spec.gateways.len(),
        entries: &row.entries,
    }
}

/// All writes for a node, in order.
fn writes<'a>(
    spec: &Spec,
    keys: &'a BTreeSet<String>,
    node: &'a NodeSpec,
    row: &Row,
) -> Vec<(Step, WriteLine<'a>)> {
    let mut writes = Vec::new();
    if let Some(layout) = node.layout.as_ref().filter(|_| !spec.is_restart) {
        writes.push((Step::Stage, WriteLine::Folder { folder: layout.folder() }));
    }
    for action in &node.steps {
        let data = match (action.step, &action.command, &node.layout) {
            // Its registry entry is already down.
            (Step::Disable, _, _) if row.mark == Mark::Down => continue,
            (step @ (Step::Disable | Step::Enable), _, _) => {
                let places = spec.places(&node.address);
                let (key, down) = (places.join(", "), step == Step::Disable);
                let entries = if places.len() > 1 { places } else { Vec::new() };
                WriteLine::Mark { key, down, entries, keys }
            }
            (Step::Activate, None, Some(layout)) => {
                WriteLine::Link { link: &layout.current, to: layout.folder() }
            }
            (_, Some(command), _) => {
                WriteLine::Command { command: &command.run, sudo: command.sudo }
            }
            (_, None, _) => continue,
        };
        writes.push((action.step, data));
    }
    if let Some(artifact) = &spec.artifact {
        writes.push((Step::Prune, WriteLine::Prune { keep: artifact.keep }));
    }
    writes
}
