//! Each rule refuses its mistake, and no other message appears.

use rollgate::playbook::load_text;

use crate::{SMALLEST, messages, refused, with};

#[test]
fn every_rule_of_the_steps_refuses() {
    let cases = [
        (
            "[confirm_out, drain, stop, start, health, enable]",
            "missing step `confirm_in` (rule `step-missing`)",
        ),
        (
            "[confirm_out, drain, stop, start, stop, health, enable, confirm_in]",
            "step `stop` comes twice (rule `step-once`)",
        ),
        (
            "[drain, confirm_out, stop, start, health, enable, confirm_in]",
            "unsafe step order: `drain` before `confirm_out` (rule `drain-after-confirm-out`)",
        ),
        (
            "[confirm_out, drain, stop, start, enable, health, confirm_in]",
            "unsafe step order: `enable` before `health` (rule `enable-after-health`)",
        ),
        (
            "[confirm_out, drain, stop, start, health, confirm_in, enable]",
            "unsafe step order: `confirm_in` before `enable` (rule `confirm-in-after-enable`)",
        ),
        (
            "[confirm_out, drain, start, stop, health, enable, confirm_in]",
            "unsafe step order: `start` before `stop` (rule `start-after-stop`)",
        ),
        (
            "[confirm_out, drain, stop, health, start, enable, confirm_in]",
            "unsafe step order: `health` before `start` (rule `health-after-start`)",
        ),
        (
            "[confirm_out, drain, stop, activate, start, health, enable, confirm_in]",
            "`activate` without `artifact`",
        ),
        (
            "[confirm_out, drain, stop: x, start, health, enable, confirm_in]",
            "`stop` has two commands",
        ),
    ];
    for (steps, message) in cases {
        let shown = refused(&format!("{SMALLEST}steps: {steps}\n"));
        assert_eq!(messages(&shown), [message], "{shown}");
    }
    let commands = "stop: systemctl stop app\nstart: systemctl start app\n";
    let cases = [
        ("", &["nothing stops and starts the service"][..]),
        ("stop: x\n", &["`stop` without `start`"]),
        ("start: x\n", &["`start` without `stop`"]),
        (
            "restart: x\nstop: x\nstart: y\n",
            &["both `stop` and `restart` are given", "both `start` and `restart` are given"],
        ),
        (
            "steps: [confirm_out, drain, restart, health, enable, confirm_in]\n",
            &["`restart` has no command"],
        ),
        (
            "steps: [confirm_out, drain, stop: x, health, enable, confirm_in]\n",
            &["`stop` without `start` (rule `stop-needs-start`)"],
        ),
        (
            "restart: x\nartifact: { source: a, releases: /r, current: /c }\nsteps: [confirm_out, drain, restart, activate, health, enable, confirm_in]\n",
            &["unsafe step order: `activate` after `restart`"],
        ),
    ];
    for (others, expected) in &cases[..6] {
        let shown = with(commands, others);
        assert_eq!(messages(&shown), *expected, "{shown}");
    }
    let shown = with(commands, cases[6].0);
    assert!(shown.contains("(rule `restart-after-activate`)"), "{shown}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn every_other_rule_refuses() {
    let node = "  - { ssh: deploy@10.0.1.12, address: 10.0.1.12:9000 }\n";
    let health = "health: { http: 'http://${{ node.address }}/ping' }";
    let gateway =
        "{ type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }";
    let cases = [
        (
            node,
            "  - { ssh: b@10.0.1.11, address: 10.0.1.12:9000 }\n",
            "two nodes are called `10.0.1.11`",
        ),
        (
            node,
            "  - { ssh: b, address: 10.0.1.11:9000 }\n",
            "two nodes have the address `10.0.1.11:9000`",
        ),
        (
            node,
            "  - { ssh: b, address: 10.0.1.12:0 }\n",
            "`10.0.1.12:0` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: 10.0.1.12:+80 }\n",
            "`10.0.1.12:+80` is not an address like `10.0.1.11:8080`",
        ),
        // nginx-upsync skips a key with such a last part, or reads it as a key of another upstream.
        (
            node,
            "  - { ssh: b, address: 10.0.1.12 }\n",
            "`10.0.1.12` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: '10.0.1.12:65536' }\n",
            "`10.0.1.12:65536` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: '10.0.1.12:09000' }\n",
            "`10.0.1.12:09000` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: '[fd00::1]:9000' }\n",
            "`[fd00::1]:9000` has an IPv6 address where the registry needs an IPv4 address",
        ),
        (
            node,
            "  - { ssh: b, address: 'fd00::1:9000' }\n",
            "`fd00::1:9000` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: '[app-2]:9000' }\n",
            "`[app-2]:9000` is not an address like `10.0.1.11:8080`",
        ),
        (
            node,
            "  - { ssh: b, address: app-2:9000 }\n",
            "`app-2:9000` has a name where the registry needs an IPv4 address",
        ),
        (
            node,
            "  - { ssh: -oProxyCommand=x, address: 10.0.1.12:9000 }\n",
            "`-oProxyCommand=x` is not an ssh destination",
        ),
        (node, "  - { ssh: a b, address: 10.0.1.12:9000 }\n", "`a b` is not an ssh destination"),
        (node, "", "with 1 node and `min_available` 1 no node may leave rotation"),
        (
            "service: app",
            "service: app\nstrategy: { min_available: 2 }",
            "with 2 nodes and `min_available` 2 no node may leave rotation",
        ),
        (
            "service: app",
            "service: app\nstrategy: { min_available: 51% }",
            "with 2 nodes and `min_available` 51% no node may leave rotation",
        ),
        ("service: app", "service: app\nstrategy: { batches: [1, 0%] }", "a batch without nodes"),
        (
            "upstreams/app/ ",
            "upstreams/app ",
            "the prefix `upstreams/app` leaks into other upstreams (rule `prefix-leaks`)",
        ),
        (
            "upstreams/app/ ",
            "rollgate/ ",
            "`rollgate/app/` is where rollgate keeps its lock and its journals",
        ),
        (
            "upstreams/app/ ",
            "rollgate/app/nodes/ ",
            "`rollgate/app/` is where rollgate keeps its lock and its journals",
        ),
        ("upstreams/app/ ", "/upstreams/app/ ", "the prefix `/upstreams/app/` starts with `/`"),
        ("list?app,", "list?other,", "the query must be the upstream's bare name"),
        ("http://10.0.0.11", "http://u:p@10.0.0.11", "a user or password in a URL"),
        ("http://10.0.0.11", "ftp://10.0.0.11", "`ftp://10.0.0.11/upstream_list?app` is not a URL"),
        (
            gateway,
            "{ type: http-table, url: http://g/, pattern: '(?<address>x)', routed: /up }",
            "both `routed` and `pattern` are given",
        ),
        (
            gateway,
            "{ type: http-table, url: http://g/, routed: /up, down: /down }",
            "both `routed` and `down` are given",
        ),
        (
            gateway,
            "{ type: http-table, url: http://g/, pattern: '(x)' }",
            "the pattern has no group `address`",
        ),
        (
            gateway,
            "{ type: http-table, url: http://g/, pattern: '(?<address>x)(?<down>y)(?<routed>y)' }",
            "the pattern has both groups `routed` and `down`",
        ),
        (
            "service: app",
            "service: app\nartifact: { source: a, releases: r, current: /c }",
            "`r` is not an absolute path",
        ),
        (
            "service: app",
            "service: app\nartifact: { source: a, releases: /r, current: /r/c }",
            "`current` lies inside `releases`",
        ),
        (
            "service: app",
            "service: app\nartifact: { source: a, releases: /r, current: /c, sha256: abc }",
            "`abc` is not a SHA-256 sum",
        ),
        (health, "health: {}", "nothing is checked"),
        (
            health,
            "health: { tcp: '${{ node.address }}', identity: { header: V, equals: a } }",
            "`identity` without `http`",
        ),
        (
            health,
            "health: { http: http://a/, identity: { equals: a } }",
            "`identity` needs exactly one of `header` and `pointer`",
        ),
        (health, "health: { http: http://a/, interval: 5ms }", "the interval is too short"),
        (health, "health: { http: http://a/, timeout: 0s }", "no answer can arrive in 0 seconds"),
        (
            "service: app",
            "service: app\ndrain: { in_flight: gateways }",
            "gateway `10.0.0.11` does not count requests in flight",
        ),
        (
            "service: app",
            "service: app\ndrain: { in_flight: { http: { url: http://a/ } } }",
            "the number needs exactly one of `pointer` and `pattern`",
        ),
        (
            "service: app",
            "service: app\ndrain: { in_flight: { http: { url: http://a/, pattern: x } } }",
            "the pattern has no group",
        ),
        (
            "service: app",
            "service: app\nsecrets: { a: {} }",
            "a secret comes from exactly one of `env` and `file`",
        ),
        (
            "service: app",
            "service: app\nvariables: { v: { default: a, required: true } }",
            "both `required` and `default` are given",
        ),
        (
            "service: app",
            "service: app\nvariables: { v: { default: a, pattern: '^b$' } }",
            "the default `a` does not match `^b$`",
        ),
        (
            "service: app",
            "service: app\nvariables: { node: { default: a } }",
            "the name `node` is reserved for rollgate",
        ),
        ("stop app", "stop ${{ secrets.x }}", "`secrets.x` may not be used here"),
        (
            "upstreams/app/ ",
            "'upstreams/${{ node.host }}/' ",
            "`node.host` differs from node to node",
        ),
        (
            "stop app",
            "stop ${{ }}",
            "`` is not a name: only names are filled in, there are no expressions",
        ),
        ("stop app", "stop ${{ a", "`${{` is never closed by `}}`"),
    ];
    for (part, other, message) in cases {
        let shown = with(part, other);
        assert_eq!(messages(&shown), [message], "{shown}");
    }
}

#[test]
fn a_var_must_be_on_every_node() {
    let one = SMALLEST.replace("10.0.1.11:9000 }", "10.0.1.11:9000, vars: { heap: 4g } }");
    let one = one.replace("systemctl start app", "HEAP=${{ node.vars.heap }} app");
    let shown = refused(&one);
    assert!(shown.contains("not every node has `node.vars.heap`"), "{shown}");
    assert!(shown.contains("it is missing on `10.0.1.12`"), "{shown}");
    let both = one.replace("10.0.1.12:9000 }", "10.0.1.12:9000, vars: { heap: 4g } }");
    assert!(load_text("app.yaml", both.as_str()).is_ok());
    assert!(load_text("app.yaml", both.replace("node.vars.heap", "heap")).is_ok());
}

#[test]
fn error_in_one_part_does_not_hide_errors_in_another() {
    let shown = refused(&format!(
        "{}bake: 5s\nhealt: {{}}\nstrategy: {{ order: no }}\nsteps: [stop, confirm_out, drain, start, health, enable, confirm_in]\n",
        SMALLEST
            .replace("10.0.1.12 }", "10.0.1.12, tag: x }")
            .replace("upstreams/app/", "upstreams/app")
    ));
    assert_eq!(
        messages(&shown),
        [
            "the prefix `upstreams/app` leaks into other upstreams (rule `prefix-leaks`)",
            "unknown key `bake`",
            "unknown key `healt`",
            "unknown word `no`",
            "unsafe step order: `stop` before `confirm_out` (rule `stop-after-confirm-out`)",
            "unsafe step order: `stop` before `drain` (rule `stop-after-drain`)",
        ],
        "{shown}"
    );
}

#[test]
fn keys_behind_a_merge_key_are_not_reported_missing() {
    let shown = with("  - { ssh: deploy@10.0.1.12,", "  - { <<: {},");
    assert_eq!(messages(&shown), ["merge keys (`<<`) are not supported"], "{shown}");
    let shown = with("{ type: nginx-upsync,", "{ <<: {},");
    assert_eq!(messages(&shown), ["merge keys (`<<`) are not supported"], "{shown}");
}

#[test]
fn impossible_release_paths_are_refused() {
    let cases = [
        ("/", "/c", "`/` is the root of the node's file system"),
        ("/r", "/../.", "`/../.` is the root of the node's file system"),
        ("/r", "/r/", "`current` and `releases` are the same path"),
        ("/r", "/x/../r//c", "`current` lies inside `releases`"),
        ("/srv/app/releases", "/srv/app", "`releases` lies inside `current`"),
        ("'${{ node.host }}/r'", "'${{ node.host }}'", "`releases` lies inside `current`"),
    ];
    for (releases, current, message) in cases {
        let artifact =
            format!("artifact: {{ source: a, releases: {releases}, current: {current} }}\n");
        let shown = refused(&format!("{SMALLEST}{artifact}"));
        assert_eq!(messages(&shown), [message], "{shown}");
    }
    let beside = "artifact: { source: a, releases: /srv/app2, current: /srv/app }\n";
    assert!(load_text("app.yaml", format!("{SMALLEST}{beside}")).is_ok());
}

#[test]
fn optional_variable_without_default_must_be_on_every_node() {
    let text = format!("{SMALLEST}variables: {{ heap: {{}} }}\n");
    let shown = refused(&text);
    assert_eq!(messages(&shown), ["variable `heap` has neither `required` nor `default`"]);
    assert!(shown.contains("app.yaml:11:14"), "{shown}");
    let text = text.replace(":9000 }", ":9000, vars: { heap: 4g } }");
    assert!(load_text("app.yaml", text.as_str()).is_ok());
    let shown = refused(&text.replace("upstreams/app/ ", "'${{ heap }}/' "));
    assert_eq!(messages(&shown), ["`heap` differs from node to node"], "{shown}");
}

#[test]
fn a_number_out_of_range_is_refused() {
    let cases = [
        ("strategy: { max_failures: 4294967296 }", "`4294967296` is out of range"),
        ("strategy: { max_failures: -1 }", "`-1` is out of range"),
        ("artifact: { source: a, releases: /r, current: /c, keep: 0 }", "`0` is out of range"),
        (
            "artifact: { source: a, releases: /r, current: /c, keep: 1001 }",
            "`1001` is out of range",
        ),
        ("strategy: { min_available: 101% }", "`101%` is not an amount"),
        ("drain: { timeout: 500d }", "`500d` is longer than a year"),
    ];
    for (part, message) in cases {
        let shown = refused(&format!("{SMALLEST}{part}\n"));
        assert_eq!(messages(&shown), [message], "{shown}");
    }
}
