//! A file that an nginx was rendered with, and how far that nginx is with it.

use crate::shell::quote;

/// Workers say themselves that they are leaving, in their command line; who has none at work is not nginx's master, or its
/// workers cannot be seen from here, and nothing tells what is loaded. One that works since before the file was written
/// has not read it; both ages are whole seconds, so it must be older by more than one. All are counted after the file was
/// read: those of the list before it may be told to leave meanwhile.
pub(super) fn script(file: &str, pid_file: &str) -> String {
    format!(
        "set -e; f={file}; m=$(cat {pid_file}); [ -d \"/proc/$m\" ] || \
         {{ echo \"no nginx with the process id $m\" >&2; exit 1; }}; cat \"$f\"; n=0; o=0; w=0; \
         a=$(($(date +%s) - $(stat -L -c %Y \"$f\"))); u=$(cut -d. -f1 /proc/uptime); h=$(getconf CLK_TCK || echo 100); \
         for p in /proc/[0-9]*; do \
         c=; IFS= read -r c 2>/dev/null <\"$p/cmdline\" || :; \
         case $c in 'nginx: worker process'*) ;; *) continue;; esac; \
         grep -q \"^PPid:[[:space:]]*$m\\$\" \"$p/status\" 2>/dev/null || continue; \
         case $c in *'is shutting down'*) n=$((n+1)); continue;; esac; w=$((w+1)); \
         s=$(sed 's/.*) //' \"$p/stat\" 2>/dev/null | cut -d' ' -f20); \
         [ -z \"$s\" ] || [ $((u - s / h)) -le $((a + 1)) ] || o=$((o+1)); done; \
         [ $w -gt 0 ] || {{ echo \"no worker of nginx's is at work below the process $m of \"{pid_file} >&2; exit 1; }}; \
         printf '\\nleaving=%s older=%s\\n' \"$n\" \"$o\"",
        pid_file = quote(pid_file),
        file = quote(file),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_rendered_file_comes_with_the_number_of_workers_that_are_leaving() {
        let root = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| root.path().join(name).display().to_string();
        std::fs::write(path("app.conf"), "server 10.0.1.1:80;\n").expect("a file");
        std::fs::write(path("pid"), format!("{}\n", std::process::id())).expect("a file");
        let look = || {
            let script = script(&path("app.conf"), &path("pid"));
            Command::new("sh").args(["-c", &script]).output().expect("sh runs")
        };
        let told = || String::from_utf8_lossy(&look().stdout).into_owned();
        // A worker has what it does in its command line, and the master for its parent.
        let begin = |title: &str| {
            let command = ["-c", "read -r _"];
            let worker = Command::new("sh").arg0(title).args(command).stdin(Stdio::piped()).spawn();
            worker.expect("sh runs")
        };
        let told_with = |titles: &[&str]| {
            let mut workers: Vec<_> = titles.iter().map(|title| begin(title)).collect();
            let seen = told();
            for worker in &mut workers {
                drop(worker.stdin.take());
                worker.wait().expect("it ends");
            }
            seen
        };
        let [leaving, working] =
            ["nginx: worker process is shutting down", "nginx: worker process"];
        assert_eq!(told_with(&[leaving, working]), "server 10.0.1.1:80;\n\nleaving=1 older=0\n");
        assert_eq!(told_with(&[working]), "server 10.0.1.1:80;\n\nleaving=0 older=0\n");
        // Much later than the workers to come, however long it takes to start them.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(path("app.conf")).expect("a file");
        file.set_modified(later).expect("a time");
        assert_eq!(told_with(&[leaving, working]), "server 10.0.1.1:80;\n\nleaving=1 older=1\n");
        // Another process that has got the id, or workers that cannot be seen: nobody tells what is loaded.
        let output = look();
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("no worker of nginx's"), "{said}");
        std::fs::write(path("pid"), "999999999\n").expect("a file");
        let output = look();
        assert!(!output.status.success(), "{output:?}");
        std::fs::remove_file(path("app.conf")).expect("removed");
        std::fs::write(path("pid"), format!("{}\n", std::process::id())).expect("a file");
        assert!(!look().status.success(), "no file is no empty list");
    }
}
