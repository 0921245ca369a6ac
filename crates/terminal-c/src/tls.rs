//! TLS 1.3 to a terminal on another machine. Only the certificate authority that the caller names is trusted: a site has
//! one of its own, and the world's have no business here.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::connection::{CONNECT_TIMEOUT, Deadline, Stream};

/// Whom a terminal's certificate must come from.
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Reads the certificates of a PEM file.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "`ca_file` is not PEM")?;
            roots.add(certificate).map_err(|_| "`ca_file` holds something else than certificates")?;
        }
        if roots.is_empty() {
            return Err("`ca_file` holds no certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// A terminal by name or number.
#[derive(Debug, PartialEq)]
pub(crate) struct Remote {
    pub(crate) authority: String,
    name: ServerName<'static>,
}

impl Remote {
    /// Reads `till-2.canteen.example:8702`, `192.168.0.7:8702` or `[fd00::7]:8702`.
    pub(crate) fn parse(authority: &str) -> Option<Self> {
        let (host, port) = authority.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).ok()?;
        Some(Self { authority: authority.to_owned(), name })
    }

    /// Connects and shakes hands, so that whatever fails here has sent nothing of a request.
    pub(crate) fn connect(&self, trust: &Trust, deadline: Deadline) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.connect_tcp(deadline)?;
        let mut tls = ClientConnection::new(trust.0.clone(), self.name.clone()).map_err(io::Error::other)?;
        while tls.is_handshaking() || tls.wants_write() {
            let left = deadline.left_or_error()?.min(CONNECT_TIMEOUT);
            if tls.wants_write() {
                stream.write_within(left)?;
                tls.write_tls(&mut stream)?;
            } else {
                stream.read_within(left)?;
                if tls.read_tls(&mut stream)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
        Ok(Box::new(TlsStream(StreamOwned::new(tls, stream))))
    }

    fn connect_tcp(&self, deadline: Deadline) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        // The system's look-up of a name has no deadline of ours.
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, deadline.left_or_error()?.min(CONNECT_TIMEOUT)) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

struct TlsStream(StreamOwned<ClientConnection, TcpStream>);

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for TlsStream {
    fn read_within(&self, longest: Duration) -> io::Result<()> {
        self.0.sock.read_within(longest)
    }

    fn write_within(&self, longest: Duration) -> io::Result<()> {
        self.0.sock.write_within(longest)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use serde_json::json;

    use super::*;
    use crate::call::{Ended, answer};

    /// A site's own authority, as PEM, and a certificate that it gave to a terminal of some name.
    fn authority(terminal: &str) -> (String, ServerConfig) {
        let authority_key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(parameters, authority_key);
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![terminal.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        (authority.pem(), server)
    }

    /// What the library answers if a terminal with a certificate for `name` listens, and `ca` is trusted or its own.
    fn call(name: &str, ca: Option<&str>) -> (Ended, serde_json::Value, String) {
        let (own, server) = authority(name);
        let folder = tempfile::TempDir::new().unwrap();
        let (ca_file, token_file) = (folder.path().join("ca.pem"), folder.path().join("token"));
        std::fs::write(&ca_file, ca.unwrap_or(&own)).unwrap();
        std::fs::write(&token_file, "t0ken\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = Vec::new();
            let mut byte = [0];
            // Ends early if the caller does not like our certificate.
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"state\":\"ready\"}");
            let _ = stream.flush();
            String::from_utf8(request).unwrap()
        });
        let request = json!({
            "call": "terminal", "address": address, "ca_file": ca_file, "token_file": token_file,
        });
        let answer = answer(request.to_string().as_bytes());
        (answer.ended, serde_json::from_slice(&answer.json).unwrap(), serving.join().unwrap())
    }

    #[test]
    fn a_terminal_on_another_machine_is_called_if_its_certificate_comes_from_the_sites_authority() {
        let (ended, answer, request) = call("127.0.0.1", None);
        assert_eq!((ended, &answer["terminal"]["state"]), (Ended::Ok, &json!("ready")));
        assert!(request.contains("\r\nAuthorization: Bearer t0ken\r\n"));
    }

    #[test]
    fn somebody_elses_certificate_and_another_name_get_no_request_and_no_token() {
        let (others, _) = authority("127.0.0.1");
        for (name, ca) in [("127.0.0.1", Some(others.as_str())), ("192.168.0.7", None)] {
            let (ended, answer, request) = call(name, ca);
            assert_eq!((ended, &answer["code"]), (Ended::Unreachable, &json!("terminal_unreachable")));
            assert!(answer["detail"].as_str().unwrap().contains("certificate"), "{answer}");
            assert_eq!(request, "");
        }
    }

    #[test]
    fn names_and_numbers_with_a_port_are_remote_terminals() {
        for authority in ["till-2:8702", "192.168.0.7:8702", "[fd00::7]:8702"] {
            assert!(Remote::parse(authority).is_some(), "{authority}");
        }
        for authority in ["", "till-2", "till 2:8702", "till-2:http", "till-2:8702/v1", "till-2\r\nX: 1:8702"]
        {
            assert!(Remote::parse(authority).is_none(), "{authority:?}");
        }
    }
}
