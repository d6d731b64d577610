//! The greeting and the client's response (MySQL manual, "Protocol::HandshakeV10", "HandshakeResponse41",
//! "SSLRequest", "COM_CHANGE_USER"), read and written for both sides.
//!
//! Owns: their bytes in all the forms that clients and servers send. Does not know: sockets, accounts, TLS.
//! Invariant: what cannot be read is `None`; optional tails that a peer left out are empty, as servers take them.

use std::fmt;

use zeroize::Zeroizing;

use super::auth::Plugin;
use super::capabilities::Capabilities;
use super::cursor::{Cursor, put_lenenc_bytes, put_lenenc_int};

/// Protocol version of the greeting.
const PROTOCOL_VERSION: u8 = 10;
/// Length of an SSLRequest, and of the part of a response that is the same in every form.
const FIXED_LENGTH: usize = 32;
/// Bytes of connection attributes that servers take (MySQL: performance_schema_session_connect_attrs_size).
const ATTRIBUTES_MAX: usize = 64 * 1024;
/// Largest packet that we announce; servers do not use it.
const MAX_PACKET: u32 = 1 << 30;

/// Names and values that a client tells of itself.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The server's first packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// The version as text; MariaDB 10 puts `5.5.5-` before it.
    pub version: Vec<u8>,
    /// The id that `KILL` takes.
    pub connection_id: u32,
    /// The challenge.
    pub salt: Vec<u8>,
    /// What the server offers.
    pub capabilities: Capabilities,
    /// Low byte of the id of the server's default collation.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// Name of the plugin that the challenge is for.
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// The payload for a client.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(96 + self.version.len());
        let [c0, c1, c2, c3] = self.capabilities.low();
        let (first, second) = self.salt.split_at(self.salt.len().min(8));
        payload.push(PROTOCOL_VERSION);
        payload.extend_from_slice(&self.version); // string<NUL>
        payload.push(0);
        payload.extend_from_slice(&self.connection_id.to_le_bytes()); // int<4>
        payload.extend_from_slice(first); // string[8]
        payload.push(0); // filler
        payload.extend_from_slice(&[c0, c1]); // int<2>
        payload.push(self.collation); // int<1>
        payload.extend_from_slice(&self.status.to_le_bytes()); // int<2>
        payload.extend_from_slice(&[c2, c3]); // int<2>
        payload.push(u8::try_from(self.salt.len() + 1).unwrap_or(u8::MAX)); // int<1>, its NUL counted
        payload.extend_from_slice(&[0; 6]);
        payload.extend_from_slice(&self.capabilities.extended()); // MySQL: reserved, zero as well
        payload.extend_from_slice(second);
        payload.push(0);
        payload.extend_from_slice(&self.plugin); // string<NUL>
        payload.push(0);
        payload
    }

    /// Reads a server's payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != PROTOCOL_VERSION {
            return None;
        }
        let version = cursor.nul_terminated()?.to_vec();
        let connection_id = cursor.u32()?;
        let mut salt = cursor.bytes(8)?.to_vec();
        cursor.u8()?; // filler
        let low = cursor.u16()?;
        let collation = cursor.u8()?;
        let status = cursor.u16()?;
        let high = cursor.u16()?;
        let salt_length = usize::from(cursor.u8()?);
        cursor.bytes(6)?; // reserved
        let extended = cursor.u32()?; // MySQL: reserved as well
        let capabilities = Capabilities::of(u32::from(low) | u32::from(high) << 16, extended);
        if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            salt.extend_from_slice(cursor.bytes(salt_length.saturating_sub(8).max(13))?);
            if salt.last() == Some(&0) {
                salt.pop();
            }
        }
        let plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            cursor.nul_terminated_or_rest().to_vec()
        } else {
            Plugin::NativePassword.name().into()
        };
        Some(Self { version, connection_id, salt, capabilities, collation, status, plugin })
    }
}

