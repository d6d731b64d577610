//! The compressed protocol, towards clients and towards servers.
//!
//! The raw client checks every packet's number, which a compressed server counts otherwise.

use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::err::ErrPacket;
use tidegate::wire::frame::put_packet;

use crate::harness::packets::Param;
use crate::harness::{Login, Outcome, RawClient, Rules, Scenario};
use crate::kill::{endless, until_running};

both_dialects! {
    all_passes_compressed_or_not_on_either_side,
    files_pass_compressed_or_not_on_either_side,
    a_compressed_client_is_killed_and_watched,
    a_compressed_client_becomes_another_user,
    what_is_not_allowed_is_not_offered,
    frames_that_lie_end_their_client_alone,
}

const ALGORITHMS: [Capabilities; 3] =
    [Capabilities::empty(), Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION];

/// Which algorithm the server says that this session's connection to it has.
async fn at_the_server(client: &mut RawClient, scenario: Scenario) -> String {
    let name = if scenario.is_mysql() { "Compression_algorithm" } else { "Compression" };
    let sql = format!("/* tidegate: primary */ SHOW SESSION STATUS LIKE '{name}'");
    client.select(sql).await.texts().remove(0).remove(1).unwrap()
}

async fn all_passes_compressed_or_not_on_either_side(scenario: Scenario) {
    for towards_servers in ["none", "zlib", "zstd"] {
        let rules = Rules { server_compression: towards_servers, ..Rules::default() };
        let stage = scenario.stage_with(rules).await;
        stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, data LONGBLOB)"]).await;
        for (id, flags) in ALGORITHMS.into_iter().enumerate() {
            for tls in [false, true] {
                let login = Login { tls, ..Login::with(flags | Capabilities::LOCAL_FILES) };
                let mut client = stage.raw_with(login).await;
                assert!(client.capabilities.contains(flags), "{flags:?} is offered");
                all_kinds(&mut client, id, tls).await;
                let expected = match (towards_servers, scenario.is_mysql()) {
                    ("none", true) => "",
                    (algorithm, true) => algorithm,
                    ("zlib", false) => "ON",
                    _ => "OFF", // MariaDB has no zstd
                };
                assert_eq!(at_the_server(&mut client, scenario).await, expected);
            }
        }
    }
}

/// Statements and replies of all shapes.
async fn all_kinds(client: &mut RawClient, id: usize, tls: bool) {
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    assert_eq!(client.error("SELECT * FROM nowhere").await.code, 1146);
    let sql = "SELECT 1; SELECT REPEAT('x', 100000); DO 0; SELECT id FROM which; SELECT 2";
    assert_eq!(client.query(sql).await.len(), 5);
    assert_eq!(client.query("SELECT 1; SELECT * FROM nowhere").await.len(), 2);
    let long = vec![b'l'; if tls { 100_000 } else { 17 << 20 }];
    client.ok("BEGIN").await;
    let insert = client.prepare("REPLACE INTO t VALUES (?, ?)").await.unwrap();
    assert_eq!(client.execute(insert, &[Param::Int(id as i64), Param::Text(&long)]).await.ok().warnings, 0);
    let rows = client.select(format!("SELECT data FROM t WHERE id = {id}")).await.bytes();
    assert!(rows[0][0].as_ref() == Some(&long));
    client.ok("ROLLBACK").await;
    let rows = client.select("SELECT table_name, column_name FROM information_schema.columns").await;
    assert!(rows.rows.len() > 500);
    // Many commands in one write: each is answered after the other.
    let mut commands = Vec::new();
    for _ in 0..3 {
        put_packet(&mut commands, 0, b"\x03SET @a = 1");
    }
    client.send_bytes(&commands).await;
    for _ in 0..3 {
        client.expect_answer();
        client.outcome().await.ok();
    }
    client.command(com::RESET_CONNECTION, &[]).await;
    client.outcome().await.ok();
}

