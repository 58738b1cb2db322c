//! Arguments and environment variables as they must be: text that can be shown, journalled and repeated.

use std::env;
use std::ffi::OsString;

use crate::secret;
use crate::text;

/// Consul's own variables, and that of the state folder; variables of the playbook are judged when they are read.
const READ: [&str; 2] = ["CONSUL_", "ROLLGATE_STATE_DIR"];

/// Variables of Consul that hold a secret, or where one is. No child process gets them.
const SECRET: [&str; 3] = ["CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH"];

/// Keeps Consul's secrets out of every text and every child process from now on.
pub(super) fn keep_secrets() {
    let values = [SECRET[0], SECRET[2]].into_iter().filter_map(|name| env::var(name).ok());
    secret::remember(values.map(secret::Secret::new), SECRET.map(str::to_owned));
}

/// Reads a variable of the environment, where there is one.
///
/// # Errors
///
/// When it is not UTF-8.
pub(super) fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not UTF-8"))
        }
    }
}

/// Returns the arguments as text.
///
/// # Errors
///
/// Names the argument or the variable that is not UTF-8.
pub(super) fn arguments() -> Result<Vec<String>, String> {
    let is_read = |name: &str| READ.iter().any(|start| name.starts_with(start));
    for (name, value) in env::vars_os() {
        if let Some(name) = name.to_str().filter(|name| is_read(name))
            && value.to_str().is_none()
        {
            variable(name)?;
        }
    }
    let as_text = |(number, argument): (usize, OsString)| {
        argument.into_string().map_err(|argument| {
            let shown = text::line(&argument.to_string_lossy(), 80);
            format!("argument {number} is not UTF-8: {shown}")
        })
    };
    env::args_os().enumerate().map(as_text).collect()
}
