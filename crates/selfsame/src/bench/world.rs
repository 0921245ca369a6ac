//! A site with many payers, and codes as many as a measurement needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::id::{
    AccountId, KeyId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::ledger::Caller;
use selfsame_domain::limit::Limits;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{CodeMac, Purpose, Request, TopUp};
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_domain::verification::Policy;
use selfsame_server::setup::{CreatedSite, NewSite, create_site, default_limits};
use selfsame_server::{ClonePolicy, Config, Secrets, Server, ServerError, code_mac};
use selfsame_store::{ApiKey, Database, NewMerchant, NewTerminal, SeedCode, SeedPayer, Store};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::bench::client::Till;
use crate::bench::load::Figures;
use crate::bench::postgres::{Place, Server as Postgres};

/// How much is made for a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Payers of a site.
    pub payers: usize,
    /// Codes that are made for each second of a closed loop before it is known how fast it is.
    codes_per_second: usize,
}

impl Size {
    /// What figures are taken with, on SQLite: more codes than any machine we know uses in a second.
    pub const SQLITE: Self = Self { payers: 10_000, codes_per_second: 24_000 };
    /// The same on PostgreSQL, which is slower, and where codes take longer to make.
    pub const POSTGRES: Self = Self { payers: 10_000, codes_per_second: 16_000 };
    /// What tests need.
    pub const TINY: Self = Self { payers: 100, codes_per_second: 500 };

    /// Codes for a closed loop of this length.
    pub fn codes_for(self, length: Duration) -> usize {
        (length.as_secs_f64() * self.codes_per_second as f64).ceil() as usize
    }
}

/// Money of each, minor units: enough for every payment of a run.
const BALANCE_MINOR: i64 = 100_000_000;

/// Codes that one client uses in a second, at most.
const CODES_PER_SECOND_ALONE: usize = 2_500;

/// Between one code and the next: as fast as they are charged.
const CODE_GAP: Duration = Duration::from_micros(100);

/// Codes of one transaction.
const CHUNK: usize = 5_000;

/// A code with the merchant that may charge it.
#[derive(Clone)]
pub struct Ready {
    /// Which of the world's codes it is; the order that it pays is named by it.
    pub number: usize,
    pub merchant: MerchantId,
    pub mac: CodeMac,
    pub digits: String,
}

/// Where payments are charged.
type PointOfSale = (MerchantId, StoreId, TerminalId);

pub struct World {
    /// Where payments are made.
    pub store: Arc<Store>,
    pub currency: Currency,
    folder: TempDir,
    database: Database,
    /// What the database is, at a PostgreSQL.
    place: Option<Place>,
    /// Where payers and codes are made: always on the short way.
    seeding: Arc<Store>,
    created: CreatedSite,
    payers: Vec<AccountId>,
    points_of_sale: Vec<PointOfSale>,
    next: usize,
    /// Codes that are good.
    ready: Vec<Ready>,
    /// How many a second of a closed loop may need.
    codes_per_second: usize,
    serving: Option<Serving>,
}

/// A server in this process.
struct Serving {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServerError>>,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

/// The server's secrets: those of the payment codes, the identifiers and the profiles, one byte over and over.
pub const SECRETS: [[u8; 32]; 3] = [[1; 32], [2; 32], [3; 32]];

fn secrets() -> Secrets {
    let [code_pepper, identifier_pepper, profile_key] = SECRETS.map(Zeroizing::new);
    Secrets { code_pepper, identifier_pepper, profile_key: KeyEncryptionKey::new(profile_key) }
}

/// Limits of a payment by how its payer was verified.
pub type GradeLimits = Vec<(SensorGrade, Limits)>;

/// What a new site limits, so that a payment is asked what it is asked there; but nobody reaches the limits of a day.
fn new_site_limits() -> GradeLimits {
    let out_of_reach =
        |limits| Limits { day_minor_max: Some(i64::MAX), day_count_max: Some(u32::MAX), ..limits };
    default_limits(Mode::Test).into_iter().map(|(grade, limits)| (grade, out_of_reach(limits))).collect()
}

/// What keeps the site.
#[derive(Clone)]
pub enum Engine {
    /// Files.
    Sqlite,
    /// A PostgreSQL server.
    Postgres {
        /// The server.
        server: Arc<Postgres>,
        /// Writers of payments.
        writers: usize,
    },
}

impl World {
    /// A site with this many merchants and the limits of a new one, in files or in a database of its own at a PostgreSQL.
    pub async fn new(merchants: usize, engine: &Engine, size: Size) -> anyhow::Result<Self> {
        Self::with_limits(merchants, engine, size, new_site_limits()).await
    }

