//! The shells that complete rollgate's command line: the script for each, and the form of its suggestions.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use crate::shell;

/// The variable by which a shell asks for completions.
pub(super) const VARIABLE: &str = "ROLLGATE_COMPLETE";

/// The program's name, which the scripts look up in `PATH`.
const PROGRAM: &str = "rollgate";

/// The shells that are supported.
pub(super) const SHELLS: &[&dyn EnvCompleter] =
    &[&QuotingBash, &Elvish, &Fish, &Powershell, &OpenZsh];

/// Returns the script by which a shell asks for completions.
pub(super) fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    if let Some(shell) = Shells(SHELLS).completer(&shell.to_string()) {
        // Writing to memory does not fail.
        let _ = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut text);
    }
    format!("{}\n", String::from_utf8_lossy(&text).trim())
}

/// Bash, which puts a suggestion on the command line as it is. The other shells quote it themselves.
struct QuotingBash;

impl EnvCompleter for QuotingBash {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        bin: &str,
        completer: &str,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        Bash.write_registration(variable, name, bin, completer, out)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let variable = |name| std::env::var(name).ok();
        let index = variable("_CLAP_COMPLETE_INDEX").and_then(|index| index.parse().ok());
        let separator = variable("_CLAP_IFS").unwrap_or_else(|| "\n".to_owned());
        let found = engine::complete(command, words, index.unwrap_or_default(), folder)?;
        let values: Vec<_> =
            found.iter().map(|found| quoted(&found.get_value().to_string_lossy())).collect();
        out.write_all(values.join(&separator).as_bytes())
    }
}

/// Zsh with a script that puts no space after `version=`, and that answers at its first use.
struct OpenZsh;

impl EnvCompleter for OpenZsh {
    fn name(&self) -> &'static str {
        Zsh.name()
    }

    fn is(&self, name: &str) -> bool {
        Zsh.is(name)
    }

    fn write_registration(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        out.write_all(include_bytes!("shells/rollgate.zsh"))
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        Zsh.write_complete(command, words, folder, out)
    }
}

/// Quotes a suggestion, unless it is an option. `~/` at its start keeps its meaning.
fn quoted(value: &str) -> String {
    match value.strip_prefix("~/") {
        Some(rest) if !rest.is_empty() => format!("~/{}", shell::quote(rest)),
        None if !value.starts_with('-') => shell::quote(value),
        _ => value.to_owned(),
    }
}
