//! A front door on loopback for tests: a judge that knows one password per user and counts questions, and a
//! scripted client.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::{TcpListener, TcpStream};

use super::accounts::{Accounts, FRESH};
use super::context::{LoginContext, ServerFacts};
use super::judge::{Judge, JudgeError, Question, Reach, Transport, Verdict};
use super::login::{LoginError, login};
use super::rsa::LoginKey;
use super::tls::FrontendTls;
use crate::backend::tls::{BackendTls, encrypt};
use crate::config::{Auth, ClientTls, ProxyProtocol, ServerTls, ServerTlsMode};
use crate::ids::ClientId;
use crate::session::Admitted;
use crate::wire::auth::{Plugin, Salt, mask, salt_from, scramble};
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::handshake::{Greeting, Response, ssl_request};
use crate::wire::packet_io::PacketIo;
use crate::wire::socket::Peer;
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub const FLAGS: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC_DATA)
    .union(Capabilities::CONNECT_ATTRS);

/// Servers with these passwords; none at all while `down`.
#[derive(Default)]
pub struct FakeServers {
    pub passwords: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    pub asked: Mutex<u32>,
    pub down: Mutex<bool>,
    /// Users whom the servers let in by TLS only.
    pub tls_only: Mutex<HashSet<Vec<u8>>>,
    /// No answer before the deadline.
    pub silent: Mutex<bool>,
}

impl FakeServers {
    pub fn set(&self, user: &str, password: &str) {
        self.passwords.lock().unwrap().insert(user.into(), password.into());
    }

    pub fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

impl Judge for FakeServers {
    fn judge<'a>(&'a self, question: Question<'a>) -> Verdict<'a> {
        let Question { user, password, client, deadline, .. } = question;
        *self.asked.lock().unwrap() += 1;
        let known = self.passwords.lock().unwrap().get(user).is_some_and(|known| known == password);
        let right = known && (client == Transport::Tls || !self.tls_only.lock().unwrap().contains(user));
        let (down, silent) = (*self.down.lock().unwrap(), *self.silent.lock().unwrap());
        Box::pin(async move {
            if silent {
                tokio::time::sleep_until(deadline).await;
                return Err(JudgeError::Unavailable);
            }
            match (down, right) {
                (true, _) => Err(JudgeError::Unavailable),
                (false, true) => Ok(self.reach(client == Transport::Tls)),
                (false, false) => Err(JudgeError::Refused(ErrPacket::new(1045, b"28000", "said the server"))),
            }
        })
    }

    fn reach(&self, encrypted: bool) -> Reach {
        if encrypted { Reach::TlsClients } else { Reach::AnyClient }
    }
}

/// A proxy's front door on a free port of loopback.
pub struct Door {
    pub servers: Arc<FakeServers>,
    pub context: LoginContext,
    pub listener: TcpListener,
}

impl Door {
    pub async fn open(auth: &Auth, mariadb: bool, require_tls: bool, fresh: Duration) -> Self {
        let servers = Arc::new(FakeServers::default());
        servers.set("app", "secret");
        servers.set("empty", "");
        let tls = ClientTls { require: require_tls, ..ClientTls::default() };
        let facts = ServerFacts {
            version: b"9.7.4".to_vec(),
            capabilities: Capabilities::all(),
            collation: 255,
            mariadb,
        };
        let context = LoginContext::new(
            Arc::new(Accounts::with_fresh(auth, fresh)),
            Arc::clone(&servers) as Arc<dyn Judge>,
            FrontendTls::prepare(&tls).unwrap(),
            &tls,
            Arc::new(LoginKey::generate().unwrap()),
            PATIENCE,
            ProxyProtocol::default(),
            false,
            facts,
        );
        Self { servers, context, listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub async fn passthrough() -> Self {
        Self::open(&Auth::Passthrough, false, false, FRESH).await
    }

    /// One client comes in; what the proxy and what the client made of it.
    pub async fn visit<T>(&self, client: impl AsyncFnOnce(Client) -> T) -> (Result<Admitted, LoginError>, T) {
        let address = self.listener.local_addr().unwrap();
        let serve = async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let mut peer = Peer::Network(tcp.peer_addr().unwrap());
            login(tcp.into(), &mut peer, ClientId(7), &self.context).await
        };
        let visit = async {
            let stream = Stream::from(Socket::from(TcpStream::connect(address).await.unwrap()));
            client(Client::greeted(stream).await).await
        };
        let both = async { tokio::join!(serve, visit) };
        tokio::time::timeout(PATIENCE, both).await.expect("one of the two waits for what does not come")
    }
}

/// A client that has read the greeting.
pub struct Client {
    pub io: PacketIo<Stream>,
    pub greeting: Greeting,
}

impl Client {
    pub async fn greeted(stream: Stream) -> Self {
        let mut io = PacketIo::new(stream, 0);
        let greeting = Greeting::decode(&io.read().await.unwrap()).unwrap();
        Self { io, greeting }
    }

