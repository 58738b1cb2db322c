//! Consul KV, as nginx-upsync reads it: a node's key has a JSON value with `down`.
//!
//! A write changes one field. It is a compare-and-set on the value as it was read, so that whatever somebody
//! else wrote meanwhile survives.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Basis, Error, Looks, Switch, Written};
use crate::consul::{self, Client, Entry, Guard, KvWrite};
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

impl<W: World> Kv<W> {
    /// The keys below `prefix`.
    pub(super) fn new(client: Arc<Client<W>>, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }

    fn key(&self, address: &str) -> String {
        format!("{}{address}", self.prefix)
    }

    pub(super) async fn look(&self, spec: &Spec) -> Result<Looks, String> {
        let entries = self.client.kv_list(&self.prefix).await.map_err(|error| error.to_string())?;
        if entries.is_empty() {
            let prefix = &self.prefix;
            return Err(format!("Consul has no key below {prefix}, or the token may not read it"));
        }
        let looks = spec.nodes.iter().map(|node| {
            let own = self.key(&node.address);
            let same_address = |key: &str| key.rsplit('/').next() == Some(node.address.as_str());
            let double = entries.iter().find(|entry| entry.key != own && same_address(&entry.key));
            let entry = entries.iter().find(|entry| entry.key == own);
            let look = match (entry, double) {
                (None, _) => Err(format!("Consul has no key {own}")),
                (Some(_), Some(double)) => {
                    let other = text::line(&double.key, 120);
                    Err(format!(
                        "{other} is a second entry for the same address and would keep it routed"
                    ))
                }
                (Some(entry), None) => switch(entry).map(|switch| switch.down),
            };
            (node.name.clone(), look)
        });
        Ok(looks.collect())
    }

    pub(super) async fn read(&self, address: &str) -> Result<Switch, Error> {
        let key = self.key(address);
        let entry = self.client.kv_get(&key).await.map_err(|error| failed(&error))?;
        let entry =
            entry.ok_or_else(|| Error::Gone(format!("Consul has no key {key} any more")))?;
        switch(&entry).map_err(Error::Failed)
    }

    pub(super) async fn write(
        &self,
        guard: &Guard,
        entry: &Entry,
        down: bool,
    ) -> Result<Written, Error> {
        let value = with_down(&entry.value, down);
        let value = value.map_err(|error| Error::Failed(format!("{}: {error}", entry.key)))?;
        let written = self.client.kv_compare_and_set(Some(guard), entry, value.as_bytes()).await;
        match written {
            Ok(KvWrite::Done(modify_index)) => Ok(Written::Done(modify_index)),
            Ok(KvWrite::Conflict) => Ok(Written::Conflict),
            Ok(KvWrite::NotHeld) => Ok(Written::NotHeld),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Asks whether the keys of the nodes at `addresses` may be written; writes nothing.
    pub(super) async fn may_write(&self, addresses: &BTreeSet<&str>) -> Result<(), consul::Error> {
        let entries = self.client.kv_list(&self.prefix).await?;
        let address = |entry: &Entry| entry.key.strip_prefix(&self.prefix).map(ToOwned::to_owned);
        let wanted =
            |entry: &&Entry| address(entry).is_some_and(|address| addresses.contains(&*address));
        let entries: Vec<_> = entries.iter().filter(wanted).collect();
        self.client.kv_may_write(&entries).await
    }
}

/// What a key says, if it can be turned.
fn switch(entry: &Entry) -> Result<Switch, String> {
    let down = is_down(&entry.value)
        .and_then(|down| with_down(&entry.value, !down).map(|_| down))
        .map_err(|error| format!("{}: {error}", entry.key))?;
    Ok(Switch {
        name: entry.key.clone(),
        down: Some(down),
        original: String::from_utf8_lossy(&entry.value).into_owned(),
        modify_index: entry.modify_index,
        basis: Basis::Key(entry.clone()),
    })
}

fn failed(error: &consul::Error) -> Error {
    match error {
        consul::Error::Unknown(_) => Error::Unknown(error.to_string()),
        _ => Error::Failed(error.to_string()),
    }
}
