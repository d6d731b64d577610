//! A server, or who poses as one, that asks for a file of a client which sends none.

use tidegate::wire::capabilities::Capabilities;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Cluster, Login, Proxy, RawClient, Rules, Scenario};

both_dialects! {
    an_uninvited_request_for_a_file_is_not_passed_on,
}

/// What a statement says for which the server in the middle asks for a file instead of running it.
const MARK: &[u8] = b"uninvited";
/// The request, as the answer to a command.
const REQUEST: &[u8] = b"\x0c\0\0\x01\xfb/etc/passwd";

/// Passes bytes on both ways until the mark comes.
async fn stand_between(mut client: TcpStream, port: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read? {
                0 => return Ok(()),
                length if up[..length].windows(MARK.len()).any(|part| part == MARK) => break,
                length => server.write_all(&up[..length]).await?,
            },
            read = server.read(&mut down) => match read? {
                0 => return Ok(()),
                length => client.write_all(&down[..length]).await?,
            },
        }
    }
    client.write_all(REQUEST).await?;
    while client.read(&mut up).await? > 0 {}
    Ok(())
}

async fn an_uninvited_request_for_a_file_is_not_passed_on(scenario: Scenario) {
    let mut cluster = Cluster::shared(scenario.dialect);
    cluster.servers.truncate(1);
    let real = cluster.servers[0].port;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.servers[0].port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(stand_between(client, real));
        }
    });
    let rules = Rules { server_tls: "{mode: off}".into(), ..Rules::default() };
    let proxy = Proxy::start(&cluster, &rules).await;
    let login = |capabilities| Login { capabilities, database: Some("test".into()), ..Login::default() };
    for capabilities in [Login::OLD, Login::default().capabilities] {
        let mut client = RawClient::login(proxy.address, &login(capabilities)).await.unwrap();
        client.ok("DO 0").await; // its state is on the connection now
        let expected = if scenario.is_mysql() { 3948 } else { 4166 };
        assert_eq!(client.error("SELECT 'uninvited'").await.code, expected);
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "on another connection");
        client.ok("BEGIN").await;
        assert_eq!(client.error("SELECT 'uninvited'").await.code, expected, "the transaction is lost");
    }
    let sends = Login::with(Capabilities::LOCAL_FILES);
    let mut client = RawClient::login(proxy.address, &login(sends.capabilities)).await.unwrap();
    client.ok("DO 0").await;
    client.send_query("SELECT 'uninvited'").await;
    assert_eq!(client.read().await, REQUEST[4..], "a client that sends files decides itself");
}
