use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use peercompute_net::TlsCertificate;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::config::Certificate;

/// Bytes of a certificate or key file at most.
const MAX_PEM_BYTES: u64 = 256 * 1024;

/// Certificates in a chain at most.
const MAX_CHAIN: usize = 16;

/// Names of a certificate that are looked at.
const MAX_NAMES: usize = 16;

/// A certificate file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}; {}", file.display(), problem.remedy())]
#[non_exhaustive]
pub struct CertificateError {
    /// The file.
    pub file: PathBuf,
    /// Whether it is to hold the private key, and not the certificates. It may be one file for both.
    pub is_key: bool,
    /// What is wrong with it.
    pub problem: CertificateProblem,
}

/// What is wrong with a certificate file, or with the file of its private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// The system does not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a folder or a pipe.
    #[error("is no file")]
    NotAFile,
    /// It is longer than any certificate or key.
    #[error("has more than {limit} bytes")]
    TooLarge {
        /// Bytes that are read at most.
        limit: u64,
    },
    /// It holds no certificate.
    #[error("no certificate is in it")]
    NoCertificate,
    /// It holds more certificates than a chain has.
    #[error("more than {limit} certificates are in it")]
    TooManyCertificates {
        /// How many are taken.
        limit: usize,
    },
    /// What it holds is damaged.
    #[error("not a certificate chain: {reason}")]
    NotAChain {
        /// What the parser says.
        reason: String,
    },
    /// It holds no private key, or one that is encrypted, damaged or of an unknown kind.
    #[error("not a private key: {reason}")]
    NotAKey {
        /// What the parser says.
        reason: String,
    },
    /// The key is that of another certificate.
    #[error("not the private key of the certificate {}", certificate.display())]
    OtherKey {
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// The certificate is for a later time.
    #[error("the certificate is not valid before {from}")]
    NotYetValid {
        /// When it begins to be valid.
        from: String,
    },
    /// The certificate was for an earlier time.
    #[error("the certificate has expired: it was valid until {until}")]
    Expired {
        /// When its validity ended.
        until: String,
    },
}

impl CertificateProblem {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check the path and its permissions",
            Self::NotAFile
            | Self::TooLarge { .. }
            | Self::NoCertificate
            | Self::TooManyCertificates { .. }
            | Self::NotAChain { .. } => {
                "give a PEM file with the server's certificate first and those that issued it after it"
            }
            Self::NotAKey { .. } => {
                "give the unencrypted PEM file of the certificate's private key"
            }
            Self::OtherKey { .. } => "give the key and the certificate that belong together",
            Self::NotYetValid { .. } => "check this machine's clock, or give one that is valid now",
            Self::Expired { .. } => "renew it",
        }
    }
}

/// A certificate chain with its private key, read from their files and checked: for HTTPS, and for secure WebSocket.
#[derive(Clone)]
pub struct ServerCertificate {
    transport: TlsCertificate,
    https: Arc<ServerConfig>,
    names: Vec<String>,
}

