//! The peers that an active check of nginx holds down, as its status page shows them: `check_status` of
//! `nginx_upstream_check_module` and of Tengine, and `healthcheck_status` of `ngx_healthcheck_module`. Each has JSON,
//! CSV and an HTML page; Tengine since 2.3.3 and `ngx_healthcheck_module` since 2020-06 also have Prometheus' form.

use std::collections::BTreeMap;

use crate::json;
use crate::text;

/// By address: whether the module holds it down, or why that cannot be read.
pub(super) type Held = BTreeMap<String, Result<bool, String>>;

/// Reads the status page in any form, and returns which addresses of `upstream` it holds down.
pub(super) fn parse(text: &str, upstream: &str) -> Result<Held, String> {
    match text.trim_start().chars().next() {
        Some('{') => parse_json(text, upstream),
        Some('<') => parse_html(text, upstream),
        Some('#') => parse_prometheus(text, upstream),
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

/// The lists of servers: the first is that of the modules for `http` only.
const LISTS: [&str; 3] = ["/servers/server", "/servers/http", "/servers/stream"];

fn parse_json(text: &str, upstream: &str) -> Result<Held, String> {
    let refused = |why: String| format!("check_status cannot be read as JSON: {why}");
    let document = json::document(text.as_bytes()).map_err(refused)?;
    let mut held = Held::new();
    let mut has_list = false;
    for list in LISTS {
        let Some(servers) = json::at(document, list).map_err(refused)? else { continue };
        has_list = true;
        for server in json::list(servers).map_err(refused)? {
            let [own, name, status] =
                json::fields(server, ["upstream", "name", "status"]).map_err(refused)?;
            let own = json::string(own);
            if own.as_ref().is_some_and(|own| !own.eq_ignore_ascii_case(upstream)) {
                continue;
            }
            let name = json::string(name).filter(|_| own.is_some());
            let name = name.ok_or_else(|| unreadable(server.get()))?;
            let status = json::string(status).unwrap_or_default();
            hold(&mut held, &name, &status, server.get())?;
        }
    }
    if has_list { Ok(held) } else { Err(refused("it has no list of servers".into())) }
}

/// Where a row has what matters.
#[derive(Clone, Copy)]
struct Columns {
    upstream: usize,
    name: usize,
    status: usize,
    /// How many there are.
    all: usize,
}

impl Columns {
    /// Index, upstream, name, status, rise, fall, type, port.
    const UNTITLED: Self = Self { upstream: 1, name: 2, status: 3, all: 8 };

    /// Finds the columns by their titles, which differ between the modules and their versions.
    fn titled(titles: &[&str]) -> Result<Self, String> {
        let find = |names: [&str; 2]| {
            let found = titles.iter().position(|title| names.contains(title));
            found.ok_or_else(|| format!("check_status has no column `{}`", names[0]))
        };
        Ok(Self {
            upstream: find(["Upstream", "upstream_name"])?,
            name: find(["Name", "host"])?,
            status: find(["Status", "status"])?,
            all: titles.len(),
        })
    }

    /// Adds a row. One of another upstream is ignored, whatever else it contains.
    fn read(self, row: &[&str], upstream: &str, held: &mut Held) -> Result<(), String> {
        let shown = || row.join(",");
        let own = row.get(self.upstream).filter(|_| row.len() > 3 && row[0].parse::<u32>().is_ok());
        if own.is_some_and(|own| !own.eq_ignore_ascii_case(upstream)) {
            return Ok(());
        }
        match (row.get(self.name), row.get(self.status)) {
            (Some(name), Some(status)) if row.len() == self.all => {
                hold(held, name, status, &shown())
            }
            _ => Err(unreadable(&shown())),
        }
    }
}

/// `0,app,127.0.0.1:18001,up,20,0,http,0`, or with a line of titles above.
fn parse_csv(text: &str, upstream: &str) -> Result<Held, String> {
    let mut held = Held::new();
    let mut columns = Columns::UNTITLED;
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').ok_or_else(|| unreadable(line))?;
        let row: Vec<_> = line.split(',').collect();
        if row[0] == "index" {
            columns = Columns::titled(&row)?;
        } else {
            columns.read(&row, upstream, &mut held)?;
        }
    }
    Ok(held)
}

/// One or two tables, each with the number of its rows above it.
fn parse_html(text: &str, upstream: &str) -> Result<Held, String> {
    let unreadable = || "check_status cannot be read as its page".to_owned();
    let text = text.trim_end().strip_suffix("</html>").ok_or_else(unreadable)?;
    let mut parts = text.split("<table");
    let mut above = parts.next().unwrap_or_default();
    let mut held = Held::new();
    let mut tables = 0;
    for part in parts {
        let number = number_of_rows(above).ok_or_else(unreadable)?;
        let (table, below) = part.split_once("</table>").ok_or_else(unreadable)?;
        let mut rows = table.split("<tr").skip(1);
        let titles = cells(rows.next().unwrap_or_default(), "<th>", "</th>");
        let columns = Columns::titled(&titles)?;
        let mut read = 0;
        for row in rows {
            columns.read(&cells(row, "<td>", "</td>"), upstream, &mut held)?;
            read += 1;
        }
        if read != number {
            return Err(unreadable());
        }
        above = below;
        tables += 1;
    }
    if tables > 0 { Ok(held) } else { Err(unreadable()) }
}

/// `number: 3, generation: 1`, or `total: 3`.
fn number_of_rows(above: &str) -> Option<usize> {
    let (_, number) = ["server number: ", "total: "].iter().find_map(|it| above.split_once(it))?;
    number.split([',', '\n']).next()?.parse().ok()
}

fn cells<'a>(row: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let inner = |cell: &'a str| cell.split(end).next().unwrap_or_default().trim();
    row.split(begin).skip(1).map(inner).collect()
}

/// Prometheus' form: `nginx_upstream_server_active{index="0",upstream="app",name="127.0.0.1:18001",…} 1`, and the
/// number of all servers.
fn parse_prometheus(text: &str, upstream: &str) -> Result<Held, String> {
    let incomplete = || "check_status shows not all servers in Prometheus' form".to_owned();
    let mut held = Held::new();
    let (mut all, mut read) = (None, 0);
    for line in text.split_inclusive('\n') {
        let unreadable = || unreadable(line);
        if let Some(number) = line.strip_prefix("nginx_upstream_count_total ") {
            all = Some(number.trim_end().parse::<usize>().map_err(|_| unreadable())?);
        }
        let Some(line) = line.strip_prefix("nginx_upstream_server_active{") else { continue };
        let (labels, active) = line.split_once("} ").ok_or_else(unreadable)?;
        let label = |name: &str| {
            let mut values = labels.split(',').filter_map(|label| label.split_once('='));
            let (_, value) = values.find(|(known, _)| *known == name)?;
            value.strip_prefix('"')?.strip_suffix('"')
        };
        let own = label("upstream").ok_or_else(unreadable)?;
        read += 1;
        if !own.eq_ignore_ascii_case(upstream) {
            continue;
        }
        let status = match active {
            "1\n" => "up",
            "0\n" => "down",
            _ => active,
        };
        hold(&mut held, label("name").ok_or_else(unreadable)?, status, line)?;
    }
    if all == Some(read) { Ok(held) } else { Err(incomplete()) }
}

#[cfg(test)]
mod tests;
