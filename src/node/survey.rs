//! The inspection of a node before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Layout, Listener, Origin, Program, listener, origin, programs};
use crate::foreign::{Foreign, Unfit};

/// The result of [`NodeScript::Survey`](super::NodeScript::Survey).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The installed tools among those that rollgate may need.
    pub tools: BTreeSet<String>,
    /// The programs that commands begin with and that are not found.
    pub missing: BTreeSet<Program>,
    /// The processes that listen on the service's port.
    pub listener: Listener,
    /// Where they run.
    #[serde(default)]
    pub origin: Origin,
    /// The target of the `current` link, if it is a link.
    pub current: Option<Foreign>,
    /// The folder that the link points at, if it is not one of the releases.
    #[serde(default)]
    pub elsewhere: Option<String>,
    /// The folders of releases on it, and whether rollgate has marked them as complete.
    #[serde(default)]
    pub releases: BTreeMap<String, bool>,
    /// Seconds since the `current` link was created.
    pub current_age: Option<u64>,
    /// Something other than a symlink is at `current`.
    pub current_is_no_link: bool,
    /// Free space for releases, in bytes.
    pub free: Option<u64>,
    /// Whether the releases folder and the folder of the link can be written or created.
    pub writable: bool,
    /// Whether this release is already staged completely.
    pub staged: bool,
    /// What runs from this release although it has no mark of completeness: the `current` link, or other
    /// nodes.
    pub incomplete: Option<String>,
    /// Why rollgate must not work in these folders.
    pub refused: Option<String>,
    /// The login shell or its replacement.
    pub shell: Option<String>,
    /// What the host prints before a command begins.
    pub noise: Option<String>,
}

/// Login shells that need no mention.
const USUAL_SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ash", "ksh"];

/// The name of a program.
fn name_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path).trim_start_matches('-');
    (!name.is_empty()).then(|| crate::text::line(name, 40))
}

impl Survey {
    /// Returns the name of the release that the `current` link points at.
    #[must_use]
    pub fn linked_release(&self) -> Option<Result<String, Unfit>> {
        self.linked_folder().filter(|_| self.elsewhere.is_none())
    }

    /// Returns the name of the folder that the `current` link points at, a release or not.
    #[must_use]
    pub fn linked_folder(&self) -> Option<Result<String, Unfit>> {
        self.current.as_ref()?.file_name()
    }

    /// Adds the programs that an answer names as missing, for commands with these rights.
    pub fn miss(&mut self, text: &str, sudo: bool) {
        let names = programs::missing(text).map(|name| crate::text::line(name, 200));
        self.missing.extend(names.map(|name| Program { name, sudo }));
    }

