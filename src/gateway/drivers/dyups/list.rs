//! The servers of an nginx upstream: as dyups shows them, as a playbook gives them, and as they are posted.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::with_port;
use crate::text;

/// The values of a server that does not set them.
const DEFAULTS: [(&str, &str); 5] = [
    ("weight", "1"),
    ("max_conns", "0"),
    ("max_fails", "1"),
    ("fail_timeout", "10"),
    ("backup", "0"),
];

/// The longest list of one upstream that is read, in bytes. Its content takes many times its size in memory.
const LARGEST: usize = 1024 * 1024;

/// What a list without parameters means.
const BARE: &str = "its /detail shows addresses only, like dyups before 2016-03-23 and Tengine before 2.3.1, so it \
                    cannot be seen which servers are down: update the module";

fn too_large() -> String {
    format!("the list of the upstream is longer than {}", text::size(LARGEST as u64))
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Its `host:port`.
    pub(super) address: String,
    /// Whether it is marked down.
    pub(super) down: bool,
    /// Its other parameters, if they are not the default.
    pub(super) parameters: BTreeMap<String, String>,
}

/// An upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) servers: Vec<Server>,
    /// Other directives of the upstream, if the gateway shows them.
    pub(super) extras: Option<BTreeSet<String>>,
}

impl Server {
    /// Reads the text after the word `server`.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let mut words = words.split_whitespace();
        let address = with_port(words.next()?);
        let mut server = Self { address, down: false, parameters: BTreeMap::new() };
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, "1"));
            match name {
                "down" => server.down = value != "0",
                "fail_timeout" => server.set(name, seconds(value)),
                _ => server.set(name, value.to_owned()),
            }
        }
        server
            .parameters
            .retain(|name, value| !DEFAULTS.contains(&(name.as_str(), value.as_str())));
        Some(server)
    }

    fn set(&mut self, name: &str, value: String) {
        self.parameters.insert(name.to_owned(), value);
    }

    /// Its parameters without its address, for people.
    pub(super) fn described(&self) -> String {
        let words = self.parameters.iter().map(|(name, value)| match name.as_str() {
            "backup" => name.clone(),
            _ => format!("{name}={value}"),
        });
        let words = words.collect::<Vec<_>>().join(" ");
        if words.is_empty() { "no parameters".into() } else { text::line(&words, 100) }
    }
}

/// nginx's time in seconds, if it is in a plain form.
fn seconds(time: &str) -> String {
    let minutes = time.strip_suffix('m').and_then(|minutes| minutes.parse::<u32>().ok());
    match minutes.and_then(|minutes| minutes.checked_mul(60)) {
        Some(seconds) => seconds.to_string(),
        None => time.strip_suffix('s').unwrap_or(time).to_owned(),
    }
}

/// Splits nginx's statements. Each becomes one line with single blanks.
pub(super) fn statements(text: &str) -> impl Iterator<Item = String> + '_ {
    let inline = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(';').map(inline).filter(|statement| !statement.is_empty())
}

/// The names of the upstreams in an answer of either version.
pub(super) fn names(shown: &str) -> impl Iterator<Item = &str> {
    let lines = shown.lines().filter(|line| !line.is_empty() && !line.contains(';'));
    let lines = lines.filter(|line| !line.starts_with("server ") && *line != "}");
    lines.map(|line| line.strip_prefix("upstream ").unwrap_or(line).trim_end_matches(" {"))
}

impl List {
    /// Reads `GET /detail` of the classic version: the upstream with this name, or `None` if it is missing.
    pub(super) fn parse_detail(text: &str, upstream: &str) -> Result<Option<Self>, String> {
        let mut found = None;
        let mut inside = None;
        let mut size = 0;
        for line in text.split_inclusive('\n') {
            let unreadable =
                || format!("cannot read this line of /detail: {}", text::line(line, 100));
            // A line that was cut off contains less than it did.
            let whole = line.strip_suffix('\n').ok_or_else(unreadable)?;
            match (inside.take(), whole.strip_prefix("server ")) {
                (None, None) if whole.is_empty() => return Err(unreadable()),
                (None, None) => inside = Some((whole == upstream).then(Self::default)),
                (Some(None), None) if whole.is_empty() => {}
                (Some(None), _) => inside = Some(None),
                (Some(Some(list)), None) if whole.is_empty() => found = Some(list),
                (None, Some(_)) | (Some(Some(_)), None) => return Err(unreadable()),
                (Some(Some(mut list)), Some(words)) => {
                    size += words.len();
                    if size > LARGEST {
                        return Err(too_large());
                    }
                    if !words.contains(' ') {
                        return Err(BARE.into());
                    }
                    let shows_down =
                        words.split(' ').any(|word| word == "down=0" || word == "down=1");
                    let server = Server::parse(words).filter(|_| shows_down);
                    list.servers.push(server.ok_or_else(unreadable)?);
                    inside = Some(Some(list));
                }
            }
        }
        match inside {
            None if !text.is_empty() => Ok(found),
            // Without any upstream the answer would be 204.
            _ => Err("/detail was cut off".into()),
        }
    }

    /// Reads `GET /list` since 2020-04: what was posted for the upstream with this name, or `None` if it is
    /// missing.
    pub(super) fn parse_posted(text: &str, upstream: &str) -> Result<Option<Self>, String> {
        let mut rest = text;
        let mut found = None;
        loop {
            let unreadable =
                || format!("cannot read this part of /list: {}", text::line(rest, 100));
            let block = rest.strip_prefix("upstream ").and_then(|block| block.split_once(" {\n"));
            let (name, block) = block.ok_or_else(unreadable)?;
            let (posted, after) = block.split_once("\n}\n").ok_or_else(unreadable)?;
            if name == upstream {
                found = Some(Self::parse_statements(posted)?);
            }
            rest = after;
            if rest.is_empty() {
                return Ok(found);
            }
        }
    }

    fn parse_statements(posted: &str) -> Result<Self, String> {
        if posted.len() > LARGEST {
            return Err(too_large());
        }
        let unreadable =
            |part: &str| format!("cannot read this part of /list: {}", text::line(part, 100));
        if posted.contains(['{', '}', '#', '"', '\'']) || !posted.trim_end().ends_with(';') {
            return Err(unreadable(posted));
        }
        let mut list = Self::default();
        let mut extras = BTreeSet::new();
        for statement in statements(posted) {
            match statement.strip_prefix("server ") {
                Some(words) => {
                    list.servers.push(Server::parse(words).ok_or_else(|| unreadable(&statement))?);
                }
                None => {
                    extras.insert(statement);
                }
            }
        }
        list.extras = Some(extras);
        Ok(list)
    }
}
