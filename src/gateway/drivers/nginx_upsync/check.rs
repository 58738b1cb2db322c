//! The peers that `nginx_upstream_check_module` holds down, in each of its three forms: JSON, CSV, and the HTML
//! page.

use std::collections::BTreeMap;

use crate::json;
use crate::text;

/// By address: whether the module holds it down, or why that cannot be read.
pub(super) type Held = BTreeMap<String, Result<bool, String>>;

/// Reads `check_status` in any form, and returns which addresses of `upstream` it holds down.
pub(super) fn parse(text: &str, upstream: &str) -> Result<Held, String> {
    match text.trim_start().chars().next() {
        Some('{') => parse_json(text, upstream),
        Some('<') => parse_html(text, upstream),
        Some(_) => parse_csv(text, upstream),
        None => Err("check_status shows nothing".into()),
    }
}

/// Adds one peer of the upstream. If it has two entries, the one that holds it down counts.
fn hold(held: &mut Held, name: &str, status: &str, shown: &str) -> Result<(), String> {
    if held.len() > json::MOST_ENTRIES {
        return Err(format!("check_status lists more than {} servers", json::MOST_ENTRIES));
    }
    let down = match status {
        "up" => Ok(false),
        "down" => Ok(true),
        _ => Err(unreadable(shown)),
    };
    let known = held.entry(name.to_owned()).or_insert(Ok(false));
    if *known == Ok(false) || down == Ok(true) {
        *known = down;
    }
    Ok(())
}

fn unreadable(shown: &str) -> String {
    format!("cannot read this part of check_status: {}", text::line(shown, 100))
}

fn parse_json(text: &str, upstream: &str) -> Result<Held, String> {
    let refused = |why: String| format!("check_status cannot be read as JSON: {why}");
    let document = json::document(text.as_bytes()).map_err(refused)?;
    let servers = json::at(document, "/servers/server").map_err(refused)?;
    let servers = servers.ok_or_else(|| refused("it has no list of servers".into()))?;
    let mut held = Held::new();
    for server in json::list(servers).map_err(refused)? {
        let [own, name, status] =
            json::fields(server, ["upstream", "name", "status"]).map_err(refused)?;
        let own = json::string(own);
        if own.as_ref().is_some_and(|own| !own.eq_ignore_ascii_case(upstream)) {
            continue;
        }
        let name = json::string(name).filter(|_| own.is_some());
        let name = name.ok_or_else(|| unreadable(server.get()))?;
        hold(&mut held, &name, &json::string(status).unwrap_or_default(), server.get())?;
    }
    Ok(held)
}

/// Whether a row belongs to another upstream, whatever else it contains.
fn is_other(index: &str, own: &str, upstream: &str) -> bool {
    index.parse::<u32>().is_ok() && !own.eq_ignore_ascii_case(upstream)
}

/// `0,app,127.0.0.1:18001,up,20,0,http,0`: index, upstream, name, status, rise, fall, type, port.
fn parse_csv(text: &str, upstream: &str) -> Result<Held, String> {
    let mut held = Held::new();
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').ok_or_else(|| unreadable(line))?;
        let fields: Vec<_> = line.split(',').collect();
        match fields[..] {
            [index, own, _, _, ..] if is_other(index, own, upstream) => {}
            [_, _, name, status, _, _, _, _] => hold(&mut held, name, status, line)?,
            _ => return Err(unreadable(line)),
        }
    }
    Ok(held)
}

