//! Consul KV, as nginx-upsync reads it: a node's key has a JSON value with `down`.
//!
//! A write changes one field. It is a compare-and-set on the value that was read, so changes by another writer in
//! the meantime survive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::switch::{
    Error, Look, Rights, States, StoredKey, Switch, WRITE_PATIENCE, WriteToken, Written,
};
use crate::consul::{self, Client, Entry, KvWrite, SessionFence};
use crate::mark::Mark;
use crate::registry::value::parameters;
use crate::registry::{is_down, with_down};
use crate::spec::Spec;
use crate::text;
use crate::world::World;

/// The nodes' keys below one prefix.
#[derive(Debug)]
pub(super) struct Kv<W> {
    client: Arc<Client<W>>,
    prefix: String,
}

/// Says that a node has no key.
#[must_use]
pub fn no_key(key: &str) -> String {
    format!("Consul has no key {key}")
}

/// Says that no node has a key.
#[must_use]
pub fn no_key_below(prefix: &str) -> String {
    format!("Consul has no key below {prefix}, or the token may not read it")
}

impl<W: World> Kv<W> {
    /// The keys below `prefix`.
    pub(super) fn new(client: Arc<Client<W>>, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }

    fn key(&self, address: &str) -> String {
        format!("{}{address}", self.prefix)
    }

    pub(super) async fn look(&self, spec: &Spec) -> Result<States, String> {
        let entries = self.client.kv_list(&self.prefix).await.map_err(|error| error.to_string())?;
        if entries.is_empty() {
            return Err(no_key_below(&self.prefix));
        }
        let entries = Entries::of(&entries);
        let looks = spec.nodes.iter().map(|node| {
            let own = self.key(&node.address);
            let look = match entries.keys.get(own.as_str()) {
                None => Err(no_key(&own)),
                Some(entry) => match entries.double(&own, &node.address) {
                    Some(problem) => Err(problem),
                    None => switch(entry).map(|switch| {
                        let parameters = parameters(&entry.value);
                        let Switch { original: value, modify_index, mark, .. } = switch;
                        let stored = Some(StoredKey { value, modify_index });
                        Look { parameters, stored, ..mark.into() }
                    }),
                },
            };
            (node.name.clone(), look)
        });
        Ok(looks.collect())
    }

    pub(super) async fn read(&self, address: &str) -> Result<Switch, Error> {
        let key = self.key(address);
        let entry = self.client.kv_get(&key).await.map_err(|error| Error::of(&error, None))?;
        let entry =
            entry.ok_or_else(|| Error::Gone(format!("Consul has no key {key} any more")))?;
        switch(&entry).map_err(Error::Failed)
    }

    pub(super) async fn write(
        &self,
        guard: &SessionFence,
        entry: &Entry,
        down: bool,
    ) -> Result<Written, Error> {
        let value = with_down(&entry.value, down);
        let value = value.map_err(|error| Error::Failed(format!("{}: {error}", entry.key)))?;
        let client = self.client.with_patience(WRITE_PATIENCE);
        let written = client.kv_compare_and_set(Some(guard), entry, value.as_bytes()).await;
        match written {
            Ok(KvWrite::Done(modify_index)) => Ok(Written::Done(modify_index)),
            Ok(KvWrite::Conflict) => Ok(Written::Conflict),
            Ok(KvWrite::NotHeld) => Ok(Written::NotHeld),
            Err(error) => Err(Error::of(&error, None)),
        }
    }

    /// Checks whether the keys of the nodes at `addresses` may be written; writes nothing.
    pub(super) async fn may_write(
        &self,
        addresses: &BTreeSet<&str>,
    ) -> Result<Rights, consul::Error> {
        let entries = self.client.kv_list(&self.prefix).await?;
        let keys: BTreeSet<_> = addresses.iter().map(|address| self.key(address)).collect();
        let entries: Vec<_> = entries.iter().filter(|entry| keys.contains(&entry.key)).collect();
        self.client.kv_may_write(&entries).await?;
        let read: BTreeSet<_> = entries.iter().map(|entry| &entry.key).collect();
        let unread: Vec<_> = keys.iter().filter(|key| !read.contains(key)).cloned().collect();
        let it = if unread.len() == 1 { "it" } else { "them" };
        Ok(if unread.is_empty() {
            Rights::Keys(vec![self.key("<address>")])
        } else {
            Rights::Unread(format!(
                "whether the token may write {} is unknown: Consul does not have {it}, or the token may not read {it}",
                unread.join(", ")
            ))
        })
    }
}

