//! The loads: closed loops with so many in flight, and an open loop at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use selfsame_api::payment::NewPayment;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::PaymentId;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{Answer, BATCH_REQUESTS_MAX, Charge, Request};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
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
    /// Thousandths of a processor that all programs of this machine kept busy meanwhile, where that was looked at.
    pub busy_milli_cores: Option<u64>,
    /// By how much PostgreSQL's files grew, where that was looked at.
    pub disk_bytes: Option<u64>,
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

    /// Bytes of PostgreSQL's files for each payment.
    pub fn disk_bytes_each(&self) -> Option<u64> {
        self.disk_bytes.map(|bytes| bytes / (self.latencies_us.len() as u64).max(1))
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
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(latency_us);
    }

    fn figures(&self, length: Duration) -> Figures {
        let mut kept = self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner);
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
pub trait Charging: Send + 'static {
    /// What is charged.
    type Code: Clone + Send + Sync + 'static;

    /// Charges a code and waits for the answer; whether it was paid.
    fn charge(&mut self, code: Self::Code) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

/// Charges at the store, in process.
#[derive(Clone)]
pub struct InProcess {
    queue: mpsc::Sender<Waiting>,
    currency: Currency,
}

impl Charging for InProcess {
    type Code = Ready;

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

/// So many who charge at the store, and the writers that commit what they ask for; these end with the last of them.
pub fn in_process(world: &World, count: usize) -> Vec<InProcess> {
    let (queue, receiver) = mpsc::channel::<Waiting>(4 * BATCH_REQUESTS_MAX);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    for writer in 0..world.store.writers() {
        tokio::spawn(commit(world.store.clone(), writer, receiver.clone()));
    }
    vec![InProcess { queue, currency: world.currency }; count]
}

/// Runs a load and counts what PostgreSQL writes to its log meanwhile, if the world is in one.
pub async fn with_log_bytes(
    world: &World,
    load: impl Future<Output = anyhow::Result<Figures>>,
) -> anyhow::Result<Figures> {
    let before = world.store.log_bytes().await?;
    let figures = load.await?;
    let after = world.store.log_bytes().await?;
    let log_bytes = before.zip(after).map(|(before, after)| after - before);
    Ok(Figures { log_bytes, ..figures })
}

/// A closed loop against the store.
pub async fn store_path(world: &mut World, in_flight: usize, length: Duration) -> anyhow::Result<Figures> {
    let codes = world.take_ready();
    let mut left = Vec::new();
    let mut clients = in_process(world, in_flight);
    let load = closed_loop(codes, &mut clients, length, &mut left);
    let figures = with_log_bytes(world, load).await?;
    world.give_back(left, &figures);
    Ok(figures)
}

impl Charging for Connection {
    type Code = Ready;

    async fn charge(&mut self, ready: Ready) -> anyhow::Result<bool> {
        let order_ref = format!("o{}", ready.number).parse()?;
        let new = NewPayment::goods(order_ref, amount("EUR".parse()?), ready.digits);
        // 201 is told only of money that has moved: what is held or waits is told by 202.
        Ok(self.post(&new).await? == 201)
    }
}

/// Connections to the servers, in turn.
pub async fn connections(tills: &[Till], count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for till in tills.iter().cycle().take(count) {
        connections.push(till.connect().await?);
    }
    Ok(connections)
}

/// A closed loop over HTTP, with API key. The clients have a thread of their own, so that what they cost is told apart
/// from what the server costs.
pub async fn http_edge(
    world: &mut World,
    tills: &[Till],
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let (tills, codes) = (tills.to_vec(), world.take_ready());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = async move {
        let mut connections = connections(&tills, in_flight).await?;
        let before = cpu_time(ClockId::ThreadCPUTime);
        let mut left = Vec::new();
        let figures = closed_loop(codes, &mut connections, length, &mut left).await?;
        anyhow::Ok((Figures { cpu_clients: cpu_time(ClockId::ThreadCPUTime) - before, ..figures }, left))
    };
    let clients = tokio::task::spawn_blocking(move || runtime.block_on(clients));
    let mut left = Vec::new();
    let load = async {
        let (figures, unused) = clients.await.context("the clients of the benchmark broke")??;
        left = unused;
        Ok(figures)
    };
    let figures = with_log_bytes(world, load).await?;
    world.give_back(left, &figures);
    Ok(figures)
}

/// Time that the processor has spent on this thread or process.
fn cpu_time(of: ClockId) -> Duration {
    clock_gettime(of).try_into().unwrap_or_default()
}

/// Every client charges one code after the other for so long, or until there are none; what is not charged is `left`.
pub async fn closed_loop<C: Charging>(
    codes: Vec<C::Code>,
    clients: &mut Vec<C>,
    length: Duration,
    left: &mut Vec<C::Code>,
) -> anyhow::Result<Figures> {
    let (codes, next, collector) =
        (Arc::new(codes), Arc::new(AtomicUsize::new(0)), Arc::new(Collector::default()));
    let (started, before) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
    let mut running = JoinSet::new();
    for mut client in clients.drain(..) {
        let (codes, next, collector) = (codes.clone(), next.clone(), collector.clone());
        running.spawn(async move {
            while started.elapsed() < length {
                let Some(code) = codes.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let since = Instant::now();
                let paid = client.charge(code.clone()).await?;
                collector.take(since, paid);
            }
            anyhow::Ok(client)
        });
    }
    clients.extend(finish(running, length + TIMEOUT).await?);
    let cpu = cpu_time(ClockId::ProcessCPUTime) - before;
    let figures = Figures { cpu, ..collector.figures(started.elapsed()) };
    left.extend(codes.iter().skip(next.load(Ordering::Relaxed)).cloned());
    Ok(figures)
}

/// Waits for all clients. The first that fails ends the run.
async fn finish<T: 'static>(
    mut running: JoinSet<anyhow::Result<T>>,
    within: Duration,
) -> anyhow::Result<Vec<T>> {
    let all = async {
        let mut ended = Vec::with_capacity(running.len());
        while let Some(client) = running.join_next().await {
            ended.push(client.context("a client of the benchmark broke")??);
        }
        Ok(ended)
    };
    tokio::time::timeout(within, all).await.context("the server did not answer any more")?
}

