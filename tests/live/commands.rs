//! The results of commands, and that no process of a killed command survives; on a node and locally.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use rollgate::node::NodeScript;
use rollgate::secret::Secret;
use rollgate::world::{Host, Live, OUTPUT_LIMIT, RunError, Stdin, World as _};

use super::harness::{Sshd, alive, command, node, pid, sh, until_async};

/// Runs the body once over ssh and once locally.
macro_rules! on_both {
    ($name:ident, |$live:ident, $host:ident, $folder:ident| $body:block) => {
        #[tokio::test]
        async fn $name() {
            let sshd = Sshd::start("");
            let live = sshd.live();
            for host in [node(), Host::Local] {
                let folder = tempfile::tempdir().expect("temp dir");
                let check = async |$live: &Live, $host: &Host, $folder: PathBuf| $body;
                check(&live, &host, folder.path().into()).await;
            }
            live.close().await;
        }
    };
}

on_both!(output_and_status_come_back_as_they_were, |live, host, _folder| {
    let output = sh(live, host, "printf 'a\\nb'; printf \"it's\" >&2; exit 3").await.expect("runs");
    assert_eq!(output.status, Some(3));
    assert_eq!((output.stdout_text(), output.stderr_text()), ("a\nb".into(), "it's".into()));
    for (script, status) in [
        ("exit 0", Some(0)),
        ("exit 124", Some(124)),
        ("exit 255", Some(255)),
        ("kill -9 $$", None),
        ("kill -TERM $$", None),
    ] {
        assert_eq!(sh(live, host, script).await.expect(script).status, status, "{script}");
    }
    let output = sh(live, host, "no-such-tool").await.expect("runs");
    assert_eq!(output.status, Some(127));
    assert!(output.stderr_text().contains("no-such-tool"), "{:?}", output.stderr_text());
    assert_eq!(sh(live, host, "cat; echo end").await.expect("runs").stdout_text(), "end\n");
});

on_both!(of_much_output_the_end_is_kept, |live, host, _folder| {
    let script = "seq 1 1000000; echo last; seq 1 500000 >&2; echo LAST >&2";
    let output = sh(live, host, script).await.expect("runs");
    assert_eq!((output.stdout.len(), output.stderr.len()), (OUTPUT_LIMIT, OUTPUT_LIMIT));
    assert!(output.stdout.ends_with(b"999999\n1000000\nlast\n"));
    assert!(output.stderr.ends_with(b"500000\nLAST\n"));
});

on_both!(a_daemon_neither_holds_the_command_nor_dies_with_it, |live, host, folder| {
    let file = folder.join("pid");
    // It would outlast the command's limit of 30 s.
    let script = format!("sleep 600 & echo $! > {}; echo started", file.display());
    let output = sh(live, host, &script).await.expect("runs");
    assert_eq!(output.stdout_text(), "started\n");
    let daemon = pid(&file).await;
    // Another command has run meanwhile, so a process that was to be killed is gone by now.
    assert!(sh(live, host, "sleep 0.5").await.expect("runs").success());
    assert!(alive(daemon), "a daemon that was started must stay");
    super::harness::run(&["kill", &daemon.to_string()]);
});

on_both!(a_timeout_ends_all_that_was_started, |live, host, folder| {
    let file = |name: &str| folder.join(name);
    let write = |name: &str| file(name).display().to_string();
    let script = format!(
        "echo $$ > {}; sleep 61 & echo $! > {}; \
         timeout 60 sh -c 'echo $$ > {}; sleep 60'; sleep 60",
        write("a"),
        write("b"),
        write("c")
    );
    let error = live.run(host, command(&script, 1)).await.expect_err("time runs out");
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    for name in ["a", "b", "c"] {
        assert!(!alive(pid(&file(name)).await), "{name} is still there");
    }
});

// A process with a session of its own, without a parent, that ignores `TERM` is killed as well.
on_both!(timeout_kills_processes_that_left_the_session, |live, host, folder| {
    let file = |name: &str| folder.join(name);
    let write = |name: &str| file(name).display().to_string();
    let script = format!(
        "setsid sh -c 'echo $$ > {}; sleep 60; :' & \
         (setsid sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1; done' &) & \
         (setsid env -i sleep 60 & echo $! > {}; wait) & sleep 60",
        write("a"),
        write("b"),
        write("c"),
    );
    let error = live.run(host, command(&script, 1)).await.expect_err("time runs out");
    assert!(matches!(error, RunError::TimedOut { left: 0, .. }), "{error}");
    for name in ["a", "b", "c"] {
        assert!(!alive(pid(&file(name)).await), "{name} is still there");
    }
});

