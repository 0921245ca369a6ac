//! The merchant's network: a TCP proxy that delays whatever passes, in each direction by half of the round trip that is
//! set. Bytes are held, never a connection: as much can be on its way as the sockets take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Chunks on their way in one direction of a connection: more than our requests have.
const CHUNKS_MAX: usize = 64;

/// The network between till and merchant's system.
pub struct Network {
    /// Where the till reaches the merchant's system.
    pub address: SocketAddr,
    one_way_us: Arc<AtomicU64>,
}

impl Network {
    /// A network that leads to this address, without a delay so far.
    pub async fn start(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("there is no free port")?;
        let address = listener.local_addr().context("a port has no number")?;
        let one_way_us = Arc::new(AtomicU64::new(0));
        let delay_us = one_way_us.clone();
        tokio::spawn(async move {
            while let Ok((till, _)) = listener.accept().await {
                let delay_us = delay_us.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the till's to notice.
                    let _ = connect(till, to, delay_us).await;
                });
            }
        });
        Ok(Self { address, one_way_us })
    }

    /// Sets how long a question and its answer take together on their way.
    pub fn set_round_trip(&self, round_trip: Duration) {
        let half_us = u64::try_from((round_trip / 2).as_micros()).unwrap_or(u64::MAX);
        self.one_way_us.store(half_us, Ordering::Relaxed);
    }
}

async fn connect(till: TcpStream, to: SocketAddr, delay_us: Arc<AtomicU64>) -> std::io::Result<()> {
    let merchant = TcpStream::connect(to).await?;
    till.set_nodelay(true)?;
    merchant.set_nodelay(true)?;
    let (from_till, to_till) = till.into_split();
    let (from_merchant, to_merchant) = merchant.into_split();
    let there = pass(from_till, to_merchant, delay_us.clone());
    let back = pass(from_merchant, to_till, delay_us);
    tokio::try_join!(there, back).map(|_| ())
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay_us: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let (send, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let reading = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            let due = Instant::now() + Duration::from_micros(delay_us.load(Ordering::Relaxed));
            if send.send((due, chunk)).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = on_the_way.recv().await {
            // A timer waits for the next millisecond at least, which would be a delay where none is set.
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.into_split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn what_is_sent_comes_back_unchanged_and_not_before_its_time() {
        let network = Network::start(echo().await).await.unwrap();
        let round_trip = Duration::from_millis(60);
        network.set_round_trip(round_trip);
        let mut till = TcpStream::connect(network.address).await.unwrap();
        let started = Instant::now();
        let sent: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        till.write_all(&sent).await.unwrap();
        till.shutdown().await.unwrap();
        let mut back = Vec::new();
        till.read_to_end(&mut back).await.unwrap();
        // Never earlier; how much later depends on the machine.
        assert!(started.elapsed() >= round_trip);
        assert_eq!(back, sent);
    }
}
