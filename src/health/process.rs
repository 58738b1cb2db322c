//! Which process listens on a node's port, and whether this release started it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::gate::Gate;
use crate::node::{Listener, NodeScript, Ticks};
use crate::text;
use crate::world::{Command, World};

/// The time limit for inspecting a node's listener.
pub(super) const LISTENER_TIMEOUT: Duration = Duration::from_secs(10);

/// How much younger a process may be than its first observed success: clocks of processes are coarse.
const COARSE: Duration = Duration::from_millis(500);

/// Why the listening process is not confirmed to be the new one.
#[derive(Debug)]
pub(super) struct Unproven {
    /// The same text at every attempt, so that attempts with this cause can be counted.
    pub(super) cause: String,
    /// With changing details, such as the process's age.
    pub(super) seen: String,
    /// The process began after the first success: the one that answered then has ended.
    pub(super) restarted: bool,
}

impl From<String> for Unproven {
    fn from(cause: String) -> Self {
        Self { seen: cause.clone(), cause, restarted: false }
    }
}

impl<W: World> Gate<W> {
    /// Inspects the process that listens on the node's port, which has answered well for this time. Returns its
    /// description if it is new, and the problem if it is not.
    pub(super) async fn process(&self, kept: Duration) -> Result<String, Unproven> {
        let listener = self.listener().await?;
        let port = self.node.port();
        if !listener.bound {
            return Err(format!("nothing listens on :{port}").into());
        }
        let oldest = listener.owners.iter().min_by_key(|process| process.started.0);
        if let Some(process) = oldest
            && process.age(listener.mark) + COARSE < kept
        {
            let age = text::duration(process.age(listener.mark));
            let told =
                |age: &str| format!("pid {}, started {age}after the first success", process.pid);
            return Err(Unproven {
                cause: told(""),
                seen: told(&format!("{age} ago, ")),
                restarted: true,
            });
        }
        let Some(mark) = self.mark else {
            return Ok(listener.owners.first().map_or_else(
                || format!("something listens on :{port}"),
                |process| format!("pid {} owns :{port}", process.pid),
            ));
        };
        if listener.owners.is_empty() {
            return Err(format!(
                "the process that owns :{port} cannot be seen (set `health.identity` or `ssh.sudo`)"
            )
            .into());
        }
        if let Some(old) = listener.older_than(mark).next() {
            let (pid, age) = (old.pid, text::duration(old.age(listener.mark)));
            let what = if listener.was_rebooted_since(mark) {
                format!("after a reboot of its host and perhaps not by this release, owns :{port}")
            } else {
                format!("before this release, still owns :{port}")
            };
            let told = |since: &str| format!("pid {pid}, started {since}{what}");
            let seen = told(&format!("{age} ago, "));
            return Err(Unproven { cause: told(""), seen, restarted: false });
        }
        let process = &listener.owners[0];
        let age = text::duration(process.age(listener.mark));
        Ok(format!("pid {}, started {age} ago by this release, owns :{port}", process.pid))
    }

    /// The processes that listen on the node's port, each with its start. `None` if they cannot be seen.
    pub async fn owners(&self) -> Option<BTreeSet<(u32, Ticks)>> {
        let listener = self.listener().await.ok()?;
        let owners = listener.owners.iter().map(|process| (process.pid, process.started));
        Some(owners.collect()).filter(|owners: &BTreeSet<_>| !owners.is_empty())
    }

    async fn listener(&self) -> Result<Listener, String> {
        let script = NodeScript::Listener { port: self.node.port() };
        let command = Command::new(script, LISTENER_TIMEOUT, self.sudo);
        let output = self.world.run(&self.node.host, command).await;
        let output = output.map_err(|error| format!("its process cannot be inspected: {error}"))?;
        if !output.success() {
            let problem = text::line(&output.stderr_text(), 200);
            return Err(format!("its process cannot be inspected: {problem}"));
        }
        Ok(Listener::parse(&output.stdout_text(), &self.node.address))
    }
}
