//! One mistake never hides another, and never causes an error about a correct part.

use std::ops::Range;

use rollgate::playbook::load_text;

use crate::generated::RICH;

/// A part of the file, its wrong replacement, and the message.
type Mistake = (&'static str, &'static str, &'static str);

/// In the structure: wrong words, types, names and numbers, and missing keys.
const STRUCTURE: [Mistake; 42] = [
    ("service: order-api\nvar", "service: a/b\nvar", "`a/b` is not allowed here"),
    ("service: order-api\nvar", "var", "missing key `service`"),
    ("{ required: true, p", "{ required: yes, p", "expected `true` or `false`, found `yes`"),
    ("{ required: true, p", "{ requird: true, p", "unknown key `requird`"),
    ("{ default: /srv/order-api }", "{ defalt: /srv/order-api }", "unknown key `defalt`"),
    ("{ default: /srv/order-api }", "5", "expected a map, found `5`"),
    ("{ env: CONSUL_HTTP_TOKEN }", "{ evn: CONSUL_HTTP_TOKEN }", "unknown key `evn`"),
    (
        "token: ${{ secrets.token }}",
        "token: ${{ secrets token }}",
        "`secrets token` is not a name: only names are filled in, there are no expressions",
    ),
    ("type: consul-kv", "type: consul-vk", "unknown type `consul-vk`"),
    ("  type: consul-kv\n", "", "missing key `type`"),
    ("  prefix: upstreams/order-api/\n", "", "missing key `prefix`"),
    ("name: gw-1", "nmae: gw-1", "unknown key `nmae`"),
    ("name: gw-1", "name: [gw-1]", "expected text, found a list"),
    ("type: nginx-upsync", "type: nginx-upsnyc", "unknown type `nginx-upsnyc`"),
    ("type: nginx-upsync", "type: envoi", "unknown type `envoi`"),
    ("    upstream: order-api\n", "", "missing key `upstream`"),
    ("workers: 4", "workers: '4'", "expected a whole number, found the text '4'"),
    ("sync_interval: 500ms", "sync_interval: 500", "`500` has no unit; write `500s`"),
    ("list: /peers", "list: peers", "`peers` is not a JSON pointer"),
    ("in_flight: /active", "in_fligth: /active", "unknown key `in_fligth`"),
    (
        "(?<address>\\S+) (?<down>down)?",
        "(?<address>\\S+) (?<down>down",
        "`(?<address>\\S+) (?<down>down` is not a regular expression: unclosed group",
    ),
    ("connect_timeout: 10s", "connect_timeout: 10", "`10` has no unit; write `10s`"),
    ("host_keys: strict", "host_keys: strct", "unknown word `strct`"),
    ("ssh: 10.0.1.11, ", "", "missing key `ssh`"),
    ("address: '10.0.1.12:8080'", "adress: '10.0.1.12:8080'", "unknown key `adress`"),
    ("tags: [canary]", "tags: { canary: 1 }", "expected text, found a map"),
    ("vars: { heap: 8g }", "vars: [8g]", "expected a map, found a list"),
    ("keep: 5", "keep: 0", "`0` is out of range"),
    ("[1, '25%']", "[1, x]", "`x` is not an amount"),
    ("order: out_first", "order: first", "unknown word `first`"),
    ("min_available: 50%", "min_available: half", "`half` is not an amount"),
    ("settle: 0s", "settle:", "this key has no value"),
    ("on_timeout: fail", "on_timeout: stop", "unknown word `stop`"),
    ("start: systemctl start order-api", "start:", "this key has no value"),
    ("start: systemctl start order-api", "strat: systemctl start order-api", "unknown key `strat`"),
    ("- drain\n", "- dran\n", "unknown word `dran`"),
    ("timeout: 40s, sudo: false", "timeout: 40, sudo: false", "`40` has no unit; write `40s`"),
    ("  - enable\n", "  - enable: now\n", "unknown key `enable`"),
    ("expect: [200]", "expect: [2000]", "`2000` is out of range"),
    ("equals: '${{ version }}' }", "equal: '${{ version }}' }", "unknown key `equal`"),
    ("interval: 1s", "interval: 1", "`1` has no unit; write `1s`"),
    ("on: node,", "on: nodes,", "unknown word `nodes`"),
];

/// In the meaning: what only the rules can detect.
const MEANING: [Mistake; 32] = [
    (
        "root: { default: /srv/order-api }",
        "root: { default: /srv/order-api }\n  x: {}",
        "variable `x` has neither `required` nor `default`",
    ),
    (
        "root: { default: /srv/order-api }",
        "root: { default: /srv/order-api }\n  x: { default: a, pattern: b }",
        "the default `a` does not match `b`",
    ),
    (
        "  token: {",
        "  other: { file: a, env: b }\n  token: {",
        "a secret comes from exactly one of `env` and `file`",
    ),
    ("[http://10.0.0.5:8500,", "[ftp://10.0.0.5:8500,", "`ftp://10.0.0.5:8500` is not a URL"),
    ("datacenter: dc1", "datacenter: ${{ dc }}", "unknown name `dc`"),
    (
        "prefix: upstreams/order-api/",
        "prefix: upstreams/order-api",
        "the prefix `upstreams/order-api` leaks into other upstreams (rule `prefix-leaks`)",
    ),
    (
        "upstream_list?order-api",
        "upstream_list?order",
        "the query must be the upstream's bare name",
    ),
    ("check_url: http://10", "check_url: http://u@10", "a user or password in a URL"),
    ("name: gw-2", "name: 10.0.0.13", "two gateways are called `10.0.0.13`"),
    ("(?<address>\\S+) (?<down>down)?", "(\\S+)", "the pattern has no group `address`"),
    ("ssh: 10.0.1.11,", "ssh: -x,", "`-x` is not an ssh destination"),
    ("name: app-2", "name: app-1", "two nodes are called `app-1`"),
    (
        "address: '10.0.1.11:8080'",
        "address: '10.0.1.11'",
        "`10.0.1.11` is not an address like `10.0.1.11:8080`",
    ),
    (
        "address: '10.0.1.12:8080'",
        "address: 'app-2:8080'",
        "`app-2:8080` has a name where the registry needs an IPv4 address",
    ),
    ("releases: ${{ root }}/releases", "releases: rel", "`rel` is not an absolute path"),
    ("current: ${{ root }}/current", "current: /", "`/` is the root of the node's file system"),
    ("  keep: 5", "  sha256: abc", "`abc` is not a SHA-256 sum"),
    ("[1, '25%']", "[1, '0%']", "a batch without nodes"),
    (
        "min_available: 50%",
        "min_available: 2",
        "with 2 nodes and `min_available` 2 no node may leave rotation",
    ),
    ("pattern: 'active (\\d+)'", "pattern: active", "the pattern has no group"),
    ("settle: 0s", "settle: 40s", "`settle` is not shorter than `timeout`"),
    ("start: systemctl start order-api\n", "", "`start` has no command"),
    ("start: systemctl start order-api", "start: a ${{ node.nmae }}", "unknown name `node.nmae`"),
    ("  - confirm_out\n", "", "missing step `confirm_out` (rule `step-missing`)"),
    ("  - activate\n", "", "`artifact` is given, but no step `activate`"),
    (
        "  - enable\n  - confirm_in\n",
        "  - confirm_in\n  - enable\n",
        "unsafe step order: `confirm_in` before `enable` (rule `confirm-in-after-enable`)",
    ),
    ("'${{ node.vars.heap }}' > ", "'${{ node.vars.hep }}' > ", "unknown name `node.vars.hep`"),
    (
        "url: 'http://${{ node.address }}/ping'",
        "url: '${{ node.address }}/ping '",
        "`${{ node.address }}/ping` has a blank or a control character",
    ),
    ("tcp: '${{ node.address }}'", "tcp: app", "`app` is not an address like `10.0.1.11:8080`"),
    (
        "header: X-App-Version,",
        "header: X-App-Version, pointer: /v,",
        "`identity` needs exactly one of `header` and `pointer`",
    ),
    ("interval: 1s", "interval: 1ms", "the interval is too short"),
    (
        "run: journalctl -n 200",
        "run: 'journalctl ${{ secrets.token }}'",
        "`secrets.token` may not be used here",
    ),
];

/// Of these pairs only the first is reported: the second is judged by the value of the first.
const HIDDEN: [(&str, &str); 6] = [
    ("missing key `type`", "missing key `prefix`"),
    ("missing key `type`", "`app-2:8080` has a name where the registry needs an IPv4 address"),
    (
        "unknown type `consul-vk`",
        "`app-2:8080` has a name where the registry needs an IPv4 address",
    ),
    ("unknown type `envoi`", "missing key `upstream`"),
    ("missing key `upstream`", "the query must be the upstream's bare name"),
    ("unknown word `stop`", "`settle` is not shorter than `timeout`"),
];

fn place(mistake: &Mistake) -> Range<usize> {
    let at: Vec<_> = RICH.match_indices(mistake.0).map(|(at, _)| at).collect();
    assert_eq!(at.len(), 1, "`{}` is not in one place", mistake.0);
    at[0]..at[0] + mistake.0.len()
}

fn is_hidden(first: &Mistake, second: &Mistake) -> bool {
    HIDDEN.contains(&(first.2, second.2)) || HIDDEN.contains(&(second.2, first.2))
}

/// Returns the messages for the file with these mistakes, which are in its order.
fn said(mistakes: &[&Mistake]) -> Vec<String> {
    let mut text = RICH.to_owned();
    for mistake in mistakes.iter().rev() {
        text.replace_range(place(mistake), mistake.1);
    }
    said_of(text)
}

fn said_of(text: String) -> Vec<String> {
    match load_text("rich.yaml", text) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.problems.into_iter().map(|problem| problem.message).collect(),
    }
}

