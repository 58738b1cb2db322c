//! However rollgate ends, no ssh master, no guardian process and no folder of it are left.
//!
//! The ending process is this test binary itself, started again with a variable set.

use std::path::Path;
use std::process::{Command as Process, Stdio as Pipe};

use rollgate::world::{Live, LiveSettings};

use super::harness::{Sshd, mentioning, node, run, sh, until};

const CONFIG: &str = "ROLLGATE_TEST_SSH_CONFIG";
const END: &str = "ROLLGATE_TEST_END";
const READY: &str = "ROLLGATE_TEST_READY";

/// Not a test of its own: the other tests run it as a process that ends in some way.
#[tokio::test]
async fn the_process_that_ends() {
    let Some(config) = std::env::var_os(CONFIG) else {
        return;
    };
    let live =
        Live::new(LiveSettings { ssh_config: Some(config.into()), ..LiveSettings::default() });
    let live = live.expect("settings");
    assert!(sh(&live, &node(), "true").await.expect("runs").success());
    let ready = std::env::var_os(READY).expect("set");
    std::fs::write(ready, "").expect("write");
    match std::env::var(END).expect("set").as_str() {
        "close" => live.close().await,
        "drop" => drop(live),
        "exit" => std::process::exit(0),
        _ => std::future::pending().await,
    }
}

fn ends(how: &str) {
    let sshd = Sshd::start("");
    let runtime = tempfile::Builder::new().prefix("r").tempdir_in("/tmp").expect("temp dir");
    let ready = sshd.path("ready");
    let mut child = Process::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "ends::the_process_that_ends"])
        .env(CONFIG, sshd.path("ssh_config"))
        .env("XDG_RUNTIME_DIR", runtime.path())
        .env(END, how)
        .env(READY, &ready)
        .stdout(Pipe::null())
        .spawn()
        .expect("starts");
    until("connected", || ready.exists());
    let own = runtime.path().display().to_string();
    match how {
        "kill" => {
            assert!(mentioning(&own).len() >= 2, "a master and a guardian: {:?}", mentioning(&own));
            child.kill().expect("kill");
        }
        "interrupt" => run(&["kill", "-INT", &child.id().to_string()]),
        _ => {}
    }
    let _ = child.wait().expect("ends");
    let at_once = mentioning(&own).is_empty() && is_empty(runtime.path());
    until("nothing is left", || mentioning(&own).is_empty() && is_empty(runtime.path()));
    if how == "close" {
        assert!(at_once, "`close` waits itself");
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("folder").next().is_none()
}

#[test]
fn nothing_is_left_after_close() {
    ends("close");
}

#[test]
fn nothing_is_left_after_drop() {
    ends("drop");
}

#[test]
fn nothing_is_left_after_exit() {
    ends("exit");
}

#[test]
fn nothing_is_left_after_kill() {
    ends("kill");
}

#[test]
fn nothing_is_left_after_an_unhandled_interrupt() {
    ends("interrupt");
}
