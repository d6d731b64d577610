//! Who is let in, and what a login costs: what only real servers can judge.

use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use tidegate::wire::auth::{Plugin, salt_from, scramble};
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::err::ErrPacket;

use crate::harness::{Login, RawClient, Rules, Scenario, Stage};

both_dialects! {
    accounts_that_require_tls_are_for_clients_on_tls,
    change_user_does_not_get_around_required_tls,
    encrypted_server_connections_satisfy_required_tls,
    a_fresh_account_needs_no_server,
    a_name_is_read_in_its_clients_charset,
    a_refused_backend_account_is_told_apart,
    accounts_with_a_second_factor_are_not_let_in,
    old_clients_change_user_by_the_greetings_challenge,
    change_user_ends_at_the_time_limit,
    a_silent_server_is_told_before_the_time_limit,
}

/// COM_CHANGE_USER.
const CHANGE_USER: u8 = 0x11;

fn u_tls(tls: bool) -> Login {
    Login { tls, ..Login::account("u_tls", "tls-pw") }
}

/// A client that names no database, so that nothing but its password has to be known.
async fn enter(stage: &Stage, login: &Login) -> Result<RawClient, ErrPacket> {
    RawClient::login(stage.proxy.address, login).await
}

async fn refusal(stage: &Stage, login: &Login) -> u16 {
    enter(stage, login).await.err().expect("the login is refused").code
}

fn users(backend_password: &str) -> Rules {
    let auth = format!(
        "auth: users\nusers:\n  - {{name: web, password: web-pw, backend: {{user: app, password: \"{backend_password}\"}}}}\n  \
         - {{name: job, password: job-pw, backend: {{user: app, password: \"{backend_password}\"}}}}"
    );
    Rules { auth, ..Rules::default() }
}

async fn accounts_that_require_tls_are_for_clients_on_tls(scenario: Scenario) {
    let stage = scenario.stage().await;
    assert_eq!(refusal(&stage, &u_tls(false)).await, 1045, "never seen");
    let mut first = enter(&stage, &u_tls(true)).await.expect("TLS is what the account asks for");
    assert_eq!(first.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)").await.as_deref(), Some("u_tls"));
    assert_eq!(refusal(&stage, &u_tls(false)).await, 1045, "known, and in use by the pool");
    let native = Login { plugin: Plugin::NativePassword, ..u_tls(false) };
    assert_eq!(refusal(&stage, &native).await, 1045, "by a scramble that only a known password can check");
    let second = enter(&stage, &u_tls(true)).await.expect("the others' refusals are not its business");
    assert!(!second.gave_password, "still known");
}

/// The bytes of `é` in UTF-8 are `Ã©` to a client of latin1, and so to its server.
async fn a_name_is_read_in_its_clients_charset(scenario: Scenario) {
    const LATIN1_SWEDISH_CI: u8 = 8;
    let stage = scenario.stage().await;
    let (sent, meant) = ("u_caf\u{e9}", "u_caf\u{c3}\u{a9}");
    stage
        .given(&[
            &format!("CREATE USER '{meant}'@'%' IDENTIFIED BY 'pw'"),
            &format!("GRANT SELECT ON *.* TO '{meant}'@'%'"),
        ])
        .await;
    let login = |collation| Login { collation, tls: true, ..Login::account(sent, "pw") };
    let utf8 = Login::default().collation;
    assert_eq!(refusal(&stage, &login(utf8)).await, 1045, "another name");
    let mut client = enter(&stage, &login(LATIN1_SWEDISH_CI)).await.expect("the name is read as latin1");
    assert_eq!(client.value("SELECT 7").await.as_deref(), Some("7"));
    stage.given(&[&format!("DROP USER '{meant}'@'%'")]).await;
}

async fn change_user_does_not_get_around_required_tls(scenario: Scenario) {
    let stage = scenario.stage().await;
    enter(&stage, &u_tls(true)).await.expect("TLS is what the account asks for");
    let mut client = enter(&stage, &Login::default()).await.expect("app may come without TLS");
    client.command(CHANGE_USER, b"u_tls\0\0\0\x2d\0caching_sha2_password\0").await;
    let refused = client.prove(&u_tls(false), [0; 20]).await.expect_err("no TLS, no u_tls");
    assert_eq!(refused.code, 1045);
    if scenario.is_mysql() {
        client.closed().await;
    } else {
        assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"), "it is who it was");
    }
}

