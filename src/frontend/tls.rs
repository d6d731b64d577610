//! TLS towards clients.
//!
//! Owns: certificate and key, given or made at start, and the server's side of the handshake. Does not know: when
//! the protocol starts it. Invariant: versions below the configured one are never spoken.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use crate::config::{CertificateFiles, ClientTls, TlsVersion};
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
    /// A file cannot be read as PEM.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate's file holds none.
    #[error("no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// No self-signed certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// Certificate and key do not belong together, or rustls does not take them.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl FrontendTls {
    /// Reads the configured certificate, or makes one; `None` where TLS is not to be offered.
    pub fn prepare(tls: &ClientTls) -> Result<Option<Self>, FrontendTlsError> {
        if !tls.enabled {
            return Ok(None);
        }
        let (chain, key) = match &tls.certificate {
            Some(files) => read(files)?,
            None => generate()?,
        };
        let versions: &[_] = match tls.min_version {
            TlsVersion::V1_2 => &[&TLS12, &TLS13],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
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

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(files: &CertificateFiles) -> Result<Identity, FrontendTlsError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| FrontendTlsError::Read { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(&files.certificate))?;
    if chain.is_empty() {
        return Err(FrontendTlsError::NoCertificate(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    Ok((chain, key))
}

/// A self-signed certificate, as mysqld makes one at its first start: it encrypts, and proves nothing.
fn generate() -> Result<Identity, FrontendTlsError> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters =
        rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into(), "::1".into()])?;
    parameters.distinguished_name.push(rcgen::DnType::CommonName, COMMON_NAME);
    let certificate = parameters.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(certificate: Option<CertificateFiles>, enabled: bool) -> ClientTls {
        ClientTls { certificate, require: false, enabled, min_version: TlsVersion::V1_2 }
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
