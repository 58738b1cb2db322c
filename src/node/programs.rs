//! The programs that commands begin with, and whether a node has them.

use serde::{Deserialize, Serialize};

use crate::shell::assign;

/// A program that a command begins with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Program {
    /// Its name or path, as in the command.
    pub name: String,
    /// Whether the command runs with sudo, which may search other folders.
    pub sudo: bool,
}

/// Returns the program that a command begins with. `None` if its first word is not a plain name or path (shell
/// syntax, a variable, an assignment), or if another command runs in its place when it fails.
#[must_use]
pub fn program_of(command: &str) -> Option<&str> {
    let mut lines = command.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let end = line.find(|letter: char| !is_plain(letter)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let is_whole = rest.is_empty() || rest.starts_with([' ', '\t', ';', '&', '|', '<', '>']);
    let is_function = rest.trim_start().starts_with('(');
    // `stop-app || true` allows that the program fails, also because there is none.
    let may_fail = line.contains("||");
    (is_whole && !is_function && !may_fail && !word.is_empty() && !word.starts_with('-'))
        .then_some(word)
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-./+@%,:".contains(letter)
}

/// The script that names the missing ones of these programs.
pub(super) fn script(names: &[String]) -> String {
    assign(&[("programs", &names.join(" "))]) + include_str!("scripts/programs.sh")
}

/// Reads the names of missing programs from an answer.
pub(super) fn missing(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("missing="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeScript;
    use crate::node::tests::{SHELLS, Shell};

    #[test]
    fn only_a_plain_first_word_is_a_program() {
        for (command, program) in [
            ("systemctl restart app", Some("systemctl")),
            ("  /opt/app/bin/stop; sleep 1", Some("/opt/app/bin/stop")),
            ("# first\n\nsvc stop\nsvc wait", Some("svc")),
            ("./stop", Some("./stop")),
            ("true&", Some("true")),
            ("PATH=/opt/bin:$PATH svc stop", None),
            ("$HOME/bin/stop", None),
            ("\"/opt/my app/stop\"", None),
            ("(svc stop)", None),
            ("{ svc stop; }", None),
            ("! svc stop", None),
            ("stop() { svc stop; }; stop", None),
            ("stop () { svc stop; }; stop", None),
            ("sv* stop", None),
            ("svc stop || true", None),
            ("~/bin/stop", None),
            ("", None),
        ] {
            assert_eq!(program_of(command), program, "{command}");
        }
    }

    #[test]
    fn missing_programs_are_named_by_every_shell() {
        let root = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| root.path().join(name).display().to_string();
        std::os::unix::fs::symlink(path("current/bin/app"), path("app")).expect("a symlink");
        let names = ["sh", "if", "cd", "/bin/sh", &path("app"), "no-such-program", &path("none")];
        let names = names.map(str::to_owned).into();
        let script = NodeScript::Programs { names };
        for shell in SHELLS.map(Shell::new) {
            let answer = shell.run(&script, "");
            let told = String::from_utf8_lossy(&answer.stdout).into_owned();
            let missing: Vec<_> = missing(&told).collect();
            assert_eq!(missing, ["no-such-program", &path("none")], "{told}");
        }
    }
}
