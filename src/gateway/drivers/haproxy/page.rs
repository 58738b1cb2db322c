//! The stats page: a list in CSV, and a form that changes a server.

use super::name::is_name;
use super::servers::{Server, Servers, State, Why, Withheld};
use super::table::{Row, Table, csv};
use crate::gateway::query::{Query, first, get, ok};
use crate::gateway::rotation::{NotDone, not_done};
use crate::secret::Secret;
use crate::text;
use crate::world::{Method, Reply, Request};

/// The `type` that distinguishes a server from frontends and backends.
const SERVER: u64 = 2;

/// The list.
pub(super) fn list(url: &str) -> Query {
    Query::Http(get(&format!("{url};csv")))
}

/// The HTML page. Only this page says how many processes there are.
pub(super) fn whole(url: &str) -> Query {
    Query::Http(get(url))
}

/// The form.
pub(super) fn action(url: &str, backend: &str, server: &str, action: &str) -> Query {
    let form = Secret::new("application/x-www-form-urlencoded");
    Query::Http(Request {
        method: Method::Post,
        headers: vec![("content-type".into(), form)],
        body: Some(format!("s={server}&action={action}&b={backend}").into_bytes()),
        ..get(url)
    })
}

/// Reads the list.
pub(super) fn read(replies: &[Reply], backend: &str) -> Result<Servers, String> {
    let reply = first(replies)?;
    let text = ok(reply)?.text();
    let table = Table::new(
        "the list in CSV",
        Some(backend),
        text.lines().filter(|line| !line.is_empty()).map(csv),
    )?;
    let mut servers = Servers::default();
    let mut is_there = false;
    for row in table.rows().filter(|row| row.text("pxname") == Ok(backend)) {
        is_there = true;
        if row.number("pid")?.is_some_and(|pid| pid > 1) {
            return Err(several_processes("several"));
        }
        if is_server(row)? {
            servers.all.push(server(row)?);
        }
    }
    if !is_there {
        return Err(format!("the stats page shows no backend `{backend}`"));
    }
    if !servers.all.is_empty() && servers.all.iter().all(|server| server.addresses.is_empty()) {
        return Err("the stats page shows no addresses: it needs `stats show-legends`".into());
    }
    Ok(servers)
}

/// Whether a row is a server's row. If it has no type, the name decides.
fn is_server(row: Row<'_>) -> Result<bool, String> {
    let name = row.text("svname")?;
    let own = !["FRONTEND", "BACKEND"].contains(&name);
    Ok(row.number("type")?.map_or(own, |kind| kind == SERVER))
}

/// A server with a readable address. Its state may be unreadable.
fn server(row: Row<'_>) -> Result<Server, String> {
    let (name, address) = (row.text("svname")?, row.text("addr")?);
    let addresses = Some(address.to_owned()).filter(|address| address.contains(':'));
    Ok(Server {
        name: name.to_owned(),
        addresses: addresses.into_iter().collect(),
        is_hidden: address.is_empty(),
        record: None,
        state: state(name, row),
    })
}

fn state(name: &str, row: Row<'_>) -> Result<State, String> {
    if !is_name(name) {
        return Err(format!("`{}` is not the name of a server", text::line(name, 80)));
    }
    let status = row.text("status")?;
    let word = status.split_whitespace().next().unwrap_or_default();
    // `MAINT (via a/b)` follows another server, `MAINT (resolution)` waits for DNS.
    let why = if status == "MAINT" { Why::Told } else { Why::Follows };
    let maint = (word == "MAINT").then_some(why);
    let drain = match word {
        "DRAIN" => Some(Why::Told),
        // A server in maintenance is out, whatever its weight.
        "MAINT" => None,
        _ => (row.needed("weight")? == 0).then_some(Why::Follows),
    };
    let runs = match word {
        "UP" | "MAINT" | "DRAIN" => true,
        "no" if status == "no check" => true,
        "DOWN" | "NOLB" => false,
        _ => return Err(format!("unknown status `{}`", text::line(status, 40))),
    };
    let withheld = match status {
        _ if row.number("weight").is_ok_and(|weight| weight == Some(0)) => Some(Withheld::Weight),
        "MAINT (resolution)" => Some(Withheld::Unresolved),
        via if via.starts_with("MAINT (via ") => Some(Withheld::Tracks),
        _ => None,
    };
    Ok(State { maint, drain, runs, withheld, in_flight: row.in_flight() })
}

/// Returns an error if the HTML page, the second reply, shows several processes.
pub(super) fn is_one_process(replies: &[Reply]) -> Result<(), String> {
    let [_, page, ..] = replies else { return Err("no reply".into()) };
    let text = ok(page)?.text();
    let told = text.split_once("nbproc = ").map(|(_, rest)| rest);
    let number = told.and_then(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next());
    match number {
        // Versions that no longer show the number have one process.
        None | Some("1") => Ok(()),
        Some(number) => Err(several_processes(&text::line(number, 20))),
    }
}

fn several_processes(number: &str) -> String {
    format!(
        "HAProxy runs {number} processes (nbproc), each with servers of its own: the answer is that of one process"
    )
}

/// Reads the result of the form. It is always a redirection, and its location has the result.
pub(super) fn is_done(replies: &[Reply]) -> Result<(), NotDone> {
    let reply = first(replies).map_err(NotDone::Unknown)?;
    let place = reply.header("location").filter(|_| reply.status == 303);
    let Some((_, told)) = place.and_then(|place| place.split_once(";st=")) else {
        return Err(match not_done(reply) {
            NotDone::Unknown(said) => NotDone::Unknown(format!("not the stats page: {said}")),
            other => other,
        });
    };
    match told.split([';', '&', '#']).next().unwrap_or_default() {
        // Nothing to change: the next read shows whether that is true.
        "DONE" | "NONE" => Ok(()),
        "DENY" => Err(NotDone::Refused(
            "the stats page does not allow changes: it needs `stats admin`".into(),
        )),
        "ERRP" => Err(NotDone::Refused(
            "the stats page rejected the change (ERRP); nothing was changed".into(),
        )),
        other => Err(NotDone::Unknown(format!("the stats page says {}", text::line(other, 20)))),
    }
}
