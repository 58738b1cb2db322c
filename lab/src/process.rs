//! Child processes that cannot outlive the lab.
//!
//! Every child is the first process of a process namespace of its own: when it dies, the kernel kills all processes in
//! it. The kernel also kills it when the lab's process disappears. That signal depends on the *thread* that started the
//! child, so one thread, the [`Nursery`], starts them all and lives as long as the lab.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::tools;
use crate::wait::until;

/// How long a child may take to get its namespace.
const BIRTH: Duration = Duration::from_secs(10);

/// How long a process may take to freeze.
const STANDSTILL: Duration = Duration::from_secs(10);

struct Order {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// The thread that starts every child of a lab.
#[derive(Clone, Debug)]
pub(crate) struct Nursery {
    orders: mpsc::Sender<Order>,
}

impl Nursery {
    /// Starts the thread; it ends with the last clone of the nursery.
    pub(crate) fn start() -> Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("lab-nursery".into())
            .spawn(move || {
                for mut order in inbox {
                    // The caller may have given up; then the child is dropped and dies with this process.
                    let _ = order.reply.send(order.command.spawn());
                }
            })
            .context("could not start the lab's nursery thread")?;
        Ok(Self { orders })
    }

    fn spawn(&self, command: Command) -> Result<Child> {
        let (reply, answer) = mpsc::channel();
        let order = Order { command, reply };
        if self.orders.send(order).is_err() {
            bail!("the lab's nursery thread has ended");
        }
        let child = answer.recv().context("the lab's nursery thread has ended")?;
        child.context("could not start a process")
    }
}

/// A process, and everything it starts, in a process namespace of its own.
#[derive(Debug)]
pub(crate) struct Contained {
    name: String,
    outer: Child,
    inner: Pid,
    log: PathBuf,
}

impl Contained {
    /// Starts `argv` with its output appended to `log`; `namespaces` are further `unshare` options.
    pub(crate) fn start(
        nursery: &Nursery,
        name: &str,
        log: &Path,
        namespaces: &[&str],
        argv: &[OsString],
    ) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("could not open {}", log.display()))?;
        let mut command = Command::new(tools::find("setpriv")?);
        command
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"])
            .args(namespaces)
            .arg("--")
            .args(argv)
            // A Ctrl-C in the terminal goes only to the lab, which ends its children in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("could not share a log file")?)
            .stderr(output);
        let mut outer =
            nursery.spawn(command).with_context(|| format!("could not start {name}"))?;
        let born = until(&format!("{name} to start"), BIRTH, || {
            if let Some(status) = outer.try_wait()? {
                bail!("{name} ended with {status}:\n{}", tools::tail(log));
            }
            Ok(first_child(outer.id()))
        });
        match born {
            Ok(inner) => Ok(Self { name: name.to_owned(), outer, inner, log: log.to_owned() }),
            Err(error) => {
                let _ = outer.kill();
                let _ = outer.wait();
                Err(error)
            }
        }
    }

    /// Returns the process id, as the lab sees it, of the namespace's first process.
    pub(crate) fn pid(&self) -> Pid {
        self.inner
    }

    /// Fails with the end of its log when the process has ended.
    pub(crate) fn require_running(&mut self) -> Result<()> {
        if let Some(status) = self.outer.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, tools::tail(&self.log));
        }
        Ok(())
    }

    /// Sends a signal to the namespace's first process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.inner, signal)
            .with_context(|| format!("could not signal {} (pid {})", self.name, self.inner))
    }

    /// Freezes the namespace's first process and its children, or lets them continue: connections are accepted, and no
    /// answer comes.
    pub(crate) fn freeze(&self, still: bool) -> Result<()> {
        let turn = if still { halt } else { thaw };
        children(self.inner).into_iter().try_for_each(turn)?;
        turn(self.inner).with_context(|| format!("could not signal {}", self.name))
    }

    /// Kills everything in the namespace and returns when all of it is gone.
    pub(crate) fn kill(&mut self) {
        if matches!(self.outer.try_wait(), Ok(None)) {
            // The outer process ends by itself once the last process inside is dead. If the inner one cannot be
            // signalled it has ended, and killing the outer one is harmless.
            if kill_process(self.inner, Signal::KILL).is_err() {
                let _ = self.outer.kill();
            }
            let _ = self.outer.wait();
        }
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Freezes a process, and returns when all its threads are stopped: until the one thread that handles the signal runs,
/// the others continue and answer.
pub(crate) fn halt(pid: Pid) -> Result<()> {
    kill_process(pid, Signal::STOP).with_context(|| format!("could not stop {pid}"))?;
    until(&format!("{pid} to freeze"), STANDSTILL, || Ok(stands_still(pid)?.then_some(())))
}

fn thaw(pid: Pid) -> Result<()> {
    kill_process(pid, Signal::CONT).with_context(|| format!("could not continue {pid}"))
}

/// Returns whether every thread of a process is stopped.
fn stands_still(pid: Pid) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended meanwhile does nothing, either.
        let stat = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
        // The state follows the name, which may contain anything.
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if !state.is_empty() && !state.starts_with('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the children of a process.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    children_of(pid.as_raw_nonzero().get().unsigned_abs())
}

fn first_child(pid: u32) -> Option<Pid> {
    children_of(pid).first().copied()
}

fn children_of(pid: u32) -> Vec<Pid> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok().and_then(Pid::from_raw))
        .collect()
}
