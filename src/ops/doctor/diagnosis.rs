//! Problems of the live systems that would stop a release: nodes, registry, gateways, Consul, the lock.
//!
//! It only reads. Its input comes from [`survey`](crate::survey), from
//! [`GatewayMonitor::probe`](crate::gateway::GatewayMonitor::probe), and from read-only queries to Consul.

use schemars::JsonSchema;
use serde::Serialize;

use crate::gateway::{GatewayInfo, Observation};
use crate::mark::Mark;
use crate::plan::{Plan, Row, Selection};
use crate::release::{LineData, LineSchema, Lines, PlannedAction};
use crate::spec::Spec;
use crate::survey::{Fleet, NodeFacts, alike, blockers, unhealthy_everywhere};
use crate::table::Table;
use crate::text::{self, NAMES_TOLD, count};

/// The kind of a finding about a node.
const NODE: &str = "node";

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of object: `node`, `gateway`, `consul`, `lock`.
    pub what: &'static str,
    /// The name of the object.
    pub name: String,
    /// What was seen.
    pub seen: Seen,
}

/// What was seen of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is ready; its state.
    Ready(String),
    /// Why it is unknown whether it is ready.
    Unknown(String),
    /// Its problem.
    Problem(String),
}

impl From<Result<String, String>> for Seen {
    fn from(result: Result<String, String>) -> Self {
        result.map_or_else(Self::Problem, Self::Ready)
    }
}

impl Seen {
    fn text(&self) -> &str {
        match self {
            Self::Ready(text) | Self::Unknown(text) | Self::Problem(text) => text,
        }
    }
}

impl Finding {
    /// Makes a finding about an object.
    #[must_use]
    pub fn new(what: &'static str, name: &str, seen: impl Into<Seen>) -> Self {
        Self { what, name: name.to_owned(), seen: seen.into() }
    }
}

/// All findings.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// The findings, in reading order.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Adds what a survey and the probe of each gateway show. Plans and releases refuse for the same reasons.
    pub fn examine(
        &mut self,
        spec: &Spec,
        fleet: &Fleet,
        infos: &[(String, Result<GatewayInfo, String>)],
    ) {
        // A plan contains the reason why a node is blocked, including contradictions between gateways.
        let plan = Plan::new(spec, fleet, &Selection::default());
        for row in &plan.rows {
            self.add(NODE, &row.planned.node, node(row, fleet));
        }
        if let Some(problem) = fleet.registry_told(spec) {
            self.add("registry", "", Err(problem));
        }
        for ((name, seen), (_, info)) in fleet.gateways.iter().zip(infos) {
            self.add("gateway", name, gateway(spec, fleet, seen, info));
        }
        for problem in &plan.shortages {
            self.add("capacity", &spec.service, Err(problem.clone()));
        }
        if plan.shortages.is_empty() && plan.gateways.iter().all(Option::is_none) {
            let (lowest, floor) = (plan.lowest, spec.floor());
            let told = if lowest < floor {
                format!(
                    "fewer nodes than the {floor} that must stay routed serve now: a release returns others first"
                )
            } else {
                format!("at least {lowest} stay routed during a release, {floor} must")
            };
            self.add("capacity", &spec.service, Ok(told));
        }
        if let Some(why) = unhealthy_everywhere(spec, fleet) {
            self.add("health", &spec.service, Err(why));
        }
    }

    fn add(&mut self, what: &'static str, name: &str, seen: Result<String, String>) {
        self.findings.push(Finding::new(what, name, seen));
    }

    /// Returns every problem.
    #[must_use]
    pub fn objections(&self, spec: &Spec) -> Vec<String> {
        let told = self.grouped(spec).into_iter().filter_map(|finding| match finding.seen {
            Seen::Problem(problem) => Some(format!("{} {}: {problem}", finding.what, finding.name)),
            Seen::Ready(_) | Seen::Unknown(_) => None,
        });
        told.collect()
    }

    /// Returns the findings. A problem that several nodes have is one of them.
    fn grouped(&self, spec: &Spec) -> Vec<Finding> {
        let is_problem =
            |finding: &&Finding| finding.what == NODE && matches!(finding.seen, Seen::Problem(_));
        let problems = self.findings.iter().filter(is_problem);
        let problems = problems.map(|it| (it.name.clone(), it.seen.text().to_owned()));
        let mut groups = alike(spec, problems);
        let grouped = self.findings.iter().filter_map(|finding| {
            if !is_problem(&finding) {
                return Some(finding.clone());
            }
            let at = groups.iter().position(|(names, _)| names.first() == Some(&finding.name))?;
            let (names, problem) = groups.remove(at);
            let names = text::few(names, NAMES_TOLD).join(", ");
            Some(Finding::new(NODE, &names, Seen::Problem(problem)))
        });
        grouped.collect()
    }

    /// Returns the page for people.
    #[must_use]
    pub fn page(&self, spec: &Spec) -> String {
        let mut table = Table::new(&["", "WHAT", "NAME", "SEEN"]);
        for finding in &self.grouped(spec) {
            let mark = match &finding.seen {
                Seen::Ready(_) => "ok",
                Seen::Unknown(_) => "?",
                Seen::Problem(_) => "NO",
            };
            let seen = text::line(finding.seen.text(), 600);
            table.row(&[mark, finding.what, &finding.name, &seen]);
        }
        let is_unknown = |finding: &&Finding| matches!(finding.seen, Seen::Unknown(_));
        let unknown = self.findings.iter().filter(is_unknown).count();
        let unknown = (unknown > 0).then(|| format!(", {} unknown", count(unknown, "check")));
        let unknown = unknown.unwrap_or_default();
        let mut page = table.render();
        page += &match self.objections(spec).len() {
            0 => format!("\nReady to release{unknown}. Nothing was changed.\n"),
            number => {
                let problems = count(number, "problem");
                format!("\nNot ready: {problems}{unknown}. Nothing was changed.\n")
            }
        };
        page
    }

    /// Writes the JSON events for programs.
    pub fn tell(&self, lines: &mut Lines) {
        for finding in &self.findings {
            let fit = match &finding.seen {
                Seen::Ready(_) => Some(true),
                Seen::Unknown(_) => None,
                Seen::Problem(_) => Some(false),
            };
            let seen = finding.seen.text();
            lines.tell(
                None,
                None,
                &FindingLine { what: finding.what, name: &finding.name, fit, seen },
            );
        }
    }
}

