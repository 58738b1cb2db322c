//! nginx-upsync-module, and `nginx_upstream_check_module` where it is used.
//!
//! `upstream_show` is the view of the worker that happens to answer. An unknown upstream is a 200 with a
//! sentence. `check_status` is shared by all workers; it does not know `down`, and it forgets a peer that was
//! down during a reload: a peer it does not list is not held down by it.

mod check;

use std::time::Duration;

use super::{Driver, Nodes, Peer, Query, View, WORKER_HEADER, get, ok};
use crate::playbook::NginxUpsync;
use crate::world::Reply;

/// nginx-upsync's own default for `upsync_interval`.
const INTERVAL: Duration = Duration::from_secs(5);

/// After every answer a worker sleeps its interval and up to a second more; 6.5 s were seen with 5 s.
const SLACK: Duration = Duration::from_secs(2);

/// A gateway of this kind.
pub(super) struct Upsync {
    nodes: Nodes,
    upstream: String,
    status_url: String,
    check_url: Option<String>,
    workers: Option<u32>,
    worker_header: String,
    interval: Duration,
}

impl Upsync {
    pub(super) fn new(settings: &NginxUpsync, nodes: Nodes) -> Self {
        Self {
            nodes,
            upstream: settings.upstream.as_str().to_owned(),
            status_url: settings.status_url.as_str().to_owned(),
            check_url: settings.check_url.as_ref().map(|url| url.as_str().to_owned()),
            workers: settings.workers,
            worker_header: settings
                .worker_header
                .as_deref()
                .unwrap_or(WORKER_HEADER)
                .to_ascii_lowercase(),
            interval: settings.sync_interval.map_or(INTERVAL, |period| period.0),
        }
    }
}

impl Driver for Upsync {
    fn asks(&self) -> Vec<Query> {
        let urls = [Some(&self.status_url), self.check_url.as_ref()];
        urls.into_iter().flatten().map(|url| Query::Http(get(url))).collect()
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [status, check @ ..] = replies else { return Err("no reply".into()) };
        let mut view = parse_show(&ok(status)?.text(), &self.upstream, &self.nodes)?;
        if let [check, ..] = check {
            for (address, held) in check::parse(&ok(check)?.text(), &self.upstream)? {
                let address = self.nodes.name(&address);
                let Some(peer) = view.peers.get_mut(&address) else { continue };
                peer.failing_check |= *held.as_ref().unwrap_or(&true);
                // What the list has down is out, whatever the module says.
                if let (true, Err(why)) = (peer.up, held) {
                    view.unread.insert(address, why);
                }
            }
        }
        Ok(view)
    }

    fn kind(&self) -> String {
        let check = self.check_url.as_ref().map_or("", |_| " with a check module");
        format!("nginx-upsync{check}")
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn lag(&self) -> Duration {
        self.interval + SLACK
    }

    fn workers(&self) -> Option<u32> {
        self.workers
    }

    fn worker_header(&self) -> Option<&str> {
        Some(&self.worker_header)
    }
}

/// Reads `upstream_show`'s text: one block per upstream.
fn parse_show(text: &str, upstream: &str, nodes: &Nodes) -> Result<View, String> {
    if text.starts_with("The upstream you requested does not exist") {
        return Err(format!("the gateway has no upstream `{upstream}`"));
    }
    let mut view = View::default();
    let mut expected = None;
    let mut inside = false;
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("Upstream name: ") {
            let (name, count) =
                header.split_once("; Backend server count: ").ok_or_else(|| unreadable(line))?;
            inside = name.eq_ignore_ascii_case(upstream);
            if inside {
                expected = Some(count.trim().parse::<usize>().map_err(|_| unreadable(line))?);
            }
        } else if inside && let Some(server) = line.trim().strip_prefix("server ") {
            let server = server.strip_suffix(';').ok_or_else(|| unreadable(line))?;
            let mut words = server.split_whitespace();
            let address = words.next().ok_or_else(|| unreadable(line))?;
            let up = !words.any(|word| word == "down");
            view.add(nodes.name(address), Peer { up, failing_check: false, in_flight: None });
            expected = expected.map(|count| count.wrapping_sub(1));
        } else if inside && !line.trim().is_empty() && !line.ends_with(';') {
            return Err(unreadable(line));
        }
    }
    match expected {
        None => Err(format!("the reply does not show an upstream `{upstream}`")),
        Some(0) => Ok(view),
        Some(_) => Err(format!("the reply does not show all servers of `{upstream}`")),
    }
}

