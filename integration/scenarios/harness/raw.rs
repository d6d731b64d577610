//! A client that chooses its capability flags and its packets, and shows every packet that comes back.
//!
//! It speaks the protocol by the manual; bytes are put together with Tidegate's own `wire` where that is only a length
//! and a number.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer};
use tidegate::wire::auth::{Plugin, Salt, SwitchRequest, mask, salt_from, scramble};
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::compress::Side;
use tidegate::wire::cursor::put_lenenc_bytes;
use tidegate::wire::err::ErrPacket;
use tidegate::wire::frame::put_packet;
use tidegate::wire::handshake::{Greeting, ssl_request};
use tidegate::wire::packer::Compression;
use tidegate::wire::socket::Socket;
use tidegate::wire::stream::Stream;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

pub use super::packets::{Okay, Outcome};
use super::within;

/// How to log in.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub database: Option<String>,
    /// Taken as they are, as far as the server offers them.
    pub capabilities: Capabilities,
    pub collation: u8,
    pub tls: bool,
    /// Chain and key in PEM that the client shows, over TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The plugin that the client prefers.
    pub plugin: Plugin,
    /// What the client tells of itself; sent where the flags have CONNECT_ATTRS.
    pub attributes: Vec<(&'static str, &'static str)>,
}

impl Default for Login {
    /// What a modern client sets.
    fn default() -> Self {
        Self {
            user: "app".into(),
            password: "app-pw".into(),
            database: None,
            capabilities: Self::OLD | Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK,
            collation: 45,
            tls: false,
            certificate: None,
            plugin: Plugin::CachingSha2Password,
            attributes: vec![],
        }
    }
}

impl Login {
    /// The flags of a client from before `DEPRECATE_EOF` and `SESSION_TRACK`.
    pub const OLD: Capabilities = Capabilities::PROTOCOL_41
        .union(Capabilities::LONG_PASSWORD)
        .union(Capabilities::LONG_FLAG)
        .union(Capabilities::TRANSACTIONS)
        .union(Capabilities::SECURE_CONNECTION)
        .union(Capabilities::PLUGIN_AUTH)
        .union(Capabilities::PLUGIN_AUTH_LENENC_DATA)
        .union(Capabilities::MULTI_STATEMENTS)
        .union(Capabilities::MULTI_RESULTS)
        .union(Capabilities::PS_MULTI_RESULTS);

    pub fn with(flags: Capabilities) -> Self {
        let login = Self::default();
        Self { capabilities: login.capabilities | flags, ..login }
    }

    pub fn account(user: &str, password: &str) -> Self {
        Self { user: user.into(), password: password.into(), ..Self::default() }
    }
}

/// A connection of such a client.
pub struct RawClient {
    stream: Stream,
    pub greeting: Greeting,
    /// The flags in force.
    pub capabilities: Capabilities,
    sequence: u8,
    checks_numbers: bool,
    /// Whether a packet had another number than was due.
    pub out_of_order: bool,
    /// Whether the password itself had to be given.
    pub gave_password: bool,
}

impl RawClient {
    /// Connects and reads the greeting, or the error in its place.
    pub async fn greet(address: SocketAddr) -> Result<Self, ErrPacket> {
        let tcp = TcpStream::connect(address).await.expect("somebody listens");
        tcp.set_nodelay(true).expect("TCP");
        Self::greet_on(tcp.into()).await
    }

    /// The same on a socket that is connected already.
    pub async fn greet_on(socket: Socket) -> Result<Self, ErrPacket> {
        let greeting = Greeting {
            version: vec![],
            connection_id: 0,
            salt: vec![],
            capabilities: Capabilities::empty(),
            collation: 0,
            status: 0,
            plugin: vec![],
        };
        let stream = Stream::from(socket);
        let mut client = Self {
            stream,
            greeting,
            capabilities: Capabilities::empty(),
            sequence: 0,
            checks_numbers: true,
            out_of_order: false,
            gave_password: false,
        };
        let packet = client.read().await;
        if packet.first() == Some(&0xff) {
            return Err(ErrPacket::decode(&packet).expect("an ERR packet"));
        }
        client.greeting = Greeting::decode(&packet).expect("a greeting");
        Ok(client)
    }

