//! The script that a node's shell is really given: the command, and a guard that ends it.
//!
//! The command runs in a session of its own. Beside it a guard waits for the end of the time or,
//! where standard input carries no data, for the end of standard input, which is the life line: it
//! breaks when the caller gives up, when rollgate dies and when the connection does. Then the whole
//! session gets `TERM`, and 5 s later `KILL`. A command that ends by itself keeps what it started.
//!
//! The script reports on standard error, in lines that begin with a random mark: the exit status of
//! the connection tells neither whether the command was started nor why it ended, and a daemon that
//! keeps the streams open would hide that it ended at all. Pure; knows neither ssh nor processes.

use std::time::Duration;

use crate::shell::quote;

use super::{Command, Stdin};

/// What the guard exits with when the time ran out.
const TIMED_OUT: i32 = 124;
/// What the guard exits with when the command ended first.
const NOT_NEEDED: i32 = 143;

/// The first line of every command's standard input. The command is not started before it is read,
/// so a connection that breaks before it is sent has certainly changed nothing.
pub(super) const GO: &[u8] = b"go\n";

/// Ends what is left of the session `$c`: `k TERM`, `k KILL`; `k 0` tells whether something is left.
/// `/proc` also finds what left the process group (`timeout` does); where it is missing, the group
/// is all there is.
const END: &str = "k() { kill -$1 -$c; o=$?; [ -r /proc/self/stat ] || return $o; o=1; \
     for p in /proc/[0-9]*/stat; do read -r f <\"$p\" || continue; q=${f%% *}; f=${f##*) }; \
     set -- \"$1\" $f; [ \"$5\" = $c ] && [ \"$2\" != Z ] && kill -$1 $q && o=0; done; return $o; }";

/// Returns a mark that no output contains by chance.
pub(super) fn mark() -> String {
    format!("rollgate-{:016x}", fastrand::u64(..))
}

/// Returns the command line that runs `command` under its guard.
pub(super) fn command_line(command: &Command, mark: &str) -> String {
    let script = quote(&guarded(command, mark));
    // `sudo` is outermost, because only root can end what root has started.
    if command.sudo { format!("sudo -n -- sh -c {script}") } else { format!("sh -c {script}") }
}

fn guarded(command: &Command, mark: &str) -> String {
    let script = quote(&command.operation.script());
    let time = seconds(command.timeout);
    let (input, watch) = match command.stdin {
        Stdin::Empty => ("3<&-", format!("timeout {time} cat <&3 & s=$!; wait $s; e=$?")),
        Stdin::File(_) | Stdin::Text(_) => {
            ("<&3 3<&-", format!("exec 3<&-; sleep {time} & s=$!; wait $s; e={TIMED_OUT}"))
        }
    };
    format!(
        "IFS= read -r g || exit 125; \
         for t in setsid timeout; do command -v $t >/dev/null || \
         {{ printf '{mark} missing %s\\n' $t >&2; exit 126; }}; done; \
         exec 3<&0 </dev/null; printf '{mark} started\\n' >&2; \
         setsid sh -c {script} {input} & c=$!; {END}; \
         ( s=; trap '[ -z \"$s\" ] || kill $s; exit {NOT_NEEDED}' TERM; {watch}; trap '' TERM; \
         k TERM; sleep 5 & i=$!; while kill -0 $i && k 0; do sleep 0.1; done; kill -KILL $i; k KILL; \
         exit $e ) >/dev/null 2>&1 & w=$!; exec 3<&-; \
         wait $c 2>/dev/null; r=$?; kill $w 2>/dev/null; wait $w 2>/dev/null; \
         printf '{mark} ended %s %s\\n' $r $? >&2; exit $r"
    )
}

/// Renders a time for `timeout` and `sleep`; never 0, which means forever to `timeout`.
fn seconds(time: Duration) -> String {
    let millis = time.as_millis().max(1);
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{}.{:03}", millis / 1000, millis % 1000)
    }
}

/// What the script said about the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// The command is being started.
    Started,
    /// The command cannot be started: this tool is not installed.
    Missing(String),
    /// The command exited by itself; `None` if a signal ended it.
    Exited(Option<i32>),
    /// The time ran out, and the command was ended.
    TimedOut,
    /// The guard ended the command for another reason: it was itself killed, or the line broke.
    CutOff,
}

