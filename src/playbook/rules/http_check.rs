//! The rules of the HTTP check.

use super::Check;
use crate::diagnostic::Problem;
use crate::playbook::findings::quoted;
use crate::playbook::{Health, HttpCheckSettings, HttpMethod, Template};
use crate::secret::literal;

/// Headers that belong to the transport of a request.
const OWN_HEADERS: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

impl Check<'_> {
    pub(super) fn http_check(&mut self, health: &Health) {
        let Some(http) = &health.http else { return };
        let http = &http.0;
        self.url("health.http.url", &http.url);
        self.host(http);
        self.headers(http);
        if http.insecure && http.ca.is_some() {
            let message = "both `ca` and `insecure` are given";
            self.add("health.http.insecure", message, |problem| {
                problem.help("with `insecure`, no certificate is checked: keep one of them")
            });
        }
        let pointer = health.identity.as_ref().is_some_and(|identity| identity.pointer.is_some());
        if http.method == HttpMethod::Head && (http.body.is_some() || pointer) {
            let what = if http.body.is_some() { "`body`" } else { "`health.identity.pointer`" };
            self.wrong("health.http.method", format!("{what} with `HEAD`"), |problem| {
                problem.help("the reply to `HEAD` has no body: use `GET`")
            });
        }
    }

    fn host(&mut self, http: &HttpCheckSettings) {
        let named = http.headers.keys().find(|name| name.eq_ignore_ascii_case("host"));
        if let (Some(name), Some(_)) = (named, &http.host) {
            let path = format!("health.http.headers.{name}");
            self.add(&path, "both `host` and a header `Host` are given", |problem| {
                problem.help("they mean the same: keep `host`")
            });
        }
        let given = http.host.as_ref().map(|host| ("health.http.host".to_owned(), host));
        let named = named.map(|name| (format!("health.http.headers.{name}"), &http.headers[name]));
        for (path, host) in given.into_iter().chain(named) {
            let Some(text) = host.fixed() else { continue };
            if text.is_empty() || text.contains(['/', '@', '?', '#', ' ']) {
                let message = format!("`{}` is not a host", quoted(text));
                self.wrong(&path, message, |problem| {
                    problem
                        .help("write a name like `app.example`, or with a port: `app.example:8443`")
                });
            }
        }
    }

    fn headers(&mut self, http: &HttpCheckSettings) {
        for (name, value) in &http.headers {
            let path = format!("health.http.headers.{name}");
            let lower = name.to_ascii_lowercase();
            if !is_header(name) {
                let message = format!("`{}` is not the name of a header", quoted(name));
                self.add(&path, message, |problem| {
                    problem.help("use letters, digits and `-`, as in `X-Probe`")
                });
            } else if OWN_HEADERS.contains(&lower.as_str()) {
                self.add(&path, format!("rollgate sets the header `{name}` itself"), |problem| {
                    problem
                });
            } else if lower == "authorization" && http.basic_auth.is_some() {
                let message = "both `basic_auth` and a header `Authorization` are given";
                self.add(&path, message, |problem| problem.help("keep one of them"));
            } else if literal::is_secret_key(&lower) && !names_secret(value) {
                let message =
                    format!("the value of the header `{name}` is not a secret of the playbook");
                self.wrong(&path, message, |problem| {
                    problem.secret().help(
                        "the playbook is shown and written to journals: write `${{ secrets.NAME }}` in the value \
                         and `secrets: { NAME: { env: VARIABLE } }`",
                    )
                });
            } else if value.as_str().chars().any(char::is_control) {
                let message = format!("the value of the header `{name}` has a control character");
                self.wrong(&path, message, Problem::secret);
            }
        }
    }
}

fn is_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

fn names_secret(value: &Template) -> bool {
    value.names().0.iter().any(|(name, _)| name.starts_with("secrets."))
}
