//! Short forms, addresses without a scheme, and large files.

use std::fmt::Write as _;

use rollgate::playbook::load_text;

use crate::{SMALLEST, messages, refused, with};

#[test]
fn single_value_stands_for_a_list_of_one() {
    let single = r"service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
consul: { addresses: 10.0.0.5:8500 }
gateways: { type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }
nodes:
  - { ssh: deploy@10.0.1.11, address: '10.0.1.11:9000', tags: canary }
  - { ssh: deploy@10.0.1.12, address: '10.0.1.12:9000' }
stop: systemctl stop app
start: systemctl start app
health: { http: 'http://${{ node.address }}/ping' }
";
    let loaded = load_text("app.yaml", single).unwrap_or_else(|invalid| panic!("{invalid}"));
    let playbook = loaded.playbook;
    assert_eq!(playbook.nodes[0].tags, ["canary"]);
    assert_eq!(playbook.consul.expect("given").addresses[0].as_str(), "10.0.0.5:8500");
    // A single node is read, too, but nothing could stay in rotation.
    let (before, after) = single.split_once("nodes:").expect("nodes");
    let (_, after) = after.split_once("stop:").expect("stop");
    let one = "nodes: { ssh: deploy@10.0.1.11, address: '10.0.1.11:9000' }\nstop:";
    let shown = refused(&format!("{before}{one}{after}"));
    let message = "with 1 node and `min_available` 1 no node may leave rotation";
    assert_eq!(messages(&shown), [message], "{shown}");
}

#[test]
fn mistake_in_a_single_value_is_shown_at_its_place() {
    let shown = refused(&SMALLEST.replacen(
        "gateways:\n  - { type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }\n",
        "gateways: { type: nginx-upsync, status_url: ftp://10.0.0.11/x, upstram: app }\n",
        1,
    ));
    let expected = ["`ftp://10.0.0.11/x` is not a URL", "unknown key `upstram`"];
    assert_eq!(messages(&shown), expected, "{shown}");
    let (place, key) = ("app.yaml:3:45", "in: `gateways[0].status_url`");
    assert!(shown.contains(place) && shown.contains(key), "{shown}");
    let shown = with("  - { ssh: deploy@10.0.1.12, address: 10.0.1.12:9000 }\n", "  - 5\n");
    assert_eq!(messages(&shown), ["expected a map, found `5`"]);
    assert!(shown.contains("help: write `{ ssh: …, address: … }`"), "{shown}");
    let shown = with("stop: ", "ssh: { port: 2222 }\nstop: ");
    assert_eq!(messages(&shown), ["unknown key `port`"]);
    assert!(
        shown.contains("help: a port is a part of each destination: `ssh: app-1:2222`"),
        "{shown}"
    );
}

#[test]
fn address_of_consul_needs_no_scheme() {
    for address in [
        "10.0.0.5:8500",
        "consul.example:8500",
        "'[::1]:8500'",
        "unix:///run/consul.sock",
        "https://c:8501",
    ] {
        let text = format!("{SMALLEST}consul: {{ addresses: [{address}] }}\n");
        load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{address}: {invalid}"));
    }
    for (address, message) in [
        ("10.0.0.5", "`10.0.0.5` is not an address like `10.0.1.11:8080`"),
        ("ftp://c:1", "`ftp://c:1` is not a URL"),
        ("me:hunter22@c:8500", "a user or password in a URL"),
        ("c:hunter22", "the port of a URL is not a number"),
    ] {
        let shown = refused(&format!("{SMALLEST}consul: {{ addresses: ['{address}'] }}\n"));
        assert_eq!(messages(&shown), [message], "{shown}");
        assert!(!shown.contains("hunter22"), "{shown}");
    }
}

#[test]
fn name_of_a_node_in_a_gateways_command_is_its_argument() {
    for (name, help) in [
        ("node.address", r#"write `"$1"`"#),
        ("node.host", r#"write `"${1%:*}"`"#),
        ("node.port", r#"write `"${1##*:}"`"#),
    ] {
        let shown = refused(
            &SMALLEST
                .replace("{ type: consul-kv, prefix: upstreams/app/ }", "{ type: gateway }")
                .replace(
                    "{ type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }",
                    &format!(
                        "{{ type: command, name: lb, list: show, pattern: '(?<address>.)', out: 'out ${{{{ {name} }}}}', in: in }}"
                    ),
                ),
        );
        assert_eq!(messages(&shown), [format!("`{name}` differs from node to node")], "{shown}");
        assert!(shown.contains(help), "{shown}");
    }
}

#[test]
fn playbook_of_ten_thousand_nodes_is_read() {
    let mut nodes = String::new();
    for number in 0..10_000 {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = writeln!(
            nodes,
            "  - {{ name: app-{number}, ssh: deploy@10.1.{high}.{low}, address: '10.1.{high}.{low}:9000', tags: [rack-{high}], vars: {{ heap: 4g, zone: eu-{high} }} }}"
        );
    }
    let text = SMALLEST.replacen("nodes:\n", &format!("nodes:\n{nodes}"), 1);
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(loaded.playbook.nodes.len(), 10_002);
}
