//! What is published of a release, as far as it can be tested without building it. `scripts/package --check` does the
//! rest.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Case, root};

fn script(name: &str, arguments: &[&str]) -> Output {
    let script = root().join("scripts").join(name);
    Command::new(script).args(arguments).current_dir("/").output().expect("the script runs")
}

#[track_caller]
fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn in_root(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(root()).output().expect("it runs")
}

/// The program of `build.rs`.
fn build_script(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("build");
    let (source, target) = (root().join("build.rs"), program.display().to_string());
    text(&in_root("rustc", &["--edition", "2024", &source.display().to_string(), "-o", &target]));
    program
}

/// The version that `build.rs` makes for the source in a folder.
fn version(program: &Path, folder: &Path, profile: &str) -> String {
    let mut command = Command::new(program);
    let command =
        command.current_dir(folder).env("PROFILE", profile).env("CARGO_PKG_VERSION", "1.2.3");
    let lines = text(&command.output().expect("it runs"));
    let version =
        lines.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=ROLLGATE_VERSION="));
    version.expect("a version").to_owned()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=x", "-c", "user.email=x@example.com"]);
    text(&command.args(arguments).output().expect("git runs")).trim().to_owned()
}

#[test]
fn release_build_names_its_commit_with_git_and_from_an_archive() {
    let scratch = tempfile::tempdir().expect("a folder");
    let program = build_script(scratch.path());
    let source = scratch.path().join("source");
    std::fs::create_dir_all(source.join("scripts")).expect("a folder");
    for name in ["scripts/commit", ".gitattributes"] {
        std::fs::copy(root().join(name), source.join(name)).expect("copied");
    }
    assert_eq!(version(&program, &source, "release"), "1.2.3", "without git");
    git(&source, &["init", "--quiet"]);
    git(&source, &["add", "."]);
    git(&source, &["commit", "--quiet", "--message", "x", "--date", "2026-01-31T23:00:00-08:00"]);
    let hash = git(&source, &["rev-parse", "HEAD"]);
    let date = git(&source, &["log", "-1", "--format=%cs"]);
    let expected = format!("1.2.3 ({} {date})", &hash[..10]);
    assert_eq!(version(&program, &source, "release"), expected);
    assert_eq!(version(&program, &source, "debug"), "1.2.3");
    let archive = source.join("unpacked");
    std::fs::create_dir(&archive).expect("a folder");
    let tar = archive.join("a.tar").display().to_string();
    git(&source, &["archive", "--output", &tar, "HEAD"]);
    text(
        &Command::new("tar")
            .args(["-x", "-f", &tar, "-C"])
            .arg(&archive)
            .output()
            .expect("tar runs"),
    );
    // It is inside a repository that is not its own.
    assert_eq!(version(&program, &archive, "release"), expected);
    std::fs::write(archive.join("scripts/commit"), "$Format:%H %cs$\n").expect("written");
    assert_eq!(version(&program, &archive, "release"), "1.2.3", "another project's commit");
}

#[test]
fn version_of_a_debug_build_has_no_commit() {
    let (stdout, _) = Case::new(&[]).exits(0, &["--version"]);
    assert_eq!(stdout, format!("rollgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn release_notes_are_cut_from_the_changelog() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("a changelog");
    let notes = text(&script("release-notes", &["0.1.0"]));
    assert!(notes.starts_with("# rollgate 0.1.0\n\n### "), "{notes}");
    let last = changelog.trim_end().lines().rfind(|line| line.starts_with("- ")).expect("a change");
    assert!(notes.contains(last) && notes.ends_with('\n') && !notes.ends_with("\n\n"), "{notes}");
    assert!(!notes.contains("## ["), "{notes}");
    let unreleased = text(&script("release-notes", &[]));
    assert!(!unreleased.contains(last), "{unreleased}");
    let unknown = script("release-notes", &["9.9.9"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no changes of 9.9.9"));
}

#[test]
fn list_of_dependencies_has_what_is_in_the_program() {
    let output = in_root("scripts/dependencies", &["sbom"]);
    let sbom: serde_json::Value = serde_json::from_str(&text(&output)).expect("JSON");
    let names: Vec<_> =
        sbom["components"].as_array().expect("a list").iter().map(|part| &part["name"]).collect();
    for name in ["clap", "tokio", "rustls", "ring"] {
        assert!(names.iter().any(|other| *other == name), "{name}");
    }
    // In tests, in builds, and the laboratory.
    for name in ["proptest", "cc", "serde_derive", "rollgate-lab"] {
        assert!(!names.iter().any(|other| *other == name), "{name}");
    }
    for part in sbom["components"].as_array().expect("a list") {
        assert!(part["licenses"][0]["expression"].is_string(), "{part}");
        assert_eq!(part["hashes"][0]["content"].as_str().map(str::len), Some(64), "{part}");
    }
    let licenses = text(&in_root("scripts/dependencies", &["licenses"]));
    assert!(licenses.contains("\nring 0.") && licenses.contains("THE SOFTWARE IS PROVIDED"));
}

#[test]
fn files_of_the_container_file_exist() {
    let file = std::fs::read_to_string(root().join("Containerfile")).expect("a container file");
    let copied = file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--"));
    for words in copied {
        for path in words.split_whitespace().rev().skip(1) {
            assert!(root().join(path).exists(), "{path}");
        }
    }
    assert!(file.contains("RUN scripts/package --program-only --out /out\n"), "{file}");
    let help = text(&script("package", &["--help"]));
    assert!(help.contains("--program-only") && help.contains("--out FOLDER"), "{help}");
    assert!(file.contains("openssh-client") && file.contains("\nUSER 10001\n"), "{file}");
}
