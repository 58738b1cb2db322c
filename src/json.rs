//! Reads JSON from gateways, Consul, services and journals piece by piece, so that it needs little more
//! memory than its text.
//!
//! A body is bounded in bytes, but a parsed [`Value`] needs up to a hundred times the memory of its text. So
//! a document is checked as a whole without being stored ([`document`]), then walked by members ([`fields`],
//! [`at`]) and entries ([`each`]). Only small parts become a [`Value`] ([`value`]).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::text;

/// The limit of entries of a list or object that is read entry by entry. Large installations have about ten
/// thousand.
pub const MOST_ENTRIES: usize = 100_000;

/// The memory limit of one entry of a list as a [`Value`].
pub const SMALL: usize = 1024 * 1024;

/// The memory limit of a file as a [`Value`].
pub const LARGE: usize = 24 * 1024 * 1024;

/// Memory of an entry of a list or an object, including the capacity that its list reserves.
const ENTRY: usize = 220;

/// Memory of the first entries of a list.
const LIST: usize = 300;

/// Memory of the first members of an object, which keeps their order.
const OBJECT: usize = 550;

/// Checks that a body is JSON and returns it unparsed.
///
/// # Errors
///
/// Names the reason why it is not JSON.
pub fn document(body: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(body).map_err(|error| told(&error))
}

/// Parses a small part or a file into a value of at most `most` bytes of memory.
///
/// # Errors
///
/// When it would need more memory, or cannot be read.
pub fn value(raw: &RawValue, most: usize) -> Result<Value, String> {
    let text = raw.get();
    if memory(text) > most {
        let (shown, most) = (text::line(start(text), 40), text::size(most as u64));
        return Err(format!(
            "{shown} has too many values: it would take more than {most} of memory"
        ));
    }
    serde_json::from_str(text).map_err(|error| told(&error))
}

/// Reads a type that stores no more than its text.
///
/// # Errors
///
/// When the value has another type.
pub fn typed<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| told(&error))
}

/// Reads a text.
///
/// # Errors
///
/// When the value is not a text.
pub fn typed_text(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    typed::<Text<'_>>(raw).map(|Text(text)| text)
}

/// Reads a text; `None` if the value is not a text.
#[must_use]
pub fn string(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    typed_text(raw?).ok()
}

/// Returns the members with these names; none if the value is not an object. Of equal names the last counts.
///
/// # Errors
///
/// When a name cannot be read.
pub fn fields<'a, const N: usize>(
    raw: &'a RawValue,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], String> {
    let mut found = [None; N];
    if is_object(raw) {
        let visitor = Fields { names, found: &mut found };
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        deserializer.deserialize_map(visitor).map_err(|error| told(&error))?;
    }
    Ok(found)
}

/// Returns the value at a JSON pointer.
///
/// # Errors
///
/// When a name in the path cannot be read.
pub fn at<'a>(raw: &'a RawValue, pointer: &str) -> Result<Option<&'a RawValue>, String> {
    let mut tokens = pointer.split('/');
    // The text before the first slash.
    if tokens.next() != Some("") {
        return Ok(None);
    }
    let mut found = raw;
    for token in tokens {
        let next = if is_list(found) {
            entry(found, token)?
        } else {
            let name = token.replace("~1", "/").replace("~0", "~");
            fields(found, [name.as_str()])?[0]
        };
        match next {
            Some(next) => found = next,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn entry<'a>(list: &'a RawValue, token: &str) -> Result<Option<&'a RawValue>, String> {
    let is_index = token == "0" || !token.starts_with(['0', '+']);
    let Some(index) = token.parse::<usize>().ok().filter(|_| is_index) else { return Ok(None) };
    let (mut found, mut number) = (None, 0);
    each(list, |_, raw| {
        if number == index {
            found = Some(raw);
        }
        number += 1;
        Ok(())
    })?;
    Ok(found)
}

