//! The loads: closed loops with so many in flight, and an open loop at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use selfsame_api::payment::NewPayment;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::PaymentId;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{Answer, BATCH_REQUESTS_MAX, Charge, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::bench::client::{Connection, Till};
use crate::bench::world::{Ready, World};

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a run came to.
#[derive(Debug, Default)]
pub struct Figures {
    /// Of each payment, microseconds; sorted.
    pub latencies_us: Vec<u64>,
    /// Payments that did not succeed.
    pub refused: usize,
    /// How long the run took.
    pub length: Duration,
    /// Processor time of the whole process, in closed loops: server, store and clients.
    pub cpu: Duration,
    /// Of this, what the clients took, where they have a thread of their own.
    pub cpu_clients: Duration,
    /// What PostgreSQL wrote to its log meanwhile, where that was looked at.
    pub log_bytes: Option<u64>,
}

impl Figures {
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX).max(1);
        self.latencies_us.len() as u64 * 1_000 / millis
    }

    /// Processor time for each payment: of server and store, of the clients. Microseconds.
    pub fn cpu_us(&self) -> [u64; 2] {
        let count = self.latencies_us.len().max(1) as u128;
        [self.cpu.saturating_sub(self.cpu_clients), self.cpu_clients]
            .map(|time| u64::try_from(time.as_micros() / count).unwrap_or(u64::MAX))
    }

    /// Bytes of PostgreSQL's log for each payment.
    pub fn log_bytes_each(&self) -> Option<u64> {
        self.log_bytes.map(|bytes| bytes / (self.latencies_us.len() as u64).max(1))
    }

    /// p50, p99 and p99.9 in microseconds.
    pub fn percentiles_us(&self) -> [u64; 3] {
        let count = self.latencies_us.len();
        [500, 990, 999].map(|permille| {
            let place = (count * permille / 1_000).min(count.saturating_sub(1));
            self.latencies_us.get(place).copied().unwrap_or(0)
        })
    }
}

#[derive(Default)]
struct Collector {
    latencies_us: Mutex<Vec<u64>>,
    refused: AtomicUsize,
}

