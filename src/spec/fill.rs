//! Fills in the names in the parts of a playbook.

use std::path::Path;
use std::time::Duration;

use crate::consul::with_scheme;
use crate::gateway::GatewaySpec;
use crate::node::{ARCHIVES, Layout, Packing};
use crate::playbook::{
    CommandSpec, GatewaySetup, HttpCheckSettings, HttpMethod, InFlight, Names, On, Playbook,
    Registry, StepSpec, Template, TemplateError,
};
use crate::release::{Inputs, Step};
use crate::template::Sealed;
use crate::world::{Host, Method, Trust};

use super::gateway::RegistrySpec;
use super::health::{CountSpec, HealthSpec, HttpCheck, IdentityPlace, IdentitySpec, NumberPlace};
use super::node::{Action, ArtifactSpec, HookSpec, NodeSpec};
use super::shell::Shell;

/// The time limit of a command when the playbook has none.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The default address of Consul's HTTP API, on its own machine only.
const AGENT_ON_NODE: &str = "http://127.0.0.1:8500";

/// A template that cannot be filled in, with its place in the playbook.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {error}")]
pub struct SpecError {
    /// Key path in the playbook.
    pub path: String,
    /// What is wrong.
    pub error: TemplateError,
}

/// Fills in templates and reports the place of one that cannot be filled in.
pub(super) struct Filler<'a> {
    pub(super) names: &'a Names,
    /// Where relative paths begin.
    pub(super) folder: &'a Path,
}

