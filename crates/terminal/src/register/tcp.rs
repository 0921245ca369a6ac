//! A line over TCP to a till's program. The terminal connects and the till listens: so a code goes to the one address of
//! the settings, not to whoever connects, and a till that does not run is known before anything is sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{OutputProfile, Register, STALL_MAX, Undelivered, left};

/// How long a till is waited for that has closed its end without reading.
const LINGER: Duration = Duration::from_millis(100);

/// Connects for each code, writes one line, and closes.
pub struct TcpLine {
    address: SocketAddr,
    profile: OutputProfile,
}

impl TcpLine {
    /// A till at an address; nothing is opened yet.
    pub fn new(address: SocketAddr, profile: OutputProfile) -> Self {
        Self { address, profile }
    }

    /// Whether the line arrived as far as can be known: a till that ends the connection without having read resets it.
    fn was_taken(mut stream: &TcpStream, within: Duration) -> io::Result<()> {
        stream.set_read_timeout(Some(within))?;
        stream.shutdown(Shutdown::Write)?;
        match stream.read(&mut [0; 64]) {
            // It has closed, has answered something, or keeps its end open for the next code.
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl Register for TcpLine {
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered> {
        let give_up = Instant::now() + within;
        let text = self.profile.text(digits);
        let way = format!("till `{}`", self.address);
        let connected = TcpStream::connect_timeout(&self.address, STALL_MAX.min(within));
        let stream = connected.map_err(|source| Undelivered::Missing { way: way.clone(), source })?;
        let not_yet = |source| Undelivered::after(&way, 0, text.len(), source);
        stream.set_nodelay(true).map_err(not_yet)?;
        stream.set_write_timeout(Some(left(give_up).map_err(not_yet)?)).map_err(not_yet)?;
        // From here on the till may have all of it, whatever happens.
        let written = (&stream).write_all(text.as_bytes());
        let taken = written.and_then(|()| Self::was_taken(&stream, left(give_up)?.min(LINGER)));
        taken.map_err(|source| Undelivered::after(&way, text.len(), text.len(), source))
    }

    /// Not asked: a connection without a line would be a riddle to the till.
    fn is_there(&self) -> bool {
        true
    }
}
