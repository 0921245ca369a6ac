//! What the clients of a tortured server were told, and what must therefore be in its ledger. Knows nothing of how the
//! server works: it compares answers that real clients wrote down with an export that anybody can read.

use std::collections::{BTreeMap, BTreeSet};

use selfsame_domain::id::PaymentId;
use selfsame_domain::ledger::export::Line;
use selfsame_domain::ledger::{Kind, LedgerAccount, RowState};

/// What a client asked for under a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Charge the code of this number; `hold` keeps the money instead of moving it.
    Charge {
        /// Number of the code.
        code: usize,
        /// Minor units.
        minor: i64,
        /// Whether the money is held only.
        hold: bool,
    },
    /// Make sure that the order of this reference is not paid.
    Reverse,
    /// Pay money into a wallet.
    TopUp {
        /// Minor units.
        minor: i64,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is done, as this payment.
    Done(PaymentId),
    /// The order is reversed.
    Reversed,
    /// Nothing was done by this request, for the reason of this code.
    Refused(String),
    /// Nothing, or that the end is not known.
    Unknown,
}

/// One request with what came of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The client's own reference.
    pub reference: String,
    /// What it asked for.
    pub ask: Ask,
    /// What it was told.
    pub told: Told,
}

/// How an order stands, asked by its reference after the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was paid under it.
    Absent,
    /// It is not paid and never will be.
    Reversed,
    /// There is a payment.
    Payment {
        /// Which.
        payment: PaymentId,
        /// What the merchant keeps of it, minor units.
        net_minor: i64,
    },
}

/// What a comparison came to. The lists are empty when all is well.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Requests that were sent.
    pub requests: usize,
    /// Of these, told that it is done.
    pub acknowledged: usize,
    /// Of these, refused for certain.
    pub refused: usize,
    /// Of these, without a definite answer.
    pub unknown: usize,
    /// References without a definite answer that turned out to be done.
    pub unknown_done: usize,
    /// References without a definite answer under which nothing was done.
    pub unknown_absent: usize,
    /// Acknowledged, and not there.
    pub lost: Vec<String>,
    /// References or codes that were paid more than once.
    pub doubled: Vec<String>,
    /// Refused for certain, and done all the same.
    pub refused_but_done: Vec<String>,
    /// Wallets below what is held, or below zero.
    pub overdrawn: Vec<String>,
}

impl Findings {
    /// Adds those of another round.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.unknown_done += other.unknown_done;
        self.unknown_absent += other.unknown_absent;
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.refused_but_done.extend(other.refused_but_done);
        self.overdrawn.extend(other.overdrawn);
    }

    /// Everything that is wrong, one line each.
    pub fn wrong(&self) -> Vec<String> {
        let named = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("refused but done", &self.refused_but_done),
            ("overdrawn", &self.overdrawn),
        ];
        named.iter().flat_map(|(name, list)| list.iter().map(move |one| format!("{name}: {one}"))).collect()
    }
}

/// Payments by reference, each with its ids, and by code.
#[derive(Default)]
struct Paid {
    references: BTreeMap<String, BTreeSet<String>>,
    codes: BTreeMap<String, BTreeSet<String>>,
}

fn paid(ledger: &[Line]) -> Paid {
    let mut paid = Paid::default();
    for line in ledger {
        let Line::Row(row) = line else { continue };
        let counts = matches!(row.kind, Kind::Charge | Kind::TopUp) && row.amount_minor > 0 && row.leg == 0;
        if !counts {
            continue;
        }
        let payment = row.payment.to_string();
        if let Some(reference) = &row.reference {
            paid.references.entry(reference.to_string()).or_default().insert(payment.clone());
        }
        if let Some(code) = row.code {
            paid.codes.entry(code.to_string()).or_default().insert(payment);
        }
    }
    paid
}

