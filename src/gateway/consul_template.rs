//! nginx with a rendered list of servers, and a reload after each change.
//!
//! Nothing in open-source nginx tells which list is loaded. The file tells what will be. Workers that are older than the
//! file have not read it, as when nginx refuses its configuration; else the reload follows at once: requests were seen
//! to arrive at a removed server for 85–104 ms after its command had returned, 114–130 ms after the write. Workers of
//! the list before leave when their requests are done: until then they are counted.

use std::time::Duration;

use super::table::{Place, Table};
use super::{Driver, Nodes, Query, READ_TIMEOUT, View, with_port};
use crate::node::Operation;
use crate::playbook;
use crate::text::count;
use crate::world::{Command, Host, Reply};

/// For the reload, after the file was rendered.
const INTERVAL: Duration = Duration::from_secs(2);

/// A `server` of nginx's upstream block, of which a line may have several: what is overlooked would be out.
const SERVER: &str = r"(?m)(?:^|[;{])\s*server\s+(?<address>[^\s;{]+)(?:[^;#]*?\s(?<down>down)\b)?";

/// A gateway of this kind.
pub(super) struct ConsulTemplate {
    host: Host,
    operation: Operation,
    servers: Table,
    nodes: Nodes,
    interval: Duration,
}

impl ConsulTemplate {
    pub(super) fn new(settings: &playbook::ConsulTemplate, nodes: Nodes) -> Self {
        Self {
            host: Host::of(Some(settings.ssh.as_str())),
            operation: Operation::Rendered {
                file: settings.file.as_str().to_owned(),
                pid_file: settings.pid_file.as_str().to_owned(),
            },
            servers: Table::new(
                Some(settings.pattern.as_deref().unwrap_or(SERVER)),
                Place::default(),
                Nodes::default(),
            ),
            nodes,
            interval: settings.sync_interval.map_or(INTERVAL, |period| period.0),
        }
    }
}

impl Driver for ConsulTemplate {
    fn asks(&self) -> Vec<Query> {
        let command = Command::new(self.operation.clone(), READ_TIMEOUT, false);
        vec![Query::Run(self.host.clone(), command)]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let text = reply.searchable()?;
        // What comes last tells that the file before it is whole.
        let (file, workers) = text.rsplit_once("\nleaving=").unwrap_or_default();
        let (leaving, older) = numbers(workers).ok_or("nginx's workers cannot be counted")?;
        if older > 0 {
            let workers = count(older, "worker");
            return Err(format!("the file was written and not loaded: {workers} older than it"));
        }
        let mut view = View::default();
        let servers = self.servers.read(&Reply { body: file.into(), ..Reply::default() })?;
        for (address, server) in servers.peers {
            view.add(self.nodes.name(&with_port(&address)), server);
        }
        if leaving > 0 {
            let workers = count(leaving, "worker");
            view.unsettled = Some(format!("{workers} of the list before still at work"));
        }
        Ok(view)
    }

    fn kind(&self) -> String {
        format!("a file at {}", self.host)
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn lag(&self) -> Duration {
        self.interval
    }

    /// The reload begins when the file was rendered, however late that is.
    fn apply_delay(&self) -> Duration {
        self.lag()
    }

    /// One file for everybody.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }
}

/// How many workers are leaving, and how many are older than the file.
fn numbers(workers: &str) -> Option<(usize, usize)> {
    let (leaving, older) = workers.strip_suffix('\n')?.split_once(" older=")?;
    Some((leaving.parse().ok()?, older.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver() -> ConsulTemplate {
        let settings = r#"{"ssh":"gw","file":"/etc/nginx/app.conf","pid_file":"/run/nginx.pid"}"#;
        ConsulTemplate::new(&serde_json::from_str(settings).expect("settings"), Nodes::default())
    }

    fn view(output: &str) -> Result<View, String> {
        let reply = Reply { status: 200, body: output.into(), ..Reply::default() };
        driver().read(&[reply])
    }

    #[test]
    fn the_servers_of_the_rendered_file_are_routed() {
        let view = view(
            "upstream app {\n  zone app 64k;\n  server 10.0.1.1:80 weight=5 max_fails=0;\n\tserver 10.0.1.2:80;\n\
             # server 10.0.1.3:80;\n  server 10.0.1.4:80 max_fails=1 down;\n  server 10.0.1.5:80 backup; # down\n}\n\nleaving=0 older=0\n",
        );
        let view = view.expect("readable");
        assert_eq!(view.unsettled, None);
        for (address, routed) in [
            ("10.0.1.1:80", true),
            ("10.0.1.2:80", true),
            ("10.0.1.3:80", false),
            ("10.0.1.4:80", false),
            ("10.0.1.5:80", true),
        ] {
            assert_eq!(view.routes_to(address), routed, "{address}");
        }
    }

    /// As `{{ range service "app" }}server {{ .Address }}:{{ .Port }}; {{ end }}` renders it.
    #[test]
    fn several_servers_on_a_line_are_all_routed() {
        let view = view(
            "upstream app { server 10.0.1.1:80; server 10.0.1.2:80 max_fails=0;server 10.0.1.3:80 down; \
             server 10.0.1.4:80; # server 10.0.1.5:80;\n}\nserver { listen 80; }\n\nleaving=0 older=0\n",
        );
        let view = view.expect("readable");
        let peers: Vec<_> = view.peers.keys().map(String::as_str).collect();
        assert_eq!(peers, ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80", "10.0.1.4:80"]);
        assert!(view.routes_to("10.0.1.2:80") && view.routes_to("10.0.1.4:80"));
        assert!(view.is_out("10.0.1.3:80"));
    }

    #[test]
    fn a_server_without_a_port_is_at_port_80_as_for_nginx() {
        let view = view(
            "server 10.0.1.1 weight=2;\nserver [fd00::1];\nserver 10.0.1.1:80 down;\n\nleaving=0 older=0\n",
        );
        let view = view.expect("readable");
        let peers: Vec<_> = view.peers.keys().map(String::as_str).collect();
        assert_eq!(peers, ["10.0.1.1:80", "[fd00::1]:80"]);
        assert!(view.routes_to("10.0.1.1:80"), "one of the two entries is up");
    }

    /// Many looks at the same file over ssh took seconds.
    #[test]
    fn one_look_at_the_file_proves() {
        assert_eq!(driver().workers(), Some(1));
    }

    #[test]
    fn workers_that_were_told_to_leave_are_waited_for() {
        let view = view("server 10.0.1.2:80;\n\nleaving=2 older=0\n").expect("readable");
        assert_eq!(view.unsettled.as_deref(), Some("2 workers of the list before still at work"));
    }

    #[test]
    fn a_reload_that_did_not_happen_is_no_proof() {
        let error = view("server 10.0.1.2:80;\n\nleaving=0 older=4\n").expect_err("not loaded");
        assert_eq!(error, "the file was written and not loaded: 4 workers older than it");
    }

    #[test]
    fn an_output_that_ends_before_the_numbers_of_workers_tells_nothing() {
        for output in [
            "",
            "server 10.0.1.2:80;\n",
            "server 10.0.1.2:80;\n\nleaving=",
            "server 10.0.1.2:80;\n\nleaving=\n",
            "server 10.0.1.2:80;\n\nleaving=0\n",
            "server 10.0.1.2:80;\n\nleaving=0 older=\n",
            "server 10.0.1.2:80;\n\nleaving=0 older=1",
        ] {
            assert!(view(output).is_err(), "{output}");
        }
    }
}
