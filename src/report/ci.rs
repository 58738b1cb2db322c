//! The forms in which CI systems want their log: sections that can be closed, and errors that are shown beside the
//! log.
//!
//! GitHub: <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>. GitLab:
//! <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>.

use crate::text;

/// The CI system that shows the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ci {
    /// None, or one without such forms.
    #[default]
    Plain,
    /// GitHub Actions, and systems that run its workflows.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
    /// Jenkins. Its log has no sections.
    Jenkins,
}

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something that stops nothing.
    Warning,
}

/// A place in a file of the repository: its path, the line and the column, both from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path from the repository's folder.
    pub file: String,
    /// The line and the column, if they are known.
    pub position: Option<(usize, usize)>,
}

impl Ci {
    /// Recognises the system by the variables that it sets for every job.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            return Self::GitHub;
        }
        if is_set("GITLAB_CI") {
            return Self::GitLab;
        }
        if is_set("JENKINS_URL") { Self::Jenkins } else { Self::Plain }
    }

    /// The line that opens a section. `name` is unique in the log.
    #[must_use]
    pub fn open(self, name: &str, title: &str, at: jiff::Timestamp) -> Option<String> {
        let title = text::harmless(title);
        match self {
            Self::GitHub => Some(format!("::group::{}\n", data(&title))),
            // Without these control characters, GitLab does not recognise a section.
            Self::GitLab => Some(format!(
                "\x1b[0Ksection_start:{}:{name}[collapsed=true]\r\x1b[0K{title}\n",
                at.as_second()
            )),
            Self::Plain | Self::Jenkins => None,
        }
    }

    /// The line that ends a section.
    #[must_use]
    pub fn close(self, name: &str, at: jiff::Timestamp) -> Option<String> {
        match self {
            Self::GitHub => Some("::endgroup::\n".to_owned()),
            Self::GitLab => {
                Some(format!("\x1b[0Ksection_end:{}:{name}\r\x1b[0K\n", at.as_second()))
            }
            Self::Plain | Self::Jenkins => None,
        }
    }

    /// The line that shows a message beside the log.
    #[must_use]
    pub fn annotation(
        self,
        level: Level,
        title: &str,
        message: &str,
        place: Option<&Place>,
    ) -> Option<String> {
        if self != Self::GitHub {
            return None;
        }
        let level = match level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let mut properties = Vec::new();
        if let Some(place) = place {
            properties.push(format!("file={}", property(&place.file)));
            if let Some((line, column)) = place.position {
                properties.extend([format!("line={line}"), format!("col={column}")]);
            }
        }
        properties.push(format!("title={}", property(&text::harmless(title))));
        Some(format!("::{level} {}::{}\n", properties.join(","), data(&text::harmless(message))))
    }

    /// Text whose lines must not act as commands of the CI system, whatever a node or a gateway said.
    #[must_use]
    pub fn tame(self, text: &str) -> String {
        if self != Self::GitHub {
            return text.to_owned();
        }
        // GitHub obeys one form at the begin of a line, and an older one anywhere.
        let lines = text.split_inclusive('\n').map(|line| {
            if line.trim_start().starts_with("::") {
                line.replacen("::", ": :", 1)
            } else {
                line.to_owned()
            }
        });
        lines.collect::<String>().replace("##[", "## [")
    }
}

/// Escapes the message of a command of GitHub's.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command of GitHub's.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_system_is_recognised_by_its_variables() {
        let detect = |variables: &[(&str, &str)]| {
            Ci::detect(|name| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(detect(&[]), Ci::Plain);
        assert_eq!(detect(&[("CI", "true")]), Ci::Plain);
        assert_eq!(detect(&[("GITHUB_ACTIONS", "true"), ("CI", "true")]), Ci::GitHub);
        assert_eq!(detect(&[("GITHUB_ACTIONS", "false")]), Ci::Plain);
        assert_eq!(detect(&[("GITLAB_CI", "true")]), Ci::GitLab);
        assert_eq!(detect(&[("JENKINS_URL", "https://ci.example/")]), Ci::Jenkins);
    }

    #[test]
    fn annotation_keeps_its_text_in_its_line() {
        let place = Place { file: "a,b:c.yaml".into(), position: Some((3, 7)) };
        let line = Ci::GitHub.annotation(Level::Error, "a: b, c", "100 %\r\n::x::", Some(&place));
        assert_eq!(
            line.as_deref(),
            Some("::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=a%3A b%2C c::100 %25  ::x::\n")
        );
        assert_eq!(Ci::GitLab.annotation(Level::Error, "a", "b", None), None);
    }

    #[test]
    fn text_of_others_is_no_command() {
        let told = Ci::GitHub.tame("ok ::x\n  ::set-output name=x::y\na ##[error]x");
        assert_eq!(told, "ok ::x\n  : :set-output name=x::y\na ## [error]x");
        assert_eq!(Ci::Plain.tame("::x ##["), "::x ##[");
    }
}
