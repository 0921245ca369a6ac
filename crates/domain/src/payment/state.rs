//! What the store loads for a batch. Missing entries mean: does not exist.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::account::AccountState;
use crate::id::{
    AccountId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use crate::ledger::{Caller, RowHash};
use crate::limit::{BusinessDay, Category, Limits, Spending};
use crate::money::Currency;
use crate::payment::history::History;
use crate::payment::receipt::ReceiptNumber;
use crate::payment::request::{CodeMac, IdempotencyKey, Purpose, Request, Target};
use crate::sensor::SensorGrade;
use crate::time::Timestamp;

/// Unknown codes that one merchant may try in an hour. 20 an hour against 10^15 codes and the few that are alive at
/// one merchant keep the odds of a hit below 10^-6 a year (docs/sources.md, "payment code").
pub const GUESSES_PER_HOUR: u32 = 20;

/// How long a payer may take to confirm, in seconds.
pub const CONFIRMATION_SECONDS: u32 = 120;

/// A wallet as loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The wallet.
    pub wallet: WalletId,
    /// Whose it is.
    pub account: AccountId,
    /// Whether the account may pay.
    pub account_state: AccountState,
    /// What it is for.
    pub purpose: Purpose,
    /// Its currency.
    pub currency: Currency,
    /// Money in it, minor units, never negative.
    pub balance_minor: i64,
    /// The part of it that holds have claimed.
    pub held_minor: i64,
    /// Raised by every change; the write is guarded by it.
    pub version: u64,
    /// What was spent from it on a business day; in a batch, on that of the batch.
    pub spending: Spending,
}

impl Wallet {
    /// What may be spent.
    pub fn available_minor(&self) -> i64 {
        self.balance_minor.saturating_sub(self.held_minor)
    }
}

/// A code as loaded: everything it was bound to at issue, and whether it is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: PaymentCodeId,
    /// The verification behind it.
    pub verification: VerificationId,
    /// How that verification's sample was taken.
    pub sensor_grade: SensorGrade,
    /// Whose money it opens.
    pub account: AccountId,
    /// The store of the terminal that asked for it.
    pub store: StoreId,
    /// The terminal that asked for it.
    pub terminal: TerminalId,
    /// The currency it may be charged in.
    pub currency: Currency,
    /// The most it may be charged with, minor units.
    pub amount_minor_max: i64,
    /// The server's time from which it is dead.
    pub expires_at: Timestamp,
    /// A later code of the same verification replaced it, or the till cancelled.
    pub revoked: bool,
    /// The verification has paid already, with this code or another one.
    pub consumed: bool,
}

/// The stream slot that this server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of the slot.
    pub slot: u32,
    /// Raised at every take-over, so that a stale writer is refused.
    pub epoch: u64,
    /// Sequence of the last row; 0 before the first.
    pub sequence: u64,
    /// Hash of the last row.
    pub hash: RowHash,
}

/// What holds for the whole site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Limits of every payment.
    pub site: Limits,
    /// Further limits by how the payer was verified.
    pub by_grade: BTreeMap<SensorGrade, Limits>,
    /// Where the day begins.
    pub business_day: BusinessDay,
    /// Whether a gesture confirms; otherwise only a PIN does.
    pub gesture_confirms: bool,
}

/// What holds for one merchant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MerchantTerms {
    /// Its category.
    pub category: Option<Category>,
    /// How long a payer may take a payment back without asking, in minutes. 0: never, ask.
    pub undo_minutes: u32,
    /// Unknown codes tried lately.
    pub guesses: Guesses,
}

/// Unknown codes that a merchant tried in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guesses {
    /// Number of the hour since 1970.
    pub hour: i64,
    /// How many.
    pub count: u32,
}

impl Guesses {
    /// With those that were tried besides; an hour that is over counts for nothing.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        let before = if self.hour == more.hour { self.count } else { 0 };
        Self { hour: more.hour, count: before + more.count }
    }
}

/// What holds for one payer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payer {
    /// Whether a PIN is set.
    pub has_pin: bool,
    /// The operator's or the payer's own limits.
    pub limits: Limits,
    /// A guardian's limits.
    pub guardian: Limits,
}

/// What the store loaded for a batch.
#[derive(Clone, Debug)]
pub struct State {
    /// The slot to write.
    pub slot: Slot,
    /// The site's currency, for rows that move nothing.
    pub currency: Currency,
    /// Site-wide rules.
    pub terms: Terms,
    /// Payments by the references of the batch.
    pub references: HashMap<IdempotencyKey, PaymentId>,
    /// Payments by the receipt numbers of the batch.
    pub receipts: HashMap<ReceiptNumber, PaymentId>,
    /// The histories of all payments that the batch is about.
    pub histories: HashMap<PaymentId, History>,
    /// The batch's codes, by the merchant that may charge them.
    pub codes: HashMap<(MerchantId, CodeMac), Code>,
    /// The wallets behind all of that.
    pub wallets: HashMap<WalletId, Wallet>,
    /// The payers behind the codes.
    pub payers: HashMap<AccountId, Payer>,
    /// Those of the batch's verifications whose payers look much like somebody else: a likeness must not pay, so
    /// they confirm by PIN, whatever the amount.
    pub lookalikes: HashSet<VerificationId>,
    /// The merchants that ask or were paid.
    pub merchants: HashMap<MerchantId, MerchantTerms>,
}

/// Where a request came from, as far as that is known: what a refusal is recorded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The terminal that asked, or that issued the code.
    pub terminal: Option<TerminalId>,
    /// The merchant that asked, or that was paid.
    pub merchant: Option<MerchantId>,
    /// Whose money it is about.
    pub account: Option<AccountId>,
}

impl State {
    /// Where a request came from. Codes and payments of other merchants are as unknown here as everywhere.
    pub fn origin(&self, request: &Request) -> Origin {
        let merchant = request.merchant();
        let named = Origin { terminal: request.terminal(), merchant, account: request.account() };
        if let Request::Charge(charge) = request {
            let code = self.codes.get(&(charge.merchant, charge.code));
            return code.map_or(named, |code| Origin {
                terminal: Some(code.terminal),
                account: Some(code.account),
                ..named
            });
        }
        let target = request.target().and_then(|target| self.target(&target, merchant));
        target.map_or(named, |history| {
            let head = history.head();
            Origin {
                terminal: named.terminal.or(head.terminal),
                merchant: named.merchant.or(head.merchant),
                account: named.account.or(head.account),
            }
        })
    }

    /// The history that a merchant, terminal or the operator means.
    pub(super) fn target(&self, target: &Target, merchant: Option<MerchantId>) -> Option<&History> {
        let payment = match target {
            Target::Payment(payment) => *payment,
            Target::Receipt(receipt) => *self.receipts.get(receipt)?,
            Target::Order(order_ref) => {
                let key = IdempotencyKey::order(merchant?, order_ref.clone());
                *self.references.get(&key)?
            }
        };
        let found = self.histories.get(&payment)?;
        let owned = merchant.is_none_or(|merchant| found.head().caller == Caller::Merchant(merchant));
        owned.then_some(found)
    }

    /// Nothing but a slot.
    pub fn new(slot: Slot, currency: Currency) -> Self {
        Self {
            slot,
            currency,
            terms: Terms::default(),
            references: HashMap::new(),
            receipts: HashMap::new(),
            histories: HashMap::new(),
            codes: HashMap::new(),
            wallets: HashMap::new(),
            payers: HashMap::new(),
            lookalikes: HashSet::new(),
            merchants: HashMap::new(),
        }
    }
}
