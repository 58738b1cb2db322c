//! Connects a session to the real world: opens connections, handles signals, and closes everything at the end.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::arguments::Global;
use super::signals;
use super::terminal::Terminal;
use crate::consul::{Client, Settings, is_ssl, tls_from_environment, token_of, with_scheme};
use crate::ops::{Cause, Connections, Refusal, Session};
use crate::period::DurationSetting;
use crate::playbook::{HostKeys, Template};
use crate::secret;
use crate::spec::release_names;
use crate::world::{Live, LiveSettings, Traced, check_authorities};

/// The largest number of nodes that are connected at the same time.
pub(super) const CONNECTIONS: usize = 32;

/// The longest permitted wait for the lock.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How the lock is waited for.
#[derive(Debug, Clone, Args)]
pub(super) struct LockArguments {
    /// Wait this long while another release holds the lock, e.g. 10m [default: do not wait]
    #[arg(long, value_name = "TIME", value_parser = lock_wait)]
    lock_wait: Option<Duration>,
}

impl LockArguments {
    pub(super) fn wait(&self) -> Duration {
        self.lock_wait.unwrap_or_default()
    }
}

fn lock_wait(text: &str) -> Result<Duration, String> {
    let DurationSetting(wait) = DurationSetting::parse(text)?;
    if wait > LONGEST_WAIT {
        return Err("longer than 30 days".to_owned());
    }
    Ok(wait)
}

/// Runs a command's work over the real world. It uses one thread, as the tests do.
pub(super) fn connected<T>(
    session: &Session,
    global: &Global,
    work: impl AsyncFnOnce(&Connections<Traced<Live>>, &mut Terminal<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    with_runtime(async {
        signals::outlive_file_limit();
        let connections = open_connections(session, global)?;
        let mut terminal = Terminal::new(global, session.command("status"))?;
        let result = work(&connections, &mut terminal).await;
        connections.world.inner().close().await;
        result
    })
}

/// Runs work that uses the network, on one thread.
pub(super) fn with_runtime<T>(
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Refusal::new(Cause::Internal, format!("cannot start the async runtime: {error}"))
        })?;
    let result = runtime.block_on(work);
    // A pending name resolution or a blocked terminal must not delay the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Opens the connections from the playbook and the environment. It must run within a runtime.
fn open_connections(
    session: &Session,
    global: &Global,
) -> Result<Connections<Traced<Live>>, Refusal> {
    let invalid = |problem: String| Refusal::new(Cause::Invalid, problem);
    let environment = |name: &str| env::var(name).ok();
    let settings = consul_settings(session)?;
    settings.check().map_err(invalid)?;
    secret::remember(settings.secrets(), []);
    let playbook = &session.loaded.playbook;
    for (key, file) in playbook.authorities() {
        check_authorities(&session.inputs.folder.join(file))
            .map_err(|error| invalid(format!("{key}: {error:#}")).hint("nothing was changed"))?;
    }
    let mut consul_tls = tls_from_environment(environment);
    if let Some(ca) = playbook.consul.as_ref().and_then(|consul| consul.ca.as_ref()) {
        consul_tls = consul_tls.trusting_only(session.inputs.folder.join(ca));
    }
    let ssh = &playbook.ssh;
    let settings_of_world = LiveSettings {
        ssh_config: ssh.config.as_ref().map(|config| session.inputs.folder.join(config)),
        user: ssh.user.clone(),
        jump: ssh.jump.clone(),
        accept_new: ssh.host_keys == HostKeys::AcceptNew,
        connect_timeout: ssh.connect_timeout.0.max(Duration::from_secs(1)),
        consul_tls,
        max_connections: CONNECTIONS,
    };
    let world = Live::new(settings_of_world)
        .map_err(|error| Refusal::new(Cause::Internal, format!("{error:#}")))?;
    let traced = Traced::new(world, global.trace.as_deref()).map_err(|error| {
        let path = global.trace.as_deref().unwrap_or(Path::new("")).display();
        invalid(format!("cannot write the trace {path}: {error}")).hint("nothing was changed")
    })?;
    let world = Arc::new(traced);
    let consul = Arc::new(Client::new(world.clone(), settings));
    Ok(Connections::new(world, consul, &session.loaded.playbook))
}

/// Returns the Consul settings. The playbook has priority over the environment.
fn consul_settings(session: &Session) -> Result<Settings, Refusal> {
    let invalid = |problem: String| Refusal::new(Cause::Invalid, problem);
    let mut settings = Settings::from_environment(|name| env::var(name).ok()).map_err(invalid)?;
    let Some(consul) = &session.loaded.playbook.consul else { return Ok(settings) };
    let verifies = tls_from_environment(|name| env::var(name).ok()).verify;
    settings.proves_agents |= consul.ca.is_some() && verifies;
    let mut names = release_names(&session.loaded.playbook, &session.inputs);
    let fill = |template: &Template, names: &_| {
        template.fill(names).map_err(|error| invalid(format!("consul: {error}")))
    };
    if !consul.addresses.is_empty() {
        let is_tls = is_ssl(|name| env::var(name).ok());
        let addresses = consul.addresses.iter().map(|address| fill(address, &names));
        let addresses = addresses.map(|address| Ok(with_scheme(&address?, is_tls)));
        settings.addresses = addresses.collect::<Result<_, _>>()?;
    }
    if let Some(datacenter) = &consul.datacenter {
        settings.datacenter = Some(fill(datacenter, &names)?);
    }
    if let Some(token) = &consul.token {
        for (name, secret) in &session.secrets.named {
            names.insert(format!("secrets.{name}"), secret.expose().to_owned());
        }
        settings.token = Some(token_of("consul.token", &fill(token, &names)?).map_err(invalid)?);
    }
    Ok(settings)
}
