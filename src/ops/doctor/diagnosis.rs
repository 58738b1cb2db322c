//! Problems of the live systems that would stop a release: nodes, registry, gateways, Consul, the lock.
//!
//! It only reads. Its input comes from [`survey`](crate::survey), from
//! [`GatewayMonitor::probe`](crate::gateway::GatewayMonitor::probe), and from read-only queries to Consul.

use serde_json::json;

use crate::gateway::GatewayInfo;
use crate::node::Survey;
use crate::plan::{Plan, Selection};
use crate::release::Lines;
use crate::spec::Spec;
use crate::survey::{Fleet, NodeFacts, uncounted};
use crate::table::Table;
use crate::text::{self, count};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of object: `node`, `gateway`, `consul`, `lock`.
    pub what: &'static str,
    /// The name of the object.
    pub name: String,
    /// The state of the object, or its problem.
    pub result: Result<String, String>,
}

impl Finding {
    /// Makes a finding about an object.
    #[must_use]
    pub fn new(what: &'static str, name: &str, result: Result<String, String>) -> Self {
        Self { what, name: name.to_owned(), result }
    }
}

/// All findings.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// The findings, in reading order.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Evaluates a survey and the probe of each gateway.
    #[must_use]
    pub fn of(spec: &Spec, fleet: &Fleet, infos: &[(String, Result<GatewayInfo, String>)]) -> Self {
        let mut findings = Vec::new();
        // A plan contains the reason why a node is blocked, including contradictions between gateways.
        let plan = Plan::new(spec, fleet, &Selection::default());
        for row in &plan.rows {
            let planned = &row.planned;
            let blocked = planned.will == crate::release::PlannedAction::Blocked;
            let result = if blocked {
                Err(planned.why.clone())
            } else {
                let version = planned.runs.as_deref().unwrap_or("an unknown version");
                let place = row.mark.word();
                let survey = fleet.nodes.get(&planned.node).and_then(|facts| facts.survey.as_ref());
                let login = survey.and_then(Survey::login);
                let login = login.map_or_else(String::new, |login| format!("; {login}"));
                let held = fleet.nodes.get(&planned.node).and_then(NodeFacts::held);
                let held = held
                    .map_or_else(String::new, |held| format!("; releases leave it out: {held}"));
                Ok(format!("{}, runs {version}, marked {place}{login}{held}", row.address))
            };
            findings.push(Finding::new("node", &planned.node, result));
        }
        if let Some(problem) = &fleet.registry_problem {
            findings.push(Finding::new("registry", "", Err(problem.clone())));
        }
        for ((name, seen), (_, info)) in fleet.gateways.iter().zip(infos) {
            let result = match (seen, info) {
                (Err(problem), _) | (_, Err(problem)) => Err(problem.clone()),
                (Ok(_), Ok(info)) if !info.blockers.is_empty() => Err(info.blockers.join("; ")),
                (Ok(seen), Ok(_)) if seen.listed == 0 => Err("it lists no server".to_owned()),
                (Ok(seen), Ok(_)) if seen.listed_nodes() == 0 => {
                    Err("it lists no node of the playbook: is the upstream's name right?".into())
                }
                (Ok(seen), Ok(info)) => {
                    if let Some(why) = uncounted(spec, fleet, info) {
                        findings.push(Finding::new("gateway", name, Err(why)));
                        continue;
                    }
                    let (serving, all) = (seen.serving(), spec.nodes.len());
                    let nodes = count(all, "node");
                    Ok(format!("{}, routes to {serving} of {nodes}{}", info.is, others(seen)))
                }
            };
            findings.push(Finding::new("gateway", name, result));
        }
        Self { findings }
    }

    /// Returns every problem.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        let told = self.findings.iter().filter_map(|finding| {
            let problem = finding.result.as_ref().err()?;
            Some(format!("{} {}: {problem}", finding.what, finding.name))
        });
        told.collect()
    }

    /// Returns the page for people.
    #[must_use]
    pub fn page(&self) -> String {
        let mut table = Table::new(&["", "WHAT", "NAME", "SEEN"]);
        for finding in &self.findings {
            let (mark, seen) = match &finding.result {
                Ok(seen) => ("ok", seen),
                Err(problem) => ("NO", problem),
            };
            table.row(&[mark, finding.what, &finding.name, &text::line(seen, 300)]);
        }
        let mut page = table.render();
        page += &match self.objections().len() {
            0 => "\nReady to release. Nothing was changed.\n".to_owned(),
            number => {
                format!("\nNot ready: {}. Nothing was changed.\n", count(number, "problem"))
            }
        };
        page
    }

    /// Writes the JSON events for programs.
    pub fn tell(&self, lines: &mut Lines) {
        for finding in &self.findings {
            let (fit, seen) = match &finding.result {
                Ok(seen) => (true, seen),
                Err(problem) => (false, problem),
            };
            let data =
                json!({ "what": finding.what, "name": finding.name, "fit": fit, "seen": seen });
            lines.tell("doctor.finding", None, None, data);
        }
    }
}

/// Describes the other servers that the gateway routes to. They are backups, nodes of another service, or nodes of this
/// playbook under a different name.
fn others(seen: &crate::gateway::Observation) -> String {
    match (seen.others, seen.other_names.first()) {
        (_, None) => String::new(),
        (1, Some(first)) => format!(", and to {first}"),
        (others, Some(first)) => format!(", and to {others} others, {first} among them"),
    }
}
