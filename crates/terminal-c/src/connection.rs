//! HTTP/1.1 to one terminal, a connection a call: blocking, with a deadline over all of it, and limits on what is read.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Longest wait for a TCP connection: the terminal is on the same machine or in the same house.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest head of an answer in bytes, and most headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 48;

/// Longest body of an answer in bytes. A session has about one thousand.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 10;

/// Longest token in characters.
const TOKEN_CHARACTERS_MAX: usize = 512;

/// The time by which a call must be over. Here an `Instant` decides, because a blocking socket knows timeouts for each
/// read only, and an answer that drips would never be over.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// What is left, if anything is.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub(crate) fn left_or_error(self) -> io::Result<Duration> {
        self.left().ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

/// Where a terminal is.
#[derive(Debug, PartialEq)]
pub(crate) enum Address {
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    Loopback(SocketAddr),
    #[cfg(feature = "tls")]
    Remote(crate::tls::Remote),
}

impl Address {
    /// Reads `unix:/run/selfsame/terminal.sock`, `http://127.0.0.1:8701` or `https://till-2:8702`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        if let Some(authority) = text.strip_prefix("https://") {
            return Self::remote(authority.strip_suffix('/').unwrap_or(authority));
        }
        let Some(authority) = text.strip_prefix("http://") else {
            return Err("`address` begins with `unix:`, `http://` or `https://`");
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let parsed = match authority.strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            None => authority.parse::<SocketAddr>().ok(),
        };
        let address = parsed.ok_or("`address` is not of the form `http://127.0.0.1:8701`")?;
        if !address.ip().is_loopback() {
            return Err(
                "`http://` goes to this machine only: elsewhere the token would be readable on the way",
            );
        }
        Ok(Address::Loopback(address))
    }

    #[cfg(unix)]
    fn unix(path: &str) -> Result<Self, &'static str> {
        if path.is_empty() {
            return Err("`address` has no path after `unix:`");
        }
        Ok(Address::Unix(path.into()))
    }

    #[cfg(not(unix))]
    fn unix(_: &str) -> Result<Self, &'static str> {
        Err("`unix:` is not there on this system: give `http://127.0.0.1:PORT`")
    }

    #[cfg(feature = "tls")]
    fn remote(authority: &str) -> Result<Self, &'static str> {
        let remote = crate::tls::Remote::parse(authority);
        remote.map(Address::Remote).ok_or("`address` is not of the form `https://till-2:8702`")
    }

    #[cfg(not(feature = "tls"))]
    fn remote(_: &str) -> Result<Self, &'static str> {
        Err("`https://` is not in this library: it was built without the feature `tls`")
    }

    fn host(&self) -> String {
        match self {
            #[cfg(unix)]
            Address::Unix(_) => "localhost".to_owned(),
            Address::Loopback(address) => address.to_string(),
            #[cfg(feature = "tls")]
            Address::Remote(remote) => remote.authority.clone(),
        }
    }
}

impl Terminal {
    fn connect(&self, deadline: Deadline) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.address {
            // At once, or refused at once, as long as the terminal's queue of connections is not full.
            #[cfg(unix)]
            Address::Unix(path) => Box::new(std::os::unix::net::UnixStream::connect(path)?),
            Address::Loopback(address) => {
                let longest = deadline.left_or_error()?.min(CONNECT_TIMEOUT);
                Box::new(TcpStream::connect_timeout(address, longest)?)
            }
            #[cfg(feature = "tls")]
            Address::Remote(remote) => {
                let nobody = || io::Error::other("`ca_file` is missing: whom to trust");
                remote.connect(self.trust.as_ref().ok_or_else(nobody)?, deadline)?
            }
        })
    }
}

/// A socket with timeouts.
pub(crate) trait Stream: Read + Write {
    fn read_within(&self, longest: Duration) -> io::Result<()>;
    fn write_within(&self, longest: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn read_within(&self, longest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(longest))
    }

    fn write_within(&self, longest: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(longest))
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    fn read_within(&self, longest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(longest))
    }

    fn write_within(&self, longest: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(longest))
    }
}

/// The key to a loopback port: visible ASCII, at most 512 characters, so that it is one header's value.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token as it was written, with blanks around it or a line's end behind.
    pub(crate) fn parse(text: Zeroizing<String>) -> Result<Self, &'static str> {
        let token = Zeroizing::new(text.trim().to_owned());
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || token.len() > TOKEN_CHARACTERS_MAX || !is_visible {
            return Err("a token has 1 to 512 visible ASCII characters");
        }
        Ok(Self(token))
    }
}

/// What the terminal answered, whatever it was.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// May hold a payment code, so it is wiped.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why nothing was answered.
#[derive(Debug)]
pub(crate) enum Silence {
    /// No connection: the request was certainly not handled.
    Unreachable(io::Error),
    /// The connection broke or the time was over: the request may or may not have been handled.
    NoAnswer(io::Error),
    /// The answer is not HTTP of the form that a terminal speaks, or too long.
    Malformed(&'static str),
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        Silence::NoAnswer(error)
    }
}

