//! The runtime API: several commands on one line. Each answer is a block that ends with an empty line.

use std::borrow::Cow;
use std::time::Duration;

use super::name::is_name;
use super::servers::{Server, Servers, State, Why, Withheld};
use super::table::{Row, Table, cells, csv};
use crate::address;
use crate::gateway::query::{first, ok};
use crate::gateway::rotation::NotDone;
use crate::text;
use crate::world::Reply;

/// All commands of one query, so that the answers are of the same moment: our own level, the number of processes,
/// and the two lists with each server's administrative state, operational state and requests.
///
/// `quit` closes the connection to a master process, which otherwise waits for more: its answer then says what it is.
pub(super) fn question(backend: &str) -> [String; 5] {
    [
        "show cli level".into(),
        "show info".into(),
        format!("show servers state {backend}"),
        format!("show stat {backend} -1 -1"),
        QUIT.into(),
    ]
}

const QUIT: &str = "quit";

/// Commands as one line. A master process passes them to its worker one by one.
pub(super) fn line(commands: &[String], is_master: bool) -> String {
    if !is_master {
        return commands.join(";");
    }
    let to_worker = |command: &String| match command.as_str() {
        QUIT => None,
        command => Some(format!("@1 {command}")),
    };
    let commands: Vec<_> = commands.iter().filter_map(to_worker).collect();
    format!("{};{QUIT}", commands.join(";"))
}

/// The blocks of an answer to [`question`].
struct Blocks<'a> {
    level: &'a str,
    info: &'a str,
    state: &'a str,
    stat: &'a str,
}

fn blocks(text: &str) -> Result<Blocks<'_>, String> {
    let incomplete = || match text.trim() {
        "" => "an empty answer".to_owned(),
        text => format!("not an answer of the runtime API: {}", text::line(text, 100)),
    };
    let blocks = text.strip_suffix("\n\n").ok_or_else(incomplete)?;
    let blocks: Vec<&str> = blocks.split("\n\n").collect();
    match blocks[..] {
        [level, info, state, stat] => Ok(Blocks { level, info, state, stat }),
        // A program that only speaks like HAProxy may not know `quit`.
        [level, info, state, stat, quit] if is_unknown_command(quit) => {
            Ok(Blocks { level, info, state, stat })
        }
        _ => Err(incomplete()),
    }
}

fn is_unknown_command(said: &str) -> bool {
    said.starts_with("Unknown command")
}

/// Why a socket does not know `show info`, by the list of commands in its answer.
fn other_socket(answer: &str) -> &'static str {
    // Only a master knows `show proc`.
    if answer.contains("  show proc") {
        "this is the socket of HAProxy's master process, which has no servers: set `master: true`, or use a \
         `stats socket` of the worker"
    } else {
        "this is not the socket of HAProxy's master process: remove `master: true`"
    }
}

/// Reads the answer to [`question`].
pub(super) fn read(replies: &[Reply], backend: &str) -> Result<Servers, String> {
    let text = body(replies)?;
    let Blocks { info, state, stat, .. } = blocks(&text)?;
    let processes = info.lines().find_map(|line| line.strip_prefix("Nbproc: "));
    if is_unknown_command(info) {
        return Err(other_socket(&text).into());
    }
    if !info.starts_with("Name: ") {
        return Err(format!("not HAProxy's `show info`: {}", text::line(info, 100)));
    }
    if let Some(processes) = processes.filter(|processes| processes.trim() != "1") {
        let processes = text::line(processes, 20);
        return Err(format!(
            "HAProxy runs {processes} processes (nbproc), each with servers of its own: the answer is that of one process"
        ));
    }
    if [state, stat].iter().any(|said| ["Can't find backend.", "No such proxy."].contains(said)) {
        return Err(format!("there is no backend `{backend}`"));
    }
    let Some(("1", state)) = state.split_once('\n') else {
        return Err(format!("unknown form of `show servers state`: {}", text::line(state, 100)));
    };
    let words = |line: &str| cells(line.split_whitespace());
    let state = Table::new("`show servers state`", None, state.lines().map(words))?;
    if !state.has("srv_port") {
        let version = version(replies).unwrap_or_else(|| "this HAProxy".into());
        return Err(format!(
            "{version} does not show the ports of its servers: rollgate needs HAProxy 1.8 or newer"
        ));
    }
    let stat = Table::new("`show stat`", Some(backend), stat.lines().map(csv))?;
    let named = |name: &str| {
        let mut rows = stat.rows();
        rows.find(|row| row.text("pxname") == Ok(backend) && row.text("svname") == Ok(name))
    };
    let servers = state.rows().filter(|row| row.text("be_name") == Ok(backend));
    let servers = servers.map(|row| server(row, named(row.text("srv_name")?)));
    let all = servers.collect::<Result<_, String>>()?;
    let cookie = named("BACKEND").map(|row| row.text("cookie")).transpose()?;
    let is_sticky = cookie.is_some_and(|cookie| !cookie.is_empty());
    let age = info.lines().find_map(|line| line.strip_prefix("Uptime_sec: ")?.trim().parse().ok());
    Ok(Servers { all, is_sticky, age: age.map(Duration::from_secs) })
}

