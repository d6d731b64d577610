//! One operator's connection, from its login to its end: commands in, answers out.
//!
//! Invariant: every command is read with its length and number checked, answered once, and waited for within
//! [`Bounds::silence`](super::Bounds); what the console does not do is refused by name.

use std::sync::Arc;

use tokio::time::timeout;

use super::answer::Answer;
use super::encode::encode;
use super::{Console, Operator};
use crate::wire::capabilities::Capabilities;
use crate::wire::command as com;
use crate::wire::err::ErrPacket;
use crate::wire::frame::put_packet;
use crate::wire::ok::{Ok as OkPacket, Status, put_end};
use crate::wire::packet_io::{PacketError, PacketIo};
use crate::wire::stream::Stream;

/// What the status flags always say: nothing here is a transaction.
const STATUS: Status = Status::AUTOCOMMIT;

/// Whether the connection goes on.
enum Next {
    Send(Vec<u8>),
    Nothing,
    Close,
}

impl Console {
    /// Serves an operator whose password is proven. `sequence`: number of the packet that ends the login; `database`: what
    /// the client named.
    pub async fn serve(
        self: Arc<Self>,
        mut stream: Stream,
        mut operator: Operator,
        sequence: u8,
        database: Option<Vec<u8>>,
    ) {
        let name = database.as_deref().map(String::from_utf8_lossy).filter(|name| !name.is_empty());
        let refused = name.and_then(|name| operator.use_database(&name).err());
        let end = match &refused {
            Some(why) => error(sequence, &why.clone().into()),
            None => ok(sequence, operator.capabilities),
        };
        if stream.write_all(&end).await.is_err() || refused.is_some() {
            return;
        }
        // It ends by the client's leaving; there is nobody to tell of an error.
        while let Some(answer) = self.next(&mut stream, &mut operator).await {
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// The answer to the next command that has one; `None` at the end.
    async fn next(&self, stream: &mut Stream, operator: &mut Operator) -> Option<Vec<u8>> {
        loop {
            let read = timeout(self.bounds.silence, PacketIo::new(&mut *stream, 0).read()).await.ok()?;
            let last_words = match read {
                Ok(command) => match self.carry_out(&command, operator).await {
                    Next::Send(answer) => return Some(answer),
                    Next::Nothing => continue,
                    Next::Close => return None,
                },
                Err(PacketError::TooLong(_)) => {
                    ErrPacket::new(1153, b"08S01", "Got a packet bigger than the console takes")
                }
                Err(PacketError::OutOfOrder { .. }) => {
                    ErrPacket::new(1156, b"08S01", "Got packets out of order")
                }
                Err(PacketError::Closed | PacketError::Io(_)) => return None,
            };
            // The client may be gone already, or still be sending.
            drop(stream.write_all(&error(1, &last_words)).await);
            return None;
        }
    }

    async fn carry_out(&self, command: &[u8], operator: &mut Operator) -> Next {
        let flags = operator.capabilities;
        let refuse = |packet: ErrPacket| Next::Send(error(1, &packet));
        match command.split_first() {
            Some((&com::QUERY, text)) => Next::Send(self.query(text, operator).await),
            Some((&com::INIT_DB, name)) => match operator.use_database(&String::from_utf8_lossy(name)) {
                Ok(()) => Next::Send(ok(1, flags)),
                Err(why) => refuse(why.into()),
            },
            Some((&com::PING | &com::RESET_CONNECTION, _)) => Next::Send(ok(1, flags)),
            // No columns: clients ask for them to complete names.
            Some((&com::SET_OPTION | &com::FIELD_LIST, _)) => Next::Send(end(1, flags)),
            Some((&com::STATISTICS, _)) => Next::Send(packet(1, self.statistics().as_bytes())),
            Some((&com::PROCESS_KILL, &[a, b, c, d])) => {
                match self.kill(u32::from_le_bytes([a, b, c, d]).into(), false, operator).await {
                    Ok(_) => Next::Send(ok(1, flags)),
                    Err(packet) => refuse(packet),
                }
            }
            Some((&com::STMT_PREPARE, _)) => refuse(ErrPacket::new(
                1295,
                b"HY000",
                "The Tidegate console does not prepare statements; send them as text",
            )),
            Some((&com::STMT_CLOSE | &com::STMT_SEND_LONG_DATA, _)) => Next::Nothing,
            Some((&com::QUIT, _)) => Next::Close,
            _ => {
                refuse(ErrPacket::new(1047, b"08S01", "Unknown command: the Tidegate console takes queries"))
            }
        }
    }

    async fn query(&self, text: &[u8], operator: &mut Operator) -> Vec<u8> {
        let text = String::from_utf8_lossy(text);
        let answer = timeout(self.bounds.answer, self.answer(&text, operator)).await.unwrap_or_else(|_| {
            let why = "Query execution was interrupted, maximum statement execution time exceeded";
            Answer::Error(ErrPacket::new(3024, b"HY000", why))
        });
        match answer {
            Answer::Done => ok(1, operator.capabilities),
            Answer::Error(packet) => error(1, &packet),
            Answer::Table(table) => encode(&table, operator.capabilities, STATUS),
        }
    }

    /// COM_STATISTICS, which clients show for their status.
    fn statistics(&self) -> String {
        format!("Uptime: {}  Sessions: {}", super::views::uptime_s(self.started), self.registry.len())
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, sequence, payload);
    out
}

fn ok(sequence: u8, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    OkPacket { status: STATUS, ..OkPacket::default() }.put(&mut payload, 0, capabilities);
    packet(sequence, &payload)
}

fn end(sequence: u8, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    put_end(&mut payload, STATUS, 0, capabilities);
    packet(sequence, &payload)
}

fn error(sequence: u8, error: &ErrPacket) -> Vec<u8> {
    packet(sequence, &error.encode())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use arc_swap::ArcSwap;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::{Asking, Bounds, CoreView, Cores, Order, Steering};
    use super::*;
    use crate::config::{Change, Config};
    use crate::ids::ClientId;
    use crate::observe::{Metrics, Names};
    use crate::registry::{Handle, Registry};
    use crate::topology::Clusters;
    use crate::wire::socket::Socket;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(600);
    const NAMES: Names = Names {
        routes: &[],
        reasons: &[],
        errors: &[],
        pins: &[],
        replays: &[],
        refusals: &[],
        login_failures: &[],
    };

    /// Worker threads that hang.
    struct Hanging;

    impl Cores for Hanging {
        fn look(&self) -> Asking<'_, Vec<CoreView>> {
            Box::pin(std::future::pending())
        }

        fn kill_query(&self, _: Arc<Handle>) -> Asking<'_, Result<(), ErrPacket>> {
            Box::pin(std::future::pending())
        }
    }