impl ServerCertificate {
    /// Reads both files as they are `now`, as time since 1970. What is changed in them later has no effect on what was read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], which names the file: one that cannot be read, holds something else, or is not valid at that time; a key of another certificate.
    pub fn read(files: &Certificate, now: Duration) -> Result<Self, CertificateError> {
        let about_chain = |problem| CertificateError {
            file: files.chain.clone(),
            is_key: false,
            problem,
        };
        let about_key = |problem| CertificateError {
            file: files.key.clone(),
            is_key: true,
            problem,
        };
        let chain = read(&files.chain)
            .and_then(|pem| parse_chain(&pem))
            .map_err(about_chain)?;
        let names = chain
            .first()
            .ok_or(CertificateProblem::NoCertificate)
            .and_then(|own| names_if_valid(own, now))
            .map_err(about_chain)?;
        let key = read(&files.key)
            .and_then(|pem| {
                PrivateKeyDer::from_pem_slice(&pem).map_err(|error| CertificateProblem::NotAKey {
                    reason: error.to_string(),
                })
            })
            .map_err(about_key)?;
        let transport = TlsCertificate::new(
            chain.iter().map(|it| it.to_vec()).collect(),
            key.secret_der().to_vec(),
        );
        let https = https(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => about_key(CertificateProblem::OtherKey {
                certificate: files.chain.clone(),
            }),
            rustls::Error::InvalidCertificate(error) => {
                about_chain(CertificateProblem::NotAChain {
                    reason: error.to_string(),
                })
            }
            error => about_key(CertificateProblem::NotAKey {
                reason: error.to_string(),
            }),
        })?;
        Ok(Self {
            transport,
            https: Arc::new(https),
            names,
        })
    }

    /// The DNS names that the certificate is for, in its order, 16 at most and none with a `*`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The same for [`Libp2pConfig::tls`](peercompute_net::Libp2pConfig::tls).
    pub fn for_transport(&self) -> TlsCertificate {
        self.transport.clone()
    }

    pub(crate) fn for_https(&self) -> Arc<ServerConfig> {
        self.https.clone()
    }
}

impl fmt::Debug for ServerCertificate {
    /// Never shows the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("transport", &self.transport)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateProblem> {
    // Before it is opened: a pipe would keep whoever opens it waiting.
    let metadata = fs::metadata(file).map_err(CertificateProblem::Unreadable)?;
    if !metadata.is_file() {
        return Err(CertificateProblem::NotAFile);
    }
    let mut pem = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut pem))
        .map_err(CertificateProblem::Unreadable)?;
    if pem.len() as u64 > MAX_PEM_BYTES {
        return Err(CertificateProblem::TooLarge {
            limit: MAX_PEM_BYTES,
        });
    }
    Ok(pem)
}

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .take(MAX_CHAIN + 1)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateProblem::NotAChain {
            reason: error.to_string(),
        })?;
    match chain.len() {
        0 => Err(CertificateProblem::NoCertificate),
        1..=MAX_CHAIN => Ok(chain),
        _ => Err(CertificateProblem::TooManyCertificates { limit: MAX_CHAIN }),
    }
}

/// The names of a certificate that is valid `now`.
fn names_if_valid(der: &[u8], now: Duration) -> Result<Vec<String>, CertificateProblem> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| CertificateProblem::NotAChain {
            reason: error.to_string(),
        })?;
    let validity = certificate.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        let from = validity.not_before.to_string();
        return Err(CertificateProblem::NotYetValid { from });
    }
    if now > validity.not_after.timestamp() {
        let until = validity.not_after.to_string();
        return Err(CertificateProblem::Expired { until });
    }
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|it| it.value.general_names.iter());
    Ok(names
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) if is_host(name) => Some((*name).to_owned()),
            _ => None,
        })
        .take(MAX_NAMES)
        .collect())
}

fn is_host(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !name.is_empty() && name.bytes().all(fits)
}

