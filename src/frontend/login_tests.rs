//! Logins over loopback, against a judge that counts how often it is asked.

use std::time::Duration;

use super::super::accounts::FRESH;
use super::super::testing::{Client, Door, FLAGS, block_on};
use super::*;
use crate::config::{Auth, Require, Secret, User};
use crate::wire::auth::{Plugin, SwitchRequest, salt_from, scramble};
use crate::wire::err::ErrPacket;

const CALLER: Caller = Caller { id: ClientId(7), peer: Peer::Local };

fn listed() -> Auth {
    Auth::Users(vec![User {
        name: "web".into(),
        password: Secret::new(*b"client-pw"),
        backend_user: "app".into(),
        backend_password: Secret::new(*b"secret"),
        require: Require::Nothing,
    }])
}

#[test]
fn the_password_is_obtained_once_and_then_the_fast_path_serves() {
    block_on(async {
        let door = Door::passthrough().await;
        let (first, ()) = door.visit(async |client| client.full("app", "secret").await).await;
        let first = first.unwrap();
        assert_eq!((first.account.secret.expose(), first.sequence), (&b"secret"[..], 6));
        let (second, packet) = door
            .visit(async |mut client| {
                client.answer("app", Plugin::CachingSha2Password, "secret").await;
                client.read().await
            })
            .await;
        let second = second.unwrap();
        assert_eq!((packet, second.sequence), (vec![1, 3], 3));
        assert_eq!((second.account.id, door.servers.asked()), (first.account.id, 1));
    });
}

#[test]
fn full_authentication_over_tls_takes_the_password_itself() {
    block_on(async {
        let door = Door::open(&Auth::Passthrough, false, true, FRESH).await;
        let (login, ()) = door
            .visit(async |client| {
                let mut client = client.encrypt().await;
                client.answer("app", Plugin::CachingSha2Password, "secret").await;
                assert_eq!(client.read().await, [1, 4]);
                client.io.write(b"secret\0").await.unwrap();
            })
            .await;
        let login = login.unwrap();
        assert!(login.stream.is_tls() && !login.capabilities.contains(Capabilities::SSL));
        assert_eq!(login.sequence, 5);
    });
}

#[test]
fn a_client_without_tls_is_refused_where_tls_is_required() {
    block_on(async {
        let door = Door::open(&Auth::Passthrough, false, true, FRESH).await;
        let (login, code) = door
            .visit(async |mut client| {
                client.answer("app", Plugin::CachingSha2Password, "secret").await;
                client.error().await
            })
            .await;
        assert_eq!((login.unwrap_err().kind, code), (LoginErrorKind::Tls, 3159));
        assert_eq!(door.servers.asked(), 0);
    });
}

#[test]
fn the_servers_words_reach_the_client_and_nothing_is_remembered() {
    block_on(async {
        let door = Door::passthrough().await;
        for turn in 1..=2 {
            let (login, message) = door
                .visit(async |mut client| {
                    client.answer("app", Plugin::CachingSha2Password, "wrong").await;
                    assert_eq!(client.read().await, [1, 4]);
                    let salt = client.salt();
                    client.send_by_rsa("wrong", &salt).await;
                    ErrPacket::decode(&client.read().await).unwrap().message
                })
                .await;
            let error = login.unwrap_err();
            assert_eq!((error.kind, error.sent), (LoginErrorKind::Denied, Some(1045)));
            assert_eq!((message, door.servers.asked()), (b"said the server".to_vec(), turn));
        }
    });
}

#[test]
fn an_empty_password_is_judged_by_the_servers_too() {
    block_on(async {
        let door = Door::passthrough().await;
        for (auth, user, right) in [(vec![], "empty", true), (vec![0], "empty", true), (vec![], "app", false)]
        {
            let (login, ()) = door
                .visit(async |mut client| client.respond(user, "caching_sha2_password", auth, FLAGS).await)
                .await;
            assert_eq!(login.map(|login| login.sequence).ok(), right.then_some(2));
        }
        assert_eq!(door.servers.asked(), 2, "once for each user: the second login of `empty` is known");
    });
}

