//! Checks an exported ledger from nothing but its lines. Shares no rule with the decision: it knows what must hold
//! of rows, not how they came about, so that an error in the one is seen by the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::id::{KeyId, PaymentCodeId, PaymentId, VerificationId, WalletId};
use crate::ledger::export::{ExportedRow, FORMAT, HexHash, Line};
use crate::ledger::{
    CHAIN_START, Caller, ChainedRow, Kind, LEG_MAX, LedgerAccount, Part, Row, RowHash, RowState, TrialBalance,
};
use crate::money::Currency;
use crate::reference::Reference;

/// What is wrong, and with which row first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A line is no line of the format.
    #[error("line {line}: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A row breaks the chain or a rule.
    #[error("line {line}: slot {slot}, sequence {sequence}: {broken}")]
    Row {
        /// Number of the line, from 1.
        line: u64,
        /// The slot.
        slot: u32,
        /// The first wrong row.
        sequence: u64,
        /// Which rule.
        broken: Broken,
    },
    /// A wallet or a head does not agree with the rows.
    #[error("line {line}: {what} does not agree with the rows: {found} instead of {expected}")]
    Balance {
        /// Number of the line, from 1.
        line: u64,
        /// Which one.
        what: String,
        /// What the line says.
        found: String,
        /// What the rows say.
        expected: String,
    },
    /// Something the rows speak of has no line, so the file is cut short.
    #[error("the file is incomplete: {0}")]
    Incomplete(String),
}

/// A rule that a row breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A sequence number is missing, repeated or out of order.
    #[error("a row is missing, repeated or out of order")]
    Gap,
    /// The row does not hash to what stands beside it.
    #[error("the row was changed after it was written")]
    Hash,
    /// Negative, zero where something must move, or debit and credit are the same account.
    #[error("the amount or its two sides are impossible")]
    Amount,
    /// Legs are out of order, or a reference is missing on leg 0 or stands on another.
    #[error("the legs of the payment are out of order")]
    Leg,
    /// This caller used this reference for this kind before.
    #[error("the reference was used before")]
    Reference,
    /// The code or its verification has paid before.
    #[error("the payment code or its verification has paid before")]
    Code,
    /// More left the wallet than was in it, or more is held than is there.
    #[error("the wallet is overdrawn")]
    Overdrawn,
    /// It continues a payment that is not there, or that is not open.
    #[error("the payment it continues is not there or not open")]
    Parent,
    /// More went back, or to others, than was paid.
    #[error("more went back than was paid")]
    Returned,
    /// More was closed than was held.
    #[error("more was closed than was held")]
    Closed,
    /// One person proposed and approved.
    #[error("the same person proposed and approved")]
    SamePerson,
}

/// What a whole and right ledger comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Rows read.
    pub rows: u64,
    /// Balance of every ledger account.
    pub trial_balance: TrialBalance,
    /// Last sequence and hash of each slot.
    pub heads: BTreeMap<u32, (u64, RowHash)>,
}

#[derive(Default)]
struct Money {
    balance_minor: i128,
    held_minor: i128,
}

impl Money {
    fn is_overdrawn(&self) -> bool {
        self.held_minor < 0 || self.balance_minor < self.held_minor
    }
}

/// Whether a closing ends a charge: every leg of a charge has a part, and an adjustment has none.
fn closes_charge(row: &Row) -> bool {
    row.part.is_some()
}

/// What of a payment is counted by itself.
type Share = (Option<Part>, Option<WalletId>);

/// A payment as its rows and those that continue it tell it; the latter may come first, from another slot.
#[derive(Default)]
struct Known {
    /// Of its own first row; absent while only rows that continue it were seen.
    root: Option<(Kind, RowState, Option<KeyId>)>,
    legs: u8,
    /// Open or paid minor units.
    open: HashMap<Share, i128>,
    paid: HashMap<Share, i128>,
    closed: bool,
}

impl Known {
    fn is_open(&self) -> bool {
        self.root.is_some_and(|(_, state, _)| state.is_open())
    }

    /// Whether its two people are one.
    fn is_approved_by_proposer(&self, approver: Option<KeyId>) -> bool {
        self.root.is_some_and(|(kind, _, proposer)| kind != Kind::Charge && proposer == approver)
    }
}

