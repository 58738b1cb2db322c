//! One command's conversation over its three streams, the same for a local process and for ssh.
//!
//! Feeds standard input, keeps the last part of both outputs, and knows when the command has ended
//! from the script's own word for it, because a daemon left behind may hold the streams open for
//! good. Does not start anything and does not judge a broken connection.

use std::io;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use super::script::{GO, Word, take_word};
use super::{OUTPUT_LIMIT, Output, RunError, Stdin};

/// How long the streams may be silent after the end of the command before they are left alone.
const QUIET: Duration = Duration::from_millis(150);
/// How long a daemon that keeps talking is listened to.
const LISTENING: Duration = Duration::from_secs(2);
/// The script's own lines are shorter than this.
const WORD_LIMIT: usize = 128;

/// What the conversation showed.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The go-ahead was sent: before that, nothing can have happened.
    pub(super) sent: bool,
    /// The command was started.
    pub(super) started: bool,
    /// How it ended; `None` when the streams closed without a word.
    pub(super) end: Option<Word>,
    /// What it printed; the status is not filled in.
    pub(super) output: Output,
}

/// What a command is to read.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Opens what a command is to read, before anything is started.
pub(super) async fn open(stdin: &Stdin) -> Result<Option<Input>, RunError> {
    match stdin {
        Stdin::Empty => Ok(None),
        Stdin::Text(text) => Ok(Some(Box::new(io::Cursor::new(text.expose().to_owned())))),
        Stdin::File(path) => match File::open(path).await {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) => {
                let place = path.display();
                Err(RunError::NotStarted(format!("could not read `{place}`: {error}")))
            }
        },
    }
}

/// Holds the conversation until the command has ended and its output is in.
///
/// Dropping the future closes standard input, which ends the command.
pub(super) async fn converse(
    stdin: impl AsyncWrite + Unpin,
    mut stdout: impl AsyncRead + Unpin,
    mut stderr: impl AsyncRead + Unpin,
    input: Option<Input>,
    mark: &str,
) -> io::Result<Exchange> {
    let mut exchange = Exchange::default();
    let mut sent = false;
    let (mut out, mut err) = (Some(Vec::new()), Some(Vec::new()));
    let (mut left, mut silence) = (Instant::now(), Instant::now());
    {
        let mut feeding = std::pin::pin!(feed(stdin, input, &mut sent));
        let mut fed = false;
        while out.is_some() || err.is_some() {
            let ended = exchange.end.is_some();
            tokio::select! {
                biased;
                count = read(&mut out, &mut stdout) => {
                    silence = Instant::now() + QUIET;
                    if !matches!(count, Ok(1..)) {
                        exchange.output.stdout = tail(out.take());
                    }
                }
                count = read(&mut err, &mut stderr) => {
                    silence = Instant::now() + QUIET;
                    listen(&mut exchange, err.as_mut(), *count.as_ref().unwrap_or(&0), mark);
                    if exchange.end.is_some() && !ended {
                        left = Instant::now() + LISTENING;
                    }
                    if !matches!(count, Ok(1..)) {
                        exchange.output.stderr = tail(err.take());
                    }
                }
                result = &mut feeding, if !fed => {
                    fed = true;
                    result?;
                }
                () = sleep_until(silence.min(left)), if ended => break,
            }
        }
    }
    exchange.sent = sent;
    if out.is_some() {
        exchange.output.stdout = tail(out);
    }
    if err.is_some() {
        exchange.output.stderr = tail(err);
    }
    Ok(exchange)
}

/// Sends the go-ahead, then what is to be read; with nothing to read, holds the life line for ever.
///
/// A reader that has gone away is no error: the command may have exited early.
async fn feed(
    mut stdin: impl AsyncWrite + Unpin,
    input: Option<Input>,
    sent: &mut bool,
) -> io::Result<()> {
    if stdin.write_all(GO).await.is_err() || stdin.flush().await.is_err() {
        return Ok(());
    }
    *sent = true;
    let Some(mut input) = input else {
        return std::future::pending().await;
    };
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = input.read(&mut buffer).await?;
        if count == 0 || stdin.write_all(&buffer[..count]).await.is_err() {
            return Ok(());
        }
    }
}

/// Appends what there is to read; pending for ever once the stream is closed.
async fn read(
    text: &mut Option<Vec<u8>>,
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<usize> {
    let Some(text) = text else {
        return std::future::pending().await;
    };
    // Many commands run at once: little more is kept of each than counts in the end.
    if text.len() > OUTPUT_LIMIT + OUTPUT_LIMIT / 4 {
        text.drain(..text.len() - OUTPUT_LIMIT);
    }
    if text.capacity() - text.len() < 32 * 1024 {
        text.reserve_exact(64 * 1024);
    }
    stream.read_buf(text).await
}

fn listen(exchange: &mut Exchange, text: Option<&mut Vec<u8>>, count: usize, mark: &str) {
    let Some(text) = text else { return };
    // Only the new part, and as much before it as the beginning of a line may need.
    let from = text.len().saturating_sub(count + WORD_LIMIT);
    while let Some(word) = take_word(text, from, mark) {
        match word {
            Word::Started => exchange.started = true,
            end => exchange.end = Some(end),
        }
    }
}

fn tail(text: Option<Vec<u8>>) -> Vec<u8> {
    let mut text = text.unwrap_or_default();
    if text.len() > OUTPUT_LIMIT {
        text.drain(..text.len() - OUTPUT_LIMIT);
        crate::secret::hide_front(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

        #[test]
        fn however_much_is_said_only_its_end_is_kept_and_the_last_word_is_heard(
            noise in prop::collection::vec(any::<u8>(), 1..5000),
            times in 1_usize..1000,
        ) {
            let out = noise.repeat(times);
            let mut said = out.clone();
            said.extend_from_slice(b"\nMARK ended 3 143\n");
            let talk = converse(tokio::io::sink(), &out[..], &said[..], None, "MARK");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let exchange = runtime.expect("a runtime").block_on(talk).expect("no trouble");
            prop_assert_eq!(exchange.end, Some(Word::Exited(Some(3))));
            prop_assert!(exchange.output.stdout.len() <= OUTPUT_LIMIT);
            prop_assert!(exchange.output.stderr.len() <= OUTPUT_LIMIT);
            prop_assert!(out.ends_with(&exchange.output.stdout));
        }
    }
}
