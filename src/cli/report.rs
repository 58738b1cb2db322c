//! Reports the end of a command that can change something, for people and for programs.

use super::arguments::Global;
use super::exit::Exit;
use super::output;
use crate::ops::{Ending, Run};
use crate::release::{Finished, Outcome};
use crate::report::{Report, print_stderr, print_stderr_in_time};
use crate::text::harmless;

/// Reports the result of a command that was not refused.
pub(super) fn end(ending: Ending, global: &Global) -> Exit {
    match ending {
        Ending::Nothing(why) => {
            if !global.quiet {
                print_stderr(&format!("Nothing to do: {}.\n", harmless(&why)));
            }
            let finished = Finished::unstarted(Outcome::Nothing, Exit::DONE.0, Some(why));
            output::end(finished, output::lines(), global)
        }
        Ending::Ran(run) => ran(*run, global),
    }
}

fn ran(run: Run, global: &Global) -> Exit {
    let Run { ended, spec, journal, fleet, status } = run;
    let Some(finished) = &ended.release.finished else {
        let why = ended.failed.map_or(String::new(), |error| format!(": {error:#}"));
        let reason = harmless(&format!("the release ended with an internal error{why}"));
        print_stderr(&format!("error: {reason}\nhint: `{status}` tells where each node stands\n"));
        let result = Outcome::Degraded;
        let finished = Finished::unstarted(result, result.exit_code(), Some(reason));
        let id = ended.release.started.map(|started| started.inputs.release().to_owned());
        let next = vec![("show every node".to_owned(), status)];
        let lines = output::lines().after(&id.unwrap_or_default(), ended.release.seq);
        return output::end(Finished { next, ..finished }, lines, global);
    };
    let exit = Exit(finished.exit_code);
    if finished.result != Outcome::Done || !global.quiet {
        let report = Report { release: &ended.release, spec: &spec, fleet: fleet.as_ref() };
        let mut text = report.render();
        if finished.result != Outcome::Done {
            let torn = if ended.unwritten.is_some() {
                " (incomplete: its last events are missing)"
            } else {
                ""
            };
            text += &format!("\njournal {}{torn}\nexit {}\n", journal.display(), exit.0);
        }
        print_stderr_in_time(text);
    }
    exit
}
