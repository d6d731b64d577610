//! Accounts whose password has expired.

use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::err::ErrPacket;

use crate::harness::{Login, RawClient, Scenario, Stage};

both_dialects! {
    who_can_handle_it_sets_a_password_and_goes_on,
    who_cannot_is_treated_as_by_its_server,
    a_client_can_become_an_expired_user,
    a_password_that_expires_while_it_is_remembered_is_noticed,
}

const CAN_HANDLE: Capabilities = Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS;
const CHANGE_USER: u8 = 0x11;
const RESET_CONNECTION: u8 = 0x1f;

/// Makes an account of the scenario's own, and gives its name.
async fn account(stage: &Stage, scenario: Scenario, expired: bool) -> String {
    let user = format!("expired_{}", &scenario.name[..12]);
    stage
        .given(&[
            &format!("DROP USER IF EXISTS {user}"),
            &format!("CREATE USER {user} IDENTIFIED BY 'old'"),
            &format!("GRANT ALL ON {}.* TO {user}", stage.schema),
        ])
        .await;
    if expired {
        expire(stage, &user).await;
    }
    user
}

async fn expire(stage: &Stage, user: &str) {
    stage.given(&[&format!("ALTER USER {user} PASSWORD EXPIRE")]).await;
}

fn login(user: &str, password: &str, flags: Capabilities) -> Login {
    let login = Login::account(user, password);
    Login { capabilities: login.capabilities | flags, ..login }
}

async fn enter(stage: &Stage, login: &Login) -> Result<RawClient, ErrPacket> {
    RawClient::login(stage.proxy.address, &Login { database: Some(stage.schema.clone()), ..login.clone() })
        .await
}

async fn until_pinned(stage: &Stage, sessions: u64) {
    let label = "reason=\"expired password\"";
    stage.proxy.until_metric("tidegate_pinned_sessions", &[label], |pinned| pinned == sessions).await;
}

fn set_password(scenario: Scenario) -> &'static str {
    if scenario.is_mysql() { "SET PASSWORD = 'new'" } else { "SET PASSWORD = PASSWORD('new')" }
}

async fn who_can_handle_it_sets_a_password_and_goes_on(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = account(&stage, scenario, true).await;
    let mut client = enter(&stage, &login(&user, "old", CAN_HANDLE)).await.expect("let in");
    for refused in ["SELECT 7", "BEGIN", "SHOW DATABASES", "DROP TABLE missing"] {
        assert_eq!(client.error(refused).await.code, 1820, "{refused}");
    }
    client.command(RESET_CONNECTION, b"").await;
    assert_eq!(ErrPacket::decode(&client.read().await).expect("refused").code, 1820);
    let mut second = enter(&stage, &login(&user, "old", CAN_HANDLE)).await.expect("as often as it likes");
    assert_eq!(second.error("SELECT 7").await.code, 1820);
    client.ok(set_password(scenario)).await;
    // The same connection serves everything now, for as long as it lives.
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), stage.schema);
    client.ok("CREATE TABLE t (id INT PRIMARY KEY)").await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    client.ok("ROLLBACK").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "0");
    client.command(RESET_CONNECTION, b"").await;
    assert_eq!(client.read().await[0], 0);
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    until_pinned(&stage, 2).await; // both are shown
    // Everybody else needs the new one, and is an ordinary session with it.
    assert_eq!(enter(&stage, &login(&user, "old", CAN_HANDLE)).await.err().expect("refused").code, 1045);
    let mut ordinary = enter(&stage, &login(&user, "new", Capabilities::empty())).await.expect("let in");
    assert_eq!(ordinary.value("SELECT 7").await.unwrap(), "7");
    drop((client, second));
    until_pinned(&stage, 0).await;
    stage.given(&[&format!("DROP USER {user}")]).await;
}

async fn who_cannot_is_treated_as_by_its_server(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = account(&stage, scenario, true).await;
    let outcome = enter(&stage, &login(&user, "old", Capabilities::empty())).await;
    if scenario.is_mysql() {
        assert_eq!(outcome.err().expect("disconnect_on_expired_password is on").code, 1862);
    } else {
        let mut client = outcome.expect("disconnect_on_expired_password is off");
        assert_eq!(client.error("SELECT 7").await.code, 1820);
        client.ok(set_password(scenario)).await;
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
    let wrong = login(&user, "wrong", CAN_HANDLE);
    assert_eq!(enter(&stage, &wrong).await.err().expect("refused").code, 1045);
    stage.given(&[&format!("DROP USER {user}")]).await;
}

async fn a_client_can_become_an_expired_user(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = account(&stage, scenario, true).await;
    let mut client = stage.raw_with(Login::with(CAN_HANDLE)).await;
    client.value("SELECT 7").await.unwrap();
    client.command(CHANGE_USER, format!("{user}\0\0\0\x2d\0caching_sha2_password\0").as_bytes()).await;
    client.prove(&login(&user, "old", CAN_HANDLE), [0; 20]).await.expect("let in");
    assert_eq!(client.error("SELECT 7").await.code, 1820);
    client.ok(set_password(scenario)).await;
    assert_eq!(client.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)").await.unwrap(), user);
    // And back: another login, another connection.
    client.command(CHANGE_USER, b"app\0\0\0\x2d\0caching_sha2_password\0").await;
    client.prove(&Login::default(), [0; 20]).await.expect("let in");
    assert_eq!(client.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)").await.unwrap(), "app");
    until_pinned(&stage, 0).await;
    stage.given(&[&format!("DROP USER {user}")]).await;
}

async fn a_password_that_expires_while_it_is_remembered_is_noticed(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = account(&stage, scenario, false).await;
    let address = stage.proxy.address;
    let mut client = RawClient::login(address, &login(&user, "old", CAN_HANDLE)).await.expect("let in");
    expire(&stage, &user).await;
    // A server refuses the first connection that the pool opens for it; then nobody is let in by what is remembered.
    let refused = client.error("SELECT 7").await;
    let expected = if scenario.is_mysql() { 1862 } else { 1820 };
    assert_eq!(refused.code, expected, "{refused}");
    let mut again = enter(&stage, &login(&user, "old", CAN_HANDLE)).await.expect("let in");
    again.ok(set_password(scenario)).await;
    assert_eq!(again.value("SELECT 7").await.unwrap(), "7");
    stage.given(&[&format!("DROP USER {user}")]).await;
}
