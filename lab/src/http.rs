//! A blocking HTTP client for the lab's own requests: one request, one fresh connection.
//!
//! It uses HTTP/1.0, so that a reply ends with the connection. Fresh connections also let a caller reach every worker
//! of a gateway in turn.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long to wait for a connection, and for each piece of a reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines, as sent.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a GET request to an `http://` address.
///
/// # Errors
///
/// When there is no connection, no answer in time, or an answer that is not HTTP.
pub fn get(url: &str) -> Result<Reply> {
    request("GET", url, "")
}

/// Sends a request with a body to an `http://` address.
///
/// # Errors
///
/// When there is no connection, no answer in time, or an answer that is not HTTP.
pub fn request(method: &str, url: &str, body: &str) -> Result<Reply> {
    request_as(None, method, url, body)
}

/// The same with a token for Consul.
pub(crate) fn request_as(
    token: Option<&str>,
    method: &str,
    url: &str,
    body: &str,
) -> Result<Reply> {
    exchange(token, method, url, body).with_context(|| format!("no answer to {method} {url}"))
}

fn exchange(token: Option<&str>, method: &str, url: &str, body: &str) -> Result<Reply> {
    let rest = url.strip_prefix("http://").context("not an http:// address")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = host.parse().with_context(|| format!("`{host}` is not ip:port"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let token = token.map_or(String::new(), |token| format!("X-Consul-Token: {token}\r\n"));
    let request = format!(
        "{method} /{path} HTTP/1.0\r\nHost: {host}\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the reply has no end of headers")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("the reply has no status")?;
    Ok(Reply { status, head: head.to_owned(), body: body.to_owned() })
}
