//! Finds secrets that a text contains literally: logins in URLs, and values of keys such as token or
//! password.
//!
//! A file with such a secret is refused, and the error must not print it. Each byte of it becomes a star, so
//! every place in the text stays the same.

use std::net::Ipv6Addr;
use std::ops::Range;

use serde_json::Value;

use super::STARS;

/// The names of keys of secrets.
const KEYS: [&str; 7] =
    ["token", "password", "passwd", "secret", "authorization", "cookie", "api-key"];

/// The characters that end a URL, besides white space.
const BOUNDS: &str = "\"'`<>";

/// If one word has more, the whole word before the last one counts as a login: the search for each covers the
/// whole word.
const MOST_LOGINS: usize = 32;

/// Returns whether a key's name is that of a secret.
#[must_use]
pub fn is_secret_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    KEYS.iter().any(|key| name.ends_with(key))
}

/// Hides what may be a secret in a JSON value: everything below a key that is called so, and logins in URLs. `is_secret`:
/// the value itself is below such a key.
pub fn hide_values(is_secret: bool, value: &mut Value) {
    match value {
        Value::String(said) if is_secret && !said.starts_with("${{") => STARS.clone_into(said),
        Value::String(said) => *said = mask(said),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_values(is_secret, item)),
        Value::Object(map) => map
            .iter_mut()
            .for_each(|(key, value)| hide_values(is_secret || is_secret_key(key), value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the text with every literal secret as stars, byte by byte.
#[must_use]
pub fn mask(text: &str) -> String {
    let urls = logins(text).chain(odd_ports(text));
    mask_at(text, urls.chain(values(text)).chain(sources(text)))
}

/// Returns the text with these places as stars, byte by byte; white space stays.
#[must_use]
pub fn mask_at(text: &str, places: impl IntoIterator<Item = Range<usize>>) -> String {
    let mut masked = text.to_owned();
    for place in places {
        if let Some(part) = text.get(place.clone()) {
            let stars = |character: char| match character {
                blank if blank.is_whitespace() => blank.to_string(),
                other => "*".repeat(other.len_utf8()),
            };
            masked.replace_range(place, &part.chars().map(stars).collect::<String>());
        }
    }
    masked
}

/// Returns the places of logins in a text: the `user:password` of a URL, with or without its scheme.
///
/// A value that a shell or a template fills in is not a secret of the text.
pub fn logins(text: &str) -> impl Iterator<Item = Range<usize>> {
    words(text).flat_map(|word| {
        let ends: Vec<_> =
            text[word.clone()].match_indices('@').map(|(at, _)| word.start + at).collect();
        match ends.last() {
            Some(last) if ends.len() > MOST_LOGINS => {
                std::iter::once(word.start..*last).collect::<Vec<_>>()
            }
            Some(_) | None => ends.into_iter().filter_map(|end| login(text, end)).collect(),
        }
    })
}

/// Returns the places of words that may be URLs.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let ends_word = |next: char| next.is_whitespace() || BOUNDS.contains(next);
    text.split_inclusive(ends_word).scan(0, move |at, word| {
        *at += word.len();
        Some(*at - word.len()..*at - word.len() + word.trim_end_matches(ends_word).len())
    })
}

fn login(text: &str, end: usize) -> Option<Range<usize>> {
    let start = login_of_url(text, end).or_else(|| login_without_scheme(text, end))?;
    Some(start..end)
}

/// Returns the start of the login that ends at an `@`, if the word before it has a scheme.
///
/// A password may contain any character. If one ends the host part, as in `http://me:a/b@host`, the rest is a
/// port that is not a number, or a path that ends with an address.
fn login_of_url(text: &str, end: usize) -> Option<usize> {
    let word = word_before(text, end, BOUNDS);
    let start = word + text[word..end].rfind("://")? + 3;
    let login = &text[start..end];
    let is_told = match login.find(|next| "/?#,;(){}".contains(next)) {
        Some(cut) => {
            has_odd_port(&login[..cut])
                || (login[cut..].starts_with(['/', '?', '#']) && names_port(&text[end + 1..]))
        }
        None => match login.split_once(':') {
            Some((_, password)) => !password.is_empty() && !password.starts_with('$'),
            // `ssh://git@host` is not a secret.
            None => is_http(&text[word..start]) && !login.is_empty() && !login.starts_with('$'),
        },
    };
    is_told.then_some(start)
}

fn is_http(scheme: &str) -> bool {
    let scheme = scheme.to_ascii_lowercase();
    scheme.ends_with("http://") || scheme.ends_with("https://")
}

fn login_without_scheme(text: &str, end: usize) -> Option<usize> {
    let start = word_before(text, end, "\"'`,;(){}<>");
    let login = &text[start..end];
    let (_, password) = login.split_once(':')?;
    let in_path = login.contains(['/', '?', '#']);
    let is_told = !password.is_empty() && !password.starts_with('$') && !login.contains("::");
    // Many paths contain a colon and an `@`; only an address after it makes it a login.
    let is_login = !in_path || (!login.contains("://") && names_port(&text[end + 1..]));
    let has_host = in_path && !has_odd_port(login.split(['/', '?', '#']).next()?);
    (is_told && is_login && !has_host).then_some(start)
}

/// Returns the start of the word that ends there.
fn word_before(text: &str, end: usize, marks: &str) -> usize {
    let ends_word = |next: char| next.is_whitespace() || marks.contains(next);
    let before = text[..end].char_indices().rev().find(|(_, next)| ends_word(*next));
    before.map_or(0, |(at, next)| at + next.len_utf8())
}

/// Returns the text at the place of a port: after the first colon, or after an IPv6 address in brackets.
fn text_port(authority: &str) -> Option<&str> {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) => rest.strip_prefix(':'),
        // An IPv6 address without brackets is not a password either.
        None if authority.parse::<Ipv6Addr>().is_ok() => None,
        None => authority.split_once(':').map(|(_, port)| port),
    }
}

