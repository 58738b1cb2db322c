//! Reads Consul's answers in bounded memory: lists entry by entry, everything else only if it is small.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::Error;
use crate::json;
use crate::world::Reply;

/// The most memory for an answer that is not a list: a session, or a transaction of 64 writes.
const SMALL: usize = json::SMALL;

/// Reads a small answer.
pub(super) fn decode<T: DeserializeOwned>(what: &str, reply: &Reply) -> Result<T, Error> {
    let value = json::document(&reply.body).and_then(|answer| json::value(answer, SMALL));
    let read = value.and_then(|value| T::deserialize(value).map_err(|error| error.to_string()));
    read.map_err(|message| unreadable(what, &message))
}

/// Reads a list, or an object with its names, entry by entry.
pub(super) fn each<'a>(
    what: &str,
    reply: &'a Reply,
    take: impl FnMut(Option<&str>, &'a RawValue) -> Result<(), String>,
) -> Result<(), Error> {
    let read = json::document(&reply.body).and_then(|answer| json::each(answer, take));
    read.map_err(|message| unreadable(what, &message))
}

/// Says why an answer cannot be read.
pub(super) fn unreadable(what: &str, message: &str) -> Error {
    Error::Unreadable { what: what.into(), message: crate::text::line(message, 200) }
}

/// Consul's answer about a key that does not exist.
#[cfg(test)]
pub(crate) fn no_key() -> Reply {
    let headers = [("x-consul-index".to_owned(), "1".to_owned())].into();
    Reply { status: 404, headers, ..Reply::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_with_too_many_values_is_refused() {
        let reply = |values: usize| Reply {
            body: format!("[{}1]", "1,".repeat(values - 1)).into_bytes(),
            ..Reply::default()
        };
        let decoded = decode::<Vec<u8>>("/v1/txn", &reply(4_000)).map(|list| list.len());
        assert_eq!(decoded.ok(), Some(4_000));
        let error = decode::<Vec<u8>>("/v1/txn", &reply(100_000)).expect_err("too many");
        assert_eq!(
            error.to_string(),
            "Consul's answer to /v1/txn cannot be read: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,… has too many \
             values: it would take more than 1.0 MiB of memory"
        );
        let count = |values| {
            let mut count = 0;
            let reply = reply(values);
            let read = each("/v1/agent/checks", &reply, |_, _| {
                count += 1;
                Ok(())
            });
            read.map(|()| count).map_err(|error| error.to_string())
        };
        assert_eq!(count(json::MOST_ENTRIES), Ok(json::MOST_ENTRIES));
        let error = count(json::MOST_ENTRIES + 1).expect_err("too many");
        assert!(
            error.ends_with("it has more than 100000 entries, the most that are read"),
            "{error}"
        );
    }
}
