//! The script that a host's shell runs: the command, and a guard that ends it.
//!
//! ssh is asked to run `/bin/sh` and nothing else, which every login shell and every wrapper reads alike. The
//! script goes over standard input as one compound command, so the shell has parsed all of it before it runs
//! any of it. On both outputs the script reports that it is ready; the login shell printed everything before
//! that. Only then rollgate sends the go-ahead, and after it the data.
//!
//! The command runs in its own session. A guard beside it waits for the end of the time or, when standard
//! input carries no data, for the end of standard input. Standard input is then the life line: it breaks when
//! the caller gives up, when rollgate dies and when the connection breaks. The guard then sends `TERM`, and 5
//! s later `KILL`, to everything that the command started: its session, the children of its processes, and
//! each process whose environment has the command's label. A command that ends by itself keeps the processes
//! that it started.
//!
//! The script reports in status lines that begin with a random mark. The exit status of the connection does
//! not show whether the command was started or why it ended, and a daemon that keeps the streams open would
//! hide the end. Pure; knows neither ssh nor processes.

use std::time::Duration;

use crate::shell::assign;

use super::{Command, Stdin};

/// The guard's exit status when the time ran out.
const TIMED_OUT: i32 = 124;
/// The guard's exit status when the command ended first.
const NOT_NEEDED: i32 = 143;

/// The shell of every script.
const SHELL: &str = "/bin/sh";

/// Sent once the script is ready. The script reads it before it starts the command, so a connection that
/// breaks before it is sent has changed nothing.
pub(super) const GO: &[u8] = b"go\n";

/// A script with the mark of its status lines.
#[derive(Debug)]
pub(super) struct Script {
    /// For the shell's standard input.
    pub(super) text: String,
    /// No output contains it by chance.
    pub(super) mark: String,
}

/// The words that start the shell. Every shell reads them the same way.
pub(super) fn launcher(sudo: bool) -> &'static [&'static str] {
    // `sudo` is outermost because only root can end what root has started.
    if sudo { &["sudo", "-n", "--", SHELL] } else { &[SHELL] }
}

impl Script {
    /// The script that runs `command` under its guard.
    pub(super) fn new(command: &Command) -> Self {
        let random = || format!("rollgate-{:016x}", fastrand::u64(..));
        Self::with(command, random(), &random(), SHELL)
    }

    fn with(command: &Command, mark: String, label: &str, shell: &str) -> Self {
        let input = match command.stdin {
            Stdin::Empty => "line",
            Stdin::File(_) | Stdin::Text(_) => "data",
        };
        let variables = assign(&[
            ("mark", &mark),
            ("label", label),
            ("limit", &seconds(command.timeout)),
            ("input", input),
            ("shell", shell),
            ("script", &command.script.text()),
        ]);
        let text = format!("{{\n{variables}{}}}\n", include_str!("guard.sh"));
        Self { text, mark }
    }
}

/// Renders a time for `timeout` and `sleep`; never 0, which `timeout` reads as forever.
fn seconds(time: Duration) -> String {
    let millis = time.as_millis().max(1);
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{}.{:03}", millis / 1000, millis % 1000)
    }
}

/// A status line of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StatusLine {
    /// The script waits for the go-ahead; the command's output follows on this stream.
    Ready,
    /// The command is being started.
    Started,
    /// The command cannot be started: this tool is not installed.
    Missing(String),
    /// This many processes of the command could not be ended.
    Left(usize),
    /// The command has ended; later output on this stream is not the command's.
    Over,
    /// The command exited by itself; `None` if a signal ended it.
    Exited(Option<i32>),
    /// The time ran out, and the command was ended.
    TimedOut,
    /// The guard ended the command for another reason: the guard was killed, or the life line broke.
    CutOff,
}

/// Finds the first complete status line: where it begins, where it ends, and its meaning if the script has
/// such a line.
pub(super) fn find_status_line(
    text: &[u8],
    from: usize,
    mark: &str,
) -> Option<(usize, usize, Option<StatusLine>)> {
    let start = from + find(text.get(from..)?, mark.as_bytes())?;
    let end = start + find(&text[start..], b"\n")? + 1;
    let line = String::from_utf8_lossy(&text[start + mark.len()..end]);
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = match words.as_slice() {
        ["ready"] => Some(StatusLine::Ready),
        ["started"] => Some(StatusLine::Started),
        ["missing", tool] => Some(StatusLine::Missing((*tool).to_owned())),
        ["left", number] => number.parse().ok().map(StatusLine::Left),
        ["end"] => Some(StatusLine::Over),
        ["ended", status, guard] => {
            status.parse().ok().zip(guard.parse().ok()).map(|(status, guard)| ended(status, guard))
        }
        _ => None,
    };
    Some((start, end, word))
}

fn ended(status: i32, guard: i32) -> StatusLine {
    match guard {
        NOT_NEEDED => StatusLine::Exited(exit_status(status)),
        TIMED_OUT => StatusLine::TimedOut,
        _ => StatusLine::CutOff,
    }
}