/// A number, or a value that a shell or a template fills in.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.starts_with('$') || text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a text begins with an address that has a port.
fn names_port(text: &str) -> bool {
    let ends = |next: char| next.is_whitespace() || "/?#\"'`,;(){}<>".contains(next);
    let address = text.split(ends).next().unwrap_or_default();
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    port.is_some_and(|(_, port)| !port.is_empty() && is_port(port))
}

/// Returns whether the host part of a URL has an invalid port, which is a part of a password.
#[must_use]
pub fn has_odd_port(authority: &str) -> bool {
    text_port(authority).is_some_and(|port| !is_port(port))
}

/// Returns the places of invalid ports in URLs.
fn odd_ports(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, scheme)| {
        let rest = &text[at + scheme.len()..];
        let ends = |next: char| next.is_whitespace() || "/?#\"'`,;(){}<>]".contains(next);
        let end = match rest.strip_prefix('[').and_then(|rest| rest.find(']')) {
            Some(close) => rest[close + 2..].find(ends).map(|end| close + 2 + end),
            None => rest.find(ends),
        };
        let authority = &rest[..end.unwrap_or(rest.len())];
        let port = text_port(authority).filter(|port| !is_port(port) && !port.contains('@'))?;
        let end = at + scheme.len() + authority.len();
        Some(end - port.len()..end)
    })
}

/// Returns the places of values whose key has the name of a secret.
fn values(text: &str) -> impl Iterator<Item = Range<usize>> {
    let lines = text.split_inclusive('\n').scan(0, |start, line| {
        *start += line.len();
        Some((*start - line.len(), line))
    });
    lines.flat_map(|(start, line)| {
        let lower = line.to_ascii_lowercase();
        let places: Vec<_> = KEYS
            .iter()
            .flat_map(|key| {
                lower.match_indices(key).map(|(at, _)| at + key.len()).collect::<Vec<_>>()
            })
            .filter_map(|at| value_after(line, at))
            .map(|place| start + place.start..start + place.end)
            .collect();
        places
    })
}

