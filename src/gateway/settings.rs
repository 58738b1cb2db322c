//! What the playbook may say of a gateway, whatever its kind.

use std::collections::BTreeMap;
use std::fmt;

use crate::secret::{self, Secret};
use crate::template::Template;

/// Where the playbook has nodes marked, by the `type` of its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// Keys in Consul.
    ConsulKv,
    /// Maintenance mode of instances in Consul.
    ConsulService,
    /// The gateways' own APIs.
    Gateway,
}

impl RegistryKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::ConsulKv, Self::ConsulService, Self::Gateway];
}

impl fmt::Display for RegistryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ConsulKv => "consul-kv",
            Self::ConsulService => "consul-service",
            Self::Gateway => "gateway",
        })
    }
}

/// The keys of one kind of gateway.
pub trait Settings {
    /// What the playbook's rules need to know of these keys.
    fn facts(&self) -> SettingsFacts<'_>;

    /// Every value that may have names to fill in, by its key: [`templates!`] writes this method.
    fn templates(&mut self) -> Vec<(&'static str, &mut Template)>;

    /// What is wrong with the keys taken together. `known` tells whether a key's value is the file's own.
    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let _ = known;
        Vec::new()
    }
}

/// What the playbook's rules need to know of a gateway's keys.
#[derive(Debug, Clone, Default)]
pub struct SettingsFacts<'a> {
    /// Its `name`.
    pub name: Option<&'a str>,
    /// The key that tells where it is, and its value.
    pub place: (&'static str, &'a str),
    /// The key that tells on which machine it is reached by ssh, and its value.
    pub ssh: Option<(&'static str, &'a str)>,
    /// Addresses that must be nodes of the playbook, each with its key.
    pub addresses: Vec<(&'static str, &'a str)>,
    /// The registries under which it tells the requests in flight at a node, also when the node is out.
    pub counts_under: &'static [RegistryKind],
    /// Its servers cannot have IPv6 addresses.
    pub is_ipv4_only: bool,
    /// Consul is asked about it.
    pub asks_consul: bool,
    /// Values that are each one secret of the playbook, by their keys. They are not filled in: a driver takes the secret
    /// when it makes a request, by [`secret_of`].
    pub secrets: Vec<(&'static str, &'a Template)>,
    /// The registries that it cannot follow, each with the reason.
    pub incompatible_with: Vec<(RegistryKind, String)>,
}

/// Returns the registries that a gateway does not follow, where it follows `own` alone.
pub(super) fn follows_only(own: RegistryKind, why: &str) -> Vec<(RegistryKind, String)> {
    let others = RegistryKind::ALL.into_iter().filter(|kind| *kind != own);
    others.map(|other| (other, format!("{why}, not `{other}`"))).collect()
}

/// The secret that a value of a playbook names.
pub(super) fn secret_of(template: &Template) -> Option<Secret> {
    let (names, _) = template.names();
    let [(name, _)] = names.as_slice() else { return None };
    secret::named(name.strip_prefix("secrets.")?)
}

/// Something wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub helps: Vec<String>,
}

/// A value of a key that may hold templates.
pub(super) trait Fillable {
    fn each(&mut self) -> Vec<&mut Template>;
}

impl Fillable for Template {
    fn each(&mut self) -> Vec<&mut Template> {
        vec![self]
    }
}

impl<T: Fillable> Fillable for Option<T> {
    fn each(&mut self) -> Vec<&mut Template> {
        self.iter_mut().flat_map(Fillable::each).collect()
    }
}

impl<T: Fillable> Fillable for Vec<T> {
    fn each(&mut self) -> Vec<&mut Template> {
        self.iter_mut().flat_map(Fillable::each).collect()
    }
}

impl Fillable for BTreeMap<String, Template> {
    fn each(&mut self) -> Vec<&mut Template> {
        self.values_mut().collect()
    }
}

/// Writes [`Settings::templates`], from the fields that hold them; `field as "key"` where the names differ.
macro_rules! templates {
    ($($field:ident $(as $key:literal)?),+ $(,)?) => {
        fn templates(&mut self) -> Vec<(&'static str, &mut $crate::template::Template)> {
            use $crate::gateway::settings::{Fillable as _, key};
            let mut all = Vec::new();
            $(all.extend(self.$field.each().into_iter().map(|value| (key!($field $($key)?), value)));)+
            all
        }
    };
}

/// The key of a field.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(super) use {key, templates};
