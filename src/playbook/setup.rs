//! An entry of `gateways`: the keys of its kind, and its own registry.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Gateway, Playbook, Registry};

/// The key of a gateway's own registry. No kind of gateway has a key with this name.
const REGISTRY: &str = "registry";

/// What this key is for.
const DESCRIPTION: &str = "Where nodes are marked for this gateway, in place of the playbook's `registry`. A node is \
                           marked in every registry of the playbook.";

/// A gateway, and the registry that it follows.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySetup {
    /// The gateway.
    pub gateway: Gateway,
    /// Its own registry. Default: the playbook's.
    pub registry: Option<Registry>,
}

impl Serialize for GatewaySetup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(registry) = &self.registry else { return self.gateway.serialize(serializer) };
        let mut keys = serde_json::to_value(&self.gateway).map_err(S::Error::custom)?;
        keys[REGISTRY] = serde_json::to_value(registry).map_err(S::Error::custom)?;
        keys.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GatewaySetup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Map::deserialize(deserializer)?;
        let registry = keys.remove(REGISTRY).map(serde_json::from_value).transpose();
        let gateway = serde_json::from_value(Value::Object(keys)).map_err(D::Error::custom)?;
        Ok(Self { gateway, registry: registry.map_err(D::Error::custom)? })
    }
}

/// The schema of every kind, each with the key of its own registry.
impl JsonSchema for GatewaySetup {
    fn schema_name() -> Cow<'static, str> {
        Gateway::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::GatewaySetup").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut registry = generator.subschema_for::<Registry>();
        registry.insert("description".to_owned(), DESCRIPTION.into());
        let mut schema = Gateway::json_schema(generator);
        let kinds = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        for kind in kinds.into_iter().flatten() {
            kind["properties"][REGISTRY] = registry.clone().to_value();
        }
        schema
    }
}

impl Playbook {
    /// The registry that a gateway follows, with its key: its own, or the playbook's.
    #[must_use]
    pub fn registry_of(&self, gateway: usize) -> Option<(String, &Registry)> {
        let own = self.gateways.get(gateway).and_then(|setup| setup.registry.as_ref());
        match own {
            Some(own) => Some((format!("gateways[{gateway}].registry"), own)),
            None => Some(("registry".to_owned(), self.registry.as_ref()?)),
        }
    }

    /// Returns whether every gateway reports the requests in flight at a node that its registry has taken out.
    #[must_use]
    pub fn all_count(&self) -> bool {
        (0..self.gateways.len()).all(|index| self.counts(index))
    }

    /// Returns whether a gateway reports the requests in flight at a node that its registry has taken out.
    #[must_use]
    pub fn counts(&self, gateway: usize) -> bool {
        let kind = self.registry_of(gateway).map(|(_, registry)| registry.kind());
        let setup = self.gateways.get(gateway);
        setup.zip(kind).is_some_and(|(setup, kind)| setup.gateway.counts_under(kind))
    }

    /// Every registry with its key, in the order of the file: the playbook's own, then those of gateways.
    pub fn registries(&self) -> impl Iterator<Item = (String, &Registry)> {
        let common = self.registry.iter().map(|registry| ("registry".to_owned(), registry));
        let own = self.gateways.iter().enumerate().filter_map(|(index, setup)| {
            Some((format!("gateways[{index}].registry"), setup.registry.as_ref()?))
        });
        common.chain(own)
    }
}
