//! Joins, splits and compares addresses of the form `host:port`. An IPv6 host is in brackets. Pure.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Joins a host and a port. The host of an IPv6 address may have brackets or not.
#[must_use]
pub fn join(host: &str, port: impl Display) -> String {
    let host = bare(host);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Splits an address into its host, without brackets, and its port.
#[must_use]
pub fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((bare(host), port))
}

/// Returns the host of an address without brackets, or the whole text if it has no port.
#[must_use]
pub fn host_of(address: &str) -> &str {
    split(address).map_or(address, |(host, _)| host)
}

/// Returns the port of an address.
#[must_use]
pub fn port_of(address: &str) -> Option<u16> {
    split(address).and_then(|(_, port)| port.parse().ok())
}

/// Returns whether a host, with or without brackets, is an IPv6 address.
#[must_use]
pub fn is_ipv6(host: &str) -> bool {
    ipv6(bare(host)).is_some()
}

/// Returns why a text is not an address; `None` if it is one.
#[must_use]
pub fn wrong(address: &str) -> Option<String> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("the port is missing".into());
    };
    let number: u16 = port.parse().unwrap_or(0);
    if number == 0 || number.to_string() != port {
        return Some("the port must be a number from 1 to 65535".into());
    }
    if host.starts_with('[') || host.ends_with(']') {
        let is_address = host != bare(host) && is_ipv6(host);
        return (!is_address).then(|| "only an IPv6 address may be in brackets".into());
    }
    if host.contains(':') {
        return Some(if is_ipv6(host) {
            format!("put an IPv6 address in brackets: write `{}`", join(host, port))
        } else {
            "write `host:port`, and an IPv6 address as `[::1]:8080`".into()
        });
    }
    let is_host = |character: char| !" /@".contains(character) && !character.is_control();
    (host.is_empty() || !host.chars().all(is_host))
        .then(|| "the host is missing or has characters that no host has".into())
}

/// Returns whether two addresses are the same: IPv6 has many spellings, and names ignore case.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    one == other || canonical(one) == canonical(other)
}

/// Returns whether two hosts are the same.
#[must_use]
pub fn same_host(one: &str, other: &str) -> bool {
    canonical_host(one) == canonical_host(other)
}

/// Returns the canonical spelling of an address. A text that is not an address stays unchanged.
#[must_use]
pub fn canonical(address: &str) -> String {
    match split(address) {
        Some((host, port)) => {
            let port = port.parse::<u16>().map_or(port.to_owned(), |port| port.to_string());
            join(&canonical_host(host), port)
        }
        None => address.to_owned(),
    }
}

fn canonical_host(host: &str) -> String {
    let host = bare(host);
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return ip.to_string();
    }
    match ipv6(host) {
        // An IPv4 client at an IPv6 listener has such an address.
        Some(ip) => ip.to_ipv4_mapped().map_or(ip.to_string(), |ip| ip.to_string()),
        None => host.to_ascii_lowercase(),
    }
}

/// An IPv6 address. A link-local one has the link's name after a `%`.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.split('%').next().and_then(|host| host.parse().ok())
}

fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Returns an address with port 80 if it has no port, as nginx does.
pub(crate) fn with_port(address: &str) -> String {
    let (_, end) = address.rsplit_once(']').unwrap_or(("", address));
    if end.contains(':') { address.to_owned() } else { format!("{address}:80") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_hosts_get_brackets_once() {
        for (host, joined) in [
            ("10.0.0.1", "10.0.0.1:80"),
            ("app-1.internal", "app-1.internal:80"),
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
            ("fe80::1%eth0", "[fe80::1%eth0]:80"),
        ] {
            assert_eq!(join(host, 80), joined);
            assert_eq!(port_of(joined), Some(80), "{joined}");
            assert_eq!(host_of(joined), host.trim_matches(['[', ']']), "{joined}");
        }
        assert_eq!(split("app"), None);
        assert_eq!((host_of("app"), port_of("app:http")), ("app", None));
    }

    #[test]
    fn spellings_of_one_address_are_the_same() {
        for other in ["[::1]:9041", "[0:0:0:0:0:0:0:1]:9041", "[0::0001]:09041", "::1:9041"] {
            assert!(same("[::1]:9041", other), "{other}");
        }
        assert!(same("[FD00::A]:80", "[fd00::a]:80"));
        assert!(same("[::ffff:10.0.0.1]:80", "10.0.0.1:80"));
        assert!(same("App-1.internal:80", "app-1.INTERNAL:80"));
        for other in ["[::1]:9042", "[::2]:9041", "127.0.0.1:9041", "[::1]", "unix:/run/app", ""] {
            assert!(!same("[::1]:9041", other), "{other}");
        }
        assert!(!same("10.0.0.1:80", "10.0.0.10:80"));
        assert!(is_ipv6("::1") && is_ipv6("[fe80::1%eth0]"));
        assert!(!is_ipv6("10.0.0.1") && !is_ipv6("app") && !is_ipv6("unix:/run/app"));
    }
}
