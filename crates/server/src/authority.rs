//! The site's own certificate authority, by which cash registers on the LAN know the site's terminals.
//!
//! Its certificate is installed on registers, so it must not be worth stealing: it is constrained to private addresses
//! and to a few domains. Whoever has its key can play a terminal of this site and nothing on the internet.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use selfsame_api::bytes::Bytes;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

/// Domains below which names are certified without further ado: those that lead nowhere on the internet (RFC 6762, RFC
/// 8375, the names that routers give, ICANN's `internal`).
pub const DOMAINS_DEFAULT: [&str; 5] = ["home.arpa", "internal", "lan", "local", "localhost"];

/// Most domains of one authority, with the default ones.
const DOMAINS_MAX: usize = 16;

/// Networks whose addresses are certified (RFC 1918, 3927, 4193, 4291, 6598).
const NETWORKS: [(&str, u8); 9] = [
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("::1", 128),
    ("fc00::", 7),
    ("fe80::", 10),
];

/// Life of the authority: longer than that of the tills, because registers must be visited for a new one.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Life of a terminal's certificate: it is renewed by itself from two thirds on.
pub(crate) const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// How far a register's clock may be behind.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a serial number (RFC 5280 allows 20; 16 are random enough).
const SERIAL_BYTES: usize = 16;

/// Length of an uncompressed point of P-256, and its first byte (SEC 1, 2.3.3).
const POINT_BYTES: usize = 65;
const POINT_UNCOMPRESSED: u8 = 4;

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A domain that cannot be one.
    #[error("`{0}` is no domain, or one too many")]
    Domain(String),
    /// The file is damaged.
    #[error("the certificate authority's file is damaged")]
    Damaged,
    /// A name for which this authority does not vouch.
    #[error("`{0}` is neither a private address nor a name below {domains}", domains = .1.join(", "))]
    Name(String, Vec<String>),
    /// No key on the curve P-256.
    #[error("the key is not an uncompressed point of P-256")]
    Key,
    /// The certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// The file in which an authority is kept. Private.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    private_key: Bytes,
    domains: Vec<String>,
    certificate_pem: String,
    fingerprint: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.private_key.0.zeroize();
    }
}

/// A certificate authority.
pub struct Authority {
    key: KeyPair,
    domains: Vec<String>,
    certificate_pem: String,
    fingerprint: String,
}

/// The public half of a terminal's key.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// Makes a new one for the default domains and `more` of them, e.g. `canteen.example`.
    pub fn make(more: &[String], now: Timestamp) -> Result<Self, AuthorityError> {
        let mut domains: Vec<String> = DOMAINS_DEFAULT.map(str::to_owned).to_vec();
        for domain in more {
            let lower = domain.to_ascii_lowercase();
            if !is_name(&lower) || domains.len() == DOMAINS_MAX {
                return Err(AuthorityError::Domain(domain.clone()));
            }
            domains.push(lower);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(&key);
        let permitted = domains.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = networks().map(|(address, bits)| CidrSubnet::from_addr_prefix(address, bits));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted.chain(networks.map(GeneralSubtree::IpAddress)).collect(),
            excluded_subtrees: Vec::new(),
        });
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(serial());
        params.not_before = at(now - CLOCK_SLACK);
        params.not_after = at(now + AUTHORITY_LIFETIME);
        let certificate = params.self_signed(&key)?;
        let fingerprint = fingerprint(certificate.der());
        Ok(Self { key, domains, certificate_pem: certificate.pem(), fingerprint })
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(json: &[u8]) -> Result<Self, AuthorityError> {
        let stored: Stored = serde_json::from_slice(json).map_err(|_| AuthorityError::Damaged)?;
        let key = KeyPair::try_from(stored.private_key.0.as_slice()).map_err(|_| AuthorityError::Damaged)?;
        Ok(Self {
            key,
            domains: stored.domains.clone(),
            certificate_pem: stored.certificate_pem.clone(),
            fingerprint: stored.fingerprint.clone(),
        })
    }

    /// What the owner keeps, private key included.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let stored = Stored {
            private_key: Bytes(self.key.serialize_der()),
            domains: self.domains.clone(),
            certificate_pem: self.certificate_pem.clone(),
            fingerprint: self.fingerprint.clone(),
        };
        Zeroizing::new(serde_json::to_vec_pretty(&stored).expect("text always serializes"))
    }

    /// The certificate that registers install, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` shows it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Certifies a P-256 key for `names`; answers DER and when it ends.
    pub(crate) fn certify(
        &self,
        public_key: &[u8],
        names: &[String],
        now: Timestamp,
    ) -> Result<(Vec<u8>, Timestamp), AuthorityError> {
        if public_key.len() != POINT_BYTES || public_key[0] != POINT_UNCOMPRESSED {
            return Err(AuthorityError::Key);
        }
        let mut certified = CertificateParams::default();
        for name in names {
            certified.subject_alt_names.push(self.vouch(name)?);
        }
        certified.distinguished_name = DistinguishedName::new();
        if let Some(first) = names.first() {
            certified.distinguished_name.push(DnType::CommonName, first.as_str());
        }
        certified.is_ca = IsCa::ExplicitNoCa;
        certified.use_authority_key_identifier_extension = true;
        certified.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        certified.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        certified.serial_number = Some(serial());
        let expires_at = now + CERTIFICATE_LIFETIME;
        certified.not_before = at(now - CLOCK_SLACK);
        certified.not_after = at(expires_at);
        let own = params(&self.key);
        let issuer = Issuer::from_params(&own, &self.key);
        let certificate = certified.signed_by(&Point(public_key), &issuer)?;
        Ok((certificate.der().to_vec(), expires_at))
    }

    fn vouch(&self, name: &str) -> Result<SanType, AuthorityError> {
        let refused = || AuthorityError::Name(name.to_owned(), self.domains.clone());
        if let Ok(address) = name.parse::<IpAddr>() {
            let private = networks().any(|(network, bits)| contains(network, bits, address));
            return if private { Ok(SanType::IpAddress(address)) } else { Err(refused()) };
        }
        let lower = name.to_ascii_lowercase();
        let below = |domain: &String| {
            lower == *domain || lower.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
        };
        if !is_name(&lower) || !self.domains.iter().any(below) {
            return Err(refused());
        }
        Ok(SanType::DnsName(lower.try_into()?))
    }
}

