//! Addresses: where Tidegate listens, and where servers are.
//!
//! Owns: `host:port` with its defaults and its mends. Does not know: DNS; a name is resolved when it is used.
//! Invariant: a host that is accepted is an IP address or could be a DNS name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::defaults;
use super::error::quoted;
use super::model::Server;

/// MySQL's port.
const SERVER_PORT: u16 = 3306;
/// Bytes of a DNS name (RFC 1035).
const HOST_MAX: usize = 253;

/// A message and its mend.
pub(super) type Refusal = (String, String);

/// An address to listen on: an IP address and a port, such as `127.0.0.1:4406` or `[::1]:4406`.
pub(super) fn listen(text: &str, port_usual: u16) -> Result<SocketAddr, Refusal> {
    let refuse = |help: String| Err((format!("{} is not an address to listen on", quoted(text)), help));
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return refuse(format!("give the port: `{}`", SocketAddr::new(ip, port_usual)));
    }
    if let Ok(port) = text.trim_start_matches([':', '*']).parse::<u16>() {
        return refuse(format!(
            "write `0.0.0.0:{port}` for all interfaces, `127.0.0.1:{port}` for this machine"
        ));
    }
    match text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => refuse(format!("write `127.0.0.1:{port}`")),
        None => refuse(format!("write an IP address and a port, such as `127.0.0.1:{port_usual}`")),
    }
}

/// Whether two sockets cannot be bound together. IPv6 ones take no IPv4 clients, so the families do not meet.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && overlap && a.is_ipv4() == b.is_ipv4()
}

/// Host and port of a server: `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
pub(super) fn server(text: &str) -> Result<(String, u16), Refusal> {
    let refuse = |help: String| Err((format!("{} is not a server's address", quoted(text)), help));
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return refuse("close the bracket: `[::1]:3306`".to_owned());
        };
        let Ok(ip) = host.parse::<Ipv6Addr>() else {
            return refuse("write an IPv6 address between the brackets".to_owned());
        };
        return match after.strip_prefix(':').map(port) {
            None if after.is_empty() => Ok((ip.to_string(), SERVER_PORT)),
            Some(Some(port)) => Ok((ip.to_string(), port)),
            _ => refuse(format!("write `[{ip}]:{SERVER_PORT}`; a port is 1 to 65535")),
        };
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return refuse(format!("write IPv6 in brackets and quotes: `\"[{ip}]:{SERVER_PORT}\"`"));
    }
    let (host, port) = match text.split_once(':') {
        None => (text, SERVER_PORT),
        Some((host, digits)) => match port(digits) {
            Some(port) => (host, port),
            None => return refuse(format!("write `host:{SERVER_PORT}`; a port is 1 to 65535")),
        },
    };
    match host_name(host) {
        true => Ok((host.to_ascii_lowercase(), port)),
        false => refuse(format!("write a host name or an IP address, such as `10.0.0.1:{SERVER_PORT}`")),
    }
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u16>().ok().filter(|port| plain && *port > 0)
}

/// Letters, digits, `-`, `_` and dots; all digits and dots must be an IPv4 address.
fn host_name(host: &str) -> bool {
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed);
    host.len() <= HOST_MAX && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

impl FromStr for Server {
    type Err = String;

    /// `host` or `host:port`, with a server's defaults.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = server(text).map_err(|(message, help)| format!("{message}: {help}"))?;
        Ok(Self { host, port, weight: defaults::WEIGHT, draining: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", 3306),
            ("10.0.0.2:3307", "10.0.0.2", 3307),
            ("DB-1.example.com", "db-1.example.com", 3306),
            ("primary", "primary", 3306),
            ("[::1]:3308", "::1", 3308),
            ("[2001:db8::1]", "2001:db8::1", 3306),
        ] {
            assert_eq!(server(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_server() {
        for text in [
            "",
            ":3306",
            "::1",
            "[::1",
            "[::1]3306",
            "[x]:1",
            "10.0.0.300",
            "10.0.0",
            "host:",
            "host:0",
            "host:+1",
            "host:65536",
            "a b",
            "a..b",
            "mysql://host",
            "host:1:2",
            "größe",
        ] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listening_needs_an_ip_address_and_a_port() {
        assert_eq!(listen("[::1]:4406", 4406).unwrap().to_string(), "[::1]:4406");
        for (text, mend) in [
            ("127.0.0.1", "`127.0.0.1:4406`"),
            (":4000", "`0.0.0.0:4000`"),
            ("4000", "`127.0.0.1:4000`"),
            ("localhost:4000", "`127.0.0.1:4000`"),
            ("::1", "`[::1]:4406`"),
            ("db:99999", "IP address and a port"),
        ] {
            let (_, help) = listen(text, 4406).expect_err(text);
            assert!(help.contains(mend), "{text}: {help}");
        }
    }

    #[test]
    fn a_wildcard_collides_with_every_address_of_its_port() {
        let address = |text: &str| text.parse().unwrap();
        assert!(collide(address("0.0.0.0:1"), address("127.0.0.1:1")));
        assert!(!collide(address("127.0.0.2:1"), address("127.0.0.1:1")));
        assert!(!collide(address("0.0.0.0:0"), address("127.0.0.1:0")));
        assert!(!collide(address("0.0.0.0:1"), address("[::]:1")));
    }
}
