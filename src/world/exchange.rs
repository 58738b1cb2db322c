//! Runs one command over its three streams, the same way for a local process and for ssh.
//!
//! Sends the script, waits until the script is ready, asks for the command's permit, sends the go-ahead,
//! feeds standard input and keeps the last part of both outputs. The script's status lines mark where the
//! command's output begins and ends: login start files print before it, and a daemon that the command leaves
//! behind may keep the streams open. This file starts no process and does not interpret a broken connection.

use std::io;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::script::{GO, Script, StatusLine, find_status_line};
use super::{Command, OUTPUT_LIMIT, Output, RunError, Stdin};
use crate::secret::{self, Cut};

/// Time limit for the login shell to start the script; its start files may be slow.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for the end after the command's time limit: 5 s between `TERM` and `KILL`, 1 s for
/// `KILL`, and time to inspect every process, which takes seconds on a busy node, and to deliver the status
/// line.
const GRACE: Duration = Duration::from_secs(20);
/// The script's status lines are shorter than this.
const STATUS_LIMIT: usize = 128;
/// How much of the host's output before the command is kept.
const NOISE_LIMIT: usize = 2048;

/// The result of the conversation.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The script was ready.
    pub(super) ready: bool,
    /// The go-ahead was sent. Before that, nothing can have changed.
    pub(super) sent: bool,
    /// The command was started.
    pub(super) started: bool,
    /// How the command ended; `None` when the streams closed without a status line.
    pub(super) end: Option<StatusLine>,
    /// How many of its processes could not be ended.
    pub(super) left: usize,
    /// The command's output; its status is not filled in.
    pub(super) output: Output,
    /// The host's output on both streams before the script was ready, as one line.
    pub(super) said: String,
}

/// The source of a command's standard input.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Opens a command's standard input before anything is started.
pub(super) async fn open(stdin: &Stdin) -> Result<Option<Input>, RunError> {
    match stdin {
        Stdin::Empty => Ok(None),
        Stdin::Text(text) => Ok(Some(Box::new(io::Cursor::new(text.expose().to_owned())))),
        Stdin::File(path) => match File::open(path).await {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) => {
                let place = path.display();
                Err(RunError::NotStarted(format!("cannot read `{place}`: {error}")))
            }
        },
    }
}

/// Runs the conversation until the command has ended and its output is complete.
///
/// Dropping the future closes standard input, which ends the command.
///
/// # Errors
///
/// When the command is not permitted to begin, or it does not end in time. A script that never becomes ready is
/// not an error here.
pub(super) async fn converse(
    mut stdin: impl AsyncWrite + Unpin,
    (stdout, stderr): (impl AsyncRead + Unpin, impl AsyncRead + Unpin),
    script: &Script,
    input: Option<Input>,
    command: &Command,
) -> Result<Exchange, RunError> {
    let mut talk = Conversation {
        out: Stream::new(stdout, &script.mark),
        err: Stream::new(stderr, &script.mark),
        exchange: Exchange::default(),
    };
    let waiting = timeout(READY_TIMEOUT, talk.wait_until_ready(&mut stdin, script)).await;
    if waiting.is_err() || !talk.is_ready() {
        return Ok(talk.end());
    }
    talk.exchange.ready = true;
    command.permit.ask().await?;
    // A closed reader is not an error here: the host's output gives the reason.
    talk.exchange.sent = stdin.write_all(GO).await.is_ok() && stdin.flush().await.is_ok();
    let limit = command.timeout.saturating_add(GRACE);
    match timeout(limit, talk.listen(stdin, input)).await {
        Ok(Ok(())) => Ok(talk.end()),
        Ok(Err(error)) => Err(RunError::Lost(format!("cannot read the file to send: {error}"))),
        Err(_) => Err(RunError::Lost(format!(
            "it did not end within {} after its time limit of {}",
            crate::text::duration(GRACE),
            crate::text::duration(command.timeout),
        ))),
    }
}

