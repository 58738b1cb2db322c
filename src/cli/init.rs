//! `init`: writes a first playbook.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write as _, stderr, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use clap::Args;
use dialoguer::{Input, Select};

use super::arguments::Global;
use super::connect::{CONNECTIONS, with_runtime};
use super::exit::Exit;
use crate::consul::{Client, Settings, is_ssl, tls_from_environment, with_scheme};
use crate::ops::init::{Answers, Draft, GatewayAnswer, Interview, NodeAnswer, draft, unanswered};
use crate::ops::{Cause, Refusal};
use crate::playbook::load_text;
use crate::report::print_page;
use crate::secret;
use crate::text::harmless;
use crate::world::{Live, LiveSettings, Traced};

/// How long Consul may take to answer, if the command line does not name it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook to write; an existing file is never changed
    #[arg(value_name = "FILE", default_value = "rollgate.yaml", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The service's name [default: asked]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Consul's address [default: `CONSUL_HTTP_ADDR`, or this machine]
    #[arg(long, value_name = "URL")]
    consul: Option<String>,
    /// The prefix of the nodes' keys in Consul [default: found in Consul]
    #[arg(long, value_name = "PREFIX", conflicts_with = "consul_service")]
    prefix: Option<String>,
    /// The service in Consul whose instances are the nodes [default: found in Consul]
    #[arg(long, value_name = "NAME")]
    consul_service: Option<String>,
    /// A node, with its name and its machine for ssh if they differ [default: those in Consul]
    #[arg(long = "node", value_name = "[NAME=]HOST:PORT[@SSH]", value_parser = NodeAnswer::parse)]
    nodes: Vec<NodeAnswer>,
    /// A gateway: a URL, a socket (`/path`, `HOST:/path`) or `tcp://HOST:PORT`; with keys of the playbook if needed
    #[arg(long = "gateway", value_name = "ADDRESS[,KEY=VALUE]", value_parser = GatewayAnswer::parse)]
    gateways: Vec<GatewayAnswer>,
    /// The gateways' name for the pool [default: the name in Consul, or the service's]
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The user for ssh
    #[arg(long, value_name = "USER")]
    ssh_user: Option<String>,
    /// A configuration of ssh besides your own
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    ssh_config: Option<PathBuf>,
    /// The command that stops the service on a node [default: by the systemd unit that listens]
    #[arg(long, value_name = "COMMAND")]
    stop: Option<String>,
    /// The command that starts the service on a node [default: by the systemd unit that listens]
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// The path of the health check, or `tcp` [default: the first of the usual paths that answers]
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    /// The artifact that is copied to the nodes, e.g. 'dist/app-${{ version }}.tar.gz' [default: asked]
    #[arg(long, value_name = "FILE")]
    artifact: Option<String>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let file = &arguments.file;
    if fs::symlink_metadata(file).is_ok() {
        return Err(exists(file));
    }
    let answers = answers(arguments);
    let mut terminal = Terminal { quiet: global.quiet };
    let drafted = with_runtime(async {
        let world = Arc::new(world(arguments, global)?);
        let consul = consul(&world, arguments, &mut terminal).await?;
        let drafted = draft(&world, consul.as_ref(), &answers, &mut terminal).await;
        world.inner().close().await;
        drafted
    })?;
    write(file, &drafted)?;
    let shown = harmless(&file.display().to_string());
    let version = if drafted.has_version() { " --var version=VERSION" } else { "" };
    print_page(&format!(
        "{shown} is written. Read it, then:\n\nNext  check the file: rollgate check {shown}\n\
         Next  check the systems: rollgate doctor {shown}{version}\n\
         Next  see what a release would do: rollgate plan {shown}{version}\n"
    ));
    Ok(Exit::DONE)
}

fn exists(file: &Path) -> Refusal {
    let problem = format!("{} exists already", file.display());
    Refusal::new(Cause::Invalid, problem).hint("give another file: rollgate init FILE")
}

fn answers(arguments: &Arguments) -> Answers {
    let folder = env::current_dir().ok();
    let folder = folder.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let own = arguments;
    Answers {
        service: own.service.clone(),
        folder: folder.map(str::to_owned),
        prefix: own.prefix.clone(),
        consul_service: own.consul_service.clone(),
        nodes: own.nodes.clone(),
        gateways: own.gateways.clone(),
        upstream: own.upstream.clone(),
        ssh_user: own.ssh_user.clone(),
        ssh_config: own.ssh_config.as_ref().map(|path| path.display().to_string()),
        stop: own.stop.clone(),
        start: own.start.clone(),
        health: own.health.clone(),
        artifact: own.artifact.clone(),
    }
}