    /// The same with other limits.
    pub async fn with_limits(
        merchants: usize,
        engine: &Engine,
        size: Size,
        limits: GradeLimits,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        let (database, place) = match engine {
            Engine::Sqlite => {
                (Database::files(folder.path().join("site.db"), folder.path().join("keys.db")), None)
            }
            Engine::Postgres { server, writers } => {
                let place = server.make()?;
                (Database::Postgres { url: place.url.clone(), writers: *writers }, Some(place))
            }
        };
        let currency: Currency = "EUR".parse()?;
        let now = SystemClock.now();
        let new = NewSite {
            mode: Mode::Test,
            currency,
            merchant_name: "Bench".to_owned(),
            store_name: "Bench".to_owned(),
            limits,
        };
        let created = create_site(&database, new, now).await?;
        let store = Arc::new(Store::open(&database)?);
        store.take_over_slot(Duration::ZERO).await?;
        let mut points_of_sale = vec![(created.merchant, created.store, created.till.terminal)];
        for number in 1..merchants {
            points_of_sale.push(add_merchant(&store, number).await?);
        }
        let mut world = Self {
            seeding: store.clone(),
            store,
            currency,
            folder,
            database,
            place,
            created,
            payers: Vec::new(),
            points_of_sale,
            next: 0,
            ready: Vec::new(),
            codes_per_second: size.codes_per_second,
            serving: None,
        };
        world.add_payers(size.payers).await?;
        Ok(world)
    }

    async fn add_payers(&mut self, count: usize) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let payer =
            |_| SeedPayer { account: AccountId::new(now, random()), wallet: WalletId::new(now, random()) };
        let payers: Vec<SeedPayer> = (0..count).map(payer).collect();
        self.payers = payers.iter().map(|payer| payer.account).collect();
        self.seeding.seed_payers(payers, self.currency, now).await?;
        let amount = Amount::new(BALANCE_MINOR, self.currency)?;
        for (number, chunk) in self.payers.chunks(500).enumerate() {
            let top_up = |(place, account): (usize, &AccountId)| {
                Ok(Request::TopUp(TopUp {
                    payment: PaymentId::new(now, random()),
                    account: *account,
                    purpose: Purpose::Own,
                    top_up_ref: format!("seed-{number}-{place}").parse()?,
                    amount,
                    actor: None,
                }))
            };
            let requests = chunk.iter().enumerate().map(top_up).collect::<anyhow::Result<_>>()?;
            self.store.post_batch(0, requests, Vec::new(), Vec::new(), now).await?;
        }
        Ok(())
    }

    /// Makes what a closed loop of this length may need, as far as it is not there.
    pub async fn prepare(&mut self, in_flight: usize, length: Duration) -> anyhow::Result<()> {
        let per_second = self.codes_per_second.min(CODES_PER_SECOND_ALONE * in_flight);
        let wanted = Size { payers: 0, codes_per_second: per_second }.codes_for(length);
        let more = self.codes(wanted.saturating_sub(self.ready.len())).await?;
        self.ready.extend(more);
        Ok(())
    }

