//! The live view on a real pseudo-terminal.

use std::io::Read;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::harness::{Bench, quick, rollgate};

#[test]
fn the_live_view_keeps_finished_nodes_and_cleans_up_after_itself() {
    let bench = Bench::new(3, vec![quick(2)]);
    let size = PtySize { rows: 30, cols: 110, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).expect("a terminal");
    let mut command = CommandBuilder::new(rollgate());
    command.args(["deploy", bench.file(), "--var", "version=2", "--yes"]);
    command.cwd(bench.lab.directory());
    command.env_clear();
    command.env("TERM", "xterm-256color");
    command.env("PATH", std::env::var("PATH").expect("a path"));
    command.env("HOME", bench.lab.directory().join("home"));
    let mut child = pair.slave.spawn_command(command).expect("rollgate starts");
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().expect("a reader");
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // The terminal reports an error instead of an end when its last user is gone.
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
    }
    let status = child.wait().expect("rollgate ends");
    let size = |size: u16| std::num::NonZero::new(size).expect("not zero");
    let mut screen = vt100::Parser::new(size(30), size(110), 200);
    screen.process(&bytes);
    let text = screen.screen().contents();
    assert_eq!(status.exit_code(), 0, "{text}");
    for node in ["node-1", "node-2", "node-3"] {
        let line = text.lines().find(|line| line.contains(node)).unwrap_or("");
        assert!(line.contains('✓') && line.contains("done"), "{text}");
    }
    assert!(text.contains("DONE  release"), "{text}");
    assert!(!text.contains("Ctrl-C"), "what was redrawn is gone:\n{text}");
    let raw = String::from_utf8_lossy(&bytes);
    assert!(raw.contains("Ctrl-C stops and leaves the pool safe."), "it was there on the way");
    assert!(raw.contains("of 3 done"), "so was the title");
}
