//! Commands on this machine (`ssh: local`), under the same guard as on a node.
//!
//! Each command gets its own process group, so that Ctrl-C in the terminal reaches only rollgate, which then
//! decides whether to end the command.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::exchange::{Exchange, converse, open};
use super::script::{Script, StatusLine, launcher};
use super::{Command, Output, RunError};

/// The name of the host in messages.
const PLACE: &str = "this machine";

/// Runs a command on this machine.
pub(super) async fn run(command: Command) -> Result<Output, RunError> {
    let input = open(&command.stdin).await?;
    let mut child = spawn(launcher(command.sudo))
        .map_err(|error| RunError::NotStarted(format!("cannot start a shell: {error}")))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(RunError::NotStarted("cannot open the streams of a shell".into()));
    };
    let script = Script::new(&command);
    let mut exchange = converse(stdin, (stdout, stderr), &script, input, &command).await?;
    // On this machine only `sudo` prints before the command.
    exchange.output.noise = None;
    if let Some(end) = exchange.end.clone() {
        // The result is known; this only reaps the process.
        let _ = timeout(Duration::from_secs(1), child.wait()).await;
        return conclude(end, exchange, &command, PLACE);
    }
    let status = timeout(Duration::from_secs(1), child.wait()).await.ok().and_then(Result::ok);
    if !exchange.started {
        return Err(refused(PLACE, &exchange, status.and_then(|status| status.code())));
    }
    // The guard was killed, and the command with it.
    Ok(Output { status: None, ..exchange.output })
}

fn spawn(words: &[&str]) -> std::io::Result<Child> {
    super::child(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Turns the script's last status line into the result.
pub(super) fn conclude(
    end: StatusLine,
    exchange: Exchange,
    command: &Command,
    place: &str,
) -> Result<Output, RunError> {
    match end {
        StatusLine::Exited(status) => Ok(Output { status, ..exchange.output }),
        StatusLine::TimedOut => {
            Err(RunError::TimedOut { after: command.timeout, left: exchange.left })
        }
        StatusLine::Missing(tool) => {
            let package = if tool == "setsid" { "util-linux" } else { "coreutils" };
            Err(RunError::NotStarted(format!(
                "`{tool}` is not installed on {place}; rollgate needs it to end commands: install \
                 {package}"
            )))
        }
        StatusLine::CutOff
        | StatusLine::Ready
        | StatusLine::Started
        | StatusLine::Left(_)
        | StatusLine::Over => {
            Err(RunError::Lost("the process that ends it when its time is up was killed".into()))
        }
    }
}

/// The error for a command that did not start because `sudo` or the login shell refused it.
pub(super) fn refused(place: &str, exchange: &Exchange, status: Option<i32>) -> RunError {
    let said = [&exchange.said, &exchange.output.stderr_text(), &exchange.output.stdout_text()];
    let said = crate::text::line(&said.map(String::as_str).join(" "), 300);
    let what = if exchange.ready { "the command" } else { "/bin/sh" };
    let refuser = if place == PLACE { "it" } else { "its login shell" };
    let why = match (said.is_empty(), status) {
        (false, _) => format!("{refuser} says: {said}"),
        (true, Some(status)) => format!("{refuser} ended with status {status}"),
        (true, None) => format!("{refuser} printed nothing"),
    };
    RunError::NotStarted(format!("{place} did not start {what}; {why}"))
}
