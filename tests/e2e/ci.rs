//! CI systems: the action for GitHub and the template for GitLab. A stand-in for their runners executes them with real
//! releases.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rollgate_lab::Fault;
use yaml_serde::Value;

use crate::harness::{Bench, Ran, quick, rollgate, signal};

fn bench() -> Bench {
    Bench::with(rollgate_lab::LabConfig::new(2, vec![quick(1)]), |playbook| {
        playbook["health"]["deadline"] = "3s".into();
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).expect("a file of the repository");
    yaml_serde::from_str(&text).expect("YAML")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| panic!("{value:?} is no text"), str::to_owned)
}

/// The variables of a mapping, with their values as a runner fills them in.
fn variables(mapping: &Value, fill: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let entries = mapping.as_mapping().into_iter().flatten();
    entries.map(|(name, value)| (text(name), fill(&text(value)))).collect()
}

/// A script as a runner starts it, with rollgate on its PATH.
fn shell(bench: &Bench, options: &[&str], name: &str, script: &str) -> Command {
    let (tools, file) = (bench.lab.directory().join("path"), bench.lab.directory().join(name));
    std::fs::create_dir_all(&tools).expect("a folder");
    if !tools.join("rollgate").exists() {
        symlink(rollgate(), tools.join("rollgate")).expect("a symlink");
    }
    std::fs::write(&file, script).expect("a script");
    let mut command = bench.lab.command(Path::new("bash"));
    let path = std::env::var("PATH").expect("PATH");
    command.args(options).arg(file).env("PATH", format!("{}:{path}", tools.display()));
    command.env("CI", "true").stdin(Stdio::null());
    command
}

/// The steps of the action with these inputs, as GitHub's runner starts them.
fn steps(bench: &Bench, inputs: &[(&str, &str)]) -> Vec<Command> {
    let action = read("action.yml");
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for (name, input) in action["inputs"].as_mapping().expect("inputs") {
        given.insert(text(name), input.get("default").map(text).unwrap_or_default());
    }
    given.extend(inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let fill = |value: &str| {
        let mut filled = value.to_owned();
        for (name, value) in &given {
            filled = filled.replace(&format!("${{{{ inputs.{name} }}}}"), value);
        }
        filled = filled.replace("${{ github.action_path }}", root().to_str().expect("UTF-8"));
        assert!(!filled.contains("${{"), "{filled}");
        filled
    };
    assert_eq!(action["runs"]["using"], "composite");
    let steps = action["runs"]["steps"].as_sequence().expect("steps");
    let step = |(number, step): (usize, &Value)| {
        assert_eq!(step["shell"], "bash");
        let script = text(&step["run"]);
        assert!(!script.contains("${{"), "a value would become a part of the script: {script}");
        let options = ["--noprofile", "--norc", "-eo", "pipefail"];
        let mut command = shell(bench, &options, &format!("step-{number}.sh"), &script);
        command.envs(variables(&step["env"], fill)).env("GITHUB_ACTIONS", "true");
        command.env("GITHUB_STEP_SUMMARY", summary(bench));
        command.env("GITHUB_WORKSPACE", bench.lab.directory());
        command
    };
    steps.iter().enumerate().map(step).collect()
}

fn summary(bench: &Bench) -> PathBuf {
    bench.lab.directory().join("summary.md")
}

/// Runs the action, and returns its last step.
fn act(bench: &Bench, inputs: &[(&str, &str)]) -> Ran {
    let mut steps = steps(bench, inputs);
    let mut last = steps.pop().expect("a step");
    for mut step in steps {
        Ran(step.output().expect("bash runs")).exits(0);
    }
    Ran(last.output().expect("bash runs"))
}

/// Asserts that groups are opened and closed in turn, and returns the lines outside them.
#[track_caller]
fn outside(log: &str) -> Vec<&str> {
    let (mut is_open, mut outside) = (false, Vec::new());
    for line in log.lines() {
        match line {
            _ if line.starts_with("::group::") => {
                assert!(!std::mem::replace(&mut is_open, true), "{log}");
            }
            "::endgroup::" => {
                assert!(std::mem::replace(&mut is_open, false), "{log}");
            }
            _ if !is_open => outside.push(line),
            _ => {}
        }
    }
    assert!(!is_open, "{log}");
    outside
}

#[test]
fn action_for_github_releases_and_shows_what_failed() {
    let bench = bench();
    let load = bench.load();
    let inputs = |version| {
        [("playbook", bench.file()), ("variables", version), ("arguments", "--lock-wait\n1m\n")]
    };
    let log = act(&bench, &inputs("version=2\n")).exits(0).stderr();
    assert!(log.contains("::group::node-1 1/2\n"), "{log}");
    let seen = outside(&log);
    assert!(seen.iter().any(|line| line.contains(" node-2    2/2 done ")), "{log}");
    assert!(!seen.iter().any(|line| line.contains(" drained ")), "{log}");
    assert!(!log.contains("\n::error"), "{log}");
    bench.lab.artifact("9", Fault::CrashOnStart).expect("an artifact");
    let log = act(&bench, &inputs("version=9\r\n\n")).exits(20).stderr();
    let seen = outside(&log);
    let errors: Vec<_> = seen.iter().filter(|line| line.starts_with("::error ")).collect();
    assert!(
        matches!(errors.as_slice(), [error] if error.starts_with("::error title=node-1::health: ")),
        "{log}"
    );
    assert!(seen.iter().any(|line| line.starts_with("FAILED  release ")), "{log}");
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}");
    let page = std::fs::read_to_string(summary(&bench)).expect("a summary");
    let headings: Vec<_> = page.lines().filter(|line| line.starts_with("### ")).collect();
    assert!(
        matches!(headings.as_slice(), [done, failed]
            if done.starts_with("### DONE release ") && failed.starts_with("### FAILED release ")),
        "{page}"
    );
    assert!(page.contains("| node-1 | ") && page.contains("OUT OF ROTATION"), "{page}");
}