fn https(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};

    use super::*;

    /// In the year 2026.
    const NOW: Duration = Duration::from_secs(1_780_000_000);

    fn files(chain: &str, key: &str) -> (tempfile::TempDir, Certificate) {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate {
            chain: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
        };
        fs::write(&certificate.chain, chain).unwrap();
        fs::write(&certificate.key, key).unwrap();
        (folder, certificate)
    }

    fn pair(from: i32, to: i32) -> (String, String) {
        let mut params =
            CertificateParams::new(["node.example".to_owned(), "*.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn refusal(chain: &str, key: &str) -> CertificateError {
        let (_folder, files) = files(chain, key);
        let error = ServerCertificate::read(&files, NOW).unwrap_err();
        assert_eq!(error.is_key, error.file == files.key);
        assert_eq!(
            error.is_key,
            matches!(
                error.problem,
                CertificateProblem::NotAKey { .. } | CertificateProblem::OtherKey { .. }
            ),
            "{error}"
        );
        error
    }

    /// A certificate for `localhost`.
    pub(crate) fn localhost() -> (ServerCertificate, Vec<u8>) {
        let CertifiedKey { cert, key_pair } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, files) = files(&cert.pem(), &key_pair.serialize_pem());
        let read = ServerCertificate::read(&files, NOW).unwrap();
        (read, cert.der().to_vec())
    }

    #[test]
    fn a_chain_and_its_key_are_read_and_their_names_known() {
        let (chain, key) = pair(2020, 2040);
        let (_folder, files) = files(&chain.repeat(2), &key);
        let read = ServerCertificate::read(&files, NOW).unwrap();
        assert_eq!(read.names(), ["node.example"]);
        let shown = format!("{read:?}");
        assert!(shown.contains("certificates: 2"), "{shown}");
    }

    #[test]
    fn one_file_may_hold_both() {
        let (chain, key) = pair(2020, 2040);
        let (_folder, mut files) = files(&format!("{key}{chain}"), "");
        files.key = files.chain.clone();
        assert!(ServerCertificate::read(&files, NOW).is_ok());
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        use CertificateProblem::{
            NoCertificate, NotAChain, NotAKey, TooLarge, TooManyCertificates,
        };
        let (chain, key) = pair(2020, 2040);
        let of = |chain: &str, key: &str| refusal(chain, key).problem;
        assert!(matches!(of("", &key), NoCertificate));
        assert!(matches!(of("nonsense", &key), NoCertificate));
        assert!(matches!(of(&key, &key), NoCertificate));
        let short = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        assert!(matches!(of(short, &key), NotAChain { .. }));
        assert!(matches!(of(&chain[..99], &key), NotAChain { .. }));
        let many = chain.repeat(MAX_CHAIN + 1);
        assert!(matches!(of(&many, &key), TooManyCertificates { .. }));
        let large = "x".repeat(MAX_PEM_BYTES as usize + 1);
        assert!(matches!(of(&large, &key), TooLarge { .. }));
        assert!(matches!(of(&chain, ""), NotAKey { .. }));
        assert!(matches!(of(&chain, &chain), NotAKey { .. }));
        let short = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";
        assert!(matches!(of(&chain, short), NotAKey { .. }));
    }

    #[test]
    fn the_key_of_another_certificate_is_refused() {
        let (chain, _) = pair(2020, 2040);
        let (_, key) = pair(2020, 2040);
        let error = refusal(&chain, &key);
        assert!(matches!(error.problem, CertificateProblem::OtherKey { .. }));
        assert!(error.to_string().contains("chain.pem"), "{error}");
    }

    #[test]
    fn a_certificate_of_another_time_is_refused_with_that_time() {
        let of = |from, to| {
            let (chain, key) = pair(from, to);
            refusal(&chain, &key)
        };
        let early = of(2030, 2040);
        assert!(
            matches!(early.problem, CertificateProblem::NotYetValid { .. }),
            "{early}"
        );
        assert!(early.to_string().contains("2030"), "{early}");
        let late = of(2010, 2020);
        assert!(
            matches!(late.problem, CertificateProblem::Expired { .. }),
            "{late}"
        );
        assert!(late.to_string().contains("2020"), "{late}");
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (chain, key) = pair(2020, 2040);
        let (folder, mut certificate) = files(&chain, &key);
        certificate.key = folder.path().join("missing");
        let error = ServerCertificate::read(&certificate, NOW).unwrap_err();
        assert_eq!(error.file, certificate.key);
        assert!(matches!(error.problem, CertificateProblem::Unreadable(_)));
        certificate.chain = folder.path().to_owned();
        let error = ServerCertificate::read(&certificate, NOW).unwrap_err();
        assert_eq!(error.file, certificate.chain);
        assert!(matches!(error.problem, CertificateProblem::NotAFile));
    }
}
