//! TLS towards the servers.
//!
//! Owns: the client's side of TLS in the four modes. Does not know: when the protocol starts it.
//! Invariant: `verified` never falls back; the other modes check no certificate and say so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::pem::{PemError, authorities, identity};
use crate::config::{ServerTls, ServerTlsMode};
use crate::wire::socket::Socket;
use crate::wire::stream::Tls;

/// TLS towards the servers, ready to use; shared by all connections.
#[derive(Clone)]
pub struct BackendTls {
    mode: ServerTlsMode,
    connector: Option<TlsConnector>,
}

impl std::fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendTls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The configured authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendTlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] PemError),
    /// `verified` without an authority.
    #[error("TLS mode `verified` needs a file of authorities (`ca`)")]
    NoAuthority,
    /// Certificate and key do not belong together, or rustls does not take them.
    #[error("`tls.certificate` and `tls.key` of the cluster cannot be used together: {0}")]
    Rustls(#[from] rustls::Error),
}

impl BackendTls {
    /// Prepares the mode of the configuration: reads its files once. `shows_certificate`: whether our own certificate, if
    /// there is one, is shown to the servers. It must not be where they judge our clients: `REQUIRE X509` would be met
    /// by us for everybody.
    pub fn prepare(tls: &ServerTls, shows_certificate: bool) -> Result<Self, BackendTlsError> {
        if tls.mode == ServerTlsMode::Off {
            return Ok(Self { mode: tls.mode, connector: None });
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if tls.mode == ServerTlsMode::Verified {
            builder.with_root_certificates(authorities(tls.ca.as_ref().ok_or(BackendTlsError::NoAuthority)?)?)
        } else {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        let config = match tls.certificate.as_ref().filter(|_| shows_certificate) {
            Some(files) => {
                let (chain, key) = identity(files)?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { mode: tls.mode, connector: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// No TLS at all.
    pub(crate) fn off() -> Self {
        Self { mode: ServerTlsMode::Off, connector: None }
    }

    /// Whether no connection may do without it.
    pub(crate) fn is_must(&self) -> bool {
        matches!(self.mode, ServerTlsMode::Required | ServerTlsMode::Verified)
    }

    /// The connector, where a connection to a server that offers TLS or not is to be encrypted.
    /// `Err` where TLS is a must and the server has none.
    pub(crate) fn connector(&self, offered: bool) -> Result<Option<&TlsConnector>, TlsNotOffered> {
        match self.mode {
            ServerTlsMode::Off => Ok(None),
            ServerTlsMode::Preferred => Ok(self.connector.as_ref().filter(|_| offered)),
            ServerTlsMode::Required | ServerTlsMode::Verified if !offered => Err(TlsNotOffered),
            ServerTlsMode::Required | ServerTlsMode::Verified => Ok(self.connector.as_ref()),
        }
    }
}

/// The server offers no TLS, and the configuration asks for it.
#[derive(Debug)]
pub(crate) struct TlsNotOffered;

/// Why no encrypted connection came to be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server offers no TLS, and the configuration asks for it.
    #[error("the server offers no TLS, which the configuration requires")]
    NotOffered,
    /// The server's name in the configuration can be in no certificate.
    #[error(transparent)]
    Name(#[from] InvalidDnsNameError),
    /// The handshake failed; the certificate may not be valid.
    #[error(transparent)]
    Handshake(std::io::Error),
}

/// Encrypts `socket`, a connection to `host`. Not cancel safe: the connection is lost.
pub(crate) async fn encrypt(
    connector: &TlsConnector,
    socket: Socket,
    host: &str,
) -> Result<Box<Tls>, TlsError> {
    let name = ServerName::try_from(host.to_owned())?;
    let tls = connector.connect(name, socket).await.map_err(TlsError::Handshake)?;
    Ok(Box::new(Tls::Client(tls)))
}

/// Takes any certificate, as MySQL's own clients do by default (`PREFERRED`, `REQUIRED`): the servers make
/// self-signed ones at start. Signatures are not checked either: against a key that anybody may bring they prove
/// nothing, and the servers' own X.509 v1 certificates could not be read for it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
