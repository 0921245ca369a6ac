//! Accounts: payers, as the operator's desk makes and sees them.

use std::fmt;

use selfsame_domain::account::{AccountState, IdentifierKind};
use selfsame_domain::id::{AccountId, WalletId};
use selfsame_domain::money::Currency;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/accounts`: makes an account with an empty wallet in the site's currency.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// The desk's own reference: the same again answers the same account.
    #[schema(value_type = String, example = "desk-1-000001")]
    pub request_ref: Reference,
    /// The person's name, as terminals may show it (masked).
    #[schema(example = "Ada Example")]
    pub display_name: String,
    /// Phone number with country code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "+44 20 7946 0142")]
    pub phone: Option<String>,
    /// Member, student or staff number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "M-1001")]
    pub member_number: Option<String>,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewAccount({}, ***)", self.request_ref)
    }
}

/// An account as the operator sees it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The account.
    #[schema(value_type = String, example = "acct_01kav9q4rz0000000000000000")]
    pub id: AccountId,
    /// Whether it may pay.
    #[schema(value_type = String, example = "active")]
    pub state: AccountState,
    /// The person's name.
    pub display_name: String,
    /// Its money.
    pub wallets: Vec<Wallet>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, ***)", self.id)
    }
}

/// Money of one account in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wallet {
    /// The wallet.
    #[schema(value_type = String, example = "wal_01kav9q4rz0000000000000000")]
    pub id: WalletId,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// Money in it, in minor units.
    pub balance_minor: i64,
    /// The part that holds have claimed.
    pub held_minor: i64,
}

/// What the payer gave to say who they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// `phone`, `phone_last4` or `member_number`.
    #[schema(value_type = String, example = "phone_last4")]
    pub kind: IdentifierKind,
    /// What was typed.
    #[schema(example = "0142")]
    pub value: String,
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({}, ***)", self.kind)
    }
}

/// `POST /v1/accounts/search` (operator): who has this identifier. By `POST`, so that no phone number is in an address.
/// Answers at most [`FOUND_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accounts {
    /// The accounts; by the short form of a phone number there may be several.
    pub data: Vec<Account>,
    /// Whether there are more than these: ask for more digits.
    pub has_more: bool,
}

/// Most accounts that one search answers.
pub const FOUND_MAX: usize = 20;
