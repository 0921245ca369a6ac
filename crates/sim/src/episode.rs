//! One episode: steps from a seed, played against the core and its store model, watched from three sides.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use selfsame_domain::id::PaymentId;
use selfsame_domain::ledger::audit::Auditor;
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{
    Answer, Changes, Charge, Close, CodeMac, DecideUndo, Ending, IdempotencyKey, Party, Payment, Proof,
    Purpose, Refund, Request, Reverse, Slot, Target, TopUp, Undo, decide,
};
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;

use crate::Tally;
use crate::oracle::{Oracle, Verdict};
use crate::random::Random;
use crate::store::{MemoryStore, account, merchant, start, terminal};

/// Orders of the tiny world.
const ORDERS: u64 = 4;

/// Steps of an episode, at most.
const STEPS_MAX: u64 = 60;

/// What a client asks for; numbers pick from the tiny key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are numbers of the tiny world and amounts in minor units")]
pub enum Ask {
    /// A merchant charges a code; `hold` for an hour instead of moving the money.
    Charge { code: u8, order: u8, minor: i64, hold: bool },
    /// A merchant reverses an order.
    Reverse { order: u8 },
    /// A merchant gives money back.
    Refund { reference: u8, order: u8, minor: i64 },
    /// A merchant captures a hold.
    Capture { order: u8, minor: Option<i64> },
    /// A merchant voids a hold.
    Void { order: u8 },
    /// A merchant gives up waiting for a confirmation.
    Cancel { order: u8 },
    /// The payer confirms by PIN.
    Confirm { order: u8 },
    /// The server's clock ends what is over.
    Expire { order: u8 },
    /// A payer takes a payment back.
    Undo { order: u8, payer: u8 },
    /// The merchant decides about it.
    DecideUndo { order: u8, granted: bool },
    /// The operator pays money in.
    TopUp { reference: u8, payer: u8, minor: i64 },
}

/// How the commit of a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As it should.
    None,
    /// It does not happen; the clients are told so.
    BeforeCommit,
    /// It happens, but the answers are lost; the clients look up and ask again.
    AfterCommit,
    /// Another writer takes the slot over between load and commit.
    StaleEpoch,
    /// A second writer decides the same requests from the same state and commits first.
    Twice,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client sends something.
    Send(Ask),
    /// The queue takes what waits.
    Batch(Fault),
    /// The clock jumps by so many seconds, also back.
    Clock(i64),
}

/// A story, and the seed that it came from.
#[derive(Clone, Debug)]
pub struct Episode {
    /// The seed.
    pub seed: u64,
    /// The steps.
    pub steps: Vec<Step>,
}

/// What went wrong, with the fewest steps that bring it about.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that found it.
    pub seed: u64,
    /// What was seen.
    pub reason: String,
    /// The steps.
    pub steps: Vec<Step>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.reason)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

fn small(random: &mut Random, end: u64) -> u8 {
    u8::try_from(random.below(end)).unwrap_or(0)
}

fn ask(random: &mut Random) -> Ask {
    let order = small(random, ORDERS);
    let minor = i64::try_from(random.below(300)).unwrap_or(0) + 1;
    match random.below(20) {
        0..=5 => Ask::Charge { code: small(random, 6), order, minor, hold: random.below(4) == 0 },
        6 | 7 => Ask::TopUp { reference: small(random, 6), payer: small(random, 3), minor: minor * 2 },
        8 | 9 => Ask::Refund { reference: small(random, 4), order, minor },
        10 => Ask::Reverse { order },
        11 | 12 => Ask::Capture { order, minor: (random.below(2) == 0).then_some(minor) },
        13 => Ask::Void { order },
        14 => Ask::Cancel { order },
        15 | 16 => Ask::Confirm { order },
        17 => Ask::Expire { order },
        18 => Ask::Undo { order, payer: small(random, 3) },
        _ => Ask::DecideUndo { order, granted: random.below(2) == 0 },
    }
}

