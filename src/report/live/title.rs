//! The first redrawn line: what runs, how far it has come, and how long it still takes.

use jiff::Timestamp;

use crate::release::{CommandKind, Release};
use crate::text;

/// The parts of the title.
#[derive(Debug, Default)]
pub(super) struct Title {
    /// `deploy app`.
    what: String,
    /// ` 1 -> 2`.
    versions: String,
    /// `2 of 4 done · 2m28s · about 3m left`.
    progress: String,
    /// ` · release 7f3a19c2`.
    id: String,
}

/// The title of a release that has begun. `(done, failed)`: how many nodes are done, and how many have failed.
pub(super) fn of(
    release: &Release,
    begun: Option<Timestamp>,
    (done, failed): (usize, usize),
    now: Timestamp,
) -> Title {
    let Some(started) = &release.started else { return Title::default() };
    let versions = match started.command {
        CommandKind::Deploy | CommandKind::Restart => started.versions(),
        _ => String::new(),
    };
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    let mut progress = format!("{done} of {} done{failed}", started.nodes.updates());
    if let Some(begun) = begun {
        progress += &format!(" · {}", text::elapsed(begun, now));
    }
    if let Some(left) = release.time_left(now) {
        progress += &format!(" · about {} left", text::duration(left));
    }
    Title {
        what: format!("{} {}", started.command, started.service),
        versions,
        progress,
        id: format!(" · release {}", started.inputs.release()),
    }
}

impl Title {
    /// As many parts as fit. The progress is the last one to go.
    pub(super) fn fit(&self, columns: Option<usize>) -> String {
        let Self { what, versions, progress, id } = self;
        let forms = [
            format!("{what}{versions} · {progress}{id}"),
            format!("{what}{versions} · {progress}"),
            format!("{what} · {progress}"),
        ];
        let fits = |form: &String| columns.is_none_or(|columns| form.chars().count() <= columns);
        forms.into_iter().find(fits).unwrap_or_else(|| progress.clone())
    }
}
