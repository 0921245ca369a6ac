//! A store in memory that keeps the promises of the real one: guarded writes, unique references and codes, and
//! nothing half done.

use std::collections::{HashMap, HashSet};

use selfsame_domain::account::AccountState;
use selfsame_domain::id::{
    AccountId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::ledger::{CHAIN_START, ChainedRow, Row};
use selfsame_domain::limit::{Limits, Spending};
use selfsame_domain::payment::{
    Changes, Code, CodeMac, History, IdempotencyKey, MerchantTerms, Payer, Purpose, Request, Slot, State,
    Target, Terms, Wallet,
};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::time::Timestamp;

/// Wallets, and accounts, of the tiny world.
pub const WALLETS: u8 = 3;

/// Codes of the tiny world; code `n` is of account `n % 3`. Number 5 is not a code.
pub const CODES: u8 = 5;

/// Above this the payer must confirm, minor units.
pub const STEP_UP_ABOVE_MINOR: i64 = 200;

/// How long payers may undo by themselves, in minutes.
pub const UNDO_MINUTES: u32 = 20;

/// The one merchant.
pub fn merchant() -> MerchantId {
    MerchantId::new(start(), [1; 10])
}

/// The one terminal.
pub fn terminal() -> TerminalId {
    TerminalId::new(start(), [1; 10])
}

/// The account of a number.
pub fn account(number: u8) -> AccountId {
    AccountId::new(start(), [number; 10])
}

/// When episodes begin: ten in the morning.
pub fn start() -> Timestamp {
    Timestamp::from_millis(1_795_514_400_000)
}

/// When code `number` dies.
pub fn code_end(number: u8) -> Timestamp {
    start() + std::time::Duration::from_secs(3_600 * (1 + u64::from(number)))
}

/// Why a commit was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The slot is not where it was, or not ours any more.
    Slot,
    /// A wallet was changed by somebody else, or would leave its bounds.
    Wallet,
    /// A reference, code or verification stands already.
    Unique,
    /// Something that is closed was not open.
    NotOpen,
}

/// What is on disk.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    /// The stream.
    pub slot: Slot,
    /// All rows, in order.
    pub rows: Vec<ChainedRow>,
    /// What holds for the whole site.
    pub terms: Terms,
    /// All wallets.
    pub wallets: HashMap<WalletId, Wallet>,
    codes: HashMap<CodeMac, Code>,
    references: HashMap<IdempotencyKey, PaymentId>,
    used: HashSet<VerificationId>,
    histories: HashMap<PaymentId, (Vec<Row>, Vec<Row>)>,
    open: HashSet<PaymentId>,
    merchant_terms: MerchantTerms,
}

fn code(number: u8) -> Code {
    Code {
        code: PaymentCodeId::new(start(), [number; 10]),
        verification: VerificationId::new(start(), [number; 10]),
        sensor_grade: SensorGrade::Simulated,
        account: account(number % WALLETS),
        store: StoreId::new(start(), [1; 10]),
        terminal: terminal(),
        currency: "EUR".parse().expect("a currency of the table"),
        amount_minor_max: 1_000_000,
        expires_at: code_end(number),
        revoked: false,
        consumed: false,
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        let wallet = |number: u8| Wallet {
            wallet: WalletId::new(start(), [number; 10]),
            account: account(number),
            account_state: AccountState::Active,
            purpose: Purpose::Own,
            currency: "EUR".parse().expect("a currency of the table"),
            balance_minor: 0,
            held_minor: 0,
            version: 0,
            spending: Spending::nothing(),
        };
        let site = Limits { step_up_above_minor: Some(STEP_UP_ABOVE_MINOR), ..Limits::default() };
        Self {
            slot: Slot { slot: 0, epoch: 1, sequence: 0, hash: CHAIN_START },
            rows: Vec::new(),
            terms: Terms { site, ..Terms::default() },
            wallets: (0..WALLETS).map(wallet).map(|wallet| (wallet.wallet, wallet)).collect(),
            codes: (0..CODES).map(|number| (CodeMac([number; 32]), code(number))).collect(),
            references: HashMap::new(),
            used: HashSet::new(),
            histories: HashMap::new(),
            open: HashSet::new(),
            merchant_terms: MerchantTerms { undo_minutes: UNDO_MINUTES, ..MerchantTerms::default() },
        }
    }
}

impl MemoryStore {
    /// A world of its own, without codes.
    pub fn of(wallets: Vec<Wallet>) -> Self {
        let wallets = wallets.into_iter().map(|wallet| (wallet.wallet, wallet)).collect();
        Self { wallets, codes: HashMap::new(), ..Self::default() }
    }

    /// Issues codes.
    pub fn add_codes(&mut self, codes: impl IntoIterator<Item = (CodeMac, Code)>) {
        self.codes.extend(codes);
    }

