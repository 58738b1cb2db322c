//! The value of a node's key: JSON in which rollgate changes only `down`.
//!
//! It is read as nginx-upsync reads it: names ignore case, the first of two equal names counts, and only `1`,
//! `1.0`, `true` and `"1"` are down. It is changed in place, in the bytes: everything else stays as it was written.
//!
//! An empty value is nginx-upsync's own form for a server with the default parameters.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::gateway::{KEY_PARAMETERS, Parameters};

/// nginx-upsync writes past a buffer with larger values.
pub const SIZE_LIMIT: usize = 1024;

/// What an empty value becomes while its node is down. nginx-upsync fills in the same defaults, and ignores the name
/// that lets the value become empty again.
const EMPTY_AND_DOWN: &str = r#"{"down":1,"rollgate":"the value was empty"}"#;

/// Why a value is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The gateway treats it as up with defaults, but it has no field to change.
    #[error("its value is not a JSON object: {0}")]
    NotAnObject(String),
    /// The gateway would write past a buffer.
    #[error("its value would have {0} bytes; nginx-upsync accepts at most {SIZE_LIMIT}")]
    TooLarge(usize),
}

/// The object's members in their order, each value as it was written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

type Member<'a> = (String, &'a RawValue);

fn members(value: &[u8]) -> Result<(&str, Vec<Member<'_>>), ValueError> {
    let text =
        std::str::from_utf8(value).map_err(|error| ValueError::NotAnObject(error.to_string()))?;
    let Members(members) =
        serde_json::from_str(text).map_err(|error| ValueError::NotAnObject(error.to_string()))?;
    Ok((text, members))
}

fn find<'a>(members: &[Member<'a>]) -> Option<&'a RawValue> {
    members.iter().find(|(name, _)| name.eq_ignore_ascii_case("down")).map(|(_, value)| *value)
}

fn means_down(value: &str) -> bool {
    match value {
        "true" | r#""1""# => true,
        number => number.parse::<f64>() == Ok(1.0),
    }
}

/// Returns whether the gateway treats the node as down.
///
/// # Errors
///
/// If the value is not a JSON object.
pub fn is_down(value: &[u8]) -> Result<bool, ValueError> {
    if value.is_empty() {
        return Ok(false);
    }
    let (_, members) = members(value)?;
    Ok(find(&members).is_some_and(|down| means_down(down.get())))
}

/// Returns the parameters in a value, as far as gateways read each of them as a number.
pub(super) fn parameters(value: &[u8]) -> Parameters {
    let Ok((_, members)) = members(value) else { return Parameters::new() };
    let known = KEY_PARAMETERS.iter().filter_map(|name| {
        let mut own = members.iter().filter(|(member, _)| member.eq_ignore_ascii_case(name));
        let number = own.next()?.1.get().trim_matches('"').parse().ok();
        Some(((*name).to_owned(), number.filter(|number| *number > 0)?))
    });
    known.collect()
}