#[test]
fn what_is_not_fresh_is_asked_again_and_a_revoked_account_is_out() {
    block_on(async {
        let door = Door::open(&Auth::Passthrough, false, false, Duration::ZERO).await;
        for _ in 0..2 {
            door.visit(async |client| client.full("app", "secret").await).await.0.unwrap();
        }
        assert_eq!(door.servers.asked(), 2);
        *door.servers.down.lock().unwrap() = true;
        let (login, ()) = door.visit(async |client| client.full("app", "secret").await).await;
        assert_eq!(login.unwrap_err().kind, LoginErrorKind::NoServer);
        *door.servers.down.lock().unwrap() = false;
        door.servers.set("app", "changed");
        let (login, ()) = door.visit(async |client| client.full("app", "secret").await).await;
        assert_eq!(login.unwrap_err().kind, LoginErrorKind::Denied);
        assert!(door.context.accounts().remembered(b"app").is_empty(), "a refused password is forgotten");
        door.visit(async |client| client.full("app", "changed").await).await.0.unwrap();
    });
}

#[test]
fn a_native_scramble_serves_once_the_password_is_known() {
    block_on(async {
        let door = Door::passthrough().await;
        let native = async |mut client: Client| {
            client.answer("app", Plugin::NativePassword, "secret").await;
        };
        let (unknown, ()) = door
            .visit(async |mut client| {
                client.answer("app", Plugin::NativePassword, "secret").await;
                let request = client.read().await;
                let request = SwitchRequest::decode(&request).unwrap();
                assert_eq!(request.plugin, b"caching_sha2_password");
                let salt = salt_from(request.data).unwrap();
                assert_ne!(salt, client.salt());
                let answer = scramble(Plugin::CachingSha2Password, &salt, b"secret").unwrap();
                client.io.write(&answer).await.unwrap();
                assert_eq!(client.read().await, [1, 4]);
                client.send_by_rsa("secret", &salt).await;
            })
            .await;
        assert_eq!(unknown.unwrap().sequence, 8);
        assert_eq!(door.visit(native).await.0.unwrap().sequence, 2);
    });
}

#[test]
fn a_client_that_cannot_be_asked_is_told_so() {
    block_on(async {
        let door = Door::passthrough().await;
        let flags = FLAGS.difference(Capabilities::PLUGIN_AUTH);
        let (login, code) = door
            .visit(async |mut client| {
                let auth = scramble(Plugin::NativePassword, &client.salt(), b"secret").unwrap();
                client.respond("app", "", auth, flags).await;
                client.error().await
            })
            .await;
        assert_eq!((login.unwrap_err().kind, code), (LoginErrorKind::Unsupported, 1251));
    });
}

#[test]
fn a_password_in_the_clear_is_taken_over_tls_only() {
    block_on(async {
        let door = Door::passthrough().await;
        let (login, ()) = door
            .visit(async |client| {
                let mut client = client.encrypt().await;
                client.respond("app", "mysql_clear_password", b"secret\0".to_vec(), FLAGS).await;
            })
            .await;
        assert_eq!(login.unwrap().sequence, 3);
        let (login, packet) = door
            .visit(async |mut client| {
                client.respond("app", "mysql_clear_password", b"secret\0".to_vec(), FLAGS).await;
                client.read().await
            })
            .await;
        assert_eq!((login.unwrap_err().kind, packet[0]), (LoginErrorKind::ClientLeft, 0xfe));
        let (login, code) = door
            .visit(async |mut client| {
                client.answer("app", Plugin::CachingSha2Password, "other").await;
                assert_eq!(client.read().await, [1, 4]);
                client.io.write(b"secret\0").await.unwrap();
                client.error().await
            })
            .await;
        assert_eq!((login.unwrap_err().kind, code), (LoginErrorKind::Denied, 1045));
    });
}