/// Both outputs and their content so far.
struct Conversation<O, E> {
    out: Stream<O>,
    err: Stream<E>,
    exchange: Exchange,
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin> Conversation<O, E> {
    /// Sends the script and reads until it is ready on both outputs or cannot become ready.
    async fn wait_until_ready(&mut self, stdin: &mut (impl AsyncWrite + Unpin), script: &Script) {
        let sending = async {
            let _ = stdin.write_all(script.text.as_bytes()).await;
            let _ = stdin.flush().await;
        };
        let mut sending = std::pin::pin!(sending);
        let mut sent = false;
        // A missing tool also ends the script.
        while self.exchange.end.is_none() && self.is_open() {
            if sent && self.is_ready() {
                return;
            }
            tokio::select! {
                biased;
                lines = self.out.read() => self.record(lines),
                lines = self.err.read() => self.record(lines),
                () = &mut sending, if !sent => sent = true,
            }
        }
    }

    /// Feeds the command and reads until both outputs are complete or closed.
    async fn listen(
        &mut self,
        stdin: impl AsyncWrite + Unpin,
        input: Option<Input>,
    ) -> io::Result<()> {
        let mut feeding = std::pin::pin!(feed(stdin, input));
        let mut fed = false;
        while !(self.out.is_over() && self.err.is_over()) {
            tokio::select! {
                biased;
                lines = self.out.read() => self.record(lines),
                lines = self.err.read() => self.record(lines),
                result = &mut feeding, if !fed => {
                    fed = true;
                    result?;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, lines: Vec<StatusLine>) {
        for line in lines {
            match line {
                StatusLine::Ready | StatusLine::Over => {}
                StatusLine::Started => self.exchange.started = true,
                StatusLine::Left(number) => self.exchange.left = number,
                end @ (StatusLine::Missing(_)
                | StatusLine::Exited(_)
                | StatusLine::TimedOut
                | StatusLine::CutOff) => {
                    self.exchange.end = Some(end);
                }
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.out.begun && self.err.begun
    }

    fn is_open(&self) -> bool {
        self.out.reader.is_some() || self.err.reader.is_some()
    }

    fn end(self) -> Exchange {
        let ((out, noise), (err, said)) = (self.out.end(), self.err.end());
        let told = [said, noise.clone()].join(" ");
        let output = Output {
            status: None,
            stdout: out,
            stderr: err,
            noise: (!noise.is_empty()).then(|| crate::text::line(&noise, 120)),
        };
        Exchange { output, said: crate::text::line(&told, 300), ..self.exchange }
    }
}

/// One output: first what the host prints before the command begins, then the command's output.
struct Stream<R> {
    /// `None` once the output is closed.
    reader: Option<R>,
    mark: String,
    text: Vec<u8>,
    /// The start of the host's output before the command's output.
    noise: Vec<u8>,
    /// The start of the command's output was dropped, so the rest may begin with a part of a secret.
    cut: bool,
    begun: bool,
    over: bool,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(reader: R, mark: &str) -> Self {
        Self {
            reader: Some(reader),
            mark: mark.to_owned(),
            text: Vec::new(),
            noise: Vec::new(),
            cut: false,
            begun: false,
            over: false,
        }
    }

    /// Reads what is available and returns its status lines; pending forever once the stream is closed.
    async fn read(&mut self) -> Vec<StatusLine> {
        let Some(reader) = &mut self.reader else {
            return std::future::pending().await;
        };
        if self.text.capacity() - self.text.len() < 32 * 1024 {
            self.text.reserve_exact(64 * 1024);
        }
        if let Ok(count @ 1..) = reader.read_buf(&mut self.text).await {
            return self.take(count);
        }
        self.reader = None;
        Vec::new()
    }

    fn take(&mut self, count: usize) -> Vec<StatusLine> {
        if self.over {
            self.text.truncate(self.text.len() - count);
            return Vec::new();
        }
        let mut words = Vec::new();
        // Searches only the new part, and before it the longest possible start of a status line.
        let mut from = self.text.len().saturating_sub(count + STATUS_LIMIT);
        while let Some((start, end, word)) = find_status_line(&self.text, from, &self.mark) {
            from = start;
            match word {
                Some(StatusLine::Ready) => {
                    let noise: Vec<_> = self.text.drain(..end).take(start).collect();
                    self.keep(&noise);
                    (self.begun, from) = (true, 0);
                }
                Some(
                    StatusLine::Over
                    | StatusLine::Exited(_)
                    | StatusLine::TimedOut
                    | StatusLine::CutOff,
                ) => {
                    self.text.truncate(start);
                    self.over = true;
                    words.extend(word);
                    return words;
                }
                _ => {
                    self.text.drain(start..end);
                }
            }
            words.extend(word);
        }
        self.bound();
        words
    }

    /// Drops output beyond the limit.
    fn bound(&mut self) {
        if self.begun {
            // Many commands run at once, so each keeps little more than the final limit.
            self.keep_end(OUTPUT_LIMIT + OUTPUT_LIMIT / 4);
        } else if self.text.len() > 2 * NOISE_LIMIT {
            let noise: Vec<_> = self.text.drain(..self.text.len() - STATUS_LIMIT).collect();
            self.keep(&noise);
        }
    }

    /// Keeps the last `most` bytes.
    fn keep_end(&mut self, most: usize) {
        if self.text.len() > most {
            self.text.drain(..self.text.len() - OUTPUT_LIMIT);
            self.cut = true;
        }
    }

    fn keep(&mut self, noise: &[u8]) {
        let room = NOISE_LIMIT.saturating_sub(self.noise.len()).min(noise.len());
        self.noise.extend_from_slice(&noise[..room]);
    }

    /// Whether the command's output is complete.
    fn is_over(&self) -> bool {
        self.over || self.reader.is_none()
    }

    /// Returns the command's output, and the host's output before it.
    fn end(mut self) -> (Vec<u8>, String) {
        if !self.begun {
            let rest = std::mem::take(&mut self.text);
            self.keep(&rest);
        }
        self.keep_end(OUTPUT_LIMIT);
        if self.cut {
            secret::hide_front(&mut self.text);
        }
        let noise = String::from_utf8_lossy(&self.noise).into_owned();
        // Noise of exactly the limit may have been cut.
        let is_full = self.noise.len() == NOISE_LIMIT;
        let noise = if is_full { secret::hide_cut(&noise, Cut::Back) } else { noise };
        (self.text, noise)
    }
}

/// Sends the input. Without input it keeps the life line open forever.
///
/// A closed reader is not an error: the command may have exited early.
async fn feed(mut stdin: impl AsyncWrite + Unpin, input: Option<Input>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::node::NodeScript;
    use crate::world::Permit;

    /// A conversation with a host that prints the given output, whatever it receives.
    fn converse_with(out: impl AsyncRead + Unpin, err: &[u8]) -> Exchange {
        let script = NodeScript::User { command: String::new() };
        let timeout = Duration::from_secs(5);
        let permit = Permit::default();
        let command = Command { script, stdin: Stdin::Empty, timeout, sudo: false, permit };
        let script = Script { text: String::new(), mark: "MARK".into() };
        let talk = converse(tokio::io::sink(), (out, err), &script, None, &command);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(talk).expect("no trouble")
    }

    #[test]
    fn output_is_the_text_between_ready_and_end() {
        let out = b"welcome\nnewsMARK ready\nanswerMARK end\nbye\n";
        // The rest arrives in another read.
        let out = out.chain(&b"see you\n"[..]);
        let err = b"dying shellMARK ready\nMARK started\nwarning\nMARK ended 3 143\nlogout\n";
        let exchange = converse_with(out, err);
        assert_eq!(exchange.end, Some(StatusLine::Exited(Some(3))));
        assert_eq!(exchange.output.stdout_text(), "answer");
        assert_eq!(exchange.output.stderr_text(), "warning\n");
        assert_eq!(exchange.output.noise.as_deref(), Some("welcome news"));
    }

    #[test]
    fn cut_output_contains_no_part_of_a_secret() {
        const TOKEN: &str = "cut-0ff-b1gs5ecr-7e57-4a4a";
        secret::remember([secret::Secret::new(TOKEN)], []);
        // Cut while the output arrives, and cut at its end.
        for length in [OUTPUT_LIMIT + OUTPUT_LIMIT / 4 + 1, OUTPUT_LIMIT + 100] {
            let cut = length - OUTPUT_LIMIT;
            let mut body = vec![b'.'; length];
            body[cut - 10..cut - 10 + TOKEN.len()].copy_from_slice(TOKEN.as_bytes());
            let out = (&b"MARK ready\n"[..]).chain(body.as_slice()).chain(&b"MARK end\n"[..]);
            let exchange = converse_with(out, b"MARK ready\nMARK started\nMARK ended 0 143\n");
            let front = String::from_utf8_lossy(&exchange.output.stdout[..40]).into_owned();
            assert!(front.starts_with("***."), "{front}");
        }
        let blanks = vec![b'\n'; NOISE_LIMIT - 10];
        let noise = [&blanks[..], TOKEN.as_bytes(), b" and more"].concat();
        let exchange = converse_with(noise.as_slice(), b"no shell");
        assert_eq!(exchange.said, "no shell ***");
    }

    #[test]
    fn output_of_host_that_never_becomes_ready_is_quoted() {
        for out in [&b"fish: Unknown command\n"[..], &b"fish: Unknown command\nMARK rea"[..]] {
            let exchange = converse_with(out, b"no shell");
            assert!(!exchange.ready && !exchange.sent && exchange.end.is_none());
            assert!(exchange.said.starts_with("no shell fish: Unknown command"), "{exchange:?}");
            assert_eq!(exchange.output.stdout, b"");
        }
    }

    #[test]
    fn survivors_are_counted() {
        let err = b"MARK ready\nMARK started\nMARK left 2\nMARK ended 143 124\n";
        let exchange = converse_with(&b"MARK ready\nMARK end\n"[..], err);
        assert_eq!((exchange.end, exchange.left), (Some(StatusLine::TimedOut), 2));
    }

    /// A daemon that keeps the streams open, or writes to them, does not delay the end.
    #[test]
    fn streams_that_stay_open_do_not_delay_the_end() {
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let exchange = runtime.expect("a runtime").block_on(async {
            let (out, mut out_end) = tokio::io::duplex(1024);
            let (err, mut err_end) = tokio::io::duplex(1024);
            out_end.write_all(b"MARK ready\nMARK end\n").await.expect("room");
            err_end.write_all(b"MARK ready\nMARK ended 0 143\n").await.expect("room");
            let script = NodeScript::User { command: String::new() };
            let (timeout, permit) = (Duration::from_secs(60), Permit::default());
            let command = Command { script, stdin: Stdin::Empty, timeout, sudo: false, permit };
            let script = Script { text: String::new(), mark: "MARK".into() };
            let talk = converse(tokio::io::sink(), (out, err), &script, None, &command);
            let exchange = talk.await.expect("no trouble");
            drop((out_end, err_end));
            exchange
        });
        assert_eq!(exchange.end, Some(StatusLine::Exited(Some(0))));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

        #[test]
        fn much_output_is_cut_to_its_end_and_the_last_word_is_heard(
            noise in prop::collection::vec(any::<u8>(), 1..5000),
            times in 1_usize..1000,
        ) {
            let body = noise.repeat(times);
            let out = [&noise[..], b"MARK ready\n", &body, b"MARK end\nlater"].concat();
            let err = [b"MARK ready\n", &body[..], b"\nMARK ended 3 143\n"].concat();
            let exchange = converse_with(out.as_slice(), &err);
            prop_assert_eq!(exchange.end, Some(StatusLine::Exited(Some(3))));
            prop_assert!(exchange.output.stdout.len() <= OUTPUT_LIMIT);
            prop_assert!(exchange.output.stderr.len() <= OUTPUT_LIMIT);
            prop_assert!(body.ends_with(&exchange.output.stdout));
            prop_assert!(exchange.output.noise.is_none_or(|noise| noise.chars().count() <= 121));
        }
    }
}
