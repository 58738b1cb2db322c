//! Plain TCP: port checks and short exchanges that are not HTTP.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::names::resolve_address;
use super::room::Body;
use super::{BODY_LIMIT, Channel, HttpError};

/// Connects, sends the text, and reads until the other side closes. Without a text it only connects.
pub(super) async fn exchange(
    address: &str,
    say: &[u8],
    time: Duration,
) -> Result<Vec<u8>, HttpError> {
    let exchange = async {
        let not_sent = |error: io::Error| HttpError::NotSent(describe(&error));
        let addresses = resolve_address(address).await.map_err(not_sent)?;
        let mut stream = TcpStream::connect(&*addresses).await.map_err(not_sent)?;
        if say.is_empty() {
            return Ok(Vec::new());
        }
        let broken = |error: io::Error| HttpError::Broken(describe(&error));
        stream.write_all(say).await.map_err(broken)?;
        // The end of the input makes the other side close after its answer.
        stream.shutdown().await.map_err(broken)?;
        let mut answer = Body::of(Channel::Direct);
        let mut chunk = vec![0; 16 * 1024];
        loop {
            match stream.read(&mut chunk).await.map_err(broken)? {
                0 => return Ok(answer.finish().0),
                count => answer.append(&chunk[..count], BODY_LIMIT).await?,
            }
        }
    };
    timeout(time, exchange).await.unwrap_or(Err(HttpError::TimedOut(time)))
}

/// Describes an error without the system's error number.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text).to_lowercase()
}
