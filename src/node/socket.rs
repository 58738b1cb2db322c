//! Sends a line to a Unix socket with any suitable tool of the machine.
//!
//! The other side must close after its answer (HAProxy's runtime API does). No tool is asked to close its own
//! half first: the line break ends the request.

use crate::shell::assign;

/// Exit status when the machine has no suitable tool.
const NO_TOOL: i32 = 69;

pub(super) fn script(path: &str, say: &str) -> String {
    let variables = assign(&[
        ("path", path),
        ("say", say),
        ("socat_address", &format!("UNIX-CONNECT:{}", for_socat(path))),
        ("perl", include_str!("scripts/socket.pl")),
        ("python", include_str!("scripts/socket.py")),
        ("no_tool", &NO_TOOL.to_string()),
    ]);
    variables + include_str!("scripts/socket.sh")
}

/// A path as one part of a socat address, in which quotes, colons and other characters have a meaning.
fn for_socat(path: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-".contains(character);
    path.chars().fold(String::new(), |mut escaped, character| {
        escaped.extend((!is_plain(character)).then_some('\\'));
        escaped.push(character);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use super::*;

    /// Answers with its input, twice as many bytes as a pipe holds, and closes.
    fn listen(path: &Path) {
        let listener = UnixListener::bind(path).expect("bind");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).expect("a line");
                let answer = format!("{}{line}", "x".repeat(128 << 10));
                stream.write_all(answer.as_bytes()).expect("written");
            }
        });
    }

    /// The path of a tool, behind the shims of version managers.
    fn find(tool: &str) -> Option<PathBuf> {
        ["/usr/bin", "/bin"].iter().map(|bin| Path::new(bin).join(tool)).find(|path| path.exists())
    }

    /// Runs the script where only this tool can be found.
    fn run(tool: Option<&str>, folder: &Path, socket: &Path, say: &str) -> Option<Output> {
        let bin = folder.join(format!("bin-{}", tool.unwrap_or("none")));
        std::fs::create_dir_all(&bin).expect("mkdir");
        for tool in ["grep"].into_iter().chain(tool) {
            let _ = std::fs::remove_file(bin.join(tool));
            symlink(find(tool)?, bin.join(tool)).expect("symlink");
        }
        let script = script(&socket.display().to_string(), say);
        let output = Command::new("/bin/sh").args(["-c", &script]).env("PATH", bin).output();
        Some(output.expect("sh runs"))
    }

    #[test]
    fn every_tool_sends_the_same_and_returns_the_whole_answer() {
        let folder = tempfile::tempdir().expect("temp dir");
        let socket = folder.path().join("it's a socket");
        listen(&socket);
        let said = r#"set server app/s1 state 'drain'; "$HOME" %s \n"#;
        let mut tried = 0;
        for tool in ["perl", "python3", "socat", "nc"] {
            let Some(output) = run(Some(tool), folder.path(), &socket, said) else { continue };
            if output.status.code() == Some(NO_TOOL) {
                assert_eq!(tool, "nc", "traditional nc knows no sockets");
                continue;
            }
            let answer = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(answer.len(), (128 << 10) + said.len() + 1, "{tool}: {error}");
            assert!(answer.ends_with(&format!("x{said}\n")), "{tool}: {}", &answer[128 << 10..]);
            tried += 1;
        }
        assert!(tried > 0, "this machine has none of the tools");
    }

    #[test]
    fn missing_tool_or_socket_is_an_error() {
        let folder = tempfile::tempdir().expect("temp dir");
        let socket = folder.path().join("socket");
        for tool in ["perl", "python3", "socat", "nc"] {
            let Some(output) = run(Some(tool), folder.path(), &socket, "x") else { continue };
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && error.contains("socket: "), "{tool}: {error}");
        }
        std::fs::write(&socket, "").expect("a file");
        let output = run(None, folder.path(), &socket, "x").expect("runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(NO_TOOL));
        assert!(error.starts_with("none of perl, python3, socat and"), "{error}");
    }
}
