//! The ways in: PROXY headers, Unix sockets, IPv6, several addresses at once, keepalive.

use std::path::{Path, PathBuf};

use mysql_async::prelude::Queryable;
use tidegate::wire::err::ErrPacket;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Login, Proxy, RawClient, Rules, Scenario};

both_dialects! {
    a_balancer_says_who_connects,
    a_balancer_that_is_not_trusted_is_refused,
    a_header_that_does_not_come_is_not_waited_for_longer_than_a_login,
    a_unix_socket_is_a_private_way_in,
    a_unix_socket_s_client_that_vanishes_is_noticed,
    several_addresses_serve_at_once,
    what_a_killed_proxy_leaves_is_replaced,
}

/// A place for a socket, removed with its owner.
struct Place(PathBuf);

impl Place {
    fn new(scenario: Scenario) -> Self {
        let name = format!("tg-{}-{}-{:?}", std::process::id(), &scenario.name[..20], scenario.dialect);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("t.sock")
    }

    fn rules(&self) -> Rules {
        Rules { listen: vec![format!("unix:{}", self.socket().display())], ..Rules::default() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn trusting(networks: &str) -> Rules {
    Rules {
        auth: "auth: users\nusers: [{name: app, password: app-pw}]".into(), // the errors are Tidegate's own
        top: format!("proxy_protocol: {{networks: {networks}}}"),
        ..Rules::default()
    }
}

fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// A client that comes by a balancer which sends `header` before it relays anything, or only after the greeting.
async fn by_balancer(
    proxy: &Proxy,
    header: &[u8],
    late: bool,
    login: &Login,
) -> Result<RawClient, ErrPacket> {
    let mut tcp = TcpStream::connect(proxy.address).await.expect("somebody listens");
    tcp.set_nodelay(true).expect("TCP");
    if late {
        let mut client = RawClient::greet_on(tcp.into()).await?;
        client.send_bytes(header).await;
        return client.enter(login).await;
    }
    tcp.write_all(header).await.expect("taken");
    RawClient::greet_on(tcp.into()).await?.enter(login).await
}

/// The error that answers a header.
async fn refusal(proxy: &Proxy, header: &[u8]) -> ErrPacket {
    let mut client = RawClient::greet(proxy.address).await.expect("greeted");
    client.send_bytes(header).await;
    ErrPacket::decode(&client.read().await).expect("an error")
}

async fn a_balancer_says_who_connects(scenario: Scenario) {
    let stage = scenario.stage_with(trusting("[10.0.0.0/8, 127.0.0.0/8]")).await;
    let v4 = [192, 0, 2, 8, 10, 0, 0, 1, 0x10, 0xe1, 0x0c, 0xea];
    let with_tlv = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    v6[15] = 9;
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![], "127.0.0.1"),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4321 3306\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, &with_tlv), "192.0.2.8"),
        (version_2(0x21, 0x21, &v6), "2001:db8::9"),
        (version_2(0x21, 0x31, &[0; 216]), "localhost"),
        (version_2(0x20, 0, &[]), "127.0.0.1"),
    ];
    for (header, host) in cases {
        for (late, tls) in [(false, false), (true, true)] {
            let login = Login { tls, ..Login::default() };
            let mut client = by_balancer(&stage.proxy, &header, late, &login).await.expect("let in");
            assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
            // Where it is stands in what it reads, when it changes its user as well.
            let denied = format!("Access denied for user 'nobody'@'{host}' (using password: YES)");
            let nobody = Login { tls, ..Login::account("nobody", "x") };
            client.command(0x11, b"nobody\0\0\0\x2d\0caching_sha2_password\0").await;
            let error = client.prove(&nobody, [0; 20]).await.expect_err("refused");
            assert_eq!(String::from_utf8_lossy(&error.message), denied);
            let error = by_balancer(&stage.proxy, &header, late, &nobody).await.err().expect("refused");
            assert_eq!(String::from_utf8_lossy(&error.message), denied);
        }
    }
    for logged in ["peer=192.0.2.7:4321", "peer=[2001:db8::7]:4321", "peer=localhost"] {
        stage.proxy.until_logged(logged).await;
    }
    for malformed in [
        &b"PROXY TCP4 192.0.2.7\r\n"[..],
        &version_2(0x21, 0x12, &v4),
        &version_2(0x11, 0x11, &v4),
        &version_2(0x21, 0x11, &v4[..8]),
        &[b"PROXY ", &[b'x'; 200][..]].concat(),
    ] {
        let error = refusal(&stage.proxy, malformed).await;
        assert_eq!(
            (error.code, &*error.message),
            (1105, &b"Failed to parse proxy header"[..]),
            "{malformed:?}"
        );
    }
}