/// Returns the places of words below the key `secrets` that are neither keys nor names of variables and
/// files.
///
/// It reads lines, not YAML: a file with a mistake may not be valid YAML.
fn sources(text: &str) -> Vec<Range<usize>> {
    let (mut places, mut start, mut below) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let begins = line.trim_start_matches(['{', '"', '\'']).strip_prefix("secrets");
        let begins = begins.map(|rest| rest.trim_start_matches(['"', '\'']).trim_start());
        if begins.is_some_and(|rest| rest.starts_with(':')) {
            below = true;
        } else if !line.starts_with(|next: char| next.is_whitespace() || "#}]".contains(next)) {
            below = false;
        }
        if below {
            let words = words_of_values(line);
            places.extend(words.map(|place| start + place.start..start + place.end));
        }
        start += line.len();
    }
    places
}

fn words_of_values(line: &str) -> impl Iterator<Item = Range<usize>> {
    let code = line.find(" #").map_or(line, |end| &line[..end]);
    let code = if code.trim_start().starts_with('#') { "" } else { code };
    let mut is_name = false;
    code.split_inclusive(|next: char| next.is_whitespace() || "{}[],:".contains(next))
        .scan(0, |at, word| {
            *at += word.len();
            Some((*at - word.len(), word))
        })
        .filter_map(move |(at, word)| {
            let inner = word.trim_end_matches(|next: char| next.is_whitespace());
            let inner = inner.trim_end_matches(['{', '}', '[', ']', ',']);
            let rest = &code[at + word.len()..];
            let ends_key = |end: char| end.is_whitespace() || "\"'{[".contains(end);
            if inner.ends_with(':') && (rest.is_empty() || rest.starts_with(ends_key)) {
                let key = inner.trim_matches([':', '"', '\'', ' ']);
                is_name = matches!(key, "env" | "file");
                return None;
            }
            let is_mark = inner.is_empty() || inner.starts_with(['|', '>', '$', '&', '*', '?']);
            let is_secret = !is_mark && !inner.trim_matches(['"', '\'']).is_empty() && !is_name;
            if !is_mark {
                is_name = false;
            }
            is_secret.then_some(at..at + inner.len())
        })
}

