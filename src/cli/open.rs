//! From arguments to what a command works with: the playbook, its variables, the world, Consul.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::output::Refusal;
use super::secrets::Secrets;
use super::{Exit, Global, PlaybookArguments, signals, variables};
use crate::consul::{Client, Settings, tls_from_environment, token_of};
use crate::diagnostic::Problem;
use crate::journal;
use crate::json::Written;
use crate::next::Repeated;
use crate::playbook::{HostKeys, Loaded, Misplaced, Playbook, Template, misplaced};
use crate::release::Inputs;
use crate::release::Started;
use crate::release::Target;
use crate::secret;
use crate::spec::{Spec, release_names, spec_of_release};
use crate::world::{Live, LiveSettings};

/// How many nodes are connected to at the same time.
const CONNECTIONS: usize = 32;

/// Stands for a value that nobody has given and nothing depends on.
const OPEN: &str = "?";

/// What to do when a required variable has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Refuse.
    Refuse,
    /// Take it from the last release, or refuse.
    FromLast,
    /// Take it from the last release, or leave it open: nothing is changed.
    Open,
}

/// A playbook with everything that it needs.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) loaded: Loaded,
    pub(super) file: PathBuf,
    pub(super) inputs: Inputs,
    pub(super) state: PathBuf,
    /// What nodes ran before the release, and what a rollback brings them to.
    pub(super) before: Vec<Target>,
    pub(super) toward: Vec<Target>,
    /// The state folder as it was asked for.
    state_dir: Option<PathBuf>,
    pub(super) secrets: Secrets,
}

/// The world behind a playbook.
pub(super) struct Reach {
    pub(super) world: Arc<Live>,
    pub(super) consul: Arc<Client<Live>>,
    is_shared: bool,
}

/// Reads a playbook and says every problem of it.
pub(super) fn load(file: &Path, global: &Global) -> Result<Loaded, Refusal> {
    crate::playbook::load(file).map_err(|invalid| Refusal::invalid(invalid, global))
}

impl Reach {
    /// Consul, where the playbook has to do with it: what operators share is there.
    pub(super) fn shared(&self) -> Option<&Client<Live>> {
        self.is_shared.then_some(self.consul.as_ref())
    }

    /// The same for what is only asked in passing.
    pub(super) fn shared_in_passing(&self, patience: Duration) -> Option<Client<Live>> {
        self.shared().map(|consul| consul.with_patience(patience))
    }
}

impl Opened {
    pub(super) fn new(
        arguments: &PlaybookArguments,
        global: &Global,
        missing: Missing,
    ) -> Result<Self, Refusal> {
        let loaded = load(&arguments.file, global)?;
        let folder = arguments.file.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if folder.to_str().is_none() {
            let problem =
                format!("the path of the playbook's folder is not UTF-8: {}", folder.display());
            return Err(Refusal::new(Exit::INVALID, problem).hint("journals name it: move it"));
        }
        let secrets = Secrets::read(&loaded.playbook, &folder)?;
        let state = global.state_dir.clone().unwrap_or_else(|| folder.join(".rollgate"));
        let state = state.join(&loaded.playbook.service);
        let mut variables = variables::given(arguments, &loaded.playbook)?;
        let mut unused = BTreeMap::new();
        if missing != Missing::Refuse
            && let Some(last) = last_started(&state)
        {
            for (name, value) in last.inputs.each(&loaded.playbook, &BTreeMap::new()) {
                match value {
                    Ok(value) => drop(variables.entry(name.to_owned()).or_insert(value)),
                    Err(why) => drop(unused.insert(name.to_owned(), why)),
                }
            }
        }
        if missing == Missing::Open {
            for (name, variable) in &loaded.playbook.variables {
                if variable.required {
                    variables.entry(name.clone()).or_insert_with(|| OPEN.into());
                }
            }
        }
        let is_open = missing == Missing::Open;
        let mut problems = variables::wrong(&loaded, &variables, &unused, is_open);
        problems.extend(secrets.misplaced(&loaded, &variables));
        if !problems.is_empty() {
            return Err(Refusal::invalid(loaded.invalid(problems), global));
        }
        // Eight hex digits: short enough to type, and unlike any other in a service's history.
        let release = format!("{:08x}", fastrand::u32(..));
        let inputs = Inputs { release, folder, variables, artifact: None };
        let state_dir = global.state_dir.clone();
        Ok(Self {
            loaded,
            file: arguments.file.clone(),
            inputs,
            state,
            state_dir,
            before: Vec::new(),
            toward: Vec::new(),
            secrets,
        })
    }

    /// The playbook for the journal.
    pub(super) fn written(&self) -> Written {
        serde_json::to_value(&self.loaded.playbook).unwrap_or_default().into()
    }

    /// The same with another playbook.
    pub(super) fn with_playbook(&self, playbook: Playbook) -> Self {
        let mut other = self.clone();
        other.loaded.playbook = playbook;
        other
    }

    /// The command line that does `command` with the same playbook and variables.
    pub(super) fn command(&self, command: &str) -> String {
        self.repeated().command(command, [])
    }