/// What may be as it should once the rows of other slots are known.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    /// The payment must be there and open.
    Open(PaymentId),
    /// It must be there.
    There(PaymentId),
    /// Another one must have proposed it.
    Approver(PaymentId, Option<KeyId>),
    /// No more may be closed of it than was held.
    Held(PaymentId, Share),
    /// No more may go back of it than was paid.
    Paid(PaymentId, Share),
    /// The wallet must not be overdrawn.
    Wallet(WalletId, Currency),
}

/// A row that is wrong if its slot is the only one.
struct Suspect {
    line: u64,
    slot: u32,
    sequence: u64,
    broken: Broken,
    doubt: Doubt,
}

/// Takes the rows of one slot in order and stops at the first that breaks a rule.
#[derive(Default)]
pub struct Auditor {
    /// Doubts about the row that is being looked at.
    doubts: Vec<(Broken, Doubt)>,
    heads: BTreeMap<u32, (u64, RowHash)>,
    wallets: HashMap<(WalletId, Currency), Money>,
    references: HashSet<(Caller, Kind, Reference)>,
    codes: HashSet<PaymentCodeId>,
    verifications: HashSet<VerificationId>,
    payments: HashMap<PaymentId, Known>,
    trial_balance: TrialBalance,
    rows: u64,
}

impl Auditor {
    /// Checks the next row.
    pub fn push(&mut self, chained: &ChainedRow) -> Result<(), Broken> {
        self.take(chained)?;
        self.doubts.drain(..).next().map_or(Ok(()), |(broken, _)| Err(broken))
    }

    /// The same; what may be right after all with the rows of other slots is kept as doubts.
    fn take(&mut self, chained: &ChainedRow) -> Result<(), Broken> {
        let row = &chained.row;
        let (sequence, hash) = self.heads.get(&row.slot).copied().unwrap_or((0, CHAIN_START));
        if row.sequence != sequence + 1 {
            return Err(Broken::Gap);
        }
        if row.hash_after(&hash) != chained.hash {
            return Err(Broken::Hash);
        }
        let tombstone = row.kind == Kind::Charge && row.state == RowState::Voided;
        let may_be_nothing = tombstone || matches!(row.kind, Kind::Reversal | Kind::UndoDecision);
        if row.amount_minor < i64::from(!may_be_nothing) || row.debit == row.credit {
            return Err(Broken::Amount);
        }
        self.check_identity(row)?;
        self.check_parent(row)?;
        self.move_money(row);
        self.trial_balance.push(row);
        self.heads.insert(row.slot, (row.sequence, chained.hash));
        self.rows += 1;
        Ok(())
    }

    fn check_identity(&mut self, row: &Row) -> Result<(), Broken> {
        let next_leg = self.payments.get(&row.payment).map_or(0, |known| known.legs);
        if row.leg != next_leg || row.leg > LEG_MAX || (row.leg == 0) != row.reference.is_some() {
            return Err(Broken::Leg);
        }
        if let Some(reference) = &row.reference
            && !self.references.insert((row.caller, row.kind, reference.clone()))
        {
            return Err(Broken::Reference);
        }
        let code_again = row.code.is_some_and(|code| !self.codes.insert(code));
        let verification_again = row.verification.is_some_and(|id| !self.verifications.insert(id));
        if code_again || verification_again { Err(Broken::Code) } else { Ok(()) }
    }