/// Returns the place of the value after a key that ends at `at`, unless it is a map, a list or filled in.
fn value_after(line: &str, at: usize) -> Option<Range<usize>> {
    let rest = &line[at..];
    let rest = rest.trim_start_matches(['"', '\'']);
    let value = rest.trim_start().strip_prefix(':')?;
    // YAML has a blank after a key's colon, JSON may have none.
    let value = value.trim_start();
    let start = line.len() - value.len();
    if value.is_empty() || value.starts_with(['{', '|', '>', '$', '&', '#']) {
        return None;
    }
    if let Some(items) = value.strip_prefix('[') {
        let items = items.split(']').next().unwrap_or_default().trim_end();
        return Some(start + 1..start + 1 + items.len());
    }
    let length = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inner = &value[1..];
            if inner.starts_with("${{") {
                return None;
            }
            inner.find(quote).map_or(value.trim_end().len(), |end| end + 2)
        }
        _ => value
            .find([',', '}', '#', '\n'])
            .map_or(value.len(), |end| value[..end].trim_end().len()),
    };
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literal_secrets_become_stars_of_the_same_length() {
        for (text, shown) in [
            ("url: 'http://me:hunter22@10.0.0.1/x'", "url: 'http://***********@10.0.0.1/x'"),
            // The last of two `@` ends the login: too many stars are better than too few.
            ("url: 'http://me:hun@ter/22@h/x'", "url: 'http://*************@h/x'"),
            ("- me:hunter22@127.0.0.1:8500", "- ***********@127.0.0.1:8500"),
            (
                "stop: curl http://a:b@h/ http://${U}:${P}@h/",
                "stop: curl http://***@h/ http://${U}:${P}@h/",
            ),
            ("- http://me:hun/ter@10.0.0.1:8500", "- http://**********@10.0.0.1:8500"),
            ("- http://me:hun?ter@consul", "- http://**********@consul"),
            ("- https://me:hun#ter@consul/x", "- https://**********@consul/x"),
            ("- http://me:hun,t{e}r@consul", "- http://************@consul"),
            ("- http://me:12/ter@10.0.0.1:8500", "- http://*********@10.0.0.1:8500"),
            ("- me:hun/ter@10.0.0.1:8500", "- **********@10.0.0.1:8500"),
            (
                "git clone https://hunter22@example.com/x",
                "git clone https://********@example.com/x",
            ),
            ("- 'http://me:hunter22", "- 'http://me:********"),
            ("consul: { token: b1gs-ecret }", "consul: { token: ********** }"),
            ("token: 'b1gs, ecret' # x", "token: ****** ****** # x"),
            ("{\"Token\":\"b1g\"}", "{\"Token\":*****}"),
            ("token: [b1g, 'x y']", "token: [**** ** **]"),
            ("secrets: { db: hunter22, [", "secrets: { db: ********, ["),
            ("secrets: { hunter22 }", "secrets: { ******** }"),
            ("\"secrets\":{\"db\":\"hunter22\"}", "\"secrets\":{\"db\":**********}"),
            ("secrets:\n  db: 'hunter22\nstop: x", "secrets:\n  db: *********\nstop: x"),
            ("secrets:\n  db: >-\n    hun:ter22 x", "secrets:\n  db: >-\n    ********* *"),
            ("  my_password:  pässword\nnext: 1", "  my_password:  *********\nnext: 1"),
        ] {
            assert_eq!(mask(text), shown);
            assert_eq!(mask(text).len(), text.len());
        }
    }

    #[test]
    fn word_of_very_many_logins_is_masked_at_once() {
        let text = format!("x: http://{}h", "a:b@".repeat(50_000));
        assert_eq!(mask(&text), format!("x: {}@h", "*".repeat(text.len() - 5)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_place_of_any_text_stays_where_it_was(
            text in r#"(?s)(.|token|password|: |://|@|\$\{\{|["'é\u{3000}\n,{}#:/]){0,40}"#,
        ) {
            let masked = mask(&text);
            prop_assert_eq!(masked.len(), text.len());
            prop_assert_eq!(masked.matches('\n').count(), text.matches('\n').count());
        }
    }

    #[test]
    fn text_without_a_literal_secret_stays() {
        for text in [
            "nodes: [{ ssh: 'deploy@10.0.1.11:22' }]",
            "stats: ipv4@10.0.0.13:9999",
            "token: '${{ secrets.consul_token }}'",
            "secrets: { consul_token: { env: CONSUL_HTTP_TOKEN } }",
            "secrets:\n  t: { file: /x }",
            "secrets:\n  # From the vault.\n  t: { env: \"T\" } # once\nstop: x",
            "{\"secrets\":{\"t\":{\"env\":\"T\"}}}",
            "url: http://10.0.0.1:80/x@y:z",
            "url: 'http://${{ node.address }}/x@y'",
            "url: http://[::1]:80/x@y",
            "url: http://host/x@y?a:b@c",
            "run: docker run registry:5000/app@sha256:12ab",
            "run: curl http://${U}:${P}@h:80/ http://${H}:${P}/x@y",
            "[http://a:80,me@b]",
            "stop: git clone ssh://git@example.com/app",
            "address: '[::1]:80'",
        ] {
            assert_eq!(mask(text), text);
        }
    }
}
