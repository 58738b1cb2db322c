//! Requests in flight, derived from a node's established connections.
//!
//! A connection is not a request: gateways keep idle ones open. The kernel's data about each connection shows
//! the difference, without help from the service:
//!
//! * received something, never sent anything: a request is being worked on;
//! * received after it last sent: a request is being worked on;
//! * sent or received within [`idle`](in_flight): the answer may still be on its way;
//! * otherwise idle.
//!
//! The kernel's clock for this ticks every few milliseconds. When a request arrives in the same tick in which
//! the previous answer left, the two cases cannot be distinguished. Such a connection counts as busy until
//! `idle` has passed. The same is true for an answer that pauses: `idle` should be longer than any usual
//! request.

use std::net::IpAddr;
use std::time::Duration;

use crate::address;

use super::listener::{NO_SS, bound_host, host_without_link, is_wildcard};
use crate::shell::assign;

/// What a node prints if the address of its service is one of its own.
const OWN_ADDRESS: &str = "own-address";

/// What is known of a port of a machine.
#[derive(Default)]
struct Port<'a> {
    /// Whether the node's address is one of the machine's own.
    is_own_address: bool,
    /// The hosts that sockets listen on.
    listeners: Vec<&'a str>,
}

impl Port<'_> {
    /// Returns whether a connection to the address `local` is one of the node at `own`.
    fn belongs(&self, local: &str, own: &str) -> bool {
        let is_exact = |host: &str| self.listeners.iter().any(|it| address::same_host(it, host));
        if address::same_host(local, own) {
            return true;
        }
        if is_exact(own) {
            return false;
        }
        if !self.is_own_address && !is_loopback(own) {
            return true;
        }
        let covers = |it: &&str| is_wildcard(it) && !(*it == "0.0.0.0" && address::is_ipv6(own));
        self.listeners.iter().any(covers) && !is_exact(local)
    }
}

/// One established connection, as `ss -tni` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The local side, `ip:port`.
    pub local: String,
    /// The other side, `ip:port`.
    pub peer: String,
    /// Bytes sent and acknowledged, or waiting to be.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Time since data was last sent.
    pub last_sent: Duration,
    /// Time since data was last received.
    pub last_received: Duration,
}

impl Connection {
    /// Returns whether a request may be in flight on it.
    #[must_use]
    pub fn busy(&self, idle: Duration) -> bool {
        if self.received == 0 {
            // A silent new connection: a request may be about to arrive. Kernels before 4.1 count no bytes;
            // then only the times show which side sent last.
            let is_fresh = self.last_sent.min(self.last_received) < idle;
            return self.sent == 0 && (is_fresh || self.last_received < self.last_sent);
        }
        self.sent == 0
            || self.last_received < self.last_sent
            || self.last_sent.min(self.last_received) < idle
    }

    /// Reads the answer of [`script`] and returns the connections that belong to `address`.
    ///
    /// Several nodes of one machine may share the port. If the address is the machine's own, or the service listens on
    /// exactly that address, only its connections count. A listener on all addresses also serves the addresses that
    /// have no listener of their own. Where the machine does not know the address (NAT), every connection of the port
    /// counts.
    ///
    /// # Errors
    ///
    /// Names the line that cannot be read: an unreadable line does not mean "no request".
    pub fn parse(text: &str, address: &str) -> Result<Vec<Self>, String> {
        let mut port = Port::default();
        let mut connections: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if line == OWN_ADDRESS {
                port.is_own_address = true;
                continue;
            }
            if let Some(listener) = line.strip_prefix("listen=") {
                port.listeners.extend(bound_host(listener));
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if line.starts_with(char::is_whitespace) {
                let connection = connections.last_mut().ok_or_else(|| unreadable(line))?;
                connection.read_details(&words);
            } else {
                let [_, _, local, peer, ..] = words[..] else { return Err(unreadable(line)) };
                connections.push(Self {
                    local: local.into(),
                    peer: peer.into(),
                    sent: 0,
                    received: 0,
                    last_sent: Duration::ZERO,
                    last_received: Duration::ZERO,
                });
            }
        }
        let own = address::host_of(address);
        connections.retain(|connection| port.belongs(host_without_link(&connection.local), own));
        Ok(connections)
    }

