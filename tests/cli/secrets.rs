//! Secrets: refused where they would be shown, and passed to no child process.

use crate::support::{Case, SMALL};

const TOKEN: &str = "b1gs5ecr-7e57-4a4a";

/// Returns a case whose playbook has another part, and whose environment has the token as `TOKEN`.
fn case(part: &str, other: &str) -> Case {
    assert!(SMALL.contains(part), "{part}");
    let playbook =
        format!("{}secrets: {{ t: {{ env: TOKEN }} }}\n", SMALL.replacen(part, other, 1));
    Case::new(&[("app.yaml", playbook.as_bytes())]).env("TOKEN", TOKEN)
}

#[track_caller]
fn refused(case: &Case, arguments: &[&str], says: &str) {
    for form in ["plain", "jsonl"] {
        let (stdout, stderr) = case.exits(2, &[arguments, &["--output", form]].concat());
        assert!(stderr.contains(says), "{stderr}");
        let all = stdout + &stderr;
        let shown = (0..=TOKEN.len() - 6).find(|at| all.contains(&TOKEN[*at..at + 6]));
        assert_eq!(shown, None, "{all}");
    }
}

#[test]
fn literal_secret_is_refused_with_its_position_and_not_shown() {
    let token = format!("consul: {{ token: {TOKEN}, ");
    let quoted = format!("consul: {{ token: '{TOKEN}', ");
    let variable = "consul: { token: '${{ version }}', ";
    for token in [token.as_str(), &quoted, variable] {
        let case = case("consul: { ", token);
        refused(&case, &["check", "app.yaml"], "the token is not a secret of the playbook");
        refused(&case, &["check", "app.yaml"], "write `token: ${{ secrets.consul_token }}`");
        refused(&case, &["check", "app.yaml"], "app.yaml:15:18");
        refused(&case, &["deploy", "app.yaml", "--yes"], "the token is not a secret");
    }
    let login = format!("http://me:{TOKEN}@");
    for (part, other) in [
        ("http://127.0.0.1:1'", format!("{login}127.0.0.1:1'")),
        ("http://127.0.0.1:1/up", format!("{login}127.0.0.1:1/up")),
        ("http://127.0.0.1:1/up", format!("me:{TOKEN}@127.0.0.1:1/up")),
        // A password can have a character that ends the host part of a URL.
        ("http://127.0.0.1:1'", format!("http://me:{TOKEN}/x1@127.0.0.1:1'")),
        ("http://127.0.0.1:1'", format!("http://me:x/{TOKEN}@127.0.0.1'")),
        ("http://127.0.0.1:1/up", format!("http://me:{TOKEN}?x@127.0.0.1:1/up")),
        ("http://127.0.0.1:1/up", format!("http://me:1/{TOKEN}@127.0.0.1:1/up")),
        ("http://${{ node.address }}", format!("http://me:{TOKEN}#1@${{{{ node.address }}}}")),
        ("stop: 'true'", format!("stop: 'curl http://me:{TOKEN}/1@127.0.0.1/'")),
        ("stop: 'true'", format!("stop: 'curl https://{TOKEN}@127.0.0.1/'")),
        ("http://127.0.0.1:1/up", format!("http://{TOKEN}@127.0.0.1:1/up")),
        ("http://${{ node.address }}", format!("{login}${{{{ node.address }}}}")),
        ("stop: 'true'", format!("stop: 'curl {login}127.0.0.1/'")),
        ("version: {", format!("base: {{ default: '{login}h/' }}\n  version: {{")),
    ] {
        let case = case(part, &other);
        refused(&case, &["check", "app.yaml"], "a user or password in a URL");
        refused(&case, &["plan", "app.yaml"], "a user or password in a URL");
    }
}

#[test]
fn url_with_non_numeric_port_is_refused_and_not_shown() {
    for (part, other) in [
        ("http://127.0.0.1:1'", format!("http://me:{TOKEN}'")),
        ("http://127.0.0.1:1/up", format!("http://me:{TOKEN}/up")),
        ("http://127.0.0.1:1/up", format!("me:{TOKEN}/up")),
        ("http://${{ node.address }}/", format!("http://me:{TOKEN}/")),
    ] {
        let case = case(part, &other);
        refused(&case, &["check", "app.yaml"], "the port of a URL is not a number");
    }
}

#[test]
fn login_in_consul_http_addr_is_refused_and_not_shown() {
    let playbook = SMALL.replacen("consul: { addresses: ['http://127.0.0.1:1'] }", "", 1);
    for address in
        ["me:{}/x1@127.0.0.1:1", "http://me:1/{}@127.0.0.1:1", "me:{}#@h", "http://me:{}"]
    {
        let case = Case::new(&[("app.yaml", playbook.as_bytes())])
            .env("CONSUL_HTTP_ADDR", &address.replace("{}", TOKEN));
        for command in ["doctor", "status"] {
            refused(&case, &[command, "app.yaml", "--var", "version=2"], "CONSUL_HTTP_AUTH");
        }
    }
}

