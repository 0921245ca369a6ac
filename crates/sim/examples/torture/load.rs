//! Clients: many at once, over HTTP, each with the journal in which it writes every request before it is sent and every
//! answer after it was received.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, bail};
use selfsame_api::client::ClientError;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::id::{AccountId, PaymentId};
use selfsame_sim::journal::{Ask, Entry, Standing, Told};
use selfsame_sim::random::Random;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::site::{Callers, PATIENCE, Site};

/// Clients at once.
pub const CLIENTS: usize = 24;

/// Amounts, minor units; below those with a fate on test sites.
const MINOR_MAX: u64 = 300;

/// Requests of a round, at most: more than any scenario waits for.
pub const REQUESTS: usize = 3_000;

/// Pause of a client that was told to try again later. Without it a round's requests are used up before a database that was
/// killed has read its log.
const UNAVAILABLE: Duration = Duration::from_millis(50);

/// How often what had no answer is sent again until it has one.
const REPETITIONS: usize = 5;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A request that is to be sent.
#[derive(Clone)]
struct Request {
    reference: String,
    ask: Ask,
    payer: AccountId,
}

/// The requests of a round, from a seed. Collisions on purpose: orders that are sent twice, codes that are charged by
/// two orders, orders that are reversed while they are charged.
pub struct Plan {
    requests: Mutex<std::vec::IntoIter<Request>>,
    codes: Vec<String>,
}

impl Plan {
    pub async fn new(site: &mut Site, random: &mut Random, round: usize) -> anyhow::Result<Self> {
        let codes = site.codes(REQUESTS).await?;
        let mut requests: Vec<Request> = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS {
            let minor = i64::try_from(random.below(MINOR_MAX))? + 1;
            let charge = Ask::Charge { code: number, minor, hold: random.below(8) == 0 };
            // Another order whose answer may still be under way.
            let recent = requests.len().checked_sub(1 + usize::try_from(random.below(20))?);
            let recent =
                recent.map(|place| requests[place].clone()).filter(|one| one.reference.starts_with('o'));
            let (ask, reference) = match (random.below(20), recent) {
                (0..=2, Some(recent)) => (recent.ask, recent.reference),
                (3 | 4, Some(Request { ask: Ask::Charge { code, .. }, .. })) => {
                    (Ask::Charge { code, minor, hold: false }, format!("o{round}-{number}"))
                }
                (5, Some(recent)) => (Ask::Reverse, recent.reference),
                (6 | 7, _) => (Ask::TopUp { minor }, format!("t{round}-{number}")),
                _ => (charge, format!("o{round}-{number}")),
            };
            requests.push(Request { reference, ask, payer: site.payer(number) });
        }
        Ok(Self { requests: Mutex::new(requests.into_iter()), codes })
    }

    fn next(&self) -> Option<Request> {
        lock(&self.requests).next()
    }

    async fn send(&self, callers: &Callers, request: &Request) -> Result<Value, ClientError> {
        let reference = &request.reference;
        let money = |minor: i64| json!({ "minor": minor, "currency": "EUR" });
        match request.ask {
            Ask::Charge { code, minor, hold } => {
                let mut body =
                    json!({ "order_ref": reference, "code": self.codes[code], "amount": money(minor) });
                if hold {
                    body["hold_seconds"] = json!(3_600);
                }
                callers.merchant.post("/v1/payments", &body, PATIENCE).await
            }
            Ask::Reverse => {
                let body = json!({ "order_ref": reference });
                callers.merchant.post("/v1/reversals", &body, PATIENCE).await
            }
            Ask::TopUp { minor } => {
                let body =
                    json!({ "top_up_ref": reference, "account": request.payer, "amount": money(minor) });
                callers.operator.post("/v1/top-ups", &body, PATIENCE).await
            }
        }
    }
}

fn id(body: &Value) -> Option<PaymentId> {
    body["id"].as_str()?.parse().ok()
}

fn told(ask: Ask, answer: &Result<Value, ClientError>) -> Told {
    match answer {
        Ok(_) if ask == Ask::Reverse => Told::Reversed,
        Ok(body) => id(body).map_or(Told::Unknown, Told::Done),
        Err(ClientError::Problem(problem)) => match problem.code {
            ProblemCode::OutcomeUnknown | ProblemCode::Internal => Told::Unknown,
            code => Told::Refused(code.as_str().to_owned()),
        },
        Err(ClientError::Connect { .. } | ClientError::Unsigned { .. }) => {
            Told::Refused("not_connected".to_owned())
        }
        Err(ClientError::NoAnswer { .. } | ClientError::Silent { .. } | ClientError::Answer { .. }) => {
            Told::Unknown
        }
    }
}

/// What clients wrote down: in memory to compare, in a file for people.
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
    file: Mutex<std::fs::File>,
}

impl Journal {
    pub fn new(site: &Site) -> anyhow::Result<Self> {
        let path = site.folder().join("journal");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { entries: Mutex::default(), file: Mutex::new(file) })
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        writeln!(lock(&self.file), "{line}").expect("the journal's own disk works");
    }

    /// A request that will be sent now: without an answer until there is one.
    fn open(&self, request: &Request) -> usize {
        let mut entries = lock(&self.entries);
        let place = entries.len();
        self.write(format_args!("{place} {} {:?}", request.reference, request.ask));
        let Request { reference, ask, .. } = request.clone();
        entries.push(Entry { reference, ask, told: Told::Unknown });
        place
    }

    fn close(&self, place: usize, told: &Told) {
        self.write(format_args!("{place} {told:?}"));
        lock(&self.entries)[place].told = told.clone();
    }

    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }
}