fn world(arguments: &Arguments, global: &Global) -> Result<Traced<Live>, Refusal> {
    let invalid = |problem: String| Refusal::new(Cause::Invalid, problem);
    let settings = LiveSettings {
        ssh_config: arguments.ssh_config.clone(),
        user: arguments.ssh_user.clone(),
        jump: None,
        accept_new: false,
        connect_timeout: std::time::Duration::from_secs(10),
        consul_tls: tls_from_environment(|name| env::var(name).ok()),
        max_connections: CONNECTIONS,
    };
    let world = Live::new(settings).map_err(|error| invalid(format!("{error:#}")))?;
    Traced::new(world, global.trace.as_deref())
        .map_err(|error| invalid(format!("cannot write the trace: {error}")))
}

/// Consul, if it answers. A Consul that is named must answer.
async fn consul(
    world: &Arc<Traced<Live>>,
    arguments: &Arguments,
    terminal: &mut Terminal,
) -> Result<Option<Client<Traced<Live>>>, Refusal> {
    let invalid = |problem: String| Refusal::new(Cause::Invalid, problem);
    let variable = |name: &str| env::var(name).ok();
    let mut settings = Settings::from_environment(variable).map_err(invalid)?;
    if let Some(address) = &arguments.consul {
        settings.addresses = vec![with_scheme(address, is_ssl(variable))];
    }
    settings.check().map_err(invalid)?;
    secret::remember(settings.secrets(), []);
    let client = Client::new(world.clone(), settings).with_patience(PATIENCE);
    let is_named = arguments.consul.is_some() || variable("CONSUL_HTTP_ADDR").is_some();
    match client.leader().await {
        Ok(_) => Ok(Some(client)),
        Err(error) if is_named => Err(Refusal::refused(format!("Consul: {error}"))),
        Err(_) => {
            let place = client.addresses().join(", ");
            terminal.tell(&format!(
                "Consul does not answer at {place}. If it has the nodes, give its address: --consul URL"
            ));
            Ok(None)
        }
    }
}

/// Writes the playbook, unless a file has this name by now.
fn write(file: &Path, drafted: &Draft) -> Result<(), Refusal> {
    let page = drafted.page();
    let name = format!("{} (not written)", file.display());
    load_text(name, page.clone()).map_err(|invalid| {
        Refusal::invalid(invalid).hint(
            "these are lines of the playbook that init would write from its options and what it found; correct the option",
        )
    })?;
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    match opened.and_then(|mut opened| opened.write_all(page.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(file)),
        Err(error) => {
            let problem = format!("cannot write {}: {error}", file.display());
            Err(Refusal::new(Cause::Invalid, problem))
        }
    }
}

/// The terminal, if there is one.
struct Terminal {
    quiet: bool,
}

impl Interview for Terminal {
    fn choose(&mut self, question: &str, found: &[String], option: &str) -> Result<usize, Refusal> {
        if !self.is_possible() {
            let found: Vec<_> = found.iter().map(|one| harmless(one)).collect();
            return Err(unanswered(question, option).hint(format!("found: {}", found.join("; "))));
        }
        let found: Vec<_> = found.iter().map(|one| harmless(one)).collect();
        let asked = Select::new().with_prompt(question).items(&found).default(0).interact_opt();
        match asked {
            Ok(Some(chosen)) => Ok(chosen),
            Ok(None) => Err(unanswered(question, option)),
            Err(error) => Err(Refusal::new(Cause::Internal, format!("cannot ask: {error}"))),
        }
    }

    fn ask(
        &mut self,
        question: &str,
        default: Option<&str>,
        option: &str,
    ) -> Result<String, Refusal> {
        if !self.is_possible() {
            let answer = default.map(str::to_owned);
            return answer.ok_or_else(|| unanswered(question, option));
        }
        let mut input = Input::<String>::new().with_prompt(question);
        if let Some(default) = default {
            input = input.default(default.to_owned()).allow_empty(true);
            input = input.show_default(!default.is_empty());
        }
        let answer = input.interact_text();
        answer.map_err(|error| Refusal::new(Cause::Internal, format!("cannot ask: {error}")))
    }

    fn is_possible(&self) -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    fn tell(&mut self, text: &str) {
        if !self.quiet {
            print_page(&format!("{}\n", harmless(text)));
        }
    }
}
