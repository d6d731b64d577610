//! What depends on the client's way to us, on time, and on what old clients can say.

use std::time::Duration;

use super::super::accounts::FRESH;
use super::super::login::{LoginErrorKind, change_user};
use super::super::testing::{Client, Door, FLAGS, block_on};
use super::*;
use crate::backend::account::Witness;
use crate::config::{Auth, Require, Secret, User};
use crate::ids::ClientId;
use crate::session::worker::Caller;
use crate::wire::auth::scramble;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;

const CALLER: Caller = Caller { id: ClientId(7), peer: Peer::Local };

/// What a client of before plugins says.
const OLD: Capabilities = FLAGS.difference(Capabilities::PLUGIN_AUTH);

/// A whole login over TLS, as far as the proxy goes.
async fn over_tls(client: Client) {
    let mut client = client.encrypt().await;
    client.answer("app", Plugin::CachingSha2Password, "secret").await;
    if client.read().await == [1, 4] {
        client.io.write(b"secret\0").await.unwrap();
    }
}

async fn tls_only_door() -> Door {
    let door = Door::passthrough().await;
    door.servers.tls_only.lock().unwrap().insert(b"app".to_vec());
    door
}

#[test]
fn an_account_that_needs_tls_lets_no_client_in_without_it() {
    block_on(async {
        let door = tls_only_door().await;
        let refused = async |asked| {
            let (login, ()) = door.visit(async |client| client.full("app", "secret").await).await;
            assert_eq!(login.unwrap_err().kind, LoginErrorKind::Denied);
            assert_eq!(door.servers.asked(), asked);
        };
        refused(1).await;
        let first = door.visit(over_tls).await.0.unwrap();
        assert_eq!(door.servers.asked(), 2);
        refused(3).await;
        // A connection of the pool, over TLS as well, proves nothing about clients without it.
        door.context.accepted(&first.account, true);
        refused(4).await;
        let second = door.visit(over_tls).await.0.unwrap();
        assert_eq!(
            (second.account.id, door.servers.asked()),
            (first.account.id, 4),
            "others are not disturbed"
        );
    });
}

#[test]
fn what_is_accepted_without_tls_is_fresh_for_both() {
    block_on(async {
        let door = Door::passthrough().await;
        door.visit(async |client| client.full("app", "secret").await).await.0.unwrap();
        door.visit(over_tls).await.0.unwrap();
        assert_eq!(door.servers.asked(), 1);
    });
}

#[test]
fn a_connection_of_the_pool_refreshes_its_account() {
    block_on(async {
        let fresh = Duration::from_secs(1);
        let door = Door::open(&Auth::Passthrough, false, false, fresh).await;
        let login = door.visit(over_tls).await.0.unwrap();
        let known = || door.context.accounts().remembered(b"app")[0].clone();
        let first = known();
        while door.context.accounts().is_fresh(&first, Transport::Tls) {
            tokio::task::yield_now().await;
        }
        door.context.accepted(&login.account, true);
        let accounts = door.context.accounts();
        assert!(accounts.is_fresh(&known(), Transport::Tls) && !accounts.is_fresh(&first, Transport::Tls));
    });
}

#[test]
fn a_client_is_told_when_no_server_answers_in_time() {
    block_on(async {
        let mut door = Door::passthrough().await;
        door.context.time_limit = Duration::from_secs(4);
        *door.servers.silent.lock().unwrap() = true;
        let (login, code) = door
            .visit(async |mut client| {
                client.answer("app", Plugin::CachingSha2Password, "secret").await;
                assert_eq!(client.read().await, [1, 4]);
                let salt = client.salt();
                client.send_by_rsa("secret", &salt).await;
                client.error().await
            })
            .await;
        assert_eq!((login.unwrap_err().kind, code), (LoginErrorKind::NoServer, 1429));
    });
}

