//! A site with many payers, and codes as many as a measurement needs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::id::{
    AccountId, KeyId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::ledger::Caller;
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::payment::{CodeMac, Purpose, Request, TopUp};
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::site::Mode;
use selfsame_domain::verification::Policy;
use selfsame_server::setup::{CreatedSite, NewSite, create_site};
use selfsame_server::{ClonePolicy, Config, Secrets, Server, code_mac};
use selfsame_store::{ApiKey, Database, NewMerchant, NewTerminal, SeedCode, SeedPayer, Store};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::bench::client::Till;

/// Payers of the site.
const PAYERS: usize = 10_000;

/// Money of each, minor units: enough for every payment of a run.
const BALANCE_MINOR: i64 = 100_000_000;

/// More codes than any machine we know uses in a second, by what is in flight.
const CODES_PER_SECOND: usize = 24_000;
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
type Place = (MerchantId, StoreId, TerminalId);

pub struct World {
    pub store: Arc<Store>,
    pub currency: Currency,
    folder: TempDir,
    database: Database,
    created: CreatedSite,
    payers: Vec<AccountId>,
    places: Vec<Place>,
    next: usize,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

fn secrets() -> Secrets {
    Secrets {
        code_pepper: Zeroizing::new([1; 32]),
        identifier_pepper: Zeroizing::new([2; 32]),
        profile_key: KeyEncryptionKey::new(Zeroizing::new([3; 32])),
    }
}

/// What keeps the site.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Files.
    Sqlite,
    /// A PostgreSQL server.
    Postgres {
        /// Its address.
        url: String,
        /// Writers of payments.
        writers: usize,
    },
}

impl World {
    /// A site with this many merchants, in files or in a database of its own at a PostgreSQL.
    pub async fn new(merchants: usize, engine: &Engine) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        let database = match engine {
            Engine::Sqlite => Database::files(folder.path().join("site.db"), folder.path().join("keys.db")),
            Engine::Postgres { url, writers } => {
                let name = format!("selfsame_bench_{:016x}", u64::from_be_bytes(random()));
                let url = selfsame_store::create_database(url, &name)?;
                Database::Postgres { url, writers: *writers }
            }
        };
        let currency: Currency = "EUR".parse()?;
        let now = SystemClock.now();
        let new = NewSite {
            mode: Mode::Test,
            currency,
            merchant_name: "Bench".to_owned(),
            store_name: "Bench".to_owned(),
            limits: Vec::new(),
        };
        let created = create_site(&database, new, now).await?;
        let store = Arc::new(Store::open(&database)?);
        store.take_over_slot(Duration::ZERO).await?;
        let mut places = vec![(created.merchant, created.store, created.till.terminal)];
        for number in 1..merchants {
            places.push(add_merchant(&store, number).await?);
        }
        let mut world =
            Self { store, currency, folder, database, created, payers: Vec::new(), places, next: 0 };
        world.add_payers().await?;
        Ok(world)
    }

    async fn add_payers(&mut self) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let payer =
            |_| SeedPayer { account: AccountId::new(now, random()), wallet: WalletId::new(now, random()) };
        let payers: Vec<SeedPayer> = (0..PAYERS).map(payer).collect();
        self.payers = payers.iter().map(|payer| payer.account).collect();
        self.store.seed_payers(payers, self.currency, now).await?;
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

    /// Codes for a closed loop of this length.
    pub async fn codes_for(&mut self, in_flight: usize, seconds: u64) -> anyhow::Result<Vec<Ready>> {
        let per_second = if in_flight < 32 { CODES_PER_SECOND_ALONE * in_flight } else { CODES_PER_SECOND };
        self.codes(per_second.min(CODES_PER_SECOND) * usize::try_from(seconds)?).await
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
                let at = self.places[self.next % self.places.len()];
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
            self.store.seed_codes(seeds, self.currency, now).await?;
        }
        Ok(ready)
    }

    /// A server of this site, with a till of its first merchant. It takes the slot over.
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
        let till = Till::new(server.address(), &self.created.merchant_key);
        tokio::spawn(server.serve(std::future::pending()));
        Ok(till)
    }

    /// The books after a run: the figures of a run that broke them mean nothing.
    pub async fn check(&self) -> anyhow::Result<()> {
        let audit = self.store.audit_ledger().await?;
        let broken = audit.slots.iter().any(|slot| slot.error.is_some());
        if broken || audit.wallets_that_differ > 0 || audit.trial_balance.sum_minor(self.currency) != 0 {
            bail!("the books are wrong after the run");
        }
        Ok(())
    }
}

async fn add_merchant(store: &Store, number: usize) -> anyhow::Result<Place> {
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