    /// All codes that are good.
    pub fn take_ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }

    /// Takes back what was not charged, and learns how many codes a second needs.
    pub fn give_back(&mut self, left: Vec<Ready>, figures: &Figures) {
        let used = usize::try_from(figures.per_second()).unwrap_or(usize::MAX);
        // A quarter more than was used; twice as many where they were not enough.
        self.codes_per_second =
            if left.is_empty() { used.saturating_mul(2) } else { used / 4 * 5 }.max(1_000);
        self.ready = left;
    }

    /// So many codes, over all merchants in turn and payers as they come. Issued one after the other: ids begin with
    /// their time, and a thousand of one millisecond would lie in the indexes as no till ever writes them.
    pub async fn codes(&mut self, count: usize) -> anyhow::Result<Vec<Ready>> {
        let now = SystemClock.now();
        let secrets = secrets();
        let mut ready = Vec::with_capacity(count);
        while ready.len() < count {
            let mut seeds = Vec::new();
            for _ in 0..CHUNK.min(count - ready.len()) {
                let at = self.points_of_sale[self.next % self.points_of_sale.len()];
                let number = self.next;
                let issued_at = now + CODE_GAP * u32::try_from(ready.len())?;
                self.next += 1;
                let values = [u64::from_le_bytes(random()), u64::from_le_bytes(random())];
                let account = self.payers[(values[0] % self.payers.len() as u64) as usize];
                let code = PaymentCode::from_random(Prefix::default_for(Mode::Test), &values);
                let code = code.context("two random numbers in a row were above the limit")?;
                let mac = CodeMac(code_mac(&secrets, &code));
                seeds.push(SeedCode {
                    verification: VerificationId::new(issued_at, random()),
                    code: PaymentCodeId::new(issued_at, random()),
                    mac,
                    account,
                    at,
                    expires_at: now + Duration::from_secs(3_600),
                });
                ready.push(Ready { number, merchant: at.0, mac, digits: code.expose().to_owned() });
            }
            self.seeding.seed_codes(seeds, self.currency, now).await?;
        }
        Ok(ready)
    }

    /// Makes payments by another way to the same database from here on.
    pub async fn go_through(&mut self, url: String) -> anyhow::Result<()> {
        let database = Database::Postgres { url, writers: self.store.writers() };
        self.store.release_slot().await?;
        self.store = Arc::new(Store::open(&database)?);
        self.store.take_over_slot(Duration::ZERO).await?;
        Ok(())
    }

    /// What the site is at a PostgreSQL.
    pub fn place(&self) -> anyhow::Result<&Place> {
        self.place.as_ref().context("this site is in files")
    }

    /// A till of the first merchant at a server of this site.
    pub fn till(&self, server: SocketAddr) -> Till {
        Till::new(server, &self.created.merchant_key)
    }

    /// A server of this site in this process, with a till of its first merchant. It takes the slot over.
    pub async fn serve(&mut self) -> anyhow::Result<Till> {
        let config = Config {
            listen: "127.0.0.1:0".parse()?,
            database: self.database.clone(),
            matcher_socket: self.folder.path().join("none.sock"),
            secrets: secrets(),
            code_prefix: None,
            code_lifetime_seconds: 60,
            amount_minor_max: 1_000_000,
            pass_lifetime_seconds: 300,
            policy: Policy::DEFAULT,
            colour_flash: false,
            clone_policy: ClonePolicy::Warn,
            terminals: Vec::new(),
        };
        let clock = Arc::new(AdvancingClock::new(SystemClock));
        self.store.release_slot().await?;
        let server = Server::bind(config, clock).await?;
        self.store = server.store();
        self.seeding = server.store();
        let till = self.till(server.address());
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // Nobody left who could say so is a word as well.
            let _ = stopped.await;
        };
        self.serving = Some(Serving { stop, ended: tokio::spawn(server.serve(stopped)) });
        Ok(till)
    }

    /// Looks at the books, ends what serves the site and throws it away; answers how many deadlocks PostgreSQL has seen.
    pub async fn close(mut self) -> anyhow::Result<Option<u64>> {
        self.check().await?;
        if let Some(Serving { stop, ended }) = self.serving.take() {
            let _ = stop.send(());
            ended.await.context("the server broke")??;
        }
        self.place.take().map(Place::end).transpose()
    }

    /// The books after a run: the figures of a run that broke them mean nothing.
    pub async fn check(&self) -> anyhow::Result<()> {
        let audit = self.seeding.audit_ledger().await?;
        let broken = audit.slots.iter().any(|slot| slot.error.is_some());
        if broken || audit.wallets_that_differ > 0 || audit.trial_balance.sum_minor(self.currency) != 0 {
            bail!("the books are wrong after the run");
        }
        Ok(())
    }
}

async fn add_merchant(store: &Store, number: usize) -> anyhow::Result<PointOfSale> {
    let now = SystemClock.now();
    let (merchant, place) = (MerchantId::new(now, random()), StoreId::new(now, random()));
    let new = NewMerchant {
        merchant,
        store: place,
        request_ref: format!("bench-{number}").parse()?,
        name: format!("Bench {number}"),
        store_name: "Bench".to_owned(),
        key: ApiKey { id: KeyId::new(now, random()), role: Caller::Merchant(merchant) },
        key_hash: random(),
    };
    store.create_merchant(new, now).await?;
    let terminal = TerminalId::new(now, random());
    let new = NewTerminal {
        terminal,
        store: place,
        name: "Bench".to_owned(),
        purpose: selfsame_domain::terminal::Purpose::Till,
        code_hash: random(),
        code_expires_at: now,
    };
    store.create_terminal(new, now).await?;
    Ok((merchant, place, terminal))
}
