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

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use account::{Account, AccountCreated, NewAccount};
pub use api_key::{ApiKey, Role};
pub use attempt::{Attempt, RecordedAttempt};
pub use consent::{Consent, NewConsent};
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
pub use site::Site;
pub use slot::LEASE;
pub use template::{CandidateTemplates, NewTemplate, StoredTemplate, WrappedKey};
pub use terminal::{ActivationRefusal, DeviceKey, NewDeviceKey, NewTerminal, Terminal};
pub use verification::{Lookup, NewVerification, SubmissionRefusal, Verification};

use connection::{Readers, Writer};
use known_keys::KnownKeys;

/// The site's database and, apart from it, the subject keys.
pub struct Store {
    writer: Writer,
    readers: Readers,
    keys: Writer,
    known_keys: KnownKeys,
    /// Under which the slot was taken over; 0 before. The writer looks at it, too.
    epoch: Arc<AtomicU64>,
}

impl Store {
    /// Opens both files, brings their schema up to date and starts the writer threads. Makes the files if they are
    /// absent; see [`Store::create_site`] for a new site.
    pub fn open(site_database: &Path, keys_database: &Path) -> Result<Self, StoreError> {
        let mut site = connection::open_site(site_database)?;
        migration::migrate(&mut site, migration::SITE)?;
        let mut keys = connection::open_keys(keys_database)?;
        migration::migrate(&mut keys, migration::KEYS)?;
        let (site_path, keys_path) = (site_database.to_owned(), keys_database.to_owned());
        let open_site = Box::new(move || connection::open_site(&site_path));
        let open_keys = Box::new(move || connection::open_keys(&keys_path));
        let epoch = Arc::<AtomicU64>::default();
        let writer = Writer::start("site", site, open_site, Some(epoch.clone()));
        let keys = Writer::start("keys", keys, open_keys, None);
        let readers = Readers::open(site_database, writer.faults())?;
        Ok(Self { writer, readers, keys, known_keys: KnownKeys::default(), epoch })
    }

    /// Whether a failed disk sync has ended all writing until the next start.
    pub fn is_halted(&self) -> bool {
        self.writer.is_halted()
    }

    /// Failures to come, for tests.
    #[cfg(feature = "faults")]
    pub fn faults(&self) -> &Faults {
        &self.readers.faults
    }
}

#[cfg(test)]
mod guard_tests;