/// Passes on the entries of a list, or of an object with their names, one after the other.
///
/// # Errors
///
/// When it is neither, has more than [`MOST_ENTRIES`], or `take` stops.
pub fn each<'a>(
    raw: &'a RawValue,
    mut take: impl FnMut(Option<&str>, &'a RawValue) -> Result<(), String>,
) -> Result<(), String> {
    let mut refused = None;
    let mut count = 0;
    let mut take = |name: Option<&str>, raw| {
        count += 1;
        let taken = if count > MOST_ENTRIES {
            Err(format!("it has more than {MOST_ENTRIES} entries, the most that are read"))
        } else {
            take(name, raw)
        };
        taken.map_err(|why| refused = Some(why))
    };
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    let read = deserializer.deserialize_any(Each { take: &mut take });
    match (refused, read) {
        (Some(why), _) => Err(why),
        (None, read) => read.map_err(|error| told(&error)),
    }
}

/// Returns the entries of a list.
///
/// # Errors
///
/// As [`each`].
pub fn list(raw: &RawValue) -> Result<Vec<&RawValue>, String> {
    let mut entries = Vec::new();
    each(raw, |name, entry| match name {
        None => {
            entries.push(entry);
            Ok(())
        }
        Some(_) => Err("it is not a list".to_owned()),
    })?;
    Ok(entries)
}

/// Returns whether it is a list.
#[must_use]
pub fn is_list(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// Returns whether it is an object.
#[must_use]
pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Returns whether it is `null`.
#[must_use]
pub fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

fn told(error: &serde_json::Error) -> String {
    text::line(&error.to_string(), 200)
}

/// The first characters, without a scan of a long text.
fn start(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

/// The largest possible memory of a text as a [`Value`].
fn memory(text: &str) -> usize {
    let mut memory = text.len();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        memory += match byte {
            b',' => ENTRY,
            b'[' => LIST,
            b'{' => OBJECT,
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
                0
            }
            _ => 0,
        };
    }
    memory
}

/// How many entries of a short list are read.
pub const FEW: usize = 20;

/// Reads the first entries of a list that is short if rollgate has written it.
///
/// # Errors
///
/// When it is not a list, or an entry has another type.
pub fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
            text.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < FEW {
                let Some(entry) = list.next_element()? else { return Ok(kept) };
                kept.push(entry);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }

    deserializer.deserialize_seq(Few(PhantomData))
}

/// JSON that is kept as text, which copies share.
#[derive(Debug, Clone)]
pub struct Written(Arc<str>);

impl Default for Written {
    fn default() -> Self {
        Self("null".into())
    }
}

impl From<Value> for Written {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

/// Equal JSON with different spelling is equal.
impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
            || matches!((self.value(), other.value()), (Ok(one), Ok(other)) if one == other)
    }
}

impl Written {
    /// The content as a type that stores no more than its text.
    ///
    /// # Errors
    ///
    /// When the content has another type.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.0).map_err(|error| told(&error))
    }

    /// The content as a value of at most [`LARGE`] bytes of memory.
    ///
    /// # Errors
    ///
    /// As [`value`].
    pub fn value(&self) -> Result<Value, String> {
        value(document(self.0.as_bytes())?, LARGE)
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(raw).into()))
    }
}

