//! Completes values in the shell: playbooks, and the nodes, tags, variables and releases of the playbook on the command
//! line. It reads local files only. A mistake in a file gives fewer suggestions, never a message.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::builder::ArgExt;
use clap::{Arg, ArgMatches, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};
use clap_complete::env::Shells;
use jiff::Timestamp;

use super::shells::{SHELLS, VARIABLE};
use crate::playbook::{self, Playbook};
use crate::release::EventKind;
use crate::{file, journal, text};

/// The shell's scripts put this before the words to complete.
const SEPARATOR: &str = "--";

/// What stands for the unfinished word when the line is parsed.
const UNFINISHED: &str = "unfinished";

/// How much of a file is read to recognise a playbook, in bytes.
const START: u64 = 64 * 1024;

/// The longest value that is suggested, in bytes.
const LONGEST: usize = 100;

/// The command line to complete. The functions that suggest values take no arguments.
static COMMAND: OnceLock<fn() -> Command> = OnceLock::new();

/// Answers a shell that asks for completions of a command line, and returns whether it could. `None` if rollgate was
/// started for anything else.
pub(super) fn answer(command: fn() -> Command) -> Option<bool> {
    env::var_os(VARIABLE)?;
    // A variable that is set by mistake must not replace a release.
    if env::args_os().nth(1)? != SEPARATOR {
        return None;
    }
    // The shell would print a message into the line that is being typed.
    std::panic::set_hook(Box::new(|_| {}));
    COMMAND.get_or_init(|| command);
    let completer = CompleteEnv::with_factory(suggesting).var(VARIABLE).shells(Shells(SHELLS));
    Some(completer.try_complete(env::args_os(), env::current_dir().ok().as_deref()).is_ok())
}

fn command() -> Command {
    COMMAND.get().map_or_else(|| Command::new(""), |command| command())
}

/// The command line, whose options are suggested only after a `-`, or if there is nothing else to suggest.
fn suggesting() -> Command {
    let words: Vec<_> = words().collect();
    let word = words.get(index(words.len()));
    let is_option = word.is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    if is_option { command() } else { without_options(command()) }
}

fn without_options(command: Command) -> Command {
    let hidden = |arg: Arg| if arg.is_positional() { arg } else { arg.hide(true) };
    let command = command.mut_args(hidden).mut_subcommands(without_options);
    command.disable_help_flag(true).disable_version_flag(true)
}

/// The words of the command line that is being typed.
fn words() -> impl Iterator<Item = OsString> {
    env::args_os().skip_while(|word| word != SEPARATOR).skip(1)
}

/// The place of the unfinished word. Fish and PowerShell end the line with it.
fn index(count: usize) -> usize {
    let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    index.unwrap_or(count.saturating_sub(1))
}

/// Completes a playbook's file.
pub(super) fn playbooks() -> impl ArgExt {
    ArgValueCompleter::new(|current: &OsStr| {
        PathCompleter::any().filter(is_playbook).complete(current)
    })
}

/// Completes the names of nodes.
pub(super) fn nodes() -> impl ArgExt {
    ArgValueCandidates::new(|| {
        let Some(line) = Line::read() else { return Vec::new() };
        let names = line.nodes();
        names.filter(|candidate| !line.has(candidate.get_value())).collect()
    })
}

/// Completes the names and the tags of nodes.
pub(super) fn selections() -> impl ArgExt {
    ArgValueCandidates::new(|| {
        let Some(line) = Line::read() else { return Vec::new() };
        line.nodes().chain(line.tags()).collect()
    })
}

/// Completes the names of variables, up to the `=`.
pub(super) fn variables() -> impl ArgExt {
    ArgValueCandidates::new(|| {
        let Some(line) = Line::read() else { return Vec::new() };
        let names = line.playbook.variables.iter().filter(|(name, _)| is_plain(name));
        let candidates = names.map(|(name, variable)| {
            let help = match &variable.default {
                Some(default) => format!("default {}", text::line(default, LONGEST)),
                None if variable.required => "required".to_owned(),
                None => "optional".to_owned(),
            };
            candidate(format!("{name}="), help)
        });
        candidates.collect()
    })
}

