//! What `nginx_upstream_check_module` holds down, in each of its three forms: JSON, CSV, and the page for people.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::text;

/// By address: whether the module holds it down.
pub(super) type Held = BTreeMap<String, bool>;

/// Reads `check_status`, in whichever form, and returns which addresses of `upstream` it holds down.
pub(super) fn parse(text: &str, upstream: &str) -> Result<Held, String> {
    match text.trim_start().chars().next() {
        Some('{') => parse_json(text, upstream),
        Some('<') => parse_html(text, upstream),
        Some(_) => parse_csv(text, upstream),
        None => Err("check_status shows nothing".into()),
    }
}

/// One peer, by its fields as text.
fn hold(held: &mut Held, own: &str, upstream: &str, name: &str, status: &str) -> Option<()> {
    let down = match status {
        "up" => false,
        "down" => true,
        _ => return None,
    };
    if upstream.eq_ignore_ascii_case(own) {
        *held.entry(name.to_owned()).or_insert(false) |= down;
    }
    Some(())
}

fn parse_json(text: &str, upstream: &str) -> Result<Held, String> {
    #[derive(Deserialize)]
    struct Document {
        servers: Servers,
    }
    #[derive(Deserialize)]
    struct Servers {
        server: Vec<Server>,
    }
    #[derive(Deserialize)]
    struct Server {
        upstream: String,
        name: String,
        status: String,
    }
    let document: Document = serde_json::from_str(text).map_err(|error| {
        let why = text::line(&error.to_string(), 200);
        format!("check_status cannot be read as JSON: {why}")
    })?;
    let mut held = Held::new();
    for server in document.servers.server {
        if server.upstream.eq_ignore_ascii_case(upstream) {
            *held.entry(server.name).or_insert(false) |= server.status != "up";
        }
    }
    Ok(held)
}

/// `0,app,127.0.0.1:18001,up,20,0,http,0`: index, upstream, name, status, rise, fall, type, port.
fn parse_csv(text: &str, upstream: &str) -> Result<Held, String> {
    let mut held = Held::new();
    for line in text.split_inclusive('\n') {
        let unreadable =
            || format!("cannot read this line of check_status: {}", text::line(line, 100));
        let line = line.strip_suffix('\n').ok_or_else(unreadable)?;
        let fields: Vec<_> = line.split(',').collect();
        let [_, own, name, status, _, _, _, _] = fields[..] else { return Err(unreadable()) };
        hold(&mut held, upstream, own, name, status).ok_or_else(unreadable)?;
    }
    Ok(held)
}

/// A table whose rows have the same fields, and above it how many there are.
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
        let [_, own, name, status, _, _, _, _] = fields[..] else { return Err(unreadable()) };
        hold(&mut held, upstream, own, name, status).ok_or_else(unreadable)?;
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
                held.iter().filter(|(_, down)| **down).map(|(name, _)| name).collect();
            assert_eq!(down, ["127.0.0.1:18002"], "{text}");
            assert_eq!(held.get("127.0.0.1:18001"), Some(&false), "{text}");
        }
    }

    #[test]
    fn what_is_none_of_them_or_not_all_of_it_is_an_error() {
        let html = html();
        let (half, _) = html.split_once("<td>1</td>").expect("it is there");
        let one_less = html.replace("number: 3", "number: 4");
        for text in [
            "",
            " \n",
            "0,app,127.0.0.1:18001,up,20,0,http,0",
            "0,app,127.0.0.1:18001,up,20,0,http\n",
            "0,app,127.0.0.1:18001,UP,20,0,http,0\n",
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
