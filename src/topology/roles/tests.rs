//! Who is the primary, and what the others are.

use super::super::replication::IoThread;
use super::super::replication::tests::channel;
use super::*;

/// A server with this id that follows these ids.
pub fn identity(server_id: u32, read_only: bool, sources: &[u32]) -> Identity {
    let channels = sources.iter().map(|&source| channel(source, Some(0))).collect();
    Identity {
        read_only,
        server_id,
        server_uuid: None,
        replication: Replication::Channels(channels),
        group: None,
    }
}

pub fn members<'a>(identities: &'a [Identity], down: &[usize]) -> Vec<Member<'a>> {
    let member = |(index, identity)| Member {
        host: "elsewhere",
        port: 1,
        up: !down.contains(&index),
        deposed: false,
        lost: false,
        history: None,
        draining: false,
        identity: Some(identity),
    };
    identities.iter().enumerate().map(member).collect()
}

fn assigned(identities: &[Identity], down: &[usize], current: Option<usize>) -> (Option<usize>, Vec<Role>) {
    let assignment = assign(&members(identities, down), current, true);
    (assignment.primary, assignment.roles)
}

use super::super::group::{Membership, Unfit};
use Role::{Peer, Primary, Replica, Rival};

#[test]
fn a_primary_and_its_replicas() {
    let servers = [identity(1, true, &[2]), identity(2, false, &[]), identity(3, true, &[2])];
    assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary, Replica]));
}

#[test]
fn a_replica_that_forgot_read_only_is_a_replica() {
    let servers = [identity(2, false, &[1]), identity(1, false, &[])];
    assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary]));
    assert_eq!(assigned(&servers, &[1], Some(1)).0, Some(1), "also when the primary is down");
    assert_eq!(assigned(&servers[..1], &[], None).0, Some(0), "its source is outside of the cluster");
}

#[test]
fn all_read_only_is_no_primary() {
    let servers = [identity(1, true, &[]), identity(2, true, &[1])];
    assert_eq!(assigned(&servers, &[], Some(0)), (None, vec![Replica, Replica]));
}

#[test]
fn who_stands_alone_is_the_primary_also_when_read_only() {
    let alone = [identity(1, true, &[])];
    assert_eq!(assigned(&alone, &[], None), (Some(0), vec![Primary]));
    assert_eq!(assigned(&alone, &[0], Some(0)), (Some(0), vec![Primary]), "also while it is down");
    assert_eq!(guarded(&alone, &[], Some(0)), (None, vec![Replica]));
    assert_eq!(assigned(&[identity(1, true, &[9])], &[], None), (None, vec![Replica]), "it follows another");
}

#[test]
fn of_a_group_one_member_that_is_fit_takes_the_writes_and_the_others_are_its_peers() {
    let of = |name: &str, unfit| Some(Membership { name: name.into(), unfit });
    let in_group = |id, group| Identity { group, ..identity(id, false, &[]) };
    let mut servers = [1, 2, 3].map(|id| in_group(id, of("g", None)));
    assert_eq!(assigned(&servers, &[], None), (Some(0), vec![Primary, Peer, Peer]));
    assert_eq!(assigned(&servers, &[0], Some(0)), (Some(1), vec![Peer, Primary, Peer]));
    assert_eq!(assigned(&servers, &[], Some(1)).0, Some(1), "who comes back is a peer");
    servers[1].group = of("g", Some(Unfit::Parted));
    assert_eq!(assigned(&servers, &[], Some(1)), (Some(0), vec![Primary, Peer, Peer]));
    servers[2].group = of("other", None);
    assert_eq!(assigned(&servers, &[], None).1[2], Rival, "another group has other data");
    servers[2] = identity(3, false, &[]);
    assert_eq!(assigned(&servers, &[], None).1[2], Rival);
    servers[0].group = of("g", Some(Unfit::Outside));
    assert_eq!(assigned(&servers[..2], &[], Some(0)).0, None, "nobody is fit");
}

#[test]
fn a_group_with_one_writer_shows_it_by_read_only() {
    let member = |id, read_only| Identity {
        group: Some(Membership { name: "g".into(), unfit: None }),
        ..identity(id, read_only, &[])
    };
    let servers = [member(1, true), member(2, false), member(3, true)];
    assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary, Replica]));
    assert_eq!(assigned(&servers, &[1], Some(1)).0, Some(1), "until the group has elected another");
}

#[test]
fn of_two_writable_servers_the_replicas_choose() {
    let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
    assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Rival, Primary, Replica]));
    assert_eq!(assigned(&servers[..2], &[], None), (Some(0), vec![Primary, Rival]), "else the file's order");
}

#[test]
fn t26_the_primary_in_use_stays_while_it_is_valid() {
    let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
    assert_eq!(assigned(&servers, &[], Some(0)).0, Some(0));
    assert_eq!(assigned(&servers, &[0], Some(0)).0, Some(1), "it is down and another is there");
    assert_eq!(assigned(&servers, &[0, 1], Some(0)).0, Some(0), "down, and nobody else");
}

