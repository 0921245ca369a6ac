//! The payment queue: adaptive group commit. Takes what is waiting, never waits for more; one batch, one
//! transaction, one sync. Answers leave after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use selfsame_domain::clock::Clock;
use selfsame_domain::id::{AttemptId, PaymentId};
use selfsame_domain::payment::{Answer, BATCH_REQUESTS_MAX, Origin, Refusal, Request};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_store::{Attempt, Known, Store, StoreError, wait_patiently};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::random;
use crate::timing::received_at;

/// Requests that may wait. Four full batches: at the slowest disk we know (4 ms a commit) that is well under a second.
const WAITING_MAX: usize = 4 * BATCH_REQUESTS_MAX;

/// After this long without a payment, what is left to be recorded is written by itself.
const IDLE: Duration = Duration::from_millis(200);

/// How long a caller waits for storage, whatever it asks for. Whoever stands at the till or at a desk knows after two
/// seconds where things are.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum NoAnswer {
    /// The request was taken and its end is not known: ask by the reference.
    Unknown,
    /// The request was not taken and will not be: nothing was done.
    NotTaken,
    /// The store said no.
    Store(Arc<StoreError>),
}

/// An answer with its stages, or why there is none.
pub(crate) type Reply = Result<(Answer, Timings), NoAnswer>;

struct Waiting {
    request: Request,
    /// When the server had it.
    received: Instant,
    since: Instant,
    /// Set by whoever comes first: the queue that decides it, or the caller that gives up.
    taken: Arc<AtomicBool>,
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
    store: Arc<Store>,
}

impl PaymentQueue {
    pub(crate) fn start(store: Arc<Store>, clock: Arc<impl Clock>) -> Self {
        let (waiting, requests) = mpsc::channel(WAITING_MAX);
        let requests = Arc::new(Mutex::new(requests));
        for writer in 0..store.writers() {
            tokio::spawn(work(store.clone(), writer, clock.clone(), requests.clone()));
        }
        Self { waiting, store }
    }

    /// Puts a request in the queue and waits for its answer, but not for ever. A full queue refuses at once.
    pub(crate) async fn submit(&self, request: Request) -> Reply {
        let (reply, answer) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let waiting =
            Waiting { request, received: received_at(), since: Instant::now(), taken: taken.clone(), reply };
        self.store.pass("before the request is in the queue");
        self.waiting.try_send(waiting).map_err(|_| NoAnswer::NotTaken)?;
        let waited = tokio::time::timeout(ANSWER_WITHIN, wait_patiently(answer)).await;
        self.store.pass("before the answer leaves");
        match waited.ok().flatten() {
            Some(Ok(reply)) => reply,
            Some(Err(_)) => Err(NoAnswer::Unknown),
            // If the queue has not taken it by now, it never will.
            None if taken.swap(true, Ordering::SeqCst) => Err(NoAnswer::Unknown),
            None => Err(NoAnswer::NotTaken),
        }
    }
}

/// What waits, for whichever writer comes next.
type Requests = Arc<Mutex<mpsc::Receiver<Waiting>>>;

/// The next batch, at least one request; `None` if there will be none. Writers wait here one behind the other, each for
/// the first request and for nothing more.
async fn next_batch(requests: &Requests) -> Option<Vec<Waiting>> {
    let mut requests = requests.lock().await;
    let mut batch = vec![requests.recv().await?];
    while batch.len() < BATCH_REQUESTS_MAX {
        let Ok(next) = requests.try_recv() else { break };
        batch.push(next);
    }
    Some(batch)
}

async fn work(store: Arc<Store>, writer: usize, clock: Arc<impl Clock>, requests: Requests) {
    let mut aftermath = Aftermath::default();
    loop {
        let batch = if aftermath.is_empty() {
            next_batch(&requests).await
        } else {
            match tokio::time::timeout(IDLE, next_batch(&requests)).await {
                Ok(batch) => batch,
                Err(_) => {
                    record(&store, std::mem::take(&mut aftermath)).await;
                    continue;
                }
            }
        };
        let Some(batch) = batch else { break };
        aftermath = run_batch(&store, writer, &*clock, batch, aftermath).await;
    }
    record(&store, aftermath).await;
}

async fn record(store: &Store, aftermath: Aftermath) {
    if aftermath.is_empty() {
        return;
    }
    if let Err(error) = store.record_aftermath(aftermath.attempts, aftermath.timings).await {
        tracing::warn!(%error, "refusals and timings were not recorded");
    }
}

