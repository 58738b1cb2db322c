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

use std::time::Duration;

use crate::address;

use super::listener::NO_SS;
use crate::shell::assign;

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
    /// Where the service listens on exactly that address, only its connections count: another instance may
    /// share the port. Where it listens on all addresses, the node may not know the address (NAT), and every
    /// connection of the port counts.
    ///
    /// # Errors
    ///
    /// Names the line that cannot be read: an unreadable line does not mean "no request".
    pub fn parse(text: &str, address: &str) -> Result<Vec<Self>, String> {
        let own = address::host_of(address);
        let is_own = |local: &str| address::same_host(address::host_of(local), own);
        let mut exact = false;
        let mut connections: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(listener) = line.strip_prefix("listen=") {
                exact |= listener.split_whitespace().nth(3).is_some_and(is_own);
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
        connections.retain(|connection| !exact || is_own(&connection.local));
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

/// Counts the connections on which a request may be in flight.
#[must_use]
pub fn in_flight(connections: &[Connection], idle: Duration) -> usize {
    connections.iter().filter(|connection| connection.busy(idle)).count()
}

pub(super) fn script(port: u16) -> String {
    let variables = [("port", &*port.to_string()), ("without_ss", &NO_SS.to_string())];
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
        let connections = Connection::parse(text, "127.0.0.1:8080").expect("readable");
        assert_eq!(connections.len(), 2, "nothing listens on the very address: all count");
        assert_eq!((connections[0].sent, connections[0].received), (185, 77));
        assert_eq!(in_flight(&connections, SECOND), 1);
        let exact = format!("listen=LISTEN 0 511 127.0.0.2:8080 0.0.0.0:*\n{text}");
        let connections = Connection::parse(&exact, "127.0.0.2:8080").expect("readable");
        assert_eq!(connections.len(), 1);
        assert_eq!(in_flight(&connections, SECOND), 0);
        assert!(Connection::parse("garbage", "127.0.0.1:8080").is_err());
    }

    #[test]
    fn a_real_pending_request_is_seen_on_a_real_socket() {
        use std::io::{Read, Write};
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = server.local_addr().expect("address");
        let look = || {
            let output = std::process::Command::new("sh")
                .args(["-c", &script(address.port())])
                .output()
                .expect("sh runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let connections = Connection::parse(&text, &address.to_string()).expect("readable");
            in_flight(&connections, Duration::from_millis(1))
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