    /// What a row may do to the payment that it continues, and what it adds to its own.
    fn check_parent(&mut self, row: &Row) -> Result<(), Broken> {
        let amount = i128::from(row.amount_minor);
        let share = (row.part, row.debit.wallet().or(row.credit.wallet()));
        if let Some(parent) = row.parent {
            let known = self.payments.entry(parent).or_default();
            if known.root.is_none() {
                self.doubts.push((Broken::Parent, Doubt::There(parent)));
            }
            match (row.kind, row.state) {
                (Kind::Closing, state) => {
                    if row.leg == 0 && std::mem::replace(&mut known.closed, true) {
                        return Err(Broken::Parent);
                    }
                    if !known.is_open() {
                        self.doubts.push((Broken::Parent, Doubt::Open(parent)));
                    }
                    let (is_charge, posted) = (closes_charge(row), state == RowState::Posted);
                    if !is_charge
                        && posted
                        && (known.root.is_none() || known.is_approved_by_proposer(row.actor))
                    {
                        self.doubts.push((Broken::SamePerson, Doubt::Approver(parent, row.actor)));
                    }
                    let open = known.open.entry(share).or_default();
                    *open -= amount;
                    if *open < 0 {
                        self.doubts.push((Broken::Closed, Doubt::Held(parent, share)));
                    }
                    if is_charge && posted {
                        *known.paid.entry(share).or_default() += amount;
                    }
                }
                (Kind::Refund | Kind::Reversal | Kind::Undo | Kind::UndoDecision, RowState::Posted)
                    if amount > 0 =>
                {
                    let paid = known.paid.entry(share).or_default();
                    *paid -= amount;
                    if *paid < 0 {
                        self.doubts.push((Broken::Returned, Doubt::Paid(parent, share)));
                    }
                }
                _ => {}
            }
        } else if matches!(
            row.kind,
            Kind::Closing | Kind::Refund | Kind::Reversal | Kind::Undo | Kind::UndoDecision
        ) {
            return Err(Broken::Parent);
        }
        let known = self.payments.entry(row.payment).or_default();
        known.root.get_or_insert((row.kind, row.state, row.actor));
        known.legs += 1;
        if row.state.is_open() {
            *known.open.entry(share).or_default() += amount;
        } else if row.kind == Kind::Charge && row.state == RowState::Posted {
            *known.paid.entry(share).or_default() += amount;
        }
        Ok(())
    }

    fn move_money(&mut self, row: &Row) {
        let amount = i128::from(row.amount_minor);
        if let LedgerAccount::Wallet(wallet) = row.debit {
            let money = self.wallets.entry((wallet, row.currency)).or_default();
            if row.kind == Kind::Charge && row.state.is_open() {
                money.held_minor += amount;
            } else if row.kind == Kind::Closing && closes_charge(row) {
                money.held_minor -= amount;
            }
            if row.state == RowState::Posted {
                money.balance_minor -= amount;
            }
            if money.is_overdrawn() {
                self.doubts.push((Broken::Overdrawn, Doubt::Wallet(wallet, row.currency)));
            }
        }
        if let (LedgerAccount::Wallet(wallet), RowState::Posted) = (row.credit, row.state) {
            self.wallets.entry((wallet, row.currency)).or_default().balance_minor += amount;
        }
    }

    /// Whether a doubt is one still, by all rows.
    fn remains(&self, doubt: Doubt) -> bool {
        let known = |payment| self.payments.get(&payment);
        let below_zero =
            |shares: &HashMap<Share, i128>, share| shares.get(&share).is_some_and(|minor| *minor < 0);
        match doubt {
            Doubt::Open(payment) => !known(payment).is_some_and(Known::is_open),
            Doubt::There(payment) => known(payment).is_none_or(|known| known.root.is_none()),
            Doubt::Approver(payment, actor) => {
                known(payment).is_none_or(|known| known.is_approved_by_proposer(actor))
            }
            Doubt::Held(payment, share) => known(payment).is_none_or(|known| below_zero(&known.open, share)),
            Doubt::Paid(payment, share) => known(payment).is_none_or(|known| below_zero(&known.paid, share)),
            Doubt::Wallet(wallet, currency) => {
                self.wallets.get(&(wallet, currency)).is_none_or(Money::is_overdrawn)
            }
        }
    }

    /// Balance and held part of a wallet by the rows so far, minor units.
    pub fn wallet(&self, wallet: WalletId, currency: Currency) -> (i128, i128) {
        let found = self.wallets.get(&(wallet, currency));
        found.map_or((0, 0), |money| (money.balance_minor, money.held_minor))
    }

    /// Last sequence and hash of a slot.
    pub fn head(&self, slot: u32) -> (u64, RowHash) {
        self.heads.get(&slot).copied().unwrap_or((0, CHAIN_START))
    }

    /// What the rows come to.
    pub fn report(self) -> AuditReport {
        AuditReport { rows: self.rows, trial_balance: self.trial_balance, heads: self.heads }
    }
}

/// Checks an export line by line, without keeping it in memory.
#[derive(Default)]
pub struct ExportVerifier {
    auditor: Auditor,
    line: u64,
    wallets: HashSet<(WalletId, Currency)>,
    heads: HashSet<u32>,
    /// Rows that break a rule unless rows of other slots come between. The order between slots is not in the file, so
    /// with several of them these rules are held against the end.
    suspects: Vec<Suspect>,
}