async fn run_batch(
    store: &Store,
    writer: usize,
    clock: &impl Clock,
    batch: Vec<Waiting>,
    earlier: Aftermath,
) -> Aftermath {
    let started = Instant::now();
    let now = clock.now();
    // Callers that gave up before their turn were told that nothing happens.
    let given_up = |waiting: &Waiting| waiting.taken.swap(true, Ordering::SeqCst);
    let batch: Vec<Waiting> = batch.into_iter().filter(|waiting| !given_up(waiting)).collect();
    if batch.is_empty() {
        return earlier;
    }
    let requests: Vec<Request> = batch.iter().map(|waiting| waiting.request.clone()).collect();
    store.pass("between the queue and the store");
    let posted = store.post_batch(writer, requests, earlier.attempts, earlier.timings, now).await;
    store.pass("between the store and the callers");
    let mut aftermath = Aftermath::default();
    let outcome = match posted {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = Arc::new(error);
            let is_open = matches!(*error, StoreError::OutcomeUnknown { .. });
            let is_final = !is_open || store.fence(writer).await.is_ok();
            for waiting in batch {
                let reply = after_failure(store, &waiting, &error, is_final).await;
                let _ = waiting.reply.send(reply);
            }
            return aftermath;
        }
    };
    for ((waiting, answer), origin) in batch.into_iter().zip(outcome.answers).zip(outcome.origins) {
        let mut timings = Timings::default();
        timings.add(Stage::Queue, started - waiting.since);
        timings.add(Stage::Load, outcome.times.load);
        timings.add(Stage::Decide, outcome.times.decide);
        timings.add(Stage::Commit, outcome.times.commit);
        // The whole, as far as it is known before the answer leaves: what is stored is what is answered.
        timings.add(Stage::Charge, waiting.received.elapsed());
        match &answer {
            Answer::Done { payment, replayed: false } => {
                aftermath.timings.push((payment.payment, timings.clone()))
            }
            Answer::Done { .. } | Answer::Reversed { .. } => {}
            Answer::Refused(refusal) => aftermath.attempts.push(attempt(origin, refusal, now)),
        }
        // A caller that went away asks again by its reference.
        let _ = waiting.reply.send(Ok((answer, timings)));
    }
    aftermath
}

/// A commit with an unknown end is looked up by the reference, never guessed. After a failed sync not even that can
/// be believed, nor while the commit may still be under way: unless `is_final`.
async fn after_failure(store: &Store, waiting: &Waiting, error: &Arc<StoreError>, is_final: bool) -> Reply {
    if !matches!(**error, StoreError::OutcomeUnknown { .. }) {
        return Err(NoAnswer::Store(error.clone()));
    }
    let Some(key) = waiting.request.idempotency_key().filter(|_| is_final && !store.is_halted()) else {
        return Err(NoAnswer::Store(error.clone()));
    };
    tracing::warn!(%error, "looking up what became of a payment");
    match store.payment_by_reference(key).await {
        Ok(Some(Known::Payment(payment))) => {
            let mut timings = Timings::default();
            timings.add(Stage::Charge, waiting.received.elapsed());
            Ok((Answer::Done { payment: *payment, replayed: false }, timings))
        }
        Ok(None) => Err(NoAnswer::NotTaken),
        Ok(Some(Known::Reversed)) | Err(_) => Err(NoAnswer::Unknown),
    }
}

fn attempt(origin: Origin, refusal: &Refusal, now: selfsame_domain::time::Timestamp) -> Attempt {
    Attempt {
        id: AttemptId::new(now, random()),
        at: now,
        operation: "payment",
        reason: refusal.as_str().to_owned(),
        terminal: origin.terminal,
        merchant: origin.merchant,
        account: origin.account,
    }
}

#[cfg(test)]
mod tests {
    use selfsame_domain::clock::SystemClock;
    use selfsame_domain::id::MerchantId;
    use selfsame_domain::payment::Reverse;
    use selfsame_domain::site::Mode;
    use selfsame_store::{Database, Fault, Gate};

    use super::*;
    use crate::setup::{NewSite, create_site};

    fn reversal(merchant: MerchantId, number: usize) -> Request {
        let payment = PaymentId::new(SystemClock.now(), random());
        let order_ref = format!("o{number}").parse().unwrap();
        Request::Reverse(Reverse { payment, merchant, order_ref })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_queue_refuses_at_once_and_what_it_refused_never_happens() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::files(folder.path().join("site.db"), folder.path().join("keys.db"));
        let new = NewSite {
            mode: Mode::Test,
            currency: "EUR".parse().unwrap(),
            merchant_name: "North".to_owned(),
            store_name: "Hall".to_owned(),
            limits: Vec::new(),
        };
        let created = create_site(&database, new, SystemClock.now()).await.unwrap();
        let store = Arc::new(Store::open(&database).unwrap());
        store.take_over_slot(Duration::ZERO).await.unwrap();
        let gate = Gate::default();
        store.faults().order(Fault::Stall(gate.clone()));
        let queue = Arc::new(PaymentQueue::start(store.clone(), Arc::new(SystemClock)));
        let mut waiting = tokio::task::JoinSet::new();
        let count = WAITING_MAX + 2 * BATCH_REQUESTS_MAX;
        for number in 0..count {
            let (queue, request) = (queue.clone(), reversal(created.merchant, number));
            waiting.spawn(async move { queue.submit(request).await });
        }
        let (mut unknown, mut not_taken) = (0, 0);
        while let Some(reply) = waiting.join_next().await {
            match reply.unwrap() {
                Err(NoAnswer::Unknown) => unknown += 1,
                Err(NoAnswer::NotTaken) => not_taken += 1,
                other => panic!("{other:?}"),
            }
        }
        // Only the batch that hangs is in doubt.
        assert!((1..=BATCH_REQUESTS_MAX).contains(&unknown), "{unknown}");
        assert_eq!(unknown + not_taken, count);
        gate.open();
        // The next request is answered when the batch that hung has ended, and nothing else has been decided.
        while queue.submit(reversal(created.merchant, count)).await.is_err() {}
        let rows = store.audit_ledger().await.unwrap().slots[0].sequence;
        assert_eq!(rows, unknown as u64 + 1);
    }
}
