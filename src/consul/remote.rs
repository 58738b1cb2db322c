//! Consul as another machine sees it: for an agent that listens only there.
//!
//! `curl` sends the request there, and prints the answer. The answer is never in a file, and no header is visible
//! on a command line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::node::{NO_CURL, NodeScript};
use crate::secret::Secret;
use crate::text;
use crate::world::{
    Command, Host, HttpError, Method, Output, Permit, Reply, Request, RunError, Stdin, World,
};

/// curl's code: the host does not exist, or nothing listens.
const NO_HOST: i32 = 6;
const NOBODY: i32 = 7;

/// curl's code: its time limit passed.
const TIMED_OUT: i32 = 28;

/// Sends a request from `host`. A write needs a permit.
pub(super) async fn http<W: World>(
    world: &W,
    host: &Host,
    request: Request,
    permit: &Permit,
) -> Result<Reply, HttpError> {
    let method = match request.method {
        Method::Get => "GET",
        Method::Put => "PUT",
        Method::Head | Method::Options | Method::Post | Method::Patch | Method::Delete => {
            return Err(HttpError::NotSent("this request cannot be sent from a node".into()));
        }
    };
    let timeout = request.timeout;
    let script = NodeScript::Fetch { method, url: request.url, timeout };
    let mut command =
        Command::new(script, timeout, false).reading(Stdin::Text(settings(&request.headers)));
    if request.method != Method::Get {
        command.permit = permit.clone();
    }
    match world.run(host, command).await {
        Ok(output) => answer(&output, timeout),
        Err(RunError::NotStarted(problem)) => Err(HttpError::NotSent(problem)),
        Err(RunError::NotPermitted(refused)) => Err(HttpError::NotSent(refused.reason)),
        Err(RunError::TimedOut { after, .. }) => Err(HttpError::TimedOut(after)),
        Err(error @ RunError::Lost(_)) => Err(HttpError::Broken(error.to_string())),
    }
}

/// Headers in the form of curl's settings.
fn settings(headers: &[(Cow<'static, str>, Secret)]) -> Secret {
    let mut lines = String::new();
    for (name, value) in headers {
        let value = value.expose().replace('\\', r"\\").replace('"', "\\\"");
        // A line break would begin another setting.
        let value: String = value.chars().filter(|character| !character.is_control()).collect();
        writeln!(lines, "header = \"{name}: {value}\"").expect("a string takes everything");
    }
    Secret::new(lines)
}

/// Reads curl's output.
fn answer(output: &Output, timeout: Duration) -> Result<Reply, HttpError> {
    let said = || text::line(&output.stderr_text(), 120);
    match output.status {
        Some(0) => {}
        Some(NO_CURL | NO_HOST | NOBODY) => return Err(HttpError::NotSent(said())),
        Some(TIMED_OUT) => return Err(HttpError::TimedOut(timeout)),
        _ => return Err(HttpError::Broken(said())),
    }
    if output.is_cut() {
        return Err(HttpError::Broken("the answer is longer than 1 MiB".into()));
    }
    parse(&output.stdout).ok_or_else(|| HttpError::Broken("curl printed no answer".into()))
}

fn parse(printed: &[u8]) -> Option<Reply> {
    let end = printed.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&printed[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let is_http = words.next()?.starts_with("HTTP/");
    let status = words.next()?.parse().ok().filter(|_| is_http)?;
    let mut headers = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.entry(name.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
    }
    Some(Reply { status, headers, body: printed[end + 4..].to_vec(), ..Reply::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::OUTPUT_LIMIT;

    /// As curl 7.88 prints an answer of Consul 1.8.7.
    const PRINTED: &str = "HTTP/1.1 404 Not Found\r\nVary: Accept-Encoding\r\nX-Consul-Index: 7\r\n\
                           Content-Length: 30\r\n\r\nUnknown service \"app-9\"\r\n\r\nend";

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        let (stdout, stderr) = (stdout.into(), stderr.into());
        Output { status: Some(status), stdout, stderr, noise: None }
    }

    #[test]
    fn an_answer_is_read_with_its_status_headers_and_body() {
        let reply = answer(&output(0, PRINTED, ""), Duration::default()).expect("an answer");
        assert_eq!(reply.status, 404);
        assert_eq!(reply.header("x-consul-index"), Some("7"));
        assert_eq!(reply.text(), "Unknown service \"app-9\"\r\n\r\nend");
    }

    /// A write that was not sent may be repeated. A write that may have been received may not.
    #[test]
    fn unsent_write_differs_from_write_of_unknown_effect() {
        let told = |status, printed| answer(&output(status, printed, "why"), Duration::default());
        for status in [NO_CURL, NO_HOST, NOBODY] {
            let error = told(status, "").expect_err("not sent");
            assert!(matches!(&error, HttpError::NotSent(why) if why == "why"), "{error:?}");
        }
        assert!(matches!(told(28, ""), Err(HttpError::TimedOut(_))));
        for (status, printed) in [(52, ""), (56, PRINTED), (0, ""), (0, "SSH-2.0\r\n\r\n")] {
            let error = told(status, printed).expect_err("no answer");
            assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
        }
        let error = told(0, &"x".repeat(OUTPUT_LIMIT)).expect_err("its beginning is lost");
        assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
    }

    #[test]
    fn no_header_breaks_out_of_its_setting() {
        let token = Secret::new("a\"\n\\url = \"http://elsewhere");
        let settings = settings(&[("X-Consul-Token".into(), token)]);
        let expected = "header = \"X-Consul-Token: a\\\"\\\\url = \\\"http://elsewhere\"\n";
        assert_eq!(settings.expose(), expected);
    }
}
