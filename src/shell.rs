//! Shell quoting: the only place where a value becomes part of a command line.

/// Quotes a value as one word of a POSIX shell.
#[must_use]
pub fn quote(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    if !value.is_empty() && !value.starts_with('-') && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Assigns values to variables of a script that follows.
#[must_use]
pub fn assign(variables: &[(&str, &str)]) -> String {
    let lines = variables.iter().map(|(name, value)| format!("{name}={}\n", quote(value)));
    lines.collect()
}

/// A command of the user with arguments, which are its `$1`, `$2` and so on.
#[must_use]
pub fn with_arguments(command: &str, arguments: &[&str]) -> String {
    if arguments.is_empty() {
        return command.to_owned();
    }
    let words: Vec<_> = arguments.iter().map(|argument| quote(argument)).collect();
    format!("set -- {}; {command}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_real_shell_reads_back_exactly_what_was_quoted(value in "[^\0]{0,40}") {
            let script = format!("printf %s {}", quote(&value));
            let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
            prop_assert_eq!(output.stdout, value.into_bytes());
        }
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(quote("/srv/app-1.2/current"), "/srv/app-1.2/current");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("-rf"), "'-rf'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
