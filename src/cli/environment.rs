//! Validates arguments and environment variables. They must be text that can be shown, journalled and repeated.

use std::env;
use std::ffi::OsString;

use crate::secret;
use crate::text;

/// The variables of Consul and of the state folder. Variables of the playbook are validated when they are read.
const READ: [&str; 2] = ["CONSUL_", "ROLLGATE_STATE_DIR"];

/// Consul's variables that contain a secret or the path of one. Child processes do not get them.
const SECRET: [&str; 3] = ["CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH"];

/// From now on, removes Consul's secrets from every text and from every child process.
pub(super) fn keep_secrets() {
    let values = [SECRET[0], SECRET[2]].into_iter().filter_map(|name| env::var(name).ok());
    secret::remember(values.map(secret::Secret::new), SECRET.map(str::to_owned));
}

/// Reads an environment variable, if it exists.
///
/// # Errors
///
/// If it is not UTF-8.
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
/// If an argument or a variable is not UTF-8. The error names it.
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
