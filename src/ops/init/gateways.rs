//! Recognises gateways by what they answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::answers::{Answers, GatewayAnswer, Interview};
use super::nodes::DraftNode;
use crate::consul::Client;
use crate::gateway::{
    Gateway, GatewayAddress, GatewaySpec, Guess, Purpose, QueryClient, QueryError, RegistryKind,
    driver,
};
use crate::ops::{Cause, Refusal};
use crate::text;
use crate::world::{HttpError, Request, Trust, World};

/// How long an address may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// A gateway that shows the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundGateway {
    /// Its settings.
    pub settings: Gateway,
    /// Its keys as the playbook has them.
    pub keys: Map<String, Value>,
    /// How many of the nodes it lists.
    pub listed: usize,
}

impl FoundGateway {
    /// Why it cannot follow a registry of this kind, if it cannot.
    pub(super) fn unfit_for(&self, registry: RegistryKind) -> Option<String> {
        let facts = self.settings.settings().facts();
        let mut unfit = facts.incompatible_with.into_iter();
        unfit.find(|(kind, _)| *kind == registry).map(|(_, why)| why)
    }
}

/// The gateways: those of the options, or those that the operator names.
pub(super) async fn choose<W: World>(
    world: &Arc<W>,
    consul: Option<&Client<W>>,
    answers: &Answers,
    (registry, names): (RegistryKind, &[String]),
    nodes: &[DraftNode],
    interview: &mut impl Interview,
) -> Result<Vec<FoundGateway>, Refusal> {
    let client = QueryClient::new(world.clone(), consul);
    let looker = Looker { client, world: world.clone(), names, nodes };
    let mut given = answers.gateways.clone();
    let mut found = Vec::new();
    loop {
        let (answer, asked) = match given.is_empty() {
            false => (given.remove(0), false),
            true if !answers.gateways.is_empty() => break,
            true => {
                let question =
                    "A gateway: a URL that lists its servers, or a socket (empty: no more)";
                let default = (!found.is_empty()).then_some("");
                let text = interview.ask(question, default, "--gateway ADDRESS")?;
                if text.trim().is_empty() {
                    break;
                }
                match GatewayAnswer::parse(&text) {
                    Ok(answer) => (answer, true),
                    Err(problem) => {
                        interview.tell(&problem);
                        continue;
                    }
                }
            }
        };
        match looker.recognise(&answer, registry, interview).await {
            Ok(gateway) => {
                let place = text::line(gateway.settings.display_name(), 80);
                let listed = text::count(gateway.listed, "node");
                interview.tell(&format!("{place}: {}, lists {listed}", gateway.settings.kind()));
                found.push(gateway);
            }
            Err(refusal) if asked => interview.tell(&refusal.reason),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(found)
}

struct Looker<'a, W> {
    client: QueryClient<W>,
    world: Arc<W>,
    names: &'a [String],
    nodes: &'a [DraftNode],
}

/// What came of a guess.
enum Tried {
    Found(Box<FoundGateway>),
    /// It is something else. If the request was answered with 200, why that is not the list.
    Other(Option<String>),
    /// It does not answer, or a request to it failed.
    Failed(String),
    /// Nothing answers at the address.
    Silent(String),
}

impl<W: World> Looker<'_, W> {
    async fn recognise(
        &self,
        answer: &GatewayAnswer,
        registry: RegistryKind,
        interview: &mut impl Interview,
    ) -> Result<FoundGateway, Refusal> {
        let Some(text) = &answer.address else { return self.given(answer).await };
        let invalid = |problem: String| Refusal::new(Cause::Invalid, format!("{text}: {problem}"));
        let address = GatewayAddress::parse(text).map_err(invalid)?;
        let names: Vec<_> = answer.key("upstream").map(str::to_owned).into_iter().collect();
        let names = if names.is_empty() { self.names } else { &names };
        let mut guesses = Gateway::guesses(&address, names);
        if let Some(kind) = answer.key("type") {
            guesses.retain(|(own, _)| *own == kind);
        }
        let mut found: Option<(&str, Guess, FoundGateway)> = None;
        let mut unfit = Vec::new();
        for (kind, guess) in guesses {
            let Some(settings) = settings(kind, &guess, answer, true) else { continue };
            match self.look(settings).await {
                Tried::Found(gateway) => {
                    // A gateway that can follow the registry is the better guess, and what lists more nodes.
                    let rank = |one: &FoundGateway| (one.unfit_for(registry).is_none(), one.listed);
                    if found.as_ref().is_none_or(|(_, _, best)| rank(&gateway) > rank(best)) {
                        found = Some((kind, guess, *gateway));
                    }
                }
                Tried::Other(problem) => {
                    unfit.extend(problem.map(|problem| format!("as {kind}: {problem}")));
                }
                // A URL has several paths, and another may answer.
                Tried::Failed(problem) if matches!(address, GatewayAddress::Url { .. }) => {
                    unfit.push(format!("as {kind}: {problem}"));
                }
                Tried::Failed(problem) | Tried::Silent(problem) => {
                    return Err(Refusal::refused(format!("{text}: {problem}")));
                }
            }
        }
        let Some((kind, guess, found)) = found else {
            return Err(self.unknown(text, &address, unfit).await);
        };
        if guess.unknown.is_empty() {
            return Ok(found);
        }
        let mut answer = answer.clone();
        for unknown in &guess.unknown {
            if answer.key(unknown.key).is_none() {
                let option = format!("--gateway {text},{}=VALUE", unknown.key);
                let value = interview.ask(unknown.question, None, &option)?;
                answer.keys.push((unknown.key.to_owned(), value));
            }
        }
        let settings = settings(kind, &guess, &answer, false);
        let (keys, settings) = settings.ok_or_else(|| invalid("its keys are not valid".into()))?;
        Ok(FoundGateway { settings, keys, ..found })
    }

    /// A gateway whose keys are all given.
    async fn given(&self, answer: &GatewayAnswer) -> Result<FoundGateway, Refusal> {
        let invalid =
            |problem: String| Refusal::new(Cause::Invalid, format!("--gateway: {problem}"));
        let kind = answer.key("type").ok_or_else(|| invalid("`type` is missing".to_owned()))?;
        let made = settings(kind, &Guess::default(), answer, false);
        let made = made.ok_or_else(|| invalid(format!("these are not the keys of `{kind}`")))?;
        match self.look(made).await {
            Tried::Found(gateway) => Ok(*gateway),
            Tried::Failed(problem) | Tried::Silent(problem) => {
                Err(Refusal::refused(format!("{kind}: {problem}")))
            }
            Tried::Other(problem) => {
                let problem = problem.unwrap_or_else(|| "it does not answer as such".to_owned());
                Err(Refusal::refused(format!("{kind}: {problem}")))
            }
        }
    }

    /// Reads a gateway with guessed keys.
    async fn look(&self, (keys, settings): (Map<String, Value>, Gateway)) -> Tried {
        let spec = GatewaySpec {
            name: settings.kind().to_owned(),
            settings,
            trust: Trust::default(),
            nodes: self.nodes.iter().map(|node| node.address.clone()).collect(),
            registry: 0,
        };
        let driver = driver(&spec);
        let replies = match self.client.ask_all(&driver.queries(Purpose::Look)).await {
            Ok(replies) => replies,
            Err(QueryError::NotSent(problem)) => return Tried::Silent(problem),
            Err(error) => return Tried::Failed(error.to_string()),
        };
        let is_answered = replies.iter().all(|reply| reply.status == 200);
        let other = |problem: String| Tried::Other(is_answered.then_some(problem));
        let view = match driver.read(&replies) {
            Ok(view) => view,
            Err(problem) => return other(problem),
        };
        let lists = |address: &String| {
            view.peers.contains_key(address) || view.unread.contains_key(address)
        };
        let listed = spec.nodes.iter().filter(|address| lists(address)).count();
        if listed == 0 {
            return other("it lists none of the nodes".to_owned());
        }
        Tried::Found(Box::new(FoundGateway { settings: spec.settings, keys, listed }))
    }

    /// Says what answers at an address that is not recognised.
    async fn unknown(&self, text: &str, address: &GatewayAddress, unfit: Vec<String>) -> Refusal {
        let names = text::few(self.names.iter().cloned(), 3).join(" or ");
        let seen = match address {
            GatewayAddress::Url { base, whole } => {
                let url = whole.clone().unwrap_or_else(|| format!("{base}/"));
                match self.world.http(Request::get(url, PATIENCE)).await {
                    Ok(reply) => {
                        let server = reply.header("server").map(|name| text::line(name, 60));
                        let server =
                            server.map_or(String::new(), |name| format!(", Server: {name}"));
                        format!("it answers {}{server}", reply.status)
                    }
                    Err(HttpError::NotSent(problem)) => problem,
                    Err(error) => error.to_string(),
                }
            }
            GatewayAddress::Socket { .. } | GatewayAddress::Tcp(_) => "it is no HAProxy".to_owned(),
        };
        let mut refusal = Refusal::refused(format!(
            "{text}: no kind of gateway that rollgate knows shows a node of {names} there; {seen}"
        ));
        for problem in text::few(unfit, 3) {
            refusal = refusal.hint(text::line(&problem, 300));
        }
        refusal
            .hint("give the URL with the list of servers, or the gateway's name for the pool: --upstream NAME")
            .hint("or give its keys: --gateway type=KIND,KEY=VALUE,… (docs/gateways.md has them)")
    }
}

/// The settings of a kind with guessed and given keys. `None` if they do not fit.
fn settings(
    kind: &str,
    guess: &Guess,
    answer: &GatewayAnswer,
    samples: bool,
) -> Option<(Map<String, Value>, Gateway)> {
    let mut keys = Map::new();
    keys.insert("type".to_owned(), kind.into());
    keys.extend(guess.keys.clone());
    for unknown in guess.unknown.iter().filter(|_| samples) {
        keys.insert(unknown.key.to_owned(), unknown.sample.into());
    }
    for (key, value) in &answer.keys {
        keys.insert(
            key.clone(),
            serde_json::from_str(value).unwrap_or_else(|_| value.clone().into()),
        );
    }
    let settings = serde_json::from_value(Value::Object(keys.clone())).ok()?;
    Some((keys, settings))
}