    fn read_details(&mut self, words: &[&str]) {
        for word in words {
            let Some((name, value)) = word.split_once(':') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            match name {
                "bytes_sent" => self.sent = value,
                "bytes_received" => self.received = value,
                "lastsnd" => self.last_sent = Duration::from_millis(value),
                "lastrcv" => self.last_received = Duration::from_millis(value),
                _ => {}
            }
        }
    }
}

fn unreadable(line: &str) -> String {
    format!("cannot read this line of `ss`: {}", crate::text::line(line, 100))
}

/// Returns whether a host is an address that every machine has for itself.
fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the connections on which a request may be in flight.
pub fn in_flight(
    connections: &[Connection],
    idle: Duration,
) -> impl Iterator<Item = &Connection> + Clone {
    connections.iter().filter(move |connection| connection.busy(idle))
}

pub(super) fn script(address: &str) -> String {
    let port = address::port_of(address).unwrap_or(0).to_string();
    let host = host_without_link(address);
    let variables = [("port", &*port), ("host", host), ("without_ss", &NO_SS.to_string())];
    assign(&variables) + include_str!("scripts/sockets.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connection(sent: u64, received: u64, last_sent: u64, last_received: u64) -> Connection {
        Connection {
            local: "10.0.0.1:80".into(),
            peer: "10.0.0.9:40000".into(),
            sent,
            received,
            last_sent: Duration::from_millis(last_sent),
            last_received: Duration::from_millis(last_received),
        }
    }

    #[test]
    fn connection_with_a_request_is_busy_however_long_it_takes() {
        assert!(connection(0, 80, 5000, 5000).busy(SECOND), "first request of a connection");
        assert!(connection(900, 160, 9000, 5000).busy(SECOND), "a later one");
        assert!(connection(0, 0, 9000, 5000).busy(SECOND), "where the kernel counts no bytes");
        assert!(connection(0, 0, 300, 5000).busy(SECOND), "and an answer that is being sent");
    }

    #[test]
    fn an_idle_kept_connection_is_not_a_request() {
        assert!(!connection(900, 80, 1500, 1700).busy(SECOND));
        assert!(!connection(900, 80, 1500, 1500).busy(SECOND));
        assert!(!connection(0, 0, 1500, 1500).busy(SECOND), "opened ahead of need");
    }

    #[test]
    fn a_fresh_answer_counts_until_it_is_idle() {
        assert!(connection(900, 80, 200, 300).busy(SECOND));
        assert!(connection(0, 0, 3, 3).busy(SECOND));
    }

    #[test]
    fn the_output_of_ss_is_read() {
        let text = "0      0      127.0.0.1:8080   127.0.0.1:40312\n\t cubic wscale:7,7 rto:204 \
                    bytes_sent:185 bytes_acked:185 bytes_received:77 lastsnd:1240 lastrcv:12 lastack:4\n\
                    0      0      [::ffff:127.0.0.2]:8080   [::ffff:127.0.0.1]:40313\n\t cubic \
                    lastsnd:9000 lastrcv:9000\n";
        let connections = Connection::parse(text, "10.0.0.1:8080").expect("readable");
        assert_eq!(connections.len(), 2, "the machine does not know the address: all count");
        assert_eq!((connections[0].sent, connections[0].received), (185, 77));
        assert_eq!(in_flight(&connections, SECOND).count(), 1);
        let exact = format!("listen=LISTEN 0 511 127.0.0.2:8080 0.0.0.0:*\n{text}");
        let connections = Connection::parse(&exact, "127.0.0.2:8080").expect("readable");
        assert_eq!(connections.len(), 1);
        assert_eq!(in_flight(&connections, SECOND).count(), 0);
        assert!(Connection::parse("garbage", "127.0.0.1:8080").is_err());
    }

    /// Each case: listeners, whether the node's address is the machine's own, the node's host, and the addresses whose
    /// connections are the node's.
    #[test]
    fn connections_of_other_nodes_at_the_same_port_do_not_count() {
        let locals = ["10.0.0.1", "10.0.0.2", "[::ffff:10.0.0.3]", "[fd00::1]"];
        let table =
            locals.map(|local| format!("0 0 {local}:80 10.9.9.9:5000\n\t cubic\n")).concat();
        let all = locals.as_slice();
        let cases: [(&[&str], bool, &str, &[&str]); 13] = [
            (&["10.0.0.2"], true, "10.0.0.1", &["10.0.0.1"]),
            (&["10.0.0.2"], true, "10.0.0.4", &[]),
            (&["10.0.0.2"], true, "10.0.0.3", &["[::ffff:10.0.0.3]"]),
            (&["10.0.0.2"], true, "[0:0::fd00]", &[]),
            (&["10.0.0.2", "[fd00::1]"], true, "[fd00:0::1]", &["[fd00::1]"]),
            // A process that stops has closed its listener, and still answers.
            (&[], true, "10.0.0.1", &["10.0.0.1"]),
            // The address of a machine behind NAT.
            (&["10.0.0.2"], false, "192.0.2.1", all),
            (&["10.0.0.2"], false, "app-1", all),
            (&["*"], true, "10.0.0.1", all),
            (&["0.0.0.0", "10.0.0.2"], true, "10.0.0.1", &[locals[0], locals[2], locals[3]]),
            (&["*", "10.0.0.1"], false, "10.0.0.1", &["10.0.0.1"]),
            (&["0.0.0.0"], true, "[fd00::2]", &[]),
            (&["10.0.0.2"], false, "127.0.0.5", &[]),
        ];
        for (listeners, is_own, host, expected) in cases {
            let listen = |it: &&str| format!("listen=LISTEN 0 511 {it}:80 0.0.0.0:*\n");
            let own = if is_own { "own-address\n" } else { "" };
            let text = listeners.iter().map(listen).collect::<String>() + own + &table;
            let found = Connection::parse(&text, &format!("{host}:80")).expect("readable");
            let found: Vec<_> = found.iter().map(|it| it.local.trim_end_matches(":80")).collect();
            assert_eq!(found, expected, "{listeners:?} {is_own} {host}");
        }
    }

    /// The kernel knows the whole of 127.0.0.0/8 as its own.
    #[test]
    fn a_dead_node_beside_a_busy_one_has_no_requests_in_flight() {
        use std::io::{Read, Write};
        let server = std::net::TcpListener::bind("127.88.0.12:0").expect("bind");
        let address = server.local_addr().expect("address");
        let mut client = std::net::TcpStream::connect(address).expect("connect");
        let (mut accepted, _) = server.accept().expect("accept");
        client.write_all(b"request").expect("write");
        accepted.read_exact(&mut [0; 7]).expect("read");
        for (host, expected) in [("127.88.0.11", 0), ("127.88.0.12", 1)] {
            let node = format!("{host}:{}", address.port());
            let text = answer(&node);
            assert!(text.contains(OWN_ADDRESS), "{text}");
            let connections = Connection::parse(&text, &node).expect("readable");
            assert_eq!(in_flight(&connections, SECOND).count(), expected, "{text}");
        }
        for host in ["192.0.2.77", "app-1.invalid"] {
            let text = answer(&format!("{host}:{}", address.port()));
            assert!(!text.contains(OWN_ADDRESS), "{text}");
        }
    }

    /// What this machine prints about the port of an address.
    fn answer(address: &str) -> String {
        let output = std::process::Command::new("sh").args(["-c", &script(address)]).output();
        let output = output.expect("sh runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn a_real_pending_request_is_seen_on_a_real_socket() {
        use std::io::{Read, Write};
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = server.local_addr().expect("address");
        let look = || {
            let text = answer(&address.to_string());
            let connections = Connection::parse(&text, &address.to_string()).expect("readable");
            in_flight(&connections, Duration::from_millis(1)).count()
        };
        let mut client = std::net::TcpStream::connect(address).expect("connect");
        let (mut accepted, _) = server.accept().expect("accept");
        client.write_all(b"request").expect("write");
        let mut buffer = [0; 7];
        accepted.read_exact(&mut buffer).expect("read");
        assert_eq!(look(), 1);
        accepted.write_all(b"answer").expect("write");
        client.read_exact(&mut buffer[..6]).expect("read");
        // The answer was sent in a later tick than the request arrived, or the quiet time passes.
        let deadline = std::time::Instant::now() + SECOND;
        while look() != 0 {
            assert!(std::time::Instant::now() < deadline, "an answered request is not in flight");
        }
    }
}