/// Returns the value with `down` set, in the form in which `down` was written. Everything else stays.
///
/// # Errors
///
/// If the value is not a JSON object, or would be too large for the gateway.
pub fn with_down(value: &[u8], down: bool) -> Result<String, ValueError> {
    if value.is_empty() || value == EMPTY_AND_DOWN.as_bytes() {
        return Ok(if down { EMPTY_AND_DOWN } else { "" }.to_owned());
    }
    let (text, members) = members(value)?;
    let changed = match find(&members) {
        Some(old) if means_down(old.get()) == down => text.to_owned(),
        Some(old) => {
            let new = match (old.get(), down) {
                ("true" | "false", true) => "true",
                ("true" | "false", false) => "false",
                (string, true) if string.starts_with('"') => r#""1""#,
                (string, false) if string.starts_with('"') => r#""0""#,
                (_, true) => "1",
                (_, false) => "0",
            };
            let start = old.get().as_ptr() as usize - text.as_ptr() as usize;
            let end = start + old.get().len();
            format!("{}{new}{}", &text[..start], &text[end..])
        }
        // Without the field, the node is up.
        None if !down => text.to_owned(),
        None => {
            let end = text.rfind('}').unwrap_or(text.len());
            let comma = if members.is_empty() { "" } else { "," };
            format!("{}{comma}\"down\":1{}", text[..end].trim_end(), &text[end..])
        }
    };
    if changed.len() > SIZE_LIMIT {
        return Err(ValueError::TooLarge(changed.len()));
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn down_is_read_as_the_gateway_reads_it() {
        for (value, down) in [
            (r#"{"down":1}"#, true),
            (r#"{"down":true}"#, true),
            (r#"{"down":"1"}"#, true),
            (r#"{"DOWN":1.0}"#, true),
            (r#"{"down":1,"down":0}"#, true),
            (r#"{"down":0,"down":1}"#, false),
            (r#"{"down":"true"}"#, false),
            (r#"{"down":2}"#, false),
            (r#"{"down":null}"#, false),
            (r#"{"weight":5}"#, false),
            ("{}", false),
        ] {
            assert_eq!(is_down(value.as_bytes()), Ok(down), "{value}");
        }
    }

    #[test]
    fn parameters_are_numbers_of_the_first_member_with_the_name() {
        let value =
            br#"{"Weight":"5","weight":6,"max_fails":0,"fail_timeout":"10s","down":1,"x":7}"#;
        assert_eq!(parameters(value), [("weight".to_owned(), 5)].into());
        assert!(parameters(b"weight=1").is_empty());
    }

    #[test]
    fn only_down_changes_and_keeps_its_form() {
        for (before, down, after) in [
            (
                r#"{"weight":5,"max_fails":"3", "x":[1],"down":0,"n":1.50}"#,
                true,
                r#"{"weight":5,"max_fails":"3", "x":[1],"down":1,"n":1.50}"#,
            ),
            (r#"{"down":"0"}"#, true, r#"{"down":"1"}"#),
            (r#"{"Down": false }"#, true, r#"{"Down": true }"#),
            (r#"{"down":true}"#, false, r#"{"down":false}"#),
            (r#"{"down":1,"down":0}"#, false, r#"{"down":0,"down":0}"#),
            (r#"{"a":{"down":0}}"#, true, r#"{"a":{"down":0},"down":1}"#),
            ("{}\n", true, "{\"down\":1}\n"),
            (r#"{"weight":1}"#, false, r#"{"weight":1}"#),
            (r#"{"down":1.0}"#, true, r#"{"down":1.0}"#),
        ] {
            assert_eq!(with_down(before.as_bytes(), down).as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn empty_value_is_up_and_becomes_empty_again() {
        assert_eq!(is_down(b""), Ok(false));
        let down = with_down(b"", true).expect("defaults");
        assert_eq!(is_down(down.as_bytes()), Ok(true), "{down}");
        let fields: serde_json::Value = serde_json::from_str(&down).expect("an object");
        let others = ["weight", "max_fails", "fail_timeout", "backup"].map(|name| &fields[name]);
        assert!(others.iter().all(|field| field.is_null()), "nginx-upsync's defaults stay: {down}");
        assert_eq!(with_down(down.as_bytes(), true).as_deref(), Ok(&*down));
        assert_eq!(with_down(down.as_bytes(), false).as_deref(), Ok(""));
        assert_eq!(with_down(b"", false).as_deref(), Ok(""));
        // A value of another writer is not emptied.
        assert_eq!(with_down(br#"{"down":1}"#, false).as_deref(), Ok(r#"{"down":0}"#));
    }

    #[test]
    fn values_that_the_gateway_would_misread_are_refused() {
        for value in [" ", "[]", "1", "weight=1", "\u{feff}{}", "{\"a\":1"] {
            assert!(
                matches!(is_down(value.as_bytes()), Err(ValueError::NotAnObject(_))),
                "{value}"
            );
        }
        assert!(is_down(b"\xff{}").is_err());
        let large = format!(r#"{{"x":"{}","down":0}}"#, "a".repeat(1010));
        assert_eq!(with_down(large.as_bytes(), true), Err(ValueError::TooLarge(1027)));
    }

    proptest! {
        #[test]
        fn down_and_up_again_gives_the_same_meaning_and_nothing_else_changes(
            before in "[ \n]{0,2}", names in prop::collection::vec("[a-z]{1,8}", 0..5), flag in 0_u8..2,
        ) {
            let mut parts: Vec<String> =
                names.iter().enumerate().map(|(index, name)| format!("\"{name}\": {index}.50")).collect();
            parts.push(format!("\"down\" :{flag}"));
            let value = format!("{before}{{{}}}", parts.join(" , "));
            let down = with_down(value.as_bytes(), true).expect("an object");
            prop_assert_eq!(is_down(down.as_bytes()), Ok(true));
            let up = with_down(down.as_bytes(), false).expect("an object");
            prop_assert_eq!(is_down(up.as_bytes()), Ok(false));
            prop_assert_eq!(with_down(up.as_bytes(), flag == 1).expect("an object"), value);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_down(&value);
            let _ = with_down(&value, true);
        }
    }
}