fn step(random: &mut Random) -> Step {
    match random.below(16) {
        0..=9 => Step::Send(ask(random)),
        10..=12 => Step::Batch(Fault::None),
        13 => Step::Batch(Fault::BeforeCommit),
        14 => match random.below(3) {
            0 => Step::Batch(Fault::AfterCommit),
            1 => Step::Batch(Fault::StaleEpoch),
            _ => Step::Batch(Fault::Twice),
        },
        _ => {
            let jumps = [1, 60, 119, 120, 121, 1_199, 1_201, 3_600, 86_400, -1, -3_600, -86_400];
            Step::Clock(jumps[usize::from(small(random, 12))])
        }
    }
}

fn reference(prefix: char, number: u8) -> Reference {
    format!("{prefix}{number}").parse().expect("a valid reference")
}

fn eur(minor: i64) -> Amount {
    Amount::new(minor, "EUR".parse().expect("a currency of the table")).expect("1 or more minor units")
}

impl Episode {
    /// The episode of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = 10 + random.below(STEPS_MAX - 10);
        // Money first, or hardly anything else happens.
        let mut steps: Vec<_> =
            (0u8..3).map(|payer| Step::Send(Ask::TopUp { reference: payer, payer, minor: 500 })).collect();
        steps.extend((0..count).map(|_| step(&mut random)));
        steps.push(Step::Batch(Fault::None));
        Self { seed, steps }
    }

    /// Plays it; `Err` says what went wrong.
    pub fn play(&self) -> Result<Tally, String> {
        let mut play = Play::default();
        for step in &self.steps {
            play.step(step)?;
        }
        Ok(play.tally)
    }

    /// The same failure with as few steps as can be found by leaving out one after the other.
    pub fn shrunk(&self, reason: String) -> Failure {
        let (mut steps, mut reason) = (self.steps.clone(), reason);
        let mut index = 0;
        while index < steps.len() {
            let mut fewer = steps.clone();
            fewer.remove(index);
            match (Episode { seed: self.seed, steps: fewer.clone() }).play() {
                Err(still) => (steps, reason, index) = (fewer, still, 0),
                Ok(_) => index += 1,
            }
        }
        Failure { seed: self.seed, reason, steps }
    }
}

struct Play {
    store: MemoryStore,
    oracle: Oracle,
    auditor: Auditor,
    waiting: Vec<Ask>,
    /// What clients were told is done, by reference: it must stay so for ever.
    told: HashMap<IdempotencyKey, PaymentId>,
    now: Timestamp,
    serial: u64,
    tally: Tally,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            store: MemoryStore::default(),
            oracle: Oracle::default(),
            auditor: Auditor::default(),
            waiting: Vec::new(),
            told: HashMap::new(),
            now: start(),
            serial: 0,
            tally: Tally { episodes: 1, ..Tally::default() },
        }
    }
}

impl Play {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(ask) => self.waiting.push(*ask),
            Step::Clock(seconds) => {
                let jump = Duration::from_secs(seconds.unsigned_abs());
                self.now = if *seconds < 0 { self.now - jump } else { self.now + jump };
            }
            Step::Batch(fault) => {
                let asks = std::mem::take(&mut self.waiting);
                if !asks.is_empty() {
                    self.batch(&asks, *fault)?;
                }
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> PaymentId {
        self.serial += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.serial.to_be_bytes());
        PaymentId::new(start(), random)
    }

    /// The payment that an order stands for now, or one that does not exist.
    fn payment_of(&mut self, order: u8) -> PaymentId {
        let key = IdempotencyKey::order(merchant(), reference('o', order));
        match self.store.by_reference(&key) {
            Some(history) => history.head().payment,
            None => self.next_id(),
        }
    }

