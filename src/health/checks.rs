//! One round of all checks in a playbook.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::gate::Gate;
use crate::consul::Index;
use crate::foreign::Foreign;
use crate::json;
use crate::node::NodeScript;
use crate::secret::{self, Secret};
use crate::spec::{HealthSpec, HttpCheck, IdentityPlace, IdentitySpec, Shell};
use crate::text;
use crate::world::{Command, Host, HttpError, Reply, Request, RunError, World};

/// The largest reply of a health check, in bytes.
const LARGEST_BODY: usize = 1024 * 1024;

/// How many redirects are followed where the playbook asks for it.
const MOST_REDIRECTS: u8 = 5;

/// How much of a reply, or of a command's output, is kept for the report, in bytes.
const KEPT: usize = 64 * 1024;

/// The result of one round of checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckResult {
    /// Why it is not a success, whatever version answered.
    pub problem: Option<String>,
    /// Why the version that answered is the wrong one.
    pub wrong_version: Option<String>,
    /// The reply of the HTTP check, or the command's output, if it was wrong.
    pub body: Option<String>,
    /// The version in the HTTP check's reply.
    pub version: Option<Foreign>,
    /// The problem is that the node could not be asked, which shows nothing about the node.
    pub is_unasked: bool,
    /// A connection was refused: nothing listens there yet, or any more.
    pub is_refused: bool,
    /// Why a connection to the node's own address failed, if one was tried.
    pub unreached: Option<Unreached>,
}

/// Why there is no connection to the address that gateways route to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreached {
    /// It was refused: nothing listens there.
    Refused,
    /// No answer, or no route. Gateways may have one.
    Silent,
}

impl CheckResult {
    pub(super) fn wrong(problem: impl Into<String>, body: Option<&str>) -> Self {
        let body = body.map(kept);
        Self { problem: Some(problem.into()), body, ..Self::default() }
    }

    fn unanswered(error: &HttpError) -> Self {
        Self { is_refused: error.is_refused(), ..Self::wrong(error.to_string(), None) }
    }

    fn unasked(problem: &impl ToString) -> Self {
        Self { is_unasked: true, ..Self::wrong(problem.to_string(), None) }
    }
}

/// The start of a text, without a secret that the cut would leave in part.
fn kept(text: &str) -> String {
    text::cut(text, KEPT)
}

/// Describes the checks in words.
pub(crate) fn describe(health: &HealthSpec) -> String {
    let mut checks = Vec::new();
    if let Some(http) = &health.http {
        checks.push(format!("{} {}", http.method.name(), http.url));
    }
    if let Some(address) = &health.tcp {
        checks.push(format!("tcp {address}"));
    }
    if let Some(command) = &health.run {
        checks.push(format!("`{}`", text::line(&command.run, 60)));
    }
    if let Some(service) = &health.consul {
        checks.push(format!("service {service} in Consul"));
    }
    checks.join(", ")
}

/// Returns the version in a reply.
#[must_use]
pub fn identity_of(place: &IdentityPlace, reply: &Reply) -> Option<Foreign> {
    match place {
        IdentityPlace::Header(name) => reply.header(name).map(Foreign::new),
        IdentityPlace::Pointer(pointer) => {
            let found = json::at(json::document(&reply.body).ok()?, pointer).ok()??;
            let number = || json::typed::<serde_json::Number>(found).ok();
            match json::string(Some(found)) {
                Some(text) => Some(Foreign::new(text)),
                None => number().map(|number| Foreign::new(number.to_string())),
            }
        }
    }
}

impl<W: World> Gate<W> {
    /// Runs every check once. If one fails, tries to connect to the node's own address, too. A node that cannot be
    /// reached by any connection does not serve, even if it never passed its checks.
    pub async fn look(&self, index: &mut Index) -> CheckResult {
        let found = self.attempt(index).await;
        if found.problem.is_none() {
            return found;
        }
        let connection =
            self.world.exchange(&self.node.address, &[], self.node.health.timeout).await;
        let unreached = connection
            .err()
            .map(|error| if error.is_refused() { Unreached::Refused } else { Unreached::Silent });
        CheckResult { unreached, ..found }
    }

