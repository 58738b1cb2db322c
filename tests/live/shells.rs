//! Login shells and wrappers: a command runs the same, whatever is between sshd and `/bin/sh`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollgate::node::{NodeScript, Survey};
use rollgate::world::{Command, Live, LiveSettings, RunError, Stdin, World as _};

use super::harness::{Sshd, command, node, pid, run, sh};

/// A wrapper that `ForceCommand` names, in a folder that lives as long as this.
struct Wrapper {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Wrapper {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("wrapper");
        std::fs::write(&path, script).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("rights");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("rights");
        Self { _folder: folder, path }
    }

    fn sshd(&self) -> Sshd {
        Sshd::start(&format!("ForceCommand {}", self.path.display()))
    }
}

/// The arguments that sshd passes to a login shell.
fn login(shell: &str) -> String {
    let bin = ["/bin", "/usr/bin"].map(|bin| Path::new(bin).join(shell));
    assert!(bin.iter().any(|path| path.exists()), "no {shell}; scripts/setup installs it");
    format!("#!/bin/bash\nexec {shell} -c \"$SSH_ORIGINAL_COMMAND\"\n")
}

/// Characters that a wrong quote or line break would corrupt.
const SCRIPT: &str =
    "printf '%s|' 'a b' \"it's\" '\\n' '!x' '$HOME' '\\\\' \"$(printf '%s' '`x`')\"
cat <<'end' # a comment
  two\tlines; {a,b} *
end
if true
then echo \"done\"
fi";

const PRINTED: &str = "a b|it's|\\n|!x|$HOME|\\\\|`x`|  two\tlines; {a,b} *\ndone\n";

#[tokio::test]
async fn command_runs_the_same_behind_every_login_shell() {
    let noisy = "#!/bin/bash\necho 'Last update: 3 days ago'; printf '\\033]0;title\\007'\n\
                 echo warning >&2\nbash -c \"$SSH_ORIGINAL_COMMAND\"\nr=$?\necho bye\nexit $r\n";
    let unquoted = "#!/bin/sh\nexec $SSH_ORIGINAL_COMMAND\n";
    for (name, script, noise) in [
        ("fish", login("fish"), None),
        ("tcsh", login("tcsh"), None),
        ("bash", login("bash"), None),
        ("dash", login("dash"), None),
        ("busybox", login("busybox").replace("busybox", "busybox sh"), None),
        ("noise", noisy.to_owned(), Some("Last update: 3 days ago")),
        ("unquoted", unquoted.to_owned(), None),
    ] {
        let wrapper = Wrapper::new(&script);
        let sshd = wrapper.sshd();
        let live = sshd.live();
        let output =
            sh(&live, &node(), SCRIPT).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let printed = (output.status, output.stdout_text(), output.stderr_text());
        assert_eq!(printed, (Some(0), PRINTED.to_owned(), String::new()), "{name}");
        let told = output.noise.as_deref().unwrap_or_default();
        assert!(noise.map_or(told.is_empty(), |noise| told.starts_with(noise)), "{name}: {told:?}");

        let script = NodeScript::Survey { port: 1, layout: None, programs: Vec::new() };
        let survey = Command::new(script, Duration::from_secs(30), false);
        let output = live.run(&node(), survey).await.expect(name);
        let survey = Survey::parse(&output.stdout_text(), "10.0.0.1:1");
        assert!(survey.tools.contains("setsid"), "{name}: {survey:?}");
        // A process between sshd and the shell is reported by its name.
        let unusual = match name {
            "fish" | "tcsh" => Some(format!("login shell {name}")),
            "noise" => Some("login shell wrapper".to_owned()),
            _ => None,
        };
        assert_eq!(survey.login(), unusual, "{name}");

        assert_eq!(sh(&live, &node(), "exit 7").await.expect(name).status, Some(7), "{name}");
        let file = sshd.path("data");
        std::fs::write(&file, "one\n\0two").expect("write");
        let upload = command("wc -c; cat", 30).reading(Stdin::File(file));
        let output = live.run(&node(), upload).await.expect(name);
        assert_eq!(output.stdout_text().trim(), "8", "{name}");
        let error = live.run(&node(), command("sleep 60", 1)).await.expect_err("time runs out");
        assert!(matches!(error, RunError::TimedOut { left: 0, .. }), "{name}: {error}");
        let mut root = command("printf '%s\\n' \"it's\nroot\"", 10);
        root.sudo = true;
        let output = live.run(&node(), root).await.expect(name);
        assert_eq!(output.stdout_text(), "it's\nroot\n", "{name}");
        live.close().await;
    }
}

#[tokio::test]
async fn shell_that_runs_no_script_is_reported_with_its_output() {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("ran");
    for script in [
        "#!/bin/bash\necho 'This account is not available'; exit 1\n",
        // It reads the script as its own input.
        "#!/bin/bash\necho 'One-time password:'; read -r otp; echo 'Access denied' >&2; exit 1\n",
        "#!/bin/bash\ncat >/dev/null & echo 'Maintenance until 10:00' >&2; exit 0\n",
    ] {
        let wrapper = Wrapper::new(script);
        let sshd = wrapper.sshd();
        let live = sshd.live();
        let touch = format!("touch {}", file.display());
        let error = sh(&live, &node(), &touch).await.expect_err("it does not run");
        let RunError::NotStarted(said) = &error else { panic!("{error:?}") };
        assert!(said.starts_with("node did not start /bin/sh; its login shell says: "), "{said}");
        let words = ["not available", "Access denied", "Maintenance until 10:00"];
        assert!(words.iter().any(|word| said.contains(word)), "{said}");
        assert!(!file.exists());
        live.close().await;
    }
}

/// The start files of an account may be slow; the command's limit does not include them.
#[tokio::test]
async fn slow_start_file_does_not_use_up_the_time_of_the_command() {
    let wrapper = Wrapper::new("#!/bin/sh\nsleep 3\nexec $SSH_ORIGINAL_COMMAND\n");
    let sshd = wrapper.sshd();
    let live =
        Live::new(LiveSettings { connect_timeout: Duration::from_secs(5), ..sshd.settings() })
            .expect("settings");
    let output = live.run(&node(), command("sleep 1; echo done", 2)).await.expect("in time");
    assert_eq!(output.stdout_text(), "done\n");
    live.close().await;
}

/// As for a command that runs as root: the guard may not kill a process of another user.
#[tokio::test]
async fn unkillable_process_is_counted() {
    let wrapper = Wrapper::new(
        "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups $SSH_ORIGINAL_COMMAND\n",
    );
    let (sshd, folder) = (wrapper.sshd(), tempfile::tempdir().expect("temp dir"));
    let file = folder.path().join("pid");
    let script = format!(
        "mkdir {0}; cp \"$(command -v setpriv)\" {0}/become; chmod 4755 {0}/become; chmod 755 {0}; : >{1}; chmod 666 {1}",
        folder.path().join("bin").display(),
        file.display()
    );
    assert!(
        sh(&sshd.live(), &rollgate::world::Host::Local, &script).await.expect("runs").success()
    );
    let rights = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), rights).expect("rights");
    let live = sshd.live();
    let script = format!(
        "setsid {}/become --reuid=0 --regid=0 --clear-groups sh -c 'echo $$ > {}; exec sleep 30' & sleep 60",
        folder.path().join("bin").display(),
        file.display()
    );
    let error = live.run(&node(), command(&script, 1)).await.expect_err("time runs out");
    run(&["kill", "-KILL", &pid(&file).await.to_string()]);
    assert_eq!(error.to_string(), "not finished within 1s; 1 process it started is still running");
    live.close().await;
}
