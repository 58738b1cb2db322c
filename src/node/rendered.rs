//! Reads a file that an nginx was rendered with, and whether the workers of that nginx have loaded it.

use crate::shell::assign;

pub(super) fn script(file: &str, pid_file: &str) -> String {
    assign(&[("file", file), ("pid_file", pid_file)]) + include_str!("scripts/rendered.sh")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use crate::node::NodeScript;
    use crate::node::tests::{SHELLS, Shell};

    #[test]
    fn rendered_file_comes_with_the_number_of_workers_that_shut_down() {
        let root = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| root.path().join(name).display().to_string();
        std::fs::write(path("app.conf"), "server 10.0.1.1:80;\n").expect("a file");
        std::fs::write(path("pid"), format!("{}\n", std::process::id())).expect("a file");
        let shells = SHELLS.map(Shell::new);
        let look = || {
            let script = NodeScript::Rendered { file: path("app.conf"), pid_file: path("pid") };
            let [first, others @ ..] = shells.each_ref().map(|shell| shell.run(&script, ""));
            for other in others {
                assert_eq!((other.status, &other.stdout), (first.status, &first.stdout));
            }
            first
        };
        let told = || String::from_utf8_lossy(&look().stdout).into_owned();
        // A worker has its activity in its command line, and the master as its parent.
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
        // Much later than the start of the next workers, even if that start is slow.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        let file = std::fs::File::options().write(true).open(path("app.conf")).expect("a file");
        file.set_modified(later).expect("a time");
        assert_eq!(told_with(&[leaving, working]), "server 10.0.1.1:80;\n\nleaving=1 older=1\n");
        // Another process has reused the id, or the workers are not visible: the loaded state is unknown.
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
