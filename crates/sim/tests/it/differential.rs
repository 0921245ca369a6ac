//! One long story played to three stores, batch by batch: the model in memory, SQLite and PostgreSQL. Every answer must
//! be the same, and at the end every row, byte for byte. PostgreSQL has one writer here, so that its order is the story's.

use std::time::Duration;

use selfsame_cluster::{Cluster, Options, is_installed_or_skip};
use selfsame_domain::account::AccountState;
use selfsame_domain::id::{KeyId, PaymentCodeId, PaymentId, StoreId, VerificationId, WalletId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::ledger::export::Line;
use selfsame_domain::limit::{BusinessDay, Limits, Spending};
use selfsame_domain::payment::{
    Answer, Charge, Close, Code, CodeMac, DecideUndo, DeclineCode, Ending, IdempotencyKey, Party, Proof,
    Purpose, Refund, Refusal, Request, Reverse, Target, TopUp, Undo, Wallet, decide,
};
use selfsame_domain::reference::Reference;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::Purpose as TerminalPurpose;
use selfsame_domain::time::Timestamp;
use selfsame_sim::random::Random;
use selfsame_sim::store::{
    MemoryStore, STEP_UP_ABOVE_MINOR, UNDO_MINUTES, account, merchant, start, terminal,
};
use selfsame_store::{
    Agreement, ApiKey, Database, Layer, NewAccount, NewMerchant, NewTerminal, Rules, SeedCode, Site, Store,
};

/// Requests of the story.
const OPERATIONS: u64 = 100_000;

/// Payers. Few, so that they meet again in one batch and run out of money.
const PAYERS: u8 = 60;

/// Codes that exist before their first charge; more are issued as they are used up.
const CODES_AHEAD: u64 = 500;

fn currency() -> selfsame_domain::money::Currency {
    "EUR".parse().expect("a currency of the table")
}

fn bytes(number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn mac(number: u64) -> CodeMac {
    let mut mac = [7; 32];
    mac[..8].copy_from_slice(&number.to_be_bytes());
    CodeMac(mac)
}

fn payer(random: &mut Random) -> u8 {
    u8::try_from(random.below(PAYERS.into())).expect("below 60")
}

fn wallet(number: u8) -> Wallet {
    Wallet {
        wallet: WalletId::new(start(), [number; 10]),
        account: account(number),
        account_state: AccountState::Active,
        purpose: Purpose::Own,
        currency: currency(),
        balance_minor: 0,
        held_minor: 0,
        version: 0,
        spending: Spending::nothing(),
    }
}

fn code(number: u64) -> Code {
    Code {
        code: PaymentCodeId::new(start(), bytes(number)),
        verification: VerificationId::new(start(), bytes(number)),
        sensor_grade: SensorGrade::Simulated,
        account: account(u8::try_from(number % u64::from(PAYERS)).expect("below 60")),
        store: StoreId::new(start(), [1; 10]),
        terminal: terminal(),
        currency: currency(),
        amount_minor_max: 1_000_000,
        // Some die in the middle of the story.
        expires_at: start() + Duration::from_secs(600 + number / 4),
        revoked: false,
        consumed: false,
    }
}

fn reference(text: &str, number: u64) -> Reference {
    format!("{text}{number}").parse().expect("letters and digits")
}

/// Of every payment; those of the day are reached now and then.
fn limits() -> Limits {
    Limits {
        step_up_above_minor: Some(STEP_UP_ABOVE_MINOR),
        day_minor_max: Some(12_000),
        day_count_max: Some(90),
        ..Limits::default()
    }
}

/// What both engines are given before the story begins.
async fn prepare(database: &Database) -> Store {
    let (store, now) = (Store::open(database).expect("it opens"), start());
    let site = Site { mode: Mode::Test, currency: currency() };
    assert!(store.create_site(site, now).await.expect("it is written"));
    let key = ApiKey { id: KeyId::new(now, [1; 10]), role: Caller::Merchant(merchant()) };
    let new = NewMerchant {
        merchant: merchant(),
        store: StoreId::new(now, [1; 10]),
        request_ref: reference("m", 1),
        name: "Canteen".to_owned(),
        store_name: "Hall".to_owned(),
        key,
        key_hash: [1; 32],
    };
    store.create_merchant(new, now).await.expect("it is written");
    let new = NewTerminal {
        terminal: terminal(),
        store: StoreId::new(now, [1; 10]),
        name: "Till".to_owned(),
        purpose: TerminalPurpose::Till,
        code_hash: [1; 32],
        code_expires_at: now,
    };
    assert!(store.create_terminal(new, now).await.expect("it is written"));
    for number in 0..PAYERS {
        let new = NewAccount {
            account: account(number),
            wallet: wallet(number).wallet,
            currency: currency(),
            request_ref: reference("a", number.into()),
            request_mac: [number; 32],
            profile: vec![number],
            lookups: Vec::new(),
            wrapped_profile_key: vec![number],
        };
        store.create_account(new, now).await.expect("it is written");
        store.set_pin(account(number), "hash".to_owned(), "pin_set", now).await.expect("it is written");
    }
    store.set_limits(Layer::Site, limits(), now).await.expect("it is written");
    let agreement = Agreement { undo_minutes: UNDO_MINUTES, ..Agreement::default() };
    store.set_agreement(merchant(), agreement).await.expect("it is written");
    store.take_over_slot(Duration::ZERO).await.expect("it is written").expect("nobody else is there");
    store
}

async fn add_codes(store: &Store, numbers: std::ops::Range<u64>) {
    let seed = |number| {
        let code = code(number);
        SeedCode {
            verification: code.verification,
            code: code.code,
            mac: mac(number),
            account: code.account,
            at: (merchant(), code.store, code.terminal),
            expires_at: code.expires_at,
        }
    };
    store.seed_codes(numbers.map(seed).collect(), currency(), start()).await.expect("they are written");
}

/// Whoever asks.
struct Story {
    random: Random,
    now: Timestamp,
    payments: u64,
    orders: u64,
    codes: u64,
}

impl Story {
    fn minor(&mut self) -> selfsame_domain::money::Amount {
        let minor = i64::try_from(self.random.below(300)).expect("small") + 1;
        selfsame_domain::money::Amount::new(minor, currency()).expect("positive")
    }

    /// A day that begins some minutes before or after now: the operator moves it, and it comes while people pay.
    fn other_day(&mut self) -> BusinessDay {
        let minute = i32::from(BusinessDay::default().minute(self.now));
        let earlier = i32::try_from(self.random.below(21)).expect("small") - 10;
        BusinessDay { utc_offset_minutes: earlier - minute }
    }

    /// One of the latest orders, now and then one that nobody has seen.
    fn order(&mut self) -> Reference {
        let back = self.random.below(40);
        reference("o", self.orders.saturating_sub(back))
    }

    fn payment_of(&mut self, model: &MemoryStore) -> PaymentId {
        let key = IdempotencyKey::order(merchant(), self.order());
        let unknown = PaymentId::new(start(), [0xee; 10]);
        model.by_reference(&key).map_or(unknown, |history| history.head().payment)
    }

    fn request(&mut self, model: &MemoryStore) -> Request {
        self.payments += 1;
        let payment = PaymentId::new(self.now, bytes(self.payments));
        let by_merchant = Party::Merchant(merchant());
        match self.random.below(24) {
            0..=10 => {
                if self.random.below(5) > 0 {
                    self.orders += 1;
                }
                if self.random.below(6) > 0 {
                    self.codes += 1;
                }
                let back = self.random.below(3);
                Request::Charge(Charge {
                    payment,
                    merchant: merchant(),
                    order_ref: reference("o", self.orders),
                    amount: self.minor(),
                    parts: None,
                    code: mac(self.codes.saturating_sub(back)),
                    hold_until: (self.random.below(5) == 0).then(|| self.now + Duration::from_secs(60)),
                    ask_payer: self.random.below(20) == 0,
                })
            }
            11 | 12 => Request::Reverse(Reverse { payment, merchant: merchant(), order_ref: self.order() }),
            13 | 14 => Request::Refund(Refund {
                payment,
                merchant: merchant(),
                refund_ref: reference("r", self.random.below(1 + self.payments)),
                target: Target::Order(self.order()),
                amount: self.minor(),
                part: None,
            }),
            15 | 16 => {
                let amount = (self.random.below(2) == 0).then(|| self.minor());
                let target = Target::Order(self.order());
                Request::Close(Close { payment, by: by_merchant, target, ending: Ending::Capture(amount) })
            }
            17 => {
                let target = Target::Order(self.order());
                Request::Close(Close { payment, by: by_merchant, target, ending: Ending::Void })
            }
            18 => {
                let target = Target::Payment(self.payment_of(model));
                let by = Party::Terminal(terminal());
                Request::Close(Close { payment, by, target, ending: Ending::Confirm(Proof::Pin) })
            }
            19 => {
                let target = Target::Payment(self.payment_of(model));
                Request::Close(Close { payment, by: Party::Clock, target, ending: Ending::Expire })
            }
            20 => {
                let target = self.payment_of(model);
                Request::Undo(Undo { payment, account: account(payer(&mut self.random)), target })
            }
            21 => Request::DecideUndo(DecideUndo {
                payment,
                target: self.payment_of(model),
                merchant: Some(merchant()),
                actor: None,
                granted: self.random.below(2) == 0,
            }),
            _ => Request::TopUp(TopUp {
                payment,
                account: account(payer(&mut self.random)),
                purpose: Purpose::Own,
                top_up_ref: reference("t", self.random.below(1 + self.payments)),
                amount: self.minor(),
                actor: None,
            }),
        }
    }
}

async fn post(store: &Store, requests: &[Request], now: Timestamp) -> Vec<Answer> {
    let posted = store.post_batch(0, requests.to_vec(), Vec::new(), Vec::new(), now).await;
    posted.expect("nothing stands in the way").answers
}

async fn export(store: &Store) -> Vec<String> {
    let (lines, written) = std::sync::mpsc::channel();
    let sink = move |line: &Line| {
        let _ = lines.send(serde_json::to_string(line)?);
        Ok(())
    };
    store.export_ledger(sink, start()).await.expect("it reads");
    written.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn model_sqlite_and_postgresql_tell_one_story() {
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default()).await.expect("PostgreSQL starts");
    let url = cluster.create_database("differential").await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let files = Database::files(folder.path().join("site.db"), folder.path().join("keys.db"));
    let sqlite = prepare(&files).await;
    let postgres = prepare(&Database::Postgres { url, writers: 1 }).await;
    let mut model = MemoryStore::of((0..PAYERS).map(wallet).collect());
    model.terms.site = limits();
    let mut story = Story { random: Random::new(20_261_129), now: start(), payments: 0, orders: 0, codes: 0 };
    let (mut asked, mut known_codes, mut refused, mut above_day) = (0, 0, 0u64, 0);
    while asked < OPERATIONS {
        if story.codes + CODES_AHEAD / 2 > known_codes {
            let numbers = known_codes..known_codes + CODES_AHEAD;
            model.add_codes(numbers.clone().map(|number| (mac(number), code(number))));
            add_codes(&sqlite, numbers.clone()).await;
            add_codes(&postgres, numbers.clone()).await;
            known_codes = numbers.end;
        }
        // Whoever names a payment by its id has been told of it: those that are asked for in this batch are not known.
        let size = 1 + story.random.below(100);
        let requests: Vec<Request> = (0..size).map(|_| story.request(&model)).collect();
        asked += size;
        story.now = story.now + Duration::from_millis(story.random.below(2_000));
        if story.random.below(60) == 0 {
            let rules = Rules { business_day: story.other_day(), gesture_confirms: false };
            model.terms.business_day = rules.business_day;
            for store in [&sqlite, &postgres] {
                store.set_rules(rules).await.expect("it is written");
            }
        }
        let state = model.load(&requests, story.now);
        let before = state.slot;
        let (answers, changes) = decide(state, &requests, story.now);
        model.commit(&before, &changes).expect("the model has one writer");
        let limited = |answer: &&Answer| {
            let of_day = [DeclineCode::LimitExceededDay, DeclineCode::LimitExceededCount];
            of_day.iter().any(|code| **answer == Answer::Refused(Refusal::Declined(*code)))
        };
        above_day += answers.iter().filter(limited).count();
        refused += answers.iter().filter(|answer| matches!(answer, Answer::Refused(_))).count() as u64;
        assert_eq!(post(&sqlite, &requests, story.now).await, answers, "SQLite, after {asked} requests");
        assert_eq!(
            post(&postgres, &requests, story.now).await,
            answers,
            "PostgreSQL, after {asked} requests"
        );
    }
    let (in_files, in_postgres) = (export(&sqlite).await, export(&postgres).await);
    assert_eq!(in_files.len(), in_postgres.len());
    let different = in_files.iter().zip(&in_postgres).find(|(sqlite, postgres)| sqlite != postgres);
    assert_eq!(different, None);
    // Rich enough to mean something.
    let rows = model.rows.len();
    assert!(in_files.len() > rows && rows > 20_000, "{rows} rows");
    assert!(refused > OPERATIONS / 20 && refused < OPERATIONS * 4 / 5, "{refused} refused");
    assert!(above_day > 100, "{above_day} above a limit of the day");
    for store in [&sqlite, &postgres] {
        assert_eq!(store.audit_ledger().await.expect("it reads").wallets_that_differ, 0);
    }
    assert_eq!(sqlite.ledger_heads().await.expect("it reads")[0].2, model.slot.hash);
}
