//! nginx with `ngx_dynamic_upstream`, `ZigzagAK`'s or cubicdaiya's, through its own API.
//!
//! The peers are in shared memory: what one worker shows all have. Everything is a `GET`, and some must never be sent:
//! `down=` without `server=` kills a worker with the lock held, `add=` with a host name hangs every worker; then the
//! list is still shown while no request is answered. Only two forms are sent here: the list, and one server's `down=` or
//! `up=`. The modules do not decode a query: a colon must stay one.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use super::{Driver, Mark, Nodes, NotDone, Peer, Query, Switch, View, get, not_done};
use crate::address;
use crate::playbook::{self, DynamicUpstreamVariant};
use crate::text;
use crate::world::Reply;

/// A gateway of this kind.
pub(super) struct NgxDynamicUpstream {
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

/// What a line says of its server.
struct State {
    down: bool,
    conns: Conns,
}

/// What a line says of the requests in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conns {
    Number(u64),
    /// What is no number.
    Odd,
    /// Nothing.
    Missing,
}

impl NgxDynamicUpstream {
    pub(super) fn new(settings: &playbook::NgxDynamicUpstream, nodes: Nodes) -> Self {
        Self {
            nodes,
            upstream: settings.upstream.as_str().to_owned(),
            url: settings.url.as_str().to_owned(),
            variant: settings.variant.unwrap_or(DynamicUpstreamVariant::Zigzagak),
        }
    }

    fn ask(&self, what: &str) -> Vec<Query> {
        vec![Query::Http(get(&format!("{}?upstream={}&{what}", self.url, self.upstream)))]
    }

    /// Reads the list. A line that is whole and has odd words is an error of its own server alone.
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
                "it counts no requests in flight, as cubicdaiya's module: set `variant: cubicdaiya`, and \
                 `upstream` to the name of the zone"
                    .into(),
            ),
            DynamicUpstreamVariant::Zigzagak | DynamicUpstreamVariant::Cubicdaiya => Ok(lines),
        }
    }

    /// The text of a reply that is a list.
    fn text<'a>(&self, replies: &'a [Reply]) -> Result<Cow<'a, str>, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let upstream = &self.upstream;
        match (reply.status, self.variant) {
            (200, _) => reply.lines(),
            (404, DynamicUpstreamVariant::Zigzagak) => {
                Err(format!("it has no upstream `{upstream}`, or the location is another one"))
            }
            (404, DynamicUpstreamVariant::Cubicdaiya) => {
                Err(format!("it has no zone `{upstream}`, or the location is another one"))
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
    // What was cut off has lost its ` down`.
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

impl Driver for NgxDynamicUpstream {
    fn asks(&self) -> Vec<Query> {
        self.ask("verbose=")
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

    fn kind(&self) -> String {
        let author = match self.variant {
            DynamicUpstreamVariant::Zigzagak => "ZigzagAK",
            DynamicUpstreamVariant::Cubicdaiya => "cubicdaiya",
        };
        format!("ngx_dynamic_upstream of {author}'s")
    }

    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// One list for all.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for NgxDynamicUpstream {
    fn asks(&self) -> Vec<Query> {
        Driver::asks(self)
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let text = self.text(replies)?;
        let list = self.list(&text)?;
        let mut lines = list.iter().filter(|line| address::same(line.server, address));
        match (lines.next(), lines.next()) {
            (Some(line), None) => {
                let state = line.state.as_ref().map_err(Clone::clone)?;
                Ok(if state.down { Mark::Down } else { Mark::Up })
            }
            // The module changes the first one only.
            (Some(_), Some(_)) => Err(format!("its list has {address} twice")),
            (None, _) => Err(format!("its list has no server {address}")),
        }
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        // A server that is not there must not be asked for, and one that is, by its own spelling.
        self.mark(replies, address)?;
        let text = self.text(replies)?;
        let list = self.list(&text)?;
        let own = list.iter().find(|line| address::same(line.server, address));
        let server = own.map_or(address, |line| line.server);
        let what = if down { "down=" } else { "up=" };
        Ok(self.ask(&format!("server={server}&{what}")))
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let [reply, ..] = replies else { return Err(NotDone::Unknown("no reply".into())) };
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
