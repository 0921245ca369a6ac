//! Everything the payment server remembers, and all SQL of the product.
//!
//! One file per noun. Methods of [`Store`] are named transactions: they read, decide if `domain` has something to
//! decide, write and commit as one. Writes go through one thread with one connection (SQLite has one writer
//! anyway), reads through a few read-only connections. Called by `server` only; knows nothing of HTTP.

mod account;
mod api_key;
mod attempt;
mod connection;
mod consent;
mod copy;
mod database;
mod device_key;
mod enrolment;
mod error;
mod fault;
mod fleet;
mod known_keys;
mod ledger;
mod limit;
mod merchant;
mod migration;
mod patience;
mod payment;
mod payment_code;
mod pin;
mod row;
mod seed;
mod settlement;
mod sign_in;
mod signature;
mod site;
mod slot;
mod template;
mod terminal;
mod verification;

use std::path::PathBuf;
use std::sync::Arc;

pub use account::{Account, AccountCreated, NewAccount};
pub use api_key::{ApiKey, Role};
pub use attempt::{Attempt, RecordedAttempt};
pub use consent::{Consent, NewConsent};
pub use copy::{Copied, CopyError};
pub use database::DatabaseError;
pub use database::postgres::{create_database, drop_database};
pub use device_key::Rotated;
pub use enrolment::{Enrolment, NewEnrolment};
pub use error::StoreError;
#[cfg(feature = "faults")]
pub use fault::{Fault, Faults, Gate};
pub use fleet::{ConfigurationScope, FLEET_PAGE_MAX, FleetTerminal};
pub use ledger::{LedgerAudit, STREAM_ROWS_MAX, SlotAudit};
pub use limit::{Agreement, Layer, Rules};
pub use merchant::{MerchantCreated, NewMerchant};
pub use patience::{wait_patiently, with_patience};
pub use payment::{BatchOutcome, BatchTimes, Known, PAGE_MAX, PaymentsOf, TerminalPayment};
pub use payment_code::{IssueRefusal, NewPaymentCode};
pub use pin::PinTry;
pub use seed::{SeedCode, SeedPayer};
pub use settlement::{Settlement, SettlementRefusal};
pub use sign_in::SignIn;
pub use signature::{SignedUse, Used};
pub use site::{Durability, Site};
pub use slot::LEASE;
pub use template::{CandidateTemplates, NewTemplate, StoredTemplate, WrappedKey};
pub use terminal::{ActivationRefusal, DeviceKey, NewDeviceKey, NewTerminal, Terminal};
pub use verification::{Lookup, NewVerification, SubmissionRefusal, Verification};

use connection::{Connection, ReadFrom, Readers, Writer, open_postgres};
use database::postgres::{KEYS_SCHEMA, Purpose, SITE_SCHEMA};
use database::sqlite;
use known_keys::KnownKeys;
use slot::{Holding, Ledger};

/// Where the data of a site is.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// In two SQLite files on this machine.
    Files {
        /// The site's database.
        site: PathBuf,
        /// The subject keys, apart from it.
        keys: PathBuf,
    },
    /// In a PostgreSQL database, in two schemas.
    Postgres {
        /// Address, `postgres://...`. It may hold a password.
        url: String,
        /// How many transactions of payments may be on their way at once, each writing a slot of its own.
        writers: usize,
    },
}

impl Database {
    /// Two files.
    pub fn files(site: impl Into<PathBuf>, keys: impl Into<PathBuf>) -> Self {
        Self::Files { site: site.into(), keys: keys.into() }
    }

    /// A PostgreSQL database with as many writers as pay off where nobody has measured: the second hides the first
    /// one's commit, and on two cores a fourth adds nothing.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::Postgres { url: url.into(), writers: 2 }
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Database::Files { site, .. } => write!(f, "`{}`", site.display()),
            Database::Postgres { .. } => f.write_str("the PostgreSQL database"),
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Database::Files { site, keys } => {
                f.debug_struct("Files").field("site", site).field("keys", keys).finish()
            }
            // Not the address: it may hold a password.
            Database::Postgres { writers, .. } => {
                f.debug_struct("Postgres").field("writers", writers).finish_non_exhaustive()
            }
        }
    }
}