/// Adds the line of `doctor`.
pub fn describe(schema: &mut LineSchema) {
    schema.add::<FindingLine<'_>>();
}

/// One thing that `doctor` checked.
#[derive(Serialize, JsonSchema)]
struct FindingLine<'a> {
    /// Its kind.
    #[schemars(extend("enum" = [
        "artifact", "node", "registry", "gateway", "capacity", "health", "consul", "rights", "lock"
    ]))]
    what: &'a str,
    /// Its name.
    name: &'a str,
    /// Whether it is ready; `null` if that is unknown.
    fit: Option<bool>,
    /// What was seen.
    seen: &'a str,
}

impl LineData for FindingLine<'_> {
    const KIND: &'static str = "doctor.finding";
}

/// Evaluates a node.
fn node(row: &Row, fleet: &Fleet) -> Result<String, String> {
    let planned = &row.planned;
    let facts = fleet.nodes.get(&planned.node);
    let problem = match planned.will {
        PlannedAction::Blocked => Some(planned.why.clone()),
        _ => facts.and_then(|facts| facts.warning.clone()),
    };
    if let Some(problem) = problem {
        return Err(problem);
    }
    let version = match &planned.runs {
        _ if planned.first_install => "nothing yet (first install)",
        Some(version) => version,
        None => "an unknown version",
    };
    let dead = facts.is_some_and(NodeFacts::is_unreachable);
    let runs = if dead && !planned.first_install { "has" } else { "runs" };
    let mixed = facts.and_then(|facts| facts.mixed.as_ref());
    let mixed = mixed.map_or_else(String::new, |mixed| format!(" ({mixed})"));
    let place = format!("{}{mixed}", row.mark.word());
    let login = facts.and_then(|facts| facts.survey.as_ref()?.login());
    let login = login.map_or_else(String::new, |login| format!("; {login}"));
    let dead = match row.mark {
        Mark::Up if dead && !planned.first_install => {
            "; nothing listens at its address: a release updates it first"
        }
        _ => "",
    };
    let held = facts.and_then(NodeFacts::held);
    let held = held.map_or_else(String::new, |held| format!("; releases leave it out: {held}"));
    let doubt = facts.and_then(|facts| facts.doubt.as_ref());
    let doubt = doubt.map_or_else(String::new, |doubt| format!("; {doubt}"));
    Ok(format!("{}, {runs} {version}, marked {place}{dead}{login}{held}{doubt}", row.address))
}

/// Evaluates a gateway.
fn gateway(
    spec: &Spec,
    fleet: &Fleet,
    seen: &Result<Observation, String>,
    info: &Result<GatewayInfo, String>,
) -> Result<String, String> {
    let (seen, info) = (seen.as_ref().map_err(Clone::clone)?, info.as_ref().map_err(Clone::clone)?);
    let blockers = blockers(spec, fleet, info);
    if !blockers.is_empty() {
        return Err(blockers.join("; "));
    }
    if seen.listed == 0 {
        return Err("it lists no server".to_owned());
    }
    if seen.listed_nodes() == 0 {
        let nodes = spec.nodes.iter().map(|node| node.address.as_str());
        let nodes = text::first_of(nodes, spec.nodes.len());
        let listed = seen.strangers().unwrap_or_else(|| count(seen.listed, "server"));
        return Err(format!(
            "it lists {listed}, but no node of the playbook ({nodes}): is the upstream's name right?"
        ));
    }
    let (serving, nodes) = (seen.serving(), count(spec.nodes.len(), "node"));
    let advice = info.advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"));
    Ok(format!("{}, routes to {serving} of {nodes}{}{advice}", info.is, others(seen)))
}

/// Describes the other servers that the gateway routes to. They are backups, nodes of another service, or nodes of this
/// playbook under a different name.
fn others(seen: &Observation) -> String {
    match (seen.others, seen.other_names.first()) {
        (_, None) => String::new(),
        (1, Some(first)) => format!(", and to {first}"),
        (others, Some(first)) => format!(", and to {others} others, {first} among them"),
    }
}