async fn files_pass_compressed_or_not_on_either_side(scenario: Scenario) {
    for towards_servers in ["none", "zlib", "zstd"] {
        let rules = Rules { server_compression: towards_servers, ..Rules::default() };
        let stage = scenario.stage_with(rules).await;
        stage.given(&["CREATE TABLE t (id INT, name VARCHAR(2000))"]).await;
        for flags in ALGORITHMS {
            let mut client = stage.raw_with(Login::with(flags | Capabilities::LOCAL_FILES)).await;
            client.ok("BEGIN").await;
            // The file's packets have other numbers than the frames, and come round.
            let load = "LOAD DATA LOCAL INFILE 'rows.csv' INTO TABLE t FIELDS TERMINATED BY ','";
            client.send_query(format!("SELECT 1; {load}; SELECT COUNT(*) FROM t; {load}")).await;
            client.outcome().await.rows();
            assert!(matches!(client.outcome().await, Outcome::File(_)));
            for id in 0..700 {
                client.send_numbered(format!("{id},{}\n", "x".repeat(id)).as_bytes()).await;
            }
            client.send_numbered(b"").await;
            assert_eq!(client.outcome().await.ok().affected_rows, 700);
            assert_eq!(client.outcome().await.rows().value().unwrap(), "700");
            assert!(matches!(client.outcome().await, Outcome::File(_)));
            client.send_numbered(b"").await;
            client.outcome().await.ok();
            client.ok("ROLLBACK").await;
        }
    }
}

async fn a_compressed_client_is_killed_and_watched(scenario: Scenario) {
    let rules = Rules { server_compression: "zlib", ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mark = format!("{}-mark", scenario.name);
    let endless = format!("/* tidegate: primary */ {}", endless(&mark));
    for flags in [Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION] {
        for tls in [false, true] {
            let login = Login { tls, ..Login::with(flags) };
            let (mut killer, mut client) = (stage.raw().await, stage.raw_with(login.clone()).await);
            let id = client.greeting.connection_id;
            client.send_query(&endless).await;
            until_running(&stage, &mark, 1).await;
            killer.ok(format!("KILL QUERY {id}")).await;
            client.outcome().await;
            assert_eq!(client.value("SELECT 7").await.unwrap(), "7");

            client.send_query(&endless).await;
            until_running(&stage, &mark, 1).await;
            killer.ok(format!("KILL {id}")).await;
            client.end().await;
            until_running(&stage, &mark, 0).await;

            let mut client = stage.raw_with(login).await;
            client.send_query(&endless).await;
            until_running(&stage, &mark, 1).await;
            drop(client);
            until_running(&stage, &mark, 0).await;
        }
    }
}

async fn a_compressed_client_becomes_another_user(scenario: Scenario) {
    let stage = scenario.stage().await;
    for flags in [Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION] {
        let mut client = stage.raw_with(Login::with(flags)).await;
        for (user, password) in [("admin", "admin-pw"), ("app", "app-pw")] {
            let plugin = "caching_sha2_password";
            let packet = [user.as_bytes(), b"\0\0test\0\x2d\0", plugin.as_bytes(), b"\0"].concat();
            client.command(com::CHANGE_USER, &packet).await;
            client.prove(&Login::account(user, password), [1; 20]).await.expect("the account may");
            let found = client.value("SELECT CURRENT_USER()").await.unwrap();
            assert!(found.starts_with(&format!("{user}@")), "{found}");
        }
    }
}

async fn what_is_not_allowed_is_not_offered(scenario: Scenario) {
    let both = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    for (compression, offered) in
        [("none", Capabilities::empty()), ("zstd", Capabilities::ZSTD_COMPRESSION), ("[zlib, zstd]", both)]
    {
        let stage = scenario.stage_with(Rules { compression, ..Rules::default() }).await;
        let mut client = stage.raw_with(Login::with(both)).await;
        assert_eq!(client.greeting.capabilities & both, offered);
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
}

async fn frames_that_lie_end_their_client_alone(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut other = stage.raw_with(Login::with(Capabilities::COMPRESS)).await;
    // Lengths, number, length before compression, bytes.
    let frames: [&[u8]; 5] = [
        &[5, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, com::PING],
        &[0, 0, 0, 0, 0, 0, 0],
        &[4, 0, 0, 0, 0xff, 0xff, 0xff, 1, 2, 3, 4],
        &[9, 0, 0, 0, 0xff, 0xff, 0xff, 0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00],
        b"GET / HTTP/1.1\r\n",
    ];
    for flags in [Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION] {
        for frame in frames {
            let mut client = stage.raw_with(Login::with(flags)).await.speak_in_frames();
            client.send_bytes(frame).await;
            let mut answer = client.read_to_end().await;
            let error = ErrPacket::decode(&answer.split_off(7 + 4)).expect("an error");
            assert_eq!(error.code, 1156, "{frame:02x?}: {error}");
            assert_eq!(other.value("SELECT 7").await.unwrap(), "7");
        }
    }
}
