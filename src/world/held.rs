//! Sends one request over many connections that are open at the same time, so that every worker of a server
//! answers.
//!
//! The kernel gives a new connection to a waiting worker, and nearly always to the same one: in a
//! measurement, nginx 1.11.3 to 1.21.5 gave 92 to 100 % of all connections to one of four idle workers,
//! whether they were opened one after the other or all at once. A busy worker accepts no connection.
//! Therefore the connections are opened in steps. While new ones are opened, the held connections keep their
//! workers busy with the same request, so each step reaches workers that the earlier steps did not reach. 64
//! connections reach each of four workers with nearly the same share.
//!
//! This is HTTP/1.1 with pipelined requests, which no client library sends. It is used only here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::names::resolve;
use super::room::{Body, within};
use super::tcp::describe;
use super::{Channel, HttpError, Reply, Request};

/// How many connections are opened in one step.
const STEP: usize = 4;

/// How many pipelined requests keep a worker busy when its answers are short: on one connection, and on all
/// held connections together, which share this work.
const DEPTH: usize = 8;
const BUSY: usize = 128;

/// An answer longer than this, in bytes, keeps its worker busy long enough by itself.
const LONG: usize = 8 * 1024;

/// How often a held connection repeats the request while new ones are opened: longer than a network round
/// trip.
const ROUNDS: usize = 4;

/// The most lines and bytes of a response head.
const HEADERS: usize = 64;
const HEAD_LIMIT: usize = 64 * 1024;

/// The request and its server.
struct Question {
    host: String,
    port: u16,
    /// The bytes of one request.
    request: Vec<u8>,
    time: std::time::Duration,
    /// The largest answer, in bytes.
    limit: usize,
}

/// Sends the request over `connections` connections that stay open until all have answered. Every answer goes
/// to `replies`; when `replies` is closed, the remaining requests are not sent. Returns `false` without
/// sending anything when the request is not plain HTTP.
pub(super) async fn ask(
    request: &Request,
    connections: usize,
    replies: &mpsc::Sender<Result<Reply, HttpError>>,
) -> bool {
    let Some(question) = Question::of(request) else { return false };
    let question = Arc::new(question);
    let (mut held, mut most) = (Vec::new(), DEPTH);
    for begun in (0..connections).step_by(STEP) {
        let (opened, _) = watch::channel(false);
        let depth = BUSY.div_ceil(held.len().max(1)).min(most);
        let mut busy: JoinSet<_> = held
            .drain(..)
            .map(|line: HeldConnection| line.keep_busy(depth, opened.subscribe()))
            .collect();
        let mut asking: JoinSet<_> = (begun..connections.min(begun + STEP))
            .map(|_| first_answer(Arc::clone(&question)))
            .collect();
        while let Some(answered) = asking.join_next().await {
            let Ok((reply, line)) = answered else { continue };
            if reply.as_ref().is_ok_and(|reply| reply.body.len() > LONG) {
                most = 1;
            }
            held.extend(line);
            if replies.send(reply).await.is_err() {
                return true;
            }
        }
        opened.send_replace(true);
        while let Some(line) = busy.join_next().await {
            held.extend(line.ok().flatten());
        }
    }
    true
}

/// Opens a connection and sends the request; returns the connection if it can be held.
async fn first_answer(
    question: Arc<Question>,
) -> (Result<Reply, HttpError>, Option<HeldConnection>) {
    let time = question.time;
    let answer = async {
        let mut line = HeldConnection::open(question).await?;
        line.send(1).await?;
        let mut body = Body::of(Channel::Fresh);
        let (mut reply, is_kept) = line.receive(Some(&mut body)).await?;
        (reply.body, reply.held) = body.finish();
        reply.stays_open = is_kept;
        Ok((reply, is_kept.then_some(line)))
    };
    match timeout(time, answer).await {
        Ok(Ok((reply, line))) => (Ok(reply), line),
        Ok(Err(error)) => (Err(error), None),
        Err(_) => (Err(HttpError::TimedOut(time)), None),
    }
}

impl Question {
    fn of(request: &Request) -> Option<Self> {
        let url = Url::parse(&request.url).ok()?;
        if url.scheme() != "http" {
            return None;
        }
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        let mut text = format!("GET {}{query} HTTP/1.1\r\nHost: {authority}\r\n", url.path());
        for (name, value) in &request.headers {
            text += &format!("{name}: {}\r\n", value.expose());
        }
        text += "Accept: */*\r\n\r\n";
        let host = host.trim_matches(['[', ']']).to_owned();
        let (time, limit) = (request.timeout, request.limit);
        Some(Self { host, port, request: text.into_bytes(), time, limit })
    }
}

/// A held connection.
struct HeldConnection {
    question: Arc<Question>,
    stream: TcpStream,
    /// Received bytes that are not read yet.
    buffer: BytesMut,
}

/// The head of a response.
struct Head {
    reply: Reply,
    framing: Framing,
    /// HTTP/1.0: the connection ends with its response.
    is_old: bool,
}

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Closed,
}

