use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use peercompute_net::TlsCertificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::config::Certificate;

/// Bytes of a certificate or key file that are read at most.
const MAX_PEM_BYTES: u64 = 256 * 1024;

/// Certificates in a chain at most.
const MAX_CHAIN: usize = 16;

/// A certificate file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}; {remedy}", file.display())]
#[non_exhaustive]
pub struct CertificateError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Reads a certificate chain and its key from their PEM files.
pub(crate) fn load(certificate: &Certificate) -> Result<TlsCertificate, CertificateError> {
    let file = &certificate.chain;
    let unusable = |problem: String| CertificateError {
        file: file.clone(),
        problem,
        remedy: "give a PEM file with the relay's certificate first and those that issued it after it",
    };
    let pem = read(file)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .take(MAX_CHAIN + 1)
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(format!("not a certificate chain: {error}")))?;
    match chain.len() {
        0 => return Err(unusable("no certificate is in it".to_owned())),
        1..=MAX_CHAIN => {}
        _ => {
            return Err(unusable(format!(
                "more than {MAX_CHAIN} certificates are in it"
            )));
        }
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&certificate.key)?).map_err(|error| {
        CertificateError {
            file: certificate.key.clone(),
            problem: format!("not a private key: {error}"),
            remedy: "give the unencrypted PEM file of the certificate's private key",
        }
    })?;
    Ok(TlsCertificate::new(chain, key.secret_der().to_vec()))
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let cannot = |error: io::Error| CertificateError {
        file: file.to_owned(),
        problem: format!("cannot be read: {error}"),
        remedy: "check the path and its permissions",
    };
    let mut pem = Vec::new();
    File::open(file)
        .map_err(cannot)?
        .take(MAX_PEM_BYTES)
        .read_to_end(&mut pem)
        .map_err(cannot)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";

    fn files(chain: &str, key: &str) -> (tempfile::TempDir, Certificate) {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate {
            chain: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(&certificate.chain, chain).unwrap();
        std::fs::write(&certificate.key, key).unwrap();
        (folder, certificate)
    }

    #[test]
    fn a_chain_and_its_key_are_read() {
        let (_folder, certificate) = files(&CERTIFICATE.repeat(2), KEY);
        let loaded = format!("{:?}", load(&certificate).unwrap());
        assert!(loaded.contains("certificates: 2"), "{loaded}");
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let (_folder, certificate) = files("nonsense", KEY);
        assert_eq!(load(&certificate).unwrap_err().file, certificate.chain);
        let (_folder, certificate) = files(&CERTIFICATE.repeat(MAX_CHAIN + 1), KEY);
        assert_eq!(load(&certificate).unwrap_err().file, certificate.chain);
        let (_folder, certificate) = files(CERTIFICATE, CERTIFICATE);
        assert_eq!(load(&certificate).unwrap_err().file, certificate.key);
    }

    #[test]
    fn a_missing_file_is_named() {
        let (_folder, mut certificate) = files(CERTIFICATE, KEY);
        certificate.key.push("missing");
        let error = load(&certificate).unwrap_err();
        assert_eq!(error.file, certificate.key);
        assert!(error.problem.starts_with("cannot be read"), "{error}");
    }
}