#[test]
fn listed_accounts_are_judged_here_with_either_plugin() {
    block_on(async {
        for mariadb in [false, true] {
            let door = Door::open(&listed(), mariadb, false, FRESH).await;
            for (plugin, sequence) in [(Plugin::CachingSha2Password, 3), (Plugin::NativePassword, 2)] {
                let (login, ()) =
                    door.visit(async |mut client| client.answer("web", plugin, "client-pw").await).await;
                let login = login.unwrap();
                assert_eq!((&login.account.backend_user[..], login.sequence), (&b"app"[..], sequence));
                for (user, password) in [("web", "secret"), ("web", ""), ("app", "secret"), ("", "")] {
                    let (login, ()) = door
                        .visit(async |mut client| {
                            client.answer(user, plugin, password).await;
                            let mut packet = client.read().await;
                            if packet.first() == Some(&0xfe) {
                                client.io.write(b"").await.unwrap(); // an empty answer was taken for none
                                packet = client.read().await;
                            }
                            assert_eq!(ErrPacket::decode(&packet).unwrap().code, 1045);
                        })
                        .await;
                    assert_eq!(login.unwrap_err().kind, LoginErrorKind::Denied, "{user} {password}");
                }
            }
            assert_eq!(door.servers.asked(), 0);
        }
    });
}

#[test]
fn a_client_with_another_plugin_is_asked_for_one_that_can_be_judged() {
    block_on(async {
        let door = Door::open(&listed(), true, false, FRESH).await;
        let (login, ()) = door
            .visit(async |mut client| {
                assert_eq!(client.greeting.plugin, b"mysql_native_password");
                client.respond("web", "caching_sha2_password", vec![], FLAGS).await;
                let request = client.read().await;
                let request = SwitchRequest::decode(&request).unwrap();
                assert_eq!(request.plugin, b"caching_sha2_password");
                let salt = salt_from(request.data).unwrap();
                let answer = scramble(Plugin::CachingSha2Password, &salt, b"client-pw").unwrap();
                client.io.write(&answer).await.unwrap();
                assert_eq!(client.read().await, [1, 3]);
            })
            .await;
        assert_eq!(login.unwrap().sequence, 5);
    });
}

#[test]
fn change_user_challenges_anew() {
    block_on(async {
        let door = Door::open(&listed(), false, false, FRESH).await;
        let (login, mut client) = door
            .visit(async |mut client| {
                client.answer("web", Plugin::CachingSha2Password, "client-pw").await;
                client.read().await;
                client
            })
            .await;
        let mut login = login.unwrap();
        for (password, right) in [("client-pw", true), ("wrong", false)] {
            let payload = b"\x11web\0\0shop\0\xff\0caching_sha2_password\0";
            let change = change_user(&mut login.stream, CALLER, payload, &door.context, FLAGS, &[0; 20]);
            let answer = async move {
                let mut client = client.at(1);
                let request = client.read().await;
                let salt = salt_from(SwitchRequest::decode(&request).unwrap().data).unwrap();
                let answer = scramble(Plugin::CachingSha2Password, &salt, password.as_bytes()).unwrap();
                client.io.write(&answer).await.unwrap();
                (client.read().await, client)
            };
            let (changed, (packet, same)) = tokio::join!(change, answer);
            client = same;
            if right {
                let changed = changed.unwrap();
                assert_eq!((packet, changed.sequence), (vec![1, 3], 4));
                assert_eq!((changed.database, changed.collation), (Some(b"shop".to_vec()), 255));
            } else {
                assert_eq!(changed.unwrap_err().sent, Some(1045));
                assert_eq!(ErrPacket::decode(&packet).unwrap().code, 1045);
            }
        }
    });
}

#[test]
fn scanners_and_broken_clients_get_an_error_that_arrives() {
    // What is sent, the error, and its packet's number: that of a packet whose header was refused, or the next one.
    let cases: [(&[u8], u16, u8); 4] = [
        (&[b'G'; 9000], 1043, 1),
        (b"\x01\0\0\x05\0", 1156, 1),
        (b"\x03\0\0\x01abc", 1043, 2),
        (b"\x0c\0\0\x01\x05\0\0\0\0root\0x\0", 1251, 2),
    ];
    block_on(async {
        let door = Door::passthrough().await;
        for (bytes, code, sequence) in cases {
            let (login, got) = door
                .visit(async |mut client| {
                    client.io.stream_mut().write_all(bytes).await.unwrap();
                    client.at(sequence).error().await
                })
                .await;
            assert_eq!((login.unwrap_err().sent, got), (Some(code), code));
        }
        let (login, ()) = door.visit(async |client| drop(client)).await;
        assert_eq!(login.unwrap_err().kind, LoginErrorKind::ClientLeft);
    });
}