    /// Goes on with packet number `sequence`, as a new command does.
    pub fn at(self, sequence: u8) -> Self {
        Self { io: PacketIo::new(self.io.into_parts().0, sequence), ..self }
    }

    pub fn salt(&self) -> Salt {
        salt_from(&self.greeting.salt).unwrap()
    }

    pub async fn encrypt(self) -> Self {
        let Self { mut io, greeting } = self;
        io.write(&ssl_request(FLAGS | Capabilities::SSL, 45)).await.unwrap();
        let (stream, sequence) = io.into_parts();
        let tcp = stream.into_socket().unwrap();
        let tls =
            BackendTls::prepare(&ServerTls { mode: ServerTlsMode::Required, ..ServerTls::default() }, false)
                .unwrap();
        let connector = tls.connector(true).unwrap().unwrap();
        let tls = encrypt(connector, tcp, "127.0.0.1").await.unwrap();
        Self { io: PacketIo::new(tls.into(), sequence), greeting }
    }

    pub async fn respond(&mut self, user: &str, plugin: &str, auth: Vec<u8>, flags: Capabilities) {
        let response = Response {
            capabilities: flags,
            collation: 45,
            user: user.into(),
            auth: auth.into(),
            plugin: flags.contains(Capabilities::PLUGIN_AUTH).then(|| plugin.into()),
            ..Response::default()
        };
        self.io.write(&response.encode().unwrap()).await.unwrap();
    }

    /// Answers the greeting by `plugin`.
    pub async fn answer(&mut self, user: &str, plugin: Plugin, password: &str) {
        let auth = scramble(plugin, &self.salt(), password.as_bytes()).unwrap();
        self.respond(user, plugin.name(), auth, FLAGS).await;
    }

    pub async fn read(&mut self) -> Vec<u8> {
        self.io.read().await.unwrap()
    }

    pub async fn error(&mut self) -> u16 {
        ErrPacket::decode(&self.read().await).unwrap().code
    }

    /// Gives the password that the full authentication asks for, by RSA.
    pub async fn send_by_rsa(&mut self, password: &str, salt: &Salt) {
        self.io.write(&[2]).await.unwrap();
        let pem = self.read().await;
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem[1..]).unwrap();
        let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&key).unwrap()).unwrap();
        let mut text = format!("{password}\0").into_bytes();
        mask(&mut text, salt);
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA1_MGF1SHA1, &text, &mut encrypted, None).unwrap();
        self.io.write(&encrypted).await.unwrap();
    }

    /// A whole login with caching_sha2_password and no TLS, as far as the proxy goes.
    pub async fn full(mut self, user: &str, password: &str) {
        self.answer(user, Plugin::CachingSha2Password, password).await;
        if self.read().await == [1, 4] {
            let salt = self.salt();
            self.send_by_rsa(password, &salt).await;
        }
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