impl Filler<'_> {
    pub(super) fn fill(&self, path: &str, template: &Template) -> Result<String, SpecError> {
        template.fill(self.names).map_err(|error| SpecError { path: path.into(), error })
    }

    fn seal(&self, path: &str, template: &Template) -> Result<Sealed, SpecError> {
        template.seal(self.names).map_err(|error| SpecError { path: path.into(), error })
    }

    fn template(&self, path: &str, template: &Template) -> Result<Template, SpecError> {
        self.fill(path, template).map(Template::new)
    }

    fn option(&self, path: &str, template: Option<&Template>) -> Result<Option<String>, SpecError> {
        template.map(|template| self.fill(path, template)).transpose()
    }

    /// The gateways, and the registries that they follow, each once.
    pub(super) fn gateways(
        &self,
        playbook: &Playbook,
    ) -> Result<(Vec<RegistrySpec>, Vec<GatewaySpec>), SpecError> {
        let nodes: Vec<_> = playbook.nodes.iter().map(|node| node.address.clone()).collect();
        let (mut registries, mut gateways) = (Vec::new(), Vec::new());
        for (index, GatewaySetup { gateway, .. }) in playbook.gateways.iter().enumerate() {
            let (path, registry) = playbook.registry_of(index).ok_or_else(no_registry)?;
            let own = self.registry(&path, registry)?;
            let path = format!("gateways[{index}]");
            let mut settings = gateway.clone();
            for (key, template) in settings.settings_mut().templates() {
                *template = self.template(&format!("{path}.{key}"), template)?;
            }
            let name = gateway.display_name().to_owned();
            let ca = gateway.settings().facts().ca.map(|ca| self.folder.join(ca));
            let registry = registries.iter().position(|other| *other == own);
            let registry = registry.unwrap_or_else(|| {
                registries.push(own);
                registries.len() - 1
            });
            let (trust, nodes) = (Trust::of(ca), nodes.clone());
            gateways.push(GatewaySpec { name, settings, trust, nodes, registry });
        }
        Ok((registries, gateways))
    }

    fn registry(&self, path: &str, registry: &Registry) -> Result<RegistrySpec, SpecError> {
        Ok(match registry {
            Registry::ConsulKv { prefix } => {
                RegistrySpec::ConsulKv { prefix: self.fill(&format!("{path}.prefix"), prefix)? }
            }
            Registry::ConsulService { service, maintenance, .. } => RegistrySpec::ConsulService {
                service: self.fill(&format!("{path}.service"), service)?,
                extent: *maintenance,
            },
            Registry::Gateway {} => RegistrySpec::Gateway,
        })
    }

    pub(super) fn artifact(
        &self,
        settings: &crate::playbook::Artifact,
        inputs: &Inputs,
    ) -> Result<ArtifactSpec, SpecError> {
        let file = inputs.folder.join(self.fill("artifact.source", &settings.source)?);
        Ok(ArtifactSpec {
            packing: Packing::of(&file, settings.unpack),
            file,
            expected: self
                .option("artifact.sha256", settings.sha256.as_ref())?
                .map(|sha256| sha256.to_ascii_lowercase()),
            digest: inputs.artifact.clone(),
            keep: settings.keep,
        })
    }

    fn shell(&self, path: &str, command: &CommandSpec, sudo: bool) -> Result<Shell, SpecError> {
        Ok(Shell {
            run: self.fill(path, &command.run)?,
            timeout: command.timeout.map_or(COMMAND_TIMEOUT, |period| period.0),
            sudo: command.sudo.unwrap_or(sudo),
        })
    }

    pub(super) fn node(
        &self,
        playbook: &Playbook,
        node: &crate::playbook::Node,
        steps: &[StepSpec],
        artifact: Option<&ArtifactSpec>,
    ) -> Result<NodeSpec, SpecError> {
        let host = Host::of(Some(&node.ssh));
        let layout = match (&playbook.artifact, artifact) {
            (Some(settings), Some(artifact)) => {
                Some(self.layout(settings, artifact, &node.address)?)
            }
            _ => None,
        };
        let on_failure = playbook.hooks.on_failure.as_ref().map(|hook| {
            let host = match hook.on {
                On::Node => host.clone(),
                On::Local => Host::Local,
            };
            let sudo = playbook.ssh.sudo && hook.on == On::Node;
            let run = self.fill("hooks.on_failure.run", &hook.run)?;
            Ok(HookSpec { command: Shell { run, timeout: hook.timeout.0, sudo }, host })
        });
        let (agent, agent_on_node) = self.agent(playbook, node)?;
        Ok(NodeSpec {
            name: node.display_name().to_owned(),
            address: node.address.clone(),
            agent,
            agent_on_node,
            tags: node.tags.clone(),
            steps: self.actions(steps, playbook.ssh.sudo)?,
            layout,
            health: self.health(&playbook.health, playbook.ssh.sudo)?,
            in_flight: self.count(playbook)?,
            on_failure: on_failure.transpose()?,
            host,
        })
    }

    /// The Consul agent that owns a node's instances, if it is named, and whether the node itself asks it.
    fn agent(
        &self,
        playbook: &Playbook,
        node: &crate::playbook::Node,
    ) -> Result<(Option<String>, bool), SpecError> {
        // Several registries of this kind have the same agents.
        let found = playbook.registries().find_map(|(path, registry)| match registry {
            Registry::ConsulService { agent, agent_on, .. } => Some((path, agent, *agent_on)),
            Registry::ConsulKv { .. } | Registry::Gateway {} => None,
        });
        let Some((path, agent, agent_on)) = found else { return Ok((None, false)) };
        let own = self.option(&format!("{}.agent", node.display_name()), node.agent.as_ref())?;
        let told = match own {
            Some(own) => Some(own),
            None => self.option(&format!("{path}.agent"), agent.as_ref())?,
        };
        let is_on_node = agent_on == On::Node;
        let told = told.map(|agent| with_scheme(&agent, false));
        Ok((told.or_else(|| is_on_node.then(|| AGENT_ON_NODE.to_owned())), is_on_node))
    }

    fn layout(
        &self,
        settings: &crate::playbook::Artifact,
        artifact: &ArtifactSpec,
        node: &str,
    ) -> Result<Layout, SpecError> {
        let file = artifact.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_archive = !matches!(artifact.packing, Packing::File(_));
        let archive = ARCHIVES.iter().find_map(|(ending, _)| file.strip_suffix(ending));
        let archive = archive.filter(|_| is_archive);
        let sha256 = artifact.digest.as_ref().map_or("", |digest| digest.sha256.as_str());
        let stem = archive.unwrap_or(&file);
        Ok(Layout {
            releases: self.fill("artifact.releases", &settings.releases)?,
            current: self.fill("artifact.current", &settings.current)?,
            name: format!("{stem}-{}", sha256.get(..8).unwrap_or_default()),
            sha256: sha256.to_owned(),
            packing: artifact.packing.clone(),
            node: node.to_owned(),
        })
    }

    /// The playbook's steps, with `disable` before `confirm_out` and each `run` numbered.
    fn actions(&self, steps: &[StepSpec], sudo: bool) -> Result<Vec<Action>, SpecError> {
        let mut actions = Vec::new();
        let mut runs = 0;
        for (index, spec) in steps.iter().enumerate() {
            let path = format!("steps[{index}]");
            let (step, command) = match spec {
                StepSpec::ConfirmOut => {
                    actions.push(Action { step: Step::Disable, command: None });
                    (Step::ConfirmOut, None)
                }
                StepSpec::Drain => (Step::Drain, None),
                StepSpec::Stop(command) => (Step::Stop, command.as_ref()),
                StepSpec::Activate => (Step::Activate, None),
                StepSpec::Start(command) => (Step::Start, command.as_ref()),
                StepSpec::Restart(command) => (Step::Restart, command.as_ref()),
                StepSpec::Run(command) => {
                    runs += 1;
                    (Step::Run(runs), Some(command))
                }
                StepSpec::Health => (Step::Health, None),
                StepSpec::Enable => (Step::Enable, None),
                StepSpec::ConfirmIn => (Step::ConfirmIn, None),
            };
            let command = command.map(|command| self.shell(&path, command, sudo)).transpose()?;
            actions.push(Action { step, command });
        }
        Ok(actions)
    }

    fn health(
        &self,
        health: &crate::playbook::Health,
        sudo: bool,
    ) -> Result<HealthSpec, SpecError> {
        let http = health.http.as_ref().map(|check| self.http_check(&check.0));
        let identity = health.identity.as_ref().map(|identity| {
            let place = match (&identity.header, &identity.pointer) {
                (Some(header), _) => IdentityPlace::Header(header.to_ascii_lowercase()),
                (None, pointer) => IdentityPlace::Pointer(pointer.clone().unwrap_or_default()),
            };
            Ok(IdentitySpec {
                place,
                equals: self.fill("health.identity.equals", &identity.equals)?,
            })
        });
        let run = health.run.as_ref().map(|command| self.shell("health.run", command, sudo));
        Ok(HealthSpec {
            http: http.transpose()?,
            tcp: self.option("health.tcp", health.tcp.as_ref().map(|check| &check.0))?,
            run: run.transpose()?,
            consul: self
                .option("health.consul", health.consul.as_ref().map(|check| &check.service))?,
            identity: identity.transpose()?,
            interval: health.interval.0,
            timeout: health.timeout.0,
            rise: health.rise,
            fall: health.fall,
            min_healthy_time: health.min_healthy_time.0,
            deadline: health.deadline.0,
        })
    }

    fn http_check(&self, check: &HttpCheckSettings) -> Result<HttpCheck, SpecError> {
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        let named = check.headers.iter().find(|(name, _)| is_host(name)).map(|(_, host)| host);
        let host = check.host.as_ref().or(named);
        let headers = check.headers.iter().filter(|(name, _)| !is_host(name));
        let headers = headers.map(|(name, value)| {
            Ok((name.clone(), self.seal(&format!("health.http.headers.{name}"), value)?))
        });
        let login = check.basic_auth.as_ref().map(|login| {
            let user = self.fill("health.http.basic_auth.user", &login.user)?;
            Ok((user, self.seal("health.http.basic_auth.password", &login.password)?))
        });
        Ok(HttpCheck {
            method: match check.method {
                HttpMethod::Get => Method::Get,
                HttpMethod::Head => Method::Head,
                HttpMethod::Options => Method::Options,
                HttpMethod::Post => Method::Post,
                HttpMethod::Put => Method::Put,
            },
            url: self.fill("health.http", &check.url)?,
            headers: headers.collect::<Result<_, _>>()?,
            host: self.option("health.http.host", host)?,
            login: login.transpose()?,
            trust: Trust {
                ca: check.ca.as_ref().map(|ca| self.folder.join(ca)),
                insecure: check.insecure,
            },
            follow_redirects: check.follow_redirects,
            expect: check.expect.clone(),
            body: self.option("health.http.body", check.body.as_ref())?,
        })
    }

    fn count(&self, playbook: &Playbook) -> Result<CountSpec, SpecError> {
        let idle = crate::playbook::Sockets::default().idle.0;
        Ok(match &playbook.drain.in_flight {
            Some(InFlight::Http(metric)) => CountSpec::Metric {
                url: self.fill("drain.in_flight.http.url", &metric.url)?,
                trust: Trust::of(metric.ca.as_ref().map(|ca| self.folder.join(ca))),
                number: match (&metric.pointer, &metric.pattern) {
                    (Some(pointer), _) => NumberPlace::Pointer(pointer.clone()),
                    (None, pattern) => NumberPlace::Pattern(pattern.clone().unwrap_or_default()),
                },
            },
            Some(InFlight::Sockets(sockets)) => CountSpec::Sockets(sockets.idle.0),
            Some(InFlight::Gateways) => CountSpec::Gateways { or_sockets: None },
            None if playbook.all_count() => CountSpec::Gateways { or_sockets: Some(idle) },
            None => CountSpec::Sockets(idle),
        })
    }
}

/// A gateway has no registry. The rules of playbooks refuse this.
fn no_registry() -> SpecError {
    let path = "registry".to_owned();
    SpecError { error: TemplateError::Unknown { name: path.clone(), at: 0..0 }, path }
}