/// What both the authority's certificate and its signatures need. The name carries a part of the key's hash, so that
/// two sites' authorities on one register are told apart.
fn params(key: &KeyPair) -> CertificateParams {
    let hash = Sha256::digest(key.public_key_raw());
    let mark: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Selfsame site authority {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn serial() -> SerialNumber {
    let mut bytes = crate::random::<SERIAL_BYTES>();
    // Positive and not zero (RFC 5280, 4.1.2.2).
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes.to_vec())
}

fn fingerprint(der: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

fn at(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_seconds())
        .expect("our times end with the year 9999, as its do")
}

fn networks() -> impl Iterator<Item = (IpAddr, u8)> {
    NETWORKS.iter().map(|(address, bits)| (address.parse().expect("a constant address"), *bits))
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether a text in lower case is a host name (RFC 1123): no wildcards, no addresses.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000)
    }

    fn certify(names: &[&str]) -> Result<(Vec<u8>, Timestamp), AuthorityError> {
        let authority = Authority::make(&["shop.example".to_owned()], now()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        authority.certify(key.public_key_raw(), &names, now())
    }

    #[test]
    fn names_of_this_site_are_certified_and_no_others() {
        for name in [
            "till-1.local",
            "TILL-2.Lan",
            "localhost",
            "till.shop.example",
            "192.168.1.20",
            "10.255.255.255",
            "172.31.0.1",
            "fd00::1",
            "::1",
        ] {
            assert!(certify(&[name]).is_ok(), "{name}");
        }
        for name in [
            "till-1",
            "shop.example.com",
            "notshop.example",
            "evil-local",
            "bank.example",
            "*.local",
            "",
            ".local",
            "-a.local",
            "a..local",
            "8.8.8.8",
            "172.32.0.1",
            "11.0.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "till 1.local",
            "till\n.local",
        ] {
            assert!(matches!(certify(&[name]), Err(AuthorityError::Name(..))), "{name}");
        }
        assert!(
            certify(&["till-1.local", "bank.example"]).is_err(),
            "one foreign name spoils the certificate"
        );
    }

    #[test]
    fn an_authority_is_read_as_it_was_written() {
        let authority = Authority::make(&[], now()).unwrap();
        let again = Authority::from_json(&authority.to_json()).unwrap();
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
        assert_eq!(again.key.serialize_der(), authority.key.serialize_der());
        assert_eq!(again.fingerprint().len(), 32 * 3 - 1);
        for damaged in [&b"{}"[..], b"", &authority.to_json()[..200]] {
            assert!(matches!(Authority::from_json(damaged), Err(AuthorityError::Damaged)));
        }
    }

    #[test]
    fn keys_of_another_kind_and_domains_that_are_none_are_refused() {
        let authority = Authority::make(&[], now()).unwrap();
        for key in [&[][..], &[4; 64], &[2; 65], &[4; 66]] {
            assert!(matches!(
                authority.certify(key, &["a.local".to_owned()], now()),
                Err(AuthorityError::Key)
            ));
        }
        for domain in ["", "*.example", "shop example", "10.0.0.0"] {
            assert!(Authority::make(&[domain.to_owned()], now()).is_err(), "{domain}");
        }
    }
}