/// Completes the ids of the releases on this machine, the newest first.
pub(super) fn releases() -> impl ArgExt {
    ArgValueCandidates::new(|| Line::read().map_or_else(Vec::new, |line| line.releases()))
}

/// Returns whether a file looks like a playbook, by its name and the key that every playbook has: most YAML files are
/// something else.
fn is_playbook(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let Some(file) = is_yaml.then(|| file::open_regular(path).ok()).flatten() else { return false };
    let mut start = Vec::new();
    let has_start = file.take(START).read_to_end(&mut start).is_ok();
    has_start && start.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"service:"))
}

/// A value that needs no quotes in any shell. Others come from a file, and are not put on the command line.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
    !value.is_empty()
        && value.len() <= LONGEST
        && !value.starts_with('-')
        && value.bytes().all(plain)
}

fn candidate(value: impl Into<OsString>, help: String) -> CompletionCandidate {
    CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into()))
}

/// The command line that is being typed, with its playbook.
struct Line {
    words: Vec<OsString>,
    folder: PathBuf,
    state_dir: Option<PathBuf>,
    playbook: Playbook,
}

impl Line {
    /// Reads the words after [`SEPARATOR`], and the playbook among them.
    fn read() -> Option<Self> {
        let mut words: Vec<_> = words().map(unquoted).collect();
        let index = index(words.len());
        // An option before it must not take the next word as its value.
        match words.get_mut(index) {
            Some(word) => *word = UNFINISHED.into(),
            None => words.push(UNFINISHED.into()),
        }
        let command = command().ignore_errors(true);
        let matches = command.try_get_matches_from(&words).ok()?;
        let mut matches = &matches;
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        let file = path(matches, "file")?;
        let playbook = playbook::glance(&file)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Some(Self { words, folder, state_dir: path(matches, "state_dir"), playbook })
    }

    fn has(&self, word: &OsStr) -> bool {
        self.words.iter().any(|other| other == word)
    }

    fn nodes(&self) -> impl Iterator<Item = CompletionCandidate> {
        let nodes = self.playbook.nodes.iter().filter(|node| is_plain(node.display_name()));
        nodes.map(|node| candidate(node.display_name(), text::line(&node.address, LONGEST)))
    }

    fn tags(&self) -> impl Iterator<Item = CompletionCandidate> {
        let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
        let all = self.playbook.nodes.iter().flat_map(|node| &node.tags);
        for tag in all.filter(|tag| is_plain(tag)) {
            *tags.entry(tag).or_default() += 1;
        }
        let help = |count| format!("tag of {}", text::count(count, "node"));
        tags.into_iter().map(move |(tag, count)| candidate(tag, help(count)))
    }

    fn releases(&self) -> Vec<CompletionCandidate> {
        if !is_plain(&self.playbook.service) {
            return Vec::new();
        }
        let state = self.state_dir.clone().unwrap_or_else(|| self.folder.join(".rollgate"));
        let mut found: Vec<_> = journal::beginnings(&state.join(&self.playbook.service)).collect();
        found.sort_by_key(|(event, ..)| std::cmp::Reverse(event.at));
        let now = Timestamp::now();
        let candidates = found.into_iter().filter_map(|(event, id, _)| {
            let EventKind::ReleaseStarted(started) = event.fact else { return None };
            let ago = text::elapsed(event.at, now);
            let help = format!("{}{}, {ago} ago", started.command, started.versions());
            Some(candidate(id, text::line(&help, LONGEST)))
        });
        candidates.collect()
    }
}

fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    let path = matches.try_get_one::<PathBuf>(name).ok()??;
    match path.strip_prefix("~") {
        Ok(rest) => Some(PathBuf::from(env::var_os("HOME")?).join(rest)),
        Err(_) => Some(path.clone()),
    }
}

/// A word without its quotes and backslashes, which Bash and Zsh pass on.
fn unquoted(word: OsString) -> OsString {
    let Some(text) = word.to_str() else { return word };
    let quoted = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let inner = quoted('\'').or_else(|| quoted('"')).map(str::to_owned);
    inner.unwrap_or_else(|| text.replace('\\', "")).into()
}
