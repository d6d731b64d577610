//! TLS towards clients.
//!
//! Owns: certificate and key, given or made at start, and the server's side of the handshake. Does not know: when
//! the protocol starts it. Invariant: versions below the configured one are never spoken.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use crate::backend::pem::{Identity, PemError, authorities, identity};
use crate::config::{ClientTls, TlsVersion};
use crate::wire::socket::Socket;
use crate::wire::stream::Tls;

/// Common name of the certificate that is made at start.
const COMMON_NAME: &str = "Tidegate_auto_generated_server_certificate";

/// TLS towards clients, ready to use; shared by all threads.
#[derive(Clone)]
pub struct FrontendTls {
    acceptor: TlsAcceptor,
}

/// The configured certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrontendTlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] PemError),
    /// The authorities of clients' certificates cannot be used.
    #[error("tls.client_ca: {0}")]
    ClientCa(#[from] VerifierBuilderError),
    /// No self-signed certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// Certificate and key do not belong together, or rustls does not take them.
    #[error("`tls.certificate` and `tls.key` cannot be used together: {0}")]
    Rustls(#[from] rustls::Error),
}

impl FrontendTls {
    /// Reads the configured certificate, or makes one; `None` where TLS is not to be offered.
    pub fn prepare(tls: &ClientTls) -> Result<Option<Self>, FrontendTlsError> {
        if !tls.enabled {
            return Ok(None);
        }
        let (chain, key) = match &tls.certificate {
            Some(files) => identity(files)?,
            None => generate()?,
        };
        let versions: &[_] = match tls.min_version {
            TlsVersion::V1_2 => &[&TLS12, &TLS13],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = match &tls.client_ca {
            Some(path) => verifier(path, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        // Clients of MySQL hardly ever resume a session, and each ticket is a packet and memory.
        config.send_tls13_tickets = 0;
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(config)) }))
    }

    /// Encrypts `socket`, on which the client's SSLRequest was the last thing read. Not cancel safe: the
    /// connection is lost.
    pub(super) async fn accept(&self, socket: Socket) -> io::Result<Box<Tls>> {
        let tls = self.acceptor.accept(socket).await?;
        Ok(Box::new(Tls::Server(tls)))
    }
}

/// Who asks clients for a certificate and checks the one that they show. Who shows none is let in: whether it needs one
/// depends on its account, and an ERR packet says more than a failed handshake.
fn verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FrontendTlsError> {
    let roots = Arc::new(authorities(path)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    Ok(verifier.allow_unauthenticated().build()?)
}

/// A self-signed certificate, as mysqld makes one at its first start: it encrypts, and proves nothing.
fn generate() -> Result<Identity, FrontendTlsError> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters =
        rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into(), "::1".into()])?;
    parameters.distinguished_name.push(rcgen::DnType::CommonName, COMMON_NAME);
    let certificate = parameters.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Ok((vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::CertificateFiles;

    fn config(certificate: Option<CertificateFiles>, enabled: bool) -> ClientTls {
        ClientTls { certificate, enabled, ..ClientTls::default() }
    }

    #[test]
    fn a_certificate_is_made_where_none_is_given() {
        assert!(FrontendTls::prepare(&config(None, true)).unwrap().is_some());
        assert!(FrontendTls::prepare(&config(None, false)).unwrap().is_none());
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = PathBuf::from("/nonexistent/chain.pem");
        let files = CertificateFiles { certificate: missing.clone(), key: missing };
        let error = FrontendTls::prepare(&config(Some(files), true)).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/chain.pem"), "{error}");
    }
}
