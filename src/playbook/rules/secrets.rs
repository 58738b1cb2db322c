//! The rules that keep secrets out of the playbook: it is shown, written to journals and kept in Consul.

use super::Check;
use crate::playbook::tree::{Kind, Tree};
use crate::playbook::{GatewaySetup, Template};
use crate::secret::literal;

/// The message for a URL with a login.
pub(super) const LOGIN: &str = "a user or password in a URL";

impl Check<'_> {
    /// Refuses secrets in the file, without showing them.
    pub(super) fn literals(&mut self) {
        if let Some(token) = self.playbook.consul.as_ref().and_then(|consul| consul.token.as_ref())
        {
            let helps = [
                "the playbook and its variables are shown and written to journals: write \
                 `token: ${{ secrets.consul_token }}` and `secrets: { consul_token: { env: CONSUL_HTTP_TOKEN } }`",
                "without `token`, CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE is used",
            ];
            self.secret("consul.token", token, "the token is not a secret of the playbook", &helps);
        }
        for (index, GatewaySetup { gateway, .. }) in self.playbook.gateways.iter().enumerate() {
            for (key, secret) in gateway.settings().facts().secrets {
                let message = format!("the value of `{key}` is not a secret of the playbook");
                let help = format!(
                    "the playbook is shown and written to journals: write `{key}: ${{{{ secrets.{key} }}}}` and \
                     `secrets: {{ {key}: {{ env: VARIABLE }} }}`"
                );
                self.secret(&format!("gateways[{index}].{key}"), secret, &message, &[&help]);
            }
        }
        let http = self.playbook.health.http.as_ref();
        if let Some(login) = http.and_then(|http| http.0.basic_auth.as_ref()) {
            let message = "the password is not a secret of the playbook";
            let help = "the playbook is shown and written to journals: write `password: ${{ secrets.password }}` and \
                        `secrets: { password: { env: VARIABLE } }`";
            self.secret("health.http.basic_auth.password", &login.password, message, &[help]);
        }
        let mut found = Vec::new();
        walk(self.tree, "", &mut |path, tree, text| {
            let in_url = |login: &std::ops::Range<usize>| text[..login.start].ends_with("://");
            found.extend(
                literal::logins(text)
                    .filter(in_url)
                    .map(|login| (path.to_owned(), tree.part(self.source, login))),
            );
        });
        for (path, place) in found {
            let help = if path.starts_with("health.http") {
                "the playbook is shown and written to journals: remove the text before the `@`, and write \
                 `basic_auth: { user: …, password: '${{ secrets.NAME }}' }` beside `url`"
            } else {
                "the playbook is shown and written to journals: remove the text before the `@`; in a command, \
                 use a variable of the node's own environment"
            };
            self.wrong(&path, LOGIN, |problem| problem.at(place).secret().help(help));
            self.invalid.add(&path);
        }
    }

    /// A value that is not exactly one secret is shown wherever the playbook is.
    fn secret(&mut self, path: &str, value: &Template, message: &str, helps: &[&str]) {
        let (names, _) = value.names();
        let is_one_name = value.as_str().starts_with("${{") && value.as_str().ends_with("}}");
        let is_secret = match names.as_slice() {
            // A name that is not declared is reported separately.
            [(name, _)] if is_one_name => !self.playbook.variables.contains_key(*name),
            _ => false,
        };
        if !is_secret {
            let helps = helps.iter().map(|help| (*help).to_owned());
            self.wrong(path, message, |problem| problem.secret().helps(helps));
        }
    }
}

/// Visits every text of the file with its path.
fn walk(tree: &Tree, path: &str, visit: &mut impl FnMut(&str, &Tree, &str)) {
    match &*tree.kind {
        Kind::Scalar { text, .. } => visit(path, tree, text),
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), visit);
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, &format!("{path}{dot}{}", key.name), visit);
            }
        }
    }
}
