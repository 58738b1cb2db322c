use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::release::{Event, EventKind};
use crate::report::{Story, hostile};
use crate::secret::{self, Secret};
use crate::text::is_harmful;

/// The page of a release with these events.
fn page(events: &[Event]) -> String {
    let mut story = Story::default();
    for event in events {
        story.take(event);
    }
    let story = story.finish();
    let summary = Summary::of(&story.release, None).expect("it has started");
    let next = vec![("after a <fix>".to_owned(), "rollgate status 'a<b>.yaml'".to_owned())];
    let page = StoryPage {
        story: &story,
        summary: &summary,
        stays_healthy: Duration::from_secs(1),
        next: &next,
        suggested: &next,
        zone: TimeZone::UTC,
        now: Timestamp::UNIX_EPOCH,
    };
    page.render().expect("a page")
}

/// Events in which every text of another program is this one.
fn saying(text: &str) -> Vec<Event> {
    let events = hostile::release().into_iter().map(|event| {
        let line = event.to_line();
        let evil = serde_json::json!({ "reason": text, "seen": [[text, text]], "log": [text] });
        let fact = match event.fact {
            EventKind::NodeFailed(_) => {
                EventKind::NodeFailed(serde_json::from_value(evil).expect("a failure"))
            }
            EventKind::Warning { .. } => EventKind::Warning { message: text.to_owned() },
            fact => fact,
        };
        Event { fact, ..Event::from_line(&line).expect("an event") }
    });
    events.collect()
}

#[test]
fn hostile_text_cannot_leave_its_place() {
    let page = page(&saying("</pre><script>alert(1)</script>\u{202e}\u{0}\"'<!-- "));
    let harmful = |it: char| it != '\n' && is_harmful(it);
    assert!(!page.contains(harmful));
    assert_eq!(page.matches("<script").count(), 0);
    assert_eq!(page.matches("</pre>").count(), 1, "{page}");
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
    assert!(page.contains("rollgate status &#39;a&#60;b&#62;.yaml&#39;"), "{page}");
}

#[test]
fn page_has_no_secret() {
    secret::remember([Secret::new("p4ge-s3cret-0f-this-test")], []);
    let page = page(&saying("the token is p4ge-s3cret-0f-this-test"));
    assert!(!page.contains("p4ge-s3cret") && page.contains("the token is ***"), "{page}");
}

#[test]
fn policy_allows_nothing_but_the_own_style() {
    let page = page(&hostile::release());
    let (_, rest) = page.split_once("style-src 'sha256-").expect("a policy");
    let (hash, rest) = rest.split_once('\'').expect("a hash");
    assert!(rest.starts_with("; base-uri 'none'; form-action 'none'\">"), "{rest:.60}");
    let (_, style) = page.split_once("<style>").expect("a style");
    let (style, _) = style.split_once("</style>").expect("its end");
    assert_eq!(hash, BASE64_STANDARD.encode(Sha256::digest(style)));
    assert!(page.contains(MARK));
    // The style has none of these either.
    for word in ["http:", "https:", "url(", "@import", " style=\"", "<script", "<img", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
}
