use super::*;
use crate::gateway::drivers::readings::Readings as _;

fn commands(settings: &str) -> CommandDriver {
    let mut value: serde_json::Value = serde_json::from_str(settings).expect("json");
    value["name"] = "lb".into();
    value["list"] = "lbctl list".into();
    CommandDriver::new(&serde_json::from_value(value).expect("settings"), Nodes::default())
}

fn reply(text: &str) -> Reply {
    Reply { status: 200, body: text.into(), ..Reply::default() }
}

/// Really runs a command of the driver and returns its output.
fn run(ask: &Query) -> String {
    let Query::Run(Host::Local, command) = ask else { panic!("{ask:?}") };
    let script = command.script.text();
    let output = std::process::Command::new("sh").args(["-c", &script]).output();
    String::from_utf8_lossy(&output.expect("sh runs").stdout).into_owned()
}

#[test]
fn the_nodes_address_is_the_first_argument_whatever_it_is() {
    let settings =
        r#"{"out":"printf 'out %s %s' \"$1\" $#","in":"echo in \"$1\"","in_flight":"echo ${#1}"}"#;
    assert!(commands(r#"{"out":"x"}"#).rotation_control().is_none());
    let commands = commands(settings);
    for address in ["10.0.0.1:80", "$(id):1", "it's; -n:1", "[::1]:80"] {
        let turned = |down| commands.set(&[], address, down).expect("a command");
        assert_eq!(run(&turned(true)[0]), format!("out {address} 1"));
        assert_eq!(run(&turned(false)[0]), format!("in {address}\n"));
        let counts = commands.queries(Purpose::Count(address));
        assert_eq!(commands.read_count(&reply(&run(&counts[0]))), Ok(address.len() as u64));
    }
    assert!(commands.rotation_control().is_some());
}

#[test]
fn peers_are_read_like_those_of_a_table() {
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
fn unknown_peers_are_reported_with_and_without_an_address() {
    let settings = r#"{"name":"lb","list":"l","peers":"/p","address":"/a","routed":"/up"}"#;
    let settings = serde_json::from_str(settings).expect("settings");
    let commands = CommandDriver::new(&settings, Nodes::new(&["[::1]:80".into(), "b:1".into()]));
    let text = r#"{"p":[{"a":"[0:0::1]:80","up":true},{"a":"app.local:1","up":"odd"},{"up":7}]}"#;
    let said = [reply(text)];
    assert_eq!(commands.listed_as(&said, "[::1]:80"), Ok(Listed::Up));
    assert_eq!(commands.listed_as(&said, "b:1"), Ok(Listed::Absent));
    assert_eq!(commands.strangers(&said), ["app.local:1", r#"{"up":7}"#]);
    let said = [reply(r#"{"p":[{"a":"b:1","up":"odd"},{"a":"[::1]:80","up":true}]}"#)];
    let why = commands.listed_as(&said, "b:1").expect_err("neither up nor down");
    assert!(why.contains("`routed` value \"odd\""), "{why}");
    assert_eq!(commands.listed_as(&said, "[::1]:80"), Ok(Listed::Up));
}

#[test]
fn the_playbook_for_ipvs_reads_its_list() {
    let playbook = include_str!("../../../../playbooks/command.yaml");
    let loaded = crate::playbook::load_text("command.yaml", playbook);
    let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
    let crate::playbook::Gateway::CommandGateway(settings) = &loaded.playbook.gateways[0].gateway
    else {
        panic!("{:?}", loaded.playbook.gateways)
    };
    let said = "IP Virtual Server version 1.2.1 (size=4096)\n\
        Prot LocalAddress:Port Scheduler Flags\n  \
          -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
        TCP  10.0.0.12:80 rr\n  \
          -> 10.0.1.11:9000               Masq    0      3          0         \n  \
          -> 10.0.1.12:9000               Masq    10     0          0         \n";
    let view =
        CommandDriver::new(settings, Nodes::default()).read(&[reply(said)]).expect("readable");
    assert_eq!(view.peers.len(), 2);
    assert!(view.is_out("10.0.1.11:9000") && view.routes_to("10.0.1.12:9000"));
}

#[test]
fn empty_list_and_non_numeric_count_are_errors() {
    let commands = commands(r#"{"pattern":"(?<address>\\S+):","in_flight":"x"}"#);
    for text in ["", "\n", "no such upstream"] {
        assert!(commands.is_down(&[reply(text)], "a:1").is_err(), "{text}");
    }
    for text in ["", "-1", "1 2", "none", "1.5", "99999999999999999999"] {
        assert!(commands.read_count(&reply(text)).is_err(), "{text}");
    }
    assert_eq!(commands.read_count(&reply(" 7\n")), Ok(7));
}
