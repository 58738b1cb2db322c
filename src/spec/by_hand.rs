//! The playbook filled in for `node out` and `node in`, which deploy and start nothing.

use crate::playbook::{Playbook, StepSpec};
use crate::release::Inputs;

use super::fill::SpecError;
use super::resolved::Spec;
use super::restart::with_open;

/// Fills in the playbook for a change by hand. A value that only a release needs may be missing.
///
/// # Errors
///
/// When the change needs a value that is not known.
pub fn by_hand(playbook: &Playbook, inputs: &Inputs) -> Result<Spec, SpecError> {
    let mut bare = playbook.clone();
    (bare.artifact, bare.health.identity) = (None, None);
    (bare.stop, bare.start, bare.restart) = (None, None, None);
    bare.steps = Some(vec![StepSpec::ConfirmOut, StepSpec::Drain, StepSpec::Health]);
    // Fails if a needed value is missing.
    Spec::new(&bare, inputs)?;
    Spec::new(playbook, &with_open(playbook, inputs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;

    #[test]
    fn only_values_that_the_change_needs_are_required() {
        let text = |path: &str| {
            format!(
                "service: app
variables: {{ version: {{ required: true }} }}
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
nodes: [{{ ssh: a, address: '10.0.1.1:80' }}, {{ ssh: b, address: '10.0.1.2:80' }}]
artifact: {{ source: 'app-${{{{ version }}}}.tar.gz', releases: /srv/r, current: /srv/current }}
stop: stop-it
start: 'start-it ${{{{ version }}}}'
health: {{ http: 'http://${{{{ node.address }}}}/{path}', identity: {{ header: x-version, equals: '${{{{ version }}}}' }} }}"
            )
        };
        let filled = |path| {
            let loaded = load_text("app.yaml", text(path));
            let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
            by_hand(&loaded.playbook, &Inputs::default())
        };
        assert!(filled("ping").is_ok());
        let error = filled("${{ version }}").expect_err("the check needs it").to_string();
        assert!(error.contains("health") && error.contains("version"), "{error}");
    }
}
