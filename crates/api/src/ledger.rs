//! What the operator can see of the books: trial balance, chain, refused attempts.

use selfsame_domain::id::{AttemptId, MerchantId, StoreId, TerminalId};
use selfsame_domain::ledger::LedgerAccount;
use selfsame_domain::ledger::export::ExportedRow;
use selfsame_domain::money::Currency;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/ledger/trial-balance`: every ledger account, recomputed from all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrialBalance {
    /// ISO 4217 code.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// Balance of each account: credits less debits.
    pub lines: Vec<TrialBalanceLine>,
    /// Sum of the lines. Anything but zero means the books are wrong.
    pub sum_minor: i64,
    /// Wallets whose stored balance, or what they say was spent on a business day, differs from the recomputed one.
    /// Anything but zero means the books are wrong.
    pub wallets_that_differ: u64,
}

/// One account of the trial balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrialBalanceLine {
    /// `cash` (top-up clearing), `subsidies`, `fees`, `adjustments`, `rounding`, `payouts`, a wallet or a merchant.
    #[schema(value_type = String, example = "cash")]
    pub account: LedgerAccount,
    /// Minor units.
    pub balance_minor: i64,
}

/// `GET /v1/ledger/chain`: the hash chain, recomputed from the first row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Chain {
    /// Each slot.
    pub slots: Vec<ChainSlot>,
}

/// The chain of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainSlot {
    /// Number of the slot.
    pub slot: u32,
    /// Rows in it.
    pub rows: u64,
    /// Hash of the last row, hex.
    pub head: String,
    /// What is broken and where; absent if the chain verifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /v1/attempts`: what was refused and why, newest first. Tills see less: to them biometric refusals read alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempts {
    /// The attempts.
    pub data: Vec<Attempt>,
}

/// A refused attempt. Kept 90 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The attempt.
    #[schema(value_type = String)]
    pub id: AttemptId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `verification`, `enrolment`, `payment_code`, `payment`, `activation` or `pin`.
    pub operation: String,
    /// Why, e.g. `no_match`, `consent_missing`, `code_expired`.
    pub reason: String,
    /// At which terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub terminal: Option<TerminalId>,
    /// By which merchant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub merchant: Option<MerchantId>,
    /// In which store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub store: Option<StoreId>,
}

/// `GET /v1/ledger/rows`: rows of the ledger in order, in the form of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerRows {
    /// The rows.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<ExportedRow>,
    /// Whether there are later ones.
    pub has_more: bool,
    /// Ask for rows `after` this for the next page; absent if this page is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<u64>,
}
