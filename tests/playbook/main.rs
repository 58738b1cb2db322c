//! The full error texts for wrong playbooks, as `check` prints them.

use rollgate::diagnostic::render;
use rollgate::playbook::{StepSpec, load_text};

mod apis; // What is refused for gateways of nginx and Lua.
mod files; // Files that cannot be read, and the schema.
mod forms; // Short forms, addresses without a scheme, large files.
mod gateways; // What each kind of gateway requires of its keys.
mod generated; // Corrupt and arbitrary files.
mod http_check; // The HTTP check of `health`.
mod pairs; // Any two mistakes are reported together.
mod registries; // A registry for each gateway.
mod rules; // Each rule refuses its mistake.

/// The smallest useful file, as in the documentation.
const SMALLEST: &str = "\
service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways:
  - { type: nginx-upsync, status_url: http://10.0.0.11/upstream_list?app, upstream: app }
nodes:
  - { ssh: deploy@10.0.1.11, address: 10.0.1.11:9000 }
  - { ssh: deploy@10.0.1.12, address: 10.0.1.12:9000 }
stop: systemctl stop app
start: systemctl start app
health: { http: 'http://${{ node.address }}/ping' }
";

/// Every planned key, as in the documentation.
const EVERYTHING: &str = include_str!("../fixtures/playbooks/everything.yaml");

#[track_caller]
fn refused(text: &str) -> String {
    match load_text("app.yaml", text) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(invalid) => render(&invalid, false),
    }
}

/// Returns the errors of the smallest file with one part replaced.
#[track_caller]
fn with(part: &str, other: &str) -> String {
    assert!(SMALLEST.contains(part), "{part}");
    refused(&SMALLEST.replacen(part, other, 1))
}

/// Returns the messages alone.
fn messages(shown: &str) -> Vec<&str> {
    shown.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
}

#[test]
fn the_smallest_useful_file_is_valid() {
    let loaded = load_text("app.yaml", SMALLEST).unwrap_or_else(|invalid| panic!("{invalid}"));
    let words: Vec<_> = loaded.playbook.effective_steps().iter().map(StepSpec::word).collect();
    assert_eq!(words, ["confirm_out", "drain", "stop", "start", "health", "enable", "confirm_in"]);
    assert_eq!(loaded.playbook.nodes[1].display_name(), "10.0.1.12");
    assert_eq!(loaded.playbook.gateways[0].gateway.display_name(), "10.0.0.11");
}