    impl Steering for Hanging {
        fn switch_over(&self, _: String) -> Asking<'_, Result<(), String>> {
            Box::pin(std::future::pending())
        }

        fn reload(&self) -> Asking<'_, Result<Vec<Change>, String>> {
            Box::pin(std::future::pending())
        }

        fn order(&self, _: Order) -> Asking<'_, Result<Vec<Change>, String>> {
            Box::pin(std::future::pending())
        }
    }

    /// An operator's end of a connection that is served, behind the login's OK.
    async fn served(bounds: Bounds) -> Stream {
        let config = Config::for_servers(&["127.0.0.1:1".to_owned()]).unwrap();
        let console = Console {
            clusters: Arc::new(Clusters::start(&config)),
            config: Arc::new(ArcSwap::from_pointee(config)),
            steering: Arc::new(Hanging),
            metrics: Metrics::new(NAMES, [], 1),
            registry: Arc::new(Registry::default()),
            cores: Arc::new(Hanging),
            started: SystemTime::now(),
            bounds,
        };
        let capabilities = Capabilities::PROTOCOL_41;
        let operator = Operator { id: ClientId(1), user: b"operator".to_vec(), capabilities, database: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(Arc::new(console).serve(Socket::from(stream).into(), operator, 2, None));
        let mut client: Stream = Socket::from(client).into();
        assert_eq!(read(&mut client, 2).await.unwrap()[0], 0x00);
        client
    }

    async fn read(client: &mut Stream, sequence: u8) -> Result<Vec<u8>, PacketError> {
        let read = timeout(LONG, PacketIo::new(client, sequence).read()).await;
        read.expect("an answer, or the end")
    }

    async fn ask(client: &mut Stream, sql: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_packet(&mut out, 0, &[&[com::QUERY][..], sql.as_bytes()].concat());
        client.write_all(&out).await.unwrap();
        read(client, 1).await.unwrap()
    }

    #[tokio::test]
    async fn who_says_nothing_is_sent_away() {
        let mut client = served(Bounds { silence: SHORT, answer: LONG }).await;
        assert!(matches!(read(&mut client, 1).await, Err(PacketError::Closed)));
    }

    #[tokio::test]
    async fn a_statement_that_takes_too_long_is_given_up_and_the_next_is_answered() {
        let mut client = served(Bounds { silence: LONG, answer: SHORT }).await;
        let refused = ask(&mut client, "SHOW POOLS").await;
        assert_eq!((refused[0], &refused[1..3]), (0xff, &3024u16.to_le_bytes()[..]));
        assert_eq!(ask(&mut client, "SET NAMES utf8mb4").await[0], 0x00);
    }

    #[test]
    fn the_bounds_are_those_of_the_document() {
        let Bounds { silence, answer } = Bounds::default();
        assert_eq!((silence.as_secs(), answer.as_secs()), (3600, 10));
    }
}
