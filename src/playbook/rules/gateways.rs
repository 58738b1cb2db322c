//! The rules of the gateways, and of every URL.

use std::collections::BTreeMap;

use super::{Check, fixed};
use crate::playbook::findings::quoted;
use crate::playbook::{Gateway, HttpTable, InFlight, NginxUpsync, Template};

impl Gateway {
    /// Returns what the gateway is called: its `name`, or the host and port of its URL.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let (name, url) = match self {
            Self::NginxUpsync(gateway) => (&gateway.name, &gateway.status_url),
            Self::HttpTable(gateway) => (&gateway.name, &gateway.url),
        };
        name.as_deref().unwrap_or_else(|| authority(url.as_str()))
    }

    /// Returns the key that tells what it is called.
    fn named_by(&self) -> &'static str {
        match self {
            Self::NginxUpsync(NginxUpsync { name: Some(_), .. })
            | Self::HttpTable(HttpTable { name: Some(_), .. }) => "name",
            Self::NginxUpsync(_) => "status_url",
            Self::HttpTable(_) => "url",
        }
    }
}

/// Returns the `user@host:port` of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let mut end = 0;
    // What stands in `${{ … }}` has no say in where the host ends.
    while let Some(next) = rest[end..].find(['/', '?', '#', '$']).map(|next| end + next) {
        match rest[next..].starts_with("${{").then(|| rest[next..].find("}}")).flatten() {
            Some(close) => end = next + close + 2,
            None if rest[next..].starts_with('$') => end = next + 1,
            None => return &rest[..next],
        }
    }
    rest
}

impl Check<'_> {
    pub(super) fn gateways(&mut self) {
        let (tree, gateways) = (self.tree, &self.playbook.gateways);
        let mut names = BTreeMap::new();
        let other = |first: usize| tree.locate(&format!("gateways[{first}]")).1;
        for (index, gateway) in gateways.iter().enumerate() {
            let path = format!("gateways[{index}]");
            let name = gateway.display_name();
            let is_named = self.known(&format!("{path}.{}", gateway.named_by()));
            if let Some(first) = is_named.then(|| names.insert(name, index)).flatten() {
                let message = format!("two gateways are called `{}`", quoted(name));
                self.add(&format!("{path}.name"), message, |problem| {
                    problem.related(other(first), "the other one").help("give each its own `name`")
                });
            }
            match gateway {
                Gateway::NginxUpsync(gateway) => {
                    self.url(&format!("{path}.status_url"), &gateway.status_url);
                    if let Some(url) = &gateway.check_url {
                        self.url(&format!("{path}.check_url"), url);
                    }
                    if self.known(&format!("{path}.upstream")) {
                        self.upsync_query(&path, &gateway.status_url, &gateway.upstream);
                    }
                }
                Gateway::HttpTable(gateway) => {
                    self.url(&format!("{path}.url"), &gateway.url);
                    self.table(&path, gateway);
                }
            }
        }
        self.counts(gateways);
    }

    fn counts(&mut self, gateways: &[Gateway]) {
        let Some(InFlight::Gateways) = self.playbook.drain.in_flight else {
            return;
        };
        let silent = gateways.iter().enumerate().find(|(index, gateway)| {
            !gateway.counts_in_flight() && self.known(&format!("gateways[{index}].type"))
        });
        if let Some((index, gateway)) = silent {
            let tree = self.tree;
            let name = quoted(gateway.display_name());
            let message = format!("gateway `{name}` does not count requests in flight");
            self.wrong("drain.in_flight", message, |problem| {
                let (_, place, _) = tree.locate(&format!("gateways[{index}]"));
                problem
                    .related(place, "this one")
                    .help("use `http` or `sockets` in place of `gateways`")
            });
        }
    }

    fn upsync_query(&mut self, path: &str, url: &Template, upstream: &Template) {
        let (Some(url), Some(upstream)) = (fixed(url), fixed(upstream)) else {
            return;
        };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        if !query.eq_ignore_ascii_case(upstream) {
            let message = "the query must be the upstream's bare name";
            let right = quoted(&format!("{base}?{upstream}"));
            self.wrong(&format!("{path}.status_url"), message, |problem| {
                problem
                    .help(format!("write `{right}`"))
                    .help("nginx-upsync answers 200 to anything else, with another list or none")
            });
        }
    }

    fn table(&mut self, path: &str, table: &HttpTable) {
        let Some(pattern) =
            table.pattern.as_ref().filter(|_| self.known(&format!("{path}.pattern")))
        else {
            return;
        };
        let pointers = [
            ("list", &table.list),
            ("address", &table.address),
            ("routed", &table.routed),
            ("in_flight", &table.in_flight),
        ];
        for (key, _) in pointers.iter().filter(|(_, pointer)| pointer.is_some()) {
            self.wrong(
                &format!("{path}.{key}"),
                format!("both `{key}` and `pattern` are given"),
                |problem| {
                    problem
                        .help("`pattern` reads text, the pointers read JSON: keep one or the other")
                },
            );
        }
        let Ok(regex) = regex_lite::Regex::new(pattern) else {
            return;
        };
        let has = |group: &str| regex.capture_names().flatten().any(|name| name == group);
        let path = format!("{path}.pattern");
        if !has("address") {
            self.wrong(&path, "the pattern has no group `address`", |problem| {
                problem.help(r"name the part that is `host:port`: `(?<address>\S+)`")
            });
        }
        if has("routed") && has("down") {
            self.wrong(&path, "the pattern has both groups `routed` and `down`", |problem| {
                problem.help("keep the one that takes part in the match only when the peer is so")
            });
        }
    }

    pub(super) fn url(&mut self, path: &str, url: &Template) {
        let text = url.as_str();
        let shown = quoted(text);
        let has_scheme = ["http://", "https://", "${{"].iter().any(|start| text.starts_with(start));
        if !has_scheme {
            self.wrong(path, format!("`{shown}` is not a URL"), |problem| {
                problem.help("it must start with `http://` or `https://`")
            });
            return;
        }
        let authority = authority(text);
        if authority.contains('@') {
            // Not quoted: what stands before the `@` may be a password.
            self.wrong(path, "a user or password in a URL", |problem| {
                problem.help("URLs are printed and journalled: remove what stands before the `@`")
            });
        } else if authority.is_empty() || authority.starts_with(':') {
            self.wrong(path, format!("`{shown}` has no host"), |problem| problem);
        } else if has_blank(text) {
            self.wrong(path, format!("`{shown}` has a blank or a control character"), |problem| {
                problem
            });
        }
    }
}

/// Returns whether a URL has a blank outside its templates.
fn has_blank(url: &str) -> bool {
    let mut outside = url.split("${{");
    let first = outside.next().unwrap_or_default();
    let rest = outside.map(|part| part.split_once("}}").map_or("", |(_, after)| after));
    [first].into_iter().chain(rest).any(|part| {
        part.contains(|character: char| character.is_whitespace() || character.is_control())
    })
}