#[test]
fn planned_keys_are_unknown_and_nothing_else_is_wrong() {
    let shown = refused(EVERYTHING);
    insta::assert_snapshot!(messages(&shown).join("\n"), @r#"
    unknown key `probe_url`
    unknown key `canary`
    unknown word `bake`
    unknown key `bake`
    unknown key `traffic`
    unknown key `before_release`
    unknown key `after_release`
    unknown key `notify`
    "#);
}

#[test]
fn a_typo_in_a_nested_key_is_shown_with_the_key_that_was_meant() {
    let shown =
        with("stop: systemctl stop app", "stop: { run: systemctl stop app, timeoout: 40s }");
    insta::assert_snapshot!(shown, @r#"
    error: unknown key `timeoout`
     --> app.yaml:8:34
      |
    8 | stop: { run: systemctl stop app, timeoout: 40s }
      |                                  ^^^^^^^^
      |
      = in: `stop.timeoout`
      = help: did you mean `timeout`?
      = help: valid keys: `run`, `timeout`, `sudo`

    1 problem in app.yaml
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one text, shown whole")]
fn all_problems_are_reported_at_once() {
    let shown = refused(
        "\
servce: app
registry: { type: consul-vk, prefix: upstreams/app/ }
gateways:
  - type: nginx-upsync
    status_url: http://10.0.0.11/upstream_list?app
    workers: '4'
nodes:
  - { ssh: a, address: 10.0.1.11:9000, name: [x] }
ssh: { sudo: yes, connect_timeout: 10 }
strategy: { max_failures: many, order: out_frist }
drain:
  settle:
  in_flight: { http: { url: http://x/, pointer: active, pattern: '(' } }
steps: [confirm_out, dran, { drain: 5s }, restart: x, health, enable, confirm_in]
health: { http: 'http://${{ node.address }/' }
",
    );
    insta::assert_snapshot!(shown, @r#"
    error: unknown key `servce`
     --> app.yaml:1:1
      |
    1 | servce: app
      | ^^^^^^
      |
      = in: `servce`
      = help: did you mean `service`?
      = help: valid keys: `service`, `variables`, `secrets`, `consul`, `registry`, `gateways`, `ssh`, `nodes`, `artifact`, `strategy`, `drain`, `stop`, `start`, `restart`, `steps`, `health`, `hooks`

    error: unknown type `consul-vk`
     --> app.yaml:2:19
      |
    2 | registry: { type: consul-vk, prefix: upstreams/app/ }
      |                   ^^^^^^^^^
      |
      = in: `registry.type`
      = help: did you mean `consul-kv`?
      = help: it is one of: `consul-kv`, `consul-service`, `gateway`

    error: missing key `upstream`
     --> app.yaml:4:5
      |
    4 |   - type: nginx-upsync
      |     ^^^^
      |
      = in: `gateways[0]`

    error: expected a whole number, found the text '4'
     --> app.yaml:6:14
      |
    6 |     workers: '4'
      |              ^^^
      |
      = in: `gateways[0].workers`
      = help: remove the quotes

    error: with 1 node and `min_available` 1 no node may leave rotation
     --> app.yaml:7:1
      |
    7 | nodes:
      | ^^^^^
      |
      = in: `nodes`
      = help: at least one node must be spare, and the last node never leaves rotation

    error: expected text, found a list
     --> app.yaml:8:40
      |
    8 |   - { ssh: a, address: 10.0.1.11:9000, name: [x] }
      |                                        ^^^^
      |
      = in: `nodes[0].name`

    error: expected `true` or `false`, found `yes`
     --> app.yaml:9:14
      |
    9 | ssh: { sudo: yes, connect_timeout: 10 }
      |              ^^^
      |
      = in: `ssh.sudo`
      = help: write `true`

    error: `10` has no unit; write `10s`
     --> app.yaml:9:36
      |
    9 | ssh: { sudo: yes, connect_timeout: 10 }
      |                                    ^^
      |
      = in: `ssh.connect_timeout`

    error: expected a whole number, found `many`
      --> app.yaml:10:27
       |
    10 | strategy: { max_failures: many, order: out_frist }
       |                           ^^^^
       |
       = in: `strategy.max_failures`

    error: unknown word `out_frist`
      --> app.yaml:10:40
       |
    10 | strategy: { max_failures: many, order: out_frist }
       |                                        ^^^^^^^^^
       |
       = in: `strategy.order`
       = help: did you mean `out_first`?
       = help: it is one of: `out_first`, `listed`

    error: this key has no value
      --> app.yaml:12:3
       |
    12 |   settle:
       |   ^^^^^^
       |
       = in: `drain.settle`
       = help: expected a duration like `30s`

    error: the number needs exactly one of `pointer` and `pattern`
      --> app.yaml:13:16
       |
    13 |   in_flight: { http: { url: http://x/, pointer: active, pattern: '(' } }
       |                ^^^^
       |
       = in: `drain.in_flight.http`
       = help: `pointer` finds it in JSON, `pattern` in text

    error: `active` is not a JSON pointer
      --> app.yaml:13:49
       |
    13 |   in_flight: { http: { url: http://x/, pointer: active, pattern: '(' } }
       |                                                 ^^^^^^
       |
       = in: `drain.in_flight.http.pointer`
       = help: write `/` before each name, as in `/peers/0/state`; `~0` is `~`, `~1` is `/`

    error: `(` is not a regular expression: unclosed group
      --> app.yaml:13:66
       |
    13 |   in_flight: { http: { url: http://x/, pointer: active, pattern: '(' } }
       |                                                                  ^^^^
       |
       = in: `drain.in_flight.http.pattern`

    error: unknown word `dran`
      --> app.yaml:14:22
       |
    14 | steps: [confirm_out, dran, { drain: 5s }, restart: x, health, enable, confirm_in]
       |                      ^^^^
       |
       = in: `steps[1]`
       = help: did you mean `drain`?
       = help: it is one of: `confirm_out`, `drain`, `stop`, `activate`, `start`, `restart`, `health`, `enable`, `confirm_in`, `run`

    error: unknown key `drain`
      --> app.yaml:14:30
       |
    14 | steps: [confirm_out, dran, { drain: 5s }, restart: x, health, enable, confirm_in]
       |                              ^^^^^
       |
       = in: `steps[2].drain`
       = help: `drain` has no settings: write it without `:`

    error: `${{` is never closed by `}}`
      --> app.yaml:15:25
       |
    15 | health: { http: 'http://${{ node.address }/' }
       |                         ^^^
       |
       = in: `health.http`

    17 problems in app.yaml
    "#);
}

#[test]
fn bare_number_is_not_a_duration() {
    let shown =
        with("stop: systemctl stop app", "drain: { timeout: 30 }\nstop: systemctl stop app");
    insta::assert_snapshot!(shown, @r#"
    error: `30` has no unit; write `30s`
     --> app.yaml:8:19
      |
    8 | drain: { timeout: 30 }
      |                   ^^
      |
      = in: `drain.timeout`

    1 problem in app.yaml
    "#);
}

#[test]
fn an_unquoted_template_in_a_flow_map_is_explained() {
    let shown = with("'http://${{ node.address }}/ping'", "http://${{ node.address }}/ping");
    insta::assert_snapshot!(shown, @r#"
    error: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'
      --> app.yaml:10:25
       |
    10 | health: { http: http://${{ node.address }}/ping }
       |                         ^
       |
       = help: put the whole value that has `${{` in quotes, like '…${{ node.address }}…'

    1 problem in app.yaml
    "#);
    let shown = with("'http://${{ node.address }}/ping'", "${{ node.address }}");
    insta::assert_snapshot!(shown, @r#"
    error: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'
      --> app.yaml:10:18
       |
    10 | health: { http: ${{ node.address }} }
       |                  ^
       |
       = help: put the whole value that has `${{` in quotes, like '…${{ node.address }}…'

    1 problem in app.yaml
    "#);
}

#[test]
fn a_duplicate_key_is_shown_with_the_first_one() {
    let shown = refused(&format!("{SMALLEST}stop: systemctl kill app\nservice: b\n"));
    insta::assert_snapshot!(shown, @r#"
    error: duplicate key `stop`
      --> app.yaml:11:1
       |
     8 | stop: systemctl stop app
       | ---- first given here
    ...
    11 | stop: systemctl kill app
       | ^^^^

    error: duplicate key `service`
      --> app.yaml:12:1
       |
     1 | service: app
       | ------- first given here
    ...
    12 | service: b
       | ^^^^^^^

    2 problems in app.yaml
    "#);
}

#[test]
fn an_unsafe_order_of_steps_is_refused_with_the_rule() {
    let steps = "steps: [confirm_out, stop, drain, start, health, enable, confirm_in]";
    insta::assert_snapshot!(refused(&format!("{SMALLEST}{steps}\n")), @r#"
    error: unsafe step order: `stop` before `drain` (rule `stop-after-drain`)
      --> app.yaml:11:22
       |
    11 | steps: [confirm_out, stop, drain, start, health, enable, confirm_in]
       |                      ^^^^  ----- `drain` comes only here
       |
       = in: `steps[1]`
       = help: requests in flight would be cut

    1 problem in app.yaml
    "#);
}

#[test]
fn an_unknown_name_is_shown_in_its_place() {
    let shown = with("stop: systemctl stop app", "stop: systemctl stop ${{ node.nmae }}");
    insta::assert_snapshot!(shown, @r#"
    error: unknown name `node.nmae`
     --> app.yaml:8:22
      |
    8 | stop: systemctl stop ${{ node.nmae }}
      |                      ^^^^^^^^^^^^^^^^
      |
      = in: `stop`
      = help: did you mean `node.name`?
      = help: known here: `node.address`, `node.host`, `node.name`, `node.port`, `node.ssh`, `release.id`, `release.service`

    1 problem in app.yaml
    "#);
}
