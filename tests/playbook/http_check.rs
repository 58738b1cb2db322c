//! The keys of `health.http`: what is accepted, and what is refused.

use rollgate::playbook::load_text;

use crate::{SMALLEST, messages, refused};

fn playbook(http: &str) -> String {
    let secrets = "secrets: { login: { env: LOGIN } }\n";
    SMALLEST.replacen(
        "{ http: 'http://${{ node.address }}/ping' }",
        &format!("{{ http: {http} }}"),
        1,
    ) + secrets
}

#[test]
fn every_key_of_the_check_is_accepted() {
    for keys in [
        "method: HEAD",
        "method: POST, headers: { X-Probe: '${{ node.name }}', Authorization: 'Bearer ${{ secrets.login }}' }",
        "host: app.example",
        "headers: { Host: 'app.example:8443' }",
        "basic_auth: { user: '${{ node.name }}', password: '${{ secrets.login }}' }",
        "ca: ca.pem, follow_redirects: true",
        "insecure: true",
        "expect: 204",
        "expect: 200-299",
        "expect: [200, 301-308, '404']",
    ] {
        let text = playbook(&format!("{{ url: 'https://h/ping', {keys} }}"));
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        // A journal keeps the playbook, and a later command reads it from there.
        let written = serde_json::to_value(&loaded.playbook).expect("JSON");
        assert_eq!(
            serde_json::from_value::<rollgate::playbook::Playbook>(written).expect("a playbook"),
            loaded.playbook,
            "{keys}"
        );
    }
}

#[test]
fn every_rule_of_the_check_refuses() {
    for (keys, message) in [
        ("method: get", "unknown word `get`"),
        ("expect: 299-200", "`299-200` is not a status"),
        ("expect: [99]", "`99` is out of range"),
        ("expect: ok", "`ok` is not a status"),
        ("host: 'https://app.example'", "`https://app.example` is not a host"),
        ("headers: { host: 'a b' }", "`a b` is not a host"),
        ("host: a, headers: { host: b }", "both `host` and a header `Host` are given"),
        ("headers: { 'X Probe': a }", "`X Probe` is not the name of a header"),
        ("headers: { content-length: '1' }", "rollgate sets the header `content-length` itself"),
        (
            "headers: { Authorization: Bearer hunter22 }",
            "the value of the header `Authorization` is not a secret of the playbook",
        ),
        (
            "headers: { X-Api-Key: hunter22 }",
            "the value of the header `X-Api-Key` is not a secret of the playbook",
        ),
        (r#"headers: { X-A: "a\nb" }"#, "the value of the header `X-A` has a control character"),
        (
            "basic_auth: { user: me, password: hunter22 }",
            "the password is not a secret of the playbook",
        ),
        (
            "headers: { Authorization: '${{ secrets.login }}' }, basic_auth: { user: me, password: '${{ secrets.login }}' }",
            "both `basic_auth` and a header `Authorization` are given",
        ),
        ("headers: { X-A: '${{ secrets.lgin }}' }", "unknown name `secrets.lgin`"),
        ("body: '${{ secrets.login }}'", "`secrets.login` may not be used here"),
        ("ca: a.pem, insecure: true", "both `ca` and `insecure` are given"),
        ("method: HEAD, body: pong", "`body` with `HEAD`"),
    ] {
        let shown = refused(&playbook(&format!("{{ url: 'https://h/ping', {keys} }}")));
        assert_eq!(messages(&shown), [message], "{shown}");
        assert!(!shown.contains("hunter22"), "{shown}");
    }
}

#[test]
fn login_in_the_url_is_refused_with_the_key_for_logins() {
    let shown = refused(&playbook("'http://me:hunter22@h/ping'"));
    assert_eq!(messages(&shown), ["a user or password in a URL"]);
    assert!(shown.contains("basic_auth: { user: …, password: '${{ secrets.NAME }}' }"), "{shown}");
}
