//! Reports the end of a command that can change something, for people and for programs.

use super::arguments::Global;
use super::exit::Exit;
use super::{ci, output, page};
use crate::ops::{Ending, Run};
use crate::release::{Finished, Outcome};
use crate::report::{print_page, print_stderr_in_time};

/// Reports the result of a command that was not refused.
pub(super) fn end(ending: Ending, global: &Global) -> Exit {
    let text = ci::chosen(global).tame(&page::ending(&ending));
    ci::summarise(global, || page::summary(&ending));
    match ending {
        Ending::Nothing(why) => {
            if !global.quiet {
                print_page(&text);
            }
            let finished = Finished::unstarted(Outcome::Nothing, Exit::DONE.0, Some(why));
            output::end(finished, output::lines(), global)
        }
        Ending::Ran(run) => ran(*run, text, global),
    }
}

fn ran(run: Run, text: String, global: &Global) -> Exit {
    let Some(finished) = &run.ended.release.finished else {
        print_page(&text);
        let reason = page::internal_error(&run);
        let next = run.next();
        let ended = run.ended;
        let result = Outcome::Degraded;
        let finished = Finished::unstarted(result, result.exit_code(), Some(reason));
        let id = ended.release.started.map(|started| started.inputs.release().to_owned());
        let lines = output::lines().after(&id.unwrap_or_default(), ended.release.seq);
        return output::end(Finished { next, ..finished }, lines, global);
    };
    if finished.result != Outcome::Done || !global.quiet {
        print_stderr_in_time(text);
    }
    Exit(finished.exit_code)
}
