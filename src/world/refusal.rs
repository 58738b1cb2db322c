//! Explains in one line why ssh could not connect and what to do about it.
//!
//! Reads OpenSSH's log; an unknown message is passed on in shortened form. Pure.

use std::time::Duration;

use crate::shell::quote;
use crate::text::{duration, line};

/// Explains from the log of `ssh` why the connection to `place` failed.
pub(super) fn explain(place: &str, log: &str, time: Duration) -> String {
    let quoted = |what: &str| {
        let found = log.lines().find(|line| line.contains(what)).unwrap_or(log);
        line(found.trim_start_matches("ssh: "), 200)
    };
    if log.contains("HOST IDENTIFICATION HAS CHANGED") {
        let name = between(log, "Host key for ", " has changed").unwrap_or(place);
        let known = between(log, "key in ", "\n").map(|at| format!(" ({})", line(at, 120)));
        return format!(
            "the host key of {} is not the known one{}: another machine may be answering; if the \
             change is wanted, remove the old key with `ssh-keygen -R {}` and add the new one",
            line(name, 80),
            known.unwrap_or_default(),
            quote(&line(name, 80)),
        );
    }
    if log.contains("REVOKED HOST KEY") {
        return format!("the host key of {place} is revoked in known_hosts: do not connect");
    }
    if log.contains("Host key verification failed") || log.contains("host key is known for") {
        let name = line(between(log, "host key is known for ", " and you").unwrap_or(place), 80);
        return format!(
            "the host key of {name} is not known; check it and add it to known_hosts \
             (`{}`), or set `host_keys: accept-new`",
            keyscan(&name)
        );
    }
    if log.contains("Could not resolve hostname") {
        return format!(
            "{place}: {}; check the name, or its HostName in ssh_config",
            quoted("Could not resolve hostname")
        );
    }
    if log.contains("Permission denied (") {
        return format!(
            "{place} refused the SSH login: {}; load the key into ssh-agent or name it by \
             IdentityFile in ssh_config, and check the user",
            quoted("Permission denied (")
        );
    }
    if log.contains("Connection refused") {
        return format!(
            "{place}: {}; check that sshd runs there and that the port is right",
            quoted("Connection refused")
        );
    }
    if log.contains("timed out") {
        return format!(
            "{place}: {}; check that it is up and reachable from this machine",
            quoted("timed out")
        );
    }
    if log.contains("Bad owner or permissions") || log.contains("Bad configuration option") {
        return format!("ssh cannot use its configuration: {}", quoted("Bad "));
    }
    let log = line(log, 300);
    if log.is_empty() {
        return format!("{place} gave no ssh connection within {}", duration(time));
    }
    format!("cannot connect to {place}: {log}")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = text.split_once(before)?.1;
    Some(rest.split_once(after)?.0.trim())
}

/// The command that fetches the key of `name`, which may be `[host]:port`.
fn keyscan(name: &str) -> String {
    match name.strip_prefix('[').and_then(|name| name.split_once("]:")) {
        Some((host, port)) => format!("ssh-keyscan -p {} {}", quote(port), quote(host)),
        None => format!("ssh-keyscan {}", quote(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn explained(log: &str) -> String {
        explain("web-1", log, Duration::from_secs(10))
    }

    #[test]
    fn each_refusal_is_one_line_that_says_what_to_do() {
        let unknown = explained(
            "No ED25519 host key is known for [10.0.0.1]:2222 and you have requested strict \
             checking.\r\nHost key verification failed.\r\n",
        );
        assert!(unknown.contains("`ssh-keyscan -p 2222 10.0.0.1`"), "{unknown}");
        let evil = explained("host key is known for a;reboot and you have requested strict");
        assert!(evil.contains("`ssh-keyscan 'a;reboot'`"), "{evil}");
        let banner = "@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
             @@@@@@@\r\nOffending ED25519 key in /home/me/known_hosts:3\r\n\
             Host key for [10.0.0.1]:2222 has changed and you have requested strict checking.\r\n\
             Host key verification failed.\r\n";
        let changed = explained(banner);
        assert!(changed.contains("`ssh-keygen -R '[10.0.0.1]:2222'`"), "{changed}");
        assert!(
            changed.contains("(/home/me/known_hosts:3)") && !changed.contains('@'),
            "{changed}"
        );
        let odd = explained("one\r\n\x1b[2Jtwo\r\n");
        assert_eq!(odd, "cannot connect to web-1: one [2Jtwo");
        for text in [
            unknown,
            changed,
            explained(""),
            explained("ssh: connect to host a port 1: x timed out"),
        ] {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_host_output_is_explained_in_one_harmless_line(
            known in prop::sample::select(vec![
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending key in <>\nHost key for <> has changed\n",
                "No <> host key is known for <> and you have requested\nHost key verification failed.\n",
                "ssh: Could not resolve hostname <>: <>\n",
                "<>: Permission denied (<>).\n",
                "ssh: connect to host <> port <>: Connection refused\n",
                "connect <> timed out <>",
                "Bad owner or permissions on <>",
                "<>",
            ]),
            foreign in prop::collection::vec(r"(?s).{0,20}|[\x00-\x1f]{1,3}", 2),
        ) {
            let log = foreign.iter().fold(known.to_owned(), |log, text| log.replacen("<>", text, 1));
            let said = explained(&log);
            prop_assert_eq!(&said, &crate::text::harmless(&said));
            prop_assert!(said.len() < 3000);
        }
    }
}