/// The first packet of a client: who it is, or that it wants TLS first.
#[derive(PartialEq, Eq, Debug)]
pub enum ClientHello {
    /// SSLRequest: TLS starts with the next byte.
    Tls,
    /// HandshakeResponse41.
    Response(Response),
    /// The response of a client older than 4.1.
    TooOld,
}

/// What a client says of itself, in its first packet or in COM_CHANGE_USER.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The client's flags, as it sent them; none in COM_CHANGE_USER.
    pub capabilities: Capabilities,
    /// Id of the collation for the session; of the handshake one byte only, as servers read it (tried on MySQL
    /// 9.7 and MariaDB 10.11). COM_CHANGE_USER has two.
    pub collation: u16,
    /// The account.
    pub user: Vec<u8>,
    /// The plugin's first response; the password itself with mysql_clear_password.
    pub auth: Zeroizing<Vec<u8>>,
    /// The database to use.
    pub database: Option<Vec<u8>>,
    /// The plugin that `auth` comes from; `None` where the client cannot name one.
    pub plugin: Option<Vec<u8>>,
    /// Names and values that the client tells of itself.
    pub attributes: Attributes,
    /// The level of zstd, where the flags ask for that.
    pub zstd_level: Option<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capabilities, collation, user, auth: _, database, plugin, attributes, zstd_level } = self;
        f.debug_struct("Response")
            .field("capabilities", capabilities)
            .field("collation", collation)
            .field("user", &user.escape_ascii().to_string())
            .field("database", database)
            .field("plugin", plugin)
            .field("attributes", &attributes.len())
            .field("zstd_level", zstd_level)
            .finish_non_exhaustive()
    }
}

impl ClientHello {
    /// Reads a client's first packet, of which `offered` says what the greeting announced.
    pub fn decode(payload: &[u8], offered: Capabilities) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let low = cursor.u16()?;
        if !Capabilities::of(low.into(), 0).contains(Capabilities::PROTOCOL_41) {
            return Some(Self::TooOld);
        }
        let bits = u32::from(low) | u32::from(cursor.u16()?) << 16;
        cursor.u32()?; // largest packet
        let collation = u16::from(cursor.u8()?);
        cursor.bytes(19)?; // filler; some clients put a second byte of the collation there
        let flags = Capabilities::of(bits, cursor.u32()?);
        if flags.contains(Capabilities::SSL) && offered.contains(Capabilities::SSL) {
            // A longer packet would carry its secrets in the clear, though its client believes in TLS.
            return (payload.len() == FIXED_LENGTH).then_some(Self::Tls);
        }
        let user = cursor.nul_terminated()?.to_vec();
        let auth = if flags.contains(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
            cursor.lenenc_bytes()?
        } else if flags.contains(Capabilities::SECURE_CONNECTION) {
            let length = cursor.u8()?;
            cursor.bytes(usize::from(length))?
        } else {
            cursor.nul_terminated_or_rest()
        };
        let auth = Zeroizing::new(auth.to_vec());
        let with_database = flags.contains(Capabilities::CONNECT_WITH_DB);
        let database = with_database.then(|| cursor.nul_terminated_or_rest()).filter(|name| !name.is_empty());
        let plugin =
            flags.contains(Capabilities::PLUGIN_AUTH).then(|| cursor.nul_terminated_or_rest().to_vec());
        let attributes = read_attributes(&mut cursor, flags)?;
        let zstd_level = if flags.contains(Capabilities::ZSTD_COMPRESSION) { cursor.u8() } else { None };
        let database = database.map(<[u8]>::to_vec);
        Some(Self::Response(Response {
            capabilities: flags,
            collation,
            user,
            auth,
            database,
            plugin,
            attributes,
            zstd_level,
        }))
    }
}

