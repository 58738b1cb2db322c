//! Foreign names as parts of requested URLs.

use proptest::prelude::*;
use rollgate::url::{key, nowhere, segment};

use crate::damaged::cases;

proptest! {
    #![proptest_config(cases(2000))]

    /// As the HTTP client reads it, which removes dots from paths.
    #[test]
    fn requested_path_stays_below_its_prefix(name in r"[./a-b%2eE\\?#]{0,12}|(?s).{0,8}") {
        for part in [segment(&name), key(&name), Ok(nowhere(&name))].into_iter().flatten() {
            let url = format!("http://h/v1/agent/{part}?enable=true");
            let read = reqwest::Url::parse(&url).expect("a URL");
            prop_assert_eq!(read.path(), format!("/v1/agent/{part}"));
            prop_assert_eq!(read.query(), Some("enable=true"));
        }
    }
}