/// How many answers there were, and how many of them good ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub answered: u64,
    pub acknowledged: u64,
}

/// Clients at work.
pub struct Load {
    running: JoinSet<()>,
    stop: Arc<AtomicBool>,
    count: watch::Receiver<Count>,
}

impl Load {
    /// Starts them; they go on until they are stopped, or until nobody listens any more.
    pub fn start(callers: &Callers, plan: &Arc<Plan>, journal: &Arc<Journal>) -> Self {
        Self::of(CLIENTS, callers, plan, journal)
    }

    /// The same with so many clients.
    pub fn of(clients: usize, callers: &Callers, plan: &Arc<Plan>, journal: &Arc<Journal>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, count) = watch::channel(Count::default());
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (callers, plan, journal) = (callers.clone(), plan.clone(), journal.clone());
            let (stop, counter) = (stop.clone(), counter.clone());
            running.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let Some(request) = plan.next() else { break };
                    let place = journal.open(&request);
                    let answer = plan.send(&callers, &request).await;
                    let told = told(request.ask, &answer);
                    journal.close(place, &told);
                    let good = matches!(told, Told::Done(_) | Told::Reversed);
                    counter.send_modify(|count| {
                        count.answered += 1;
                        count.acknowledged += u64::from(good);
                    });
                    match answer {
                        Err(ClientError::Connect { .. }) => break,
                        Err(error) if error.problem().is_some_and(|problem| problem.status == 503) => {
                            tokio::time::sleep(UNAVAILABLE).await;
                        }
                        _ => {}
                    }
                }
            });
        }
        Self { running, stop, count }
    }

    /// Waits for so many more good answers than there are.
    pub async fn acknowledged_more(&mut self, number: u64) -> anyhow::Result<()> {
        self.acknowledged(self.count().acknowledged + number).await
    }

    /// Waits for so many more answers than there are.
    pub async fn answered_more(&mut self, number: u64) -> anyhow::Result<()> {
        self.answered(self.count().answered + number).await
    }

    pub fn count(&self) -> Count {
        *self.count.borrow()
    }

    /// Waits until so many were told that it is done.
    pub async fn acknowledged(&mut self, number: u64) -> anyhow::Result<()> {
        self.reached("good answers", |count| count.acknowledged >= number).await
    }

    /// Waits until so many were answered in whatever way.
    pub async fn answered(&mut self, number: u64) -> anyhow::Result<()> {
        self.reached("answers", |count| count.answered >= number).await
    }

    async fn reached(&mut self, what: &str, enough: impl Fn(&Count) -> bool) -> anyhow::Result<()> {
        let reached = tokio::time::timeout(PATIENCE, self.count.wait_for(enough)).await;
        let reached = reached.map(|counted| counted.is_ok());
        match reached {
            Ok(true) => Ok(()),
            Ok(false) => bail!("all clients have ended before there were enough {what}: {:?}", self.count()),
            Err(_) => bail!("too few {what} within {PATIENCE:?}: {:?}", self.count()),
        }
    }

    /// Lets every client finish what it has sent.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.running.join_next().await {
            ended.context("a client broke")?;
        }
        Ok(())
    }
}

/// Asks for every order of the journal by its reference, repeats what had no answer, and answers how all stand. What is
/// wrong with the repetitions is added to `wrong`.
pub async fn ask_by_reference(
    callers: &Callers,
    plan: &Plan,
    entries: &[Entry],
    wrong: &mut Vec<String>,
) -> anyhow::Result<BTreeMap<String, Standing>> {
    let mut standings = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !matches!(entry.ask, Ask::TopUp { .. })) {
        let reference = &entry.reference;
        if !standings.contains_key(reference) {
            standings.insert(reference.clone(), standing(callers, reference).await?);
        }
        let Some(Standing::Payment { payment, net_minor }) = standings.get(reference) else { continue };
        let repeats = entry.told == Told::Unknown && matches!(entry.ask, Ask::Charge { .. });
        if repeats && *net_minor > 0 {
            let payer = AccountId::new(selfsame_domain::time::Timestamp::from_millis(0), [0; 10]);
            let request = Request { reference: reference.clone(), ask: entry.ask, payer };
            let mut again = Told::Unknown;
            for _ in 0..REPETITIONS {
                again = told(entry.ask, &plan.send(callers, &request).await);
                // A disk that has other work may keep an answer back for longer than the server waits.
                if again != Told::Unknown {
                    break;
                }
            }
            if again != Told::Done(*payment) {
                wrong.push(format!("{reference} is {payment}, but was then answered {again:?}"));
            }
        }
    }
    Ok(standings)
}

async fn standing(callers: &Callers, reference: &str) -> anyhow::Result<Standing> {
    let path = format!("/v1/payments?order_ref={reference}");
    match callers.merchant.get::<Value>(&path, PATIENCE).await {
        Ok(body) => {
            let minor = |name: &str| body[name].as_i64().context("amounts are integers");
            let net_minor = minor("paid_minor")? - minor("returned_minor")?;
            Ok(Standing::Payment { payment: id(&body).context("a payment has an id")?, net_minor })
        }
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => Ok(Standing::Absent),
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::OrderReversed => {
            Ok(Standing::Reversed)
        }
        Err(error) => Err(error).with_context(|| format!("no answer about {reference}")),
    }
}
