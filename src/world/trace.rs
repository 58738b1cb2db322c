//! A world that writes down every request, command and answer: one JSON line each, with times and without secrets.
//!
//! The lines of one call have the same `id`. A call whose caller gives up ends with `abandoned`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Command, Host, HttpError, Output, Reply, Request, RunError, Stdin, World};
use crate::secret::{self, STARS, literal};
use crate::{file, text};

/// How much is written of a body and of an output, in bytes.
const LONGEST: usize = 64 * 1024;

/// Shorter texts are not looked into as base64.
const SHORTEST_ENCODED: usize = 8;

/// A world whose calls are written down, where a file is given.
#[derive(Debug)]
pub struct Traced<W> {
    world: W,
    trace: Option<Trace>,
}

#[derive(Debug)]
struct Trace {
    file: Mutex<File>,
    calls: AtomicU64,
}

/// A call under way.
struct Call<'a, W: World> {
    of: Option<(&'a Trace, &'a W)>,
    id: u64,
    begun: Instant,
    is_answered: bool,
}

impl<W: World> Traced<W> {
    /// Writes the calls of a world to a file, after what is there already; without a file, nothing.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or is a symlink or no regular file.
    pub fn new(world: W, path: Option<&Path>) -> io::Result<Self> {
        let trace = path.map(|path| {
            let file = file::open_private(path, OpenOptions::new().append(true).create(true))?;
            Ok::<_, io::Error>(Trace { file: Mutex::new(file), calls: AtomicU64::new(0) })
        });
        Ok(Self { world, trace: trace.transpose()? })
    }

    /// The world itself.
    pub fn inner(&self) -> &W {
        &self.world
    }

    fn begin(&self, kind: &str, data: impl FnOnce() -> Value) -> Call<'_, W> {
        let of = self.trace.as_ref().map(|trace| (trace, &self.world));
        let id = of.map_or(0, |(trace, _)| trace.calls.fetch_add(1, Ordering::Relaxed) + 1);
        let call = Call { of, id, begun: Instant::now(), is_answered: false };
        call.write(kind, data);
        call
    }
}

impl<W: World> Call<'_, W> {
    fn write(&self, kind: &str, data: impl FnOnce() -> Value) {
        let Some((trace, world)) = self.of else { return };
        let mut line = Map::new();
        line.insert("ts".into(), world.now().to_string().into());
        line.insert("id".into(), self.id.into());
        line.insert("kind".into(), kind.into());
        if let Value::Object(data) = data() {
            line.extend(data);
        }
        let line = Value::Object(line).to_string() + "\n";
        // A trace that cannot be written any more stops nothing.
        let _ =
            trace.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }

    fn answer(&mut self, kind: &str, data: impl FnOnce() -> Value) {
        self.is_answered = true;
        let elapsed = milliseconds(self.begun.elapsed());
        self.write(kind, || {
            let mut data = data();
            data["elapsed_ms"] = elapsed.into();
            data
        });
    }

    fn http(&mut self, reply: &Result<Reply, HttpError>) {
        self.answer("reply", || match reply {
            Ok(reply) => json!({
                "status": reply.status,
                "headers": reply.headers.iter()
                    .map(|(name, value)| (name.clone(), shown(value).into()))
                    .collect::<Map<_, _>>(),
                "body": body(&reply.body),
            }),
            Err(error) => json!({ "error": shown(&error.to_string()) }),
        });
    }
}

impl<W: World> Drop for Call<'_, W> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answer("abandoned", || json!({}));
        }
    }
}