/// Suspects that are kept; a ledger with more of them is wrong, or no ledger of ours.
const SUSPECTS_MAX: usize = 1_000_000;

impl ExportVerifier {
    /// Takes the next line, without its line end.
    pub fn push_line(&mut self, text: &str) -> Result<(), AuditError> {
        // The first wrong row is named, and not what came of it.
        self.take_line(text).map_err(|error| self.first_wrong().unwrap_or(error))
    }

    fn first_wrong(&self) -> Option<AuditError> {
        let is_wrong =
            |suspect: &&Suspect| self.auditor.heads.len() < 2 || self.auditor.remains(suspect.doubt);
        let Suspect { line, slot, sequence, broken, .. } = *self.suspects.iter().find(is_wrong)?;
        Some(AuditError::Row { line, slot, sequence, broken })
    }

    fn take_line(&mut self, text: &str) -> Result<(), AuditError> {
        self.line += 1;
        let line = self.line;
        let parsed: Line = serde_json::from_str(text)
            .map_err(|error| AuditError::Line { line, reason: error.to_string() })?;
        let is_header = matches!(parsed, Line::Header { .. });
        if is_header != (line == 1) {
            let reason = format!("the first line, and no other, names the format `{FORMAT}`");
            return Err(AuditError::Line { line, reason });
        }
        match parsed {
            Line::Header { format, .. } if format != FORMAT => {
                Err(AuditError::Line { line, reason: format!("format `{format}` instead of `{FORMAT}`") })
            }
            Line::Header { .. } => Ok(()),
            Line::Row(exported) => self.push_row(*exported),
            Line::Wallet { wallet, currency, balance_minor, held_minor } => {
                self.wallets.insert((wallet, currency));
                let expected = self.auditor.wallet(wallet, currency);
                self.same(wallet, expected, (i128::from(balance_minor), i128::from(held_minor)))
            }
            Line::Head { slot, sequence, hash } => {
                self.heads.insert(slot);
                let (at, expected) = self.auditor.head(slot);
                self.same(format!("slot {slot}"), (at, HexHash(expected)), (sequence, hash))
            }
        }
    }

    /// Last sequence and hash of a slot so far, to hold anchors against.
    pub fn head(&self, slot: u32) -> (u64, RowHash) {
        self.auditor.head(slot)
    }

    fn push_row(&mut self, exported: ExportedRow) -> Result<(), AuditError> {
        let (slot, sequence) = (exported.slot, exported.sequence);
        let line = self.line;
        let taken = self.auditor.take(&ChainedRow::from(exported));
        taken.map_err(|broken| AuditError::Row { line, slot, sequence, broken })?;
        for (broken, doubt) in self.auditor.doubts.drain(..) {
            if self.suspects.len() == SUSPECTS_MAX {
                return Err(AuditError::Row { line, slot, sequence, broken });
            }
            self.suspects.push(Suspect { line, slot, sequence, broken, doubt });
        }
        Ok(())
    }

    fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        what: impl ToString,
        expected: T,
        found: T,
    ) -> Result<(), AuditError> {
        if expected == found {
            return Ok(());
        }
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        Err(AuditError::Balance { line: self.line, what: what.to_string(), found, expected })
    }

    /// After the last line: everything that the rows speak of must have had its line.
    pub fn finish(self) -> Result<AuditReport, AuditError> {
        if self.line == 0 {
            return Err(AuditError::Incomplete("there is no line".to_owned()));
        }
        if let Some(wrong) = self.first_wrong() {
            return Err(wrong);
        }
        if let Some(slot) = self.auditor.heads.keys().find(|slot| !self.heads.contains(slot)) {
            return Err(AuditError::Incomplete(format!("the head of slot {slot} is missing")));
        }
        let mut wallets: Vec<_> =
            self.auditor.wallets.keys().filter(|key| !self.wallets.contains(key)).collect();
        wallets.sort();
        if let Some((wallet, _)) = wallets.first() {
            return Err(AuditError::Incomplete(format!("wallet {wallet} is missing")));
        }
        Ok(self.auditor.report())
    }
}