    fn request(&mut self, ask: &Ask) -> Request {
        let payment = self.next_id();
        let by_merchant = Party::Merchant(merchant());
        let order_target = |order| Target::Order(reference('o', order));
        let close = |by, target, ending| Request::Close(Close { payment, by, target, ending });
        match *ask {
            Ask::Charge { code, order, minor, hold } => Request::Charge(Charge {
                payment,
                merchant: merchant(),
                order_ref: reference('o', order),
                amount: eur(minor),
                parts: None,
                code: CodeMac([code; 32]),
                hold_until: hold.then(|| self.now + Duration::from_secs(3_600)),
                ask_payer: false,
            }),
            Ask::Reverse { order } => {
                Request::Reverse(Reverse { payment, merchant: merchant(), order_ref: reference('o', order) })
            }
            Ask::Refund { reference: number, order, minor } => Request::Refund(Refund {
                payment,
                merchant: merchant(),
                refund_ref: reference('r', number),
                target: order_target(order),
                amount: eur(minor),
                part: None,
            }),
            Ask::Capture { order, minor } => {
                close(by_merchant, order_target(order), Ending::Capture(minor.map(eur)))
            }
            Ask::Void { order } => close(by_merchant, order_target(order), Ending::Void),
            Ask::Cancel { order } => close(by_merchant, order_target(order), Ending::Cancel),
            Ask::Confirm { order } => {
                let target = Target::Payment(self.payment_of(order));
                let by = Party::Terminal(terminal());
                Request::Close(Close { payment, by, target, ending: Ending::Confirm(Proof::Pin) })
            }
            Ask::Expire { order } => {
                let target = Target::Payment(self.payment_of(order));
                Request::Close(Close { payment, by: Party::Clock, target, ending: Ending::Expire })
            }
            Ask::Undo { order, payer } => {
                let target = self.payment_of(order);
                Request::Undo(Undo { payment, account: account(payer), target })
            }
            Ask::DecideUndo { order, granted } => {
                let target = self.payment_of(order);
                let merchant = Some(merchant());
                Request::DecideUndo(DecideUndo { payment, target, merchant, actor: None, granted })
            }
            Ask::TopUp { reference: number, payer, minor } => Request::TopUp(TopUp {
                payment,
                account: account(payer),
                purpose: Purpose::Own,
                top_up_ref: reference('t', number),
                amount: eur(minor),
                actor: None,
            }),
        }
    }

    /// Requests that name a payment by its id cannot know one that is made in the same batch, so the batch ends
    /// before them, as it would for a client that waits for the id.
    fn batch(&mut self, asks: &[Ask], fault: Fault) -> Result<(), String> {
        let by_id = |ask: &Ask| {
            matches!(
                ask,
                Ask::Confirm { .. } | Ask::Expire { .. } | Ask::Undo { .. } | Ask::DecideUndo { .. }
            )
        };
        let mut from = 0;
        for index in 1..=asks.len() {
            if index == asks.len() || by_id(&asks[index]) {
                self.commit(&asks[from..index], if from == 0 { fault } else { Fault::None })?;
                from = index;
            }
        }
        Ok(())
    }

    fn decided(&mut self, requests: &[Request]) -> (Slot, Vec<Answer>, Changes) {
        self.tally.operations += requests.len() as u64;
        let (answers, changes) = decide(self.store.load(requests, self.now), requests, self.now);
        (self.store.slot, answers, changes)
    }

    fn commit(&mut self, asks: &[Ask], fault: Fault) -> Result<(), String> {
        let requests: Vec<Request> = asks.iter().map(|ask| self.request(ask)).collect();
        let (before, answers, changes) = self.decided(&requests);
        self.tally.faults += u64::from(fault != Fault::None);
        match fault {
            Fault::None => self.write(asks, &before, &answers, &changes, true),
            // Nothing happened, and nobody was told anything else; the clients send it again later.
            Fault::BeforeCommit => Ok(()),
            Fault::AfterCommit => {
                self.write(asks, &before, &answers, &changes, false)?;
                // Whoever asks again learns what happened.
                self.commit(asks, Fault::None)
            }
            Fault::StaleEpoch => {
                self.store.slot.epoch += 1;
                self.must_be_refused(&before, &changes)?;
                self.commit(asks, Fault::None)
            }
            Fault::Twice => {
                self.write(asks, &before, &answers, &changes, true)?;
                self.must_be_refused(&before, &changes)
            }
        }
    }

