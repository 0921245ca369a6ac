//! A small world that remembers what was decided, so that tests read as a story; one file per group of operations.

mod charging;
mod property;
mod returning;
mod waiting;

use super::*;
use crate::account::AccountState;
use crate::id::{KeyId, PaymentCodeId, StoreId, TerminalId};
use crate::ledger::audit::Auditor;
use crate::ledger::{CHAIN_START, Part};
use crate::limit::Spending;
use crate::money::Amount;
use crate::sensor::SensorGrade;

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

fn eur(minor: i64) -> Amount {
    Amount::new(minor, "EUR".parse().unwrap()).unwrap()
}

fn then() -> Timestamp {
    "2026-11-24T10:00:00.000Z".parse().unwrap()
}

fn merchant(number: u8) -> MerchantId {
    MerchantId::new(then(), [number; 10])
}

fn account(number: u8) -> AccountId {
    AccountId::new(then(), [number; 10])
}

fn wallet(number: u8) -> WalletId {
    WalletId::new(then(), [number; 10])
}

fn subsidy(number: u8) -> WalletId {
    WalletId::new(then(), [100 + number; 10])
}

fn terminal() -> TerminalId {
    TerminalId::new(then(), [1; 10])
}

fn person(number: u8) -> KeyId {
    KeyId::new(then(), [number; 10])
}

fn mac(number: u8) -> CodeMac {
    CodeMac([number; 32])
}

/// Codes 0 to 9 of merchant 1, code n for account n % 3; wallets of accounts 0 to 2.
struct World {
    slot: Slot,
    now: Timestamp,
    terms: Terms,
    payer: Payer,
    merchant: MerchantTerms,
    codes: HashMap<(MerchantId, CodeMac), Code>,
    lookalikes: HashSet<VerificationId>,
    wallets: HashMap<WalletId, Wallet>,
    rows: Vec<ChainedRow>,
    auditor: Auditor,
    payments: u64,
    open: HashSet<PaymentId>,
}

fn code(number: u8) -> Code {
    Code {
        code: PaymentCodeId::new(then(), [number; 10]),
        verification: VerificationId::new(then(), [number; 10]),
        sensor_grade: SensorGrade::Simulated,
        account: account(number % 3),
        store: StoreId::new(then(), [1; 10]),
        terminal: terminal(),
        currency: "EUR".parse().unwrap(),
        amount_minor_max: 50_000,
        expires_at: Timestamp::MAX,
        revoked: false,
        consumed: false,
    }
}

impl World {
    /// Accounts 0, 1, ... with these balances, paid in through the ledger.
    fn new(balances: &[i64]) -> Self {
        let mut world = Self {
            slot: Slot { slot: 0, epoch: 1, sequence: 0, hash: CHAIN_START },
            now: then(),
            terms: Terms::default(),
            payer: Payer::default(),
            merchant: MerchantTerms::default(),
            codes: (0..10).map(|number| ((merchant(1), mac(number)), code(number))).collect(),
            lookalikes: HashSet::new(),
            wallets: HashMap::new(),
            rows: Vec::new(),
            auditor: Auditor::default(),
            payments: 0,
            open: HashSet::new(),
        };
        for (number, balance) in (0u8..).zip(balances) {
            world.add_wallet(wallet(number), number, Purpose::Own);
            if *balance > 0 {
                world.done(world.top_up(number, &format!("seed-{number}"), *balance));
            }
        }
        world
    }

    fn add_wallet(&mut self, wallet: WalletId, owner: u8, purpose: Purpose) {
        let empty = Wallet {
            wallet,
            account: account(owner),
            account_state: AccountState::Active,
            purpose,
            currency: "EUR".parse().unwrap(),
            balance_minor: 0,
            held_minor: 0,
            version: 7,
            spending: Spending::nothing(),
        };
        self.wallets.insert(wallet, empty);
    }

