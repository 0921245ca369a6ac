//! The payment queue: adaptive group commit. Takes what is waiting, never waits for more; one batch, one
//! transaction, one sync. Answers leave after the commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selfsame_domain::clock::Clock;
use selfsame_domain::id::{AttemptId, PaymentId};
use selfsame_domain::payment::{Answer, BATCH_REQUESTS_MAX, Refusal, Request};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_store::{Attempt, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::random;

/// Requests that may wait. Four full batches: at the slowest disk we know (4 ms a commit) that is well under a second.
const WAITING_MAX: usize = 4 * BATCH_REQUESTS_MAX;

/// After this long without a payment, what is left to be recorded is written by itself.
const IDLE: Duration = Duration::from_millis(200);

/// An answer with its stages, or why there is none.
type Reply = Result<(Answer, Timings), Arc<StoreError>>;

struct Waiting {
    request: Request,
    since: Instant,
    reply: oneshot::Sender<Reply>,
}

/// What is recorded outside the chain, with the next batch.
#[derive(Default)]
struct Aftermath {
    attempts: Vec<Attempt>,
    timings: Vec<(PaymentId, Timings)>,
}

impl Aftermath {
    fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.timings.is_empty()
    }
}

/// The way to the ledger for everything that moves money.
pub(crate) struct PaymentQueue {
    waiting: mpsc::Sender<Waiting>,
}

impl PaymentQueue {
    pub(crate) fn start(store: Arc<Store>, clock: Arc<impl Clock>) -> Self {
        let (waiting, requests) = mpsc::channel(WAITING_MAX);
        tokio::spawn(work(store, clock, requests));
        Self { waiting }
    }

    /// Puts a request in the queue and waits for its answer. A full queue refuses at once.
    pub(crate) async fn submit(&self, request: Request) -> Reply {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { request, since: Instant::now(), reply };
        self.waiting.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Arc::new(StoreError::Overloaded),
            mpsc::error::TrySendError::Closed(_) => Arc::new(StoreError::Closed),
        })?;
        answer.await.unwrap_or_else(|_| Err(Arc::new(StoreError::Closed)))
    }
}

async fn work(store: Arc<Store>, clock: Arc<impl Clock>, mut requests: mpsc::Receiver<Waiting>) {
    let mut aftermath = Aftermath::default();
    loop {
        let first = if aftermath.is_empty() {
            requests.recv().await
        } else {
            match tokio::time::timeout(IDLE, requests.recv()).await {
                Ok(first) => first,
                Err(_) => {
                    record(&store, std::mem::take(&mut aftermath)).await;
                    continue;
                }
            }
        };
        let Some(first) = first else { break };
        let mut batch = vec![first];
        while batch.len() < BATCH_REQUESTS_MAX {
            let Ok(next) = requests.try_recv() else { break };
            batch.push(next);
        }
        aftermath = run_batch(&store, &*clock, batch, aftermath).await;
    }
    record(&store, aftermath).await;
}

async fn record(store: &Store, aftermath: Aftermath) {
    if let Err(error) = store.record_aftermath(aftermath.attempts, aftermath.timings).await {
        tracing::warn!(%error, "refusals and timings were not recorded");
    }
}

async fn run_batch(store: &Store, clock: &impl Clock, batch: Vec<Waiting>, earlier: Aftermath) -> Aftermath {
    let started = Instant::now();
    let now = clock.now();
    let requests: Vec<Request> = batch.iter().map(|waiting| waiting.request.clone()).collect();
    let posted = store.post_batch(requests, earlier.attempts, earlier.timings, now).await;
    let mut aftermath = Aftermath::default();
    let outcome = match posted {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = Arc::new(error);
            for waiting in batch {
                let _ = waiting.reply.send(Err(error.clone()));
            }
            return aftermath;
        }
    };
    for (waiting, answer) in batch.into_iter().zip(outcome.answers) {
        let mut timings = Timings::default();
        timings.add(Stage::Queue, started - waiting.since);
        timings.add(Stage::Load, outcome.times.load);
        timings.add(Stage::Decide, outcome.times.decide);
        timings.add(Stage::Commit, outcome.times.commit);
        match &answer {
            Answer::Done { payment, replayed: false } => {
                aftermath.timings.push((payment.payment, timings.clone()))
            }
            Answer::Done { .. } => {}
            Answer::Refused(refusal) => aftermath.attempts.push(attempt(&waiting.request, refusal, now)),
        }
        // A caller that went away asks again by its reference.
        let _ = waiting.reply.send(Ok((answer, timings)));
    }
    aftermath
}

fn attempt(request: &Request, refusal: &Refusal, now: selfsame_domain::time::Timestamp) -> Attempt {
    let (merchant, account) = match request {
        Request::Charge(charge) => (Some(charge.merchant), None),
        Request::TopUp(top_up) => (None, Some(top_up.account)),
    };
    Attempt {
        id: AttemptId::new(now, random()),
        at: now,
        operation: "payment",
        reason: refusal.as_str().to_owned(),
        terminal: None,
        merchant,
        account,
    }
}
