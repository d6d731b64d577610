//! Proving an account to a server.
//!
//! Owns: the client's side of the plugins' exchanges, from the first response to the server's OK. Does not know:
//! sockets' set-up, TLS. Invariant: the password itself goes out only over TLS or encrypted by the server's RSA key;
//! a server can ask for at most `ROUNDS_MAX` packets.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Response};
use mysql_common::packets::AuthPlugin;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::connect::ConnectError;
use crate::wire::auth::{
    CACHING_SHA2_KEY_REQUEST, FAST_AUTH_SUCCESS, FULL_AUTHENTICATION, MORE_DATA, Plugin, SHA256_KEY_REQUEST, SWITCH,
    Salt, SwitchRequest, mask, salt_from, scramble,
};
use crate::wire::cursor::Cursor;
use crate::wire::err::{self, ErrPacket};
use crate::wire::packet_io::PacketIo;

/// Packets that a server may send before it decides; the longest known exchange takes four.
const ROUNDS_MAX: usize = 8;
/// First byte of an OK packet.
const OK: u8 = 0x00;
/// First byte of a request for a second factor.
const NEXT_FACTOR: u8 = 0x02;

/// One exchange: a plugin with its challenge, and what it may send.
pub(super) struct Proof<'a> {
    plugin: Plugin,
    challenge: Vec<u8>,
    password: &'a [u8],
    encrypted: bool,
}

impl<'a> Proof<'a> {
    /// Starts with what the greeting announced. A plugin that we do not speak is answered as by any client: with
    /// one that we do, and the server asks again by the plugin of the account.
    pub fn begin(plugin: &[u8], challenge: &[u8], password: &'a [u8], encrypted: bool) -> Self {
        let plugin = match Plugin::from_name(plugin) {
            // The account's plugin is not known yet; a password is not given away on a greeting's word.
            None | Some(Plugin::ClearPassword | Plugin::Sha256Password | Plugin::Ed25519) => Plugin::CachingSha2Password,
            Some(plugin) => plugin,
        };
        Self { plugin, challenge: challenge.to_vec(), password, encrypted }
    }

    /// The plugin in use.
    pub fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// The plugin's first response.
    pub fn first_response(&self) -> Result<Zeroizing<Vec<u8>>, ConnectError> {
        match self.plugin {
            Plugin::CachingSha2Password | Plugin::NativePassword => {
                let response = scramble(self.plugin, &self.salt()?, self.password);
                response.map(Zeroizing::new).ok_or(ConnectError::Protocol("no scramble for this plugin"))
            }
            Plugin::Sha256Password if self.encrypted || self.password.is_empty() => Ok(self.terminated_password()),
            Plugin::Sha256Password => Ok(Zeroizing::new(vec![SHA256_KEY_REQUEST])),
            Plugin::Ed25519 => self.signature(),
            Plugin::ClearPassword if self.encrypted => Ok(self.terminated_password()),
            Plugin::ClearPassword => {
                Err(ConnectError::AuthUnsupported("mysql_clear_password without TLS towards the server".into()))
            }
        }
    }

