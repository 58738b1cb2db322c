//! What a page is made of.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::release::Summary;
use crate::report::story::Story;

/// A past release as a page.
pub struct StoryPage<'a> {
    /// The release.
    pub story: &'a Story,
    /// The release in one line.
    pub summary: &'a Summary,
    /// How long a node must stay healthy.
    pub stays_healthy: Duration,
    /// The next commands and their purposes.
    pub next: &'a [(String, String)],
    /// The commands that were suggested at the end of the release.
    pub suggested: &'a [(String, String)],
    /// The zone of the times.
    pub zone: TimeZone,
    /// When the page is made.
    pub now: Timestamp,
}

/// A row of a table of steps or events.
pub(super) struct Row {
    pub(super) at: String,
    pub(super) word: String,
    pub(super) took: String,
    pub(super) text: String,
    pub(super) is_bad: bool,
}

impl StoryPage<'_> {
    pub(super) fn time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    pub(super) fn date(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// Whether a note tells a problem.
pub(super) fn is_bad(word: &str) -> bool {
    matches!(word, "FAILED" | "WARNING")
}
