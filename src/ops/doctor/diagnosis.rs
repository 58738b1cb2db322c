//! Problems of the live systems that would stop a release: nodes, registry, gateways, Consul, the lock.
//!
//! Looks only. What is judged here was seen by [`survey`](crate::survey), by
//! [`GatewayMonitor::probe`](crate::gateway::GatewayMonitor::probe) and by questions to Consul that change nothing.

use serde_json::json;

use crate::gateway::GatewayInfo;
use crate::node::Survey;
use crate::plan::{Plan, Selection};
use crate::release::Lines;
use crate::spec::Spec;
use crate::survey::{Fleet, uncounted};
use crate::table::Table;
use crate::text::{self, count};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing: `node`, `gateway`, `consul`, `lock`.
    pub what: &'static str,
    /// Which one.
    pub name: String,
    /// What was seen, or the problem.
    pub result: Result<String, String>,
}

impl Finding {
    /// A finding of something.
    #[must_use]
    pub fn new(what: &'static str, name: &str, result: Result<String, String>) -> Self {
        Self { what, name: name.to_owned(), result }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// In the order in which a reader would go through it.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Judges what a survey and a closer look at each gateway have shown.
    #[must_use]
    pub fn of(spec: &Spec, fleet: &Fleet, infos: &[(String, Result<GatewayInfo, String>)]) -> Self {
        let mut findings = Vec::new();
        // A plan knows what keeps a node from being used, its gateways' contradictions included.
        let plan = Plan::new(spec, fleet, &Selection::default());
        for row in &plan.rows {
            let planned = &row.planned;
            let blocked = planned.will == crate::release::PlannedAction::Blocked;
            let result = if blocked {
                Err(planned.why.clone())
            } else {
                let version = planned.runs.as_deref().unwrap_or("an unknown version");
                let place = if row.down == Some(true) { "down" } else { "up" };
                let survey = fleet.nodes.get(&planned.node).and_then(|facts| facts.survey.as_ref());
                let login = survey.and_then(Survey::login);
                let login = login.map_or_else(String::new, |login| format!("; {login}"));
                Ok(format!("{}, runs {version}, marked {place}{login}", row.address))
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

    /// For people.
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

    /// For programs.
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

/// Whom else it routes to: backups, another service's nodes, or one of ours under a name that nobody would take for it.
fn others(seen: &crate::gateway::Observation) -> String {
    match (seen.others, seen.other_names.first()) {
        (_, None) => String::new(),
        (1, Some(first)) => format!(", and to {first}"),
        (others, Some(first)) => format!(", and to {others} others, {first} among them"),
    }
}
