//! Greeting and responses: round trips, the forms that clients send, and hostile input.

use proptest::prelude::*;

use super::*;

fn response(flags: Capabilities) -> Response {
    Response {
        capabilities: flags,
        collation: 255,
        user: b"app".to_vec(),
        auth: vec![7; 32].into(),
        database: None,
        plugin: Some(b"caching_sha2_password".to_vec()),
        attributes: vec![(b"_pid".to_vec(), b"12".to_vec())],
        zstd_level: flags.contains(Capabilities::ZSTD_COMPRESSION).then_some(7),
    }
}

const MODERN: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC_DATA)
    .union(Capabilities::CONNECT_ATTRS);

fn decode(payload: &[u8]) -> Option<ClientHello> {
    ClientHello::decode(payload, Capabilities::OFFERED | Capabilities::SSL)
}

#[test]
fn greeting_round_trip() {
    let greeting = Greeting {
        version: b"9.7.4".to_vec(),
        connection_id: 77,
        salt: vec![b'x'; 20],
        capabilities: (Capabilities::OFFERED | Capabilities::SSL).difference(Capabilities::LONG_PASSWORD),
        collation: 255,
        status: 2,
        plugin: b"caching_sha2_password".to_vec(),
    };
    assert_eq!(Greeting::decode(&greeting.encode()), Some(greeting));
}

#[test]
fn greeting_mariadb_10_11() {
    // As MariaDB 10.11 writes it: bit 0 is clear, the salt has 21 bytes with its NUL, extended capabilities are set.
    let mut payload =
        b"\x0a5.5.5-10.11.6-MariaDB\0\x2a\0\0\0`d9+-?xD\0\xfe\xf7\x2d\x02\0\xff\x81\x15".to_vec();
    payload.extend_from_slice(b"\0\0\0\0\0\0\x1d\0\0\0ABCDEFGHIJKL\0mysql_native_password\0");
    let greeting = Greeting::decode(&payload).unwrap();
    assert_eq!(greeting.salt, b"`d9+-?xDABCDEFGHIJKL");
    assert_eq!(greeting.plugin, b"mysql_native_password");
    assert!(!greeting.capabilities.contains(Capabilities::LONG_PASSWORD));
    assert!(greeting.capabilities.contains(Capabilities::SESSION_TRACK | Capabilities::CONNECT_ATTRS));
    let extended = Capabilities::PROGRESS
        | Capabilities::STMT_BULK_OPERATIONS
        | Capabilities::EXTENDED_METADATA
        | Capabilities::CACHE_METADATA;
    assert_eq!(greeting.capabilities.extended(), extended.extended());
}

#[test]
fn extended_flags_are_mariadbs_alone() {
    let mariadb = MODERN | Capabilities::PROGRESS | Capabilities::EXTENDED_METADATA;
    let sent = response(mariadb).encode().unwrap();
    assert_eq!(sent[28..32], [0b1001, 0, 0, 0]);
    assert_eq!(decode(&sent), Some(ClientHello::Response(response(mariadb))));
    let mut filled = response(MODERN | Capabilities::LONG_PASSWORD).encode().unwrap();
    filled[28..32].copy_from_slice(&[0xff; 4]);
    let Some(ClientHello::Response(mysql)) = decode(&filled) else { panic!("no response") };
    assert_eq!(mysql.capabilities, MODERN | Capabilities::LONG_PASSWORD);
}

#[test]
fn response_round_trip() {
    let response = response(MODERN);
    assert_eq!(decode(&response.encode().unwrap()), Some(ClientHello::Response(response)));
}

#[test]
fn response_with_a_level_of_zstd() {
    let response = response(MODERN | Capabilities::ZSTD_COMPRESSION);
    assert_eq!(response.encode().unwrap().last(), Some(&7));
    assert_eq!(decode(&response.encode().unwrap()), Some(ClientHello::Response(response)));
}