    /// What suggested commands repeat.
    pub(super) fn repeated(&self) -> Repeated {
        let state = self.state_dir.iter();
        let state = state.flat_map(|folder| ["--state-dir".into(), folder.display().to_string()]);
        let variables = self.given().map(|(name, value)| (name.clone(), value.clone()));
        Repeated {
            file: self.file.display().to_string(),
            arguments: state.collect(),
            variables: variables.collect(),
        }
    }

    /// The variables without those that were left open, which are for the operator to fill in.
    fn given(&self) -> impl Iterator<Item = (&String, &String)> {
        self.inputs.variables.iter().filter(|(_, value)| *value != OPEN)
    }

    /// Fills in every name; in a rollback, for what each node ran before.
    pub(super) fn spec(&self) -> Result<Arc<Spec>, Refusal> {
        let (playbook, inputs) = (&self.loaded.playbook, &self.inputs);
        let spec = spec_of_release(playbook, inputs, &self.toward, &self.before);
        spec.map(Arc::new).map_err(|error| Refusal::new(Exit::INVALID, error.to_string()))
    }

    /// Reads the artifact, then fills in every name.
    pub(super) fn spec_with_artifact(&mut self, global: &Global) -> Result<Arc<Spec>, Refusal> {
        let spec = self.spec()?;
        let problems = wrong_places(&self.loaded, &spec);
        if !problems.is_empty() {
            return Err(Refusal::invalid(self.loaded.invalid(problems), global));
        }
        let Some(artifact) = &spec.artifact else { return Ok(spec) };
        let digest = crate::artifact::read(artifact).map_err(|unfit| {
            let refusal = Refusal::new(Exit::REFUSED, unfit.to_string());
            let refusal = unfit.mend.into_iter().fold(refusal, Refusal::hint);
            refusal.hint("nothing was changed")
        })?;
        self.inputs.artifact = Some(digest);
        self.spec()
    }

    /// The world as the playbook and the environment say. Within a runtime.
    pub(super) fn reach(&self) -> Result<Reach, Refusal> {
        let invalid = |problem: String| Refusal::new(Exit::INVALID, problem);
        let environment = |name: &str| std::env::var(name).ok();
        let mut settings = Settings::from_environment(environment).map_err(invalid)?;
        if let Some(consul) = &self.loaded.playbook.consul {
            let mut names = release_names(&self.loaded.playbook, &self.inputs);
            let fill = |template: &Template, names: &_| {
                template.fill(names).map_err(|error| invalid(format!("consul: {error}")))
            };
            if !consul.addresses.is_empty() {
                let addresses = consul.addresses.iter().map(|address| fill(address, &names));
                settings.addresses = addresses.collect::<Result<_, _>>()?;
            }
            if let Some(datacenter) = &consul.datacenter {
                settings.datacenter = Some(fill(datacenter, &names)?);
            }
            if let Some(token) = &consul.token {
                for (name, secret) in &self.secrets.named {
                    names.insert(format!("secrets.{name}"), secret.expose().to_owned());
                }
                settings.token =
                    Some(token_of("consul.token", &fill(token, &names)?).map_err(invalid)?);
            }
        }
        settings.check().map_err(invalid)?;
        secret::remember(settings.secrets(), []);
        let ssh = &self.loaded.playbook.ssh;
        let settings_of_world = LiveSettings {
            ssh_config: ssh.config.as_ref().map(|config| self.inputs.folder.join(config)),
            user: ssh.user.clone(),
            jump: ssh.jump.clone(),
            accept_new: ssh.host_keys == HostKeys::AcceptNew,
            connect_timeout: ssh.connect_timeout.0.max(Duration::from_secs(1)),
            consul_tls: tls_from_environment(environment),
            max_connections: CONNECTIONS,
        };
        let world = Live::new(settings_of_world)
            .map_err(|error| Refusal::new(Exit::INTERNAL, format!("{error:#}")))?;
        let world = Arc::new(world);
        let consul = Arc::new(Client::new(world.clone(), settings));
        let is_shared = self.loaded.playbook.names_consul();
        Ok(Reach { world, consul, is_shared })
    }
}

/// What stands against where the artifact goes, now that every name is filled in: of the first node that has any.
fn wrong_places(loaded: &Loaded, spec: &Spec) -> Vec<Problem> {
    let on_nodes = spec.nodes.iter().filter_map(|node| Some((node, node.layout.as_ref()?)));
    let mut wrong = on_nodes.filter_map(|(node, layout)| {
        let misplaced = misplaced(&layout.releases, &layout.current);
        (!misplaced.is_empty()).then_some((node, misplaced))
    });
    let Some((node, misplaced)) = wrong.next() else { return Vec::new() };
    let problem = |wrong: Misplaced| {
        let message = format!("on {}: {}", node.name, wrong.message);
        loaded.problem(wrong.key, message).help(wrong.help)
    };
    misplaced.into_iter().map(problem).collect()
}

/// Runs a command's asynchronous part on one thread: what is tested is what runs.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal::new(Exit::INTERNAL, format!("no runtime: {error}")))?;
    let result = runtime.block_on(async {
        signals::outlive_file_limit();
        work.await
    });
    // A name that is still being resolved, or a terminal that takes no more, holds nobody up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(result)
}

/// What a service's last release started with.
fn last_started(state: &Path) -> Option<Started> {
    let (_, release) = journal::read(&journal::latest(state)?).ok()?;
    release.started
}
