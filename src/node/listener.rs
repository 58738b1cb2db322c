//! The processes that listen on a port and their start times, which confirm that a new process answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::secret::{self, Cut};
use crate::shell::assign;

/// A node's report about the listeners of a port, read from [`NodeScript::Listener`](super::NodeScript).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The node's clock at the time of the inspection.
    pub mark: Ticks,
    /// Whether a process listens on the port.
    pub bound: bool,
    /// The visible processes that hold the listening socket.
    pub owners: Vec<Process>,
}

/// A point in time on a node's own clock, in clock ticks (hundredths of a second) since it booted.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
pub struct Ticks(pub u64);

/// A process on a node. A pid may be reused; pid and start time together are unique until a reboot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub started: Ticks,
    /// The start of its command line.
    pub command: String,
}

impl Process {
    /// Seconds between its start and `now`.
    #[must_use]
    pub fn age(&self, now: Ticks) -> std::time::Duration {
        std::time::Duration::from_millis(now.0.saturating_sub(self.started.0).saturating_mul(10))
    }
}

impl Listener {
    /// Returns the owners that were running before `mark`.
    pub fn older_than(&self, mark: Ticks) -> impl Iterator<Item = &Process> {
        self.owners.iter().filter(move |process| process.started < mark)
    }

    /// Returns whether the node was rebooted after `mark`: its clock has begun again.
    #[must_use]
    pub fn was_rebooted_since(&self, mark: Ticks) -> bool {
        self.mark < mark
    }

    /// Reads the answer of [`script`] and keeps the sockets that serve `address` (`ip` or a wildcard; a host
    /// name matches any socket of the port).
    #[must_use]
    pub fn parse(text: &str, address: &str) -> Self {
        let host = address::host_of(address);
        let mut listener = Self::default();
        let mut pids = Vec::new();
        for line in text.lines() {
            if let Some(ticks) = line.strip_prefix("mark=") {
                listener.mark = Ticks(ticks.trim().parse().unwrap_or(0));
            } else if let Some(socket) = line.strip_prefix("listen=") {
                if serves(socket, host) {
                    listener.bound = true;
                    pids.extend(socket.split("pid=").skip(1).filter_map(leading_number));
                }
            } else if let Some(process) = line.strip_prefix("process=") {
                let mut words = process.splitn(3, ' ');
                let pid = words.next().and_then(|word| word.parse().ok());
                let started = words.next().and_then(|word| word.parse().ok());
                // Process 1 holds the sockets of socket-activated units, but serves none of them.
                if let (Some(pid), Some(started)) = (pid, started)
                    && pid != 1
                    && pids.contains(&pid)
                {
                    // The node cut it.
                    let command = secret::hide_cut(words.next().unwrap_or(""), Cut::Back);
                    let command = crate::text::line(&command, 120);
                    listener.owners.push(Process { pid, started: Ticks(started), command });
                }
            }
        }
        listener
    }
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a socket such as `LISTEN 0 128 127.0.0.1:9000 0.0.0.0:* users:(…)` answers for `host`.
fn serves(socket: &str, host: &str) -> bool {
    let Some(bound) = bound_host(socket) else { return false };
    let named = host.parse::<std::net::IpAddr>().is_err();
    is_wildcard(bound) || named || address::same_host(bound, host)
}

/// The host that a socket such as `LISTEN 0 128 127.0.0.1:9000 0.0.0.0:*` listens on.
pub(super) fn bound_host(socket: &str) -> Option<&str> {
    socket.split_whitespace().nth(3).map(host_without_link)
}

/// The host of an address. In `127.0.0.53%lo:53` the link is not part of the host.
pub(super) fn host_without_link(address: &str) -> &str {
    address::host_of(address).split('%').next().unwrap_or_default()
}

/// Whether a socket that listens on a host serves every address.
pub(super) fn is_wildcard(bound: &str) -> bool {
    matches!(bound, "*" | "0.0.0.0" | "::")
}

/// Exit status of a script that needs `ss` when `ss` is not installed.
pub(super) const NO_SS: i32 = 69;

/// Clock ticks are hundredths of a second on every Linux that userland sees (`USER_HZ`). Without `ss` the script
/// exits with `without_ss`.
pub(super) fn script(port: u16, without_ss: i32) -> String {
    let variables = [("port", &*port.to_string()), ("without_ss", &without_ss.to_string())];
    assign(&variables) + include_str!("scripts/listener.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "mark=500025
listen=LISTEN 0 511 10.0.0.1:9000 0.0.0.0:* users:((\"app\",pid=22,fd=9),(\"app\",pid=23,fd=9))
listen=LISTEN 0 511 10.0.0.2:9000 0.0.0.0:* users:((\"app\",pid=24,fd=9))
listen=LISTEN 0 511 10.0.0.1:9000 0.0.0.0:* users:((\"systemd\",pid=1,fd=9))
process=1 2 /sbin/init
process=22 499000 /srv/app --listen
process=23 500020 /srv/app worker
process=24 1 other
";

    #[test]
    fn only_owners_of_the_nodes_own_address_count() {
        let listener = Listener::parse(ANSWER, "10.0.0.1:9000");
        assert!(listener.bound);
        assert_eq!(listener.mark, Ticks(500_025));
        assert_eq!(listener.owners.iter().map(|owner| owner.pid).collect::<Vec<_>>(), [22, 23]);
        let old: Vec<_> = listener.older_than(Ticks(500_000)).map(|owner| owner.pid).collect();
        assert_eq!(old, [22]);
        assert_eq!(listener.owners[0].age(listener.mark).as_millis(), 10_250);
    }

    #[test]
    fn impossible_start_time_only_makes_a_process_old() {
        let text = "mark=18446744073709551615\nlisten=LISTEN 0 1 *:1 *:* users:((\"a\",pid=2,fd=1))\n\
                    process=2 0 a\n";
        let listener = Listener::parse(text, "10.0.0.1:1");
        assert!(listener.owners[0].age(listener.mark).as_secs() > 1 << 40);
    }

    #[test]
    fn a_wildcard_socket_serves_every_address() {
        for local in ["*:9000", "0.0.0.0:9000", "[::]:9000", "[::ffff:10.0.0.1]:9000"] {
            let text = format!("mark=100\nlisten=LISTEN 0 1 {local} *:*\n");
            assert!(Listener::parse(&text, "10.0.0.1:9000").bound, "{local}");
        }
        let text = "mark=100\nlisten=LISTEN 0 1 [::1]:9000 [::]:*\n";
        assert!(Listener::parse(text, "[0:0::1]:9000").bound);
        assert!(!Listener::parse(text, "[::2]:9000").bound);
        let text = "mark=100\nlisten=LISTEN 0 1 127.0.0.1:9000 *:*\n";
        assert!(!Listener::parse(text, "10.0.0.1:9000").bound);
        assert!(Listener::parse(text, "app-1.internal:9000").bound);
    }

    #[test]
    fn the_script_sees_a_real_listener() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = socket.local_addr().expect("address");
        let output = std::process::Command::new("sh")
            .args(["-c", &script(address.port(), NO_SS)])
            .output()
            .expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let listener = Listener::parse(&text, &address.to_string());
        assert!(listener.bound, "{text}");
        assert!(listener.owners.iter().any(|owner| owner.pid == std::process::id()), "{text}");
        assert!(listener.owners.iter().all(|owner| owner.started <= listener.mark), "{text}");
    }
}
