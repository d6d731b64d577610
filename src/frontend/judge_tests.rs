//! Against servers that are scripted, or do not answer at all.

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::testing::block_on;
use super::*;
use crate::backend::tls::BackendTls;
use crate::config::{Keepalive, Server, ServerTls, ServerTlsMode};
use crate::wire::auth::Plugin;
use crate::wire::handshake::Greeting;
use crate::wire::packet_io::PacketIo;

/// Length of a request for TLS.
const SSL_REQUEST: usize = 32;

async fn listen() -> (TcpListener, Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server { host: "127.0.0.1".into(), port, weight: 1, draining: false };
    (listener, Place { server: Arc::new(server), at: None })
}

/// Greets one client, refuses it, and gives its first packet.
fn refusing(listener: TcpListener, error: ErrPacket) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut io = PacketIo::new(tcp, 0);
        let greeting = Greeting {
            version: b"9.7.4".to_vec(),
            connection_id: 1,
            salt: vec![b'x'; 20],
            capabilities: Capabilities::all(),
            collation: 255,
            status: 2,
            plugin: Plugin::CachingSha2Password.name().into(),
        };
        io.write(&greeting.encode()).await.unwrap();
        let first = io.read().await.unwrap();
        io.write(&error.encode()).await.unwrap();
        first
    })
}

fn judge(servers: Vec<Place>, mode: ServerTlsMode) -> ServersJudge {
    // `verified` needs an authority, and differs from `required` in nothing that is tested here.
    let tls = BackendTls::prepare(&ServerTls { mode, ..ServerTls::default() }, false).unwrap();
    let dialing = Dialing { tls, compression: None, keepalive: Keepalive::default() };
    ServersJudge::new(Asked { servers, timeout: Duration::from_secs(60) }, dialing)
}

fn question(client: Transport, limit: Duration) -> Question<'static> {
    Question {
        user: b"app",
        password: b"secret",
        collation: 45,
        client,
        handles_expired: false,
        deadline: Instant::now() + limit,
    }
}

#[test]
fn a_client_without_tls_is_judged_without_it_unless_tls_is_a_must() {
    use ServerTlsMode::{Off, Preferred, Required};
    use Transport::{Local, Plain, Tls};
    let cases = [
        (Preferred, Tls, true),
        (Preferred, Plain, false),
        (Preferred, Local, false),
        (Off, Tls, false),
        (Off, Plain, false),
        (Required, Tls, true),
        (Required, Plain, true),
    ];
    block_on(async {
        for (mode, client, by_tls) in cases {
            let (listener, server) = listen().await;
            let first = refusing(listener, ErrPacket::new(1045, b"28000", "no"));
            let verdict = judge(vec![server], mode).judge(question(client, Duration::from_secs(20))).await;
            assert_eq!(first.await.unwrap().len() == SSL_REQUEST, by_tls, "{mode:?} {client:?}");
            // To a request for TLS an ERR packet is no answer.
            let refused = matches!(verdict, Err(JudgeError::Refused(ref words)) if words.code == 1045);
            assert_eq!(refused, !by_tls, "{mode:?} {client:?}: {verdict:?}");
        }
    });
}

#[test]
fn a_connection_over_tls_that_was_not_a_must_says_nothing_about_other_clients() {
    let reach = |mode, encrypted| judge(vec![], mode).reach(encrypted);
    assert_eq!(reach(ServerTlsMode::Preferred, true), Reach::TlsClients);
    assert_eq!(reach(ServerTlsMode::Preferred, false), Reach::AnyClient);
    assert_eq!(reach(ServerTlsMode::Off, false), Reach::AnyClient);
    assert_eq!(reach(ServerTlsMode::Required, true), Reach::AnyClient);
}

#[test]
fn servers_that_do_not_answer_leave_the_others_their_time() {
    block_on(async {
        let (first_silent, first) = listen().await;
        let (second_silent, second) = listen().await;
        let (listener, third) = listen().await;
        let answer = refusing(listener, ErrPacket::new(1045, b"28000", "no"));
        let judge = judge(vec![first, second, third], ServerTlsMode::Off);
        let verdict = judge.judge(question(Transport::Tls, Duration::from_secs(2))).await;
        assert!(matches!(verdict, Err(JudgeError::Refused(_))), "{verdict:?}");
        answer.await.unwrap();
        drop((first_silent, second_silent));
    });
}

#[test]
fn all_is_over_at_the_deadline() {
    block_on(async {
        let (first_silent, first) = listen().await;
        let (second_silent, second) = listen().await;
        let judge = judge(vec![first, second], ServerTlsMode::Off);
        let question = question(Transport::Tls, Duration::from_millis(200));
        // Each server alone would be given a minute.
        let asking = tokio::time::timeout(Duration::from_secs(20), judge.judge(question));
        assert!(matches!(asking.await, Ok(Err(JudgeError::Unavailable))));
        drop((first_silent, second_silent));
    });
}

#[test]
fn a_full_server_has_not_judged_and_the_next_one_is_asked() {
    block_on(async {
        let (full, first) = listen().await;
        let (listener, second) = listen().await;
        let (full, answer) = (
            refusing(full, ErrPacket::new(1040, b"08004", "Too many connections")),
            refusing(listener, ErrPacket::new(1045, b"28000", "no")),
        );
        let judge = judge(vec![first, second], ServerTlsMode::Off);
        let verdict = judge.judge(question(Transport::Plain, Duration::from_secs(20))).await;
        assert!(matches!(verdict, Err(JudgeError::Refused(ref words)) if words.code == 1045), "{verdict:?}");
        full.await.unwrap();
        answer.await.unwrap();
    });
}
