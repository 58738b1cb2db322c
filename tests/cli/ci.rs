//! Forms of the log for CI systems, and the log file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{Case, SMALL};

/// A playbook with an unknown key in its third line.
const WRONG: &str = "service: app\n\nhelth: {}\n";

fn github(files: &[(&str, &[u8])]) -> Case {
    let case = Case::new(files).env("GITHUB_ACTIONS", "true").env("CI", "true");
    let folder = case.folder().display().to_string();
    let summary = case.folder().join("summary.md").display().to_string();
    case.env("GITHUB_WORKSPACE", &folder).env("GITHUB_STEP_SUMMARY", &summary)
}

fn summary(case: &Case) -> String {
    fs::read_to_string(case.folder().join("summary.md")).unwrap_or_default()
}

#[test]
fn github_shows_each_problem_of_a_playbook_at_its_line() {
    let case = github(&[("app.yaml", WRONG.as_bytes())]);
    let whole = case.folder().join("app.yaml").display().to_string();
    for file in ["app.yaml", &whole] {
        let (_, told) = case.exits(2, &["check", file]);
        let errors: Vec<_> = told.lines().filter(|line| line.starts_with("::error ")).collect();
        let unknown = "::error file=app.yaml,line=3,col=1,title=helth::unknown key `helth`; did you mean `health`?";
        assert!(errors.iter().any(|error| error.starts_with(unknown)), "{told}");
    }
    assert_eq!(summary(&case).matches("### rollgate did not start\n\n```text\n").count(), 2);
    assert!(summary(&case).contains("--> app.yaml:3:1"), "{}", summary(&case));
}

#[test]
fn other_ci_systems_and_people_get_no_commands_of_githubs() {
    let files: &[(&str, &[u8])] = &[("app.yaml", WRONG.as_bytes())];
    for system in ["none", "gitlab", "jenkins"] {
        let case = github(files);
        let (_, told) = case.exits(2, &["check", "app.yaml", "--ci", system]);
        assert!(!told.contains("::error"), "{told}");
        assert_eq!(summary(&case), "");
    }
    let (_, told) = Case::new(files).exits(2, &["check", "app.yaml", "--ci", "github"]);
    assert!(told.contains("\n::error file="), "{told}");
}

#[test]
fn github_shows_why_a_command_was_refused_and_its_plan() {
    let case = github(&[("app.yaml", SMALL.as_bytes())]);
    let deploy = ["deploy", "app.yaml", "--var", "version=2", "--yes"];
    let (_, told) = case.exits(3, &deploy);
    let errors: Vec<_> = told.lines().filter(|line| line.starts_with("::error ")).collect();
    assert!(
        matches!(errors.as_slice(), [error] if error.starts_with("::error title=rollgate::")),
        "{told}"
    );
    case.exits(3, &["plan", "app.yaml", "--var", "version=2"]);
    let summary = summary(&case);
    assert!(summary.contains("### rollgate plan\n\n```text\napp "), "{summary}");
}

#[test]
fn log_file_has_everything_with_dates_also_of_later_commands() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes()), ("wrong.yaml", WRONG.as_bytes())]);
    let log = ["--log-file", "rollgate.log"];
    case.exits(2, &[&["check", "wrong.yaml", "--color", "always"][..], &log].concat());
    case.exits(0, &[&["status", "app.yaml", "--quiet"][..], &log].concat());
    let path = case.folder().join("rollgate.log");
    let mode = fs::metadata(&path).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("a log");
    let dated: Vec<_> = text.lines().filter(|line| line.starts_with("20")).collect();
    let said: Vec<_> = dated.iter().map(|line| line.split_once(' ').expect("a time").1).collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        said,
        [
            &format!("rollgate {version} check"),
            "exit 2",
            &format!("rollgate {version} status"),
            "exit 0"
        ]
    );
    assert!(text.contains("unknown key `helth`") && text.contains("NODE "), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn log_file_that_cannot_be_written_is_refused() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes()), ("precious", b"kept")]);
    symlink("precious", case.folder().join("link")).expect("a symlink");
    for path in ["link", "none/rollgate.log", "."] {
        let (_, told) = case.exits(2, &["status", "app.yaml", "--log-file", path]);
        assert!(told.contains(&format!("cannot write the log file {path}: ")), "{told}");
    }
    assert_eq!(fs::read(case.folder().join("precious")).expect("a file"), b"kept");
}