fn unreadable(line: &str) -> String {
    format!("cannot read this line of upstream_show: {}", crate::text::line(line, 100))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHOW: &str = "Upstream name: 127.0.0.1; Backend server count: 1
        server 127.0.0.1:80 weight=1 max_fails=1 fail_timeout=10s;

Upstream name: app; Backend server count: 3
        server 127.0.0.1:18001 weight=1 max_fails=2 fail_timeout=10s;
        server 127.0.0.1:18002 weight=1 max_fails=2 fail_timeout=10s down;
        server 127.0.0.1:18003 weight=1 max_fails=2 fail_timeout=10s;
";

    const CHECK: &str = r#"{"servers": {"total": 3, "generation": 1, "server": [
        {"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},
        {"index": 1, "upstream": "app", "name": "127.0.0.1:18002", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},
        {"index": 2, "upstream": "other", "name": "127.0.0.1:18003", "status": "down", "rise": 0, "fall": 9, "type": "http", "port": 0}]}}"#;

    fn reply(text: &str) -> Reply {
        Reply { status: 200, body: text.into(), ..Reply::default() }
    }

    fn upsync(check: bool) -> Upsync {
        Upsync {
            nodes: Nodes::default(),
            upstream: "App".into(),
            status_url: "http://gw/list?app".into(),
            check_url: check.then(|| "http://gw/check".into()),
            workers: None,
            worker_header: "x-worker".into(),
            interval: INTERVAL,
        }
    }

    #[test]
    fn peers_are_read_from_the_right_upstream_only() {
        let view = upsync(false).read(&[reply(SHOW)]).expect("readable");
        assert_eq!(view.peers.len(), 3);
        assert!(view.routes_to("127.0.0.1:18001") && view.routes_to("127.0.0.1:18003"));
        assert!(view.is_out("127.0.0.1:18002") && view.is_out("127.0.0.1:80"));
    }

    #[test]
    fn an_odd_entry_of_another_server_spoils_nothing() {
        let show = SHOW.replace("server count: 3", "server count: 4").replace(
            "        server 127.0.0.1:18001",
            "        server unix:/run/app.sock weight=1;\n        keepalive 16;\n        server 127.0.0.1:18001",
        );
        let odd =
            r#"{"upstream": "other"}, {"upstream": "app", "name": "10.9.9.9:80", "status": 7}, "#;
        let check = CHECK.replacen(r#"{"index": 0"#, &format!(r#"{odd}{{"index": 0"#), 1);
        let view = upsync(true).read(&[reply(&show), reply(&check)]).expect("readable");
        assert!(view.routes_to("127.0.0.1:18001") && view.routes_to("127.0.0.1:18003"));
        assert!(view.is_out("127.0.0.1:18002"));
        // A status that is not known is an error of that server alone.
        let odd = CHECK.replacen("\"up\"", "null", 1);
        let view = upsync(true).read(&[reply(&show), reply(&odd)]).expect("readable");
        assert!(!view.routes_to("127.0.0.1:18001") && !view.is_out("127.0.0.1:18001"));
        assert!(view.unread["127.0.0.1:18001"].contains("check_status"), "{view:?}");
        assert!(view.routes_to("127.0.0.1:18003"));
    }

    #[test]
    fn the_check_module_can_hold_a_node_out_but_never_proves_it_out() {
        let down = CHECK.replacen("\"up\"", "\"down\"", 1);
        let view = upsync(true).read(&[reply(SHOW), reply(&down)]).expect("readable");
        assert!(!view.routes_to("127.0.0.1:18001"));
        assert!(!view.is_out("127.0.0.1:18001"));
        assert!(view.is_out("127.0.0.1:18002"), "its `up` says nothing about `down=1`");
        assert!(
            view.routes_to("127.0.0.1:18003"),
            "forgotten by the check, or of another upstream"
        );
    }

    #[test]
    fn a_200_that_does_not_show_the_upstream_is_an_error() {
        let unknown = "The upstream you requested does not exist. Please double-check the name";
        for text in [
            unknown,
            "",
            "<html>",
            "Upstream name: apple; Backend server count: 0\n",
            "Upstream name: app; Backend server count: 2\n        server 1.2.3.4:1 weight=1;\n",
            "Upstream name: app; Backend server count: 1\n        server 1.2.3.4:1 wei",
            "Upstream name: app; Backend server count: x\n",
        ] {
            assert!(upsync(false).read(&[reply(text)]).is_err(), "{text}");
        }
        let bad_status = Reply { status: 502, ..reply(SHOW) };
        assert!(upsync(false).read(&[bad_status]).is_err());
        let trailing_comma = CHECK.replace("}]}}", "},]}}");
        assert!(upsync(true).read(&[reply(SHOW), reply(&trailing_comma)]).is_err());
    }

    #[test]
    fn a_second_entry_of_the_same_address_keeps_it_routed() {
        let text = "Upstream name: app; Backend server count: 2
        server 1.2.3.4:80 weight=1 max_fails=2 fail_timeout=10s down;
        server 1.2.3.4:80 weight=1 max_fails=2 fail_timeout=10s;
";
        let view = upsync(false).read(&[reply(text)]).expect("readable");
        assert!(!view.is_out("1.2.3.4:80"));
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(text in "(?s).{0,300}", check in "(?s).{0,100}") {
            let _ = upsync(true).read(&[reply(&text), reply(&check)]);
            let _ = upsync(false).read(&[reply(&format!("{SHOW}{text}"))]);
        }
    }
}
