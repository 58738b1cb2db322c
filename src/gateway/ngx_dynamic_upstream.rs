//! nginx with `ngx_dynamic_upstream`, `ZigzagAK`'s or cubicdaiya's, through its own API.
//!
//! The peers are in shared memory: what one worker shows all have. Everything is a `GET`, and some must never be sent:
//! `down=` without `server=` kills a worker with the lock held, `add=` with a host name hangs every worker; then the
//! list is still shown while no request is answered. Only two forms are sent here: the list, and one server's `down=` or
//! `up=`. The modules do not decode a query: a colon must stay one.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Ask, Driver, Peer, Switch, View, get};
use crate::playbook::{self, DynamicUpstreamVariant};
use crate::text;
use crate::world::Reply;

/// A gateway of this kind.
pub(super) struct NgxDynamicUpstream {
    upstream: String,
    url: String,
    variant: DynamicUpstreamVariant,
}

/// One line of the list.
struct Line<'a> {
    server: &'a str,
    down: bool,
    conns: Option<u64>,
}

impl NgxDynamicUpstream {
    pub(super) fn new(settings: &playbook::NgxDynamicUpstream) -> Self {
        Self {
            upstream: settings.upstream.as_str().to_owned(),
            url: settings.url.as_str().to_owned(),
            variant: settings.variant.unwrap_or(DynamicUpstreamVariant::Zigzagak),
        }
    }

    fn ask(&self, what: &str) -> Vec<Ask> {
        vec![Ask::Http(get(&format!("{}?upstream={}&{what}", self.url, self.upstream)))]
    }

    fn list<'a>(&self, text: &'a str) -> Result<Vec<Line<'a>>, String> {
        let lines = text.split_inclusive('\n').map(|line| self.line(line));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() { Err("its list is empty".into()) } else { Ok(lines) }
    }

    fn line<'a>(&self, line: &'a str) -> Result<Line<'a>, String> {
        let unreadable = || format!("cannot read this line of its list: {}", text::line(line, 100));
        let server = line.strip_prefix("server ").and_then(|line| line.strip_suffix(";\n"));
        let mut words = server.ok_or_else(unreadable)?.split(' ');
        let server = words.next().filter(|server| !server.is_empty()).ok_or_else(unreadable)?;
        let (mut down, mut conns, mut weight) = (false, None, false);
        for word in words {
            match word.split_once('=') {
                Some(("conns", number)) => conns = Some(number.parse().map_err(|_| unreadable())?),
                Some(("weight", _)) => weight = true,
                Some(_) => {}
                None => match word {
                    "down" => down = true,
                    "backup" => {}
                    _ => return Err(unreadable()),
                },
            }
        }
        match (self.variant, weight, conns) {
            (DynamicUpstreamVariant::Zigzagak, true, None) => Err(
                "it counts no requests in flight, as cubicdaiya's module: set `variant: cubicdaiya`, and \
                 `upstream` to the name of the zone"
                    .into(),
            ),
            (_, true, _) => Ok(Line { server, down, conns }),
            (_, false, _) => Err(unreadable()),
        }
    }

    /// The text of a reply that is a list.
    fn text(&self, replies: &[Reply]) -> Result<String, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let upstream = &self.upstream;
        match (reply.status, self.variant) {
            (200, _) => Ok(reply.text()),
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

impl Driver for NgxDynamicUpstream {
    fn asks(&self) -> Vec<Ask> {
        self.ask("verbose=")
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let text = self.text(replies)?;
        let mut view = View::default();
        for line in self.list(&text)? {
            let none = Peer { up: false, held_down: false, in_flight: None };
            let peer = view.peers.entry(line.server.to_owned()).or_insert(none);
            peer.up |= !line.down;
            if let Some(conns) = line.conns {
                peer.in_flight = Some(peer.in_flight.unwrap_or(0).saturating_add(conns));
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
    fn asks(&self) -> Vec<Ask> {
        Driver::asks(self)
    }

    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String> {
        let text = self.text(replies)?;
        let list = self.list(&text)?;
        let mut lines = list.iter().filter(|line| line.server == address);
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ok(line.down),
            // The module changes the first one only.
            (Some(_), Some(_)) => Err(format!("its list has {address} twice")),
            (None, _) => Err(format!("its list has no server {address}")),
        }
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Ask>, String> {
        // A server that is not there must not be asked for.
        self.is_down(replies, address)?;
        let what = if down { "down=" } else { "up=" };
        Ok(self.ask(&format!("server={address}&{what}")))
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), String> {
        let text = self.text(replies)?;
        self.list(&text).map(|_| ())
    }
}
