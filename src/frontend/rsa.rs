//! The RSA key by which clients without TLS encrypt their password.
//!
//! Owns: the key pair, made at start and never stored, and OAEP decryption. Does not know: accounts.
//! Invariant: what a stranger sends to be decrypted gives `None` or bytes, never more.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use zeroize::Zeroizing;

use crate::wire::auth::{Salt, mask};

/// The key pair of one process.
pub struct LoginKey {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
}

/// No key could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an RSA key for logins without TLS")]
pub struct LoginKeyError;

impl LoginKey {
    /// Makes a key of 2048 bits, as servers do. Takes a good part of a second: at start only.
    pub fn generate() -> Result<Self, LoginKeyError> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(|_| LoginKeyError)?;
        let pkcs8 = Zeroizing::new(pair.serialize_der());
        let private = PrivateDecryptingKey::from_pkcs8(&pkcs8).map_err(|_| LoginKeyError)?;
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| LoginKeyError)?;
        Ok(Self { private, public_pem: pair.public_key_pem() })
    }

    /// The public key in PEM, for the client.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The password in a client's answer: decrypted, unmasked by the salt, without its NUL.
    /// `None` where the answer was not made with this key and an ended text.
    pub(super) fn open(&self, encrypted: &[u8], salt: &Salt) -> Option<Zeroizing<Vec<u8>>> {
        if encrypted.len() != self.private.key_size_bytes() {
            return None;
        }
        let mut buffer = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let plain = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut buffer, None).ok()?;
        mask(plain, salt);
        let password = plain.strip_suffix(&[0])?;
        Some(Zeroizing::new(password.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_bytes_open_nothing() {
        let key = LoginKey::generate().unwrap();
        assert!(key.public_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        for length in [0, 1, 255, 256, 257, 4096] {
            assert!(key.open(&vec![0x41; length], &[b'x'; 20]).is_none());
        }
    }
}