    /// A batch that was decided from a state that is gone writes nothing.
    fn must_be_refused(&mut self, before: &Slot, changes: &Changes) -> Result<(), String> {
        let rows = self.store.rows.len();
        if changes.slot.is_none() {
            return Ok(());
        }
        match self.store.commit(before, changes) {
            Ok(()) => Err(format!("a stale batch was written behind row {rows}")),
            Err(_) if self.store.rows.len() == rows => Ok(()),
            Err(refused) => Err(format!("a batch refused by {refused:?} wrote rows")),
        }
    }

    fn write(
        &mut self,
        asks: &[Ask],
        before: &Slot,
        answers: &[Answer],
        changes: &Changes,
        told: bool,
    ) -> Result<(), String> {
        let committed = self.store.commit(before, changes);
        committed.map_err(|refused| format!("the store refused what was decided: {refused:?}"))?;
        for (ask, answer) in asks.iter().zip(answers) {
            let expected = self.oracle.ask(ask, self.now);
            let found = Verdict::of(answer);
            if found != expected {
                return Err(format!("{ask:?} was answered {found:?} instead of {expected:?}"));
            }
        }
        for chained in &changes.rows {
            let pushed = self.auditor.push(chained);
            pushed.map_err(|broken| format!("row {}: {broken}", chained.row.sequence))?;
        }
        self.tally.rows += changes.rows.len() as u64;
        self.check_wallets()?;
        if told { self.check_told(answers) } else { Ok(()) }
    }

    /// Store, auditor and oracle know the same balances, and a wallet says of the day what its rows say or nothing.
    fn check_wallets(&self) -> Result<(), String> {
        for wallet in self.store.wallets.values() {
            let stored = (wallet.balance_minor, wallet.held_minor);
            let rows = self.auditor.wallet(wallet.wallet, wallet.currency);
            if rows != (i128::from(stored.0), i128::from(stored.1)) {
                return Err(format!("wallet {} has {stored:?}, its rows say {rows:?}", wallet.wallet));
            }
            let today = self.store.terms.business_day.start(self.now);
            let (told, rows) = (wallet.spending.on(today), self.store.spending_by_rows(wallet, today));
            if told.is_some_and(|told| told != rows) {
                return Err(format!(
                    "wallet {} says {told:?} of the day, its rows say {rows:?}",
                    wallet.wallet
                ));
            }
            let number = (0u8..3).find(|number| account(*number) == wallet.account);
            let foretold = number.map(|number| self.oracle.wallets()[usize::from(number)]);
            if foretold != Some(stored) {
                return Err(format!("wallet {} has {stored:?} instead of {foretold:?}", wallet.wallet));
            }
        }
        Ok(())
    }

    /// What a client was told is in the ledger, and the same reference is told the same payment for ever.
    fn check_told(&mut self, answers: &[Answer]) -> Result<(), String> {
        let done = answers.iter().filter_map(|answer| match answer {
            Answer::Done { payment, .. } => Some(payment),
            _ => None,
        });
        for payment in done {
            let Payment { payment: id, kind, reference, .. } = payment;
            let history = self.store.history(*id).ok_or_else(|| format!("{id} was told and is not there"))?;
            let caller = history.head().caller;
            let key = IdempotencyKey { caller, kind: *kind, reference: reference.clone() };
            let earlier = *self.told.entry(key).or_insert(*id);
            if earlier != *id {
                return Err(format!("{reference} was {earlier} and is now {id}"));
            }
        }
        Ok(())
    }
}
