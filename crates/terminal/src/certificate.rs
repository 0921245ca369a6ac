//! The certificate by which registers on the LAN know this terminal: asked for at the payment server, kept in a file,
//! and renewed in time.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use selfsame_api::bytes::Bytes;
use selfsame_api::certificate::{Certificate, KEY_ALGORITHM, NewCertificate};
use selfsame_domain::clock::Clock;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use zeroize::{Zeroize, Zeroizing};

use crate::device::ServerLink;
use crate::listen::LanAccess;
use crate::{lock, write_private};

/// Longest wait for the server's answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between tries to get a certificate.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// Longest time between two looks at the date.
const LOOK: Duration = Duration::from_secs(3600);

/// Key and certificate, as kept in a private file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    names: Vec<String>,
    private_key: Bytes,
    certificate: Bytes,
    authority: String,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.private_key.0.zeroize();
    }
}

impl Stored {
    /// When two thirds of its life are over: a month is left for a server that is away.
    fn renew_at(&self) -> Timestamp {
        self.issued_at + self.expires_at.since(self.issued_at) / 3 * 2
    }

    fn certified_key(&self) -> Result<CertifiedKey, rustls::Error> {
        let broken = |_| rustls::Error::General("the authority's certificate is no PEM".to_owned());
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).map_err(broken)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private_key.0.clone()));
        // The authority goes with it, so that it can be looked at from a register before it is trusted.
        let chain = vec![CertificateDer::from(self.certificate.0.clone()), authority];
        CertifiedKey::from_der(chain, key, &ring::default_provider())
    }
}

/// What is shown to registers now; nothing until there is a certificate.
#[derive(Default)]
struct Shown(Mutex<Option<Arc<CertifiedKey>>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(***)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        lock(&self.0).clone()
    }
}

/// Keeps a certificate fresh.
pub(crate) struct CertificateKeeper {
    names: Vec<String>,
    file: PathBuf,
    authority: PathBuf,
    link: Arc<ServerLink>,
    clock: Arc<dyn Clock>,
    shown: Arc<Shown>,
}

impl CertificateKeeper {
    pub(crate) fn new(lan: &LanAccess, link: Arc<ServerLink>, clock: Arc<dyn Clock>) -> Self {
        let (names, file, authority) = (lan.names.clone(), lan.certificate.clone(), lan.authority.clone());
        Self { names, file, authority, link, clock, shown: Arc::new(Shown::default()) }
    }

    /// TLS with whatever certificate there is at the time of a handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("ring has what TLS 1.2 and 1.3 need").with_no_client_auth();
        let mut config = config.with_cert_resolver(self.shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Shows what is kept, asks for a new certificate at once (the names or the authority may be others now), and again
    /// in time, for as long as the process runs.
    pub(crate) async fn keep_fresh(self) {
        let mut kept = load(&self.file).filter(|kept| self.fits(kept));
        if let Some(kept) = &kept {
            self.show(kept);
        }
        let (mut due, mut pause) = (true, PAUSE_MIN);
        loop {
            if due {
                match self.renew().await {
                    Ok(renewed) => (kept, pause) = (Some(renewed), PAUSE_MIN),
                    Err(reason) => {
                        let until = kept.as_ref().map(|kept| kept.expires_at.to_string());
                        let until = until.as_deref().unwrap_or("none");
                        tracing::warn!(reason, until, "no new certificate for registers on the LAN");
                        tokio::time::sleep(pause).await;
                        pause = (2 * pause).min(PAUSE_MAX);
                        continue;
                    }
                }
            }
            let renew_at = kept.as_ref().map_or(self.clock.now(), Stored::renew_at);
            tokio::time::sleep(renew_at.since(self.clock.now()).min(LOOK)).await;
            due = self.clock.now() >= renew_at;
        }
    }

    fn fits(&self, kept: &Stored) -> bool {
        kept.names == self.names && kept.expires_at > self.clock.now()
    }

    async fn renew(&self) -> Result<Stored, String> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
        let new = NewCertificate {
            algorithm: KEY_ALGORITHM.to_owned(),
            public_key: Bytes(key.public_key_raw().to_vec()),
            names: self.names.clone(),
        };
        let answered: Result<Certificate, _> = self.link.post("/v1/certificates", &new, CALL_TIMEOUT).await;
        let certificate = answered.map_err(|error| error.to_string())?;
        let stored = Stored {
            names: new.names,
            private_key: Bytes(key.serialize_der()),
            certificate: certificate.certificate,
            authority: certificate.authority,
            issued_at: self.clock.now(),
            expires_at: certificate.expires_at,
        };
        if !self.show(&stored) {
            return Err("the server's certificate cannot be used".to_owned());
        }
        // Without the file everything works until the next start without a server.
        if let Err(error) = self.keep(&stored) {
            tracing::warn!(%error, "the certificate for registers was not kept");
        }
        tracing::info!(names = stored.names.join(" "), until = %stored.expires_at, "certified for registers on the LAN");
        Ok(stored)
    }

    fn keep(&self, stored: &Stored) -> io::Result<()> {
        let json = Zeroizing::new(serde_json::to_vec_pretty(stored).map_err(io::Error::other)?);
        write_private(&self.file, &json)?;
        std::fs::write(&self.authority, &stored.authority)
    }

    fn show(&self, stored: &Stored) -> bool {
        match stored.certified_key() {
            Ok(key) => {
                *lock(&self.shown.0) = Some(Arc::new(key));
                true
            }
            Err(error) => {
                tracing::error!(%error, "a certificate cannot be used");
                false
            }
        }
    }
}

/// A damaged file is as good as none: a new certificate is asked for anyway.
fn load(file: &Path) -> Option<Stored> {
    let json = Zeroizing::new(std::fs::read(file).ok()?);
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let at = |day: i64| Timestamp::from_millis(day * 24 * 3600 * 1000);
        let stored = Stored {
            names: Vec::new(),
            private_key: Bytes::default(),
            certificate: Bytes::default(),
            authority: String::new(),
            issued_at: at(100),
            expires_at: at(190),
        };
        assert_eq!(stored.renew_at(), at(160));
        assert!(stored.certified_key().is_err(), "what is damaged is not shown to registers");
    }
}