/// One terminal, with the caller's right to speak to it.
pub(crate) struct Terminal {
    pub(crate) address: Address,
    pub(crate) token: Option<Token>,
    #[cfg(feature = "tls")]
    pub(crate) trust: Option<crate::tls::Trust>,
}

impl Terminal {
    /// One request and its answer. `path` must be clean: it goes into the request's first line as it is.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Reply, Silence> {
        let mut stream = self.connect(deadline).map_err(Silence::Unreachable)?;
        let mut head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: application/json\r\n\
             User-Agent: selfsame-terminal-c/{version}\r\n",
            host = self.address.host(),
            version = env!("CARGO_PKG_VERSION"),
        ));
        if let Some(Token(token)) = &self.token {
            // Room first: a string that grows leaves a copy behind.
            head.reserve(token.len() + 256);
            head.push_str("Authorization: Bearer ");
            head.push_str(token);
            head.push_str("\r\n");
        }
        if method == "POST" {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        for part in [head.as_bytes(), body] {
            stream.write_within(deadline.left_or_error()?)?;
            stream.write_all(part)?;
        }
        stream.flush()?;
        read_reply(stream.as_mut(), deadline)
    }
}

/// What the head of an answer says.
struct Head {
    bytes: usize,
    status: u16,
    body_bytes: Option<usize>,
}

fn read_reply(stream: &mut dyn Stream, deadline: Deadline) -> Result<Reply, Silence> {
    let mut buffer = Zeroizing::new(vec![0; HEAD_BYTES_MAX]);
    let mut filled = 0;
    let head = loop {
        if filled == buffer.len() {
            return Err(Silence::Malformed("the head of the answer is too long"));
        }
        let read = read_some(stream, &mut buffer[filled..], deadline)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        if let Some(head) = parse_head(&buffer[..filled])? {
            break head;
        }
    };
    let start = &buffer[head.bytes..filled];
    let longest = head.body_bytes.unwrap_or(BODY_BYTES_MAX);
    if longest > BODY_BYTES_MAX {
        return Err(Silence::Malformed("the answer is too long"));
    }
    if start.len() > longest {
        return Err(Silence::Malformed("the answer is longer than it says"));
    }
    // All of it at once, and one byte to see that there is more: a vector that grows leaves copies behind.
    let mut body = Zeroizing::new(vec![0; longest + 1]);
    body[..start.len()].copy_from_slice(start);
    let mut length = start.len();
    while head.body_bytes != Some(length) {
        let read = read_some(stream, &mut body[length..], deadline)?;
        length += read;
        if read == 0 && head.body_bytes.is_some() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if read == 0 {
            break;
        }
        if length > longest {
            return Err(Silence::Malformed("the answer is too long"));
        }
    }
    body.truncate(length);
    Ok(Reply { status: head.status, body })
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Silence> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|_| Silence::Malformed("the answer is not HTTP"))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let mut body_bytes = if status == 204 { Some(0) } else { None };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Silence::Malformed("the answer comes in chunks, which a terminal never sends"));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|value| value.trim().parse().ok());
            body_bytes = Some(length.ok_or(Silence::Malformed("the length of the answer is no number"))?);
        }
    }
    Ok(Some(Head { bytes: head_bytes, status, body_bytes }))
}

fn read_some(stream: &mut dyn Stream, into: &mut [u8], deadline: Deadline) -> io::Result<usize> {
    loop {
        stream.read_within(deadline.left_or_error()?)?;
        match stream.read(into) {
            // The host program has signals of its own.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Unix says so when a read's time is over.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unix_sockets_and_loopback_ports() {
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, 8701));
        for text in ["http://127.0.0.1:8701", "http://127.0.0.1:8701/", "http://localhost:8701"] {
            assert_eq!(Address::parse(text), Ok(Address::Loopback(port)));
        }
        assert!(matches!(Address::parse("http://[::1]:8701"), Ok(Address::Loopback(_))));
        #[cfg(unix)]
        assert_eq!(Address::parse("unix:/run/t.sock"), Ok(Address::Unix("/run/t.sock".into())));
        let refused = [
            "",
            "unix:",
            "/run/t.sock",
            "https://127.0.0.1",
            "http://127.0.0.1",
            "http://192.168.0.7:8701",
            "http://127.0.0.1:8701/v1",
            "http://127.0.0.1:8701\r\nX: 1",
            "http://0.0.0.0:8701",
            "http://till:8701",
            "http://localhost:99999",
        ];
        for text in refused {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_cannot_write_headers() {
        let token = |text: &str| Token::parse(Zeroizing::new(text.to_owned())).is_ok();
        assert!(token("sst_0123456789"));
        assert!(token("sst_0123456789\n"));
        for text in ["", "\n", "a b", "a\r\nX: 1", "ü", &"a".repeat(513)] {
            assert!(!token(text), "{text:?}");
        }
    }
}
