//! The TCP ports of the verification interface: a loopback port in the clear, and one for the LAN with TLS.
//!
//! Strangers can reach the second one, so everything about a connection has a limit: how many there are, how long a
//! handshake and a request's head may take, how long a head may be. Bodies are limited by the routes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::lock;

/// Most connections at a time of one port, and of one address: a register needs two or three.
const CONNECTIONS_MAX: usize = 64;
const CONNECTIONS_PER_ADDRESS_MAX: usize = 16;

/// Longest TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Longest time until the head of a request is here, and so for an idle connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Pause after the system could not give us a connection, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// A port that is taken, but does not answer yet.
pub struct Listening {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// The port for other machines.
pub struct LanAccess {
    /// The port.
    pub listening: Listening,
    /// Names and addresses by which registers reach it, at least one.
    pub names: Vec<String>,
    /// Where key and certificate are kept.
    pub certificate: PathBuf,
    /// Where the certificate of the site's authority is put for those who install it on registers.
    pub authority: PathBuf,
}

/// How registers reach the verification interface, besides the Unix socket.
pub struct RegisterAccess {
    /// The file of paired registers.
    pub registers: PathBuf,
    /// Pages from elsewhere that may call, e.g. `https://pos.example`.
    pub origins: Vec<String>,
    /// The loopback port, if there is one.
    pub loopback: Option<Listening>,
    /// The port for other machines, if there is one.
    pub lan: Option<LanAccess>,
}

impl Listening {
    /// Takes a loopback port. Any other address is refused: what goes over it is not encrypted.
    pub async fn on_loopback(address: SocketAddr) -> io::Result<Self> {
        let listener = bind_loopback(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Takes a port for other machines.
    pub async fn on_lan(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address that was taken, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Takes a loopback port.
pub(crate) async fn bind_loopback(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let text = format!("{address} is no loopback address");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    TcpListener::bind(address).await
}

/// Names by which a loopback port is reached.
pub(crate) fn loopback_names(address: SocketAddr) -> [String; 2] {
    [address.ip().to_string(), "localhost".to_owned()]
}

/// How many connections there are, by address.
#[derive(Default)]
struct Connections(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts as long as this lives.
struct Counted {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// Counts one more, if it may be.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let mut counts = lock(&self.0);
        let all: usize = counts.values().sum();
        let own = counts.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *own >= CONNECTIONS_PER_ADDRESS_MAX {
            counts.retain(|_, count| *count > 0);
            return None;
        }
        *own += 1;
        Some(Counted { connections: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.connections.0);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
        }
        counts.retain(|_, count| *count > 0);
    }
}

/// Answers until this is dropped, and all connections with it. With TLS if `tls` says how.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let connections = Arc::new(Connections::default());
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(counted) = connections.enter(peer.ip()) else {
            tracing::warn!(peer.address = %peer.ip(), "too many connections: one more was closed");
            continue;
        };
        let (tls, router) = (tls.clone(), router.clone());
        running.spawn(async move {
            let _counted = counted;
            converse(stream, peer.ip(), tls, router).await;
        });
    }
}

async fn converse(stream: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>, router: Router) {
    // Requests and answers are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, peer, router).await };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, peer, router).await,
        // The usual cause is a register on which the site's authority is not installed: worth a line.
        Ok(Err(error)) => tracing::info!(peer.address = %peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::info!(peer.address = %peer, "a TLS handshake took too long"),
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: IpAddr, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(peer.address = %peer, %error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn one_address_cannot_take_all_connections() {
        let connections = Arc::new(Connections::default());
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut held: Vec<Counted> = Vec::new();
        while let Some(counted) = connections.enter(address(1)) {
            held.push(counted);
        }
        assert_eq!(held.len(), CONNECTIONS_PER_ADDRESS_MAX);
        for last in 2..100 {
            held.extend(connections.enter(address(last)));
        }
        assert_eq!(held.len(), CONNECTIONS_MAX);
        held.pop();
        assert!(connections.enter(address(200)).is_some());
        drop(held);
        assert!(lock(&connections.0).is_empty());
    }

    #[tokio::test]
    async fn heads_without_end_are_refused() {
        let listening = Listening::on_loopback("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listening.address();
        let router = Router::new().route("/", get(async || "here"));
        let serving = tokio::spawn(serve(listening.listener, None, router));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nfill: {}\r\n\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
        // The other side may close before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
        serving.abort();
    }
}
