//! TLS to PostgreSQL: with a certificate that is looked at, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{DatabaseError, Result};

fn refused(reason: impl Into<String>) -> DatabaseError {
    DatabaseError::Address(reason.into())
}

/// The other way round than percent-encoding, which file names in an address may need.
fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after.get(..2).filter(|_| *first == b'%');
        let Some(digits) = encoded else {
            bytes.push(*first);
            rest = after;
            continue;
        };
        let digits = str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(digits.ok_or_else(|| refused("`%` in an address is followed by two digits"))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| refused("`sslrootcert` is a path in UTF-8"))
}

fn connector(root_certificates: &Path) -> Result<MakeRustlsConnect> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        refused(format!("`sslrootcert` names `{}`: {reason}", root_certificates.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root_certificates).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"no certificate in it"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// An address, and what speaks TLS to it where it says `sslmode=verify-full` and, as `sslrootcert`, whose certificates
/// count: libpq's own words, so that `psql` and `pg_dump` take the same address. libpq's modes between that and none
/// encrypt to whoever answers, which keeps nobody out who could listen; they are refused.
pub(super) fn parse(url: &str) -> Result<(Config, Option<MakeRustlsConnect>)> {
    let (mut mode, mut root_certificates) = ("disable".to_owned(), None);
    let (address, query) = match url.split_once('?') {
        Some((address, query)) if address.contains("://") => (address, query),
        _ => (url, ""),
    };
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => value.clone_into(&mut mode),
            Some(("sslrootcert", value)) => root_certificates = Some(PathBuf::from(decoded(value)?)),
            _ => kept.push(parameter),
        }
    }
    let mut config: Config = match kept.as_slice() {
        [] => address.parse()?,
        kept => format!("{address}?{}", kept.join("&")).parse()?,
    };
    match (mode.as_str(), root_certificates) {
        ("disable", _) => {
            config.ssl_mode(SslMode::Disable);
            Ok((config, None))
        }
        ("verify-full", Some(file)) => {
            config.ssl_mode(SslMode::Require);
            Ok((config, Some(connector(&file)?)))
        }
        ("verify-full", None) => Err(refused("`sslmode=verify-full` needs `sslrootcert=FILE`, in PEM")),
        _ => Err(refused("`sslmode` is `disable` or `verify-full`: the others do not look who answers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(url: &str) -> String {
        parse(url).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_address_says_whether_and_with_whom_tls_is_spoken() {
        let (config, tls) =
            parse("postgres://ada@db.example/site?connect_timeout=3&sslmode=disable").unwrap();
        assert!(tls.is_none());
        assert_eq!(config.get_connect_timeout().map(std::time::Duration::as_secs), Some(3));
        assert_eq!((config.get_user(), config.get_dbname()), (Some("ada"), Some("site")));
        assert!(parse("postgres:///site?host=/run/postgresql").unwrap().1.is_none());
        for mode in ["prefer", "require", "verify-ca", "allow", ""] {
            let told = reason(&format!("postgres://db.example/site?sslmode={mode}"));
            assert!(told.contains("`disable` or `verify-full`"), "{mode}: {told}");
        }
        assert!(reason("postgres://db.example/site?sslmode=verify-full").contains("sslrootcert=FILE"));
        let missing = reason("postgres://db.example/site?sslmode=verify-full&sslrootcert=/no%20such/ca.pem");
        assert!(missing.contains("`/no such/ca.pem`"), "{missing}");
        assert!(reason("postgres://db.example/site?sslrootcert=%zz").contains('%'));
    }
}
