//! A file as a whole: read, and replaced by another one under its name.

use crate::shell::quote;

/// Prints it.
pub(super) fn read(path: &str) -> String {
    format!("cat {}", quote(path))
}

/// Whoever watches the folder sees one file become the other, and nobody half of one. Rights and owner stay.
pub(super) fn replace(path: &str, before: &str, content: &str) -> String {
    format!(
        "set -e; umask 077; f={path}; t=\"$(dirname \"$f\")/.$(basename \"$f\").rollgate\"; \
         [ ! -L \"$f\" ] || {{ echo \"$f is a link\" >&2; exit 1; }}; \
         s=$(sha256sum <\"$f\" | cut -d' ' -f1); \
         [ \"$s\" = {before} ] || {{ echo \"$f was changed by somebody else in between\" >&2; exit 1; }}; \
         trap 'rm -f \"$t\"' EXIT; trap 'exit 143' HUP INT TERM; \
         cp -p \"$f\" \"$t\"; printf %s {content} >\"$t\"; \
         sync \"$t\" 2>/dev/null || :; mv -T \"$t\" \"$f\"",
        path = quote(path),
        before = quote(before),
        content = quote(content),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::process::{Command, Output};

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn run(script: &str) -> Output {
        Command::new("sh").args(["-c", script]).output().expect("sh runs")
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_by_whoever_has_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("it's an app.json");
        let path = file.display().to_string();
        std::fs::write(&file, "one\n").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("rights");
        let one = format!("{:x}", Sha256::digest(run(&read(&path)).stdout));
        let before = file.metadata().expect("a file").ino();
        let two = "{ \"it's\": \"$(two) %s \\\\ `\" }\n";
        let output = run(&replace(&path, &one, two));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), two);
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o640);
        // Envoy notices nothing of what is written in place, and Traefik an empty file.
        assert_ne!(file.metadata().expect("a file").ino(), before, "written in place");
        let output = run(&replace(&path, &one, "three\n"));
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("somebody else"), "{output:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), two);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else");
    }

    #[test]
    fn a_link_and_no_file_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "one\n").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let one = format!("{:x}", Sha256::digest("one\n"));
        for path in [&link, &folder.path().join("none")] {
            let output = run(&replace(&path.display().to_string(), &one, "two\n"));
            assert!(!output.status.success(), "{output:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "one\n");
        assert!(!run(&read(&folder.path().join("none").display().to_string())).status.success());
    }
}