#[test]
fn a_promoted_replica_takes_over_from_a_demoted_primary() {
    let servers = [identity(1, true, &[2]), identity(2, false, &[])];
    assert_eq!(assigned(&servers, &[], Some(0)), (Some(1), vec![Replica, Primary]));
}

#[test]
fn a_ring_has_a_primary() {
    let servers = [identity(1, true, &[2]), identity(2, false, &[1])];
    assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary]));
    let both_writable = [identity(1, false, &[2]), identity(2, false, &[1])];
    assert_eq!(assigned(&both_writable, &[], None), (Some(0), vec![Primary, Replica]));
}

#[test]
fn a_primary_that_follows_another_cluster_is_a_primary() {
    let servers = [identity(1, false, &[99]), identity(2, true, &[1])];
    assert_eq!(assigned(&servers, &[], None), (Some(0), vec![Primary, Replica]));
}

#[test]
fn nobody_is_chosen_before_all_were_probed() {
    let servers = [identity(1, false, &[]), identity(2, false, &[])];
    let assignment = assign(&members(&servers, &[]), None, false);
    assert_eq!((assignment.primary, assignment.roles), (None, vec![Role::Unknown, Role::Unknown]));
}

#[test]
fn a_uuid_tells_sources_apart_that_share_an_id() {
    let mut replica = identity(2, false, &[1]);
    if let Replication::Channels(channels) = &mut replica.replication {
        channels[0].source_uuid = Some("other".into());
    }
    let mut primary = identity(1, false, &[]);
    primary.server_uuid = Some("mine".into());
    assert!(!follows(&members(&[replica, primary], &[]), 0, 1));
}

#[test]
fn the_configured_address_tells_the_source_too() {
    let servers = [identity(2, true, &[0]), identity(1, false, &[])];
    let mut members = members(&servers, &[]);
    assert!(!follows(&members, 0, 1), "an id of 0 is no id");
    (members[1].host, members[1].port) = ("HOST-0", 3306);
    assert!(follows(&members, 0, 1));
    members[1].identity = None;
    assert!(follows(&members, 0, 1), "also of a server that was never reached");
}

fn guarded(identities: &[Identity], down: &[usize], current: Option<usize>) -> (Option<usize>, Vec<Role>) {
    let assignment = assign_guarded(&members(identities, down), current, true);
    (assignment.primary, assignment.roles)
}

#[test]
fn two_writable_servers_are_no_primary_unless_the_majority_follows_one() {
    let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
    assert_eq!(guarded(&servers, &[], None), (Some(1), vec![Rival, Primary, Replica]));
    assert_eq!(guarded(&servers, &[], Some(0)).0, Some(1), "also where the other one was in use");
    let split = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[9])];
    assert_eq!(guarded(&split, &[], Some(0)).0, None, "split brain");
    assert_eq!(guarded(&split, &[1], Some(0)).0, Some(0));
}

#[test]
fn who_comes_back_alone_is_no_primary_while_others_follow_somebody_else() {
    let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
    assert_eq!(guarded(&servers, &[1], None).0, None, "2 took the place of 1, and is down itself");
    assert_eq!(guarded(&servers, &[1, 2], None).0, Some(0), "nobody says otherwise");
    let chain = [identity(1, false, &[]), identity(2, true, &[1]), identity(3, true, &[2])];
    assert_eq!(guarded(&chain, &[], None).0, Some(0), "who follows a follower contradicts nobody");
}

#[test]
fn replicas_that_were_told_to_stop_receiving_contradict_nobody() {
    let mut servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[1])];
    if let Replication::Channels(channels) = &mut servers[2].replication {
        channels[0].io = IoThread::Stopped;
    }
    assert_eq!(guarded(&servers, &[0], Some(0)).0, Some(1), "as in the middle of a promotion");
}

#[test]
fn a_deposed_primary_is_a_rival_until_it_follows() {
    let servers = [identity(1, false, &[]), identity(2, true, &[])];
    let mut members = members(&servers, &[1]);
    members[0].deposed = true;
    let assignment = assign_guarded(&members, None, true);
    assert_eq!((assignment.primary, assignment.roles), (None, vec![Rival, Replica]));
}

#[test]
fn an_unreadable_status_is_believed_only_of_a_server_alone() {
    let unreadable = Identity { replication: Replication::Unreadable, ..identity(1, false, &[]) };
    assert_eq!(assigned(std::slice::from_ref(&unreadable), &[], None), (Some(0), vec![Primary]));
    let two = [unreadable.clone(), Identity { server_id: 2, ..unreadable }];
    assert_eq!(assigned(&two, &[], None), (None, vec![Role::Unknown, Role::Unknown]));
}