/// The state in a key, if the key can be changed.
fn switch(entry: &Entry) -> Result<Switch, String> {
    let down = is_down(&entry.value)
        .and_then(|down| with_down(&entry.value, !down).map(|_| down))
        .map_err(|error| format!("{}: {error}", entry.key))?;
    Ok(Switch {
        name: entry.key.clone(),
        mark: Mark::of(down),
        absent: None,
        strangers: BTreeSet::new(),
        original: String::from_utf8_lossy(&entry.value).into_owned(),
        modify_index: entry.modify_index,
        token: WriteToken::Key(entry.clone()),
    })
}

/// The keys below a prefix, found by the part that gateways read: the part after the last slash.
struct Entries<'a> {
    keys: BTreeMap<&'a str, &'a Entry>,
    /// The keys that end with a text, in Consul's order.
    named: BTreeMap<&'a str, Vec<&'a str>>,
    /// The keys that end with an address, in any spelling.
    placed: BTreeMap<Place, Vec<&'a str>>,
}

impl<'a> Entries<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let (mut keys, mut named) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        let mut placed: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in entries {
            let key = entry.key.as_str();
            let name = key.rsplit('/').next().unwrap_or_default();
            keys.insert(key, entry);
            named.entry(name).or_default().push(key);
            if let Some(place) = place(name) {
                placed.entry(place).or_default().push(key);
            }
        }
        Self { keys, named, placed }
    }

    /// The keys that gateways can take for the node at an address, each once.
    fn alike(&self, address: &str) -> BTreeSet<&'a str> {
        let named = self.named.get(address);
        let placed = place(address).and_then(|place| self.placed.get(&place));
        named.into_iter().chain(placed).flatten().copied().collect()
    }

    /// Says how a key other than its own affects the node at an address.
    fn double(&self, own: &str, address: &str) -> Option<String> {
        let key = self.alike(address).into_iter().find(|key| *key != own)?;
        let other = text::line(key, 120);
        Some(if key.rsplit('/').next() == Some(address) {
            format!(
                "{other} is a second entry for the same address and would keep it routed; delete this key"
            )
        } else {
            format!(
                "{other} is another spelling of the same address, and nginx-upsync would lose both: delete this key"
            )
        })
    }
}

/// An IPv4 address as its numbers, and a port.
type Place = (Vec<u16>, u16);

/// Reads `IPv4:port` as nginx does, which accepts leading zeros.
fn place(text: &str) -> Option<Place> {
    let number = |digits: &str| {
        let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| is_plain)
    };
    let (host, port) = text.split_once(':')?;
    let host: Vec<u16> = host.split('.').map(number).collect::<Option<_>>()?;
    Some((host, number(port)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry {
        Entry { key: key.to_owned(), value: Vec::new(), flags: 0, modify_index: 1, session: None }
    }

    #[test]
    fn each_node_is_compared_with_its_own_keys_only() {
        let address = |node: usize| format!("10.0.{}.{}:80", node / 250, node % 250);
        let entries: Vec<Entry> = (0..2000).map(|node| entry(&address(node))).collect();
        let found = Entries::of(&entries);
        let compared: usize = (0..2000).map(|node| found.alike(&address(node)).len()).sum();
        assert_eq!(compared, 2000);
    }

    /// Measured: a key in a subfolder was routed to while the node was down; of two keys with different zeros, both
    /// disappeared.
    #[test]
    fn every_key_that_gateways_read_as_the_same_node_is_found() {
        for (key, address, why) in [
            ("upstreams/app/blue/1.2.3.4:80", "1.2.3.4:80", Some("would keep it routed")),
            ("upstreams/app/meta/1.2.3.4:80", "1.2.3.4:80", Some("would keep it routed")),
            ("upstreams/app/127.0.0.1:018001", "127.0.0.1:18001", Some("would lose both")),
            ("upstreams/app/127.00.0.001:18001", "127.0.0.1:18001", Some("would lose both")),
            ("upstreams/app/127.0.0.1:18002", "127.0.0.1:18001", None),
            ("upstreams/app/127.0.0.2:18001", "127.0.0.1:18001", None),
            // A name that is not an address is not a server.
            ("upstreams/app/127.0.0.1:+18001", "127.0.0.1:18001", None),
            ("upstreams/app/127.0.0.1:18001/", "127.0.0.1:18001", None),
            ("upstreams/app/app-1:18001", "127.0.0.1:18001", None),
            ("upstreams/app/[::1]:18001", "127.0.0.1:18001", None),
            ("upstreams/app/", "127.0.0.1:18001", None),
        ] {
            let entries = [entry(key)];
            let told = Entries::of(&entries).double("upstreams/app/own", address);
            assert_eq!(told.is_some(), why.is_some(), "{key}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(told.contains(why.unwrap_or_default()), "{told}");
        }
    }
}