impl Collector {
    fn take(&self, since: Instant, paid: bool) {
        if !paid {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let latency_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(latency_us);
    }

    fn figures(&self, length: Duration) -> Figures {
        let mut kept = self.latencies_us.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut latencies_us = std::mem::take(&mut *kept);
        latencies_us.sort_unstable();
        let refused = self.refused.load(Ordering::Relaxed);
        Figures { latencies_us, refused, length, ..Figures::default() }
    }
}

fn amount(currency: Currency) -> Amount {
    Amount::new(137, currency).expect("a small amount")
}

type Waiting = (Request, oneshot::Sender<bool>);

/// The same adaptive group commit as the server's queue, without HTTP around it.
async fn commit(
    store: Arc<selfsame_store::Store>,
    writer: usize,
    requests: Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting>>>,
) {
    loop {
        let batch = {
            let mut requests = requests.lock().await;
            let Some(first) = requests.recv().await else { break };
            let mut batch = vec![first];
            while batch.len() < BATCH_REQUESTS_MAX {
                let Ok(next) = requests.try_recv() else { break };
                batch.push(next);
            }
            batch
        };
        let (requests, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let posted = store.post_batch(writer, requests, Vec::new(), Vec::new(), SystemClock.now()).await;
        let answers = posted.map(|outcome| outcome.answers).unwrap_or_default();
        for (place, reply) in replies.into_iter().enumerate() {
            let _ = reply.send(matches!(answers.get(place), Some(Answer::Done { replayed: false, .. })));
        }
    }
}

/// Somebody who charges one code after the other.
trait Charging: Send + 'static {
    /// Charges a code and waits for the answer; whether it was paid.
    fn charge(&mut self, ready: Ready) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

/// Charges at the store, in process.
#[derive(Clone)]
struct InProcess {
    queue: mpsc::Sender<Waiting>,
    currency: Currency,
}

impl Charging for InProcess {
    async fn charge(&mut self, ready: Ready) -> anyhow::Result<bool> {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&(ready.number as u64).to_be_bytes());
        let charge = Charge {
            payment: PaymentId::new(SystemClock.now(), random),
            merchant: ready.merchant,
            order_ref: format!("o{}", ready.number).parse()?,
            amount: amount(self.currency),
            parts: None,
            code: ready.mac,
            hold_until: None,
            ask_payer: false,
        };
        let (reply, answer) = oneshot::channel();
        Ok(self.queue.send((Request::Charge(charge), reply)).await.is_ok() && answer.await.unwrap_or(false))
    }
}

/// A closed loop against the store.
pub async fn store_path(
    world: &World,
    codes: Vec<Ready>,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let (queue, receiver) = mpsc::channel::<Waiting>(4 * BATCH_REQUESTS_MAX);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    for writer in 0..world.store.writers() {
        tokio::spawn(commit(world.store.clone(), writer, receiver.clone()));
    }
    let before = world.store.log_bytes().await?;
    let clients = vec![InProcess { queue, currency: world.currency }; in_flight];
    let figures = closed_loop(codes, clients, length).await?;
    let after = world.store.log_bytes().await?;
    let log_bytes = before.zip(after).map(|(before, after)| after - before);
    Ok(Figures { log_bytes, ..figures })
}

impl Charging for Connection {
    async fn charge(&mut self, ready: Ready) -> anyhow::Result<bool> {
        pay(self, ready).await
    }
}

async fn pay(connection: &mut Connection, ready: Ready) -> anyhow::Result<bool> {
    let order_ref = format!("o{}", ready.number).parse()?;
    let new = NewPayment::goods(order_ref, amount("EUR".parse()?), ready.digits);
    // 201 is told only of money that has moved: what is held or waits is told by 202.
    Ok(connection.post(&new).await? == 201)
}

/// A closed loop over HTTP, with API key. The clients have a thread of their own, so that what they cost is told apart
/// from what the server costs.
pub async fn http_edge(
    till: &Till,
    codes: Vec<Ready>,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let till = till.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = async move {
        let mut connections = Vec::with_capacity(in_flight);
        for _ in 0..in_flight {
            connections.push(till.connect().await?);
        }
        let before = cpu_time(ClockId::ThreadCPUTime);
        let figures = closed_loop(codes, connections, length).await?;
        Ok(Figures { cpu_clients: cpu_time(ClockId::ThreadCPUTime) - before, ..figures })
    };
    tokio::task::spawn_blocking(move || runtime.block_on(clients))
        .await
        .context("the clients of the benchmark broke")?
}

/// Time that the processor has spent on this thread or process.
fn cpu_time(of: ClockId) -> Duration {
    clock_gettime(of).try_into().unwrap_or_default()
}

async fn closed_loop(
    codes: Vec<Ready>,
    clients: Vec<impl Charging>,
    length: Duration,
) -> anyhow::Result<Figures> {
    let (codes, next, collector) =
        (Arc::new(codes), Arc::new(AtomicUsize::new(0)), Arc::new(Collector::default()));
    let (started, before) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
    let mut running = JoinSet::new();
    for mut client in clients {
        let (codes, next, collector) = (codes.clone(), next.clone(), collector.clone());
        running.spawn(async move {
            while started.elapsed() < length {
                let Some(ready) = codes.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let since = Instant::now();
                let paid = client.charge(ready.clone()).await?;
                collector.take(since, paid);
            }
            anyhow::Ok(())
        });
    }
    finish(running, length + TIMEOUT).await?;
    let cpu = cpu_time(ClockId::ProcessCPUTime) - before;
    Ok(Figures { cpu, ..collector.figures(started.elapsed()) })
}

/// Waits for all clients. The first that fails ends the run.
async fn finish(mut running: JoinSet<anyhow::Result<()>>, within: Duration) -> anyhow::Result<()> {
    let all = async {
        while let Some(ended) = running.join_next().await {
            ended.context("a client of the benchmark broke")??;
        }
        Ok(())
    };
    tokio::time::timeout(within, all).await.context("the server did not answer any more")?
}

/// An open loop: latency counts from the moment a payment was due, so that waiting behind others shows.
pub async fn open_loop(till: &Till, codes: Vec<Ready>, per_second: u32) -> anyhow::Result<Figures> {
    let collector = Arc::new(Collector::default());
    let idle = Arc::new(Mutex::new(Vec::<Connection>::new()));
    let gap = Duration::from_secs(1) / per_second;
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (number, ready) in codes.into_iter().enumerate() {
        let due = started + gap * u32::try_from(number)?;
        tokio::time::sleep_until(due.into()).await;
        let (till, idle, collector) = (till.clone(), idle.clone(), collector.clone());
        running.spawn(async move {
            let kept = idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
            let mut connection = match kept {
                Some(kept) => kept,
                None => till.connect().await?,
            };
            let paid = pay(&mut connection, ready).await?;
            collector.take(due, paid);
            idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(connection);
            anyhow::Ok(())
        });
    }
    finish(running, TIMEOUT).await?;
    Ok(collector.figures(started.elapsed()))
}
