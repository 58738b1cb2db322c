//! The plan as JSON lines: a line for each node, each gateway, each write and each refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Plan, Row, gateway_keys};
use crate::gateway::{GatewaySpec, following};
use crate::mark::Mark;
use crate::release::{Lines, PlannedAction, Step};
use crate::spec::{NodeSpec, Spec};

impl Plan {
    /// Adds the plan's lines.
    pub fn tell(&self, spec: &Spec, file: &str, lines: &mut Lines) {
        lines.tell("plan.started", None, None, self.head(spec, file));
        for (gateway, problem) in spec.gateways.iter().zip(&self.gateways) {
            lines.tell("plan.gateway", None, None, described(gateway, problem.as_deref()));
        }
        let mut turn = 0;
        for row in &self.rows {
            let updated = row.planned.will == PlannedAction::Update;
            turn += usize::from(updated);
            let mut data = json!({
                "will": row.planned.will,
                "turn": updated.then_some(turn),
                "why": row.planned.why,
                "from": row.planned.runs,
                "to": if spec.is_restart { row.planned.runs.as_ref() } else { spec.version.as_ref() }.filter(|_| updated),
                "address": row.address,
                "down": row.mark.is_down(),
                "was_out": row.planned.was_out,
                "first_install": row.planned.first_install,
                "held": row.planned.held,
                "routed": row.routed,
                "gateways": spec.gateways.len(),
            });
            if !row.entries.is_empty() {
                data["entries"] = json!(row.entries);
            }
            lines.tell("plan.node", Some(&row.planned.node), None, data);
        }
        let keys = gateway_keys(spec);
        for row in self.rows.iter().filter(|row| row.planned.will == PlannedAction::Update) {
            let Some(node) = spec.node(&row.planned.node) else { continue };
            for (step, data) in writes(spec, &keys, node, row) {
                lines.tell("plan.write", Some(&node.name), Some(step), data);
            }
        }
        for refusal in &self.refusals {
            lines.tell("plan.refused", None, None, json!({ "reason": refusal }));
        }
        for warning in &self.warnings {
            lines.tell("plan.warning", None, None, json!({ "reason": warning }));
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

    fn head(&self, spec: &Spec, file: &str) -> Value {
        let artifact = spec.artifact.as_ref().map(|artifact| {
            let digest = artifact.digest.as_ref();
            json!({
                "file": artifact.file.display().to_string(),
                "sha256": digest.map(|digest| &digest.sha256),
                "size": digest.map(|digest| digest.size),
                "form": artifact.packing.form(),
            })
        });
        let batches: Vec<_> = spec.batches.0.iter().map(ToString::to_string).collect();
        // If no gateway can be read, the number is unknown.
        let known = self.gateways.iter().all(Option::is_none);
        let (routed, lowest) = (known.then_some(self.routed_now), known.then_some(self.lowest));
        json!({
            "service": spec.service,
            "file": file,
            "from": self.from,
            "to": spec.version,
            "restart": spec.is_restart,
            "artifact": artifact,
            "batches": batches,
            "number_of_batches": self.batches(spec),
            "min_healthy_time_ms": spec.nodes.first().map(|node| millis(node.health.min_healthy_time)),
            "max_failures": spec.max_failures,
            "pool": { "nodes": spec.nodes.len(), "routed": routed, "min": spec.floor() },
            "lowest": lowest,
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn described(gateway: &GatewaySpec, problem: Option<&str>) -> Value {
    let following = following(gateway);
    json!({
        "gateway": gateway.name,
        "type": following.kind,
        "workers": following.workers,
        "sync_interval_ms": millis(following.interval),
        "lag_ms": millis(following.lag),
        "reads": following.reads,
        "confirmed_when": following.confirmed_when,
        "problem": problem,
    })
}

/// All writes for a node, in order.
fn writes(spec: &Spec, keys: &BTreeSet<String>, node: &NodeSpec, row: &Row) -> Vec<(Step, Value)> {
    let mut writes = Vec::new();
    if let Some(layout) = node.layout.as_ref().filter(|_| !spec.is_restart) {
        writes.push((Step::Stage, json!({ "folder": layout.folder() })));
    }
    for action in &node.steps {
        let data = match (action.step, &action.command, &node.layout) {
            // Its registry entry is already down.
            (Step::Disable, _, _) if row.mark == Mark::Down => continue,
            (step @ (Step::Disable | Step::Enable), _, _) => {
                let places = spec.places(&node.address);
                let mut data = json!({ "key": places.join(", "), "down": step == Step::Disable });
                if places.len() > 1 {
                    data["entries"] = json!(places);
                }
                if !keys.is_empty() {
                    data["keys"] = json!(keys);
                }
                data
            }
            (Step::Activate, None, Some(layout)) => {
                json!({ "link": layout.current, "to": layout.folder() })
            }
            (_, Some(command), _) => json!({ "command": command.run, "sudo": command.sudo }),
            (_, None, _) => continue,
        };
        writes.push((action.step, data));
    }
    if let Some(artifact) = &spec.artifact {
        writes.push((Step::Prune, json!({ "keep": artifact.keep })));
    }
    writes
}
