//! Every account of the launcher, every way in, and TLS on both sides. More of passthrough: `accounts`.

use mysql_async::prelude::Queryable;
use tidegate::wire::auth::Plugin;
use tidegate::wire::err::ErrPacket;

use crate::harness::cluster::Account;
use crate::harness::{Cluster, Login, Proxy, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    every_account_comes_in_by_tls_and_by_rsa,
    a_remembered_password_does_not_let_a_wrong_one_in,
    a_changed_password_is_the_one_that_counts,
    listed_users_come_in_by_either_plugin,
    required_tls_is_required,
    unknown_databases_are_told_at_login,
    server_connections_are_encrypted_as_configured,
}

async fn enter(stage: &Stage, login: &Login) -> Result<RawClient, ErrPacket> {
    RawClient::login(stage.proxy.address, login).await
}

async fn every_account_comes_in_by_tls_and_by_rsa(scenario: Scenario) {
    for tls_first in [true, false] {
        let stage = scenario.stage().await;
        let accounts = Cluster::accounts(scenario.dialect);
        assert!(accounts.len() >= 8, "{accounts:?}");
        for Account { user, password, require_tls, .. } in accounts {
            for (round, tls) in [tls_first, !tls_first].into_iter().enumerate() {
                let login = Login { tls, ..Login::account(&user, &password) };
                if require_tls && !tls {
                    assert_eq!(enter(&stage, &login).await.err().expect("refused").code, 1045, "{user}");
                    continue;
                }
                let mut client =
                    enter(&stage, &login).await.unwrap_or_else(|error| panic!("{user}, TLS {tls}: {error}"));
                let who = client.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)").await;
                assert_eq!(who.as_deref(), Some(&*user));
                let first = round == 0 && !password.is_empty() || require_tls && round == 1 && !tls_first;
                assert_eq!(client.gave_password, first, "{user}, TLS {tls}: the password is given once");
            }
        }
    }
}

async fn a_remembered_password_does_not_let_a_wrong_one_in(scenario: Scenario) {
    let stage = scenario.stage().await;
    for tls in [false, true] {
        enter(&stage, &Login { tls, ..Login::default() }).await.expect("the right one");
        for plugin in [Plugin::CachingSha2Password, Plugin::NativePassword] {
            let login = Login { tls, plugin, ..Login::account("app", "wrong") };
            assert_eq!(enter(&stage, &login).await.err().expect("refused").code, 1045);
            let login = Login { password: String::new(), ..login };
            assert_eq!(enter(&stage, &login).await.err().expect("refused").code, 1045);
        }
        // A client of the old plugin is let in by what is remembered.
        let login = Login { tls, plugin: Plugin::NativePassword, ..Login::default() };
        let mut client = enter(&stage, &login).await.expect("the right one");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
}

async fn a_changed_password_is_the_one_that_counts(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = format!("changes_{}", if scenario.is_mysql() { "a" } else { "b" });
    stage
        .given(&[
            &format!("DROP USER IF EXISTS {user}"),
            &format!("CREATE USER {user} IDENTIFIED BY 'first'"),
            &format!("GRANT SELECT ON *.* TO {user}"),
        ])
        .await;
    let (first, second) = (Login::account(&user, "first"), Login::account(&user, "second"));
    let mut client = enter(&stage, &first).await.expect("as made");
    client.value("SELECT 7").await.unwrap();
    stage.given(&[&format!("ALTER USER {user} IDENTIFIED BY 'second'")]).await;
    let mut changed = enter(&stage, &second).await.expect("as changed");
    assert_eq!(changed.value("SELECT 7").await.unwrap(), "7");
    // A remembered password may count for a while; a server's refusal ends that at once.
    let refused = client.error("/* tidegate: primary */ SELECT 7").await;
    assert_eq!(refused.code, 1045, "a new server connection is needed: {refused}");
    assert_eq!(enter(&stage, &first).await.err().expect("refused").code, 1045);
    enter(&stage, &second).await.expect("still");
    stage.given(&[&format!("DROP USER {user}")]).await;
}

async fn listed_users_come_in_by_either_plugin(scenario: Scenario) {
    let auth = "auth: users\nusers:\n  - {name: app, password: app-pw}\n  \
                - {name: web, password: web-pw, backend: {user: admin, password: admin-pw}}";
    let stage = scenario.stage_with(Rules { auth: auth.into(), ..Rules::default() }).await;
    for plugin in [Plugin::CachingSha2Password, Plugin::NativePassword] {
        for tls in [false, true] {
            for (user, password, backend) in [("app", "app-pw", "app"), ("web", "web-pw", "admin")] {
                let login = Login { plugin, tls, ..Login::account(user, password) };
                let mut client =
                    enter(&stage, &login).await.unwrap_or_else(|error| panic!("{login:?}: {error}"));
                assert!(!client.gave_password, "the proof is enough: {login:?}");
                let who = client.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)").await;
                assert_eq!(who.as_deref(), Some(backend));
            }
            for (user, password) in [("web", "admin-pw"), ("admin", "admin-pw"), ("app", "")] {
                let login = Login { plugin, tls, ..Login::account(user, password) };
                assert_eq!(enter(&stage, &login).await.err().expect("not listed so").code, 1045, "{login:?}");
            }
        }
    }
}