    /// Runs every check once, all at the same time. The first problem in the playbook's order counts.
    pub async fn attempt(&self, index: &mut Index) -> CheckResult {
        let health = &self.node.health;
        let http = async {
            match &health.http {
                Some(check) => self.try_http(check, health.identity.as_ref(), health.timeout).await,
                None => CheckResult::default(),
            }
        };
        let tcp = async {
            let Some(address) = &health.tcp else { return CheckResult::default() };
            match self.world.exchange(address, &[], health.timeout).await {
                Ok(_) => CheckResult::default(),
                Err(error) => CheckResult::unanswered(&error),
            }
        };
        let run = async {
            match &health.run {
                Some(command) => self.try_command(&self.node.host, command, health.timeout).await,
                None => CheckResult::default(),
            }
        };
        let consul = async {
            let Some(service) = &health.consul else { return CheckResult::default() };
            let address = &self.node.address;
            let passing = self.consul.is_passing(service, address, index, health.interval).await;
            match passing {
                Ok(true) => CheckResult::default(),
                Ok(false) => {
                    CheckResult::wrong(format!("{service} at {address} is not passing"), None)
                }
                Err(error) => CheckResult::unasked(&error),
            }
        };
        let (http, tcp, run, consul) = tokio::join!(http, tcp, run, consul);
        let (version, wrong_version) = (http.version.clone(), http.wrong_version.clone());
        let body = http.body.clone();
        let mut wrong: Vec<_> = [http, tcp, run, consul].into();
        wrong.retain(|result| result.problem.is_some());
        // The result of a check is worth more than another check that could not be made.
        wrong.sort_by_key(|result| result.is_unasked);
        let wrong = wrong.into_iter().next();
        CheckResult {
            wrong_version,
            version,
            ..wrong.unwrap_or(CheckResult { body, ..CheckResult::default() })
        }
    }

    async fn try_http(
        &self,
        check: &HttpCheck,
        identity: Option<&IdentitySpec>,
        timeout: Duration,
    ) -> CheckResult {
        let request = match request(check, timeout) {
            Ok(request) => request,
            Err(problem) => return CheckResult::unasked(&problem),
        };
        let reply = match self.world.http(request).await {
            Ok(reply) => reply,
            Err(error) => return CheckResult::unanswered(&error),
        };
        judge(check, identity, &reply)
    }

    async fn try_command(&self, host: &Host, shell: &Shell, timeout: Duration) -> CheckResult {
        let script = NodeScript::User { command: shell.run.clone() };
        let command = Command::new(script, timeout.min(shell.timeout), shell.sudo);
        match self.world.run(host, command).await {
            Ok(output) if output.success() => CheckResult::default(),
            Ok(output) => {
                let said = format!("{}{}", output.stdout_text(), output.stderr_text());
                CheckResult::wrong(output.ending(), Some(&said))
            }
            Err(error @ RunError::TimedOut { .. }) => CheckResult::wrong(error.to_string(), None),
            Err(error) => CheckResult::unasked(&error),
        }
    }
}

/// The request of a check.
///
/// # Errors
///
/// If a secret was not read.
fn request(check: &HttpCheck, timeout: Duration) -> Result<Request, String> {
    let missing = |name: &str| format!("the secret in `{name}` is not known");
    let mut headers = Vec::new();
    for (name, value) in &check.headers {
        headers.push((Cow::from(name.clone()), value.open().ok_or_else(|| missing(name))?));
    }
    if let Some((user, password)) = &check.login {
        let password = password.open().ok_or_else(|| missing("basic_auth.password"))?;
        let login = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
        // A server can print the header that it received.
        if !secret::is_known(&login) {
            secret::remember([Secret::new(&login)], []);
        }
        headers.push(("Authorization".into(), Secret::new(format!("Basic {login}"))));
    }
    Ok(Request {
        method: check.method,
        headers,
        host: check.host.clone(),
        trust: check.trust.clone(),
        redirects: if check.follow_redirects { MOST_REDIRECTS } else { 0 },
        // A connection of its own: a kept connection could lead to a process that no longer listens.
        ..Request::get(&check.url, timeout).fresh().at_most(LARGEST_BODY)
    })
}

