//! HTTP requests to gateways, services and Consul: direct, sent once, and with a time limit.
//!
//! No proxy, no decompression, no retries, and no redirects unless the request asks for them: the caller sees the
//! answer of exactly one server.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url, retry};
use tokio::time::timeout;

use super::names::Names;
use super::redirect;
use super::room::Body;
use super::tls::{ConsulTls, Tls, distrust};
use super::{Channel, HttpError, Method, Reply, Request, Trust};
use crate::address;

/// Time limit for connecting alone: a host that is switched off must not use up the time of the next hosts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// An idle connection is closed before most servers close it, so that no request meets a closing connection.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Where a client connects when the URL alone does not decide it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    /// To the URL's host.
    Url,
    /// To this unix socket.
    Socket(String),
    /// To this host, while TLS expects the configured server name.
    Host(String),
}

/// The HTTP clients, created on first use.
#[derive(Debug)]
pub(super) struct Http {
    tls: Tls,
    server_name: Option<String>,
    clients: Mutex<BTreeMap<(Channel, Route, Trust), Client>>,
}

impl Http {
    pub(super) fn new(settings: ConsulTls) -> anyhow::Result<Self> {
        // An error means that a provider is already installed, which is equally good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Self {
            tls: Tls::read(&settings)?,
            server_name: settings.server_name,
            clients: Mutex::default(),
        };
        if !http.tls.is_default() {
            http.tls.apply(Client::builder()).build()?;
        }
        Ok(http)
    }

    /// Sends one request and reads the whole reply.
    pub(super) async fn send(&self, request: Request) -> Result<Reply, HttpError> {
        let time = request.timeout;
        match timeout(time, self.follow(request)).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::TimedOut(time)),
        }
    }

    /// Sends a request, and follows as many redirects as it allows.
    async fn follow(&self, mut request: Request) -> Result<Reply, HttpError> {
        loop {
            let next = redirect::after(&request);
            let reply = self.exchange(request).await?;
            match next.and_then(|next| next.to(&reply)) {
                Some(followed) => request = followed,
                None => return Ok(reply),
            }
        }
    }

    async fn exchange(&self, request: Request) -> Result<Reply, HttpError> {
        let (route, url) = self.route(&request)?;
        let client = self.client(request.channel, route, &request.trust)?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Options => reqwest::Method::OPTIONS,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut sending = client.request(method, url).headers(headers(&request)?);
        if let Some(body) = request.body {
            sending = sending.body(body);
        }
        let reply = sending.send().await.map_err(|error| failure(&error, request.channel))?;
        read(reply, request.channel, request.limit).await
    }

    fn route(&self, request: &Request) -> Result<(Route, Url), HttpError> {
        let url = request.url.as_str();
        let bad = |why: &str| HttpError::NotSent(format!("not a usable URL: {why}"));
        let parse = |url: &str| Url::parse(url).map_err(|error| bad(&error.to_string()));
        if let Some(rest) = url.strip_prefix("unix://") {
            let (socket, path) =
                rest.split_once(":/").ok_or_else(|| bad("`unix://` needs `:/path` at its end"))?;
            let url = parse(&format!("http://localhost/{path}"))?;
            return Ok((Route::Socket(socket.into()), url));
        }
        let mut url = parse(url)?;
        let name = match request.channel {
            Channel::Consul => self.server_name.as_deref(),
            // The port of a `Host` header is not in a certificate.
            Channel::Direct | Channel::Fresh => request.host.as_deref().map(address::host_of),
        };
        if url.scheme() == "https"
            && let (Some(name), Some(host)) = (name, url.host_str())
        {
            let host = host.trim_matches(['[', ']']).to_owned();
            url.set_host(Some(name)).map_err(|error| bad(&error.to_string()))?;
            return Ok((Route::Host(host), url));
        }
        Ok((Route::Url, url))
    }

    fn client(&self, channel: Channel, route: Route, trust: &Trust) -> Result<Client, HttpError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (channel, route, trust.clone());
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let tls = match channel {
            Channel::Consul => self.tls.clone(),
            Channel::Direct | Channel::Fresh => {
                Tls::trusting(trust).map_err(|error| HttpError::NotSent(format!("{error:#}")))?
            }
        };
        let build = || configure(channel, &tls, &key.1);
        let client = build()
            .build()
            // A machine without any CA certificate can still speak plain HTTP.
            .or_else(|_| build().tls_certs_only([]).build())
            .map_err(|error| HttpError::NotSent(cause(&error)))?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn configure(channel: Channel, tls: &Tls, route: &Route) -> ClientBuilder {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(retry::never())
        .pool_idle_timeout(POOL_IDLE)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    if channel == Channel::Fresh {
        builder = builder.pool_max_idle_per_host(0);
    }
    let builder = tls.apply(builder);
    match route {
        Route::Url => builder.dns_resolver(Names { instead: None }),
        Route::Socket(path) => builder.unix_socket(path.as_str()),
        Route::Host(host) => builder.dns_resolver(Names { instead: Some(host.clone()) }),
    }
}

fn headers(request: &Request) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|error| {
            HttpError::NotSent(format!("the value of header `{name}` cannot be sent: {error}"))
        })?;
        value.set_sensitive(true);
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes())
            .map_err(|error| HttpError::NotSent(format!("header `{name}`: {error}")))?;
        headers.append(name, value);
    }
    if let Some(host) = &request.host {
        let host = HeaderValue::from_str(host);
        let host = host.map_err(|error| HttpError::NotSent(format!("header `Host`: {error}")))?;
        headers.insert(HOST, host);
    }
    if request.channel == Channel::Fresh {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(headers)
}

async fn read(
    mut reply: reqwest::Response,
    channel: Channel,
    limit: usize,
) -> Result<Reply, HttpError> {
    let mut headers = BTreeMap::new();
    for (name, value) in reply.headers() {
        headers
            .entry(name.as_str().to_owned())
            .or_insert_with(|| String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let status = reply.status().as_u16();
    let mut body = Body::of(channel);
    while let Some(chunk) = reply.chunk().await.map_err(|error| HttpError::Broken(cause(&error)))? {
        body.append(&chunk, limit).await?;
    }
    let (body, held) = body.finish();
    Ok(Reply { status, headers, body, held, ..Reply::default() })
}

fn failure(error: &reqwest::Error, channel: Channel) -> HttpError {
    if let Some(problem) = distrust(error, channel) {
        HttpError::Untrusted(problem)
    } else if error.is_connect() || error.is_builder() {
        HttpError::NotSent(cause(error))
    } else {
        HttpError::Broken(cause(error))
    }
}

/// The innermost cause. Only the outer causes name the URL, which may contain a secret.
fn cause(error: &reqwest::Error) -> String {
    let Some(mut inner) = error.source() else {
        return "the request cannot be sent".into();
    };
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = crate::text::line(&inner.to_string(), 300);
    let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text).to_owned();
    let text = text.strip_prefix("failed to lookup address information: ").map_or_else(
        || text.clone(),
        |reason| format!("the host's name cannot be resolved: {reason}"),
    );
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "the connection failed".into(),
    }
}
