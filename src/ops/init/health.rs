//! The health check: a path that answers 200 on a node that runs, and a header that tells the version.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Answers, Interview};
use super::nodes::DraftNode;
use crate::ops::Refusal;
use crate::world::{Reply, Request, World};

/// Paths of health checks that frameworks and the field use.
const PATHS: [&str; 8] =
    ["/healthz", "/health", "/ping", "/actuator/health", "/-/healthy", "/status", "/up", "/"];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The health check of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundHealth {
    /// A path, and the header with the version, if there is one, with its value now.
    Http(String, Option<(String, String)>),
    /// A connection.
    Tcp,
}

/// The health check: as the options say, or the first path that answers.
pub(super) async fn choose<W: World>(
    world: &Arc<W>,
    answers: &Answers,
    nodes: &[DraftNode],
    interview: &mut impl Interview,
) -> Result<FoundHealth, Refusal> {
    let probe = async |path: &str| {
        for node in nodes {
            let url = format!("http://{}{path}", node.address);
            if let Ok(reply) = world.http(Request::get(url, PATIENCE)).await
                && reply.status == 200
            {
                return Some(FoundHealth::Http(path.to_owned(), version(&reply)));
            }
        }
        None
    };
    match answers.health.as_deref() {
        Some("tcp") => return Ok(FoundHealth::Tcp),
        Some(path) => {
            let found = probe(path).await;
            return Ok(found.unwrap_or_else(|| FoundHealth::Http(path.to_owned(), None)));
        }
        None => {}
    }
    for path in PATHS {
        if let Some(found) = probe(path).await {
            interview.tell(&format!("Health check: {path} answers 200"));
            return Ok(found);
        }
    }
    let question = "The path of the health check, or `tcp`";
    let path = interview.ask(question, Some("tcp"), "--health PATH")?;
    Ok(if path == "tcp" { FoundHealth::Tcp } else { FoundHealth::Http(path, None) })
}

/// The header that tells the version of the service, and its value.
fn version(reply: &Reply) -> Option<(String, String)> {
    let mut headers = reply.headers.iter();
    let is_version = |name: &str, value: &str| {
        let tells = name.starts_with("x-") && name.ends_with("version");
        let safe =
            |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
        tells && !value.is_empty() && value.chars().all(safe)
    };
    let found = headers.find(|(name, value)| is_version(name, value));
    found.map(|(name, value)| (name.clone(), value.clone()))
}
