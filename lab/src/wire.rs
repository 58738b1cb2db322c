//! Wires that can be cut: rollgate's own connection to each part, which no other program uses.
//!
//! Behind `127.78.x.y` a relay passes every byte on to `127.77.x.y`. A cut wire behaves as a network that drops
//! packets: an open connection stays open and silent, a new connection gets no answer, and pending bytes arrive when
//! the wire is restored. It works without a firewall and without rights on the network.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};

/// Connections that the kernel accepts before the relay does.
const BACKLOG: u32 = 8;

/// A connection that the kernel has not answered after this time gets no answer at all.
const ANSWER: Duration = Duration::from_millis(100);

/// Between two checks whether a part that refused connections accepts them again.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the address of the wire to the part at `ip`.
pub(crate) fn entrance(ip: Ipv4Addr) -> Ipv4Addr {
    let [first, _, slot, host] = ip.octets();
    Ipv4Addr::new(first, 78, slot, host)
}

/// Rewrites the parts' addresses in a text.
pub(crate) fn through(text: &str) -> String {
    text.replace("127.77.", "127.78.")
}

/// All wires of a lab.
#[derive(Debug)]
pub(crate) struct Wires {
    cuts: BTreeMap<Ipv4Addr, watch::Sender<bool>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Wires {
    /// Lays a wire to each of these sockets.
    pub(crate) fn lay(sockets: &[(Ipv4Addr, u16)]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut cuts: BTreeMap<Ipv4Addr, watch::Sender<bool>> = BTreeMap::new();
        for (ip, port) in sockets {
            let cut = cuts.entry(*ip).or_insert_with(|| watch::Sender::new(false)).subscribe();
            let (from, to) = (SocketAddr::from((entrance(*ip), *port)), (*ip, *port).into());
            let _inside = runtime.enter();
            let listener = listen(from).with_context(|| format!("no wire to {to}"))?;
            runtime.spawn(relay(listener, to, cut));
        }
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("lab-wires".into())
            .spawn(move || drop(runtime.block_on(ended)))
            .context("could not start the wires' thread")?;
        Ok(Self { cuts, end: Some(end), thread: Some(thread) })
    }

    /// Cuts every wire to the part at `ip`, or restores it.
    pub(crate) fn cut(&self, ip: Ipv4Addr, cut: bool) -> Result<()> {
        let wire = self.cuts.get(&ip).with_context(|| format!("there is no wire to {ip}"))?;
        wire.send_replace(cut);
        Ok(())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed.
            let _ = thread.join();
        }
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Accepts connections while the wire is whole. While it is cut, the kernel's own queue is kept full, so that no new
/// connection is answered. While the part itself refuses connections, so does the wire, from the second one on.
async fn relay(mut listener: TcpListener, to: SocketAddr, mut cut: watch::Receiver<bool>) {
    let Ok(at) = listener.local_addr() else { return };
    loop {
        let is_cut = *cut.borrow_and_update();
        if is_cut {
            let _plugs = plug(at).await;
            if cut.wait_for(|cut| !cut).await.is_err() {
                return;
            }
            continue;
        }
        let client = tokio::select! {
            biased;
            changed = cut.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            taken = listener.accept() => match taken {
                Ok((client, _)) => client,
                Err(_) => continue,
            },
        };
        if let Ok(part) = TcpStream::connect(to).await {
            tokio::spawn(pass_on(client, part, cut.clone()));
            continue;
        }
        drop((client, listener));
        while !*cut.borrow() && TcpStream::connect(to).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
        // No other program has this address.
        let Ok(again) = listen(at) else { return };
        listener = again;
    }
}

/// Connects until the kernel answers no further connection.
async fn plug(at: SocketAddr) -> Vec<TcpStream> {
    let mut plugs = Vec::new();
    while let Ok(Ok(plug)) = tokio::time::timeout(ANSWER, TcpStream::connect(at)).await {
        plugs.push(plug);
    }
    plugs
}

/// Passes bytes on in both directions until both have ended, or either fails.
async fn pass_on(client: TcpStream, part: TcpStream, cut: watch::Receiver<bool>) {
    let _ = (client.set_nodelay(true), part.set_nodelay(true));
    let (client_in, client_out) = client.into_split();
    let (part_in, part_out) = part.into_split();
    let _ =
        tokio::try_join!(pump(client_in, part_out, cut.clone()), pump(part_in, client_out, cut));
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) -> io::Result<()> {
    let whole = |error: watch::error::RecvError| io::Error::other(error);
    let mut buffer = vec![0; 16 << 10];
    loop {
        cut.wait_for(|cut| !cut).await.map_err(whole)?;
        let read = from.read(&mut buffer).await;
        // Bytes that left one side before the cut may still be under way.
        cut.wait_for(|cut| !cut).await.map_err(whole)?;
        match read? {
            0 => return to.shutdown().await,
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}
