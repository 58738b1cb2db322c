//! Any gateway by commands of the user's: one that lists its peers, and one each that takes a node out and back.

use std::time::Duration;

use super::table::{Place, Table};
use super::{Driver, Mark, Nodes, NotDone, Query, Switch, View, ok};
use crate::node::Operation;
use crate::playbook::{CommandGateway, Template};
use crate::shell;
use crate::world::{Command, Host, Reply};

/// For one command when the playbook does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A gateway of this kind.
pub(super) struct Commands {
    settings: CommandGateway,
    table: Table,
}

impl Commands {
    pub(super) fn new(settings: &CommandGateway, nodes: Nodes) -> Self {
        let place = Place {
            list: settings.peers.as_deref(),
            address: settings.address.as_deref(),
            routed: settings.routed.as_deref(),
            down: None,
            in_flight: None,
        };
        let table = Table::new(settings.pattern.as_deref(), place, nodes);
        Self { table, settings: settings.clone() }
    }

    fn run(&self, command: &Template, arguments: &[&str]) -> Query {
        let command = shell::with_arguments(command.as_str(), arguments);
        let timeout = self.settings.timeout.map_or(TIMEOUT, |period| period.0);
        let command = Command::new(Operation::User { command }, timeout, self.settings.sudo);
        Query::Run(Host::of(self.settings.ssh.as_deref()), command)
    }
}

impl Driver for Commands {
    fn asks(&self) -> Vec<Query> {
        vec![self.run(&self.settings.list, &[])]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let view = self.table.read(ok(reply)?)?;
        if view.peers.is_empty() {
            return Err("`list` prints no peers".into());
        }
        Ok(view)
    }

    fn interval(&self) -> Duration {
        self.settings.sync_interval.map_or(Duration::ZERO, |period| period.0)
    }

    fn lag(&self) -> Duration {
        self.interval()
    }

    /// It begins to follow when the list has changed, however late that is.
    fn apply_delay(&self) -> Duration {
        self.lag()
    }

    /// What one command prints is the whole.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn kind(&self) -> String {
        format!("commands on {}", Host::of(self.settings.ssh.as_deref()))
    }

    fn count(&self, address: &str) -> Option<Query> {
        Some(self.run(self.settings.in_flight.as_ref()?, &[address]))
    }

    fn read_count(&self, reply: &Reply) -> Result<u64, String> {
        let text = ok(reply)?.text();
        text.trim()
            .parse()
            .map_err(|_| format!("`in_flight` prints no number: {}", crate::text::line(&text, 80)))
    }

    fn switch(&self) -> Option<&dyn Switch> {
        (self.settings.out.is_some() && self.settings.back.is_some()).then_some(self)
    }
}

impl Switch for Commands {
    fn asks(&self) -> Vec<Query> {
        Driver::asks(self)
    }

