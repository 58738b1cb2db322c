//! HAProxy 1.8 to 3.4, by its runtime API and by its stats page.

use rollgate::node::NodeScript;
use rollgate::world::{Method, Request};
use serde_json::{Value, json};

use crate::replay::{Answer, Question, Seen, Subject};

/// The runtime API of a version.
pub(crate) struct Runtime {
    name: &'static str,
    way: Way,
    /// Every server is up.
    up: &'static str,
}

/// How the runtime API is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    /// A Unix socket on another machine.
    Socket,
    /// The same, of the master process.
    Master,
}

macro_rules! runtime {
    ($version:literal, $way:ident, $by:literal) => {
        &Runtime {
            name: concat!("haproxy ", $version, " by ", $by),
            way: Way::$way,
            up: include_str!(concat!(
                "../../fixtures/gateway/haproxy/",
                $version,
                "/runtime-up.txt"
            )),
        }
    };
}

macro_rules! page {
    ($version:literal) => {
        &Page {
            name: concat!("haproxy ", $version, " by its stats page"),
            up: include_str!(concat!("../../fixtures/gateway/haproxy/", $version, "/page-up.csv")),
        }
    };
}

/// Every version, and every way to it.
pub(crate) const SUBJECTS: [&dyn Subject; 26] = [
    runtime!("1.8.0", Tcp, "TCP"),
    runtime!("2.2.9", Tcp, "TCP"),
    runtime!("2.2.9", Master, "its master"),
    runtime!("2.6.12", Tcp, "TCP"),
    runtime!("2.6.12", Socket, "a Unix socket"),
    runtime!("2.7.0", Tcp, "TCP"),
    runtime!("2.8.25", Tcp, "TCP"),
    runtime!("2.9.0", Tcp, "TCP"),
    runtime!("3.0.11", Tcp, "TCP"),
    runtime!("3.0.11", Master, "its master"),
    runtime!("3.1.0", Tcp, "TCP"),
    runtime!("3.2.26", Tcp, "TCP"),
    runtime!("3.2.26", Master, "its master"),
    runtime!("3.3.0", Tcp, "TCP"),
    runtime!("3.4.7", Tcp, "TCP"),
    runtime!("3.4.7", Master, "its master"),
    page!("1.8.0"),
    page!("2.6.12"),
    page!("2.7.0"),
    page!("2.8.25"),
    page!("2.9.0"),
    page!("3.0.11"),
    page!("3.1.0"),
    page!("3.2.26"),
    page!("3.3.0"),
    page!("3.4.7"),
];

impl Subject for Runtime {
    fn name(&self) -> &'static str {
        self.name
    }

    fn gateway(&self) -> Value {
        match self.way {
            Way::Tcp => json!({ "type": "haproxy", "backend": "app", "tcp": "10.0.0.12:9999" }),
            Way::Socket | Way::Master => json!({
                "type": "haproxy", "backend": "app", "master": self.way == Way::Master,
                "socket": { "path": "/run/haproxy/admin.sock", "ssh": "ops@10.0.0.12" },
            }),
        }
    }

    fn counts(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let line = match question {
            Question::Exchange(bytes) => String::from_utf8_lossy(bytes).trim_end().to_owned(),
            Question::Run(NodeScript::UnixSocket { path, say }) => {
                assert_eq!(path, "/run/haproxy/admin.sock");
                say.clone()
            }
            other => panic!("{}", other.says()),
        };
        let is_change = self.way != Way::Master && line.starts_with("set ");
        let commands = if is_change { &line } else { line.strip_suffix(";quit").expect("the end") };
        let commands = commands.split(';');
        let to_worker = if self.way == Way::Master { "@1 " } else { "" };
        let commands = commands.map(|command| command.strip_prefix(to_worker).expect("a worker's"));
        let commands: Vec<_> = commands.collect();
        if let [command] = commands[..] {
            return change(command.strip_prefix("set server ").expect("a change"), seen);
        }
        let asked =
            ["show cli level", "show info", "show servers state app", "show stat app -1 -1"];
        assert_eq!(commands, asked);
        if !seen.knows {
            let known: Vec<_> = self.up.split("\n\n").take(2).collect();
            return Answer::ok(format!(
                "{}\n\nCan't find backend.\n\nNo such proxy.\n\n",
                known.join("\n\n")
            ));
        }
        let mut text = self.up.to_owned();
        for (server, down) in (1..).zip(seen.down) {
            let state = format!(" {server} s{server} 127.0.0.1 2 ");
            let admin = if down { 8 } else { 0 };
            text = text.replace(&format!("{state}0 "), &format!("{state}{admin} "));
        }
        Answer::ok(busy(&text, seen))
    }
}

/// `app/s1 state drain`, as HAProxy does it.
fn change(change: &str, seen: &Seen) -> Answer {
    let (server, state) = change.split_once(" state ").expect("a state");
    let index = match server {
        "app/s1" => 0,
        "app/s2" => 1,
        "app/s3" => 2,
        _ => return Answer::ok("No such server.\n\n"),
    };
    let mut down = seen.down;
    down[index] = match state {
        "drain" | "maint" => true,
        "ready" => false,
        _ => {
            return Answer::ok(
                "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
            );
        }
    };
    Answer { effect: Some(down), ..Answer::ok("\n") }
}

/// With requests at the first server.
fn busy(text: &str, seen: &Seen) -> String {
    text.replace("app,s1,0,0,0,", &format!("app,s1,0,0,{},", seen.in_flight))
}

/// The stats page of a version.
pub(crate) struct Page {
    name: &'static str,
    /// Every server is up.
    up: &'static str,
}

impl Subject for Page {
    fn name(&self) -> &'static str {
        self.name
    }

    fn gateway(&self) -> Value {
        json!({ "type": "haproxy", "backend": "app", "stats_url": "http://10.0.0.12:8404/stats" })
    }

    fn counts(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        match question {
            Question::Http(Request { method: Method::Post, body, .. }) => {
                let body =
                    String::from_utf8_lossy(body.as_deref().unwrap_or_default()).into_owned();
                let fields: Vec<_> = body.split('&').collect();
                let [server, action, "b=app"] = fields[..] else { panic!("{body}") };
                let server = server.strip_prefix("s=").expect("a server");
                let action = action.strip_prefix("action=").expect("an action");
                let done = change(&format!("app/{server} state {action}"), seen);
                let told = if done.effect.is_some() && seen.knows { "DONE" } else { "ERRP" };
                let answer =
                    Answer::status(303, "").header("location", format!("/stats;st={told}"));
                Answer { effect: done.effect, ..answer }
            }
            Question::Http(Request { url, .. }) if url == "http://10.0.0.12:8404/stats" => {
                Answer::ok("<b>pid = </b> 25314 (process #1, nbproc = 1, nbthread = 2)<br>")
            }
            question => {
                assert_eq!(question.says(), "Get http://10.0.0.12:8404/stats;csv");
                let mut text = self.up.to_owned();
                for (server, down) in (1..).zip(seen.down).filter(|(_, down)| *down) {
                    assert!(down);
                    let row = format!("app,s{server},");
                    let line = text.lines().find(|line| line.starts_with(&row)).expect("a row");
                    let mut cells: Vec<_> = line.split(',').collect();
                    cells[17] = "MAINT";
                    text = text.replace(line, &cells.join(","));
                }
                let backend = if seen.knows { "\napp," } else { "\nother," };
                Answer::ok(busy(&text, seen).replace("\napp,", backend))
            }
        }
    }
}
