//! Exchanges with a scripted server: what goes out, and what never does.

use super::*;
use crate::wire::auth::proves;

const SALT: &[u8; 20] = b"abcdefghijklmnopqrst";

fn proof(plugin: Plugin, encrypted: bool) -> Proof<'static> {
    Proof { plugin, challenge: SALT.to_vec(), password: b"secret", encrypted }
}

/// What the scripted server does next.
enum Step<'a> {
    Send(&'a [u8]),
    Take,
}
use Step::{Send, Take};

/// Runs the script; gives the outcome and what the server took.
fn exchange(proof: Proof<'_>, script: &[Step<'_>]) -> (Result<u16, ConnectError>, Vec<Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (mut client, mut server) = (PacketIo::new(near, 0), PacketIo::new(far, 0));
        let serve = async {
            let mut taken = Vec::new();
            for step in script {
                match step {
                    Send(packet) => server.write(packet).await.unwrap(),
                    Take => taken.push(server.read().await.unwrap()),
                }
            }
            taken
        };
        tokio::join!(proof.finish(&mut client), serve)
    })
}

const OK_PACKET: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

fn switch(plugin: &str, challenge: &[u8]) -> Vec<u8> {
    [&[SWITCH], plugin.as_bytes(), &[0], challenge].concat()
}

#[test]
fn fast_path_of_caching_sha2() {
    let (outcome, taken) =
        exchange(proof(Plugin::CachingSha2Password, false), &[Send(&[1, 3]), Send(OK_PACKET)]);
    assert_eq!((outcome.unwrap(), taken.len()), (2, 0));
}

#[test]
fn full_path_of_caching_sha2_over_tls_sends_the_password() {
    let script = [Send(&[1, 4]), Take, Send(OK_PACKET)];
    let (outcome, taken) = exchange(proof(Plugin::CachingSha2Password, true), &script);
    assert_eq!((outcome.unwrap(), &taken[0][..]), (2, &b"secret\0"[..]));
}

#[test]
fn full_path_of_caching_sha2_in_the_clear_encrypts_for_the_servers_key() {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let key = [b"\x01", pair.public_key_pem().as_bytes()].concat();
    let script = [Send(&[1, 4]), Take, Send(&key), Take, Send(OK_PACKET)];
    let (outcome, taken) = exchange(proof(Plugin::CachingSha2Password, false), &script);
    assert_eq!(outcome.unwrap(), 2);
    assert_eq!(taken[0], [CACHING_SHA2_KEY_REQUEST]);
    let private = aws_lc_rs::rsa::PrivateDecryptingKey::from_pkcs8(&pair.serialize_der()).unwrap();
    let private = aws_lc_rs::rsa::OaepPrivateDecryptingKey::new(private).unwrap();
    let mut plain = vec![0; 256];
    let plain = private.decrypt(&OAEP_SHA1_MGF1SHA1, &taken[1], &mut plain, None).unwrap();
    mask(plain, SALT);
    assert_eq!(plain, b"secret\0");
}

#[test]
fn a_key_that_is_none_is_a_protocol_error() {
    for key in
        [&b"\x01"[..], b"\x01nonsense", b"\x01-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"]
    {
        let script = [Send(&[1, 4]), Take, Send(key)];
        let (outcome, _) = exchange(proof(Plugin::CachingSha2Password, false), &script);
        assert!(matches!(outcome, Err(ConnectError::Protocol(_))), "{outcome:?}");
    }
}

#[test]
fn switch_to_native_answers_the_new_salt() {
    let script = [Send(&switch("mysql_native_password", b"ABCDEFGHIJKLMNOPQRST\0")), Take, Send(OK_PACKET)];
    let (outcome, taken) = exchange(proof(Plugin::CachingSha2Password, false), &script);
    assert_eq!(outcome.unwrap(), 2);
    assert!(proves(Plugin::NativePassword, b"ABCDEFGHIJKLMNOPQRST", b"secret", &taken[0]));
}

#[test]
fn clear_password_goes_over_tls_only() {
    let request = switch("mysql_clear_password", b"");
    let (outcome, taken) = exchange(proof(Plugin::NativePassword, false), &[Send(&request)]);
    assert!(matches!(outcome, Err(ConnectError::AuthUnsupported(_))), "{outcome:?}");
    assert!(taken.is_empty());
    let script = [Send(&request), Take, Send(OK_PACKET)];
    let (outcome, taken) = exchange(proof(Plugin::NativePassword, true), &script);
    assert_eq!((outcome.unwrap(), &taken[0][..]), (2, &b"secret\0"[..]));
}

#[test]
fn a_greeting_cannot_ask_for_the_password() {
    for plugin in ["mysql_clear_password", "sha256_password", "auth_gssapi_client", ""] {
        let proof = Proof::begin(plugin.as_bytes(), SALT, b"secret", true);
        assert!(!proof.first_response().unwrap().windows(6).any(|window| window == b"secret"), "{plugin}");
    }
}

#[test]
fn old_and_unknown_plugins_are_named() {
    for (request, name) in [(vec![SWITCH], "mysql_old_password"), (switch("parsec", b"x"), "parsec")] {
        let (outcome, _) = exchange(proof(Plugin::NativePassword, false), &[Send(&request)]);
        assert!(matches!(outcome, Err(ConnectError::AuthUnsupported(got)) if got == name));
    }
}

#[test]
fn a_server_cannot_go_on_for_ever() {
    let script: Vec<Step<'_>> = (0..ROUNDS_MAX).map(|_| Send(&[1, 3])).collect();
    let (outcome, _) = exchange(proof(Plugin::CachingSha2Password, false), &script);
    assert!(matches!(outcome, Err(ConnectError::Protocol(_))));
}

#[test]
fn malformed_packets_are_protocol_errors() {
    let twice = switch("mysql_native_password", b"ABCDEFGHIJKLMNOPQRST\0");
    for script in [
        vec![Send(&[][..])],
        vec![Send(&[0, 0])],
        vec![Send(&[0xff, 1])],
        vec![Send(&[1])],
        vec![Send(&[7])],
        vec![Send(&[SWITCH, b'a'])],
        vec![Send(&twice), Take, Send(&twice)],
        vec![Send(&[
            SWITCH, b'c', b'l', b'i', b'e', b'n', b't', b'_', b'e', b'd', b'2', b'5', b'5', b'1', b'9', 0, 1,
        ])],
    ] {
        let (outcome, _) = exchange(proof(Plugin::CachingSha2Password, true), &script);
        assert!(matches!(outcome, Err(ConnectError::Protocol(_))), "{outcome:?}");
    }
}

#[test]
fn a_second_factor_is_refused_by_name() {
    let next_factor = [&[NEXT_FACTOR][..], b"authentication_webauthn_client\0", b"challenge"].concat();
    let (outcome, taken) =
        exchange(proof(Plugin::CachingSha2Password, true), &[Send(&[1, 3]), Send(&next_factor)]);
    assert!(matches!(outcome, Err(ConnectError::AuthUnsupported(what)) if what == "a second factor"));
    assert!(taken.is_empty(), "nothing is given away to it");
}
