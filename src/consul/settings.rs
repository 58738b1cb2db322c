//! Where Consul is, and how rollgate identifies itself: the playbook's settings override Consul's own variables.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::file;
use crate::secret::{Secret, literal};
use crate::world::ConsulTls;

/// How Consul is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `http://`, `https://` or `unix://`, tried in turn. Never empty.
    pub addresses: Vec<String>,
    /// The ACL token.
    pub token: Option<Secret>,
    /// `user:password` of a proxy in front of Consul.
    pub basic_auth: Option<Secret>,
    /// The datacenter.
    pub datacenter: Option<String>,
    /// The namespace (Consul Enterprise).
    pub namespace: Option<String>,
    /// The admin partition (Consul Enterprise).
    pub partition: Option<String>,
    /// Whether `https://` shows that a host belongs to Consul: Consul's own authority or name is used to check its
    /// certificate. A certificate that the system's authorities accept shows only to which host it belongs.
    pub proves_agents: bool,
}

/// Why an address is not used. The message does not have the address, because a part of it is a secret.
const LOGIN_IN_ADDRESS: &str = "an address of Consul contains a user or a password (an `@`, or a port that is not \
     a number), and addresses are printed; use CONSUL_HTTP_AUTH=user:password";

/// The largest file with a token.
const LARGEST_TOKEN: u64 = 64 * 1024;

/// The address of an agent if no other one is given.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8500";

impl Settings {
    /// Reads Consul's own environment variables.
    ///
    /// The names and their meaning are those of Consul's command line:
    /// <https://developer.hashicorp.com/consul/commands#environment-variables>.
    ///
    /// # Errors
    ///
    /// If `CONSUL_HTTP_TOKEN_FILE` cannot be read, or a token is invalid.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let tls = is_ssl(variable);
        let address = variable("CONSUL_HTTP_ADDR");
        let address = address
            .map_or_else(|| DEFAULT_ADDRESS.to_owned(), |address| with_scheme(&address, tls));
        let token = match (variable("CONSUL_HTTP_TOKEN"), variable("CONSUL_HTTP_TOKEN_FILE")) {
            (Some(token), _) => Some(token_of("CONSUL_HTTP_TOKEN", &token)?),
            (None, Some(file)) => {
                let text = file::read_text(Path::new(&file), LARGEST_TOKEN).map_err(|problem| {
                    format!("cannot read CONSUL_HTTP_TOKEN_FILE {file}: {problem}")
                })?;
                Some(token_of("CONSUL_HTTP_TOKEN_FILE", &text)?)
            }
            (None, None) => None,
        };
        Ok(Self {
            addresses: vec![address],
            token,
            basic_auth: variable("CONSUL_HTTP_AUTH").map(Secret::new),
            datacenter: variable("CONSUL_DATACENTER"),
            namespace: variable("CONSUL_NAMESPACE"),
            partition: variable("CONSUL_PARTITION"),
            proves_agents: proves_agents(&tls_from_environment(variable)),
        })
    }

    /// Refuses a secret that would be shown.
    ///
    /// # Errors
    ///
    /// If an address contains a login, or something that can be one.
    pub fn check(&self) -> Result<(), String> {
        let login = |address: &String| {
            let rest = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            // A password can end the host part: any address with an `@` can have one.
            let is_told = address.contains('@') || literal::has_odd_port(authority);
            is_told && !address.starts_with("unix://")
        };
        if self.addresses.iter().any(login) { Err(LOGIN_IN_ADDRESS.into()) } else { Ok(()) }
    }

    /// All its values that must never be shown.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets: Vec<_> = self.token.iter().chain(&self.basic_auth).cloned().collect();
        if let Some(login) = &self.basic_auth {
            // The password alone, and as it is sent.
            let (_, password) = login.expose().split_once(':').unwrap_or_default();
            secrets.extend([
                Secret::new(password),
                Secret::new(BASE64_STANDARD.encode(login.expose())),
            ]);
        }
        secrets
    }
}

/// Returns a token as it is sent. Blanks and line breaks around it come from pasting and are removed.
///
/// # Errors
///
/// If it contains a blank or a control character. `place` is the source of the token, for the message.
pub fn token_of(place: &str, text: &str) -> Result<Secret, String> {
    let token = text.trim();
    if token.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err(format!("{place}: the token contains a blank or a line break"));
    }
    if !token.is_ascii() {
        return Err(format!("{place}: the token contains a character that is not ASCII"));
    }
    Ok(Secret::new(token))
}

/// Reads Consul's own environment variables for TLS.
#[must_use]
pub fn tls_from_environment(variable: impl Fn(&str) -> Option<String>) -> ConsulTls {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let file = |name: &str| variable(name).map(PathBuf::from);
    ConsulTls {
        ca: file("CONSUL_CACERT"),
        ca_dir: file("CONSUL_CAPATH"),
        client_cert: file("CONSUL_CLIENT_CERT"),
        client_key: file("CONSUL_CLIENT_KEY"),
        server_name: variable("CONSUL_TLS_SERVER_NAME"),
        verify: verifies(&variable),
    }
}

fn proves_agents(tls: &ConsulTls) -> bool {
    tls.verify && (tls.ca.is_some() || tls.ca_dir.is_some() || tls.server_name.is_some())
}