async fn a_balancer_that_is_not_trusted_is_refused(scenario: Scenario) {
    for networks in ["[10.0.0.0/8, localhost]", "[]"] {
        let stage = scenario.stage_with(trusting(networks)).await;
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306\r\n";
        let error = refusal(&stage.proxy, header).await;
        assert_eq!(
            (error.code, &*error.message),
            (1130, &b"Proxy header is not accepted from 127.0.0.1"[..])
        );
        let mut client = RawClient::login(stage.proxy.address, &Login::default()).await.expect("without one");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
}

async fn a_header_that_does_not_come_is_not_waited_for_longer_than_a_login(scenario: Scenario) {
    let rules = Rules { limits: "{login_timeout: 500ms}".into(), ..trusting("[127.0.0.1]") };
    let stage = scenario.stage_with(rules).await;
    for part in [&b"PROXY TCP4 192.0"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"] {
        let mut client = RawClient::greet(stage.proxy.address).await.expect("greeted");
        client.send_bytes(part).await;
        client.closed().await;
    }
    stage
        .proxy
        .until_metric("tidegate_logins_failed_total", &["kind=\"timed_out\""], |count| count == 2)
        .await;
}

async fn a_unix_socket_is_a_private_way_in(scenario: Scenario) {
    let place = Place::new(scenario);
    let rules = Rules { client_tls: "{require: true}".into(), ..place.rules() };
    let stage = scenario.stage_with(rules).await;
    let enter = async |login: Login| RawClient::login_by_socket(&place.socket(), &login).await;
    let mut client = enter(Login::default()).await.expect("secure enough for `tls.require`");
    assert!(client.gave_password, "as it is: the client sends no request for a key");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    stage.proxy.until_logged("peer=localhost").await;
    let mut client = enter(Login { tls: true, ..Login::default() }).await.expect("TLS as well");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    // The socket is no TLS for an account that requires it, as on a server.
    let error = enter(Login::account("u_tls", "tls-pw")).await.err().expect("refused");
    assert_eq!(error.code, 1045, "{error}");
    let error = RawClient::login(stage.proxy.address, &Login::default()).await.err().expect("refused");
    assert_eq!(error.code, 3159, "TCP is not private: {error}");
    drop(stage);
    assert!(!place.socket().exists(), "removed at the end");
    assert_eq!(std::fs::read_dir(&place.0).expect("a folder").count(), 0, "and so is its lock");
}

async fn a_unix_socket_s_client_that_vanishes_is_noticed(scenario: Scenario) {
    let place = Place::new(scenario);
    let stage = scenario.stage_with(place.rules()).await;
    let mut client = RawClient::login_by_socket(&place.socket(), &Login::default()).await.expect("let in");
    let lock = format!("{}-{}", stage.schema, stage.proxy.pid);
    assert_eq!(client.value(format!("SELECT GET_LOCK('{lock}', 0)")).await.unwrap(), "1");
    client.command(3, b"SELECT SLEEP(3600)").await;
    drop(client);
    // Its lock comes free when its statement has been ended, and not before.
    let mut root = stage.cluster.root(0).await;
    let got: Option<u8> =
        root.query_first(format!("SELECT GET_LOCK('{lock}', 20)")).await.expect("an answer");
    assert_eq!(got, Some(1), "its statement goes on");
}

async fn several_addresses_serve_at_once(scenario: Scenario) {
    let place = Place::new(scenario);
    let mut rules = place.rules();
    rules.listen.push("[::1]:0".into());
    rules.top = "keepalive: {time: 77s, interval: 7s, probes: 3}".into();
    let stage = scenario.stage_with(rules).await;
    stage.proxy.until_logged("[::1]").await; // the first address's line may come before
    let six = stage.proxy.addresses().into_iter().find(|address| address.is_ipv6()).expect("said");
    let mut clients = vec![
        RawClient::login(stage.proxy.address, &Login::default()).await.expect("IPv4"),
        RawClient::login(six, &Login::default()).await.expect("IPv6"),
        RawClient::login_by_socket(&place.socket(), &Login::default()).await.expect("Unix"),
    ];
    for client in &mut clients {
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
    stage.proxy.until_logged("peer=[::1]:").await;
    let error = RawClient::login(six, &Login::account("app", "wrong")).await.err().expect("refused");
    assert_eq!(error.code, 1045);
}

async fn what_a_killed_proxy_leaves_is_replaced(scenario: Scenario) {
    let place = Place::new(scenario);
    let mut stage = scenario.stage_with(place.rules()).await;
    stage.proxy.crash();
    assert!(place.socket().exists(), "nobody was there to remove it");
    stage.proxy = Proxy::start(&stage.cluster, &place.rules()).await;
    enter_and_ask(&place.socket()).await;
}

async fn enter_and_ask(path: &Path) {
    let mut client = RawClient::login_by_socket(path, &Login::default()).await.expect("let in");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
}
