//! The first things of a new site, made without a running server: the site itself, the operator's key, one merchant
//! with its store and key, the terminals that wait for their activation, and limits that a stranger can live with.

use std::time::Duration;

use selfsame_api::merchant::Secret;
use selfsame_domain::id::{KeyId, MerchantId, StoreId, TerminalId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::limit::Limits;
use selfsame_domain::money::Currency;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::Purpose;
use selfsame_domain::time::Timestamp;
use selfsame_store::{ApiKey, Database, Layer, NewMerchant, NewTerminal, Site, Store, StoreError};

use crate::authentication::{hash_api_key, new_api_key};
use crate::random;
use crate::terminal::{activation_hash, new_activation_code};

/// Life of the activation codes that are made with the site: the first terminals are set up the same day.
const FIRST_ACTIVATION_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What to make.
#[derive(Clone, Debug)]
pub struct NewSite {
    /// Live or test, for ever.
    pub mode: Mode,
    /// The one currency of its wallets, for ever.
    pub currency: Currency,
    /// Name of the first merchant.
    pub merchant_name: String,
    /// Name of its store.
    pub store_name: String,
    /// What payments may be by how the payer was verified. [`default_limits`] unless somebody has decided already.
    pub limits: Vec<(SensorGrade, Limits)>,
}

/// The limits of a site about which nobody has decided yet: of the grades that such a site takes.
pub fn default_limits(mode: Mode) -> Vec<(SensorGrade, Limits)> {
    let taken = SensorGrade::ALL.iter().copied().filter(|grade| grade.accepted_in(mode));
    taken.map(|grade| (grade, Limits::default_for(grade))).collect()
}

/// What was made. Secrets are shown this once.
#[derive(Clone, Debug)]
pub struct CreatedSite {
    /// The operator's key.
    pub operator_key: Secret,
    /// The first merchant.
    pub merchant: MerchantId,
    /// Its key.
    pub merchant_key: Secret,
    /// Its store.
    pub store: StoreId,
    /// The terminal at the till.
    pub till: FirstTerminal,
    /// The terminal at the desk.
    pub desk: FirstTerminal,
}

/// A terminal that waits for its activation.
#[derive(Clone, Debug)]
pub struct FirstTerminal {
    /// The terminal.
    pub terminal: TerminalId,
    /// Good once, for 24 hours.
    pub activation_code: Secret,
}

/// Why there is no new site.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The databases could not be made.
    #[error("failed to make the site's databases")]
    Store(#[from] StoreError),
    /// Somebody made a site here before. Nothing was changed.
    #[error("there is a site already")]
    Exists,
}

async fn create_terminal(
    store: &Store,
    at: StoreId,
    name: &str,
    purpose: Purpose,
    now: Timestamp,
) -> Result<FirstTerminal, StoreError> {
    let terminal = TerminalId::new(now, random());
    let code = new_activation_code();
    let new = NewTerminal {
        terminal,
        store: at,
        name: name.to_owned(),
        purpose,
        code_hash: activation_hash(&code),
        code_expires_at: now + FIRST_ACTIVATION_LIFETIME,
    };
    store.create_terminal(new, now).await?;
    Ok(FirstTerminal { terminal, activation_code: Secret(code) })
}

/// Makes a site in a database that has none; makes the files, or the schemas.
pub async fn create_site(
    database: &Database,
    new: NewSite,
    now: Timestamp,
) -> Result<CreatedSite, SetupError> {
    let store = Store::open(database)?;
    if !store.create_site(Site { mode: new.mode, currency: new.currency }, now).await? {
        return Err(SetupError::Exists);
    }
    for (grade, limits) in new.limits {
        store.set_limits(Layer::Grade(grade), limits, now).await?;
    }
    let operator = ApiKey { id: KeyId::new(now, random()), role: Caller::Operator };
    let operator_key = new_api_key(operator.role, new.mode);
    store.create_api_key(operator, hash_api_key(&operator_key.0), now).await?;
    let merchant = MerchantId::new(now, random());
    let at = StoreId::new(now, random());
    let role = Caller::Merchant(merchant);
    let merchant_key = new_api_key(role, new.mode);
    let first = NewMerchant {
        merchant,
        store: at,
        request_ref: "site-setup".parse().expect("a valid reference"),
        name: new.merchant_name,
        store_name: new.store_name,
        key: ApiKey { id: KeyId::new(now, random()), role },
        key_hash: hash_api_key(&merchant_key.0),
    };
    store.create_merchant(first, now).await?;
    Ok(CreatedSite {
        operator_key: Secret(operator_key.0),
        merchant,
        merchant_key: Secret(merchant_key.0),
        store: at,
        till: create_terminal(&store, at, "Till 1", Purpose::Till, now).await?,
        desk: create_terminal(&store, at, "Desk 1", Purpose::Desk, now).await?,
    })
}
