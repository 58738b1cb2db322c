//! Channels that are opened ahead.

use std::collections::BTreeSet;

use rollgate::world::{Live, World as _};

use super::harness::{Sshd, alive, node, run, sh, until_async};

/// The shell that runs a command, as the command sees it.
async fn shell(live: &Live) -> u32 {
    let output = sh(live, &node(), "echo $PPID").await.expect("runs");
    output.stdout_text().trim().parse().expect("a pid")
}

/// Returns the shell of the channel that is opened ahead.
async fn opened_ahead(sshd: &Sshd, live: &Live) -> u32 {
    live.expect(&node(), false);
    let mut shells = BTreeSet::new();
    // The shell of the last command may still end.
    until_async("one shell waits", || {
        shells = sshd.shells();
        shells.len() == 1
    })
    .await;
    shells.pop_first().expect("a shell")
}

#[tokio::test]
async fn commands_run_in_the_channels_that_were_opened_ahead() {
    let sshd = Sshd::start("");
    let live = sshd.live();
    shell(&live).await;
    let waits = opened_ahead(&sshd, &live).await;
    assert_eq!(shell(&live).await, waits);
    // The next channel was opened while that command ran.
    let waits = opened_ahead(&sshd, &live).await;
    assert_eq!(shell(&live).await, waits);
    live.close().await;
    until_async("no shell is left", || sshd.shells().is_empty()).await;
}

#[tokio::test]
async fn command_does_not_notice_that_its_channel_has_ended() {
    let sshd = Sshd::start("");
    let live = sshd.live();
    shell(&live).await;
    let waits = opened_ahead(&sshd, &live).await;
    run(&["kill", "-KILL", &waits.to_string()]);
    until_async("it has ended", || !alive(waits)).await;
    assert_ne!(shell(&live).await, waits);
    let waits = opened_ahead(&sshd, &live).await;
    sshd.cut_connections();
    assert_ne!(shell(&live).await, waits);
    live.close().await;
}

#[tokio::test]
async fn channel_opened_ahead_takes_no_place_that_a_command_needs() {
    let sshd = Sshd::start("MaxSessions 2");
    let live = sshd.live();
    shell(&live).await;
    opened_ahead(&sshd, &live).await;
    let mut commands = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let live = live.clone();
        commands.spawn(async move { sh(&live, &node(), "sleep 0.1").await });
    }
    for output in commands.join_all().await {
        assert!(output.expect("runs").success());
    }
    live.close().await;
}
