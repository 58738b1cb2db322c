//! Finds the addresses of a host's name, as every other program on this machine does.
//!
//! A static binary has its own C library, which must not load the machine's modules for names (`/etc/nsswitch.conf`):
//! with another version, they end the process. There, the machine's own `getent` answers.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;
use tokio::time::Instant;

use super::child;
use crate::address;

/// How long an answer of `getent` is used again. One look at a gateway opens many connections.
const FRESH: Duration = Duration::from_secs(5);

/// The exit codes of `getent`: an answer, a question that it does not know, an unknown name.
const FOUND: i32 = 0;
const MISUSED: i32 = 1;
const UNKNOWN: i32 = 2;

/// Why an unknown name has no address.
const UNKNOWN_NAME: &str = "Name or service not known";

/// The answers of `getent`. A lookup holds the lock of its name, so that others wait for its answer.
static ANSWERS: Mutex<BTreeMap<String, Answer>> = Mutex::new(BTreeMap::new());

type Answer = Arc<tokio::sync::Mutex<Option<(Instant, Vec<IpAddr>)>>>;

/// Returns the addresses of `host:port`.
pub(super) async fn resolve_address(address: &str) -> io::Result<Vec<SocketAddr>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "invalid socket address");
    let (host, port) = address::split(address).ok_or_else(invalid)?;
    resolve(host, port.parse().map_err(|_| invalid())?).await
}

/// Returns the addresses of a host, with a port.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let with_port = |addresses: Vec<IpAddr>| {
        addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
    };
    if let Ok(address) = host.parse() {
        return Ok(with_port(vec![address]));
    }
    if cfg!(target_feature = "crt-static")
        && let Some(found) = remembered(host).await
    {
        return found.map(with_port);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

/// Returns the answer of `getent`, which may be some seconds old. `None` if it cannot answer.
async fn remembered(host: &str) -> Option<io::Result<Vec<IpAddr>>> {
    let answer = answer_for(host);
    let mut answer = answer.lock().await;
    if let Some((at, found)) = &*answer
        && at.elapsed() < FRESH
    {
        return Some(Ok(found.clone()));
    }
    let found = ask(host).await?;
    *answer = found.as_ref().ok().map(|found| (Instant::now(), found.clone()));
    Some(found)
}

fn answer_for(host: &str) -> Answer {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    answers.entry(host.to_owned()).or_default().clone()
}

/// Asks `getent`. `None` if this machine has none, or one without this question: then it has no modules either. Every
/// other failure is an error, as the modules may be there.
async fn ask(host: &str) -> Option<io::Result<Vec<IpAddr>>> {
    // The text that the C library's own error has.
    let failed = |why: &str| {
        Some(Err(io::Error::other(format!("failed to lookup address information: {why}"))))
    };
    if host.starts_with('-') {
        return failed(UNKNOWN_NAME);
    }
    let mut getent = child("getent");
    // A minimal system may have no /dev/null.
    let streams = getent.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = match streams.args(["ahosts", host]).kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return failed(&format!("getent cannot be started: {error}")),
    };
    match output.status.code() {
        Some(FOUND) => Some(Ok(parse(&String::from_utf8_lossy(&output.stdout)))),
        Some(UNKNOWN) => failed(UNKNOWN_NAME),
        Some(MISUSED) => None,
        _ => failed(&format!("getent failed: {}", output.status)),
    }
}

/// Reads lines like `10.0.0.1  STREAM gw-1`. Each address occurs once per kind of socket.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
        found.extend(address.filter(|address| !found.contains(address)));
    }
    found
}

/// Resolves names for the HTTP client: the name of the URL, or another one in its place.
pub(super) struct Names {
    pub(super) instead: Option<String>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.instead.clone().unwrap_or_else(|| name.as_str().to_owned());
        Box::pin(async move {
            let found = resolve(&host, 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn getent_knows_the_names_of_this_machine() {
        let found = ask("localhost").await.expect("getent").expect("found");
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        for unknown in ["no-such-host.invalid", "--help"] {
            let error = ask(unknown).await.expect("getent").expect_err("unknown");
            assert!(error.to_string().ends_with("Name or service not known"), "{error}");
        }
    }

    #[tokio::test]
    async fn answer_is_used_again_for_some_seconds() {
        remembered("localhost").await.expect("getent").expect("found");
        let answer = answer_for("localhost");
        let (_, found) = answer.lock().await.clone().expect("kept");
        let old = vec![IpAddr::from([192, 0, 2, 1])];
        for (age, expected) in [(Duration::ZERO, &old), (FRESH, &found)] {
            let at = Instant::now().checked_sub(age).expect("an instant");
            *answer.lock().await = Some((at, old.clone()));
            let again = remembered("localhost").await.expect("getent").expect("found");
            assert_eq!(&again, expected);
        }
    }

    #[tokio::test]
    async fn addresses_need_no_lookup() {
        let found = resolve_address("[::1]:80").await.expect("an address");
        assert_eq!(found, ["[::1]:80".parse().expect("an address")]);
        assert!(resolve_address("localhost:x").await.is_err());
        let local = resolve_address("localhost:80").await.expect("an address");
        assert!(local.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }

    #[test]
    fn each_address_counts_once() {
        let text = "10.0.0.1  STREAM gw\n10.0.0.1  DGRAM\n::1 STREAM\nfe80::1%eth0 STREAM\n\n";
        let found: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1", "::1"]);
    }
}
