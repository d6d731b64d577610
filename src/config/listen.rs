//! `listen`, `proxy_protocol`, `keepalive`: where and how clients connect.
//!
//! Owns: these options and their types. Does not know: sockets; whether an address can be bound shows at start.
//! Invariant: no two addresses of one configuration collide.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::resolve::HOUR;
use super::{address, defaults};

/// Addresses that one process listens on.
const LISTEN_MAX: usize = 64;
/// Networks that may send a PROXY header.
const NETWORKS_MAX: usize = 1024;
/// Bytes of a Unix socket's path: `sun_path` less its NUL (unix(7)).
const PATH_MAX: usize = 107;
/// What Unix sockets are called beside networks, as MariaDB's `proxy_protocol_networks` has it.
const LOCALHOST: &str = "localhost";

/// Where MySQL clients are accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The IP address and port of a TCP one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    /// As in the file; the error is a message with its mend.
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, None).map_err(|(message, help)| format!("{message}: {help}"))
    }
}

/// Who may say on behalf of whom a client connects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxyProtocol {
    /// Networks from which a PROXY header is taken.
    pub networks: Vec<Network>,
    /// Whether it is taken over Unix sockets (`localhost` among the networks).
    pub unix: bool,
}

impl ProxyProtocol {
    /// Whether a header from this address is to be believed; `None` is a Unix socket.
    pub fn trusts(&self, ip: Option<IpAddr>) -> bool {
        match ip {
            Some(ip) => self.networks.iter().any(|network| network.contains(ip)),
            None => self.unix,
        }
    }
}

/// An address with the number of its leading bits that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `ip` is in it. An IPv4 address counts as such also in its IPv6 form (`::ffff:10.0.0.1`).
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }

    /// `10.0.0.0/8`, or one address; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            Some(bits) => Some(bits).filter(plain)?.parse().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        Some(Self { address, bits })
    }
}

/// When a silent TCP peer is probed, and given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub time: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// Probes without an answer after which the connection is dead.
    pub probes: u32,
}

impl Keepalive {
    /// The options `time`, `interval` and `probes` of a section.
    pub(super) fn resolve(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Self {
        let default = Self::default();
        let keepalive = Self {
            time: seconds(&mut fields, cx, "time", default.time),
            interval: seconds(&mut fields, cx, "interval", default.interval),
            probes: fields.count(cx, "probes", default.probes, 1..=127),
        };
        fields.finish(cx);
        keepalive
    }
}

/// The kernel counts whole seconds, up to 32767.
fn seconds(
    fields: &mut Fields<'_>,
    cx: &mut Context<'_, '_>,
    name: &'static str,
    default: Duration,
) -> Duration {
    let before = cx.errors.count();
    let value = fields.duration(cx, name, default, 1000..=9 * HOUR);
    if value.subsec_millis() != 0 && cx.errors.count() == before {
        fields.conflict(cx, &[name], "is counted in whole seconds", "write a multiple of `1s`");
    }
    value
}

/// The addresses with the items that gave them.
pub(super) fn addresses<'n>(
    fields: &mut Fields<'n>,
    cx: &mut Context<'_, '_>,
) -> Vec<(ListenAddress, Option<Item<'n>>)> {
    let Some(item) = fields.take("listen") else {
        return defaults::LISTEN.parse().map(|address| vec![(address, None)]).unwrap_or_default();
    };
    let elements = item.elements();
    if elements.is_empty() || elements.len() > LISTEN_MAX {
        item.error(
            cx,
            format!("expected 1 to {LISTEN_MAX} addresses"),
            Some(format!("write `{}`", defaults::LISTEN)),
        );
        return Vec::new();
    }
    let mut addresses: Vec<(ListenAddress, Option<Item<'n>>)> = Vec::new();
    for element in elements {
        let Some(text) = element.text(cx) else { continue };
        let address = match parse(text, Some(cx)) {
            Ok(address) => address,
            Err((message, help)) => {
                element.error(cx, message, Some(help));
                continue;
            }
        };
        if let Some((other, _)) = addresses.iter().find(|(other, _)| collide(other, &address)) {
            let help = Some("listen on each port and each path once".to_owned());
            element.error(cx, format!("{address} cannot be bound beside {other}"), help);
        }
        addresses.push((address, Some(element)));
    }
    addresses
}

/// An address of `listen`; a relative path starts at the file's folder.
fn parse(text: &str, cx: Option<&Context<'_, '_>>) -> Result<ListenAddress, address::Refusal> {
    let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
    let Some(path) = path else { return address::listen(text, 4406).map(ListenAddress::Tcp) };
    let whole = cx.map_or_else(|| PathBuf::from(path), |cx| cx.folder.join(path));
    let refuse = |message: &str, help: &str| Err((format!("{} {message}", quoted(text)), help.to_owned()));
    if !text.starts_with("unix:") {
        return refuse("is not an address to listen on", &format!("write `unix:{path}` for a Unix socket"));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return refuse("is not the path of a socket", "write `unix:/run/tidegate/tidegate.sock`");
    }
    if whole.as_os_str().len() > PATH_MAX {
        return refuse("is too long for a socket", &format!("use a path of at most {PATH_MAX} bytes"));
    }
    Ok(ListenAddress::Unix(whole))
}

/// Whether two listeners cannot be there together.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => address::collide(*one, *other),
        (one, other) => one == other,
    }
}

/// Who may send a PROXY header.
pub(super) fn proxy_protocol(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> ProxyProtocol {
    let mut trusted = ProxyProtocol::default();
    if let Some(item) = fields.take("networks") {
        let elements = item.elements();
        if elements.len() > NETWORKS_MAX {
            item.error(cx, format!("expected at most {NETWORKS_MAX} networks"), None);
        }
        for element in elements {
            let Some(text) = element.text(cx) else { continue };
            match Network::parse(text) {
                Some(network) => trusted.networks.push(network),
                None if text == LOCALHOST => trusted.unix = true,
                None => {
                    let help = "write `10.0.0.0/8`, `\"2001:db8::/32\"`, one address, or `localhost` for Unix sockets";
                    element.error(cx, format!("{} is not a network", quoted(text)), Some(help.to_owned()));
                }
            }
        }
    }
    fields.finish(cx);
    trusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let within = |network: &str, ip: &str| Network::parse(network).unwrap().contains(ip.parse().unwrap());
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.0.0.1"), "IPv4 on an IPv6 socket");
        assert!(within("0.0.0.0/0", "192.0.2.1") && !within("0.0.0.0/0", "2001:db8::1"));
        assert!(within("192.0.2.7", "192.0.2.7") && !within("192.0.2.7", "192.0.2.6"));
        assert!(within("2001:db8::/32", "2001:db8:1::1") && !within("2001:db8::/32", "2001:db9::1"));
        assert!(within("::/0", "::1") && within("::1/128", "::1") && !within("::1/128", "::2"));
        for text in ["", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "::/129", "host/8", "10.0.0/8", "/8"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn unix_sockets_are_paths_behind_a_prefix() {
        assert_eq!("unix:/run/t.sock".parse(), Ok(ListenAddress::Unix("/run/t.sock".into())));
        assert_eq!("unix:/run/t.sock".parse::<ListenAddress>().unwrap().to_string(), "unix:/run/t.sock");
        assert_eq!("[::1]:1".parse::<ListenAddress>().unwrap().tcp(), Some("[::1]:1".parse().unwrap()));
        let long = format!("unix:/{}", "x".repeat(PATH_MAX));
        for text in ["unix:", "unix:/run/", "/run/t.sock", &long, "host:1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
