//! Commands on this machine (`ssh: local`), under the same guard as on a node.
//!
//! They get a process group of their own, so that Ctrl-C in the terminal reaches rollgate alone and
//! rollgate decides what becomes of them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::exchange::{Exchange, converse, open};
use super::script::{self, Word};
use super::{Command, Output, RunError};

/// How much longer than the command's own time an answer is waited for: 5 s between `TERM` and
/// `KILL`, and time for the word to come through.
pub(super) const GRACE: Duration = Duration::from_secs(8);

/// Runs a command on this machine.
pub(super) async fn run(command: Command) -> Result<Output, RunError> {
    let input = open(&command.stdin).await?;
    let mark = script::mark();
    let mut child = spawn(&script::command_line(&command, &mark))
        .map_err(|error| RunError::NotStarted(format!("could not start `sh`: {error}")))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(RunError::NotStarted("could not open the streams of `sh`".into()));
    };
    let talk = converse(stdin, stdout, stderr, input, &mark);
    let exchange = within(&command, talk).await?;
    if let Some(end) = exchange.end.clone() {
        // Only to collect the process; its word has been heard.
        let _ = timeout(Duration::from_secs(1), child.wait()).await;
        return conclude(end, exchange, &command, "this machine");
    }
    let status = child.wait().await.map_err(|error| RunError::Lost(error.to_string()))?;
    if !exchange.started {
        return Err(refused("this machine", &exchange, status.code()));
    }
    // The guard itself was killed, and the command with it.
    Ok(Output { status: None, ..exchange.output })
}

fn spawn(line: &str) -> std::io::Result<Child> {
    super::child("sh")
        .args(["-c", &format!("exec {line}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Bounds a conversation: whatever happens on the other side, it ends soon after the command's time.
pub(super) async fn within(
    command: &Command,
    talk: impl Future<Output = std::io::Result<Exchange>>,
) -> Result<Exchange, RunError> {
    let limit = command.timeout.saturating_add(GRACE);
    match timeout(limit, talk).await {
        Ok(Ok(exchange)) => Ok(exchange),
        Ok(Err(error)) => Err(RunError::Lost(format!("could not read the file to send: {error}"))),
        Err(_) => Err(RunError::Lost(format!(
            "no sign of its end {} after its time of {}",
            crate::text::duration(GRACE),
            crate::text::duration(command.timeout),
        ))),
    }
}

/// Turns the script's last word into the result.
pub(super) fn conclude(
    end: Word,
    exchange: Exchange,
    command: &Command,
    place: &str,
) -> Result<Output, RunError> {
    match end {
        Word::Exited(status) => Ok(Output { status, ..exchange.output }),
        Word::TimedOut => Err(RunError::TimedOut(command.timeout)),
        Word::Missing(tool) => {
            let package = if tool == "setsid" { "util-linux" } else { "coreutils" };
            Err(RunError::NotStarted(format!(
                "`{tool}` is not installed on {place}; rollgate needs it to end commands, install \
                 {package}"
            )))
        }
        Word::CutOff | Word::Started => {
            Err(RunError::Lost("the guard that rollgate put beside it was killed".into()))
        }
    }
}

/// The error for a command that the other side would not start: `sudo` or the login shell refused.
pub(super) fn refused(place: &str, exchange: &Exchange, status: Option<i32>) -> RunError {
    let said = [exchange.output.stderr_text(), exchange.output.stdout_text()].join(" ");
    let said = crate::text::line(&said, 300);
    let status = status.map_or_else(|| "a signal".into(), |status| format!("status {status}"));
    let said = if said.is_empty() { format!("it ended with {status}") } else { said };
    RunError::NotStarted(format!("{place} did not start the command: {said}"))
}
