//! An impostor that answers in a gateway's place.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a client may send nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends the same answer to every client.
#[derive(Default)]
pub(crate) struct Impostor {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Impostor {
    /// Also sends `garbage` at an address.
    pub(crate) fn tcp(mut self, place: impl Into<SocketAddr>, garbage: &[u8]) -> Self {
        let tcp = TcpListener::bind(place.into()).expect("bind");
        tcp.set_nonblocking(true).expect("a setting");
        let accept = move || {
            let (stream, _) = tcp.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        self.threads.push(answer(&self.end, garbage.to_vec(), accept));
        self
    }

    /// Also sends it at an address, as the body of a valid HTTP answer.
    pub(crate) fn http(self, place: impl Into<SocketAddr>, garbage: &[u8]) -> Self {
        let length = garbage.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        self.tcp(place, &[head.as_bytes(), garbage].concat())
    }

    /// Also sends it at a Unix socket.
    pub(crate) fn unix(mut self, place: &Path, garbage: &[u8]) -> Self {
        let _ = std::fs::remove_file(place);
        let unix = UnixListener::bind(place).expect("bind");
        unix.set_nonblocking(true).expect("a setting");
        let accept = move || {
            let (stream, _) = unix.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        self.threads.push(answer(&self.end, garbage.to_vec(), accept));
        self
    }
}

fn answer<S: Read + Write>(
    end: &Arc<AtomicBool>,
    garbage: Vec<u8>,
    accept: impl Fn() -> io::Result<S> + Send + 'static,
) -> JoinHandle<()> {
    let end = end.clone();
    thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            match accept() {
                Ok(mut stream) => {
                    // The client may have closed the connection.
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(&garbage);
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    })
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
    }
}
