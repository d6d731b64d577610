//! Authentication plugins: names, scrambles, and the packets of their exchange.
//!
//! Owns: what a password becomes on the wire (scrambles are mysql_common's). Does not know: accounts, who judges.
//! Invariant: nothing here prints or keeps a password.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::mysql_native_password::scramble_native;

use super::cursor::Cursor;

/// First byte of an AuthMoreData packet.
pub const MORE_DATA: u8 = 0x01;
/// First byte of an AuthSwitchRequest packet; alone, the request of the pre-4.1 authentication.
pub const SWITCH: u8 = 0xfe;
/// caching_sha2_password, server: the scramble was right.
pub const FAST_AUTH_SUCCESS: u8 = 0x03;
/// caching_sha2_password, server: send the password itself, over TLS or encrypted by RSA.
pub const FULL_AUTHENTICATION: u8 = 0x04;
/// caching_sha2_password, client: send the RSA public key.
pub const CACHING_SHA2_KEY_REQUEST: u8 = 0x02;
/// sha256_password, client: send the RSA public key.
pub const SHA256_KEY_REQUEST: u8 = 0x01;

/// A challenge: 20 bytes.
pub type Salt = [u8; 20];

/// The plugins that Tidegate speaks, on either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plugin {
    /// MySQL's default since 8.0.
    CachingSha2Password,
    /// MariaDB's default; MySQL's until 5.7, gone in 9.0.
    NativePassword,
    /// MySQL: always the password itself, over TLS or encrypted by RSA.
    Sha256Password,
    /// MariaDB: an ed25519 signature.
    Ed25519,
    /// The password itself, over TLS only.
    ClearPassword,
}

impl Plugin {
    /// The plugin of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"caching_sha2_password" => Self::CachingSha2Password,
            b"mysql_native_password" => Self::NativePassword,
            b"sha256_password" => Self::Sha256Password,
            b"client_ed25519" => Self::Ed25519,
            b"mysql_clear_password" => Self::ClearPassword,
            _ => return None,
        })
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::CachingSha2Password => "caching_sha2_password",
            Self::NativePassword => "mysql_native_password",
            Self::Sha256Password => "sha256_password",
            Self::Ed25519 => "client_ed25519",
            Self::ClearPassword => "mysql_clear_password",
        }
    }
}

/// The scramble of `password` under a plugin that has one; `None` for plugins that have none.
/// An empty password's scramble is empty.
pub fn scramble(plugin: Plugin, salt: &Salt, password: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        Plugin::CachingSha2Password => Some(scramble_sha256(salt, password).map_or_else(Vec::new, Vec::from)),
        Plugin::NativePassword => Some(scramble_native(salt, password).map_or_else(Vec::new, Vec::from)),
        Plugin::Sha256Password | Plugin::Ed25519 | Plugin::ClearPassword => None,
    }
}

/// Whether `response` proves `password`; takes the same time wherever they differ.
pub fn proves(plugin: Plugin, salt: &Salt, password: &[u8], response: &[u8]) -> bool {
    scramble(plugin, salt, password).is_some_and(|expected| same_bytes(&expected, response))
}

/// Whether two secrets are equal, in a time that depends on their lengths only.
pub fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// A password XORed with the salt: what RSA encrypts, so that a captured message cannot be sent again.
pub fn mask(bytes: &mut [u8], salt: &Salt) {
    for (byte, salt) in bytes.iter_mut().zip(salt.iter().cycle()) {
        *byte ^= salt;
    }
}

/// The system could not give random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes to be had")]
pub struct NoRandom;

/// A fresh salt as servers make it: 7-bit bytes, neither NUL (it ends the text) nor `$` (it ends a field of stored hashes).
pub fn fresh_salt() -> Result<Salt, NoRandom> {
    let mut salt = [0; 20];
    rand::fill(&mut salt).map_err(|_| NoRandom)?;
    for byte in &mut salt {
        *byte &= 0x7f;
        if matches!(*byte, 0 | b'$') {
            *byte += 1;
        }
    }
    Ok(salt)
}

/// A request to authenticate by another plugin (MySQL manual, "AuthSwitchRequest").
#[derive(PartialEq, Eq, Debug)]
pub struct SwitchRequest<'a> {
    /// The plugin's name.
    pub plugin: &'a [u8],
    /// Its challenge, as it came.
    pub data: &'a [u8],
}

impl<'a> SwitchRequest<'a> {
    /// Reads the payload.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != SWITCH {
            return None;
        }
        Some(Self { plugin: cursor.nul_terminated()?, data: cursor.rest() })
    }

    /// The payload that asks for `plugin` with `salt`.
    pub fn encode(plugin: Plugin, salt: &Salt) -> Vec<u8> {
        let mut payload = vec![SWITCH];
        payload.extend_from_slice(plugin.name().as_bytes());
        payload.push(0);
        payload.extend_from_slice(salt);
        payload.push(0); // servers end the salt with NUL, and clients count on it
        payload
    }
}

/// The 20 bytes of a salt that may carry the NUL that servers put behind it.
pub fn salt_from(data: &[u8]) -> Option<Salt> {
    match data {
        [salt @ .., 0] if salt.len() == 20 => salt.try_into().ok(),
        salt => salt.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scramble_proves_its_password_only() {
        let salt = fresh_salt().unwrap();
        for plugin in [Plugin::CachingSha2Password, Plugin::NativePassword] {
            let response = scramble(plugin, &salt, b"secret").unwrap();
            assert!(proves(plugin, &salt, b"secret", &response));
            assert!(!proves(plugin, &salt, b"Secret", &response));
            assert!(!proves(plugin, &salt, b"secret", &response[1..]));
            assert!(!proves(plugin, &salt, b"secret", b""));
            assert!(!proves(plugin, &fresh_salt().unwrap(), b"secret", &response));
            assert!(proves(plugin, &salt, b"", b""));
            assert!(!proves(plugin, &salt, b"", &response));
        }
        assert!(!proves(Plugin::ClearPassword, &salt, b"secret", b"secret"));
    }

    #[test]
    fn salts_are_text_without_nul_and_dollar() {
        for _ in 0..500 {
            let salt = fresh_salt().unwrap();
            assert!(salt.iter().all(|byte| (1..=0x7f).contains(byte) && *byte != b'$'), "{salt:?}");
        }
    }

    #[test]
    fn switch_request_round_trip() {
        let salt = fresh_salt().unwrap();
        let payload = SwitchRequest::encode(Plugin::NativePassword, &salt);
        let request = SwitchRequest::decode(&payload).unwrap();
        assert_eq!(request.plugin, b"mysql_native_password");
        assert_eq!(salt_from(request.data), Some(salt));
        assert_eq!(SwitchRequest::decode(b"\xfe"), None);
        assert_eq!(SwitchRequest::decode(b"\xfeabc"), None);
        assert_eq!(salt_from(b"short"), None);
    }

    #[test]
    fn masking_twice_is_nothing() {
        let salt = fresh_salt().unwrap();
        let mut text = b"a password that is longer than its salt\0".to_vec();
        mask(&mut text, &salt);
        mask(&mut text, &salt);
        assert_eq!(text, b"a password that is longer than its salt\0");
    }
}