    /// What a wallet has spent on a business day, by the rows.
    pub fn spending_by_rows(&self, wallet: &Wallet, day: Timestamp) -> Spending {
        let rows = self.rows.iter().map(|chained| &chained.row);
        let rows = rows.filter(|row| row.created_at >= day && row.account == Some(wallet.account));
        Spending::of(&rows.cloned().collect::<Vec<_>>(), wallet.wallet, day)
    }

    /// What the decision needs, as it is now.
    pub fn load(&self, requests: &[Request], now: Timestamp) -> State {
        let mut state = State::new(self.slot, "EUR".parse().expect("a currency of the table"));
        state.terms = self.terms.clone();
        state.wallets = self.wallets.clone();
        let today = state.terms.business_day.start(now);
        for wallet in state.wallets.values_mut() {
            let told = wallet.spending.on(today);
            wallet.spending = told.unwrap_or_else(|| self.spending_by_rows(wallet, today));
        }
        state.merchants.insert(merchant(), self.merchant_terms.clone());
        let payer = Payer { has_pin: true, ..Payer::default() };
        state.payers = self.wallets.values().map(|wallet| (wallet.account, payer.clone())).collect();
        for request in requests {
            if let Request::Charge(charge) = request
                && let Some(code) = self.codes.get(&charge.code)
            {
                let consumed = self.used.contains(&code.verification);
                let code = Code { consumed, ..code.clone() };
                state.codes.insert((charge.merchant, charge.code), code);
            }
            let by_order = match request.target() {
                Some(Target::Order(order_ref)) => Some(IdempotencyKey::order(merchant(), order_ref)),
                _ => None,
            };
            let mut named = Vec::new();
            for key in [request.idempotency_key(), by_order].into_iter().flatten() {
                if let Some(payment) = self.references.get(&key) {
                    named.push(*payment);
                    state.references.insert(key, *payment);
                }
            }
            if let Some(Target::Payment(payment)) = request.target() {
                named.push(payment);
            }
            for payment in named {
                let history = self.history(payment);
                state.histories.extend(history.map(|history| (payment, history)));
            }
        }
        state
    }

    /// A payment with everything that continues it.
    pub fn history(&self, payment: PaymentId) -> Option<History> {
        let (root, later) = self.histories.get(&payment)?;
        History::new(root.clone(), later.clone())
    }

    /// The payment behind a reference.
    pub fn by_reference(&self, key: &IdempotencyKey) -> Option<History> {
        self.history(*self.references.get(key)?)
    }

    fn check(&self, before: &Slot, changes: &Changes) -> Result<(), Refused> {
        if (before.epoch, before.sequence) != (self.slot.epoch, self.slot.sequence) {
            return Err(Refused::Slot);
        }
        for change in &changes.wallets {
            let wallet = self.wallets.get(&change.wallet).ok_or(Refused::Wallet)?;
            let bounded = change.held_minor >= 0 && change.held_minor <= change.balance_minor;
            if wallet.version != change.version_before || !bounded {
                return Err(Refused::Wallet);
            }
        }
        let (mut references, mut used) = (HashSet::new(), HashSet::new());
        for row in changes.rows.iter().map(|chained| &chained.row) {
            if let Some(reference) = row.reference.clone() {
                let key = IdempotencyKey { caller: row.caller, kind: row.kind, reference };
                if self.references.contains_key(&key) || !references.insert(key) {
                    return Err(Refused::Unique);
                }
            }
            if row
                .verification
                .is_some_and(|used_now| self.used.contains(&used_now) || !used.insert(used_now))
            {
                return Err(Refused::Unique);
            }
        }
        let open = |payment| self.open.contains(payment) || changes.opened.contains(payment);
        if changes.closed.iter().all(open) { Ok(()) } else { Err(Refused::NotOpen) }
    }

    /// Writes all of it, or nothing.
    pub fn commit(&mut self, before: &Slot, changes: &Changes) -> Result<(), Refused> {
        if changes.slot.is_some() {
            self.check(before, changes)?;
        }
        for (_, guesses) in &changes.guesses {
            self.merchant_terms.guesses = self.merchant_terms.guesses.and(*guesses);
        }
        let Some(slot) = changes.slot else { return Ok(()) };
        self.slot = slot;
        for change in &changes.wallets {
            if let Some(wallet) = self.wallets.get_mut(&change.wallet) {
                (wallet.balance_minor, wallet.held_minor) = (change.balance_minor, change.held_minor);
                wallet.spending = change.spending;
                wallet.version += 1;
            }
        }
        for chained in &changes.rows {
            let row = chained.row.clone();
            if let Some(reference) = row.reference.clone() {
                let key = IdempotencyKey { caller: row.caller, kind: row.kind, reference };
                self.references.insert(key, row.payment);
            }
            self.used.extend(row.verification);
            if let Some(parent) = row.parent {
                self.histories.entry(parent).or_default().1.push(row.clone());
            }
            self.histories.entry(row.payment).or_default().0.push(row);
        }
        self.rows.extend(changes.rows.iter().cloned());
        self.open.extend(changes.opened.iter().copied());
        for closed in &changes.closed {
            self.open.remove(closed);
        }
        Ok(())
    }
}
