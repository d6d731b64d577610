//! TLS towards the servers.
//!
//! Owns: the client's side of TLS in the four modes. Does not know: when the protocol starts it.
//! Invariant: `verified` never falls back; the other modes check no certificate and say so.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

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
    /// The file cannot be read as PEM.
    #[error("cannot read certificates from {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// `verified` without any usable authority.
    #[error("TLS mode `verified` needs a file of authorities (`ca`) with at least one certificate")]
    NoAuthority,
    /// rustls does not take the settings.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl BackendTls {
    /// Prepares the mode of the configuration: reads the authorities' file once.
    pub fn prepare(tls: &ServerTls) -> Result<Self, BackendTlsError> {
        if tls.mode == ServerTlsMode::Off {
            return Ok(Self { mode: tls.mode, connector: None });
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = if tls.mode == ServerTlsMode::Verified {
            builder.with_root_certificates(authorities(tls)?).with_no_client_auth()
        } else {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
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

fn authorities(tls: &ServerTls) -> Result<RootCertStore, BackendTlsError> {
    let path = tls.ca.as_ref().ok_or(BackendTlsError::NoAuthority)?;
    let read = |source| BackendTlsError::Read { path: path.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        roots.add(certificate.map_err(read)?)?;
    }
    if roots.is_empty() { Err(BackendTlsError::NoAuthority) } else { Ok(roots) }
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
