//! Clients that do wrong, and too many of them: each is told or sent away, and nothing is lost or left over.

use tidegate::wire::command as com;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Login, RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    bytes_of_other_protocols_are_sent_away,
    statements_past_the_bound_are_refused,
    packets_out_of_order_are_refused,
    wrong_passwords_are_refused,
    a_silent_client_is_sent_away,
    clients_past_the_limit_get_1040,
    the_queue_for_connections_is_bounded,
    thousands_of_idle_clients_leave_nothing_behind,
}

/// Sends bytes in place of a login; gives what came back up to the end.
async fn spoil(stage: &Stage, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(stage.proxy.address).await.expect("it listens");
    let _ = tcp.write_all(bytes).await;
    let _ = tcp.shutdown().await;
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = within("the end of the connection", tcp.read_to_end(&mut answer)).await;
    answer
}

/// Tidegate serves, with as many descriptors as before.
async fn serves_as_before(stage: &Stage, client: &mut RawClient, descriptors: usize) {
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    until("descriptors are as before", || async { stage.proxy.client_descriptors().await <= descriptors })
        .await;
}

async fn bytes_of_other_protocols_are_sent_away(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    client.value("SELECT 7").await.unwrap();
    let descriptors = stage.proxy.client_descriptors().await;
    let zeros = vec![0; 10_000];
    let ones = vec![0xff; 10_000];
    let cases: &[&[u8]] = &[
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH\r\n",
        &zeros,
        &ones,
        b"\x20\0\0\x01",
        b"\x20\0\0\x01\0\x02\0\0",
        b"\xff\xff\xff\x01",
        b"\x01\0\0\x01\x0e",
        b"\x04\0\0\x07\0\0\0\0",
        b"\x02\0\0\x01\xff\xff",
    ];
    for bytes in cases {
        for _ in 0..5 {
            let answer = spoil(&stage, bytes).await;
            assert!(answer.get(4) == Some(&10), "the greeting comes first: {answer:02x?}");
        }
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
    // A command that ends in the middle.
    let mut truncated = stage.raw().await;
    truncated.send_bytes(b"\x64\0\0\0\x03SELECT").await;
    drop(truncated);
    serves_as_before(&stage, &mut client, descriptors).await;
    stage.proxy.until_metric("tidegate_logins_failed_total", &[], |failed| failed >= 40).await;
}

async fn statements_past_the_bound_are_refused(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { limits: "{packet: 64KiB}".into(), ..Rules::default() }).await;
    let mut other = stage.raw().await;
    for length in [(64 << 10) + 1, 1 << 20, 20 << 20] {
        let mut client = stage.raw().await;
        let sql = [&b"SELECT '"[..], &vec![b'x'; length], b"'"].concat();
        let mut bytes = Vec::new();
        tidegate::wire::frame::put_packet(&mut bytes, 0, &[&[com::QUERY], &sql[..]].concat());
        // It need not take all of it.
        client.try_send(&bytes).await;
        let error = client.outcome().await.err();
        assert_eq!((error.code, &error.sqlstate), (1153, b"08S01"), "{error}");
        client.end().await;
    }
    assert_eq!(other.value(format!("SELECT LENGTH('{}')", "x".repeat(60_000))).await.unwrap(), "60000");
}

async fn packets_out_of_order_are_refused(scenario: Scenario) {
    let stage = scenario.stage().await;
    for number in [1, 5, 255] {
        let mut client = stage.raw().await;
        client.send_bytes(&[&[9, 0, 0, number, com::QUERY][..], b"SELECT 1"].concat()).await;
        client.expect_any_number();
        let packet = client.read().await;
        let error = tidegate::wire::err::ErrPacket::decode(&packet).expect("an error");
        assert_eq!((error.code, &error.sqlstate), (1156, b"08S01"), "{error}");
        client.closed().await;
    }
}

