//! How a history names calls and answers.

use rollgate::world::Request;

use crate::world::{Answer, What};

/// Reads of gateways are so frequent that a history leaves them out.
pub(crate) fn is_look(request: &Request) -> bool {
    request.url.starts_with("http://gw-")
}

/// Writes of the lock's holder differ from run to run.
pub(crate) fn is_lock(request: &Request) -> bool {
    let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    request.url.contains("rollgate/app/lock")
        || body.contains("\"Key\":\"rollgate/app/lock\",\"Value\"")
}

pub(crate) fn named(what: &What) -> String {
    match what {
        What::Http(request) | What::Row(request, _) => {
            let method = request.method.name();
            let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let body = if is_lock(request) { "(the lock's holder)".into() } else { body };
            format!("{method} {} {body}", request.url)
        }
        What::Connect(address) => format!("connect {address}"),
        What::Run(node, command) => format!("on node-{}: {:?}", node + 1, command.script),
    }
}

pub(crate) fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Http(Ok(reply)) => format!("{} {}", reply.status, reply.text().trim_end()),
        Answer::Http(Err(error)) => error.to_string(),
        Answer::Row(replies) => format!("{} replies", replies.len()),
        Answer::Run(Ok(output)) => {
            format!("{:?} {}{}", output.status, output.stdout_text(), output.stderr_text())
        }
        Answer::Run(Err(error)) => error.to_string(),
    }
}