    /// Connects and logs in.
    pub async fn login(address: SocketAddr, login: &Login) -> Result<Self, ErrPacket> {
        Self::greet(address).await?.enter(login).await
    }

    /// Connects to a Unix socket and logs in.
    pub async fn login_by_socket(path: &Path, login: &Login) -> Result<Self, ErrPacket> {
        let unix = UnixStream::connect(path).await.expect("somebody listens");
        Self::greet_on(unix.into()).await?.enter(login).await
    }

    /// Logs in, once greeted.
    pub async fn enter(self, login: &Login) -> Result<Self, ErrPacket> {
        let mut client = self;
        let mut flags = login.capabilities & client.greeting.capabilities;
        flags.set(Capabilities::CONNECT_WITH_DB, login.database.is_some());
        if login.tls {
            flags |= Capabilities::SSL;
            client.send_numbered(&ssl_request(flags, login.collation)).await;
            client = client.encrypt(login.certificate.as_ref()).await;
        }
        client.capabilities = flags;
        let salt = salt_from(&client.greeting.salt).expect("20 bytes");
        let response = client.response(login, &salt);
        client.send_numbered(&response).await;
        client.prove(login, salt).await?;
        if let Some(compression) = Compression::asked(flags, None) {
            client.stream.compress(compression, Side::Client);
        }
        Ok(client)
    }