/// Clients of an open loop: so many can be waited for at once, as in a pool of connections. What comes in meanwhile waits
/// for one of them, and its latency counts on.
pub const OPEN_CLIENTS: usize = 64;

/// Fractions of its multiples are spread evenly and never come round.
const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;

/// An open loop: latency counts from the moment a payment was due, so that waiting behind others shows. Each is due somewhere
/// else in its own interval: payments in step with the kernel's ticks would be seen at work by every tick or by none.
pub async fn open_loop<C: Charging>(
    clients: &mut Vec<C>,
    codes: Vec<C::Code>,
    per_second: u32,
) -> anyhow::Result<Figures> {
    let collector = Arc::new(Collector::default());
    let free = Arc::new(Semaphore::new(clients.len()));
    let idle = Arc::new(Mutex::new(std::mem::take(clients)));
    let gap = Duration::from_secs(1) / per_second;
    let busy = busy_time()?;
    let started = Instant::now();
    let (kept, by_all, on) = (collector.clone(), idle.clone(), Handle::current());
    #[expect(
        clippy::disallowed_methods,
        reason = "a timer of the runtime is up to a millisecond late, as long as a payment"
    )]
    let offer = move || {
        let mut running = JoinSet::new();
        for (number, code) in codes.into_iter().enumerate() {
            let due = started + gap.mul_f64(number as f64 + (number as f64 * GOLDEN_RATIO).fract());
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (free, idle, collector) = (free.clone(), by_all.clone(), kept.clone());
            let charge = async move {
                let _turn = free.acquire().await?;
                let client = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut client = client.context("there is a client for each turn")?;
                let paid = client.charge(code).await?;
                collector.take(due, paid);
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                anyhow::Ok(())
            };
            running.spawn_on(charge, &on);
        }
        anyhow::Ok(running)
    };
    let running =
        tokio::task::spawn_blocking(offer).await.context("the clients of the benchmark broke")??;
    finish(running, TIMEOUT).await?;
    let length = started.elapsed();
    clients.append(&mut idle.lock().unwrap_or_else(PoisonError::into_inner));
    let busy = busy_time()?.saturating_sub(busy).as_micros() * 1_000 / length.as_micros().max(1);
    Ok(Figures { busy_milli_cores: u64::try_from(busy).ok(), ..collector.figures(length) })
}

/// Ticks a second of the kernel's times in `/proc`, the same on every machine that Linux runs us on.
const TICKS_PER_SECOND: u64 = 100;

/// Time that all processors of this machine were busy, since it was started.
fn busy_time() -> anyhow::Result<Duration> {
    let told = std::fs::read_to_string("/proc/stat").context("failed to read `/proc/stat`")?;
    let ticks = busy_ticks(&told).context("`/proc/stat` does not tell how busy the processors are")?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Of the line for all processors: user, nice and system, then idle and waiting for the disk, which are left out, then
/// interrupts of both kinds. What other machines on the same hardware took comes after, and is not ours.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _, _, interrupts, soft_interrupts, ..] = ticks[..] else { return None };
    Some(user + nice + system + interrupts + soft_interrupts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(busy_ticks(stat), Some(163));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
        assert!(busy_time().unwrap() > Duration::ZERO);
    }

    struct Payer(Arc<Mutex<Vec<usize>>>);

    impl Charging for Payer {
        type Code = usize;

        async fn charge(&mut self, code: usize) -> anyhow::Result<bool> {
            self.0.lock().unwrap().push(code);
            tokio::task::yield_now().await;
            Ok(code != 3)
        }
    }

    #[tokio::test]
    async fn every_code_is_charged_once_and_refusals_are_counted() {
        let charged = Arc::new(Mutex::new(Vec::new()));
        let clients = || (0..4).map(|_| Payer(charged.clone())).collect::<Vec<_>>();
        let mut left = Vec::new();
        let closed = closed_loop((0..50).collect(), &mut clients(), TIMEOUT, &mut left).await.unwrap();
        assert_eq!((closed.latencies_us.len(), closed.refused, left.len()), (49, 1, 0));
        let open = open_loop(&mut clients(), (50..90).collect(), 10_000).await.unwrap();
        assert_eq!((open.latencies_us.len(), open.refused), (40, 0));
        let mut charged = charged.lock().unwrap().clone();
        charged.sort_unstable();
        assert_eq!(charged, (0..90).collect::<Vec<_>>());
        let none = closed_loop((0..5).collect(), &mut clients(), Duration::ZERO, &mut left).await.unwrap();
        assert_eq!((none.latencies_us.len(), left), (0, vec![0, 1, 2, 3, 4]), "no time, nothing charged");
    }
}