#[test]
fn any_two_mistakes_are_reported_together_and_nothing_else() {
    let mut mistakes: Vec<&Mistake> = STRUCTURE.iter().chain(&MEANING).collect();
    mistakes.sort_by_key(|mistake| place(mistake).start);
    let mut failures = Vec::new();
    for (index, first) in mistakes.iter().enumerate() {
        let alone = said(&[first]);
        if alone != [first.2] {
            failures.push(format!("{first:?} alone: {alone:?}"));
        }
        for second in &mistakes[index + 1..] {
            if place(first).end > place(second).start || is_hidden(first, second) {
                continue;
            }
            let (mut both, mut expected) = (said(&[first, second]), [first.2, second.2]);
            both.sort();
            expected.sort_unstable();
            if both != expected {
                failures.push(format!("{:?} + {:?}: {both:?}", first.1, second.1));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn missing_part_causes_no_errors_about_other_parts() {
    let starts = RICH.match_indices('\n').map(|(at, _)| at + 1);
    let starts = starts.filter(|at| !RICH[*at..].starts_with(' '));
    let starts: Vec<usize> = [0].into_iter().chain(starts).collect();
    for part in starts.windows(2) {
        let (before, text, after) = (&RICH[..part[0]], &RICH[part[0]..part[1]], &RICH[part[1]..]);
        let (key, inner) = text.split_once(':').expect("a part begins with its key");
        let misspelt = said_of(format!("{before}{key}x:{inner}{after}"));
        assert_eq!(misspelt, [format!("unknown key `{key}x`")]);
        // A step that cannot be read is not one of the steps that are needed.
        if key == "steps" {
            continue;
        }
        // As many nodes as are needed, so that some can stay in rotation.
        let wrong = if key == "nodes" { "[[a], [a], [a]]" } else { "[[a]]" };
        let spoilt = said_of(format!("{before}{key}: {wrong}\n{after}"));
        let all_expected = spoilt.iter().all(|message| message.starts_with("expected "));
        assert!(!spoilt.is_empty() && all_expected, "{key}: {spoilt:?}");
    }
    for text in ["a", "[a]", "[]", "5"] {
        assert_eq!(said_of(text.to_owned()).len(), 1, "{text}");
    }
}