    /// Some gateways take nodes off their list.
    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let view = self.read(replies)?;
        match (view.unread.get(address), view.peers.get(address)) {
            (Some(why), _) => Err(why.clone()),
            (None, None) => Ok(Mark::Absent),
            (None, Some(peer)) => Ok(if peer.up { Mark::Up } else { Mark::Down }),
        }
    }

    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        replies.first().map_or(Vec::new(), |reply| self.table.strangers(reply))
    }

    fn turn(&self, _: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (key, command) =
            if down { ("out", &self.settings.out) } else { ("in", &self.settings.back) };
        let command = command.as_ref().ok_or_else(|| format!("there is no command `{key}`"))?;
        Ok(vec![self.run(command, &[address])])
    }

    /// That it exits with 0 was asked for; what it prints is its own.
    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        if replies.is_empty() { Err(NotDone::Unknown("no reply".into())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(settings: &str) -> Commands {
        let mut value: serde_json::Value = serde_json::from_str(settings).expect("json");
        value["name"] = "lb".into();
        value["list"] = "lbctl list".into();
        Commands::new(&serde_json::from_value(value).expect("settings"), Nodes::default())
    }

    fn reply(text: &str) -> Reply {
        Reply { status: 200, body: text.into(), ..Reply::default() }
    }

    /// What a command of the driver prints when it is really run.
    fn run(ask: &Query) -> String {
        let Query::Run(Host::Local, command) = ask else { panic!("{ask:?}") };
        let script = command.operation.script();
        let output = std::process::Command::new("sh").args(["-c", &script]).output();
        String::from_utf8_lossy(&output.expect("sh runs").stdout).into_owned()
    }

    #[test]
    fn the_nodes_address_is_the_first_argument_whatever_it_is() {
        let settings = r#"{"out":"printf 'out %s %s' \"$1\" $#","in":"echo in \"$1\"","in_flight":"echo ${#1}"}"#;
        assert!(commands(r#"{"out":"x"}"#).switch().is_none());
        let commands = commands(settings);
        for address in ["10.0.0.1:80", "$(id):1", "it's; -n:1", "[::1]:80"] {
            let turned = |down| commands.turn(&[], address, down).expect("a command");
            assert_eq!(run(&turned(true)[0]), format!("out {address} 1"));
            assert_eq!(run(&turned(false)[0]), format!("in {address}\n"));
            let count = commands.count(address).expect("a command");
            assert_eq!(commands.read_count(&reply(&run(&count))), Ok(address.len() as u64));
        }
        assert!(commands.switch().is_some());
    }

    #[test]
    fn peers_are_read_as_a_tables() {
        let json = commands(r#"{"peers":"/p","address":"/a","routed":"/up"}"#);
        let text = r#"{"p":[{"a":"a:1","up":true},{"a":"b:1","up":"draining"}]}"#;
        let view = json.read(&[reply(text)]).expect("readable");
        assert!(view.routes_to("a:1") && view.is_out("b:1"));
        let text = commands(r#"{"pattern":"(?m)^(?<address>\\S+) (?:(?<down>drained)|serving)$"}"#);
        let said = [reply("a:1 serving\nb:1 drained\n")];
        assert_eq!(text.is_down(&said, "a:1"), Ok(false));
        assert_eq!(text.is_down(&said, "b:1"), Ok(true));
        assert_eq!(text.is_down(&said, "c:1"), Ok(true), "no longer listed");
    }

    #[test]
    fn peers_of_no_node_are_told_those_without_an_address_too() {
        let settings = r#"{"name":"lb","list":"l","peers":"/p","address":"/a","routed":"/up"}"#;
        let settings = serde_json::from_str(settings).expect("settings");
        let commands = Commands::new(&settings, Nodes::new(&["[::1]:80".into(), "b:1".into()]));
        let text =
            r#"{"p":[{"a":"[0:0::1]:80","up":true},{"a":"app.local:1","up":"odd"},{"up":7}]}"#;
        let said = [reply(text)];
        assert_eq!(commands.mark(&said, "[::1]:80"), Ok(Mark::Up));
        assert_eq!(commands.mark(&said, "b:1"), Ok(Mark::Absent));
        assert_eq!(commands.strangers(&said), ["app.local:1", r#"{"up":7}"#]);
        let said = [reply(r#"{"p":[{"a":"b:1","up":"odd"},{"a":"[::1]:80","up":true}]}"#)];
        let why = commands.mark(&said, "b:1").expect_err("neither up nor down");
        assert!(why.contains("`routed` is \"odd\""), "{why}");
        assert_eq!(commands.mark(&said, "[::1]:80"), Ok(Mark::Up));
    }

    #[test]
    fn the_playbook_for_ipvs_reads_its_list() {
        let playbook = include_str!("../../playbooks/command.yaml");
        let loaded = crate::playbook::load_text("command.yaml", playbook);
        let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
        let crate::playbook::Gateway::Command(settings) = &loaded.playbook.gateways[0] else {
            panic!("{:?}", loaded.playbook.gateways)
        };
        let said = "IP Virtual Server version 1.2.1 (size=4096)\n\
            Prot LocalAddress:Port Scheduler Flags\n  \
              -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
            TCP  10.0.0.12:80 rr\n  \
              -> 10.0.1.11:9000               Masq    0      3          0         \n  \
              -> 10.0.1.12:9000               Masq    10     0          0         \n";
        let view =
            Commands::new(settings, Nodes::default()).read(&[reply(said)]).expect("readable");
        assert_eq!(view.peers.len(), 2);
        assert!(view.is_out("10.0.1.11:9000") && view.routes_to("10.0.1.12:9000"));
    }

    #[test]
    fn a_list_of_nobody_and_what_is_no_number_are_errors() {
        let commands = commands(r#"{"pattern":"(?<address>\\S+):","in_flight":"x"}"#);
        for text in ["", "\n", "no such upstream"] {
            assert!(commands.is_down(&[reply(text)], "a:1").is_err(), "{text}");
        }
        for text in ["", "-1", "1 2", "none", "1.5", "99999999999999999999"] {
            assert!(commands.read_count(&reply(text)).is_err(), "{text}");
        }
        assert_eq!(commands.read_count(&reply(" 7\n")), Ok(7));
    }
}
