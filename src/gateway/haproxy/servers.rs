//! The servers of a backend, wherever they were read.

use crate::gateway::{Peer, View};
use crate::playbook::HaproxyState;

/// How many servers an error names.
const NAMED: usize = 5;

/// What a backend shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    /// A cookie brings clients back to their server, drained or not.
    pub(super) is_sticky: bool,
}

/// One server, or one slot of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// `ip:port`, and `host:port` where it has a name. None: it is nowhere at the moment.
    pub(super) addresses: Vec<String>,
    /// The SRV record that gives it its address.
    pub(super) record: Option<String>,
    /// Why it is in maintenance, if it is: it gets no new requests at all.
    pub(super) maint: Option<Why>,
    /// Why it is drained, if it is: it gets no new requests but of clients that stick to it.
    pub(super) drain: Option<Why>,
    /// It can serve: its check passes, or it has none.
    pub(super) runs: bool,
    /// Requests at it, and those that wait for it.
    pub(super) in_flight: u64,
}

/// Why a server is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was told so.
    Told,
    /// It follows another server, its name cannot be resolved, or its weight is 0.
    Follows,
}

impl Server {
    /// Returns whether it was told to be out, in a state that is `out` enough.
    pub(super) fn is_told(&self, out: HaproxyState) -> bool {
        match out {
            HaproxyState::Drain => [self.maint, self.drain].contains(&Some(Why::Told)),
            HaproxyState::Maint => self.maint == Some(Why::Told),
        }
    }

    /// As a peer; `sticks` where clients may come back to a drained one. Such a one is neither out nor in.
    fn peer(&self, sticks: bool) -> Peer {
        let (in_maint, is_drained) = (self.maint.is_some(), self.drain.is_some());
        Peer {
            up: !in_maint && (!is_drained || sticks),
            held_down: !in_maint && ((is_drained && sticks) || !self.runs),
            in_flight: Some(self.in_flight),
        }
    }
}

impl Servers {
    pub(super) fn view(&self, sticks: bool) -> View {
        let mut view = View::default();
        for server in &self.all {
            for address in &server.addresses {
                view.add(address.clone(), server.peer(sticks));
            }
        }
        view
    }

    /// The only server at `address`.
    pub(super) fn only(&self, address: &str, backend: &str) -> Result<&Server, String> {
        let here = |server: &&Server| server.addresses.iter().any(|known| known == address);
        let found: Vec<_> = self.all.iter().filter(here).collect();
        match found.as_slice() {
            [server] => Ok(server),
            [] => {
                let known = self.all.iter().filter_map(|server| server.addresses.first());
                Err(format!(
                    "backend {backend} has no server at {address}; it has {}",
                    listed(known.map(String::as_str))
                ))
            }
            several => Err(format!(
                "backend {backend} has several servers at {address}: {}; which of them is the node is not known",
                listed(several.iter().map(|server| server.name.as_str()))
            )),
        }
    }
}

/// The first of some names.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let more = if names.len() > NAMED { " and others" } else { "" };
    if names.is_empty() {
        return "none".into();
    }
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

/// A table whose first line names its columns.
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads lines that were cut into cells; the first one begins with `# `.
    pub(super) fn new(
        what: &str,
        mut lines: impl Iterator<Item = Vec<String>>,
    ) -> Result<Self, String> {
        let mut columns = lines.next().unwrap_or_default();
        match columns.first_mut().and_then(|first| first.strip_prefix('#').map(str::to_owned)) {
            Some(first) => first.trim().clone_into(&mut columns[0]),
            None => return Err(format!("{what} does not begin with the names of its columns")),
        }
        if columns[0].is_empty() {
            columns.remove(0);
        }
        let rows: Vec<_> = lines.collect();
        match rows.iter().find(|row| row.len() != columns.len()) {
            None => Ok(Self { columns, rows }),
            Some(row) => Err(format!(
                "a line of {what} has {} where {} are named: {}",
                crate::text::count(row.len(), "cell"),
                columns.len(),
                crate::text::line(&row.join(" "), 80)
            )),
        }
    }

    /// Returns each row as a look-up by the name of a column.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }
}

/// One row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a [String],
    cells: &'a [String],
}

impl<'a> Row<'a> {
    /// The text in a column.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, String> {
        let place = self.columns.iter().position(|name| name == column);
        let cell = place.and_then(|place| self.cells.get(place));
        cell.map(String::as_str).ok_or_else(|| format!("there is no column `{column}`"))
    }

    /// The number in a column; an empty cell is none.
    pub(super) fn number(&self, column: &str) -> Result<u64, String> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|_| {
            format!("`{}` in column `{column}` is no number", crate::text::line(text, 40))
        })
    }
}

/// Cuts CSV as HAProxy writes it: a cell with a comma or a quote stands between quotes, in which quotes are doubled.
pub(super) fn csv(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut().expect("there is always a cell");
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    cells
}
