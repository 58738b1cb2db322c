//! The live view on a real pseudo-terminal.

use std::io::{Read, Write};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::harness::{Bench, quick, rollgate};

const ROWS: u16 = 30;

/// A release on a terminal of its own.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    reader: Box<dyn Read + Send>,
    child: Box<dyn Child + Send + Sync>,
    columns: u16,
    bytes: Vec<u8>,
}

impl Terminal {
    fn deploy(bench: &Bench, columns: u16) -> Self {
        Self::run(&["deploy", bench.file(), "--var", "version=2", "--yes"], bench, columns)
    }

    fn run(arguments: &[&str], bench: &Bench, columns: u16) -> Self {
        let size = PtySize { rows: ROWS, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(rollgate());
        command.args(arguments);
        command.cwd(bench.lab.directory());
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("PATH", std::env::var("PATH").expect("a path"));
        command.env("HOME", bench.lab.directory().join("home"));
        let child = pair.slave.spawn_command(command).expect("rollgate starts");
        let reader = pair.master.try_clone_reader().expect("a reader");
        Self { master: pair.master, reader, child, columns, bytes: Vec::new() }
    }

    /// Reads until `text` has been shown.
    #[track_caller]
    fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.bytes).contains(text) {
            assert!(
                self.read(),
                "`{text}` was never shown: {}",
                String::from_utf8_lossy(&self.bytes)
            );
        }
    }

    /// Returns whether there was something to read. After its last user has gone, the terminal reports an error
    /// instead of an end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let Ok(read @ 1..) = self.reader.read(&mut buffer) else { return false };
        self.bytes.extend_from_slice(&buffer[..read]);
        true
    }

    /// Reads to the end and returns the final screen, and the exit code.
    fn end(mut self) -> (String, u32, String) {
        while self.read() {}
        let status = self.child.wait().expect("rollgate ends");
        let size = |size: u16| std::num::NonZero::new(size).expect("not zero");
        let mut screen = vt100::Parser::new(size(ROWS), size(self.columns), 200);
        screen.process(&self.bytes);
        let raw = String::from_utf8_lossy(&self.bytes).into_owned();
        (screen.screen().contents(), status.exit_code(), raw)
    }
}

#[test]
fn the_live_view_keeps_finished_nodes_and_cleans_up_after_itself() {
    let bench = Bench::new(3, vec![quick(2)]);
    let (text, code, raw) = Terminal::deploy(&bench, 110).end();
    assert_eq!(code, 0, "{text}");
    for node in ["node-1", "node-2", "node-3"] {
        let line = text.lines().find(|line| line.contains(node)).unwrap_or("");
        assert!(line.contains('✓') && line.contains("done"), "{text}");
    }
    assert!(text.contains("DONE  release"), "{text}");
    assert!(!text.contains("Ctrl-C"), "what was redrawn is gone:\n{text}");
    assert!(raw.contains("Ctrl-C stops the release at a safe point."), "it was there on the way");
    assert!(raw.contains("of 3 done"), "so was the title");
    for pool in ["3 of 3", "2 of 3"] {
        assert!(
            raw.contains(&format!("Pool  {pool} routed (min_available 1)")),
            "{pool} were routed to"
        );
    }
}

#[test]
fn key_presses_leave_nothing_on_the_screen() {
    let bench = Bench::with(rollgate_lab::LabConfig::new(3, vec![quick(2)]), |playbook| {
        playbook["health"]["min_healthy_time"] = "5s".into();
        playbook["health"]["deadline"] = "30s".into();
    });
    let mut terminal = Terminal::deploy(&bench, 80);
    terminal.read_until("health");
    let echoes = |terminal: &Terminal| {
        let modes = terminal.master.get_termios().expect("a terminal").local_flags;
        modes.iter_names().any(|(name, _)| name == "ECHO")
    };
    assert!(!echoes(&terminal));
    let mut keys = terminal.master.take_writer().expect("a writer");
    keys.write_all(b"\n\nxyzzy\n").expect("written");
    terminal.read_until("in a row");
    keys.write_all(b"\x03").expect("Ctrl-C");
    terminal.read_until("STOPPED");
    assert!(echoes(&terminal), "the terminal echoes again");
    let (text, code, _) = terminal.end();
    assert_eq!(code, 10, "{text}");
    assert!(!text.contains("deploy app 1 -> 2"), "the title was redrawn and is gone:\n{text}");
    assert!(!text.contains("^C") && !text.contains("xyzzy"), "{text}");
}

#[test]
fn watched_status_is_redrawn_in_place_until_ctrl_c() {
    let bench = Bench::new(2, vec![quick(2)]);
    let mut terminal = Terminal::run(&["status", bench.file(), "--watch=1s"], &bench, 100);
    terminal.read_until("again every 1s; Ctrl-C ends");
    bench.run(&["node", "out"], &["node-2", "--var", "version=1"]).exits(0);
    terminal.read_until("out 1/1");
    terminal.read_until("Held  node-2");
    let mut keys = terminal.master.take_writer().expect("a writer");
    keys.write_all(b"xyzzy\n\x03").expect("Ctrl-C");
    let (text, code, _) = terminal.end();
    assert_eq!(code, 0, "{text}");
    // The last page stays on the screen, once.
    assert_eq!(text.matches(" NODE ").count(), 1, "{text}");
    let row = text.lines().find(|line| line.starts_with(" node-2 ")).expect("a row");
    assert!(row.contains("healthy ") && row.contains("down") && row.contains("out 1/1"), "{row}");
    assert!(!text.contains("xyzzy") && !text.contains("^C"), "{text}");
    assert!(!text.contains("waiting: "), "{text}");
}