/// Takes the first complete line of the script's own out of `text`, and reads it.
pub(super) fn take_word(text: &mut Vec<u8>, from: usize, mark: &str) -> Option<Word> {
    let start = from + find(text.get(from..)?, mark.as_bytes())?;
    let end = start + find(&text[start..], b"\n")?;
    let line: Vec<u8> = text.drain(start..=end).collect();
    let line = String::from_utf8_lossy(&line[mark.len()..]).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["started"] => Some(Word::Started),
        ["missing", tool] => Some(Word::Missing((*tool).to_owned())),
        ["ended", status, guard] => Some(ended(status.parse().ok()?, guard.parse().ok()?)),
        _ => None,
    }
}

fn ended(status: i32, guard: i32) -> Word {
    match guard {
        NOT_NEEDED => Word::Exited(exit_status(status)),
        TIMED_OUT => Word::TimedOut,
        _ => Word::CutOff,
    }
}

/// A POSIX shell reports a signal as 128 plus its number; 31 is the last of the classic ones.
pub(super) fn exit_status(status: i32) -> Option<i32> {
    (!(129..=128 + 31).contains(&status)).then_some(status)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::Operation;

    fn command(sudo: bool) -> Command {
        Command {
            operation: Operation::User { command: "echo 'a b'".into() },
            stdin: Stdin::Empty,
            timeout: Duration::from_millis(1500),
            sudo,
        }
    }

    #[test]
    fn sudo_is_outermost_so_that_the_guard_may_end_what_root_started() {
        let line = command_line(&command(true), "m");
        assert!(line.starts_with("sudo -n -- sh -c 'IFS= read -r g"), "{line}");
        assert_eq!(line.matches("sudo").count(), 1);
        let line = command_line(&command(false), "m");
        assert!(line.starts_with("sh -c 'IFS= read -r g") && !line.contains("sudo"), "{line}");
        assert!(!line.contains('\n'), "some login shells cannot read a quoted line break");
    }

    /// RHEL's `sh` is bash, which has things to say about jobs that were killed.
    #[test]
    fn shells_agree_and_add_nothing_of_their_own() {
        use std::process::{Command as Process, Stdio};
        for shell in ["dash", "bash"] {
            if Process::new(shell).args(["-c", ":"]).status().is_err() {
                continue;
            }
            for (text, seconds, expected) in [
                ("echo out; echo err >&2; exit 3", 9, "out\nerr\nM ended 3 143\n"),
                ("kill -9 $$", 9, "M ended 137 143\n"),
                ("sleep 60 & echo out; wait", 1, "out\nM ended 143 124\n"),
            ] {
                let mut command = command(false);
                command.operation = Operation::User { command: text.into() };
                command.timeout = Duration::from_secs(seconds);
                let mut child = Process::new(shell)
                    .args(["-c", &guarded(&command, "M")])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("shell runs");
                let mut stdin = child.stdin.take().expect("piped");
                std::io::Write::write_all(&mut stdin, GO).expect("write");
                let output = child.wait_with_output().expect("ends");
                drop(stdin);
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).replace("M started\n", "");
                assert_eq!(said, expected, "{shell}: {text}");
            }
        }
    }

    #[test]
    fn a_time_is_never_forever() {
        assert_eq!(seconds(Duration::ZERO), "0.001");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.500");
        assert_eq!(seconds(Duration::from_mins(1)), "60");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn words_among_any_output_are_taken_and_the_rest_stays(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..30), "M?( (started|ended|missing)( -?[0-9]{0,25}){0,3}\n?)?"), 0..6),
            from in 0_usize..40,
        ) {
            let mut text: Vec<u8> =
                parts.into_iter().flat_map(|(noise, word)| [noise, word.into_bytes()].concat()).collect();
            let lines = text.split(|byte| *byte == b'\n').count();
            let mut words = 0;
            while take_word(&mut text, from, "M").is_some() {
                words += 1;
            }
            prop_assert!(words <= lines);
        }
    }

    #[test]
    fn words_are_found_in_the_middle_of_other_output() {
        let mut text = b"abcM ended 3 143\ndef".to_vec();
        assert_eq!(take_word(&mut text, 0, "M"), Some(Word::Exited(Some(3))));
        assert_eq!(text, b"abcdef");
        let mut text = b"M ended 137 14".to_vec();
        assert_eq!(take_word(&mut text, 0, "M"), None, "an incomplete line waits for its rest");
        text.extend(b"3\n");
        assert_eq!(take_word(&mut text, 0, "M"), Some(Word::Exited(None)));
        assert_eq!(take_word(&mut b"M ended 143 124\n".to_vec(), 0, "M"), Some(Word::TimedOut));
    }
}