    /// Goes on after the first response was sent, until the server's OK; gives the status flags in it.
    pub async fn finish<S>(mut self, io: &mut PacketIo<S>) -> Result<u16, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut switched = false;
        for _ in 0..ROUNDS_MAX {
            let packet = io.read().await?;
            match packet.split_first() {
                Some((&OK, _)) => return ok_status(&packet).ok_or(ConnectError::Protocol("malformed OK packet")),
                Some((&err::HEADER, _)) => {
                    let error = ErrPacket::decode(&packet).ok_or(ConnectError::Protocol("malformed ERR packet"))?;
                    return Err(ConnectError::Refused(error));
                }
                Some((&SWITCH, [])) => return Err(ConnectError::AuthUnsupported("mysql_old_password".into())),
                Some((&SWITCH, _)) if !switched => {
                    switched = true;
                    self.switch(&packet)?;
                    io.write(&self.first_response()?).await?;
                }
                Some((&MORE_DATA, data)) => {
                    if let Some(answer) = self.next_response(data)? {
                        io.write(&answer).await?;
                    }
                }
                Some((&NEXT_FACTOR, _)) => return Err(ConnectError::AuthUnsupported("a second factor".into())),
                _ => return Err(ConnectError::Protocol("unexpected packet during authentication")),
            }
        }
        Err(ConnectError::Protocol("the authentication does not end"))
    }

    fn switch(&mut self, packet: &[u8]) -> Result<(), ConnectError> {
        let request = SwitchRequest::decode(packet).ok_or(ConnectError::Protocol("malformed AuthSwitchRequest"))?;
        self.plugin = Plugin::from_name(request.plugin)
            .ok_or_else(|| ConnectError::AuthUnsupported(String::from_utf8_lossy(request.plugin).into_owned()))?;
        self.challenge = request.data.to_vec();
        Ok(())
    }

    /// The answer to an AuthMoreData packet, where it asks for one.
    fn next_response(&self, data: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectError> {
        match (self.plugin, data) {
            (Plugin::CachingSha2Password, [FAST_AUTH_SUCCESS]) => Ok(None),
            (Plugin::CachingSha2Password, [FULL_AUTHENTICATION]) if self.encrypted => {
                Ok(Some(self.terminated_password()))
            }
            (Plugin::CachingSha2Password, [FULL_AUTHENTICATION]) => {
                Ok(Some(Zeroizing::new(vec![CACHING_SHA2_KEY_REQUEST])))
            }
            (Plugin::CachingSha2Password | Plugin::Sha256Password, key) if !self.encrypted => {
                self.encrypted_password(key).map(Some)
            }
            _ => Err(ConnectError::Protocol("unexpected AuthMoreData packet")),
        }
    }

    fn salt(&self) -> Result<Salt, ConnectError> {
        salt_from(&self.challenge).ok_or(ConnectError::Protocol("the server's salt is not 20 bytes"))
    }

    fn terminated_password(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.password.len() + 1));
        bytes.extend_from_slice(self.password);
        bytes.push(0);
        bytes
    }

    /// RSA-OAEP (SHA-1) of the password, its NUL included, masked by the salt.
    fn encrypted_password(&self, pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectError> {
        const BAD_KEY: ConnectError = ConnectError::Protocol("the server's RSA key cannot be used");
        let mut bytes = self.terminated_password();
        mask(&mut bytes, &self.salt()?);
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| BAD_KEY)?;
        let key = PublicEncryptingKey::from_der(&key).map_err(|_| BAD_KEY)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| BAD_KEY)?;
        let mut encrypted = vec![0; key.ciphertext_size()];
        let length = key
            .encrypt(&OAEP_SHA1_MGF1SHA1, &bytes, &mut encrypted, None)
            .map_err(|_| ConnectError::Protocol("the password is too long for the server's RSA key"))?
            .len();
        encrypted.truncate(length);
        Ok(Zeroizing::new(encrypted))
    }

    fn signature(&self) -> Result<Zeroizing<Vec<u8>>, ConnectError> {
        let response = AuthProc::init(&AuthPlugin::Ed25519).ok().and_then(|mut ed25519| {
            match ed25519.run(PasswordOnly(self.password), &self.challenge) {
                Ok(Response::Next { packet } | Response::Last { packet }) => packet,
                Err(_) => None,
            }
        });
        response.map(Zeroizing::new).ok_or(ConnectError::Protocol("the server's ed25519 challenge is not 32 bytes"))
    }
}

/// What mysql_common's ed25519 signs with; it asks for nothing but the password.
struct PasswordOnly<'a>(&'a [u8]);

impl Context for PasswordOnly<'_> {
    fn pass(&self) -> &[u8] {
        self.0
    }
    fn is_ipc_transport(&self) -> bool {
        false
    }
    fn is_tls_transport(&self) -> bool {
        false
    }
    fn scramble(&self) -> &[u8] {
        &[]
    }
    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

/// Status flags of an OK packet of the 4.1 protocol.
fn ok_status(payload: &[u8]) -> Option<u16> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?; // int<1> header
    cursor.lenenc_int()?; // int<lenenc> affected_rows
    cursor.lenenc_int()?; // int<lenenc> last_insert_id
    cursor.u16() // int<2> status_flags
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
