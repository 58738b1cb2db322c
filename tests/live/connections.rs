//! Making, sharing, losing and refusing connections.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rollgate::world::{Host, Live, LiveSettings, RunError, World as _};

use super::harness::{NODE, Sshd, command, mentioning, node, pid, run, sh, until_async};

async fn refusal(settings: LiveSettings, host: &Host) -> String {
    let live = Live::new(settings).expect("settings are fine");
    let error = sh(&live, host, "true").await.expect_err("no connection");
    live.close().await;
    let RunError::NotStarted(text) = error else { panic!("{error:?}") };
    assert!(!text.contains(char::is_control) && text.len() < 400, "{text:?}");
    text
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    let mut sshd = Sshd::start("");
    let fresh = sshd.path("other");
    run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &fresh.display().to_string()]);

    std::fs::write(sshd.path("known_hosts"), "").expect("write");
    let text = refusal(sshd.settings(), &node()).await;
    assert!(text.contains("is not known") && text.contains("accept-new"), "{text}");
    assert!(text.contains(&format!("ssh-keyscan -p {} {}", sshd.port, sshd.address)), "{text}");

    let accepting = LiveSettings { accept_new: true, ..sshd.settings() };
    let live = Live::new(accepting.clone()).expect("settings");
    assert!(sh(&live, &node(), "true").await.expect("accepted").success());
    live.close().await;

    sshd.trust(&std::fs::read_to_string(fresh.with_extension("pub")).expect("key"));
    for settings in [sshd.settings(), accepting] {
        let text = refusal(settings, &node()).await;
        assert!(text.contains("is not the known one") && text.contains("ssh-keygen -R"), "{text}");
    }

    sshd.trust(&std::fs::read_to_string(sshd.path("host.pub")).expect("key"));
    let config = sshd.block(NODE, "").replace("/user\n", "/other\n");
    std::fs::write(sshd.path("ssh_config"), config).expect("write");
    let text = refusal(sshd.settings(), &node()).await;
    assert!(text.contains("Permission denied (publickey)") && text.contains("ssh-agent"), "{text}");

    let text = refusal(sshd.settings(), &Host::Ssh("no-such-host.invalid".into())).await;
    assert!(text.contains("Could not resolve hostname"), "{text}");
    let text = refusal(sshd.settings(), &Host::Ssh("-oProxyCommand=false".into())).await;
    assert!(text.contains("would be an option"), "{text}");

    sshd.stop();
    let text = refusal(sshd.settings(), &node()).await;
    assert!(text.contains("Connection refused") && text.contains("check that sshd runs"), "{text}");

    // Accepts, and never sends anything.
    let silent = TcpListener::bind((sshd.address.as_str(), sshd.port)).expect("bind");
    let settings = LiveSettings { connect_timeout: Duration::from_secs(1), ..sshd.settings() };
    let text = refusal(settings, &node()).await;
    assert!(text.contains("timed out") || text.contains("within 1s"), "{text}");
    drop(silent);
}

#[tokio::test]
async fn ssh_configuration_of_the_user_applies_to_jump_hosts_too() {
    let (bastion, target) = (Sshd::start(""), Sshd::start(""));
    let config = bastion.block("bastion", "") + &target.block("inner", "ProxyJump bastion");
    // Group-writable, as in any checkout: `ssh -F` accepts it.
    let file = bastion.path("ssh_config");
    std::fs::write(&file, config).expect("write");
    run(&["chmod", "664", &file.display().to_string()]);
    let place = "echo $SSH_CONNECTION";

    let live = bastion.live();
    let output = sh(&live, &Host::Ssh("inner".into()), place).await.expect("through the bastion");
    let expected = format!("{} {}", target.address, target.port);
    assert!(output.stdout_text().trim().ends_with(&expected), "{}", output.stdout_text());
    assert_eq!(mentioning(&format!("[{}]:{}", target.address, target.port)).len(), 1);
    live.close().await;
    let tunnel = format!("[{}]:{}", target.address, target.port);
    until_async("the jump's ssh is gone", || mentioning(&tunnel).is_empty()).await;

    // The same by the playbook's own setting; the bastion itself is reached directly.
    std::fs::write(&file, bastion.block("bastion", "") + &target.block("inner", ""))
        .expect("write");
    let settings = LiveSettings { jump: Some("bastion".into()), ..bastion.settings() };
    let live = Live::new(settings).expect("settings");
    for host in ["inner", "bastion"] {
        assert!(sh(&live, &Host::Ssh(host.into()), "true").await.expect(host).success());
    }
    assert_eq!(mentioning(&tunnel).len(), 1, "the node is reached through the bastion");
    live.close().await;

    // A problem at the jump host is reported as such.
    std::fs::write(bastion.path("known_hosts"), "").expect("write");
    let live = Live::new(LiveSettings { jump: Some("bastion".into()), ..bastion.settings() });
    let live = live.expect("settings");
    let error = sh(&live, &Host::Ssh("inner".into()), "true").await.expect_err("unknown key");
    let name = format!("[{}]:{} is not known", bastion.address, bastion.port);
    assert!(error.to_string().contains(&name), "{error}");
    live.close().await;
}