#[test]
fn cancelled_job_of_github_leaves_its_node_in_rotation() {
    let bench = bench();
    let mut steps = steps(&bench, &[("playbook", bench.file()), ("variables", "version=2")]);
    let mut last = steps.pop().expect("a step");
    let log = std::fs::File::create(bench.lab.directory().join("job.log")).expect("a file");
    let mut job = last.stderr(log).spawn().expect("bash starts");
    let log = bench.lab.directory().join("job.log");
    let begun = rollgate_lab::until("the first node", std::time::Duration::from_secs(30), || {
        Ok(std::fs::read_to_string(&log)?.contains("::group::node-1 ").then_some(()))
    });
    begun.expect("under way");
    signal(job.id(), "-INT");
    let code = job.wait().expect("it ends").code();
    let log = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(code, Some(10), "{log}");
    assert!(outside(&log).iter().any(|line| line.contains(" stopping ")), "{log}");
    assert!(!bench.is_down(0) && !bench.is_down(1), "{log}");
}

#[test]
fn template_for_gitlab_releases_in_sections() {
    let bench = bench();
    let job = &read("ci/gitlab.yml")[".rollgate"];
    let given = BTreeMap::from([("CI_COMMIT_SHORT_SHA", "2"), ("VERSION", "2")]);
    let fill = |value: &str| {
        let mut filled = value.to_owned();
        for (name, value) in &given {
            filled = filled.replace(&format!("${name}"), value);
        }
        assert!(!filled.contains('$'), "{filled}");
        filled
    };
    let lines = job["script"].as_sequence().expect("a script").iter().map(text);
    let script = lines.collect::<Vec<_>>().join("\n");
    let mut command = shell(&bench, &["-eo", "pipefail"], "job.sh", &script);
    command.envs(variables(&job["variables"], fill)).env("PLAYBOOK", bench.file());
    let ran = Ran(command.env("GITLAB_CI", "true").output().expect("bash runs")).exits(0);
    let log = ran.stderr();
    let opened = log.matches("\u{1b}[0Ksection_start:").count();
    assert_eq!((opened, log.matches("\u{1b}[0Ksection_end:").count()), (3, 3), "{log}");
    assert!(log.contains("[collapsed=true]\r\u{1b}[0Knode-2 2/2\n"), "{log}");
    let written = &job["artifacts"]["paths"][0];
    let kept = std::fs::read_to_string(bench.lab.directory().join(text(written))).expect("a log");
    assert!(
        kept.contains(" node-2    2/2 confirm_in  ...") && kept.contains("DONE  release"),
        "{kept}"
    );
    assert!(kept.trim_end().ends_with(" exit 0") && !kept.contains('\u{1b}'), "{kept}");
}
