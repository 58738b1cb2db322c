//! The health check: a path that answers 200 on a node that runs, and where its answer has the version.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Answers, Interview};
use super::nodes::DraftNode;
use crate::health::identity_of;
use crate::ops::Refusal;
use crate::spec::IdentityPlace;
use crate::world::{Reply, Request, World};

/// Paths of health checks that frameworks and the field use.
const PATHS: [&str; 8] =
    ["/healthz", "/health", "/ping", "/actuator/health", "/-/healthy", "/status", "/up", "/"];

/// Where services tell their version in JSON. `releaseId`: a health response that has it uses `version` for its API.
const POINTERS: [&str; 14] = [
    "/releaseId",
    "/version",
    "/app_version",
    "/appVersion",
    "/app/version",
    "/build/version",
    "/info/version",
    "/release",
    "/revision",
    "/commit",
    "/git/commit",
    "/git/commit/id",
    "/git/sha",
    "/build/commit",
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The health check of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundHealth {
    /// A path, and where its answer has the version, if it has one.
    Http(String, Option<FoundVersion>),
    /// A connection.
    Tcp,
}

/// Where an answer has the version, and which one it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVersion {
    /// Where it is.
    pub place: IdentityPlace,
    /// The version that runs.
    pub now: String,
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
            interview.tell(&format!("Health check: {path} answers 200{}", found.told_version()));
            return Ok(found);
        }
    }
    let question = "The path of the health check, or `tcp`";
    let path = interview.ask(question, Some("tcp"), "--health PATH")?;
    Ok(if path == "tcp" { FoundHealth::Tcp } else { FoundHealth::Http(path, None) })
}

impl FoundHealth {
    fn told_version(&self) -> String {
        match self {
            Self::Http(_, Some(FoundVersion { place: IdentityPlace::Header(name), now })) => {
                format!(", header {name} has the version ({now})")
            }
            Self::Http(_, Some(FoundVersion { place: IdentityPlace::Pointer(pointer), now })) => {
                format!(", {pointer} in its JSON has the version ({now})")
            }
            Self::Http(_, None) => ", and does not tell its version".to_owned(),
            Self::Tcp => String::new(),
        }
    }
}

/// Where an answer has the version of the service.
fn version(reply: &Reply) -> Option<FoundVersion> {
    let tells = |name: &&String| name.starts_with("x-") && name.ends_with("version");
    let headers = reply.headers.keys().filter(tells);
    let headers = headers.map(|name| IdentityPlace::Header(name.clone()));
    let pointers = POINTERS.into_iter().map(|pointer| IdentityPlace::Pointer(pointer.to_owned()));
    headers.chain(pointers).find_map(|place| {
        let now = identity_of(&place, reply)?.shown();
        is_version(&now).then_some(FoundVersion { place, now })
    })
}

fn is_version(text: &str) -> bool {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    !text.is_empty() && text.chars().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&str, &str)], body: &str) -> Option<(IdentityPlace, String)> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let reply =
            Reply { headers: headers.collect(), body: body.as_bytes().into(), ..Reply::default() };
        version(&reply).map(|version| (version.place, version.now))
    }

    #[test]
    fn version_is_found_in_headers_and_in_json() {
        let pointer = |pointer: &str, now: &str| {
            Some((IdentityPlace::Pointer(pointer.to_owned()), now.to_owned()))
        };
        for (body, expected) in [
            (r#"{"status":"UP","version":"1.0.0"}"#, pointer("/version", "1.0.0")),
            (r#"{"version":17}"#, pointer("/version", "17")),
            (r#"{"version":"1","releaseId":"1.2.2"}"#, pointer("/releaseId", "1.2.2")),
            (r#"{"build":{"version":"2.0"}}"#, pointer("/build/version", "2.0")),
            (r#"{"git":{"commit":"8f3c1a2"}}"#, pointer("/git/commit", "8f3c1a2")),
            (r#"{"git":{"commit":{"id":"8f3c1a2"}}}"#, pointer("/git/commit/id", "8f3c1a2")),
            (r#"{"version":{"number":"8"}}"#, None),
            (r#"{"version":"a b"}"#, None),
            (r#"{"version":true}"#, None),
            ("pong", None),
        ] {
            assert_eq!(found(&[], body), expected, "{body}");
        }
        let header = found(&[("server", "x"), ("x-version", "3")], r#"{"version":"1"}"#);
        assert_eq!(header, Some((IdentityPlace::Header("x-version".to_owned()), "3".to_owned())));
    }
}
