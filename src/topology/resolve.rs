//! Where the servers are: names become addresses, again and again.
//!
//! Owns: looking up, and which of several addresses is used. Does not know: what a server says. Invariant: all connections of one
//! `ServerId`, the probes' and the sessions', lead to one address; a name that moves to another one makes another server.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config;

/// An answer to come.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Who knows the addresses of names.
pub trait Resolve: Send + Sync {
    /// All addresses of a name, best first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The address that a server is configured with, where that is no name.
pub(super) fn literal(server: &config::Server) -> Option<SocketAddr> {
    let address: IpAddr = server.host.parse().ok()?;
    Some(SocketAddr::new(address, server.port))
}

/// The address to use: the one in use, as long as the records have it and it is not down while there are others; else the first
/// of the records that accepts a connection within `limit`, else the first.
pub(super) async fn choose(
    current: Option<SocketAddr>,
    is_down: bool,
    records: &[SocketAddr],
    limit: Duration,
) -> Option<SocketAddr> {
    let in_use = current.filter(|current| records.is_empty() || records.contains(current));
    if in_use.is_some() && !(is_down && records.len() > 1) {
        return in_use;
    }
    if records.len() > 1 {
        for record in records {
            // A server counts what comes without a login; the next good one of this host takes that back.
            if matches!(timeout(limit, TcpStream::connect(record)).await, Ok(Ok(_))) {
                return Some(*record);
            }
        }
    }
    in_use.or_else(|| records.first().copied())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn the_address_in_use_stays_while_the_records_have_it() {
        assert_eq!(choose(Some(at(1)), false, &[at(2), at(1)], LIMIT).await, Some(at(1)));
        assert_eq!(choose(Some(at(1)), true, &[at(1)], LIMIT).await, Some(at(1)), "there is no other");
        assert_eq!(choose(Some(at(1)), false, &[], LIMIT).await, Some(at(1)), "no answer changes nothing");
        assert_eq!(choose(Some(at(1)), false, &[at(2)], LIMIT).await, Some(at(2)));
        assert_eq!(choose(None, false, &[], LIMIT).await, None);
    }

    #[tokio::test]
    async fn of_several_the_first_that_accepts_is_taken() {
        let (dead, alive) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let (nobody, somebody) = (dead.local_addr().unwrap(), alive.local_addr().unwrap());
        drop(dead);
        let records = [nobody, somebody];
        assert_eq!(choose(None, false, &records, LIMIT).await, Some(somebody));
        assert_eq!(
            choose(Some(nobody), true, &records, LIMIT).await,
            Some(somebody),
            "the one in use is down"
        );
        assert_eq!(choose(None, false, &[nobody, nobody], LIMIT).await, Some(nobody));
    }

    #[test]
    fn an_address_is_no_name() {
        let server = |host: &str| config::Server { host: host.into(), port: 1, weight: 1, draining: false };
        assert_eq!(literal(&server("127.0.0.1")), Some(at(1)));
        assert_eq!(literal(&server("::1")), Some("[::1]:1".parse().unwrap()));
        assert_eq!(literal(&server("db-1.internal")), None);
    }
}