/// The status of an unexpected reply, and what to do about a redirect.
fn unexpected(check: &HttpCheck, reply: &Reply) -> String {
    let said = reply.ending();
    if reply.is_redirect() && reply.header("location").is_some() {
        return if check.follow_redirects {
            format!("{said}, not followed")
        } else {
            format!("{said} (change `url`, or set `follow_redirects: true`)")
        };
    }
    let has_login = check.login.is_some() || !check.headers.is_empty();
    match reply.status {
        401 if !has_login => format!("{said} (a login is required: set `basic_auth`)"),
        _ => said,
    }
}

fn judge(check: &HttpCheck, identity: Option<&IdentitySpec>, reply: &Reply) -> CheckResult {
    let wrong = |problem: String| CheckResult::wrong(problem, Some(&reply.text()));
    if !check.expect.has(reply.status) {
        return wrong(unexpected(check, reply));
    }
    if let Some(body) = &check.body
        && !reply.text().contains(body)
    {
        return wrong(format!("{} without `{}` in its body", reply.status, text::line(body, 40)));
    }
    let Some(identity) = identity else { return CheckResult::default() };
    let version = identity_of(&identity.place, reply);
    let wrong_version = match &version {
        Some(version) if version.is(&identity.equals) => None,
        Some(version) => Some(format!(
            "{} from version {}, not {}",
            reply.status,
            text::line(&version.shown(), 40),
            identity.equals
        )),
        None => Some(format!("{} without the version in {}", reply.status, identity.place)),
    };
    let body = wrong_version.is_some().then(|| kept(&reply.text()));
    CheckResult { wrong_version, body, version, ..CheckResult::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Method, Trust};

    fn reply(status: u16, body: &str) -> Reply {
        let headers = [("x-app-version".to_owned(), "2".to_owned())].into();
        Reply { status, headers, body: body.into(), ..Reply::default() }
    }

    fn check(expect: &[u16], body: Option<&str>) -> HttpCheck {
        HttpCheck {
            method: Method::Get,
            url: "http://a/ping".into(),
            headers: Vec::new(),
            host: None,
            login: None,
            trust: Trust::default(),
            follow_redirects: false,
            expect: serde_json::from_value(expect.into()).expect("statuses"),
            body: body.map(Into::into),
        }
    }

    fn problem(
        check: &HttpCheck,
        identity: Option<&IdentitySpec>,
        reply: &Reply,
    ) -> Option<String> {
        let result = judge(check, identity, reply);
        result.problem.or(result.wrong_version)
    }

    #[test]
    fn status_and_body_must_be_right() {
        assert_eq!(problem(&check(&[], None), None, &reply(204, "")), None);
        assert_eq!(problem(&check(&[], None), None, &reply(301, "")), Some("301".into()));
        assert_eq!(problem(&check(&[301], None), None, &reply(301, "")), None);
        assert_eq!(problem(&check(&[], Some("pong")), None, &reply(200, "a pong b")), None);
        let wrong = problem(&check(&[], Some("pong")), None, &reply(200, "welcome"));
        assert_eq!(wrong, Some("200 without `pong` in its body".into()));
    }

    #[test]
    fn only_the_start_of_a_body_is_kept() {
        let long = "x".repeat(KEPT + 1);
        for body in [judge(&check(&[], None), None, &reply(500, &long)).body, {
            let identity =
                IdentitySpec { place: IdentityPlace::Header("x".into()), equals: "1".into() };
            judge(&check(&[], None), Some(&identity), &reply(200, &long)).body
        }] {
            assert_eq!(body.expect("it is shown").len(), KEPT);
        }
    }

    #[test]
    fn reply_must_show_the_new_version() {
        let header = |equals: &str| IdentitySpec {
            place: IdentityPlace::Header("x-app-version".into()),
            equals: equals.into(),
        };
        let check = check(&[], None);
        assert_eq!(problem(&check, Some(&header("2")), &reply(200, "")), None);
        let old = problem(&check, Some(&header("3")), &reply(200, ""));
        assert_eq!(old, Some("200 from version 2, not 3".into()));
        let body = IdentitySpec { place: IdentityPlace::Pointer("/v".into()), equals: "7".into() };
        assert_eq!(problem(&check, Some(&body), &reply(200, r#"{"v":7}"#)), None);
        let silent = problem(&check, Some(&body), &reply(200, "pong"));
        assert_eq!(silent, Some("200 without the version in `/v` of its JSON body".into()));
    }
}
