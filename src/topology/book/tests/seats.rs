//! Servers come, go, drain and move.

use super::*;

/// What the snapshot has: port, id, standing.
fn standing(book: &mut Book) -> Vec<(u16, u16, Standing)> {
    let snapshot = book.snapshot(0, Instant::now());
    snapshot.servers.iter().map(|server| (server.config.port, server.id.0, server.standing)).collect()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// The book of two servers whose names are found, probed.
fn found() -> Book {
    let mut book = book();
    for port in [1, 2] {
        book.moved("h", port, at(port));
    }
    book.probed(A, primary(), Instant::now());
    book.probed(B, replica(Some(0)), Instant::now());
    assert_eq!(readers(&mut book, Instant::now()), [B]);
    book
}

use Standing::{Draining, Leaving, Member};

#[test]
fn who_comes_is_not_known_and_who_stays_is() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(3), server(2), server(1)]);
    assert_eq!(standing(&mut book), [(3, 2, Member), (2, 1, Member), (1, 0, Member)]);
    assert_eq!(readers(&mut book, now), [B]);
    assert_eq!(book.snapshot(0, now).primary, Some(A), "a new server takes nothing from the others");
    assert!(!book.all_probed());
    book.moved("h", 3, at(3));
    book.probed(ServerId(2), replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), [ServerId(2), B]);
}

#[test]
fn t30_who_goes_takes_nothing_and_is_there_until_it_is_forgotten() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(1)]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Leaving)]);
    assert_eq!(readers(&mut book, now), []);
    assert_eq!(left_out(&mut book, B, now), Some(LeftOut::Leaving));
    book.probed(B, replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), []);
    book.gone(A);
    assert_eq!(standing(&mut book).len(), 2, "a member is not forgotten");
    book.gone(B);
    assert_eq!(standing(&mut book), [(1, 0, Member)]);
    configure(&mut book, vec![server(1), server(2)]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 2, Member)], "nothing is taken for what it was");
}

#[test]
fn who_drains_takes_no_reads_and_comes_back_as_it_was() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(1), config::Server { draining: true, ..server(2) }]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Draining)]);
    assert_eq!((readers(&mut book, now), left_out(&mut book, B, now)), (vec![], Some(LeftOut::Draining)));
    configure(&mut book, vec![server(1), server(2)]);
    assert_eq!(readers(&mut book, now), [B]);
}

#[test]
fn a_primary_is_not_removed_and_drains_when_another_is() {
    let (mut book, now) = (found(), Instant::now());
    let without = Cluster { servers: vec![server(2)], ..(*book.settings).clone() };
    assert_eq!(book.check(&without), Err(Refused::RemovesPrimary("h:1".into())));
    configure(&mut book, vec![config::Server { draining: true, ..server(1) }, server(2)]);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, Some(A));
    assert!(!snapshot.server(A).unwrap().is_closing());
    book.probed(A, said(1, true, vec![]), now);
    book.probed(B, said(2, false, vec![]), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, Some(B));
    assert!(snapshot.server(A).unwrap().is_closing());
    assert_eq!(book.check(&without), Ok(()));
}

#[test]
fn t30_a_name_that_leads_elsewhere_is_another_server() {
    let (mut book, now) = (found(), Instant::now());
    book.moved("h", 2, at(7));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 2, Member), (2, 1, Leaving)]);
    assert_eq!(readers(&mut book, now), []);
    book.probed(B, replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), []);
    book.probed(ServerId(2), replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), [ServerId(2)]);
    // Back before the old one was forgotten: it is the old one again.
    book.moved("h", 2, at(2));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Member), (2, 2, Leaving)]);
    assert_eq!(readers(&mut book, now), [B]);
    // Also where it is listed again, with another weight by now.
    configure(&mut book, vec![server(1)]);
    configure(&mut book, vec![server(1), config::Server { weight: 7, ..server(2) }]);
    assert_eq!(standing(&mut book)[1], (2, 3, Member));
    book.moved("h", 2, at(2));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Member), (2, 2, Leaving)]);
    assert_eq!(book.snapshot(0, now).server(B).unwrap().config.weight, 7);
    // The primary's name: no write goes to the old address from now on.
    book.moved("h", 1, at(8));
    assert_eq!(book.snapshot(0, now).primary, None);
    book.probed(ServerId(4), primary(), now);
    assert_eq!(book.snapshot(0, now).primary, Some(ServerId(4)));
}
