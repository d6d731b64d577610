//! Certificates and keys from PEM files, for TLS on either side.
//!
//! Owns: the reading, and errors that name the file. Does not know: what they are for.
//! Invariant: no error shows a key or a part of one.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::CertificateFiles;

/// A chain, leaf first, and the leaf's private key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read as PEM.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// It holds no certificate.
    #[error("no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate in it is none.
    #[error("{path}: {source}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

/// The certificate chain and the key that prove who we are.
///
/// # Errors
/// See [`PemError`].
pub fn identity(files: &CertificateFiles) -> Result<Identity, PemError> {
    let chain = certificates(&files.certificate)?;
    let failed = |source| PemError::Read { path: files.key.clone(), source };
    Ok((chain, PrivateKeyDer::from_pem_file(&files.key).map_err(failed)?))
}

/// The authorities whose word counts; at least one.
///
/// # Errors
/// See [`PemError`].
pub fn authorities(path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let failed = |source| PemError::Certificate { path: path.to_owned(), source };
        roots.add(certificate).map_err(failed)?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let failed = |source| PemError::Read { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(failed)?;
    if certificates.is_empty() { Err(PemError::NoCertificate(path.to_owned())) } else { Ok(certificates) }
}
