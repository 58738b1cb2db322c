//! What the keys of a gateway may be if only its address is known. A reply that lists the nodes confirms a guess.

use serde_json::{Map, Value};

use crate::url::part;

/// Where a gateway answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAddress {
    /// A URL.
    Url {
        /// Its scheme, host and port, without a final slash.
        base: String,
        /// The whole URL, if it has a path.
        whole: Option<String>,
    },
    /// A Unix socket on this machine, or on another one that ssh reaches.
    Socket {
        /// Its path.
        path: String,
        /// The machine.
        ssh: Option<String>,
    },
    /// A TCP port: `host:port`.
    Tcp(String),
}

impl GatewayAddress {
    /// Reads `http://host:port/path`, `/run/admin.sock`, `user@host:/run/admin.sock` or `tcp://host:port`.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp://") {
            return Ok(Self::Tcp(address.trim_end_matches('/').to_owned()));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !matches!(scheme, "http" | "https") {
                return Err(format!("`{scheme}://` is none of http://, https:// and tcp://"));
            }
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let whole = (!path.is_empty() && path != "/").then(|| text.to_owned());
            return Ok(Self::Url { base: format!("{scheme}://{authority}"), whole });
        }
        if text.starts_with('/') {
            return Ok(Self::Socket { path: text.to_owned(), ssh: None });
        }
        match text.split_once(":/") {
            Some((ssh, path)) => {
                Ok(Self::Socket { path: format!("/{path}"), ssh: Some(ssh.to_owned()) })
            }
            None => {
                Err("expected a URL, a socket's path, HOST:/PATH or tcp://HOST:PORT".to_owned())
            }
        }
    }

    /// The URLs with these paths, or the whole URL if it is given.
    pub(super) fn urls(&self, paths: &[&str]) -> Vec<String> {
        match self {
            Self::Url { whole: Some(whole), .. } => vec![whole.clone()],
            Self::Url { base, whole: None } => {
                paths.iter().map(|path| format!("{base}{path}")).collect()
            }
            Self::Socket { .. } | Self::Tcp(_) => Vec::new(),
        }
    }

    /// A guess for each name, with the URL without its path.
    pub(super) fn named(
        &self,
        url_key: &'static str,
        name_key: &'static str,
        names: &[String],
    ) -> Vec<Guess> {
        let Self::Url { base, .. } = self else { return Vec::new() };
        let guess = |name: &String| Guess::new([(name_key, name.clone()), (url_key, base.clone())]);
        names.iter().map(guess).collect()
    }
}

/// A key that no reply tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The key.
    pub key: &'static str,
    /// The question for its value.
    pub question: &'static str,
    /// A value with which the gateway can be read.
    pub sample: &'static str,
}

/// The keys of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guess {
    /// The keys with their values.
    pub keys: Map<String, Value>,
    /// The keys that must be asked for.
    pub unknown: Vec<Unknown>,
}

impl Guess {
    pub(super) fn new<V: Into<Value>>(keys: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value.into()));
        Self { keys: keys.collect(), unknown: Vec::new() }
    }

    pub(super) fn asking(mut self, unknown: &[(&'static str, &'static str, &'static str)]) -> Self {
        let all = unknown.iter().map(|(key, question, sample)| Unknown { key, question, sample });
        self.unknown.extend(all);
        self
    }
}

/// A URL with an upstream's name as its whole query, or the URL itself and the name in its query.
pub(super) fn queried(url: &str, names: &[String]) -> Vec<(String, String)> {
    match url.split_once('?') {
        Some((_, query)) if !query.contains(['=', '&']) => vec![(url.to_owned(), query.to_owned())],
        Some(_) => Vec::new(),
        None => names.iter().map(|name| (format!("{url}?{}", part(name)), name.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_a_url_a_socket_or_a_port() {
        let url = |base: &str, whole: Option<&str>| GatewayAddress::Url {
            base: base.into(),
            whole: whole.map(str::to_owned),
        };
        let socket = |path: &str, ssh: Option<&str>| GatewayAddress::Socket {
            path: path.into(),
            ssh: ssh.map(str::to_owned),
        };
        for (text, place) in [
            ("http://10.0.0.1:80", url("http://10.0.0.1:80", None)),
            ("https://gw/", url("https://gw", None)),
            ("http://gw/list?app", url("http://gw", Some("http://gw/list?app"))),
            ("/run/admin.sock", socket("/run/admin.sock", None)),
            ("ops@gw:/run/admin.sock", socket("/run/admin.sock", Some("ops@gw"))),
            ("tcp://10.0.0.1:9999", GatewayAddress::Tcp("10.0.0.1:9999".into())),
        ] {
            assert_eq!(GatewayAddress::parse(text), Ok(place));
        }
        assert!(
            GatewayAddress::parse("ftp://gw").expect_err("refused").contains("`ftp://` is none")
        );
        assert!(GatewayAddress::parse("gw").expect_err("refused").contains("expected a URL"));
    }

    #[test]
    fn url_with_a_query_names_its_upstream() {
        let names = ["app".to_owned(), "a b".to_owned()];
        let told = |url| queried(url, &names);
        assert_eq!(told("http://g/l?x"), [("http://g/l?x".into(), "x".into())]);
        assert_eq!(
            told("http://g/l"),
            [("http://g/l?app".into(), "app".into()), ("http://g/l?a%20b".into(), "a b".into())]
        );
        assert_eq!(told("http://g/l?upstream=x"), []);
    }
}