/// A POSIX shell reports a signal as 128 plus its number; 31 is the highest standard signal.
pub(super) fn exit_status(status: i32) -> Option<i32> {
    (!(129..=128 + 31).contains(&status)).then_some(status)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Child, ChildStdin, Command as Process, Output, Stdio as Pipe};

    use proptest::prelude::*;

    use super::*;
    use crate::node::NodeScript;
    use crate::world::Permit;

    fn command(text: &str, seconds: u64) -> Command {
        Command {
            script: NodeScript::User { command: text.into() },
            stdin: Stdin::Empty,
            timeout: Duration::from_secs(seconds),
            sudo: false,
            permit: Permit::default(),
        }
    }

    /// Starts a shell and sends it a script.
    fn start(shell: &mut Process, script: &Script) -> (Child, ChildStdin) {
        let shell = shell.stdin(Pipe::piped()).stdout(Pipe::piped()).stderr(Pipe::piped());
        let mut child = shell.spawn().expect("the shell runs");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, script.text.as_bytes()).expect("write");
        (child, stdin)
    }

    /// Runs a script with the shell at `sh`; standard input stays open to the end.
    fn run(sh: &Path, command: &Command) -> Output {
        let script = Script::with(command, "M".into(), "label", &sh.display().to_string());
        let (mut child, mut stdin) = start(&mut Process::new(sh), &script);
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        assert_eq!(line, "M ready\n", "{}", sh.display());
        std::io::Write::write_all(&mut stdin, GO).expect("write");
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut output).expect("its end");
        let output = Output { stdout: output, ..child.wait_with_output().expect("ends") };
        drop(stdin);
        output
    }

    #[test]
    fn launcher_has_no_word_that_shells_read_differently() {
        assert_eq!(launcher(false).join(" "), "/bin/sh");
        assert_eq!(launcher(true).join(" "), "sudo -n -- /bin/sh");
    }

    /// RHEL's `sh` is bash, which reports killed jobs; Alpine's is busybox.
    #[test]
    fn every_shell_gives_the_same_output() {
        let folder = tempfile::tempdir().expect("temp dir");
        for shell in ["dash", "bash", "busybox"] {
            let path = ["/bin", "/usr/bin"].map(|bin| Path::new(bin).join(shell));
            let path = path.into_iter().find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("no {shell}; scripts/setup installs it"));
            let sh = folder.path().join(shell).join("sh");
            std::fs::create_dir(folder.path().join(shell)).expect("a folder");
            std::os::unix::fs::symlink(path, &sh).expect("a link");
            for (text, seconds, expected) in [
                ("echo out; echo err >&2; exit 3", 9, "out\nM end\nerr\nM ended 3 143\n"),
                ("kill -9 $$", 9, "M end\nM ended 137 143\n"),
                ("sleep 60 & echo out; wait", 1, "out\nM end\nM ended 143 124\n"),
                (
                    "printf '%s\n' \"it's\nhere\"\n\ncat <<x\n$((1 + 1)) \\\\\nx\n",
                    9,
                    "it's\nhere\n2 \\\nM end\nM ended 0 143\n",
                ),
                (
                    "env | grep -c ROLLGATE_COMMAND=label; printf end",
                    9,
                    "1\nendM end\nM ended 0 143\n",
                ),
            ] {
                let output = run(&sh, &command(text, seconds));
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).replace("M ready\nM started\n", "");
                assert_eq!(said, expected, "{shell}: {text}");
            }
        }
    }

    #[test]
    fn missing_tool_is_named_and_nothing_is_started() {
        let script = Script::with(&command("echo no", 1), "M".into(), "label", SHELL);
        let (child, _stdin) = start(Process::new(SHELL).env("PATH", "/none"), &script);
        let output = child.wait_with_output().expect("ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "M missing setsid\n");
        assert_eq!(output.stdout, b"");
    }

    #[test]
    fn time_limit_is_never_forever() {
        assert_eq!(seconds(Duration::ZERO), "0.001");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.500");
        assert_eq!(seconds(Duration::from_mins(1)), "60");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn status_lines_are_found_in_any_output(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..30), "M?( (started|ended|missing|ready|end|left)( -?[0-9]{0,25}){0,3}\n?)?"), 0..6),
            from in 0_usize..40,
        ) {
            let mut text: Vec<u8> =
                parts.into_iter().flat_map(|(noise, word)| [noise, word.into_bytes()].concat()).collect();
            let lines = text.split(|byte| *byte == b'\n').count();
            let mut words = 0;
            while let Some((start, end, _)) = find_status_line(&text, from, "M") {
                text.drain(start..end);
                words += 1;
            }
            prop_assert!(words <= lines);
        }
    }

    #[test]
    fn status_lines_are_found_within_other_output() {
        let word = |text: &[u8]| find_status_line(text, 0, "M");
        let found = word(b"abcM ended 3 143\ndef");
        assert_eq!(found, Some((3, 17, Some(StatusLine::Exited(Some(3))))));
        assert_eq!(word(b"M ended 137 14"), None, "an incomplete line waits for its rest");
        assert_eq!(word(b"M ended 137 143\n"), Some((0, 16, Some(StatusLine::Exited(None)))));
        assert_eq!(word(b"M ended 143 124\n"), Some((0, 16, Some(StatusLine::TimedOut))));
        assert_eq!(word(b"M left 3\n"), Some((0, 9, Some(StatusLine::Left(3)))));
        assert_eq!(word(b"M something\n"), Some((0, 12, None)));
    }
}
