//! A network that fails when it is told to: a proxy on the loopback, before a database or anything else on TCP.

mod connection;
mod protocol;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::ClusterError;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// Who connected to the proxy.
    Client,
    /// Whom the proxy connects to.
    Server,
}

/// How the network is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    target: SocketAddr,
    delay: Duration,
    /// Nothing gets through, and nobody is told.
    is_black_hole: bool,
    refuses: bool,
    /// Connections that were made under another number are cut.
    cut: u64,
    /// Half closes so far; a connection obeys those that come after its beginning.
    half_closed_toward_client: u64,
    half_closed_toward_server: u64,
}

impl Weather {
    fn half_closed_toward(&self, toward: Toward) -> u64 {
        match toward {
            Toward::Client => self.half_closed_toward_client,
            Toward::Server => self.half_closed_toward_server,
        }
    }
}

/// What every connection looks at.
struct Shared {
    weather: watch::Receiver<Weather>,
    /// The next commit is to be cut off from its reply.
    is_armed: AtomicBool,
    /// Commits that were.
    commits_cut: watch::Sender<u64>,
}

/// A proxy; it ends, and cuts all connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of the loopback and connects whoever comes to `target`. Must be called inside a runtime.
    pub async fn start(target: SocketAddr) -> Result<Self, ClusterError> {
        let start = |source| ClusterError::Start { program: "proxy".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(start)?;
        let address = listener.local_addr().map_err(start)?;
        let weather = Weather {
            target,
            delay: Duration::ZERO,
            is_black_hole: false,
            refuses: false,
            cut: 0,
            half_closed_toward_client: 0,
            half_closed_toward_server: 0,
        };
        let (weather, seen) = watch::channel(weather);
        let is_armed = AtomicBool::new(false);
        let shared = Arc::new(Shared { weather: seen, is_armed, commits_cut: watch::Sender::new(0) });
        let listening = tokio::spawn(listen(listener, shared.clone())).abort_handle();
        Ok(Self { address, weather, shared, listening })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects to somebody else from now on; connections that are there stay.
    pub fn point_at(&self, target: SocketAddr) {
        self.weather.send_modify(|weather| weather.target = target);
    }

    /// Every byte is this much later from now on, in each direction; their order stays.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Resets all connections.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cut += 1);
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuses: bool) {
        self.weather.send_modify(|weather| weather.refuses = refuses);
    }

    /// Whether nothing gets through, in either direction, with connections left as they are. Afterwards what was sent
    /// meanwhile arrives, as by a network that tries again.
    pub fn black_hole(&self, is_black_hole: bool) {
        self.weather.send_modify(|weather| weather.is_black_hole = is_black_hole);
    }

    /// Ends one direction of all connections: this end is told that nothing more will come, and can still send.
    pub fn half_close(&self, toward: Toward) {
        self.weather.send_modify(|weather| match toward {
            Toward::Client => weather.half_closed_toward_client += 1,
            Toward::Server => weather.half_closed_toward_server += 1,
        });
    }

    /// Lets the next commit of any client of PostgreSQL through, waits until the database says that it is done, and
    /// resets the connection instead of passing that on. A commit that fails is passed on, and the next one is taken.
    pub fn cut_next_commit(&self) {
        self.shared.is_armed.store(true, Ordering::SeqCst);
    }

    /// How many commits were cut off from their reply.
    pub fn commits_cut(&self) -> u64 {
        *self.shared.commits_cut.borrow()
    }

    /// Waits until so many were.
    pub async fn until_commits_cut(&self, number: u64) {
        let mut commits_cut = self.shared.commits_cut.subscribe();
        // The sender lives as long as we do.
        let _ = commits_cut.wait_for(|cut| *cut >= number).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if shared.weather.borrow().refuses {
            // Dropped with this set, it resets instead of closing politely.
            let _ = client.set_zero_linger();
            continue;
        }
        connections.spawn(connection::run(client, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}
