//! ## ngx-dynamic-upstream
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | `ngx_dynamic_upstream` | `gateway` | [ngx-dynamic-upstream](../playbooks/ngx-dynamic-upstream.yaml) |
//!
//! nginx with `ngx_dynamic_upstream`, [ZigzagAK's](https://github.com/ZigzagAK/ngx_dynamic_upstream) or
//! [cubicdaiya's](https://github.com/cubicdaiya/ngx_dynamic_upstream). rollgate writes to the module's API.
//!
//! ```nginx
//! upstream app {
//!     zone zone_for_app 128k;                                   # without it the API answers 501
//!     server 10.0.1.11:9000;
//!     server 10.0.1.12:9000;
//! }
//! server {
//!     listen 8081;
//!     location /dynamic { dynamic_upstream; }
//! }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - { type: ngx-dynamic-upstream, upstream: app, url: 'http://10.0.0.11:8081/dynamic' }
//!   - { type: ngx-dynamic-upstream, upstream: zone_for_app, url: 'http://10.0.0.12:8081/dynamic', variant: cubicdaiya }
//! ```
//!
//! - The list is in shared memory. One read confirms a change at once.
//! - A node's address must be the same as in the list's `server`, and must be in the list once: the module changes only
//!   the first entry.
//! - `ZigzagAK`'s module counts requests in flight, also at a peer that is down. These counts end the drain.
//! - cubicdaiya's module does not count requests, and identifies the pool by the name of its `zone`: set
//!   `variant: cubicdaiya`.
//! - A reload forgets `down`, even with `dynamic_state_file`. While a node is out, rollgate marks it down again within
//!   2 s.
//! - If the list has more than about a thousand servers, the module cuts its answer off. Such an answer is refused.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl, not_done};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{Nodes, Peer, View};
use crate::template::Template;
use crate::text::{self, quoted};
use crate::world::Reply;

/// nginx with `ngx_dynamic_upstream`, with its own API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NgxDynamicUpstream {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool: with cubicdaiya's module the name of its `zone`, with `ZigzagAK`'s the name
    /// of the `upstream`.
    pub upstream: Template,
    /// The `dynamic_upstream` location.
    pub url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The author of the module. Default: zigzagak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<DynamicUpstreamVariant>,
}

/// The author of the `ngx_dynamic_upstream` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DynamicUpstreamVariant {
    /// `ZigzagAK`'s: it counts requests in flight, also at a peer that is down.
    Zigzagak,
    /// cubicdaiya's, the first module with this name: it does not count requests.
    Cubicdaiya,
}

impl Settings for NgxDynamicUpstream {
    templates!(upstream, url);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let urls = address.urls(&["/dynamic", "/upstream_conf"]);
        let urls = urls.iter().map(|url| url.split('?').next().unwrap_or(url));
        let all = urls.flat_map(|url| names.iter().map(move |name| (url, name)));
        let guess = |(url, name): (&str, &String), variant: Option<&str>| {
            let variant = variant.map(|variant| ("variant", variant.to_owned()));
            let keys = [("upstream", name.clone()), ("url", url.to_owned())];
            Guess::new(keys.into_iter().chain(variant))
        };
        all.flat_map(|at| [guess(at, None), guess(at, Some("cubicdaiya"))]).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        let counts = self.variant != Some(DynamicUpstreamVariant::Cubicdaiya);
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("url", self.url.as_str()),
            counts_under: if counts { &RegistryKind::ALL } else { &[] },
            incompatible_with: follows_only(
                RegistryKind::Gateway,
                "only its own API changes its list",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let name = self.upstream.fixed().filter(|_| known("upstream"));
        let query = self.url.fixed().filter(|url| known("url") && url.contains('?'));
        let name = name.filter(|name| name.contains(is_special)).map(|name| Issue {
            key: "upstream",
            message: format!("`{}` cannot be used in the module's API", quoted(name)),
            helps: vec!["the module does not decode queries: rename the upstream".into()],
        });
        let query = query.map(|url| Issue {
            key: "url",
            message: format!("`{}` has a query", quoted(url)),
            helps: vec!["give only the location; rollgate adds the query".into()],
        });
        name.into_iter().chain(query).collect()
    }
}

/// The module does not decode a query.
fn is_special(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || "-_.:".contains(character))
}

/// nginx with `ngx_dynamic_upstream`, `ZigzagAK`'s or cubicdaiya's, with its own API.
///
/// The peers are in shared memory: what one worker shows is valid for all. Every request is a `GET`, and some must
/// never be sent: `down=` without `server=` kills a worker that holds the lock, and `add=` with a host name hangs
/// every worker. The list is still shown then, but no request is answered. Only two forms are sent here: the list,
/// and one server's `down=` or `up=`. The modules do not decode a query, so a colon must not be encoded.
pub(super) struct NgxDynamicUpstreamDriver {
    facts: Facts,
    nodes: Nodes,
    upstream: String,
    url: String,
    variant: DynamicUpstreamVariant,
}

/// One line of the list.
struct Line<'a> {
    server: &'a str,
    state: Result<State, String>,
}

/// The state of a server in a line.
struct State {
    down: bool,
    conns: Conns,
}

/// The requests in flight in a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conns {
    Number(u64),
    /// Not a number.
    Odd,
    /// None.
    Missing,
}