/// A server with a readable address. Its state may be unreadable.
fn server(state: Row<'_>, stat: Option<Row<'_>>) -> Result<Server, String> {
    let name = state.text("srv_name")?;
    let given = |column| state.text(column).map(|text| Some(text).filter(|text| *text != "-"));
    let (ip, host) = (given("srv_addr")?, given("srv_fqdn")?);
    let port = state.number("srv_port").map(Option::unwrap_or_default);
    // A Unix socket has no port, and is not a node.
    let port = port.unwrap_or_default();
    let known = [ip, host].into_iter().flatten().filter(|_| port != 0);
    Ok(Server {
        name: name.to_owned(),
        addresses: known
            .filter(|host| *host != "0.0.0.0")
            .map(|host| address::join(host, port))
            .collect(),
        is_hidden: false,
        record: record(state, host).map(|record| text::line(record, 120)),
        state: self::state(name, state, stat),
    })
}

/// The SRV record from which a server gets its address. HAProxy 1.8 only shows that the name of the server has
/// changed since the start (`SRV_ADMF_HMAINT`): DNS does that, or a command.
fn record<'a>(state: Row<'a>, host: Option<&'a str>) -> Option<&'a str> {
    match state.newer("srvrecord") {
        Some(record) => Some(record).filter(|record| *record != "-"),
        None => host.filter(|_| state.needed("srv_admin_state").is_ok_and(|bits| bits & 0x40 != 0)),
    }
}

fn state(name: &str, state: Row<'_>, stat: Option<Row<'_>>) -> Result<State, String> {
    if !is_name(name) {
        return Err(format!("`{}` is not the name of a server", text::line(name, 80)));
    }
    let stat =
        stat.ok_or_else(|| format!("`show stat` does not list server {}", text::line(name, 80)))?;
    let admin = state.needed("srv_admin_state")?;
    let has = |bits: u64| admin & bits != 0;
    let is_weightless = state.needed("srv_uweight")? == 0;
    let withheld = [
        (is_weightless, Withheld::Weight),
        (has(0x02 | 0x10), Withheld::Tracks),
        (has(0x20), Withheld::Unresolved),
    ];
    Ok(State {
        // SRV_ADMF_FMAINT; IMAINT and RMAINT. CMAINT (0x04) says that the configuration began with it, HMAINT
        // (0x40) that DNS gave its name at run time: servers with these flags do get requests.
        maint: why(has(0x01), has(0x02 | 0x20)),
        // SRV_ADMF_FDRAIN; IDRAIN.
        drain: why(has(0x08), has(0x10) || is_weightless),
        // SRV_ST_RUNNING; 0 is stopped, 1 is a slow start, 3 is stopping because of its check.
        runs: state.needed("srv_op_state")? == 2,
        withheld: withheld.into_iter().find_map(|(is_so, why)| is_so.then_some(why)),
        in_flight: stat.in_flight(),
    })
}

fn why(is_told: bool, follows: bool) -> Option<Why> {
    if is_told { Some(Why::Told) } else { follows.then_some(Why::Follows) }
}

/// Its name and version.
pub(super) fn version(replies: &[Reply]) -> Option<String> {
    let text = body(replies).ok()?;
    let info = blocks(&text).ok()?.info;
    let told = |key| info.lines().find_map(|line| line.strip_prefix(key));
    Some(text::line(&format!("{} {}", told("Name: ")?, told("Version: ")?), 60))
}

/// Returns an error if changes are not allowed, although everything can be read.
pub(super) fn may_write(replies: &[Reply]) -> Result<(), String> {
    let text = body(replies)?;
    match blocks(&text)?.level.trim() {
        "admin" => Ok(()),
        // HAProxy 1.8 does not show the level; it rejects a change without the permission.
        level if is_unknown_command(level) => Ok(()),
        level => Err(format!(
            "the socket has the level `{}`, and only `admin` may change a server: `stats socket … level admin`",
            text::line(level, 40)
        )),
    }
}

/// Reads the answer to a change. A successful change has an empty answer.
pub(super) fn is_done(replies: &[Reply]) -> Result<(), NotDone> {
    let text = body(replies).map_err(NotDone::Unknown)?;
    // An answer without any line is not an answer.
    match text.trim() {
        "" if text.ends_with('\n') => Ok(()),
        "" => Err(NotDone::Unknown("an empty answer".into())),
        "Permission denied" => Err(NotDone::Refused(
            "permission denied: the socket needs `level admin` to change a server".into(),
        )),
        said => Err(NotDone::Refused(format!("HAProxy says: {}", text::line(said, 160)))),
    }
}

fn body(replies: &[Reply]) -> Result<Cow<'_, str>, String> {
    let reply = first(replies)?;
    Ok(ok(reply)?.text())
}