    fn response(&self, login: &Login, salt: &Salt) -> Vec<u8> {
        let mut payload = ssl_request(self.capabilities, login.collation);
        payload.extend_from_slice(login.user.as_bytes());
        payload.push(0);
        put_lenenc_bytes(&mut payload, &self.first_answer(login.plugin, salt, &login.password));
        if let Some(database) = &login.database {
            payload.extend_from_slice(database.as_bytes());
            payload.push(0);
        }
        payload.extend_from_slice(login.plugin.name().as_bytes());
        payload.push(0);
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            let mut pairs = Vec::new();
            for (name, value) in &login.attributes {
                put_lenenc_bytes(&mut pairs, name.as_bytes());
                put_lenenc_bytes(&mut pairs, value.as_bytes());
            }
            put_lenenc_bytes(&mut payload, &pairs);
        }
        if self.capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            payload.push(1);
        }
        payload
    }

    fn first_answer(&self, plugin: Plugin, salt: &Salt, password: &str) -> Vec<u8> {
        scramble(plugin, salt, password.as_bytes()).unwrap_or_else(|| {
            assert!(self.stream.is_tls(), "{plugin:?} would show the password");
            [password.as_bytes(), &[0]].concat()
        })
    }

    /// Answers what is asked until the login is decided.
    pub async fn prove(&mut self, login: &Login, salt: Salt) -> Result<Okay, ErrPacket> {
        let packet = self.prove_raw(login, salt).await.expect("a packet, not the end of the connection");
        match packet[0] {
            0x00 => Ok(Okay::read(&packet, self.capabilities)),
            _ => Err(ErrPacket::decode(&packet).expect("an ERR packet")),
        }
    }

    /// The same; gives the packet that decides, or `None` when the connection is closed.
    pub async fn prove_raw(&mut self, login: &Login, mut salt: Salt) -> Option<Vec<u8>> {
        let mut plugin = login.plugin;
        loop {
            let packet = self.next().await?;
            match packet[0] {
                0x00 | 0xff => return Some(packet),
                0xfe => {
                    let request = SwitchRequest::decode(&packet).expect("an AuthSwitchRequest");
                    plugin = Plugin::from_name(request.plugin).expect("a known plugin");
                    salt = salt_from(request.data).expect("20 bytes");
                    let answer = self.first_answer(plugin, &salt, &login.password);
                    self.send_numbered(&answer).await;
                }
                0x01 if packet[1..] == [3] => {}
                0x01 if packet[1..] == [4] => {
                    self.gave_password = true;
                    let mut secret = [login.password.as_bytes(), &[0]].concat();
                    if !self.is_private() {
                        self.send_numbered(&[2]).await;
                        let pem = self.read().await;
                        mask(&mut secret, &salt);
                        secret = seal(&pem[1..], &secret);
                    }
                    self.send_numbered(&secret).await;
                }
                _ => panic!("{plugin:?}: {packet:02x?}"),
            }
        }
    }

    /// Whether the password may be sent as it is.
    fn is_private(&self) -> bool {
        self.stream.is_tls() || self.stream.socket().is_unix()
    }

    async fn encrypt(self, certificate: Option<&(PathBuf, PathBuf)>) -> Self {
        let socket = self.stream.into_socket().expect("TLS inside TLS");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let config = match certificate {
            Some((chain, key)) => {
                let chain = CertificateDer::pem_file_iter(chain).expect("PEM").map(|one| one.expect("PEM"));
                let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
                config.with_client_auth_cert(chain.collect(), key).expect("a pair")
            }
            None => config.with_no_client_auth(),
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = within("a TLS handshake", connector.connect(name, socket)).await.expect("TLS");
        Self { stream: Box::new(tokio_rustls::TlsStream::from(tls)).into(), ..self }
    }

    /// The same connection without its compression: bytes are frames now, or what shall pass for such.
    pub fn speak_in_frames(self) -> Self {
        let stream = Stream::from(self.stream.into_socket().expect("no TLS"));
        Self { stream, ..self }
    }

    /// All bytes up to the end of the connection.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        within("the end", self.stream.read_to_end(&mut bytes)).await.expect("an end, not a reset");
        bytes
    }

    /// The next packet answers a command.
    pub fn expect_answer(&mut self) {
        self.sequence = 1;
    }

    /// Asks for TLS as `login` has it, whether it comes to be or not.
    pub async fn try_encrypt(mut self, login: &Login) {
        let flags = login.capabilities & self.greeting.capabilities | Capabilities::SSL;
        self.send_numbered(&ssl_request(flags, login.collation)).await;
        // With TLS 1.3 a client takes the handshake for done before its certificate is judged.
        let mut client = self.encrypt(login.certificate.as_ref()).await;
        client.end().await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        within("a write", self.stream.write_all(bytes)).await.expect("the other side reads");
    }

    /// Sends a packet with the next number.
    pub async fn send_numbered(&mut self, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        self.sequence = put_packet(&mut bytes, self.sequence, payload);
        self.send_bytes(&bytes).await;
    }

    /// Sends a command: its packet is number 0.
    pub async fn send(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.send_numbered(payload).await;
    }

    /// Sends a command byte with what follows it.
    pub async fn command(&mut self, command: u8, rest: &[u8]) {
        self.send(&[&[command], rest].concat()).await;
    }

    /// The next payload, or `None` when the connection is closed. Checks its number.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            within("a packet", self.stream.read_exact(&mut header)).await.ok()?;
            let [a, b, c, number] = header;
            self.out_of_order |= number != self.sequence;
            assert!(
                !self.checks_numbers || number == self.sequence,
                "packet {number} where {} was due",
                self.sequence
            );
            self.sequence = number.wrapping_add(1);
            let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            let start = payload.len();
            payload.resize(start + length, 0);
            within("a payload", self.stream.read_exact(&mut payload[start..])).await.ok()?;
            if length < 0xff_ff_ff {
                return Some(payload);
            }
        }
    }

    /// Sends bytes that the other side may refuse to take.
    pub async fn try_send(&mut self, bytes: &[u8]) {
        let _ = within("a write", self.stream.write_all(bytes)).await;
        self.sequence = 1;
        self.expect_any_number();
    }

    /// The numbers of the packets to come do not matter.
    pub fn expect_any_number(&mut self) {
        self.checks_numbers = false;
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub async fn end(&mut self) {
        self.expect_any_number();
        while self.next().await.is_some() {}
    }

    /// The next payload.
    pub async fn read(&mut self) -> Vec<u8> {
        self.next().await.expect("a packet, not the end of the connection")
    }

    /// Waits for the end of the connection; panics when a packet comes.
    pub async fn closed(&mut self) {
        let packet = self.next().await;
        assert_eq!(packet, None, "a packet where the end of the connection was due");
    }
}

/// RSA-OAEP by a server's public key.
fn seal(pem: &[u8], secret: &[u8]) -> Vec<u8> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).expect("PEM");
    let key =
        OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&key).expect("a key")).expect("a key");
    let mut sealed = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, secret, &mut sealed, None).expect("short enough").len();
    sealed.truncate(length);
    sealed
}

/// Takes any certificate, as clients do that are not told what to check.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