#[test]
fn other_errors_on_a_secret_line_do_not_show_the_secret() {
    for line in [
        format!("consul: {{ tokn: {TOKEN}, "),
        format!("consul: {{ token: {TOKEN}, nonsense: 1, "),
        format!("consul: {{ token: [{TOKEN}], "),
        format!("consul: {{ passwords: 1, password: {TOKEN}, "),
    ] {
        let case = case("consul: { ", &line);
        // A secret that rollgate has read is hidden wherever it occurs.
        let case = case.env("CONSUL_HTTP_TOKEN", TOKEN);
        refused(&case, &["check", "app.yaml"], "app.yaml:15:");
    }
}

/// The process does not have the secret: only the key shows that the text is one.
#[test]
fn check_quotes_no_value_of_a_secret_key() {
    let consul = |other: &str| SMALL.replacen("consul: { ", other, 1);
    let besides = |other: &str| format!("{SMALL}{other}\n");
    for playbook in [
        besides(&format!("secrets: {{ consul_token: {TOKEN} }}")),
        besides(&format!("secrets: {{ db: {TOKEN} }}")),
        besides(&format!("secrets: {{ db: [{TOKEN}] }}")),
        besides(&format!("secrets: {TOKEN}")),
        besides(&format!("secrets: [{TOKEN}]")),
        besides(&format!("secrets: {{ {TOKEN} }}")),
        besides(&format!("secrets: {{ db: {{ {TOKEN} }} }}")),
        besides(&format!("secrets: {{ db: {{ env: DB, value: {TOKEN} }} }}")),
        besides(&format!("secrets:\n  db: >-\n    {TOKEN}\n  other: 1")),
        // The file is not valid YAML.
        consul(&format!("consul: {{ addresses: ['http://me:{TOKEN}], ")),
        besides(&format!("secrets: {{ db: {TOKEN}, [")),
        besides(&format!("secrets:\n  db: '{TOKEN}")),
        consul(&format!("consul: {TOKEN}\nx: {{ ")),
        consul(&format!("consul: [{TOKEN}]\nx: {{ ")),
        consul(&format!("consul: {{ {TOKEN}, ")),
        consul(&format!("consul: {{ acl: {TOKEN}, ")),
        consul(&format!("consul: {{ token: [{TOKEN}], ")),
        consul(&format!("consul: {{ token: {{ {TOKEN} }}, ")),
        consul(&format!("consul: {{ token: '${{{{ {TOKEN} }}}}', ")),
        SMALL.replacen("version: {", &format!("token: {TOKEN}\n  version: {{"), 1),
        SMALL.replacen(
            "version: {",
            &format!("token: {{ default: {TOKEN}, pattern: '^[0-9]+$' }}\n  version: {{"),
            1,
        ),
        besides(&format!("secrets: {{ db: &s {TOKEN} }}\nstop_after: *s")).replacen(
            "stop: 'true'",
            "stop: { run: 'true', timeout: &x 1s }",
            1,
        ),
        besides(&format!("secrets: {{ db: &s {TOKEN} }}\ndrain: {{ timeout: *s }}")),
    ] {
        let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
        refused(&case, &["check", "app.yaml"], "app.yaml:");
    }
}

#[test]
fn check_shows_harmless_values_beside_a_secret() {
    let misspelt = format!("{SMALL}secrets: {{ db: {{ evn: DB_PASSWORD }} }}\n");
    let case = Case::new(&[("app.yaml", misspelt.as_bytes())]);
    let (_, stderr) = case.exits(2, &["check", "app.yaml"]);
    assert!(stderr.contains("unknown key `evn`") && stderr.contains("`env`"), "{stderr}");
}

#[test]
fn secret_in_a_journalled_value_is_refused_before_any_request() {
    let command = format!("stop: 'call --header X-Token={TOKEN}'");
    let says = "the value of the secret `t` is in the playbook";
    refused(
        &case("stop: 'true'", &command),
        &["deploy", "app.yaml", "--yes", "--var", "version=2"],
        says,
    );
    let given = format!("v={TOKEN}");
    refused(
        &case("version: {", "v: { default: x }\n  version: {"),
        &["deploy", "app.yaml", "--yes", "--var", "version=2", "--var", &given],
        "the value of `v` has the secret `t` in it",
    );
    let own = case("stop: 'true'", &command).env("CONSUL_HTTP_TOKEN", TOKEN);
    refused(&own, &["status", "app.yaml"], "is in the playbook");
}

#[test]
fn commands_get_no_secret_in_their_environment() {
    let health = "health:\n  run: 'env >>seen; exit 1'";
    let part = "health:\n  http: 'http://${{ node.address }}/ping'\n  identity: { header: x-version, equals: '${{ version }}' }";
    let case = case(part, health);
    let case = case
        .env("CONSUL_HTTP_TOKEN", "c0nsul-t0ken")
        .env("CONSUL_HTTP_AUTH", "me:hunter22")
        .env("ANOTHER", TOKEN)
        .env("HARMLESS", "stays")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    case.exits(0, &["status", "app.yaml"]);
    let seen = std::fs::read_to_string(case.folder().join("seen")).expect("it was run here");
    assert!(seen.contains("HARMLESS=stays"), "{seen}");
    for secret in ["TOKEN=", "CONSUL_HTTP_AUTH", "hunter22", "ANOTHER"] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
}
