//! A test site with a running server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use selfsame_api::client::{Client, ClientError, Credentials, DeviceKey};
use selfsame_cluster::SharedDatabase;
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::id::{AccountId, KeyId, MerchantId, StoreId, TerminalId, VerificationId};
use selfsame_domain::key_use::KeyUse;
use selfsame_domain::limit::{BusinessDay, Limits};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::{KeyAlgorithm, Purpose};
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{Policy, State};
use selfsame_server::setup::{NewSite, create_site};
use selfsame_server::{ClonePolicy, Config, Secrets, Server, ServerError};
use selfsame_store::{Database, Lookup, NewDeviceKey, NewVerification, Store, Terminal, Verification};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

/// Longer than the server ever takes to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// An answer, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Reply {
    fn of(answer: Result<(u16, bool, Value), ClientError>) -> Self {
        match answer {
            Ok((status, replayed, body)) => Self { status, replayed, body },
            Err(error) => {
                let problem = error.problem().unwrap_or_else(|| panic!("no answer: {error:?}"));
                let body = serde_json::to_value(problem).unwrap();
                Self { status: problem.status, replayed: false, body }
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Status, code, and for declines their reason.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        let code = self.body["decline_code"].as_str().or(self.body["code"].as_str());
        (self.status, code.unwrap_or_default())
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Client);

impl Caller {
    pub(crate) async fn post(&self, path: &str, body: impl Serialize) -> Reply {
        let answer = self.0.post_answer::<Value>(path, &body, TIMEOUT).await;
        Reply::of(answer.map(|answer| (answer.status, answer.replayed, answer.body)))
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        Reply::of(self.0.put(path, &body, TIMEOUT).await.map(|body| (200, false, body)))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.0.get(path, TIMEOUT).await.map(|body| (200, false, body)))
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        String::from_utf8(self.0.get_bytes(path, TIMEOUT).await.unwrap()).unwrap()
    }
}

pub(crate) struct Site {
    pub(crate) store: Arc<Store>,
    pub(crate) base: String,
    pub(crate) operator: Caller,
    pub(crate) merchant: Caller,
    /// Of the operator and of the merchant.
    pub(crate) keys: [String; 2],
    pub(crate) till: Caller,
    pub(crate) merchant_id: MerchantId,
    pub(crate) terminal: TerminalId,
    pub(crate) store_id: StoreId,
    clock: TestClock,
    device: Arc<DeviceKey>,
    serving: AbortHandle,
    folder: Option<Arc<tempfile::TempDir>>,
}

pub(crate) type TestClock = Arc<AdvancingClock<SystemClock>>;

/// Every test begins at noon, so that none runs over midnight.
pub(crate) fn noon() -> TestClock {
    let clock = Arc::new(AdvancingClock::new(SystemClock));
    let noon = Duration::from_secs(36 * 3600);
    clock.advance(noon - clock.now().since(BusinessDay::default().start(clock.now())));
    clock
}

/// Where the site of a folder is: in files, or, with `SELFSAME_TEST_ENGINE=postgres`, in a database of its own.
/// `cargo xtask test` runs these tests with both.
pub(crate) async fn database(folder: &Path) -> Database {
    match SharedDatabase::of(folder).await.unwrap() {
        // With one slot, as on SQLite: these tests look at sequences. Several are tried in `crates/store/tests` and in the
        // torture.
        Some(database) => Database::Postgres { url: database.url(), writers: 1 },
        None => Database::files(folder.join("site.db"), folder.join("keys.db")),
    }
}

async fn config(folder: &Path, listen: SocketAddr) -> Config {
    Config {
        listen,
        database: database(folder).await,
        matcher_socket: folder.join("no-matcher.sock"),
        secrets: Secrets {
            code_pepper: Zeroizing::new([1; 32]),
            identifier_pepper: Zeroizing::new([2; 32]),
            profile_key: KeyEncryptionKey::new(Zeroizing::new([3; 32])),
        },
        code_prefix: None,
        code_lifetime_seconds: 60,
        amount_minor_max: 50_000,
        pass_lifetime_seconds: 300,
        policy: Policy::DEFAULT,
        colour_flash: false,
        clone_policy: ClonePolicy::Warn,
        terminals: Vec::new(),
    }
}

/// A server on the site of this folder; answers its store, its address, and what ends it.
pub(crate) async fn serve(folder: &Path, clock: TestClock) -> (Arc<Store>, String, AbortHandle) {
    let config = config(folder, "127.0.0.1:0".parse().unwrap()).await;
    let server = Server::bind(config, clock).await.unwrap();
    let (store, base) = (server.store(), format!("http://{}", server.address()));
    (store, base, tokio::spawn(server.serve(std::future::pending())).abort_handle())
}

pub(crate) fn bearer(base: &str, key: &str, clock: &TestClock) -> Caller {
    let credentials = Credentials::Bearer(selfsame_api::merchant::Secret(key.to_owned()));
    Caller(Client::tcp(base, credentials, clock.clone()))
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_in(Mode::Test).await
    }

    pub(crate) async fn start_in(mode: Mode) -> Self {
        Self::start_with(mode, Vec::new()).await
    }

    pub(crate) async fn start_with(mode: Mode, limits: Vec<(SensorGrade, Limits)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self::create(folder.path(), mode, limits).await;
        Self { folder: Some(Arc::new(folder)), ..site }
    }

    /// In a folder that somebody else looks after.
    pub(crate) async fn create(folder: &Path, mode: Mode, limits: Vec<(SensorGrade, Limits)>) -> Self {
        let clock = noon();
        let new = NewSite {
            mode,
            currency: "EUR".parse().unwrap(),
            merchant_name: "North Canteen".to_owned(),
            store_name: "Main hall".to_owned(),
            limits,
        };
        let created = create_site(&database(folder).await, new, clock.now()).await.unwrap();
        let (store, base, serving) = serve(folder, clock.clone()).await;
        let device = SigningKey::from_bytes(&random());
        let code: String =
            created.till.activation_code.0.chars().filter(char::is_ascii_alphanumeric).collect();
        let (hash, key_id) = (Sha256::digest(code.as_bytes()).into(), KeyId::new(clock.now(), random()));
        let public_key = device.verifying_key().to_bytes().to_vec();
        let key = NewDeviceKey { id: key_id, algorithm: KeyAlgorithm::Ed25519, public_key };
        let terminal = created.till.terminal;
        store.activate_terminal(terminal, hash, key, clock.now()).await.unwrap().unwrap();
        let (instance, counter) = (u64::from_be_bytes(random()), AtomicU64::new(1));
        let next_use = move || {
            let counter = counter.fetch_add(1, Ordering::Relaxed);
            Ok(KeyUse { start: 1, instance, counter })
        };
        let device =
            DeviceKey { key_id: key_id.to_string(), signer: Arc::new(device), next_use: Arc::new(next_use) };
        let device = Arc::new(device);
        let till = Client::tcp(&base, Credentials::Device(device.clone()), clock.clone());
        Self {
            operator: bearer(&base, &created.operator_key.0, &clock),
            merchant: bearer(&base, &created.merchant_key.0, &clock),
            keys: [created.operator_key.0.clone(), created.merchant_key.0.clone()],
            till: Caller(till),
            merchant_id: created.merchant,
            terminal,
            store_id: created.store,
            store,
            base,
            clock,
            device,
            serving,
            folder: None,
        }
    }

    /// Another server on the same files, whose clock is ahead by so much. The one before is gone without a word.
    pub(crate) async fn another_server(&self, ahead_seconds: u64) -> Self {
        self.serving.abort();
        let clock = Arc::new(AdvancingClock::new(SystemClock));
        clock.advance(self.clock.now().since(clock.now()) + Duration::from_secs(ahead_seconds));
        let folder = self.folder.clone().expect("a folder of its own");
        let (store, base, serving) = serve(folder.path(), clock.clone()).await;
        let [operator, merchant] = [0, 1].map(|key| bearer(&base, &self.keys[key], &clock));
        let till = Client::tcp(&base, Credentials::Device(self.device.clone()), clock.clone());
        Self {
            store,
            base,
            operator,
            merchant,
            till: Caller(till),
            merchant_id: self.merchant_id,
            terminal: self.terminal,
            store_id: self.store_id,
            clock,
            device: self.device.clone(),
            keys: self.keys.clone(),
            serving,
            folder: Some(folder),
        }
    }

    /// A second server of this site, on the same port.
    pub(crate) async fn bind_twice(&self) -> Result<Server, ServerError> {
        let listen = self.base.strip_prefix("http://").unwrap().parse().unwrap();
        let folder = self.folder.as_ref().unwrap().path();
        Server::bind(config(folder, listen).await, self.clock.clone()).await
    }

    pub(crate) fn bearer(&self, key: &str) -> Caller {
        bearer(&self.base, key, &self.clock)
    }

    /// A second person at the operator.
    pub(crate) async fn second_person(&self) -> Caller {
        let key = self.operator.post("/v1/operator-keys", json!({})).await.expect(201);
        self.bearer(key["key"].as_str().unwrap())
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.operator.post("/v1/test-clock/advance", json!({ "seconds": seconds })).await.expect(200);
    }

    /// An account with money.
    pub(crate) async fn payer(&self, name: &str, balance: i64) -> AccountId {
        let account = json!({ "request_ref": name, "display_name": name, "member_number": name });
        let account = self.operator.post("/v1/accounts", account).await.expect(201);
        let id: AccountId = account["id"].as_str().unwrap().parse().unwrap();
        if balance > 0 {
            self.top_up(id, &format!("seed-{name}"), balance).await.expect(201);
        }
        id
    }

    pub(crate) async fn top_up(&self, account: AccountId, reference: &str, minor: i64) -> Reply {
        let body = json!({ "top_up_ref": reference, "account": account, "amount": eur(minor) });
        self.operator.post("/v1/top-ups", body).await
    }

    pub(crate) async fn balance(&self, account: AccountId) -> (i64, i64) {
        let found = self.operator.get(&format!("/v1/accounts/{account}")).await.expect(200);
        let wallet = &found["wallets"][0];
        (wallet["balance_minor"].as_i64().unwrap(), wallet["held_minor"].as_i64().unwrap())
    }

    /// A pass of this account at the till, as a finger would have brought about.
    pub(crate) async fn pass(&self, account: AccountId) -> VerificationId {
        let now = self.clock.now();
        let terminal = Terminal {
            terminal: self.terminal,
            store: self.store_id,
            merchant: self.merchant_id,
            purpose: Purpose::Till,
        };
        let verification = VerificationId::new(now, random());
        let new = NewVerification {
            verification,
            terminal,
            request_ref: verification.to_string().parse().unwrap(),
            modality: Modality::Finger,
            sensor_grade: SensorGrade::Simulated,
            lookup: Lookup { kind: IdentifierKind::MemberNumber, mac: [0; 32] },
            refused: None,
            known: None,
            nonce: random(),
            attempts: 3,
            challenge: None,
            expires_at: now + Duration::from_secs(60),
        };
        let opened = self.store.create_verification(new, now).await.unwrap();
        let passed = Verification {
            state: State::Passed,
            account: Some(account),
            expires_at: now + Duration::from_secs(300),
            nonce: None,
            timings: Timings::default(),
            ..opened
        };
        assert!(self.store.conclude_verification(passed).await.unwrap());
        verification
    }

    /// The code of a pass.
    pub(crate) async fn code_of(&self, verification: VerificationId) -> String {
        let device = json!({ "kind": "test", "version": "1", "register": "return" });
        let body = json!({ "request_ref": "code", "verification": verification, "device": device });
        let code = self.till.post("/v1/payment-codes", body).await.expect(201);
        code["digits"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn code(&self, account: AccountId) -> String {
        self.code_of(self.pass(account).await).await
    }

    pub(crate) async fn charge(&self, code: &str, order: &str, minor: i64) -> Reply {
        let body = json!({ "order_ref": order, "code": code, "amount": eur(minor) });
        self.merchant.post("/v1/payments", body).await
    }

    /// A charge of a new code that succeeds; answers the payment's id.
    pub(crate) async fn paid(&self, account: AccountId, order: &str, minor: i64) -> String {
        let code = self.code(account).await;
        let payment = self.charge(&code, order, minor).await.expect(201);
        payment["id"].as_str().unwrap().to_owned()
    }

    /// The books must be right whatever happened: sums are zero, wallets are their rows, the chain verifies.
    pub(crate) async fn check_books(&self) {
        check_books(&self.operator).await;
    }
}

/// See [`Site::check_books`]; answers the number of rows.
pub(crate) async fn check_books(operator: &Caller) -> u64 {
    let balance = operator.get("/v1/ledger/trial-balance").await.expect(200);
    assert_eq!((&balance["sum_minor"], &balance["wallets_that_differ"]), (&json!(0), &json!(0)));
    let chain = operator.get("/v1/ledger/chain").await.expect(200);
    assert!(chain["slots"].as_array().unwrap().iter().all(|slot| slot["error"].is_null()), "{chain}");
    chain["slots"][0]["rows"].as_u64().unwrap()
}

pub(crate) fn eur(minor: i64) -> Value {
    json!({ "minor": minor, "currency": "EUR" })
}