/// Returns whether an address without a scheme is `https://`.
pub fn is_ssl(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("CONSUL_HTTP_SSL").is_some_and(|value| is_true(&value))
}

fn verifies(variable: &impl Fn(&str) -> Option<String>) -> bool {
    variable("CONSUL_HTTP_SSL_VERIFY").is_none_or(|value| is_true(&value))
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true")
}

/// Returns an address with its scheme: Consul's tools take `host:port`, too.
#[must_use]
pub fn with_scheme(address: &str, tls: bool) -> String {
    match address.split_once("://") {
        Some(_) => address.to_owned(),
        None if tls => format!("https://{address}"),
        None => format!("http://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let find = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::from_environment(find).expect("settings")
    }

    #[test]
    fn consuls_own_variables_are_honoured() {
        assert_eq!(settings(&[]).addresses, [DEFAULT_ADDRESS]);
        assert_eq!(settings(&[("CONSUL_HTTP_ADDR", "a:1")]).addresses, ["http://a:1"]);
        let tls = [("CONSUL_HTTP_ADDR", "a:1"), ("CONSUL_HTTP_SSL", "true")];
        assert_eq!(settings(&tls).addresses, ["https://a:1"]);
        let socket = settings(&[("CONSUL_HTTP_ADDR", "unix:///run/consul.sock")]);
        assert_eq!(socket.addresses, ["unix:///run/consul.sock"]);
        let full = settings(&[("CONSUL_HTTP_TOKEN", "t"), ("CONSUL_NAMESPACE", "n")]);
        assert_eq!(full.token, Some(Secret::new("t")));
        assert_eq!(full.namespace.as_deref(), Some("n"));
    }

    #[test]
    fn login_in_an_address_is_refused_without_quoting_it() {
        for address in [
            "http://me:hunter22@a:1",
            "me:hunter22@a:1",
            "https://hunter22@[::1]:1/x",
            "me:hunter22/x@a:1",
            "http://me:hunter22?x@a:1",
            "http://me:hunter22#x@a",
            "http://me:1/hunter22@a:1",
            "me:hunter22://x@a",
            "http://me:hunter22",
        ] {
            let error = settings(&[("CONSUL_HTTP_ADDR", address)]).check().expect_err("refused");
            assert!(error.contains("CONSUL_HTTP_AUTH") && !error.contains("hunter22"), "{error}");
        }
        for address in ["http://a:1", "a", "http://[::1]:1/x:y", "::1", "unix:///run/a@b.sock"] {
            settings(&[("CONSUL_HTTP_ADDR", address)]).check().expect(address);
        }
    }

    #[test]
    fn a_token_a_login_and_its_parts_are_secrets() {
        let secrets =
            settings(&[("CONSUL_HTTP_TOKEN", "token-1"), ("CONSUL_HTTP_AUTH", "me:hunter22")]);
        let redactor = crate::secret::Redactor::new(secrets.secrets());
        let shown = redactor.redact("token-1 me:hunter22 hunter22 bWU6aHVudGVyMjI= me");
        assert_eq!(shown, "*** *** *** *** me");
    }

    #[test]
    fn token_is_read_from_a_file() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), "from-file\n").expect("write");
        let path = file.path().display().to_string();
        let found = settings(&[("CONSUL_HTTP_TOKEN_FILE", &path)]);
        assert_eq!(found.token, Some(Secret::new("from-file")));
        let missing = |name: &str| (name == "CONSUL_HTTP_TOKEN_FILE").then(|| "/none".to_owned());
        assert!(Settings::from_environment(missing).is_err());
    }

    #[test]
    fn line_breaks_around_a_pasted_token_are_removed() {
        for pasted in ["t0k-en\n", "t0k-en\r\n", " t0k-en "] {
            let found = settings(&[("CONSUL_HTTP_TOKEN", pasted)]);
            assert_eq!(found.token, Some(Secret::new("t0k-en")), "{pasted:?}");
        }
        let broken = |name: &str| (name == "CONSUL_HTTP_TOKEN").then(|| "t0k\nen".to_owned());
        let error = Settings::from_environment(broken).expect_err("no token");
        assert_eq!(error, "CONSUL_HTTP_TOKEN: the token contains a blank or a line break");
        // No header can have it: every server would seem to be unreachable.
        let error = token_of("consul.token", "t\u{f6}ken").expect_err("no token");
        assert_eq!(error, "consul.token: the token contains a character that is not ASCII");
    }

    #[test]
    fn only_consuls_own_authority_or_name_identifies_an_agent() {
        let proves = |variables: &[(&str, &str)]| settings(variables).proves_agents;
        assert!(!proves(&[]), "the system's authorities accept the certificate of any host");
        for name in ["CONSUL_CACERT", "CONSUL_CAPATH", "CONSUL_TLS_SERVER_NAME"] {
            assert!(proves(&[(name, "x")]), "{name}");
            assert!(!proves(&[(name, "x"), ("CONSUL_HTTP_SSL_VERIFY", "false")]), "{name}");
        }
    }

    #[test]
    fn verification_is_on_unless_it_is_switched_off() {
        let verify = |value: Option<&str>| {
            let variable =
                |name: &str| value.filter(|_| name == "CONSUL_HTTP_SSL_VERIFY").map(Into::into);
            tls_from_environment(variable).verify
        };
        assert!(verify(None));
        assert!(verify(Some("true")));
        assert!(!verify(Some("false")));
    }
}