#[tokio::test]
async fn the_playbooks_user_is_only_a_default() {
    let sshd = Sshd::start("");
    let user = |user: &str| LiveSettings { user: Some(user.into()), ..sshd.settings() };
    let live = Live::new(user("nobody")).expect("settings");
    let output = sh(&live, &node(), "id -un").await.expect("as root");
    assert_eq!(output.stdout_text(), "root\n", "ssh_config names a user");
    live.close().await;
    let config = sshd.block(NODE, "").replace(" User root\n", "");
    std::fs::write(sshd.path("ssh_config"), config).expect("write");
    let error = refusal(user("no-such-user"), &node()).await;
    assert!(error.contains("no-such-user@"), "{error}");
}

#[tokio::test]
async fn many_commands_share_one_connection_within_the_nodes_limit() {
    let sshd = Sshd::start("MaxSessions 4");
    let live = sshd.live();
    let start = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for number in 0..20 {
        let live = live.clone();
        set.spawn(async move { sh(&live, &node(), &format!("sleep 0.05; echo {number}")).await });
    }
    let mut sum = 0;
    for output in set.join_all().await {
        sum += output.expect("runs").stdout_text().trim().parse::<i32>().expect("number");
    }
    assert_eq!(sum, 190);
    println!("20 commands with MaxSessions 4: {:?}", start.elapsed());
    let log = std::fs::read_to_string(sshd.path("sshd.log")).expect("log");
    assert_eq!(log.matches("Accepted publickey").count(), 1, "{log}");
    let start = Instant::now();
    for _ in 0..50 {
        assert!(sh(&live, &node(), "true").await.expect("runs").success());
    }
    println!("one command: {:?}", start.elapsed() / 50);
    let start = Instant::now();
    for _ in 0..50 {
        assert!(sh(&live, &Host::Local, "true").await.expect("runs").success());
    }
    println!("one local command: {:?}", start.elapsed() / 50);
    live.close().await;
    let live = sshd.live();
    let start = Instant::now();
    assert!(sh(&live, &node(), "true").await.expect("runs").success());
    println!("connect and one command: {:?}", start.elapsed());
    live.close().await;
}

#[tokio::test]
async fn lost_connection_leaves_the_result_unknown_and_the_next_command_works() {
    let sshd = Sshd::start("");
    let live = sshd.live();
    let file = sshd.path("pid");
    let script = format!("echo $$ > {}; sleep 60", file.display());
    let host = node();
    let running = live.run(&host, command(&script, 60));
    let cut = async {
        let process = pid(&file).await;
        sshd.cut_connections();
        process
    };
    let (result, process) = tokio::join!(running, cut);
    let error = result.expect_err("the connection is cut");
    assert!(matches!(error, RunError::Lost(_)), "{error:?}");
    assert_eq!(sh(&live, &node(), "echo again").await.expect("anew").stdout_text(), "again\n");
    until_async("the command is ended", || !super::harness::alive(process)).await;

    // Cut while idle: nothing is lost, and the next command does not notice.
    sshd.cut_connections();
    assert_eq!(sh(&live, &node(), "echo again").await.expect("anew").stdout_text(), "again\n");
    live.close().await;
}

#[tokio::test]
async fn dropped_connect_leaves_no_ssh_process() {
    let silent = TcpListener::bind("127.0.0.9:0").expect("bind");
    let port = silent.local_addr().expect("address").port();
    // Through a jump host, so that `ssh` has a child `ssh`.
    let jump = Some(format!("127.0.0.9:{port}"));
    let live = Live::new(LiveSettings { jump, ..LiveSettings::default() }).expect("settings");
    let host = Host::Ssh("127.0.0.8".into());
    let own = format!("-p {port} ");
    tokio::select! {
        result = sh(&live, &host, "true") => panic!("{result:?}"),
        () = until_async("ssh runs", || !mentioning(&own).is_empty()) => {}
    }
    until_async("ssh is gone", || mentioning(&own).is_empty()).await;
    live.close().await;
}
