//! What Consul answers, read within bounds: JSON takes many times its size once it is understood.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::text;
use crate::world::Reply;

/// The most values that a list of a whole service has: some thousand instances with all that is known of each.
const OF_A_SERVICE: usize = 1_000_000;

/// The most values of any other answer: what one agent tells of itself, the names of keys.
const FEW: usize = 200_000;

/// Reads an answer about a service, a session or keys.
pub(super) fn decode<T: DeserializeOwned>(what: &str, reply: &Reply) -> Result<T, Error> {
    within(OF_A_SERVICE, what, reply)
}

/// Reads an answer about one agent, or names of keys.
pub(super) fn decode_few<T: DeserializeOwned>(what: &str, reply: &Reply) -> Result<T, Error> {
    within(FEW, what, reply)
}

/// Reads JSON of at most so many values as Consul has for a service.
///
/// # Errors
///
/// Says why it cannot be read.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    bounded(OF_A_SERVICE, body)
}

fn within<T: DeserializeOwned>(most: usize, what: &str, reply: &Reply) -> Result<T, Error> {
    let read = bounded(most, &reply.body);
    read.map_err(|message| Error::Unreadable { what: what.into(), message })
}

fn bounded<'a, T: Deserialize<'a>>(most: usize, body: &'a [u8]) -> Result<T, String> {
    // Every value but the first of its list or map has a comma before it; those in texts only make it stricter.
    if body.split(|byte| *byte == b',').count() > most {
        return Err(format!("it has more than {most} values"));
    }
    serde_json::from_slice(body).map_err(|error| text::line(&error.to_string(), 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_very_many_values_is_refused_before_it_takes_memory() {
        let list = |values: usize| Reply {
            body: format!("[{}1]", "1,".repeat(values - 1)).into_bytes(),
            ..Reply::default()
        };
        let read = |values| decode_few::<Vec<u8>>("/v1/agent/checks", &list(values));
        assert_eq!(read(FEW).map(|list| list.len()).ok(), Some(FEW));
        let error = read(FEW + 1).expect_err("too many").to_string();
        assert!(error.ends_with("it has more than 200000 values"), "{error}");
        assert!(decode::<Vec<u8>>("x", &list(FEW + 1)).is_ok());
    }
}