    fn next(&self) -> PaymentId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.payments.to_be_bytes());
        PaymentId::new(then(), random)
    }

    fn state(&self) -> State {
        let mut state = State::new(self.slot, "EUR".parse().unwrap());
        state.terms = self.terms.clone();
        let consumed: HashSet<_> = self.rows.iter().filter_map(|row| row.row.verification).collect();
        state.codes = self.codes.clone();
        for code in state.codes.values_mut() {
            code.consumed |= consumed.contains(&code.verification);
        }
        state.lookalikes = self.lookalikes.clone();
        state.wallets = self.wallets.clone();
        let today = self.terms.business_day.start(self.now);
        for wallet in state.wallets.values_mut() {
            let told = wallet.spending.on(today);
            wallet.spending = told.unwrap_or_else(|| self.spending_by_rows(wallet, today));
        }
        state.payers = (0..3).map(|number| (account(number), self.payer.clone())).collect();
        state.merchants.insert(merchant(1), self.merchant.clone());
        let rows = || self.rows.iter().map(|chained| &chained.row);
        for head in rows().filter(|row| row.leg == 0) {
            let root = rows().filter(|row| row.payment == head.payment).cloned().collect();
            let later = rows().filter(|row| row.parent == Some(head.payment)).cloned().collect();
            state.histories.insert(head.payment, History::new(root, later).unwrap());
            let reference = head.reference.clone().unwrap();
            let key = IdempotencyKey { caller: head.caller, kind: head.kind, reference };
            assert!(state.references.insert(key, head.payment).is_none(), "a reference stands twice");
            state.receipts.insert(ReceiptNumber::new(head.slot, head.sequence), head.payment);
        }
        state
    }

    fn spending_by_rows(&self, wallet: &Wallet, day: Timestamp) -> Spending {
        let rows = self.rows.iter().map(|chained| &chained.row);
        let rows = rows.filter(|row| row.created_at >= day && row.account == Some(wallet.account));
        Spending::of(&rows.cloned().collect::<Vec<_>>(), wallet.wallet, day)
    }

    /// Decides a batch and remembers it; every rule that must hold of rows is checked by the auditor.
    fn batch(&mut self, requests: &[Request]) -> Vec<Answer> {
        let (answers, changes) = decide(self.state(), requests, self.now);
        for chained in &changes.rows {
            self.auditor.push(chained).unwrap();
        }
        for change in &changes.wallets {
            let wallet = self.wallets.get_mut(&change.wallet).unwrap();
            assert_eq!(wallet.version, change.version_before);
            assert!(change.held_minor >= 0 && change.held_minor <= change.balance_minor, "{change:?}");
            (wallet.balance_minor, wallet.held_minor) = (change.balance_minor, change.held_minor);
            wallet.spending = change.spending;
            wallet.version += 1;
        }
        let today = self.terms.business_day.start(self.now);
        self.rows.extend(changes.rows.iter().cloned());
        for wallet in self.wallets.values() {
            if let Some(told) = wallet.spending.on(today) {
                assert_eq!(told, self.spending_by_rows(wallet, today));
            }
            let stored = (i128::from(wallet.balance_minor), i128::from(wallet.held_minor));
            assert_eq!(self.auditor.wallet(wallet.wallet, wallet.currency), stored);
        }
        for (_, guesses) in &changes.guesses {
            self.merchant.guesses = self.merchant.guesses.and(*guesses);
        }
        self.open.extend(changes.opened.iter().copied());
        for closed in &changes.closed {
            assert!(self.open.remove(closed), "{closed} was not open");
        }
        self.slot = changes.slot.unwrap_or(self.slot);
        self.payments += 1;
        answers
    }

    fn one(&mut self, request: Request) -> Answer {
        self.batch(&[request]).remove(0)
    }

    fn done(&mut self, request: Request) -> Payment {
        match self.one(request) {
            Answer::Done { payment, replayed: false } => payment,
            other => panic!("expected a new payment, got {other:?}"),
        }
    }

    fn replayed(&mut self, request: Request) -> Payment {
        match self.one(request) {
            Answer::Done { payment, replayed: true } => payment,
            other => panic!("expected a repetition, got {other:?}"),
        }
    }

    fn refused(&mut self, request: Request) -> Refusal {
        match self.one(request) {
            Answer::Refused(refusal) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn balance(&self, number: u8) -> (i64, i64) {
        let wallet = &self.wallets[&wallet(number)];
        (wallet.balance_minor, wallet.held_minor)
    }

    fn charge(&self, code: u8, order: &str, minor: i64) -> Request {
        Request::Charge(self.charging(code, order, minor))
    }

    fn charging(&self, code: u8, order: &str, minor: i64) -> Charge {
        Charge {
            payment: self.next(),
            merchant: merchant(1),
            order_ref: order.parse().unwrap(),
            amount: eur(minor),
            parts: None,
            code: mac(code),
            hold_until: None,
            ask_payer: false,
        }
    }

    fn hold(&self, code: u8, order: &str, minor: i64) -> Request {
        Request::Charge(Charge { hold_until: Some(self.now + HOUR), ..self.charging(code, order, minor) })
    }

    fn top_up(&self, payer: u8, reference: &str, minor: i64) -> Request {
        Request::TopUp(TopUp {
            payment: self.next(),
            account: account(payer),
            purpose: Purpose::Own,
            top_up_ref: reference.parse().unwrap(),
            amount: eur(minor),
            actor: None,
        })
    }

    fn reverse(&self, order: &str) -> Request {
        Request::Reverse(Reverse {
            payment: self.next(),
            merchant: merchant(1),
            order_ref: order.parse().unwrap(),
        })
    }

    fn refund(&self, reference: &str, order: &str, minor: i64) -> Request {
        Request::Refund(self.refunding(reference, order, minor))
    }

    fn refunding(&self, reference: &str, order: &str, minor: i64) -> Refund {
        Refund {
            payment: self.next(),
            merchant: merchant(1),
            refund_ref: reference.parse().unwrap(),
            target: Target::Order(order.parse().unwrap()),
            amount: eur(minor),
            part: None,
        }
    }

    fn close(&self, by: Party, target: PaymentId, ending: Ending) -> Request {
        Request::Close(Close { payment: self.next(), by, target: Target::Payment(target), ending })
    }

    fn capture(&self, target: PaymentId, minor: Option<i64>) -> Request {
        self.close(Party::Merchant(merchant(1)), target, Ending::Capture(minor.map(eur)))
    }

    fn confirm(&self, target: PaymentId, proof: Proof) -> Request {
        self.close(Party::Terminal(terminal()), target, Ending::Confirm(proof))
    }

    fn undo(&self, payer: u8, target: PaymentId) -> Request {
        Request::Undo(Undo { payment: self.next(), account: account(payer), target })
    }

    fn decide_undo(&self, target: PaymentId, granted: bool) -> Request {
        let merchant = Some(merchant(1));
        Request::DecideUndo(DecideUndo { payment: self.next(), target, merchant, actor: None, granted })
    }
}