async fn wrong_passwords_are_refused(scenario: Scenario) {
    let stage = scenario.stage().await;
    let cases =
        [("app", "wrong"), ("app", ""), ("nobody", "x"), ("", ""), ("app\u{fc}", "app-pw"), ("u_empty", "x")];
    for _ in 0..2 {
        for (user, password) in cases {
            for tls in [false, true] {
                let login = Login { tls, ..Login::account(user, password) };
                let error = RawClient::login(stage.proxy.address, &login).await.err().expect("refused");
                assert_eq!((error.code, &error.sqlstate), (1045, b"28000"), "{user:?} {password:?} {error}");
            }
        }
        // The second time the right password of `app` is remembered.
        assert_eq!(stage.raw().await.value("SELECT 7").await.unwrap(), "7");
    }
}

async fn a_silent_client_is_sent_away(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { limits: "{login_timeout: 2s}".into(), ..Rules::default() }).await;
    let mut silent = Vec::new();
    for said in [&b""[..], b"\x20\0\0\x01\0\x02"] {
        let mut client = RawClient::greet(stage.proxy.address).await.unwrap();
        client.send_bytes(said).await;
        silent.push(client);
    }
    for client in &mut silent {
        client.end().await; // an error may come before it
    }
    stage.proxy.until_metric("tidegate_logins_failed_total", &[], |failed| failed >= 2).await;
    assert_eq!(
        stage.raw().await.value("SELECT SLEEP(2.5)").await.unwrap(),
        "0",
        "the limit is for logins only"
    );
}

async fn clients_past_the_limit_get_1040(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { limits: "{clients: 2}".into(), ..Rules::default() }).await;
    let (first, mut second) = (stage.raw().await, stage.raw().await);
    for _ in 0..3 {
        let error = RawClient::greet(stage.proxy.address).await.err().expect("refused");
        assert_eq!(error.code, 1040, "{error}");
    }
    drop(first);
    until("a place is free", || async {
        RawClient::login(stage.proxy.address, &Login::default()).await.is_ok()
    })
    .await;
    assert_eq!(second.value("SELECT 7").await.unwrap(), "7");
    stage.proxy.until_metric("tidegate_clients_refused_total", &[], |refused| refused >= 3).await;
}

async fn the_queue_for_connections_is_bounded(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 1, queue: 1, queue_timeout: 20s}")).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(stage.raw().await);
    }
    let [holder, waiter, refused] = &mut clients[..] else { unreachable!() };
    holder.ok("BEGIN").await;
    waiter.send_query("/* tidegate: primary */ SELECT 7").await;
    stage.proxy.until_metric("tidegate_pool_waiting", &[], |waiting| waiting == 1).await;
    let error = refused.error("/* tidegate: primary */ SELECT 8").await;
    assert_eq!(error.code, 1040, "{error}");
    assert_eq!(refused.value("SELECT 9").await.unwrap(), "9", "replicas are free");
    holder.ok("COMMIT").await;
    assert_eq!(waiter.outcomes().await.pop().unwrap().rows().value().unwrap(), "7");
    assert_eq!(refused.value("/* tidegate: primary */ SELECT 8").await.unwrap(), "8");
}

async fn thousands_of_idle_clients_leave_nothing_behind(scenario: Scenario) {
    const CLIENTS: usize = 5000;
    const AT_A_TIME: usize = 50;
    let rules = Rules { limits: "{login_timeout: 2m}".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mut client = stage.raw().await;
    client.value("SELECT 7").await.unwrap();
    let descriptors = stage.proxy.client_descriptors().await;
    let address = stage.proxy.address;
    let arrive = |number: usize| async move {
        if number.is_multiple_of(4) {
            RawClient::greet(address).await.unwrap() // half a login
        } else {
            RawClient::login(address, &Login::default()).await.unwrap()
        }
    };
    let mut idle = Vec::new();
    for batch in 0..CLIENTS / AT_A_TIME {
        let arriving: Vec<_> =
            (0..AT_A_TIME).map(|number| tokio::spawn(arrive(batch * AT_A_TIME + number))).collect();
        for client in arriving {
            idle.push(client.await.unwrap());
        }
    }
    assert_eq!(idle[CLIENTS - 1].value("SELECT 7").await.unwrap(), "7");
    stage.proxy.until_metric("tidegate_clients", &[], |clients| clients == CLIENTS as u64 + 1).await;
    drop(idle);
    serves_as_before(&stage, &mut client, descriptors).await;
    until("all are forgotten", || async { stage.proxy.metric("tidegate_clients", &[]).await == 1 }).await;
}
