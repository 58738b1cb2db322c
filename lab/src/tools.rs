//! Finds the programs of the lab, also where `PATH` lacks the system directories.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// Where Debian keeps daemons, which many users do not have on their `PATH`.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Where `scripts/setup` puts programs that Debian does not have, unless this variable names another place.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin");
const TOOLS_VARIABLE: &str = "ROLLGATE_LAB_TOOLS";

/// Names the binary that nodes run when it is not found beside the running program.
const LAB_BINARY_VARIABLE: &str = "ROLLGATE_LAB_BIN";

/// Returns the path of `program`.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("`{program}` is not installed; run `scripts/setup`"))
}

/// Returns the path of a program that `scripts/setup` has fetched, or that is installed.
pub(crate) fn fetched(program: &str) -> Result<PathBuf> {
    let tools = env::var_os(TOOLS_VARIABLE).map_or_else(|| PathBuf::from(TOOLS), PathBuf::from);
    let fetched = tools.join(program);
    if fetched.is_file() { Ok(fetched) } else { find(program) }
}

/// Runs `command` to its end; a failure has its output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("could not run {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(output.stdout)
}

/// Fails unless the user may create mount and process namespaces.
pub(crate) fn require_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the lab needs root: every node is a mount and process namespace of its own"
    );
    Ok(())
}

/// Returns the `lab` binary: the running program, one built beside it, or the one named by
/// `ROLLGATE_LAB_BIN`.
pub(crate) fn lab_binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os(LAB_BINARY_VARIABLE) {
        return Ok(PathBuf::from(named));
    }
    let own = env::current_exe().context("could not read the running program's path")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("lab"))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!(
                "no `lab` binary near {}; run `cargo build --workspace`, or set {LAB_BINARY_VARIABLE}",
                own.display()
            )
        })
}

/// Returns the command lines of all processes that have this home in their environment.
pub(crate) fn processes_with_home(home: &Path) -> Vec<String> {
    let wanted = format!("HOME={}", home.display());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let text =
        |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| text(path.join("environ")).split('\0').any(|variable| variable == wanted))
        .map(|path| text(path.join("cmdline")).replace('\0', " ").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Returns the last lines of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