// The same after a lost connection, on which no error can be reported.
on_both!(dropped_command_kills_processes_that_left_its_session, |live, host, folder| {
    let file = folder.join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; sleep 60; :' & sleep 60", file.display());
    let run = live.run(host, command(&script, 60));
    let process = tokio::select! {
        _ = run => panic!("it does not end"),
        process = pid(&file) => process,
    };
    until_async("killed", || !alive(process)).await;
});

on_both!(a_timeout_ends_what_ignores_term, |live, host, folder| {
    let file = folder.join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", file.display());
    let error = live.run(host, command(&script, 1)).await.expect_err("time runs out");
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    let process = pid(&file).await;
    until_async("killed", || !alive(process)).await;
});

on_both!(a_dropped_command_is_ended_also_when_it_ignores_term, |live, host, folder| {
    let file = folder.join("pid");
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1; done'",
        file.display()
    );
    let run = live.run(host, command(&script, 60));
    let process = tokio::select! {
        _ = run => panic!("it does not end"),
        process = pid(&file) => process,
    };
    until_async("killed", || !alive(process)).await;
});

on_both!(a_file_is_streamed_and_an_early_exit_does_not_hang, |live, host, folder| {
    let file = folder.join("data");
    let data: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&file, &data).expect("write");
    let copy = folder.join("copy");
    let mut upload = command(&format!("cat > {}; echo done", copy.display()), 30);
    upload.stdin = Stdin::File(file.clone());
    let output = live.run(host, upload.clone()).await.expect("runs");
    assert_eq!(output.stdout_text(), "done\n");
    assert!(std::fs::read(copy).expect("copy") == data, "the copy differs");

    upload.script = NodeScript::User { command: "head -c 3; exit 9".into() };
    assert_eq!(live.run(host, upload.clone()).await.expect("runs").status, Some(9));

    upload.script = NodeScript::User { command: "sleep 60".into() };
    upload.timeout = Duration::from_secs(1);
    let error = live.run(host, upload.clone()).await.expect_err("time runs out");
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");

    upload.stdin = Stdin::File(folder.join("missing"));
    let error = live.run(host, upload).await.expect_err("no file");
    assert!(matches!(&error, RunError::NotStarted(text) if text.contains("missing")), "{error}");
});

// The secret is hidden: it is on no command line, neither here nor on the node.
on_both!(
    a_request_is_sent_from_the_host_with_headers_from_its_standard_input,
    |live, host, _folder| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1/x?y=1&z='", listener.local_addr().expect("bound"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").expect("said");
            String::from_utf8(request).expect("UTF-8")
        });
        let script = NodeScript::Fetch { method: "PUT", url, timeout: Duration::from_secs(10) };
        assert!(!script.text().contains("swordfish"));
        let mut fetch = command("", 10);
        fetch.script = script;
        fetch.stdin = Stdin::Text(Secret::new("header = \"X-Consul-Token: swordfish\"\n"));
        let output = live.run(host, fetch.clone()).await.expect("runs");
        assert_eq!(output.stdout_text(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        let request = server.join().expect("no panic");
        assert!(request.starts_with("PUT /v1/x?y=1&z='"), "{request}");
        assert!(request.contains("X-Consul-Token: swordfish\r\n"), "{request}");
        // Nothing listens any more.
        assert_eq!(live.run(host, fetch).await.expect("runs").status, Some(7));
    }
);

on_both!(sudo_runs_the_guard_too, |live, host, _folder| {
    let mut id = command("id -u", 10);
    id.sudo = true;
    match live.run(host, id).await {
        Ok(output) => assert_eq!(output.stdout_text(), "0\n"),
        Err(error) => panic!("{error}"),
    }
    let mut slow = command("sleep 60", 1);
    slow.sudo = true;
    let error = live.run(host, slow).await.expect_err("time runs out");
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
});

#[tokio::test]
async fn a_refusing_shell_is_not_a_failed_command() {
    let sshd = Sshd::start("ForceCommand echo no entry >&2; exit 1");
    let live = sshd.live();
    let error = sh(&live, &node(), "true").await.expect_err("refused");
    assert!(matches!(&error, RunError::NotStarted(text) if text.contains("no entry")), "{error:?}");
    live.close().await;
}
