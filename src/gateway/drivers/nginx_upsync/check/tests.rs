//! Uses recorded answers. `check-0.2.0` is `nginx_upstream_check_module` on nginx 1.6.3, `healthcheck` is
//! `ngx_healthcheck_module` (`http` and `stream`) on nginx 1.14.2.

use super::*;

macro_rules! recorded {
    ($file:literal) => {
        ($file, include_str!(concat!("../../../../../tests/fixtures/gateway/check_status/", $file)))
    };
}

/// Each has `app` with 18003 down, and `other`.
const RECORDED: [(&str, &str); 11] = [
    recorded!("check-0.2.0.html"),
    recorded!("tengine-2.2.0.csv"),
    recorded!("tengine-2.2.0.json"),
    recorded!("tengine-2.3.3.csv"),
    recorded!("tengine-2.3.3.html"),
    recorded!("tengine-2.3.3.json"),
    recorded!("tengine-2.3.3.prometheus"),
    recorded!("healthcheck.csv"),
    recorded!("healthcheck.html"),
    recorded!("healthcheck.json"),
    recorded!("healthcheck.prometheus"),
];

const CSV: &str = RECORDED[3].1;

fn down(held: &Held) -> Vec<&str> {
    held.iter().filter(|(_, down)| **down == Ok(true)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_form_of_every_module_says_the_same() {
    for (file, text) in RECORDED {
        let held = parse(text, "App").unwrap_or_else(|why| panic!("{file}: {why}"));
        let has_stream = file.starts_with("healthcheck");
        let expected: &[_] =
            if has_stream { &["127.0.0.1:18003", "127.0.0.1:18004"] } else { &["127.0.0.1:18003"] };
        assert_eq!(down(&held), expected, "{file}");
        for up in ["127.0.0.1:18001", "127.0.0.1:18002"] {
            assert_eq!(held.get(up), Some(&Ok(false)), "{file}");
        }
        assert_eq!(down(&parse(text, "other").expect("readable")), ["127.0.0.1:18003"], "{file}");
        assert_eq!(parse(text, "third"), Ok(Held::new()), "{file}");
    }
}

#[test]
fn odd_rows_affect_only_their_own_server() {
    let odd = format!("{CSV}4,other,unix:/x,odd,0\n5,app,127.0.0.1:18005,UP,20,0,http,0\n");
    let held = parse(&odd, "app").expect("readable");
    assert_eq!(held["127.0.0.1:18001"], Ok(false));
    assert_eq!(held["127.0.0.1:18003"], Ok(true));
    assert!(held["127.0.0.1:18005"].is_err(), "{held:?}");
    assert!(parse("no, such\n", "app").is_err());
}

/// The module of 2010 does not show to which upstream a server belongs.
#[test]
fn table_without_a_column_that_is_needed_is_an_error() {
    for (_, html) in RECORDED.iter().filter(|(file, _)| file.ends_with("html")) {
        let older = html.replace("<th>Upstream</th>", "<th>Business</th>");
        let why = parse(&older, "app").expect_err("not to be read");
        assert_eq!(why, "check_status has no column `Upstream`");
    }
}

#[test]
fn unknown_form_and_incomplete_reply_are_errors() {
    for (file, text) in RECORDED {
        let file = file.rsplit('.').next().expect("an ending");
        // A complete line of CSV does not show that it was not the last one.
        let lines = if file == "csv" { 0 } else { text.lines().count() };
        for cut in (1..lines).map(|line| text.match_indices('\n').nth(line - 1).expect("a line").0)
        {
            assert!(parse(&text[..=cut], "app").is_err(), "{file}: {}", &text[..cut]);
        }
        assert!(parse(&text[..text.len() - 3], "app").is_err(), "{file}");
    }
    for text in [
        "",
        " \n",
        "0,app,127.0.0.1:18001,up,20,0,http,0",
        "0,app,127.0.0.1:18001,up,20,0,http\n",
        "<html><body><h1>404 Not Found</h1></body></html>",
        "{}",
        r#"{"servers": {"total": 0}}"#,
        "# HELP nginx_up 1\n",
        // With `&status=up`.
        r#"{"servers": {"total": 1, "generation": 1, "server": [{"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},]}}"#,
    ] {
        assert!(parse(text, "app").is_err(), "{text}");
    }
    let one_less = RECORDED[4].1.replace("number: 4", "number: 5");
    assert!(parse(&one_less, "app").is_err());
}