/// Compares what was told with how the orders stand and with the ledger. `standings` has every reference of the
/// journal but those of top-ups, which only the ledger can be asked for.
pub fn reconcile(journal: &[Entry], standings: &BTreeMap<String, Standing>, ledger: &[Line]) -> Findings {
    let mut findings = Findings { requests: journal.len(), ..Findings::default() };
    let paid = paid(ledger);
    let mut by_reference: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in journal {
        match entry.told {
            Told::Done(_) | Told::Reversed => findings.acknowledged += 1,
            Told::Refused(_) => findings.refused += 1,
            Told::Unknown => findings.unknown += 1,
        }
        by_reference.entry(&entry.reference).or_default().push(entry);
    }
    for (reference, entries) in by_reference {
        let in_ledger = paid.references.get(reference).cloned().unwrap_or_default();
        judge(reference, &entries, standings.get(reference), &in_ledger, &mut findings);
    }
    let twice = |(name, payments): (&String, &BTreeSet<String>)| {
        (payments.len() > 1).then(|| format!("{name} by {payments:?}"))
    };
    findings.doubled.extend(paid.codes.iter().filter_map(twice));
    findings.doubled.extend(paid.references.iter().filter_map(twice));
    for line in ledger {
        if let Line::Wallet { wallet, balance_minor, held_minor, .. } = line
            && (*held_minor < 0 || held_minor > balance_minor)
        {
            findings.overdrawn.push(format!("{wallet}: {balance_minor}, held {held_minor}"));
        }
    }
    findings
}

fn judge(
    reference: &str,
    entries: &[&Entry],
    standing: Option<&Standing>,
    in_ledger: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let done = |entry: &&Entry| if let Told::Done(id) = entry.told { Some(id) } else { None };
    let told: BTreeSet<String> = entries.iter().filter_map(done).map(|id| id.to_string()).collect();
    if told.len() > 1 {
        findings.doubled.push(format!("{reference} was answered as {told:?}"));
    }
    let stands = match standing {
        Some(Standing::Payment { payment, .. }) => BTreeSet::from([payment.to_string()]),
        Some(Standing::Absent | Standing::Reversed) => BTreeSet::new(),
        None => in_ledger.clone(),
    };
    for id in &told {
        if !stands.contains(id) || !in_ledger.contains(id) {
            findings.lost.push(format!("{reference} was answered as {id}, but stands as {standing:?}"));
        }
    }
    let reversed = entries.iter().any(|entry| entry.told == Told::Reversed);
    let kept = matches!(standing, Some(Standing::Payment { net_minor, .. }) if *net_minor != 0);
    if reversed && (kept || standing == Some(&Standing::Absent)) {
        findings.lost.push(format!("{reference} was reversed, but stands as {standing:?}"));
    }
    let moving: Vec<_> = entries.iter().filter(|entry| entry.ask != Ask::Reverse).collect();
    let unknown = moving.iter().any(|entry| entry.told == Told::Unknown);
    if told.is_empty() && unknown {
        if stands.is_empty() {
            findings.unknown_absent += 1;
        } else {
            findings.unknown_done += 1;
        }
    }
    if told.is_empty() && !unknown && !(stands.is_empty() && in_ledger.is_empty()) {
        findings.refused_but_done.push(format!("{reference} stands as {standing:?}: {entries:?}"));
    }
}

/// What all merchants together have in the ledger, minor units.
pub fn merchants_minor(ledger: &[Line]) -> i64 {
    let rows = ledger.iter().filter_map(|line| if let Line::Row(row) = line { Some(row) } else { None });
    let moved = rows.filter(|row| row.state == RowState::Posted).map(|row| {
        let of_merchant = |side: &LedgerAccount| i64::from(matches!(side, LedgerAccount::Merchant(_)));
        (of_merchant(&row.credit) - of_merchant(&row.debit)) * row.amount_minor
    });
    moved.sum()
}

#[cfg(test)]
mod tests {
    use selfsame_domain::id::{MerchantId, PaymentCodeId, WalletId};
    use selfsame_domain::ledger::export::{ExportedRow, HexHash};
    use selfsame_domain::ledger::{Caller, ChainedRow, Row};

    use super::*;
    use crate::store::start;

    fn id(number: u8) -> PaymentId {
        PaymentId::new(start(), [number; 10])
    }

    fn row(number: u8, reference: &str, code: u8) -> Line {
        let merchant = MerchantId::new(start(), [1; 10]);
        let row = Row {
            slot: 0,
            sequence: u64::from(number),
            payment: id(number),
            leg: 0,
            kind: Kind::Charge,
            state: RowState::Posted,
            part: None,
            parent: None,
            debit: LedgerAccount::Wallet(WalletId::new(start(), [1; 10])),
            credit: LedgerAccount::Merchant(merchant),
            amount_minor: 10,
            currency: "EUR".parse().unwrap(),
            account: None,
            caller: Caller::Merchant(merchant),
            actor: None,
            reference: Some(reference.parse().unwrap()),
            code: Some(PaymentCodeId::new(start(), [code; 10])),
            verification: None,
            sensor_grade: None,
            merchant: Some(merchant),
            store: None,
            terminal: None,
            created_at: start(),
            expires_at: None,
        };
        Line::Row(Box::new(ExportedRow::from(&ChainedRow { row, hash: [0; 32] })))
    }

