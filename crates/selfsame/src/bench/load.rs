//! The loads: closed loops with so many in flight, and an open loop at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use selfsame_api::client::Client;
use selfsame_api::payment::{NewPayment, Payment};
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::PaymentId;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{Answer, BATCH_REQUESTS_MAX, Charge, Request};
use tokio::sync::{mpsc, oneshot};

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
}

impl Figures {
    pub fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX).max(1);
        self.latencies_us.len() as u64 * 1_000 / millis
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
        Figures { latencies_us, refused: self.refused.load(Ordering::Relaxed), length }
    }
}

fn amount(currency: Currency) -> Amount {
    Amount::new(137, currency).expect("a small amount")
}

type Waiting = (Request, oneshot::Sender<bool>);

/// The same adaptive group commit as the server's queue, without HTTP around it.
async fn commit(store: Arc<selfsame_store::Store>, mut requests: mpsc::Receiver<Waiting>) {
    while let Some(first) = requests.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_REQUESTS_MAX {
            let Ok(next) = requests.try_recv() else { break };
            batch.push(next);
        }
        let (requests, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let posted = store.post_batch(requests, Vec::new(), Vec::new(), SystemClock.now()).await;
        let answers = posted.map(|outcome| outcome.answers).unwrap_or_default();
        for (place, reply) in replies.into_iter().enumerate() {
            let _ = reply.send(matches!(answers.get(place), Some(Answer::Done { replayed: false, .. })));
        }
    }
}

/// A closed loop against the store.
pub async fn store_path(
    world: &World,
    codes: Vec<Ready>,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let (sender, receiver) = mpsc::channel::<Waiting>(4 * BATCH_REQUESTS_MAX);
    tokio::spawn(commit(world.store.clone(), receiver));
    let currency = world.currency;
    closed_loop(codes, in_flight, length, move |number, ready| {
        let sender = sender.clone();
        async move {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&(number as u64).to_be_bytes());
            let charge = Charge {
                payment: PaymentId::new(SystemClock.now(), random),
                merchant: ready.merchant,
                order_ref: format!("o{number}").parse().expect("a valid reference"),
                amount: amount(currency),
                parts: None,
                code: ready.mac,
                hold_until: None,
                ask_payer: false,
            };
            let (reply, answer) = oneshot::channel();
            sender.send((Request::Charge(charge), reply)).await.is_ok() && answer.await.unwrap_or(false)
        }
    })
    .await
}

async fn pay(client: &Client, order: &str, ready: Ready) -> bool {
    let currency = "EUR".parse().expect("a currency of the table");
    let order_ref = order.parse().expect("a valid reference");
    let new = NewPayment::goods(order_ref, amount(currency), ready.digits);
    client.post::<Payment>("/v1/payments", &new, TIMEOUT).await.is_ok()
}

/// A closed loop over HTTP, with API key.
pub async fn http_edge(
    client: &Client,
    codes: Vec<Ready>,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let client = client.clone();
    closed_loop(codes, in_flight, length, move |number, ready| {
        let client = client.clone();
        async move { pay(&client, &format!("c{number}"), ready).await }
    })
    .await
}

async fn closed_loop<F, R>(
    codes: Vec<Ready>,
    in_flight: usize,
    length: Duration,
    charge: F,
) -> anyhow::Result<Figures>
where
    F: Fn(usize, Ready) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = bool> + Send,
{
    let (codes, next, collector) =
        (Arc::new(codes), Arc::new(AtomicUsize::new(0)), Arc::new(Collector::default()));
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (codes, next, collector, charge) =
            (codes.clone(), next.clone(), collector.clone(), charge.clone());
        running.spawn(async move {
            while started.elapsed() < length {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(ready) = codes.get(number) else { break };
                let since = Instant::now();
                let paid = charge(number, ready.clone()).await;
                collector.take(since, paid);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a client of the benchmark broke")?;
    }
    Ok(collector.figures(started.elapsed()))
}

/// An open loop: latency counts from the moment a payment was due, so that waiting behind others shows.
pub async fn open_loop(client: &Client, codes: Vec<Ready>, per_second: u32) -> anyhow::Result<Figures> {
    let collector = Arc::new(Collector::default());
    let gap = Duration::from_secs(1) / per_second;
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for (number, ready) in codes.into_iter().enumerate() {
        let due = started + gap * u32::try_from(number)?;
        tokio::time::sleep_until(due.into()).await;
        let (client, collector) = (client.clone(), collector.clone());
        running.spawn(async move {
            let paid = pay(&client, &format!("l{number}"), ready).await;
            collector.take(due, paid);
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a client of the benchmark broke")?;
    }
    Ok(collector.figures(started.elapsed()))
}