/// A table whose rows have the same fields, with the number of rows above it.
fn parse_html(text: &str, upstream: &str) -> Result<Held, String> {
    let unreadable = || "check_status cannot be read as its page".to_owned();
    let (_, rest) = text.split_once("Check upstream server number: ").ok_or_else(unreadable)?;
    let (number, rest) = rest.split_once(',').ok_or_else(unreadable)?;
    let number: usize = number.parse().map_err(|_| unreadable())?;
    let (table, _) = rest.split_once("</table>").ok_or_else(unreadable)?;
    let mut held = Held::new();
    let mut rows = 0;
    // The first row has the titles.
    for row in table.split("<tr").skip(2) {
        let fields: Vec<_> = row
            .split("<td>")
            .skip(1)
            .map(|field| field.split("</td>").next().unwrap_or_default().trim())
            .collect();
        match fields[..] {
            [index, own, _, _, ..] if is_other(index, own, upstream) => {}
            [_, _, name, status, _, _, _, _] => hold(&mut held, name, status, &fields.join(" "))?,
            _ => return Err(unreadable()),
        }
        rows += 1;
    }
    if rows == number { Ok(held) } else { Err(unreadable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "0,app,127.0.0.1:18001,up,20,0,http,0\n1,app,127.0.0.1:18002,down,0,9,http,0\n2,other,127.0.0.1:18003,down,0,9,http,0\n";

    fn html() -> String {
        let rows: String = CSV.lines().fold(String::new(), |rows, line| {
            let cells: Vec<_> =
                line.split(',').map(|cell| format!("    <td>{cell}</td>\n")).collect();
            let colour = if line.contains(",down,") { " bgcolor=\"#FF0000\"" } else { "" };
            format!("{rows}  <tr{colour}>\n{}  </tr>\n", cells.concat())
        });
        format!(
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\n\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">\n\
             <html xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n  <title>Nginx http upstream check status</title>\n\
             </head>\n<body>\n<h1>Nginx http upstream check status</h1>\n\
             <h2>Check upstream server number: 3, generation: 1</h2>\n\
             <table style=\"background-color:white\" cellspacing=\"0\"        cellpadding=\"3\" border=\"1\">\n\
             \x20 <tr bgcolor=\"#C0C0C0\">\n    <th>Index</th>\n    <th>Upstream</th>\n    <th>Name</th>\n\
             \x20   <th>Status</th>\n  </tr>\n{rows}</table>\n</body>\n</html>\n"
        )
    }

    #[test]
    fn all_three_forms_say_the_same() {
        let json = r#"{"servers": {"total": 3, "generation": 1, "server": [
            {"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},
            {"index": 1, "upstream": "app", "name": "127.0.0.1:18002", "status": "down", "rise": 0, "fall": 9, "type": "http", "port": 0},
            {"index": 2, "upstream": "other", "name": "127.0.0.1:18003", "status": "down", "rise": 0, "fall": 9, "type": "http", "port": 0}]}}"#;
        for text in [json, CSV, &html()] {
            let held = parse(text, "App").expect("readable");
            let down: Vec<_> =
                held.iter().filter(|(_, down)| **down == Ok(true)).map(|(name, _)| name).collect();
            assert_eq!(down, ["127.0.0.1:18002"], "{text}");
            assert_eq!(held.get("127.0.0.1:18001"), Some(&Ok(false)), "{text}");
        }
    }

    #[test]
    fn odd_rows_affect_only_their_own_server() {
        let odd = format!("{CSV}3,other,unix:/x,odd,0\n4,app,127.0.0.1:18004,UP,20,0,http,0\n");
        let held = parse(&odd, "app").expect("readable");
        assert_eq!(held["127.0.0.1:18001"], Ok(false));
        assert_eq!(held["127.0.0.1:18002"], Ok(true));
        assert!(held["127.0.0.1:18004"].is_err(), "{held:?}");
        assert!(parse("no, such\n", "app").is_err());
    }

    #[test]
    fn unknown_form_and_incomplete_reply_are_errors() {
        let html = html();
        let (half, _) = html.split_once("<td>1</td>").expect("it is there");
        let one_less = html.replace("number: 3", "number: 4");
        for text in [
            "",
            " \n",
            "0,app,127.0.0.1:18001,up,20,0,http,0",
            "0,app,127.0.0.1:18001,up,20,0,http\n",
            "<html><body><h1>404 Not Found</h1></body></html>",
            half,
            &one_less,
            // With `&status=up`.
            r#"{"servers": {"total": 1, "generation": 1, "server": [{"index": 0, "upstream": "app", "name": "127.0.0.1:18001", "status": "up", "rise": 20, "fall": 0, "type": "http", "port": 0},]}}"#,
        ] {
            assert!(parse(text, "app").is_err(), "{text}");
        }
    }
}