    fn entry(reference: &str, told: Told) -> Entry {
        Entry { reference: reference.to_owned(), ask: Ask::Charge { code: 0, minor: 10, hold: false }, told }
    }

    fn found(number: u8) -> Standing {
        Standing::Payment { payment: id(number), net_minor: 10 }
    }

    fn run(journal: &[Entry], standings: &[(&str, Standing)], ledger: &[Line]) -> Findings {
        let standings = standings.iter().map(|(reference, standing)| ((*reference).to_owned(), *standing));
        reconcile(journal, &standings.collect(), ledger)
    }

    #[test]
    fn what_was_answered_and_is_there_is_well() {
        let journal = [
            entry("o1", Told::Done(id(1))),
            entry("o1", Told::Done(id(1))),
            entry("o2", Told::Refused("unavailable".to_owned())),
            entry("o3", Told::Unknown),
            entry("o4", Told::Unknown),
        ];
        let standings =
            [("o1", found(1)), ("o2", Standing::Absent), ("o3", found(3)), ("o4", Standing::Absent)];
        let ledger = [row(1, "o1", 1), row(3, "o3", 3)];
        let findings = run(&journal, &standings, &ledger);
        assert_eq!(findings.wrong(), Vec::<String>::new());
        let counts = [findings.requests, findings.acknowledged, findings.refused, findings.unknown];
        assert_eq!(counts, [5, 2, 1, 2]);
        assert_eq!((findings.unknown_done, findings.unknown_absent), (1, 1));
        assert_eq!(merchants_minor(&ledger), 20);
    }

    #[test]
    fn what_was_answered_and_is_gone_is_lost() {
        let journal = [entry("o1", Told::Done(id(1)))];
        assert_eq!(run(&journal, &[("o1", Standing::Absent)], &[]).lost.len(), 1);
        assert_eq!(run(&journal, &[("o1", found(1))], &[]).lost.len(), 1, "only the answer knows it");
        assert_eq!(run(&journal, &[("o1", found(2))], &[row(2, "o1", 1)]).lost.len(), 1, "another one");
        let reversal = [Entry { ask: Ask::Reverse, ..entry("o1", Told::Reversed) }];
        assert_eq!(run(&reversal, &[("o1", found(1))], &[row(1, "o1", 1)]).lost.len(), 1);
        assert_eq!(run(&reversal, &[("o1", Standing::Absent)], &[]).lost.len(), 1);
        assert_eq!(run(&reversal, &[("o1", Standing::Reversed)], &[]).wrong().len(), 0);
    }

    #[test]
    fn an_order_or_a_code_that_pays_twice_is_doubled() {
        let twice = [entry("o1", Told::Done(id(1))), entry("o1", Told::Done(id(2)))];
        let ledger = [row(1, "o1", 1), row(2, "o1", 2)];
        assert_eq!(run(&twice, &[("o1", found(1))], &ledger).doubled.len(), 2);
        let ledger = [row(1, "o1", 1), row(2, "o2", 1)];
        assert_eq!(run(&[], &[], &ledger).doubled.len(), 1);
    }

    #[test]
    fn a_refusal_that_was_none_is_found() {
        let journal = [entry("o1", Told::Refused("unavailable".to_owned()))];
        assert_eq!(run(&journal, &[("o1", found(1))], &[row(1, "o1", 1)]).refused_but_done.len(), 1);
        let top_up = [Entry { ask: Ask::TopUp { minor: 10 }, ..journal[0].clone() }];
        assert_eq!(run(&top_up, &[], &[row(1, "o1", 1)]).refused_but_done.len(), 1);
    }

    #[test]
    fn an_overdrawn_wallet_is_found() {
        for (balance_minor, held_minor, wrong) in [(10, 10, 0), (-1, 0, 1), (10, 11, 1), (10, -1, 1)] {
            let wallet = WalletId::new(start(), [1; 10]);
            let currency = "EUR".parse().unwrap();
            let ledger = [
                Line::Wallet { wallet, currency, balance_minor, held_minor },
                Line::Head { slot: 0, sequence: 0, hash: HexHash([0; 32]) },
            ];
            assert_eq!(run(&[], &[], &ledger).overdrawn.len(), wrong);
        }
    }
}