    /// Reads the answer of [`script`]; `address` is the node's own.
    #[must_use]
    pub fn parse(text: &str, address: &str) -> Self {
        let listener = Listener::parse(text, address);
        let origin = Origin::parse(text, &listener);
        let mut survey = Self { listener, origin, ..Self::default() };
        let mut writable = BTreeSet::new();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            match name {
                "tool" => {
                    survey.tools.insert(value.into());
                }
                "current" if !value.is_empty() => {
                    survey.current = Some(Foreign::new(value));
                }
                "complete" | "folder" => {
                    if let Some(Ok(folder)) = Foreign::new(value).file_name() {
                        survey.releases.insert(folder, name == "complete");
                    }
                }
                "elsewhere" => survey.elsewhere = Some(crate::text::line(value, 200)),
                "current_age" => survey.current_age = value.parse().ok(),
                "current_is_no_link" => survey.current_is_no_link = true,
                "free_kib" => {
                    survey.free = value.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024));
                }
                "writable" => {
                    writable.insert(value);
                }
                "staged" => survey.staged = true,
                "incomplete" => survey.incomplete = Some(crate::text::line(value, 200)),
                "refused" if survey.refused.is_none() => {
                    survey.refused = Some(crate::text::line(value, 300));
                }
                "shell" if survey.shell.is_none() => survey.shell = name_of(value),
                // The running parent is more exact than the account's shell; sshd itself is not a shell.
                "parent" if !value.starts_with("sshd") => survey.shell = name_of(value),
                _ => {}
            }
        }
        survey.writable = writable.len() == 2;
        survey
    }

    /// What is unusual about the login, for messages: its shell, and output of its start files.
    #[must_use]
    pub fn login(&self) -> Option<String> {
        let shell = self.shell.as_deref().filter(|shell| !USUAL_SHELLS.contains(shell));
        let shell = shell.map(|shell| format!("login shell {shell}"));
        let noise = self.noise.as_ref();
        let noise = noise.map(|noise| {
            format!(
                "its login shell prints `{noise}` before every command, which rollgate ignores: check its start files"
            )
        });
        let told: Vec<_> = shell.into_iter().chain(noise).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

pub(super) fn script(port: u16, layout: Option<&Layout>, programs: &[String]) -> String {
    let mut script = include_str!("scripts/survey.sh").to_owned();
    script += &programs::script(programs);
    if let Some(layout) = layout {
        script += &super::layout::look(layout);
    }
    // A missing `ss` is visible in the node's list of tools.
    script += &listener::script(port, 0);
    if layout.is_some() {
        script += origin::SCRIPT;
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Packing;

    #[test]
    fn unusual_login_is_reported() {
        let login = |text: &str, noise: Option<&str>| {
            let noise = noise.map(str::to_owned);
            Survey { noise, ..Survey::parse(text, "10.0.0.1:80") }.login()
        };
        assert_eq!(login("shell=/bin/bash\nparent=sshd\n", None), None);
        assert_eq!(
            login("shell=/usr/bin/fish\nparent=sshd-session\n", None).expect("told"),
            "login shell fish"
        );
        assert_eq!(
            login("shell=/bin/bash\nparent=tcsh\n", None).expect("told"),
            "login shell tcsh"
        );
        assert_eq!(
            login("shell=\n", Some("hello")).expect("told"),
            "its login shell prints `hello` before every command, which rollgate ignores: check its start files"
        );
    }

    #[test]
    fn process_shows_whether_it_runs_from_the_releases() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = socket.local_addr().expect("address").port();
        let address = format!("127.0.0.1:{port}");
        let root = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| root.path().join(name).display().to_string();
        let layout = Layout {
            releases: path("releases"),
            current: path("current"),
            name: "app-1-00000000".into(),
            sha256: String::new(),
            packing: Packing::TarGz,
            node: address.clone(),
        };
        std::fs::create_dir_all(layout.folder()).expect("mkdir");
        let origin = || {
            let script = script(port, Some(&layout), &[]);
            let output = std::process::Command::new("sh").args(["-c", &script]).output();
            let text = output.expect("sh runs").stdout;
            Survey::parse(&String::from_utf8_lossy(&text), &address).origin
        };
        let here = std::env::current_dir().expect("a folder").display().to_string();
        assert_eq!(origin(), Origin::Elsewhere(here));
        // An open file is enough.
        let _open = std::fs::File::create(path("releases/app-1-00000000/app.jar")).expect("a file");
        assert_eq!(origin(), Origin::Releases);
    }

    #[test]
    fn a_real_folder_is_surveyed() {
        let root = tempfile::tempdir().expect("temp dir");
        let layout = Layout {
            releases: root.path().join("a/b").display().to_string(),
            current: root.path().join("current").display().to_string(),
            name: "app-1-00000000".into(),
            sha256: String::new(),
            packing: Packing::TarGz,
            node: "127.0.0.1:1".into(),
        };
        let look = || {
            let output = std::process::Command::new("sh")
                .args(["-c", &script(1, Some(&layout), &["tar".into(), "no-such-program".into()])])
                .output()
                .expect("sh runs");
            let text = String::from_utf8_lossy(&output.stdout);
            let mut survey = Survey::parse(&text, "127.0.0.1:1");
            survey.miss(&text, false);
            survey
        };
        let empty = look();
        assert!(empty.writable && !empty.staged && empty.current.is_none());
        assert!(empty.tools.contains("tar") && empty.free > Some(0));
        let missing: Vec<_> = empty.missing.iter().map(|program| program.name.as_str()).collect();
        assert_eq!(missing, ["no-such-program"]);
        assert!(!empty.listener.bound);
        std::fs::create_dir_all(layout.folder()).expect("mkdir");
        std::os::unix::fs::symlink(layout.folder(), &layout.current).expect("symlink");
        // Names that are not plain are never read as further lines.
        for hostile in ["a b", "x\ncomplete=y"] {
            std::fs::create_dir(root.path().join("a/b").join(hostile)).expect("mkdir");
        }
        let staged = look();
        assert!(staged.staged);
        assert_eq!(staged.releases, [(layout.name.clone(), false)].into());
        let ledger = root.path().join("a/b/.rollgate");
        std::fs::create_dir(&ledger).expect("mkdir");
        std::fs::write(ledger.join(&layout.name), "sha256=").expect("a mark");
        assert_eq!(look().releases, [(layout.name.clone(), true)].into());
        assert_eq!(staged.current, Some(Foreign::new(layout.folder())));
        assert_eq!(staged.linked_release(), Some(Ok("app-1-00000000".to_owned())));
        // A folder of the same name that is not one of the releases.
        let other = root.path().canonicalize().expect("a folder").join("app-1-00000000");
        std::fs::create_dir(&other).expect("mkdir");
        std::fs::remove_file(&layout.current).expect("remove");
        std::os::unix::fs::symlink("app-1-00000000", &layout.current).expect("symlink");
        let elsewhere = look();
        assert_eq!(elsewhere.elsewhere, Some(other.display().to_string()));
        assert_eq!(elsewhere.linked_release(), None);
        std::fs::remove_file(&layout.current).expect("remove");
        std::fs::create_dir(&layout.current).expect("mkdir");
        assert!(look().current_is_no_link);
    }
}
