//! PostgreSQL, where several servers write at once: each to slots of its own, all to the same wallets, codes and
//! references.

use std::sync::Arc;
use std::time::Duration;

use selfsame_cluster::{Cluster, Options, is_installed_or_skip};
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::id::{
    KeyId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::ledger::Caller;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{
    Answer, Charge, CodeMac, Purpose, Refund, Refusal, Request, Reverse, Target, TopUp,
};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::Purpose as TerminalPurpose;
use selfsame_store::{
    ApiKey, CopyError, Database, Lookup, NewMerchant, NewTerminal, NewVerification, SeedCode, SeedPayer,
    Site, Store, StoreError, Terminal, with_patience,
};
use tokio::task::JoinSet;

use crate::{account, now};

/// Payers, codes and payments of each test, at most.
pub const CODES: u64 = 400;

fn eur(minor: i64) -> Amount {
    Amount::new(minor, currency()).expect("an amount")
}

fn currency() -> Currency {
    "EUR".parse().expect("a currency")
}

pub fn bytes(number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn payment(number: u64) -> PaymentId {
    PaymentId::new(now(), bytes(number))
}

fn mac(number: u64) -> CodeMac {
    let mut mac = [3; 32];
    mac[..8].copy_from_slice(&number.to_be_bytes());
    CodeMac(mac)
}

fn merchant() -> MerchantId {
    MerchantId::new(now(), [1; 10])
}

pub fn charge(number: u64, order: u64, code: u64, minor: i64) -> Request {
    Request::Charge(Charge {
        payment: payment(number),
        merchant: merchant(),
        order_ref: format!("o{order}").parse().expect("a reference"),
        amount: eur(minor),
        parts: None,
        code: mac(code),
        hold_until: None,
        ask_payer: false,
    })
}

pub fn refund(number: u64, order: u64, minor: i64) -> Request {
    Request::Refund(Refund {
        payment: payment(number),
        merchant: merchant(),
        refund_ref: format!("r{number}").parse().expect("a reference"),
        target: Target::Order(format!("o{order}").parse().expect("a reference")),
        amount: eur(minor),
        part: None,
    })
}

pub fn top_up(number: u64, payer: u8, minor: i64) -> Request {
    Request::TopUp(TopUp {
        payment: payment(number),
        account: account(payer),
        purpose: Purpose::Own,
        top_up_ref: format!("t{number}").parse().expect("a reference"),
        amount: eur(minor),
        actor: None,
    })
}

/// A database with a merchant, and so many payers with so much money, each with codes.
pub struct Shared {
    pub cluster: Cluster,
    url: String,
}

impl Shared {
    pub async fn start(payers: u8, minor: i64) -> Option<(Self, Arc<Store>)> {
        if !is_installed_or_skip() {
            return None;
        }
        let cluster = Cluster::start(Options::default()).await.expect("PostgreSQL starts");
        let url = cluster.create_database("site").await.expect("a database");
        let shared = Self { cluster, url };
        let store = shared.open(2);
        let site = Site { mode: Mode::Test, currency: currency() };
        assert!(store.create_site(site, now()).await.expect("it is written"));
        store.take_over_slot(Duration::ZERO).await.expect("it is written").expect("nobody else is there");
        let at = (merchant(), StoreId::new(now(), [1; 10]), TerminalId::new(now(), [1; 10]));
        let key = ApiKey { id: KeyId::new(now(), [1; 10]), role: Caller::Merchant(merchant()) };
        let new = NewMerchant {
            merchant: merchant(),
            store: at.1,
            request_ref: "m".parse().expect("a reference"),
            name: "Canteen".to_owned(),
            store_name: "Hall".to_owned(),
            key,
            key_hash: [1; 32],
        };
        store.create_merchant(new, now()).await.expect("it is written");
        let new = NewTerminal {
            terminal: at.2,
            store: at.1,
            name: "Till".to_owned(),
            purpose: TerminalPurpose::Till,
            code_hash: [1; 32],
            code_expires_at: now(),
        };
        store.create_terminal(new, now()).await.expect("it is written");
        let seeds = (0..payers)
            .map(|number| SeedPayer { account: account(number), wallet: WalletId::new(now(), [number; 10]) });
        store.seed_payers(seeds.collect(), currency(), now()).await.expect("they are written");
        let codes = (0..CODES).map(|number| SeedCode {
            verification: VerificationId::new(now(), bytes(number)),
            code: PaymentCodeId::new(now(), bytes(number)),
            mac: mac(number),
            account: account(u8::try_from(number % u64::from(payers)).expect("a small number")),
            at,
            expires_at: now() + Duration::from_secs(60),
        });
        store.seed_codes(codes.collect(), currency(), now()).await.expect("they are written");
        let top_ups = (0..payers).map(|payer| top_up(1_000_000 + u64::from(payer), payer, minor));
        post(&store, 0, top_ups.collect()).await.expect("they are written");
        Some((shared, store))
    }

    fn open(&self, writers: usize) -> Arc<Store> {
        Arc::new(Store::open(&Database::Postgres { url: self.url.clone(), writers }).expect("it opens"))
    }

    /// Somebody else at the database.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.expect("it answers");
        tokio::spawn(connection);
        client
    }

    /// Another server, which waits for nobody.
    async fn join(&self) -> Arc<Store> {
        let store = self.open(2);
        store.take_over_slot(CENTURY).await.expect("it is written").expect("there is room");
        store
    }
}

/// How long slots are watched, here.
const LEASE: Duration = Duration::from_millis(200);

/// As long as nobody waits.
const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Shows that a server is alive until it is told to stop.
fn beat(store: &Arc<Store>) -> tokio::task::AbortHandle {
    let store = store.clone();
    let beating = async move {
        loop {
            store.renew_slot().await.expect("it is the owner");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::spawn(beating).abort_handle()
}

pub async fn post(store: &Store, writer: usize, requests: Vec<Request>) -> Result<Vec<Answer>, StoreError> {
    store.post_batch(writer, requests, Vec::new(), Vec::new(), now()).await.map(|outcome| outcome.answers)
}

/// Sends each request by itself, in turn through all writers of all servers, all at once; the answers in order.
async fn post_everywhere(servers: &[Arc<Store>], requests: Vec<Request>) -> Vec<Answer> {
    let mut running = JoinSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let store = servers[number % servers.len()].clone();
        let writer = number / servers.len() % store.writers();
        running.spawn(async move {
            let answers =
                post(&store, writer, vec![request]).await.expect("it is decided anew until it is decided");
            (number, answers.into_iter().next().expect("one answer"))
        });
    }
    let mut answers = running.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn is_new(answer: &Answer) -> bool {
    matches!(answer, Answer::Done { replayed: false, .. })
}

/// Recomputes all books; answers the rows of each slot.
async fn audit(store: &Store) -> Vec<u64> {
    let audit = store.audit_ledger().await.expect("it reads");
    assert_eq!(audit.wallets_that_differ, 0);
    audit
        .slots
        .iter()
        .map(|slot| {
            assert_eq!(slot.error, None, "slot {}", slot.slot);
            slot.sequence
        })
        .collect()
}

pub async fn balance(store: &Store, payer: u8) -> i64 {
    store.account(account(payer)).await.expect("it reads").expect("it is there").wallets[0].balance_minor
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_charge_and_refund_the_same_payers_and_every_cent_is_there_once() {
    let Some((shared, first)) = Shared::start(4, 10_000).await else { return };
    let servers = [first.clone(), shared.join().await];
    // Each order twice, through both servers at once.
    let charges = (0..CODES).map(|number| charge(number, number / 2, number / 2, 50));
    let answers = post_everywhere(&servers, charges.collect()).await;
    let paid = answers.iter().filter(|answer| is_new(answer)).count();
    assert_eq!(paid, 200, "each order once");
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Done { .. })), "and the same answer twice");
    for payer in 0..4 {
        assert_eq!(balance(&first, payer).await, 10_000 - 50 * 50);
    }
    // Twenty refunds of one payment, each a fifth of it: five of them fit.
    let refunds = (0..20).map(|number| refund(2_000 + number, 7, 10)).collect();
    let answers = post_everywhere(&servers, refunds).await;
    assert_eq!(answers.iter().filter(|answer| is_new(answer)).count(), 5);
    let too_much = |answer: &Answer| matches!(answer, Answer::Refused(Refusal::RefundAbovePaid(_)));
    assert_eq!(answers.iter().filter(|answer| too_much(answer)).count(), 15, "{answers:?}");
    assert_eq!(balance(&first, 3).await, 10_000 - 50 * 50 + 50);
    // Who was quicker above is chance; here everybody has something of its own.
    for (number, server) in (300..).zip([0, 0, 1, 1]) {
        let alone = vec![charge(number + 5_000, number + 5_000, number, 1)];
        let writer = usize::from(number % 2 == 1);
        assert!(is_new(&post(&servers[server], writer, alone).await.expect("it is a writer")[0]));
    }
    let rows = audit(&first).await;
    assert_eq!(rows.len(), 4, "two servers with two writers each");
    assert!(rows.iter().all(|rows| *rows > 0), "all of them wrote: {rows:?}");
    // Readers with a cursor for each slot see every row once.
    let mut read = 0;
    for (slot, _, _) in first.ledger_heads().await.expect("it reads") {
        let mut after = 0;
        loop {
            let page = first.stream(slot, after, 7).await.expect("it reads");
            let Some(last) = page.last() else { break };
            assert_eq!(page[0].row.sequence, after + 1);
            (after, read) = (last.row.sequence, read + page.len());
        }
    }
    assert_eq!(u64::try_from(read).expect("a small number"), rows.iter().sum::<u64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_pays_once_and_a_wallet_never_goes_below_zero_whoever_asks() {
    let Some((shared, first)) = Shared::start(1, 1_000).await else { return };
    let servers = [first.clone(), shared.join().await];
    // One code, twenty orders.
    let charges = (0..20).map(|number| charge(number, number, 0, 1)).collect();
    let answers = post_everywhere(&servers, charges).await;
    assert_eq!(answers.iter().filter(|answer| is_new(answer)).count(), 1);
    // Money for nine of these.
    let charges = (100..140).map(|number| charge(number, number, number, 111)).collect();
    let answers = post_everywhere(&servers, charges).await;
    assert_eq!(answers.iter().filter(|answer| is_new(answer)).count(), 9);
    assert_eq!(balance(&first, 0).await, 0);
    // An order that is reversed while it is charged is one or the other, and then stays so.
    let pairs = (0..40).flat_map(|number| {
        let order_ref = format!("o{}", 300 + number).parse().expect("a reference");
        let reverse =
            Request::Reverse(Reverse { payment: payment(500 + number), merchant: merchant(), order_ref });
        [charge(300 + number, 300 + number, 150 + number, 1), reverse]
    });
    post(&first, 0, vec![top_up(900, 0, 100)]).await.expect("it is written");
    let answers = post_everywhere(&servers, pairs.collect()).await;
    assert!(answers.chunks(2).all(|pair| matches!(pair[1], Answer::Reversed { .. })));
    assert_eq!(balance(&first, 0).await, 100, "everything that was charged went back");
    audit(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_a_silent_server_are_freed_and_it_writes_nothing_to_them_when_it_wakes_up() {
    let Some((shared, first)) = Shared::start(2, 1_000).await else { return };
    let second = shared.join().await;
    // Both are silent, and each only looks at the other. Whoever is in the middle of a write is left alone.
    let somebody = shared.connect().await;
    let begin = "begin; select slot from selfsame.slots where slot = 1 for update";
    somebody.batch_execute(begin).await.expect("it is locked");
    assert_eq!(second.free_silent_slots(LEASE).await.expect("it is written"), 1);
    somebody.batch_execute("rollback").await.expect("it is free");
    assert_eq!(second.free_silent_slots(LEASE).await.expect("it is written"), 1);
    let before = audit(&second).await;
    for writer in 0..2 {
        let number = u64::try_from(writer).expect("small");
        let stale = post(&first, writer, vec![charge(number, number, number, 5)]).await;
        assert!(matches!(stale, Err(StoreError::TakenOver)), "{stale:?}");
    }
    assert!(!first.owns_slot().await.expect("it reads"));
    assert!(matches!(first.renew_slot().await, Err(StoreError::TakenOver)));
    assert_eq!(audit(&second).await, before);
    // A third takes what was freed, and the first may come back as what it is now: one among others.
    let third = shared.join().await;
    assert_eq!(third.ledger_heads().await.expect("it reads").len(), 4);
    first.take_over_slot(CENTURY).await.expect("it is written").expect("there is room");
    let servers = [&first, &second, &third];
    for (number, server) in servers.into_iter().enumerate() {
        let number = u64::try_from(number).expect("small");
        assert!(server.owns_slot().await.expect("it reads"));
        assert!(is_new(
            &post(server, 0, vec![charge(number, number, number, 5)]).await.expect("it is a writer")[0]
        ));
    }
    assert_eq!(audit(&second).await.len(), 6);
    // One that lives is not taken for gone.
    let beating = servers.map(beat);
    assert_eq!(second.free_silent_slots(LEASE).await.expect("it is written"), 0);
    beating.iter().for_each(tokio::task::AbortHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_one_slot_keeps_the_other_and_where_no_room_is_left_it_waits() {
    let Some((shared, first)) = Shared::start(1, 1_000).await else { return };
    let freed = "update selfsame.slots set epoch = epoch + 1, held = 0 where slot = 0";
    shared.connect().await.batch_execute(freed).await.expect("it is written");
    assert!(matches!(first.renew_slot().await, Err(StoreError::TakenOver)));
    first.take_over_slot(CENTURY).await.expect("it is written").expect("there is room");
    assert_eq!(first.ledger_heads().await.expect("it reads").len(), 2, "one kept, one taken again");
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(shared.join().await);
    }
    let last = shared.open(2);
    let beating: Vec<_> = others.iter().chain([&first]).map(beat).collect();
    assert_eq!(last.take_over_slot(LEASE).await.expect("it is written"), None, "all are alive");
    beating.iter().for_each(tokio::task::AbortHandle::abort);
    let taken = last.take_over_slot(LEASE).await.expect("it is written");
    assert!(taken.is_some(), "nobody is");
    assert_eq!(last.ledger_heads().await.expect("it reads").len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_are_guessed_at_two_servers_are_counted_together() {
    let Some((shared, first)) = Shared::start(1, 1_000).await else { return };
    let servers = [first.clone(), shared.join().await];
    // Not so many that the hour ends.
    let guesses = (0..16).map(|number| charge(number, number, CODES + number, 5)).collect();
    let answers = post_everywhere(&servers, guesses).await;
    assert!(
        answers.iter().all(|answer| matches!(answer, Answer::Refused(Refusal::CodeNotFound))),
        "{answers:?}"
    );
    let somebody = shared.connect().await;
    let counted =
        somebody.query_one("select tries from selfsame.code_guesses", &[]).await.expect("one merchant");
    assert_eq!(counted.get::<_, i64>(0), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_forget_what_it_acknowledged_is_refused() {
    if !is_installed_or_skip() {
        return;
    }
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let cluster = Cluster::start(Options::default().setting(setting, "off")).await.expect("it starts");
        let url = cluster.create_database("site").await.expect("a database");
        let refused = Store::open(&Database::postgres(url)).err().expect("it is refused");
        assert!(
            matches!(&refused, StoreError::Unsafe { setting: named, .. } if named == setting),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_that_start_at_once_make_one_schema_and_a_newer_one_is_refused() {
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default()).await.expect("it starts");
    let url = cluster.create_database("site").await.expect("a database");
    let open = || {
        let database = Database::postgres(url.clone());
        tokio::task::spawn_blocking(move || Store::open(&database).map(drop))
    };
    for opened in [open(), open(), open()] {
        opened.await.expect("no panic").expect("it opens");
    }
    cluster.query("site", "update selfsame.schema_versions set version = 1000").await.expect("it is written");
    let refused = open().await.expect("no panic").expect_err("it is refused");
    assert!(matches!(refused, StoreError::SchemaTooNew { found: 1000, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_away_and_came_back_is_used_again() {
    let Some((mut shared, store)) = Shared::start(1, 1_000).await else { return };
    shared.cluster.kill().await.expect("it dies");
    let lost = post(&store, 0, vec![charge(1, 1, 1, 5)]).await.expect_err("nobody is there");
    assert!(lost.is_temporary(), "{lost}");
    assert!(store.account(account(0)).await.expect_err("nobody is there").is_temporary());
    shared.cluster.start_again().await.expect("it comes back");
    assert!(is_new(&post(&store, 0, vec![charge(1, 1, 1, 5)]).await.expect("it is there again")[0]));
    assert_eq!(balance(&store, 0).await, 995);
}

async fn export(store: &Store) -> Vec<String> {
    let (lines, written) = std::sync::mpsc::channel();
    let sink = move |line: &selfsame_domain::ledger::export::Line| {
        let _ = lines.send(serde_json::to_string(line)?);
        Ok(())
    };
    store.export_ledger(sink, now()).await.expect("it reads");
    written.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_moves_to_files_and_back_and_nothing_of_it_changes() {
    let Some((shared, store)) = Shared::start(3, 1_000).await else { return };
    let charges = (0..60).map(|number| charge(number, number, number, 7)).collect();
    post_everywhere(std::slice::from_ref(&store), charges).await;
    store.set_pin(account(0), "hash".to_owned(), "pin_set", now()).await.expect("it is written");
    let before = export(&store).await;
    let folder = tempfile::tempdir().expect("a folder");
    let files = Store::open(&Database::files(folder.path().join("site.db"), folder.path().join("keys.db")));
    let files = files.expect("it opens");
    // Nobody was told to stop, and the owner is not told here either: a backup is made beside it.
    let copied = store.copy_to(&files, |_| {}).await.expect("it is copied");
    store.copy_keys_to(&files).await.expect("they are copied");
    let rows = |table| copied.rows.iter().find(|(name, _)| *name == table).map(|(_, rows)| *rows);
    assert_eq!(
        (rows("payments"), rows("accounts"), rows("pins"), rows("payment_codes")),
        (Some(63), Some(3), Some(1), Some(400))
    );
    assert_eq!(export(&files).await, before);
    let again = files.copy_to(&store, |_| {}).await;
    assert!(matches!(again, Err(CopyError::NotEmpty)));
    // Back, to another database.
    let url = shared.cluster.create_database("other").await.expect("a database");
    let other = Store::open(&Database::postgres(url)).expect("it opens");
    assert_eq!(files.copy_to(&other, |_| {}).await.expect("it is copied"), copied);
    assert_eq!(export(&other).await, before);
    // It lives: its slots are free, and it goes on where it was.
    other.take_over_slot(Duration::ZERO).await.expect("it is written").expect("nobody owns it");
    assert!(is_new(&post(&other, 0, vec![charge(100, 100, 100, 7)]).await.expect("it is a writer")[0]));
    let replayed = post(&other, 1, vec![charge(101, 5, 5, 7)]).await.expect("it is a writer");
    assert!(matches!(replayed[0], Answer::Done { replayed: true, .. }));
    audit(&other).await;
    let empty = shared.cluster.create_database("empty").await.expect("a database");
    let empty = Store::open(&Database::postgres(empty)).expect("it opens");
    assert!(matches!(empty.copy_to(&other, |_| {}).await, Err(CopyError::NoSite)));
}

fn verification(number: u64) -> NewVerification {
    NewVerification {
        verification: VerificationId::new(now(), bytes(CODES + number)),
        terminal: Terminal {
            terminal: TerminalId::new(now(), [1; 10]),
            store: StoreId::new(now(), [1; 10]),
            merchant: merchant(),
            purpose: TerminalPurpose::Till,
        },
        request_ref: format!("v{number}").parse().expect("a reference"),
        modality: Modality::Finger,
        sensor_grade: SensorGrade::Simulated,
        lookup: Lookup { kind: IdentifierKind::PhoneLast4, mac: [4; 32] },
        refused: None,
        known: None,
        nonce: [5; 32],
        attempts: 3,
        challenge: None,
        expires_at: now() + Duration::from_secs(60),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_waits_for_no_standby_but_what_speaks_against_the_payer_does() {
    let Some((shared, store)) = Shared::start(1, 1_000).await else { return };
    // A standby that never comes: whoever waits for it waits until it is named no more.
    shared.cluster.set("synchronous_standby_names", "nobody").await.expect("it is set");
    let patience = Duration::from_millis(200);
    let mut number = 2_000_000;
    // The server takes a setting over when it gets to it.
    while with_patience(patience, post(&store, 0, vec![top_up(number, 0, 1)])).await.is_ok() {
        number += 1;
    }
    let new = verification(1);
    let (id, terminal) = (new.verification, new.terminal.terminal);
    let opened = store.create_verification(new, now()).await.expect("it waits for nobody");
    let nonce = opened.nonce.expect("a nonce");
    let taken = store.take_verification_nonce(id, terminal, nonce.clone(), now()).await;
    let mut taken = taken.expect("it waits for nobody").expect("it is due");
    let again = store.take_verification_nonce(id, terminal, nonce, now()).await;
    assert!(again.expect("it waits for nobody").is_err(), "what is not on the standby counts all the same");
    taken.nonce = Some(vec![6; 32]);
    assert!(store.conclude_verification(taken.clone()).await.expect("it waits for nobody"));
    taken.reason = Some("no_match".to_owned());
    taken.attempts_left -= 1;
    let concluded = with_patience(patience, store.conclude_verification(taken)).await;
    assert!(matches!(concluded, Err(StoreError::StillRunning { .. })), "{concluded:?}");
    shared.cluster.set("synchronous_standby_names", "").await.expect("it is set");
    // Everybody who waited is through when the next one is.
    let new = verification(2);
    store.create_verification(new, now()).await.expect("it waits for nobody");
    let found = store.verification(id).await.expect("it reads").expect("it is there");
    assert_eq!(found.attempts_left, 2);
}