#[test]
fn response_with_one_byte_length() {
    let response = response(MODERN.difference(Capabilities::PLUGIN_AUTH_LENENC_DATA));
    assert_eq!(decode(&response.encode().unwrap()), Some(ClientHello::Response(response)));
    let long = Response { auth: vec![1; 300].into(), ..response_one_byte() };
    assert_eq!(long.encode(), None);
}

fn response_one_byte() -> Response {
    response(Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION)
}

#[test]
fn response_with_nul_terminated_auth_and_database() {
    let flags = Capabilities::PROTOCOL_41 | Capabilities::CONNECT_WITH_DB;
    let mut payload = fixed_part(flags, 33);
    payload.extend_from_slice(b"app\0\0shop");
    let Some(ClientHello::Response(response)) = decode(&payload) else { panic!("no response") };
    assert_eq!((&response.user[..], &response.auth[..]), (&b"app"[..], &b""[..]));
    assert_eq!(response.database.as_deref(), Some(&b"shop"[..]));
    assert_eq!(response.plugin, None);
}

#[test]
fn response_libmariadb_sets_attributes_and_sends_none() {
    let mut payload = fixed_part(MODERN, 45);
    payload.extend_from_slice(b"app\0\x00mysql_native_password\0");
    let Some(ClientHello::Response(response)) = decode(&payload) else { panic!("no response") };
    assert!(response.attributes.is_empty());
    assert_eq!(response.plugin.as_deref(), Some(&b"mysql_native_password"[..]));
}

#[test]
fn ssl_request_is_exactly_the_fixed_part() {
    let flags = MODERN | Capabilities::SSL;
    assert_eq!(decode(&ssl_request(flags, 255)), Some(ClientHello::Tls));
    assert_eq!(decode(&response(flags).encode().unwrap()), None, "a password after a promise of TLS");
    let unoffered = ClientHello::decode(&response(flags).encode().unwrap(), Capabilities::OFFERED);
    assert!(matches!(unoffered, Some(ClientHello::Response(_))));
}

#[test]
fn clients_before_4_1_are_told_apart() {
    assert_eq!(decode(b"\x05\x00\xff\xff\xffroot\0"), Some(ClientHello::TooOld));
    assert_eq!(decode(b"\x05"), None);
}

#[test]
fn attributes_are_bounded() {
    let mut long = response(MODERN);
    long.attributes = vec![(b"a".to_vec(), vec![b'v'; ATTRIBUTES_MAX])];
    assert_eq!(decode(&long.encode().unwrap()), None);
}

#[test]
fn change_user_in_its_forms() {
    let full = b"\x11app\0\x02xyshop\0\x2d\0caching_sha2_password\0\x04\x01a\x01b";
    let response = Response::decode_change_user(full, MODERN).unwrap();
    assert_eq!((&response.user[..], &response.auth[..]), (&b"app"[..], &b"xy"[..]));
    assert_eq!(response.database.as_deref(), Some(&b"shop"[..]));
    assert_eq!((response.collation, response.plugin.as_deref()), (45, Some(&b"caching_sha2_password"[..])));
    assert_eq!(response.attributes, [(b"a".to_vec(), b"b".to_vec())]);

    let short = Response::decode_change_user(b"\x11app\0\0\0", MODERN).unwrap();
    assert_eq!((short.database, short.collation, short.plugin), (None, 0, None));
    assert_eq!(Response::decode_change_user(b"\x11app\0\x09xy", MODERN), None);
}

proptest! {
    #[test]
    fn no_input_panics(payload in proptest::collection::vec(any::<u8>(), 0..300), flags in any::<u32>()) {
        let flags = Capabilities::of(flags, 0);
        let _ = ClientHello::decode(&payload, flags);
        let _ = Response::decode_change_user(&payload, flags);
        let _ = Greeting::decode(&payload);
    }

    #[test]
    fn no_cut_response_panics(cut in 0_usize..120, flags in any::<u32>()) {
        let mut payload = response(MODERN).encode().unwrap();
        payload.truncate(cut);
        payload[..4.min(cut)].copy_from_slice(&flags.to_le_bytes()[..4.min(cut)]);
        let _ = decode(&payload);
    }
}