impl<W: World> World for Traced<W> {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let mut call = self.begin("request", || told(&request));
        let reply = self.world.http(request).await;
        call.http(&reply);
        reply
    }

    async fn http_held(
        &self,
        request: Request,
        connections: usize,
        replies: mpsc::Sender<Result<Reply, HttpError>>,
    ) {
        if self.trace.is_none() {
            return self.world.http_held(request, connections, replies).await;
        }
        let mut call = self.begin("request", || {
            let mut request = told(&request);
            request["connections"] = connections.into();
            request
        });
        let (sender, mut received) = mpsc::channel(1);
        let pass_on = async {
            // What is not received any more is not asked for any more.
            let mut received = std::mem::replace(&mut received, mpsc::channel(1).1);
            while let Some(reply) = received.recv().await {
                call.http(&reply);
                if replies.send(reply).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(self.world.http_held(request, connections, sender), pass_on);
        call.is_answered = true;
    }

    async fn run(&self, host: &Host, command: Command) -> Result<Output, RunError> {
        let mut call = self.begin("command", || {
            json!({
                "host": shown(&host.to_string()),
                "script": shown(&format!("{:?}", command.script)),
                "sudo": command.sudo,
                "stdin": match &command.stdin {
                    Stdin::Empty => Value::Null,
                    Stdin::File(path) => shown(&path.display().to_string()).into(),
                    Stdin::Text(_) => STARS.into(),
                },
                "timeout_ms": milliseconds(command.timeout),
            })
        });
        let output = self.world.run(host, command).await;
        call.answer("output", || match &output {
            Ok(output) => json!({
                "status": output.status,
                "stdout": body(&output.stdout),
                "stderr": body(&output.stderr),
            }),
            Err(error) => json!({ "error": shown(&error.to_string()) }),
        });
        output
    }

    fn expect(&self, host: &Host, sudo: bool) {
        self.world.expect(host, sudo);
    }

    async fn exchange(
        &self,
        address: &str,
        say: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, HttpError> {
        let mut call = self.begin("exchange", || {
            json!({ "address": shown(address), "say": body(say), "timeout_ms": milliseconds(timeout) })
        });
        let answer = self.world.exchange(address, say, timeout).await;
        call.answer("reply", || match &answer {
            Ok(answer) => json!({ "body": body(answer) }),
            Err(error) => json!({ "error": shown(&error.to_string()) }),
        });
        answer
    }

    fn now(&self) -> jiff::Timestamp {
        self.world.now()
    }
}

fn told(request: &Request) -> Value {
    // A header may hold what only its sender knows to be a secret.
    let headers = request.headers.iter().map(|(name, _)| (name.clone().into_owned(), STARS.into()));
    json!({
        "method": request.method.name(),
        "url": shown(&request.url),
        "headers": headers.collect::<Map<_, _>>(),
        "body": request.body.as_deref().map(body),
        "timeout_ms": milliseconds(request.timeout),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text without secrets, which are searched for before anything is cut off.
fn shown(said: &str) -> String {
    let hidden = secret::hide(said);
    let hidden = literal::mask_at(&hidden, literal::logins(&hidden));
    text::cut(&hidden, LONGEST)
}

/// The same for a body or an output. Consul's values are encoded, and so may be a secret.
fn body(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let parts: Vec<_> =
        said.split('"').map(|part| if holds_secret(part) { STARS } else { part }).collect();
    shown(&parts.join("\""))
}

fn holds_secret(part: &str) -> bool {
    let decoded = (part.len() >= SHORTEST_ENCODED).then(|| BASE64_STANDARD.decode(part));
    let Some(Ok(decoded)) = decoded else { return false };
    let decoded = String::from_utf8_lossy(&decoded);
    secret::hide(&decoded) != decoded
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::node::NodeScript;
    use crate::secret::Secret;
    use crate::world::Method;

    const TOKEN: &str = "tr4ced-7e57-4a4a-s3cret";

    /// Answers with what must not be written down.
    struct Telling;

    impl World for Telling {
        async fn http(&self, _: Request) -> Result<Reply, HttpError> {
            let encoded = BASE64_STANDARD.encode(format!("token={TOKEN}"));
            let body = format!(r#"{{"plain":"{TOKEN}","Value":"{encoded}"}}"#).into_bytes();
            let headers = [("x-token".to_owned(), TOKEN.to_owned())].into();
            Ok(Reply { status: 200, headers, body, ..Reply::default() })
        }

        async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
            let stdout = format!("{}{TOKEN}", "x".repeat(LONGEST - 9)).into_bytes();
            let stderr = TOKEN.as_bytes().to_vec();
            Ok(Output { status: Some(0), stdout, stderr, noise: None })
        }

        async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
            Err(HttpError::Broken(format!("it said {TOKEN}")))
        }

        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    fn request() -> Request {
        let url = format!("http://me:pa55word@10.0.0.1/v1?token={TOKEN}");
        Request {
            method: Method::Put,
            headers: vec![("x-consul-token".into(), Secret::new("unknown-to-all"))],
            body: Some(format!("b={TOKEN}").into_bytes()),
            ..Request::get(url, Duration::from_secs(1))
        }
    }

    #[tokio::test]
    async fn every_call_is_written_down_without_secrets() {
        secret::remember([Secret::new(TOKEN)], []);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.jsonl");
        let world = Traced::new(Telling, Some(&path)).expect("writable");
        let second = Duration::from_secs(1);
        world.http(request()).await.expect("a reply");
        let (replies, mut received) = mpsc::channel(1);
        let asking = world.http_held(request(), 3, replies);
        let ((), first) = tokio::join!(asking, async {
            let first = received.recv().await;
            received.close();
            first
        });
        assert!(first.is_some_and(|reply| reply.is_ok()));
        let script = NodeScript::User { command: format!("run --token {TOKEN}") };
        let command = Command::new(script, second, false)
            .reading(Stdin::Text(Secret::new("typed-unknown-to-all")));
        world.run(&Host::Local, command).await.expect("an output");
        world.exchange("10.0.0.1:80", TOKEN.as_bytes(), second).await.expect_err("broken");
        drop(world.begin("request", || json!({})));

        let text = std::fs::read_to_string(&path).expect("a trace");
        for hidden in [TOKEN, &TOKEN[..8], "unknown-to-all", "pa55word"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        let encoded = BASE64_STANDARD.encode(format!("token={TOKEN}"));
        assert!(!text.contains(&encoded), "{text}");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let mut kinds: Vec<_> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        // One more reply may be under way when nothing takes replies any more.
        kinds.dedup();
        let calls = "request reply request reply command output exchange reply request abandoned";
        assert_eq!(kinds.join(" "), calls, "{text}");
        assert!(lines.iter().all(|line| line["ts"] == "1970-01-01T00:00:00Z"), "{text}");
        assert_eq!(lines[0]["id"], lines[1]["id"]);
        assert_eq!((&lines[0]["method"], &lines[1]["status"]), (&json!("PUT"), &json!(200)));
        assert!(lines[1]["elapsed_ms"].is_u64() && lines[0]["url"].is_string(), "{text}");
    }

    #[test]
    fn a_trace_is_private_follows_no_symlink_and_deletes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.jsonl");
        std::fs::write(&path, "before\n").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let world = Traced::new(Telling, Some(&path)).expect("writable");
        drop(world.begin("request", || json!({})));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).expect("a trace");
        assert!(text.starts_with("before\n{"), "{text}");
        let link = folder.path().join("link");
        symlink(&path, &link).expect("a symlink");
        assert!(Traced::new(Telling, Some(&link)).is_err());
        assert!(Traced::new(Telling, Some(folder.path())).is_err(), "a folder");
        assert!(Traced::new(Telling, None).expect("no file").trace.is_none());
    }
}
