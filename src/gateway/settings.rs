//! What the playbook can say about a gateway of any kind.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::guess::{GatewayAddress, Guess};
use crate::secret::{self, Secret};
use crate::template::Template;

/// Where the playbook marks nodes, by the `type` of its registry.
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
    /// What the playbook's rules need to know about these keys.
    fn facts(&self) -> SettingsFacts<'_>;

    /// Every value that can have names to fill in, by its key. [`templates!`] writes this method.
    fn templates(&mut self) -> Vec<(&'static str, &mut Template)>;

    /// What the keys may be at an address, for upstreams with one of these names. The first that shows the nodes is right.
    #[must_use]
    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess>
    where
        Self: Sized,
    {
        let _ = (address, names);
        Vec::new()
    }

    /// The problems of the keys in combination. `known` says whether a key's value is from the file.
    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let _ = known;
        Vec::new()
    }
}

/// What the playbook's rules need to know about a gateway's keys.
#[derive(Debug, Clone, Default)]
pub struct SettingsFacts<'a> {
    /// Its `name`.
    pub name: Option<&'a str>,
    /// The key with the gateway's location, and its value.
    pub place: (&'static str, &'a str),
    /// The key with the ssh destination of its machine, and its value.
    pub ssh: Option<(&'static str, &'a str)>,
    /// Addresses that must be nodes of the playbook, each with its key.
    pub addresses: Vec<(&'static str, &'a str)>,
    /// The registries under which it reports the requests in flight at a node, also if the node is out.
    pub counts_under: &'static [RegistryKind],
    /// Its servers cannot have IPv6 addresses.
    pub is_ipv4_only: bool,
    /// The file with the authorities for its certificate.
    pub ca: Option<&'a Path>,
    /// rollgate asks Consul about it.
    pub asks_consul: bool,
    /// Values that are each one secret of the playbook, by their keys. They are not filled in: a driver reads the
    /// secret with [`secret_of`] when it makes a request.
    pub secrets: Vec<(&'static str, &'a Template)>,
    /// The registries that it cannot follow, each with the reason.
    pub incompatible_with: Vec<(RegistryKind, String)>,
}

/// Returns the registries that a gateway cannot follow, if it follows only `own`.
pub(super) fn follows_only(own: RegistryKind, why: &str) -> Vec<(RegistryKind, String)> {
    let others = RegistryKind::ALL.into_iter().filter(|kind| *kind != own);
    others.map(|other| (other, format!("{why}, not `{other}`"))).collect()
}

/// The secret that a playbook's value names.
pub(super) fn secret_of(template: &Template) -> Option<Secret> {
    let (names, _) = template.names();
    let [(name, _)] = names.as_slice() else { return None };
    secret::named(name.strip_prefix("secrets.")?)
}

/// A problem with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The key.
    pub key: &'static str,
    /// The problem.
    pub message: String,
    /// What to do.
    pub helps: Vec<String>,
}

/// Returns the issue of a file's path that is known and not absolute.
pub(super) fn not_absolute(key: &'static str, path: &Template) -> Option<Issue> {
    let is_relative = path.fixed().is_some_and(|path| !path.starts_with('/'));
    is_relative.then(|| Issue {
        key,
        message: format!("`{key}` is not an absolute path"),
        helps: vec!["start it with `/`".into()],
    })
}

/// A value of a key that can contain templates.
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

/// Writes [`Settings::templates`] from the fields with templates. `field as "key"` if the names differ.
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
