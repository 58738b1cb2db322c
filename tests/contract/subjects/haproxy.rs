//! HAProxy 2.6, by its runtime API and by its stats page.

use rollgate::node::NodeScript;
use rollgate::world::{Method, Request};
use serde_json::{Value, json};

use crate::replay::{Answer, Question, Seen, Subject};

const RUNTIME: &str = include_str!("../../fixtures/gateway/haproxy/runtime-up.txt");
const PAGE: &str = include_str!("../../fixtures/gateway/haproxy/page-up.csv");

/// The runtime API over TCP, or by a Unix socket on another machine.
pub(crate) enum Runtime {
    Tcp,
    Socket,
}

impl Subject for Runtime {
    fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "haproxy by TCP",
            Self::Socket => "haproxy by a Unix socket",
        }
    }

    fn gateway(&self) -> Value {
        match self {
            Self::Tcp => json!({ "type": "haproxy", "backend": "app", "tcp": "10.0.0.12:9999" }),
            Self::Socket => json!({
                "type": "haproxy", "backend": "app",
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
        if let Some(change) = line.strip_prefix("set server ") {
            return self::change(change, seen);
        }
        assert_eq!(line, "show cli level;show info;show servers state app;show stat app -1 -1");
        if !seen.knows {
            let info = RUNTIME.split("\n\n").nth(1).expect("show info");
            return Answer::ok(format!(
                "admin\n\n{info}\n\nCan't find backend.\n\nNo such proxy.\n\n"
            ));
        }
        let mut text = RUNTIME.to_owned();
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

/// The stats page.
pub(crate) struct Page;

impl Subject for Page {
    fn name(&self) -> &'static str {
        "haproxy by its stats page"
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
                let mut text = PAGE.to_owned();
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