/// A text that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Fields<'n, 'f, 'a, const N: usize> {
    names: [&'n str; N],
    found: &'f mut [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Visitor<'a> for Fields<'_, '_, 'a, N> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(place) => self.found[place] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Each<'f, F> {
    take: &'f mut F,
}

impl<'a, F: FnMut(Option<&str>, &'a RawValue) -> Result<(), ()>> Visitor<'a> for Each<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(raw) = list.next_element()? {
            (self.take)(None, raw).map_err(|()| A::Error::custom("refused"))?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let raw = map.next_value()?;
            (self.take)(Some(&name), raw).map_err(|()| A::Error::custom("refused"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        document(text.as_bytes()).expect("JSON")
    }

    #[test]
    fn pointer_finds_the_same_as_in_a_parsed_document() {
        let text = r#" {"a":[1,{"b/c":"x","":[]}],"~":null,"a~1":2,"0":[[3]],"a":[4,{"b/c":"y"}],"l":[0,1,2,3,4,5,6,7,8,9,10]} "#;
        let parsed: Value = serde_json::from_str(text).expect("JSON");
        for pointer in [
            "",
            "/",
            "a",
            "/a",
            "/a/0",
            "/a/1/b~1c",
            "/a/01",
            "/a/+1",
            "/a/2",
            "/a/-",
            "/~0",
            "/a~01",
            "/0/0/0",
            "/l/10",
            "/l/11",
            "/l/99999999999999999999",
            "/~/x",
            "/a/0/x",
            "/a/1/",
        ] {
            let found = at(raw(text), pointer).expect("readable");
            let found = found.map(|found| value(found, SMALL).expect("small"));
            assert_eq!(found.as_ref(), parsed.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn fields_are_those_of_an_object_and_the_last_of_equal_names_counts() {
        let object = raw(r#"{"a":1,"\u0062":"\n","a":[2],"c":null}"#);
        let found = fields(object, ["b", "a", "d", "c"]).expect("readable");
        let shown = found.map(|found| found.map(RawValue::get));
        assert_eq!(shown, [Some(r#""\n""#), Some("[2]"), None, Some("null")]);
        assert_eq!(string(found[0]).as_deref(), Some("\n"));
        assert_eq!(string(found[1]), None);
        for other in ["[1]", "7", "null", "\"a\""] {
            assert!(fields(raw(other), ["a"]).expect("readable")[0].is_none(), "{other}");
            assert_eq!(each(raw(other), |_, _| Ok(())).is_ok(), other == "[1]", "{other}");
        }
    }

    #[test]
    fn list_with_too_many_entries_is_refused() {
        let of = |entries: usize| format!("[{}0]", "0,".repeat(entries - 1));
        assert_eq!(list(raw(&of(MOST_ENTRIES))).map(|list| list.len()), Ok(MOST_ENTRIES));
        let error = list(raw(&of(MOST_ENTRIES + 1))).expect_err("too many");
        assert_eq!(error, "it has more than 100000 entries, the most that are read");
    }

    #[test]
    fn value_that_needs_too_much_memory_is_refused() {
        let chain = format!("{}0{}", "[".repeat(120), "]".repeat(120));
        let chains = format!("[{}0]", format!("{chain},").repeat(100));
        for (text, fits) in [
            (format!("[{}0]", "0,".repeat(4_000)), true),
            (format!("[{}0]", "0,".repeat(5_000)), false),
            (format!("[{}0]", "[],".repeat(3_000)), false),
            (format!("[{}0]", r#"{"":0},"#.repeat(1_500)), false),
            (chains, false),
            // The content of a text does not count.
            (format!(r#""{}\"{}""#, "[{,".repeat(10_000), "[{,".repeat(10_000)), true),
        ] {
            let read = value(raw(&text), SMALL);
            assert_eq!(read.is_ok(), fits, "{}", start(&text));
            if let Err(error) = read {
                assert!(
                    error.ends_with("too many values: it would take more than 1.0 MiB of memory"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn written_json_is_equal_in_any_spelling() {
        let written = |text: &str| serde_json::from_str::<Written>(text).expect("JSON");
        assert_eq!(written(r#"{"a":"\u0062"}"#), written(r#"{ "a": "b" }"#));
        assert_ne!(written("1"), written("2"));
        let value = serde_json::json!({ "playbook": { "a": [1, null] } });
        let kept: std::collections::BTreeMap<String, Written> =
            serde_json::from_value(value.clone()).expect("JSON");
        assert_eq!(serde_json::to_value(&kept).expect("JSON"), value);
        assert_eq!(Written::default(), written("null"));
    }
}