#[test]
fn a_silent_client_is_not_waited_for() {
    block_on(async {
        let mut door = Door::passthrough().await;
        door.context.time_limit = Duration::from_millis(100);
        let (login, client) = door.visit(async |client| client).await;
        assert_eq!(login.unwrap_err().kind, LoginErrorKind::TimedOut);
        drop(client);

        door.context.time_limit = Duration::from_secs(10);
        let full = async |mut client: Client| {
            client.answer("app", Plugin::CachingSha2Password, "secret").await;
            assert_eq!(client.read().await, [1, 4]);
            let salt = client.salt();
            client.send_by_rsa("secret", &salt).await;
            client
        };
        let (login, client) = door.visit(full).await;
        let mut login = login.unwrap();
        door.context.time_limit = Duration::from_millis(100);
        let payload = b"\x11app\0\0\0\x2d\0caching_sha2_password\0";
        let changed =
            change_user(&mut login.stream, CALLER, payload, &door.context, FLAGS, &login.salt).await;
        assert_eq!(changed.unwrap_err().kind, LoginErrorKind::TimedOut);
        drop(client);
    });
}

/// COM_CHANGE_USER of a client that knows no plugins: the answer to the greeting's salt, once more.
fn old_change(user: &str, password: &str, salt: &Salt) -> Vec<u8> {
    let answer = scramble(Plugin::NativePassword, salt, password.as_bytes()).unwrap();
    [b"\x11", user.as_bytes(), &[0, answer.len() as u8], &answer, b"\0\x2d\0"].concat()
}

#[test]
fn old_clients_change_user_by_the_greetings_challenge() {
    let user = |name: &str| User {
        name: name.into(),
        password: Secret::new(*b"client-pw"),
        backend_user: "app".into(),
        backend_password: Secret::new(*b"secret"),
        require: Require::Nothing,
    };
    block_on(async {
        let door = Door::open(&Auth::Users(vec![user("web"), user("job")]), true, false, FRESH).await;
        for (password, salt, right) in
            [("client-pw", None, true), ("wrong", None, false), ("client-pw", Some([1; 20]), false)]
        {
            let (login, client) = door
                .visit(async |mut client| {
                    let auth = scramble(Plugin::NativePassword, &client.salt(), b"client-pw").unwrap();
                    client.respond("web", "", auth, OLD).await;
                    client
                })
                .await;
            let mut login = login.unwrap();
            assert_eq!(login.salt, client.salt());
            let payload = old_change("job", password, &salt.unwrap_or(login.salt));
            match change_user(&mut login.stream, CALLER, &payload, &door.context, OLD, &login.salt).await {
                Ok(job) => assert_eq!((right, &job.account.user[..], job.sequence), (true, &b"job"[..], 1)),
                Err(error) => assert_eq!((right, error.sent), (false, Some(1045))),
            }
        }
    });
}

#[test]
fn old_clients_change_user_where_the_password_is_known() {
    block_on(async {
        let door = Door::passthrough().await;
        door.visit(async |client| client.full("app", "secret").await).await.0.unwrap();
        let (login, mut client) = door
            .visit(async |mut client| {
                let auth = scramble(Plugin::NativePassword, &client.salt(), b"secret").unwrap();
                client.respond("app", "", auth, OLD).await;
                client
            })
            .await;
        let mut login = login.unwrap();
        let payload = old_change("app", "secret", &login.salt);
        change_user(&mut login.stream, CALLER, &payload, &door.context, OLD, &login.salt).await.unwrap();
        let payload = old_change("app", "other", &login.salt);
        let refused = change_user(&mut login.stream, CALLER, &payload, &door.context, OLD, &login.salt).await;
        assert_eq!(refused.unwrap_err().sent, Some(1251));
        client = client.at(1);
        let error = ErrPacket::decode(&client.read().await).unwrap();
        assert!(String::from_utf8_lossy(&error.message).contains("caching_sha2_password"), "{error}");
    });
}
