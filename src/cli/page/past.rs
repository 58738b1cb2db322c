//! Past releases as text for people.

use jiff::tz::TimeZone;

use crate::ops::Session;
use crate::ops::past::{Filter, Past};
use crate::report::PastReleases;
use crate::text::{self, count, harmless};

/// The past releases that were found.
#[must_use]
pub fn past(
    past: &Past,
    session: &Session,
    filter: &Filter,
    (zone, width): (TimeZone, Option<usize>),
) -> String {
    let (service, releases) = (session.service(), &past.releases);
    if releases.is_empty() {
        return format!("{}\n", harmless(&none_found(past, session, filter)));
    }
    PastReleases { service, releases, has_more: past.has_more, zone, width }.render()
}

/// Why no past release is shown.
fn none_found(past: &Past, session: &Session, filter: &Filter) -> String {
    let service = session.service();
    if past.known == 0 {
        let or_in_consul =
            if session.loaded.playbook.names_consul() { " or in Consul" } else { "" };
        return format!(
            "No release of {service} is known in {}{or_in_consul}.",
            session.state.display()
        );
    }
    if filter.limit == 0 {
        return "`--limit 0` shows no release.".to_owned();
    }
    let known = count(past.known, "release");
    let verb = if past.known == 1 { "is" } else { "are" };
    let nothing = format!("No release of {service} matches; {known} {verb} known");
    match filter.node.as_ref().filter(|node| !past.nodes.contains(*node)) {
        Some(node) => {
            let names = past.nodes.iter().map(String::as_str);
            let meant = text::did_you_mean(node, names);
            let meant = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
            let end = if meant.is_empty() { "." } else { "" };
            format!("{nothing}. No node is called `{node}`{meant}{end}")
        }
        None => format!("{nothing}."),
    }
}

/// What could not be read of past releases.
#[must_use]
pub fn unread(problems: &[String]) -> String {
    let lines = problems
        .iter()
        .map(|problem| format!("warning: past releases: {}\n", text::line(problem, 600)));
    lines.collect()
}
