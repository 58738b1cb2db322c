//! Archives that are refused before they are sent to a node.

use std::process::Command;

use crate::support::{Case, SMALL};

#[test]
fn archive_with_paths_outside_its_folder_is_refused_with_exit_3() {
    let artifact = "artifact: { source: app.tar.gz, releases: /srv/app/releases, current: /srv/app/current }\n";
    let playbook = format!("{SMALL}{artifact}");
    for (pack, why, mend) in [
        (
            "tar -czPf app.tar.gz --transform 's,^app.yaml,../../x,' app.yaml",
            "its entry `../../x` has `..` in its name",
            "hint: pack it from within its folder: `tar -C FOLDER -czf FILE .`\n",
        ),
        (
            "ln -s /etc a && tar -czf app.tar.gz a",
            "its entry `a` leads out of the release's folder, to `/etc`",
            "hint: pack what the link leads to (`tar -h`), or",
        ),
        (
            "tar -cf app.tar.gz app.yaml",
            "it is not a whole tar archive, packed by gzip",
            "hint: pack it",
        ),
    ] {
        let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
        let status = Command::new("sh").args(["-c", pack]).current_dir(case.folder()).status();
        assert!(status.expect("sh runs").success());
        for command in [&["plan"][..], &["deploy", "--yes"]] {
            let arguments = [command, &["app.yaml", "--var", "version=2"]].concat();
            let (stdout, stderr) = case.exits(3, &arguments);
            assert!(stdout.is_empty(), "{stdout}");
            assert!(stderr.contains("app.tar.gz is refused: ") && stderr.contains(why), "{stderr}");
            assert!(
                stderr.contains(mend) && stderr.ends_with("hint: nothing was changed\n"),
                "{stderr}"
            );
        }
    }
}