async fn required_tls_is_required(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { client_tls: "{require: true}".into(), ..Rules::default() }).await;
    for (user, password) in [("app", "app-pw"), ("app", "wrong"), ("nobody", "x")] {
        let error = enter(&stage, &Login::account(user, password)).await.err().expect("refused");
        assert_eq!(error.code, 3159, "{user}: {error}");
    }
    let mut client = enter(&stage, &Login { tls: true, ..Login::default() }).await.expect("TLS");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
}

async fn unknown_databases_are_told_at_login(scenario: Scenario) {
    let stage = scenario.stage().await;
    for _ in 0..2 {
        let login = Login { database: Some("missing".into()), ..Login::default() };
        assert_eq!(enter(&stage, &login).await.err().expect("refused").code, 1049);
        let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
        let mut client = enter(&stage, &login).await.expect("it exists");
        assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), stage.schema);
    }
}

/// The cipher of the server connection that a read on the primary uses.
async fn cipher(client: &mut RawClient) -> String {
    let rows = client.select("/* tidegate: primary */ SHOW SESSION STATUS LIKE 'Ssl_cipher'").await;
    rows.texts()[0][1].clone().expect("a value")
}

async fn server_connections_are_encrypted_as_configured(scenario: Scenario) {
    let stage = scenario.stage().await;
    let rules = |server_tls: &str| Rules { server_tls: server_tls.into(), ..Rules::default() };
    let verified = |ca: &std::path::Path| rules(&format!("{{mode: verified, ca: \"{}\"}}", ca.display()));
    for (rules, encrypted) in [
        (rules("{mode: \"off\"}"), false),
        (rules("{mode: preferred}"), true),
        (rules("{mode: required}"), true),
        (verified(&stage.cluster.ca), true),
    ] {
        let proxy = Proxy::start(&stage.cluster, &rules).await;
        let mut client = RawClient::login(proxy.address, &Login::default()).await.expect("a login");
        assert_eq!(!cipher(&mut client).await.is_empty(), encrypted, "{}", rules.server_tls);
    }
    // A certificate of another authority: no server is good enough.
    let proxy = Proxy::start_unready(&stage.cluster, &verified(&stage.cluster.other_ca)).await;
    until("why is said", || async { proxy.get("/readyz").await.contains("not ready") }).await;
    let error = RawClient::login(proxy.address, &Login::default()).await.err().expect("refused");
    assert_eq!(error.code, 1429, "{error}");
    let mut root = stage.cluster.root(0).await;
    root.query_drop("DO 0").await.unwrap();
}