impl HeldConnection {
    async fn open(question: Arc<Question>) -> Result<Self, HttpError> {
        let not_sent = |error: io::Error| HttpError::NotSent(describe(&error));
        let addresses = resolve(&question.host, question.port).await.map_err(not_sent)?;
        let stream = TcpStream::connect(&*addresses).await.map_err(not_sent)?;
        let _ = stream.set_nodelay(true);
        Ok(Self { question, stream, buffer: BytesMut::new() })
    }

    async fn send(&mut self, times: usize) -> Result<(), HttpError> {
        let requests = self.question.request.repeat(times);
        self.stream.write_all(&requests).await.map_err(|error| broken(&error))
    }

    /// Keeps its worker busy until the new connections are open, for a limited time; returns the connection.
    async fn keep_busy(mut self, depth: usize, opened: watch::Receiver<bool>) -> Option<Self> {
        let time = self.question.time;
        let work = async {
            for _ in 0..ROUNDS {
                self.send(depth).await.ok()?;
                for _ in 0..depth {
                    let (_, is_kept) = self.receive(None).await.ok()?;
                    is_kept.then_some(())?;
                }
                if *opened.borrow() {
                    break;
                }
            }
            Some(())
        };
        timeout(time, work).await.ok()??;
        Some(self)
    }

    /// Reads one answer, and its body into `body` if wanted; returns whether the connection stays open after
    /// it.
    async fn receive(&mut self, body: Option<&mut Body>) -> Result<(Reply, bool), HttpError> {
        let Head { reply, framing, is_old } = loop {
            match head(&mut self.buffer)? {
                Some(head) => break head,
                None => self.more().await?,
            }
        };
        match framing {
            Framing::Length(length) => self.pass(length, &mut { body }).await?,
            Framing::Chunked => self.chunks(body).await?,
            Framing::Closed => self.rest(body).await?,
        }
        let told = reply.header("connection").unwrap_or_default();
        let is_kept = framing != Framing::Closed && !told.eq_ignore_ascii_case("close");
        Ok((reply, is_kept && !is_old))
    }

    async fn chunks(&mut self, mut body: Option<&mut Body>) -> Result<(), HttpError> {
        loop {
            let size = self.size().await?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.pass(size, &mut body).await?;
            self.line().await?;
        }
    }

    /// Reads the size line before a chunk.
    async fn size(&mut self) -> Result<usize, HttpError> {
        let broken = || HttpError::Broken("a chunk without a size".into());
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.buffer.advance(length);
                    return usize::try_from(size).map_err(|_| broken());
                }
                Ok(httparse::Status::Partial) if self.buffer.len() <= HEAD_LIMIT => {
                    self.more().await?;
                }
                Ok(httparse::Status::Partial) | Err(_) => return Err(broken()),
            }
        }
    }

    /// Reads until the connection is closed.
    async fn rest(&mut self, mut body: Option<&mut Body>) -> Result<(), HttpError> {
        loop {
            self.pass(self.buffer.len(), &mut body).await?;
            if self.fill().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Reads this many bytes of a body and passes them on as they arrive.
    async fn pass(
        &mut self,
        mut left: usize,
        body: &mut Option<&mut Body>,
    ) -> Result<(), HttpError> {
        within(left, self.question.limit)?;
        loop {
            let now = left.min(self.buffer.len());
            if let Some(body) = body {
                body.append(&self.buffer[..now], self.question.limit).await?;
            }
            self.buffer.advance(now);
            left -= now;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Returns the next line without its line end.
    async fn line(&mut self) -> Result<String, HttpError> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(HttpError::Broken("a header line of the answer is too long".into()));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), HttpError> {
        match self.fill().await? {
            0 => Err(HttpError::Broken("the connection was closed before the answer's end".into())),
            _ => Ok(()),
        }
    }

    async fn fill(&mut self) -> Result<usize, HttpError> {
        self.buffer.reserve(16 * 1024);
        self.stream.read_buf(&mut self.buffer).await.map_err(|error| broken(&error))
    }
}

/// Removes the response head from the buffer if it is complete.
fn head(buffer: &mut BytesMut) -> Result<Option<Head>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() <= HEAD_LIMIT => return Ok(None),
        Ok(httparse::Status::Partial) => {
            return Err(HttpError::Broken("the answer's headers are too long".into()));
        }
        Err(error) => return Err(HttpError::Broken(format!("not HTTP: {error}"))),
    };
    let mut reply = Reply { status: parsed.code.unwrap_or(0), ..Reply::default() };
    let is_old = parsed.version == Some(0);
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        told.entry(header.name.to_ascii_lowercase()).or_insert(value);
    }
    reply.headers = told;
    let chunked = reply.header("transfer-encoding").is_some_and(|told| told.contains("chunked"));
    let framing = match reply.header("content-length").map(str::parse) {
        _ if reply.status == 204 || reply.status == 304 => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(Ok(length)) => Framing::Length(length),
        Some(Err(_)) => return Err(HttpError::Broken("the Content-Length is not a number".into())),
        None => Framing::Closed,
    };
    buffer.advance(length);
    Ok(Some(Head { reply, framing, is_old }))
}

fn broken(error: &std::io::Error) -> HttpError {
    HttpError::Broken(describe(error))
}
