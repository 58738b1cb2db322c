//! Instances of a service as Consul lists them, read leniently: Consul accepts registrations with any port and
//! address, and one of them must not hide the others. An entry that cannot be a node is not an instance here.

use serde_json::value::RawValue;

use crate::address;
use crate::json;
use crate::text;

/// The name of the check that maintenance of an instance adds. The instance's id follows.
pub(super) const INSTANCE_MAINTENANCE: &str = "_service_maintenance:";

/// The name of the check that maintenance of an agent adds.
pub(super) const NODE_MAINTENANCE: &str = "_node_maintenance";

/// The most instances of one service.
const MOST: usize = 50_000;

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id, unique at its agent.
    pub id: String,
    /// The name of the agent's node.
    pub node: String,
    /// The address of the agent's node.
    pub node_address: String,
    /// `host:port` of the instance.
    pub address: String,
}

/// The kind of an entry in a list.
enum Entry {
    Instance(Instance),
    /// It has an address that a node cannot have.
    NoNode,
    /// It is not an entry of such a list.
    Malformed,
}

impl Instance {
    /// Reads an answer of `/v1/health/service`.
    ///
    /// # Errors
    ///
    /// If it is not such a list.
    pub fn of_health(body: &[u8]) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        read(body, of_health, |instance, _| {
            found.push(instance);
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads an answer of `/v1/catalog/service`.
    pub(super) fn of_catalog(body: &[u8]) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        read(body, of_catalog, |instance, _| {
            found.push(instance);
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads from an answer of `/v1/health/service` whether an instance at an address passes all its own checks.
    pub(super) fn passes(body: &[u8], address: &str) -> Result<bool, String> {
        let mut found = false;
        read(body, of_health, |instance, entry| {
            found = found || (address::same(&instance.address, address) && passes(entry)?);
            Ok(())
        })?;
        Ok(found)
    }
}

/// Passes on each instance of a list with its entry, without keeping Consul's other data about it.
fn read<'a>(
    body: &'a [u8],
    entry_of: impl Fn(&'a RawValue) -> Result<Entry, String>,
    mut take: impl FnMut(Instance, &'a RawValue) -> Result<(), String>,
) -> Result<(), String> {
    let unreadable = |why: &str| format!("not a list of instances: {}", text::line(why, 120));
    let listed = json::document(body).map_err(|problem| unreadable(&problem))?;
    if !json::is_list(listed) {
        return Err(unreadable(listed.get()));
    }
    let mut first = None;
    let mut is_list = false;
    let mut count = 0;
    json::each(listed, |_, entry| {
        first.get_or_insert(entry);
        // Instances of other nodes are kept while their agents are asked.
        count += 1;
        if count > MOST {
            return Err(format!("it lists more than {MOST} instances"));
        }
        match entry_of(entry)? {
            Entry::Instance(instance) => {
                is_list = true;
                take(instance, entry)
            }
            Entry::NoNode => {
                is_list = true;
                Ok(())
            }
            Entry::Malformed => Ok(()),
        }
    })?;
    // A list with only such entries is another kind of answer.
    match first {
        Some(first) if !is_list => Err(unreadable(first.get())),
        _ => Ok(()),
    }
}

fn of_catalog(entry: &RawValue) -> Result<Entry, String> {
    let names = ["ServiceID", "Node", "Address", "ServiceAddress", "ServicePort"];
    let [id, node, address, own, port] = json::fields(entry, names)?;
    Ok(instance(id, [node, address], own, port))
}

fn of_health(entry: &RawValue) -> Result<Entry, String> {
    let [node, service] = json::fields(entry, ["Node", "Service"])?;
    let (Some(node), Some(service)) = (node, service) else { return Ok(Entry::Malformed) };
    let [id, own, port] = json::fields(service, ["ID", "Address", "Port"])?;
    Ok(instance(id, json::fields(node, ["Node", "Address"])?, own, port))
}

/// An instance without its own address has that of its node.
fn instance(
    id: Option<&RawValue>,
    [node, node_address]: [Option<&RawValue>; 2],
    own: Option<&RawValue>,
    port: Option<&RawValue>,
) -> Entry {
    let text = |raw: Option<&RawValue>| json::string(raw).unwrap_or_default().into_owned();
    let (own, node_address) = (text(own), text(node_address));
    let number = |port: &RawValue| json::typed::<i64>(port).ok();
    let port =
        port.and_then(|port| number(port).or_else(|| json::string(Some(port))?.parse().ok()));
    let Some(port) = port else { return Entry::Malformed };
    match u16::try_from(port) {
        Ok(port @ 1..) if !own.is_empty() || !node_address.is_empty() => {
            Entry::Instance(Instance {
                id: text(id),
                node: text(node),
                address: place(&own, &node_address, port),
                node_address,
            })
        }
        _ => Entry::NoNode,
    }
}

/// The address of an instance. It is its node's address if the instance has none.
pub(super) fn place(own: &str, node: &str, port: u16) -> String {
    address::join(if own.is_empty() { node } else { own }, port)
}

/// Whether all checks of an entry pass, except maintenance. An instance without checks passes.
fn passes(entry: &RawValue) -> Result<bool, String> {
    let [checks] = json::fields(entry, ["Checks"])?;
    let Some(checks) = checks.filter(|checks| !json::is_null(checks)) else { return Ok(true) };
    if !json::is_list(checks) {
        return Ok(false);
    }
    let mut pass = true;
    json::each(checks, |_, check| {
        let [id, status] = json::fields(check, ["CheckID", "Status"])?;
        let id = json::string(id).unwrap_or_default();
        let is_maintenance = id == NODE_MAINTENANCE || id.starts_with(INSTANCE_MAINTENANCE);
        pass &= is_maintenance || json::string(status).as_deref() == Some("passing");
        Ok(())
    })?;
    Ok(pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = r#"{"Node":{"Node":"n1","Address":"10.0.1.1"},"Service":{"ID":"app-1","Address":"","Port":80},"Checks":[{"CheckID":"c","Status":"passing"}]}"#;

    /// As Consul 1.8.7 and later list odd registrations.
    const ODD: [&str; 9] = [
        r#"{"Node":{"Node":"n2","Address":"10.0.1.2"},"Service":{"ID":"x","Address":"","Port":-1},"Checks":[]}"#,
        r#"{"Node":{"Node":"n2","Address":"10.0.1.2"},"Service":{"ID":"x","Address":"","Port":0},"Checks":null}"#,
        r#"{"Node":{"Node":"n2","Address":"10.0.1.2"},"Service":{"ID":"x","Address":"","Port":65536}}"#,
        r#"{"Node":{"Node":"n2","Address":""},"Service":{"ID":"x","Address":"","Port":80}}"#,
        r#"{"Node":{"Node":"n2","Address":"10.0.1.2"},"Service":{"ID":"x","Address":"/run/app.sock","Port":0},"Checks":[{"Status":null}]}"#,
        r#"{"Node":null,"Service":{"ID":null,"Address":null,"Port":80}}"#,
        r#"{"Node":{}}"#,
        "null",
        "7",
    ];

    #[test]
    fn entry_that_cannot_be_a_node_does_not_hide_others() {
        for odd in ODD {
            for body in [format!("[{odd},{NODE}]"), format!("[{NODE},{odd}]")] {
                let found = Instance::of_health(body.as_bytes()).expect(odd);
                let addresses: Vec<_> = found.iter().map(|found| found.address.as_str()).collect();
                assert_eq!(addresses, ["10.0.1.1:80"], "{odd}");
                assert_eq!(Instance::passes(body.as_bytes(), "10.0.1.1:80"), Ok(true), "{odd}");
            }
        }
        let catalog = r#"[{"Node":"n","Address":"10.0.1.1","ServiceID":"a","ServiceAddress":"","ServicePort":80},
            {"Node":"n","Address":"10.0.1.1","ServiceID":"b","ServiceAddress":"","ServicePort":-1},
            {"Node":"n","Address":"10.0.1.1","ServiceID":"c","ServiceAddress":"fd00::1","ServicePort":80},{}]"#;
        let found = Instance::of_catalog(catalog.as_bytes()).expect("readable");
        let addresses: Vec<_> = found.iter().map(|found| found.address.as_str()).collect();
        assert_eq!(addresses, ["10.0.1.1:80", "[fd00::1]:80"]);
    }

    #[test]
    fn list_without_any_instance_entry_is_refused() {
        for body in ["", "{}", "null", "<html>", r#"[{"Node":{}}]"#, "[7,null]"] {
            assert!(Instance::of_health(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(Instance::of_health(b"[]"), Ok(Vec::new()));
        let only_odd = format!("[{}]", ODD[0]);
        assert_eq!(Instance::of_health(only_odd.as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn a_check_that_cannot_be_read_does_not_pass() {
        for (checks, passing) in [
            ("null", true),
            ("[]", true),
            (r#"[{"CheckID":"_node_maintenance","Status":"critical"}]"#, true),
            (r#"[{"CheckID":"c","Status":"warning"}]"#, false),
            (r#"[{"CheckID":"c","Status":null}]"#, false),
            ("[7]", false),
            ("{}", false),
        ] {
            let body = NODE.replace(r#"[{"CheckID":"c","Status":"passing"}]"#, checks);
            let passes = Instance::passes(format!("[{body}]").as_bytes(), "10.0.1.1:80");
            assert_eq!(passes, Ok(passing), "{checks}");
        }
    }
}