async fn encrypted_server_connections_satisfy_required_tls(scenario: Scenario) {
    let rules = Rules { server_tls: "{mode: required}".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mut client = enter(&stage, &u_tls(false)).await.expect("the operator has decided");
    let (_, cipher) = client.select("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.texts().remove(0).pair();
    assert!(!cipher.is_empty(), "in the clear to the server");
}

async fn a_fresh_account_needs_no_server(scenario: Scenario) {
    let stage = scenario.own_stage(0, Rules::default()).await;
    let mut root = stage.cluster.root(0).await;
    let mut connections = async || -> u64 {
        let (_, count): (String, u64) =
            root.query_first("SHOW GLOBAL STATUS LIKE 'Connections'").await.unwrap().unwrap();
        count
    };
    let unknown = connections().await;
    let first = enter(&stage, &Login::default()).await.unwrap();
    let known = connections().await;
    assert!(first.gave_password && known > unknown, "a server has judged: {unknown}, {known}");
    for plugin in [Plugin::CachingSha2Password, Plugin::NativePassword].repeat(10) {
        let login = Login { plugin, tls: plugin == Plugin::NativePassword, ..Login::default() };
        assert!(!enter(&stage, &login).await.unwrap().gave_password);
    }
    assert_eq!(connections().await, known, "twenty logins of a known account");
}

async fn a_refused_backend_account_is_told_apart(scenario: Scenario) {
    let stage = scenario.stage_with(users("not-it")).await;
    let web = Login::account("web", "web-pw");
    let mut client = enter(&stage, &web).await.expect("the client's own password is right");
    let of_statement = client.error("SELECT 1").await;
    let of_login = enter(&stage, &Login { database: Some(stage.schema.clone()), ..web })
        .await
        .err()
        .expect("no database");
    for error in [of_statement, of_login] {
        let message = String::from_utf8_lossy(&error.message).into_owned();
        assert_eq!((error.code, &error.sqlstate), (1045, b"28000"), "{message}");
        assert!(message.contains("Tidegate") && message.contains("'web'"), "{message}");
        assert!(
            !message.contains("'app'") && !message.contains('@') && !message.contains("127.0.0.1"),
            "{message}"
        );
    }
    stage.proxy.until_logged("backend_user=app").await;
    assert_eq!(refusal(&stage, &Login::account("web", "wrong")).await, 1045);
}

/// COM_CHANGE_USER of a client that knows no plugins, right after its login; what comes back.
async fn old_change(
    address: SocketAddr,
    from: (&str, &str),
    to: (&str, &str),
) -> (RawClient, Result<(), u16>) {
    let capabilities =
        Login::OLD.difference(Capabilities::PLUGIN_AUTH | Capabilities::PLUGIN_AUTH_LENENC_DATA);
    let login = Login { capabilities, plugin: Plugin::NativePassword, ..Login::account(from.0, from.1) };
    let mut client = RawClient::login(address, &login).await.expect("old clients can log in");
    let salt = salt_from(&client.greeting.salt).unwrap();
    let answer = scramble(Plugin::NativePassword, &salt, to.1.as_bytes()).unwrap();
    let rest = [to.0.as_bytes(), &[0, 20], &answer, b"\0\x2d\0"].concat();
    client.command(CHANGE_USER, &rest).await;
    let packet = client.read().await;
    let changed = match packet[0] {
        0x00 => Ok(()),
        0xff => Err(ErrPacket::decode(&packet).expect("an ERR packet").code),
        _ => panic!("{packet:02x?}"),
    };
    (client, changed)
}

/// As MySQL has it: such a client cannot be challenged anew. (MariaDB 10.11 challenges it all the same, by a packet that
/// it does not know; MySQL 9 has no mysql_native_password, so neither can be asked for the same exchange.)
async fn old_clients_change_user_by_the_greetings_challenge(scenario: Scenario) {
    let listed = scenario.stage_with(users("app-pw")).await;
    let (mut client, changed) = old_change(listed.proxy.address, ("web", "web-pw"), ("job", "job-pw")).await;
    assert_eq!(changed, Ok(()));
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"));
    let (mut client, changed) = old_change(listed.proxy.address, ("web", "web-pw"), ("job", "wrong")).await;
    assert_eq!(changed, Err(1045));
    if scenario.is_mysql() {
        client.closed().await;
    } else {
        assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"), "it is who it was");
    }

    let judged = scenario.stage().await;
    enter(&judged, &Login::default()).await.expect("the password is obtained");
    let (mut client, changed) = old_change(judged.proxy.address, ("app", "app-pw"), ("app", "app-pw")).await;
    assert_eq!(changed, Ok(()));
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"));
    let (_, changed) = old_change(judged.proxy.address, ("app", "app-pw"), ("admin", "admin-pw")).await;
    assert_eq!(changed, Err(1251), "a password that is not known cannot be obtained from such a client");
}

async fn change_user_ends_at_the_time_limit(scenario: Scenario) {
    let rules = Rules { limits: "{login_timeout: 2s}".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mut client = enter(&stage, &Login::default()).await.unwrap();
    client.command(CHANGE_USER, b"app\0\0\0\x2d\0caching_sha2_password\0").await;
    assert_eq!(client.read().await[0], 0xfe, "it is challenged, and says nothing");
    client.closed().await;
}

async fn a_silent_server_is_told_before_the_time_limit(scenario: Scenario) {
    let rules = Rules { limits: "{login_timeout: 2s}".into(), ..Rules::default() };
    let mut stage = scenario.own_stage(0, rules).await;
    stage.cluster.tell("pause", 0);
    let code = refusal(&stage, &Login::default()).await;
    stage.cluster.tell("resume", 0);
    assert_eq!(code, 1429, "an error, and not the end of the connection");
}

/// The two columns of a row of SHOW STATUS.
trait Pair {
    fn pair(self) -> (String, String);
}

impl Pair for Vec<Option<String>> {
    fn pair(self) -> (String, String) {
        let mut columns = self.into_iter().flatten();
        (columns.next().expect("a name"), columns.next().expect("a value"))
    }
}

/// MariaDB has none. This one nobody can give; a password that is right does not make up for it.
async fn accounts_with_a_second_factor_are_not_let_in(scenario: Scenario) {
    if !scenario.is_mysql() {
        return;
    }
    let stage = scenario.own_stage(0, Rules::default()).await;
    let plugin = "INSTALL PLUGIN mysql_no_login SONAME 'mysql_no_login.so'";
    let account = "CREATE USER twice@'%' IDENTIFIED BY 'first' AND IDENTIFIED WITH mysql_no_login";
    stage.cluster.run(0, &[plugin, account]).await;
    let twice = Login::account("twice", "first");
    let directly =
        RawClient::login(stage.cluster.address(0), &twice).await.err().expect("so says the server");
    assert_eq!(refusal(&stage, &twice).await, directly.code);
    stage.cluster.run(0, &["ALTER USER twice@'%' DROP 2 FACTOR"]).await;
    assert!(enter(&stage, &twice).await.is_ok(), "the factor was what kept it out");
}
