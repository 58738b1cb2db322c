//! Reads a file, and replaces a file as a whole.

use super::layout::OWNER;
use crate::shell::assign;

/// Prints the file, unless it is mounted alone.
pub(super) fn read(path: &str) -> String {
    format!("{}{}", assign(&[("file", path)]), include_str!("scripts/read.sh"))
}

/// Replaces the file with standard input by one rename, so a process that watches the folder never sees a
/// part of it. Permissions and owner stay. root writes where no other user can change the path to the file;
/// otherwise the work is done as that user.
pub(super) fn replace(path: &str, before: &str, after: &str) -> String {
    let variables = assign(&[("file", path), ("before", before), ("after", after)]);
    let work = format!("{variables}{}", include_str!("scripts/replace.sh"));
    let replace = assign(&[("replace", &work)]);
    format!("{variables}{replace}{OWNER}\n{}", include_str!("scripts/replace_as_owner.sh"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn run(script: &str, input: &str) -> Output {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A script that refuses does not read its input.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("ends")
    }

    fn sum(content: impl AsRef<[u8]>) -> String {
        crate::text::hex(&Sha256::digest(content))
    }

    /// Replaces the file's content.
    fn change(path: &Path, before: &str, content: &str) -> Output {
        run(&replace(&path.display().to_string(), &sum(before), &sum(content)), content)
    }

    #[test]
    fn file_is_replaced_as_a_whole_and_only_if_unchanged_since_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("it's an app.json");
        std::fs::write(&file, "one\n").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("rights");
        assert_eq!(run(&read(&file.display().to_string()), "").stdout, b"one\n");
        let before = file.metadata().expect("a file").ino();
        // Far longer than a command line may be.
        let two = "{ \"it's\": \"$(two) %s \\\\ `\" }\n".repeat(20_000);
        let output = change(&file, "one\n", &two);
        assert!(output.status.success(), "{output:?}");
        assert!(std::fs::read_to_string(&file).expect("a file") == two, "it is another one");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o640);
        // Envoy does not notice a file that is written in place, and Traefik reads it while it is empty.
        assert_ne!(file.metadata().expect("a file").ino(), before, "written in place");
        let output = change(&file, "one\n", "three\n");
        assert!(!output.status.success(), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("has changed since it was read"),
            "{output:?}"
        );
        // An interrupted transfer has no effect.
        let path = file.display().to_string();
        let output = run(&replace(&path, &sum(&two), &sum("three\n")), "thr");
        assert!(!output.status.success(), "{output:?}");
        assert!(std::fs::read_to_string(&file).expect("a file") == two);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else");
    }

    #[test]
    fn symlink_and_missing_file_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "one\n").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        for path in [&link, &folder.path().join("none")] {
            let output = change(path, "one\n", "two\n");
            assert!(!output.status.success(), "{output:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "one\n");
        assert!(
            !run(&read(&folder.path().join("none").display().to_string()), "").status.success()
        );
    }

    /// A container with the file alone keeps the old one, and a rename over a mounted file fails.
    #[test]
    fn file_that_is_mounted_alone_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["app.yml", "other", "my app.yml"] {
            std::fs::write(path(name), "one\n").expect("a file");
        }
        let within = |mount: &str, file: &str| {
            let script = format!("{mount} || exit 99\n{}", read(&path(file)));
            Command::new("unshare")
                .args(["-m", "sh", "-c", &script])
                .output()
                .expect("unshare runs")
        };
        let bind = |from: &str, to: &str| format!("mount --bind '{}' '{}'", path(from), path(to));
        if within(&bind("app.yml", "other"), "app.yml").status.code() == Some(99) {
            return; // Only root can mount.
        }
        for (from, to, file) in [
            ("app.yml", "app.yml", "app.yml"), // Seen from inside the container.
            ("app.yml", "other", "app.yml"),
            ("other", "app.yml", "app.yml"),
            ("my app.yml", "other", "my app.yml"),
        ] {
            let output = within(&bind(from, to), file);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains("mounted alone, at"), "{from} at {to}: {output:?}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
        // Another file, and the whole folder.
        for mount in [bind("app.yml", "other"), bind("", "")] {
            let output = within(&mount, "my app.yml");
            assert_eq!(output.stdout, b"one\n", "{output:?}");
        }
        // A container is another process.
        let script = format!("{} && echo && exec sleep 60", bind("app.yml", "other"));
        let mut container = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let said = std::io::BufReader::new(container.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut { said }, &mut line).expect("mounted");
        let output = run(&read(&path("app.yml")), "");
        container.kill().expect("ends");
        container.wait().expect("ended");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("mounted alone, at"),
            "{output:?}"
        );
    }

    /// A symlink at the place of the copy may lead to another file.
    #[test]
    fn symlink_in_place_of_the_copy_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, victim) = (folder.path().join("app.json"), folder.path().join("victim"));
        std::fs::write(&file, "one\n").expect("a file");
        std::fs::write(&victim, "mine\n").expect("a file");
        let copy = folder.path().join(".app.json.rollgate");
        std::os::unix::fs::symlink(&victim, copy).expect("a link");
        let output = change(&file, "one\n", "two\n");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "mine\n");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "two\n");
    }
}