/// The site's database and, apart from it, the subject keys.
pub struct Store {
    /// Of everything that is no payment.
    writer: Writer,
    /// Of payments. On SQLite the same one.
    ledgers: Vec<Ledger>,
    readers: Readers,
    keys: Writer,
    known_keys: KnownKeys,
    /// Whether other servers may write at the same time.
    is_shared: bool,
}

impl Store {
    /// Opens a site's data, brings its schema up to date and starts the threads that write. Makes what is absent; see
    /// [`Store::create_site`] for a new site.
    pub fn open(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Files { site, keys } => Self::open_files(site.clone(), keys.clone()),
            // On a thread of its own: connections block, which is forbidden where async code runs.
            Database::Postgres { url, writers } => std::thread::scope(|scope| {
                let opening = scope.spawn(|| Self::open_postgres(url.as_str().into(), *writers));
                opening.join().unwrap_or(Err(StoreError::Closed))
            }),
        }
    }

    fn open_files(site: PathBuf, keys: PathBuf) -> Result<Self, StoreError> {
        let mut site_connection = sqlite::open_site(&site)?;
        migration::migrate_file(&mut site_connection, migration::SITE)?;
        let mut keys_connection = sqlite::open_keys(&keys)?;
        migration::migrate_file(&mut keys_connection, migration::KEYS)?;
        let (faults, holding) = (Arc::default(), Arc::<Holding>::default());
        let readers = Readers::open(ReadFrom::File(site.clone()), Arc::clone(&faults))?;
        let open = Box::new(move || sqlite::open_site(&site).map(Connection::Sqlite));
        let connection = Connection::Sqlite(site_connection);
        let writer = Writer::start("site", connection, open, Some(holding.clone()), faults);
        let open = Box::new(move || sqlite::open_keys(&keys).map(Connection::Sqlite));
        let keys = Writer::start("keys", Connection::Sqlite(keys_connection), open, None, Arc::default());
        let ledgers = vec![Ledger { writer: writer.clone(), holding }];
        Ok(Self { writer, ledgers, readers, keys, known_keys: KnownKeys::default(), is_shared: false })
    }

    fn open_postgres(url: Arc<str>, writers: usize) -> Result<Self, StoreError> {
        database::postgres::prepare(&url)?;
        let faults: Arc<fault::Faults> = Arc::default();
        let start = |name: &str, purpose, schema, faults| {
            let url = url.clone();
            let open = move || open_postgres(&url, purpose, schema);
            Ok(Writer::start(name, open()?, Box::new(open), None, faults))
        };
        let writer = start("site", Purpose::Writes, SITE_SCHEMA, Arc::clone(&faults))?;
        let keys = start("keys", Purpose::Writes, KEYS_SCHEMA, Arc::default())?;
        let ledger = |number: usize| {
            let name = format!("slot-{number}");
            let writer = start(&name, Purpose::Payments, SITE_SCHEMA, Arc::clone(&faults))?;
            Ok(Ledger { writer, holding: Arc::default() })
        };
        let ledgers = (0..writers.max(1)).map(ledger).collect::<Result<_, StoreError>>()?;
        let readers = Readers::open(ReadFrom::Postgres(url.clone()), faults)?;
        Ok(Self { writer, ledgers, readers, keys, known_keys: KnownKeys::default(), is_shared: true })
    }

    /// The writer of payments for what belongs to the ledger and is no payment.
    fn ledger(&self) -> &Ledger {
        &self.ledgers[0]
    }

    /// Whether other servers may write at the same time as this one, each to slots of its own.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether a failed disk sync has ended all writing until the next start.
    pub fn is_halted(&self) -> bool {
        self.writer.is_halted()
    }

    /// Ends it so that its two files alone are its data, with no log or journal beside them, as a backup has to be.
    /// PostgreSQL needs no such thing.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or somebody else has it open.
    pub async fn seal(self) -> Result<(), StoreError> {
        // Connections that read hold the log open.
        drop(self.readers);
        self.writer.seal().await?;
        self.keys.seal().await
    }

    /// Failures to come, for tests.
    #[cfg(feature = "faults")]
    pub fn faults(&self) -> &Faults {
        &self.readers.faults
    }
}

#[cfg(test)]
mod guard_tests;
