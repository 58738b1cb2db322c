//! Five nodes behind one gateway, for the tests of reports.

use crate::playbook::load_text;
use crate::release::Inputs;
use crate::spec::Spec;

/// The spec of five nodes, of which three must stay.
pub(super) fn spec() -> Spec {
    let nodes = (1..=5).map(|number| {
        format!("{{ name: app-{number}, ssh: local, address: '10.0.1.{number}:80' }}")
    });
    let text = format!(
        "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
nodes: [{}]
stop: stop-it
start: start-it
health: {{ tcp: '${{{{ node.address }}}}' }}
strategy: {{ min_available: 3 }}",
        nodes.collect::<Vec<_>>().join(", ")
    );
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
}