impl NgxDynamicUpstreamDriver {
    pub(super) fn new(settings: &NgxDynamicUpstream, nodes: Nodes) -> Self {
        let variant = settings.variant.unwrap_or(DynamicUpstreamVariant::Zigzagak);
        let author = match variant {
            DynamicUpstreamVariant::Zigzagak => "ZigzagAK",
            DynamicUpstreamVariant::Cubicdaiya => "cubicdaiya",
        };
        Self {
            // One list for all workers.
            facts: Facts::immediate(format!("ngx_dynamic_upstream of {author}'s")),
            nodes,
            upstream: settings.upstream.as_str().to_owned(),
            url: settings.url.as_str().to_owned(),
            variant,
        }
    }

    fn ask(&self, what: &str) -> Vec<Query> {
        vec![Query::Http(get(&format!("{}?upstream={}&{what}", self.url, self.upstream)))]
    }

    /// Reads the list. A complete line with unknown words is an error of its own server only.
    fn list<'a>(&self, text: &'a str) -> Result<Vec<Line<'a>>, String> {
        let lines = text.split_inclusive('\n').map(line);
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let states = || lines.iter().filter_map(|line| line.state.as_ref().ok());
        let counts = states().any(|state| state.conns != Conns::Missing);
        if let Some(Err(why)) = lines.first().map(|line| &line.state)
            && states().next().is_none()
        {
            return Err(why.clone());
        }
        match self.variant {
            _ if lines.is_empty() => Err("its list is empty".into()),
            DynamicUpstreamVariant::Zigzagak if !counts => Err(
                "it counts no requests in flight, like cubicdaiya's module: set `variant: cubicdaiya`, and \
                 `upstream` to the name of the zone"
                    .into(),
            ),
            DynamicUpstreamVariant::Zigzagak | DynamicUpstreamVariant::Cubicdaiya => Ok(lines),
        }
    }

    /// The text of a reply with a list.
    fn text<'a>(&self, replies: &'a [Reply]) -> Result<Cow<'a, str>, String> {
        let reply = first(replies)?;
        let upstream = &self.upstream;
        match (reply.status, self.variant) {
            (200, _) => reply.lines(),
            (404, DynamicUpstreamVariant::Zigzagak) => {
                Err(format!("it has no upstream `{upstream}`, or the URL is another location"))
            }
            (404, DynamicUpstreamVariant::Cubicdaiya) => {
                Err(format!("it has no zone `{upstream}`, or the URL is another location"))
            }
            (501, _) => {
                Err(format!("the upstream `{upstream}` has no `zone`, which its API needs"))
            }
            (status, _) => Err(format!("answered {status} {}", text::line(&reply.text(), 80))),
        }
    }
}

fn line(line: &str) -> Result<Line<'_>, String> {
    let unreadable = || format!("cannot read this line of its list: {}", text::line(line, 100));
    // A line that was cut off has lost its ` down`.
    let server = line.strip_prefix("server ").and_then(|line| line.strip_suffix(";\n"));
    let mut words = server.ok_or_else(unreadable)?.split(' ');
    let server = words.next().filter(|server| !server.is_empty()).ok_or_else(unreadable)?;
    Ok(Line { server, state: state(words).ok_or_else(unreadable) })
}

fn state<'a>(words: impl Iterator<Item = &'a str>) -> Option<State> {
    let (mut down, mut conns, mut weight) = (false, Conns::Missing, false);
    for word in words {
        match word.split_once('=') {
            Some(("conns", number)) => {
                conns = number.parse().map_or(Conns::Odd, Conns::Number);
            }
            Some(("weight", _)) => weight = true,
            Some(_) | None if word.contains('=') => {}
            None if word == "down" => down = true,
            None if word == "backup" => {}
            Some(_) | None => return None,
        }
    }
    weight.then_some(State { down, conns })
}

impl Driver for NgxDynamicUpstreamDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe | Purpose::Rotation => self.ask("verbose="),
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let text = self.text(replies)?;
        let mut view = View::default();
        for line in self.list(&text)? {
            let server = self.nodes.name(line.server);
            match line.state {
                Ok(State { down, conns }) => {
                    let in_flight = match conns {
                        Conns::Number(number) => Some(number),
                        Conns::Odd | Conns::Missing => None,
                    };
                    view.add(server, Peer { up: !down, failing_check: false, in_flight });
                }
                Err(why) => view.add_unread(server, why),
            }
        }
        Ok(view)
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for NgxDynamicUpstreamDriver {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let text = self.text(replies)?;
        let list = self.list(&text)?;
        let mut lines = list.iter().filter(|line| address::same(line.server, address));
        match (lines.next(), lines.next()) {
            (Some(line), None) => {
                let state = line.state.as_ref().map_err(Clone::clone)?;
                Ok(if state.down { Listed::Down } else { Listed::Up }.into())
            }
            // The module changes the first one only.
            (Some(_), Some(_)) => Err(format!("its list has {address} twice")),
            (None, _) => Err(format!("its list has no server {address}")),
        }
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        // A server that is missing must not be named in a request, and a server that exists must have its own
        // spelling.
        self.listing(replies, address)?;
        let text = self.text(replies)?;
        let list = self.list(&text)?;
        let own = list.iter().find(|line| address::same(line.server, address));
        let server = own.map_or(address, |line| line.server);
        let what = if down { "down=" } else { "up=" };
        Ok(self.ask(&format!("server={server}&{what}")))
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let reply = first(replies).map_err(NotDone::Unknown)?;
        if reply.status != 200 {
            let why = self.text(replies).err().unwrap_or_default();
            return Err(match not_done(reply) {
                NotDone::Refused(_) => NotDone::Refused(why),
                NotDone::Later(_) => NotDone::Later(why),
                NotDone::Conflict(_) | NotDone::Unknown(_) => NotDone::Unknown(why),
            });
        }
        self.list(&reply.text()).map(|_| ()).map_err(NotDone::Unknown)
    }
}
