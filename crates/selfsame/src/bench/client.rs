//! The load's own HTTP client, as lean as those of wrk or pgbench: client and server share the cores here, and what is
//! to be measured is the server.
//!
//! A connection is kept and carries one request at a time. What all requests have in common is built once. Of an
//! answer, the status is read and the whole body is waited for; anything that is not an answer of known length ends
//! the run.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use selfsame_api::merchant::Secret;
use selfsame_api::payment::NewPayment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Largest answer that is read, in bytes. A payment has about 700.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where payments are charged, and by whom.
#[derive(Clone)]
pub struct Till {
    address: SocketAddr,
    /// The request's head without its length.
    head: Arc<Zeroizing<String>>,
}

impl Till {
    /// A till of the merchant that has this key.
    pub fn new(address: SocketAddr, key: &Secret) -> Self {
        let head = format!(
            "POST /v1/payments HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: ",
            key.0
        );
        Self { address, head: Arc::new(Zeroizing::new(head)) }
    }

    /// Opens a connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("failed to connect to the server")?;
        stream.set_nodelay(true).context("failed to set up a connection")?;
        let head = self.head.clone();
        Ok(Connection { stream, head, body: Vec::new(), request: Zeroizing::default(), answer: Vec::new() })
    }
}

/// A connection that is kept, with its buffers.
pub struct Connection {
    stream: TcpStream,
    head: Arc<Zeroizing<String>>,
    body: Vec<u8>,
    request: Zeroizing<Vec<u8>>,
    answer: Vec<u8>,
}

impl Connection {
    /// Sends a payment, waits for the whole answer and tells its status.
    pub async fn post(&mut self, new: &NewPayment) -> anyhow::Result<u16> {
        self.body.clear();
        serde_json::to_writer(&mut self.body, new).context("failed to write a request")?;
        self.request.clear();
        self.request.extend_from_slice(self.head.as_bytes());
        write!(self.request, "{}\r\n\r\n", self.body.len())?;
        self.request.extend_from_slice(&self.body);
        self.stream.write_all(&self.request).await.context("failed to send a request")?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await.context("failed to read an answer")? == 0 {
                bail!("the server closed a connection without an answer");
            }
            if let Some((status, length)) = parse(&self.answer)? {
                match self.answer.len().cmp(&length) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Ok(status),
                    std::cmp::Ordering::Greater => bail!("the server sent more than one answer"),
                }
            }
            if self.answer.len() > ANSWER_BYTES_MAX {
                bail!("an answer has more than {ANSWER_BYTES_MAX} bytes");
            }
        }
    }
}

/// Status and whole length of an answer, once its head is there.
fn parse(answer: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).context("an answer's head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| digits.parse().ok()).context("an answer without a status")?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let body = lines.find_map(header).context("an answer that does not tell its length")?;
    if body > ANSWER_BYTES_MAX {
        bail!("an answer has more than {ANSWER_BYTES_MAX} bytes");
    }
    Ok(Some((status, end + 4 + body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_status_and_length_once_its_head_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\ndate: now\r\n\r\n{}";
        assert_eq!(parse(answer).unwrap(), Some((201, answer.len())));
        assert_eq!(parse(&answer[..30]).unwrap(), None);
        assert_eq!(parse(&answer[..answer.len() - 2]).unwrap(), Some((201, answer.len())));
    }

    #[test]
    fn what_is_no_answer_of_known_length_ends_the_run() {
        parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err();
        parse(b"ICY 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap_err();
        parse(b"HTTP/1.1 2\r\ncontent-length: 0\r\n\r\n").unwrap_err();
    }
}
