//! The address of an ssh host as a playbook writes it: `[user@]host-or-alias[:port]`.
//!
//! The check is strict because the text becomes arguments and configuration of `ssh`.

/// A checked ssh destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Destination {
    /// Reads `text`, with or without `ssh://`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (host, port) = split_port(rest);
        let port = port.map(str::parse).transpose().map_err(|error| {
            format!(
                "`{}` is not an ssh destination: bad port: {error}",
                crate::text::line(text, 80)
            )
        })?;
        for word in [Some(host), user].into_iter().flatten() {
            if let Some(problem) = problem(word) {
                let text = crate::text::line(text, 80);
                return Err(format!("`{text}` is not an ssh destination: {problem}"));
            }
        }
        Ok(Self { user: user.map(Into::into), host: host.into(), port })
    }

    /// The `ssh` arguments for this destination.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(user) = &self.user {
            arguments.extend(["-l".into(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".into(), port.to_string()]);
        }
        arguments.extend(["--".into(), self.host.clone()]);
        arguments
    }
}

/// `[::1]:22` and `host:22` have a port, `::1` has none.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Returns why `ssh`'s arguments and configuration cannot contain the word.
pub(super) fn problem(word: &str) -> Option<&'static str> {
    let bad = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || "\"'`$;|&<>(){}!*?\\#,=".contains(character)
    };
    if word.is_empty() {
        Some("a part of it is empty")
    } else if word.starts_with('-') {
        Some("it starts with `-` and would be an option")
    } else if word.contains(bad) {
        Some("it contains a character that no host or user name has")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_ssh_reads_them() {
        let parse = |text| Destination::parse(text).map(|it| it.arguments().join(" "));
        assert_eq!(parse("web-1"), Ok("-- web-1".into()));
        assert_eq!(parse("me@web-1:2222"), Ok("-l me -p 2222 -- web-1".into()));
        assert_eq!(parse("ssh://me@[::1]:22"), Ok("-l me -p 22 -- ::1".into()));
        assert_eq!(parse("fe80::1"), Ok("-- fe80::1".into()));
        assert_eq!(parse("a@corp@web"), Ok("-l a@corp -- web".into()));
    }

    #[test]
    fn option_or_setting_as_destination_is_refused() {
        for text in
            ["-oProxyCommand=x", "me@-x", "", "a b", "a\nb", "a:99999", "a:b", "@a", "$(x)", "-l@a"]
        {
            assert!(Destination::parse(text).is_err(), "{text:?}");
        }
    }
}