impl Response {
    /// Reads COM_CHANGE_USER, its command byte included, of a client with `capabilities`.
    /// A collation of 0 stands for one that the client left out.
    pub fn decode_change_user(payload: &[u8], capabilities: Capabilities) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?; // the command
        let user = cursor.nul_terminated()?.to_vec();
        let auth = if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let length = cursor.u8()?;
            cursor.bytes(usize::from(length))?
        } else {
            cursor.nul_terminated()?
        };
        let auth = Zeroizing::new(auth.to_vec());
        let database =
            Some(cursor.nul_terminated_or_rest()).filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
        let collation = if cursor.is_empty() { 0 } else { cursor.u16()? };
        let named = capabilities.contains(Capabilities::PLUGIN_AUTH) && !cursor.is_empty();
        let plugin = named.then(|| cursor.nul_terminated_or_rest().to_vec());
        let attributes = read_attributes(&mut cursor, capabilities)?;
        let capabilities = Capabilities::empty();
        Some(Self { capabilities, collation, user, auth, database, plugin, attributes, zstd_level: None })
    }

    /// The payload for a server, in the form that its flags ask for. `None` where it cannot
    /// be said: a NUL in a name, a collation past one byte, or a response too long for a server
    /// without `PLUGIN_AUTH_LENENC_DATA`, or zstd without its level.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut flags = self.capabilities;
        flags.set(Capabilities::CONNECT_WITH_DB, self.database.is_some());
        let has_nul = |text: &[u8]| text.contains(&0);
        if has_nul(&self.user) || self.database.as_deref().is_some_and(has_nul) {
            return None;
        }
        let mut payload = fixed_part(flags, u8::try_from(self.collation).ok()?);
        payload.extend_from_slice(&self.user); // string<NUL>
        payload.push(0);
        if flags.contains(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
            put_lenenc_bytes(&mut payload, &self.auth);
        } else {
            payload.push(u8::try_from(self.auth.len()).ok()?);
            payload.extend_from_slice(&self.auth);
        }
        if let Some(database) = &self.database {
            payload.extend_from_slice(database); // string<NUL>
            payload.push(0);
        }
        if let Some(plugin) = &self.plugin {
            payload.extend_from_slice(plugin); // string<NUL>
            payload.push(0);
        }
        if flags.contains(Capabilities::CONNECT_ATTRS) {
            let mut pairs = Vec::new();
            for (name, value) in &self.attributes {
                put_lenenc_bytes(&mut pairs, name);
                put_lenenc_bytes(&mut pairs, value);
            }
            put_lenenc_int(&mut payload, pairs.len() as u64);
            payload.extend_from_slice(&pairs);
        }
        if flags.contains(Capabilities::ZSTD_COMPRESSION) {
            payload.push(self.zstd_level?); // int<1>
        }
        Some(payload)
    }
}

/// The SSLRequest's payload: the response up to the user's name.
pub fn ssl_request(capabilities: Capabilities, collation: u8) -> Vec<u8> {
    fixed_part(capabilities, collation)
}

fn fixed_part(capabilities: Capabilities, collation: u8) -> Vec<u8> {
    let mut payload = Vec::with_capacity(256);
    payload.extend_from_slice(&capabilities.low()); // int<4>
    payload.extend_from_slice(&MAX_PACKET.to_le_bytes()); // int<4>
    payload.push(collation); // int<1>
    payload.resize(FIXED_LENGTH - 4, 0);
    payload.extend_from_slice(&capabilities.extended()); // int<4>, MySQL: filler
    payload
}

/// Attributes, where the client has any: libmariadb sets the flag although it was not offered, and sends none.
fn read_attributes(cursor: &mut Cursor<'_>, flags: Capabilities) -> Option<Attributes> {
    let mut attributes = Attributes::new();
    if !flags.contains(Capabilities::CONNECT_ATTRS) || cursor.is_empty() {
        return Some(attributes);
    }
    let block = cursor.lenenc_bytes()?;
    if block.len() > ATTRIBUTES_MAX {
        return None;
    }
    let mut block = Cursor::new(block);
    while !block.is_empty() {
        let name = block.lenenc_bytes()?;
        let value = block.lenenc_bytes()?;
        attributes.push((name.to_vec(), value.to_vec()));
    }
    Some(attributes)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
