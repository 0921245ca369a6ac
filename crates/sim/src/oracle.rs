//! A plain model that foretells every answer: a handful of maps and one `if` after the other. It knows the rules as
//! the documents state them and shares no code with the decision.

use std::collections::HashMap;

use selfsame_domain::payment::{Answer, GUESSES_PER_HOUR};
use selfsame_domain::time::Timestamp;

use crate::episode::Ask;
use crate::store::{CODES, STEP_UP_ABOVE_MINOR, UNDO_MINUTES, WALLETS, code_end};

/// How an answer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done now.
    Done,
    /// It was done before.
    Replayed,
    /// The order is reversed now.
    Reversed,
    /// The order was unpaid before.
    ReversedBefore,
    /// Refused, by this name.
    Refused(&'static str),
}

impl Verdict {
    /// Of a real answer.
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Done { replayed: false, .. } => Verdict::Done,
            Answer::Done { replayed: true, .. } => Verdict::Replayed,
            Answer::Reversed { replayed: false, .. } => Verdict::Reversed,
            Answer::Reversed { replayed: true, .. } => Verdict::ReversedBefore,
            Answer::Refused(refusal) => Verdict::Refused(refusal.as_str()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Paid,
    Held,
    Waiting,
    Canceled,
    Expired,
    Reversed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UndoStand {
    Never,
    Back,
    Frozen(i64),
    Kept,
    Granted,
}

#[derive(Clone, Debug)]
struct Order {
    amount: i64,
    payer: usize,
    was_hold: bool,
    stand: Stand,
    paid: i64,
    returned: i64,
    at: Timestamp,
    until: Option<Timestamp>,
    undo: UndoStand,
}

/// Everything the model remembers. `None` under an order: a tombstone.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    wallets: [(i64, i64); WALLETS as usize],
    orders: HashMap<u8, Option<Order>>,
    codes_used: [bool; CODES as usize],
    refunds: HashMap<u8, (u8, i64)>,
    top_ups: HashMap<u8, (u8, i64)>,
    guesses: (i64, u32),
}

impl Oracle {
    /// Balance and held part of each wallet.
    pub fn wallets(&self) -> &[(i64, i64)] {
        &self.wallets
    }

    /// Foretells the answer, and remembers what follows from it.
    pub fn ask(&mut self, ask: &Ask, now: Timestamp) -> Verdict {
        match *ask {
            Ask::Charge { code, order, minor, hold } => self.charge(code, order, minor, hold, now),
            Ask::Reverse { order } => self.reverse(order, now),
            Ask::Refund { reference, order, minor } => self.refund(reference, order, minor),
            Ask::Capture { order, minor } => self.capture(order, minor, now),
            Ask::Void { order } => self.end(order, Stand::Held, Stand::Canceled),
            Ask::Cancel { order } => self.end(order, Stand::Waiting, Stand::Canceled),
            Ask::Confirm { order } => self.confirm(order, now),
            Ask::Expire { order } => self.expire(order, now),
            Ask::Undo { order, payer } => self.undo(order, payer, now),
            Ask::DecideUndo { order, granted } => self.decide_undo(order, granted),
            Ask::TopUp { reference, payer, minor } => self.top_up(reference, payer, minor),
        }
    }

    fn charge(&mut self, code: u8, order: u8, minor: i64, hold: bool, now: Timestamp) -> Verdict {
        match self.orders.get(&order) {
            Some(None) => return Verdict::Refused("order_reversed"),
            Some(Some(known)) => {
                return match known.stand {
                    _ if known.amount != minor || known.was_hold != hold => {
                        Verdict::Refused("reference_conflict")
                    }
                    Stand::Reversed => Verdict::Refused("order_reversed"),
                    Stand::Canceled | Stand::Expired => Verdict::Refused("order_closed"),
                    Stand::Paid | Stand::Held | Stand::Waiting => Verdict::Replayed,
                };
            }
            None => {}
        }
        let hour = now.as_millis() / 3_600_000;
        if self.guesses.0 != hour {
            self.guesses = (hour, 0);
        }
        if self.guesses.1 >= GUESSES_PER_HOUR {
            return Verdict::Refused("too_many_guesses");
        }
        if code >= CODES {
            self.guesses.1 += 1;
            return Verdict::Refused("code_not_found");
        }
        if self.codes_used[usize::from(code)] {
            return Verdict::Refused("code_already_used");
        }
        if now >= code_end(code) {
            return Verdict::Refused("code_expired");
        }
        let payer = usize::from(code % WALLETS);
        let (balance, held) = self.wallets[payer];
        if minor > balance - held {
            return Verdict::Refused("insufficient_funds");
        }
        let waits = minor > STEP_UP_ABOVE_MINOR;
        if waits && hold {
            return Verdict::Refused("confirmation_unavailable");
        }
        self.codes_used[usize::from(code)] = true;
        let (stand, until) = match (waits, hold) {
            (true, _) => (Stand::Waiting, Some(now + std::time::Duration::from_secs(120))),
            (false, true) => (Stand::Held, Some(now + std::time::Duration::from_secs(3_600))),
            (false, false) => (Stand::Paid, None),
        };
        let paid = if stand == Stand::Paid { minor } else { 0 };
        if stand == Stand::Paid {
            self.wallets[payer].0 -= minor
        } else {
            self.wallets[payer].1 += minor
        }
        let undo = UndoStand::Never;
        let order_now =
            Order { amount: minor, payer, was_hold: hold, stand, paid, returned: 0, at: now, until, undo };
        self.orders.insert(order, Some(order_now));
        Verdict::Done
    }

    /// The order, if there is one that was paid or may be.
    fn known(&mut self, order: u8) -> Option<&mut Order> {
        self.orders.get_mut(&order).and_then(Option::as_mut)
    }

    fn reverse(&mut self, order: u8, now: Timestamp) -> Verdict {
        let Some(found) = self.orders.get_mut(&order) else {
            self.orders.insert(order, None);
            return Verdict::Reversed;
        };
        let Some(known) = found else { return Verdict::ReversedBefore };
        match known.stand {
            Stand::Reversed | Stand::Canceled | Stand::Expired => Verdict::ReversedBefore,
            Stand::Held | Stand::Waiting => {
                known.stand = Stand::Canceled;
                self.wallets[known.payer].1 -= known.amount;
                Verdict::Reversed
            }
            Stand::Paid if known.at.as_millis() / 86_400_000 != now.as_millis() / 86_400_000 => {
                Verdict::Refused("reversal_too_late")
            }
            Stand::Paid => {
                known.stand = Stand::Reversed;
                self.wallets[known.payer].0 += known.paid - known.returned;
                known.returned = known.paid;
                Verdict::Reversed
            }
        }
    }

    fn refund(&mut self, reference: u8, order: u8, minor: i64) -> Verdict {
        if let Some(known) = self.refunds.get(&reference) {
            let same = *known == (order, minor);
            return if same { Verdict::Replayed } else { Verdict::Refused("reference_conflict") };
        }
        match self.orders.get_mut(&order) {
            None => Verdict::Refused("payment_not_found"),
            Some(None) => Verdict::Refused("order_reversed"),
            Some(Some(known)) => match known.stand {
                Stand::Reversed => Verdict::Refused("order_reversed"),
                Stand::Paid if minor > known.paid - known.returned => Verdict::Refused("refund_above_paid"),
                Stand::Paid => {
                    known.returned += minor;
                    self.wallets[known.payer].0 += minor;
                    self.refunds.insert(reference, (order, minor));
                    Verdict::Done
                }
                _ => Verdict::Refused("invalid_state"),
            },
        }
    }

    fn capture(&mut self, order: u8, minor: Option<i64>, now: Timestamp) -> Verdict {
        let Some(known) = self.known(order) else { return Verdict::Refused(self.no_such(order)) };
        match known.stand {
            Stand::Held if known.until.is_some_and(|until| until <= now) => {
                Verdict::Refused("payment_expired")
            }
            Stand::Held if minor.is_some_and(|minor| minor > known.amount) => {
                Verdict::Refused("capture_above_hold")
            }
            Stand::Held => {
                known.stand = Stand::Paid;
                known.paid = minor.unwrap_or(known.amount);
                let (payer, paid, amount) = (known.payer, known.paid, known.amount);
                self.wallets[payer].0 -= paid;
                self.wallets[payer].1 -= amount;
                Verdict::Done
            }
            Stand::Paid if known.was_hold && known.paid == minor.unwrap_or(known.amount) => Verdict::Replayed,
            Stand::Reversed => Verdict::Refused("invalid_state"),
            _ => Verdict::Refused("invalid_state"),
        }
    }

    /// A tombstone is found as an order, but nothing can be done with it.
    fn no_such(&self, order: u8) -> &'static str {
        if self.orders.contains_key(&order) { "order_reversed" } else { "payment_not_found" }
    }

    fn end(&mut self, order: u8, from: Stand, to: Stand) -> Verdict {
        let hold_wanted = from == Stand::Held;
        let Some(known) = self.known(order) else { return Verdict::Refused(self.no_such(order)) };
        if known.stand == from {
            known.stand = to;
            let (payer, amount) = (known.payer, known.amount);
            self.wallets[payer].1 -= amount;
            return Verdict::Done;
        }
        let again = known.stand == to && known.was_hold == hold_wanted;
        if again { Verdict::Replayed } else { Verdict::Refused("invalid_state") }
    }

    fn confirm(&mut self, order: u8, now: Timestamp) -> Verdict {
        // A tombstone has no terminal, so no terminal finds it.
        let Some(known) = self.known(order) else { return Verdict::Refused("payment_not_found") };
        let waited = !known.was_hold && known.amount > STEP_UP_ABOVE_MINOR;
        match known.stand {
            Stand::Waiting if known.until.is_some_and(|until| until <= now) => {
                Verdict::Refused("payment_expired")
            }
            Stand::Waiting => {
                known.stand = Stand::Paid;
                known.paid = known.amount;
                let (payer, amount) = (known.payer, known.amount);
                self.wallets[payer].0 -= amount;
                self.wallets[payer].1 -= amount;
                Verdict::Done
            }
            Stand::Paid if waited => Verdict::Replayed,
            _ => Verdict::Refused("invalid_state"),
        }
    }

    fn expire(&mut self, order: u8, now: Timestamp) -> Verdict {
        let Some(known) = self.known(order) else { return Verdict::Refused(self.no_such(order)) };
        match known.stand {
            Stand::Held | Stand::Waiting if known.until.is_some_and(|until| until <= now) => {
                known.stand = Stand::Expired;
                let (payer, amount) = (known.payer, known.amount);
                self.wallets[payer].1 -= amount;
                Verdict::Done
            }
            Stand::Expired => Verdict::Replayed,
            _ => Verdict::Refused("invalid_state"),
        }
    }

    fn undo(&mut self, order: u8, payer: u8, now: Timestamp) -> Verdict {
        let Some(known) = self.known(order) else { return Verdict::Refused("payment_not_found") };
        if known.payer != usize::from(payer) {
            return Verdict::Refused("payment_not_found");
        }
        if known.undo != UndoStand::Never {
            return Verdict::Replayed;
        }
        let left = known.paid - known.returned;
        if known.stand != Stand::Paid || left == 0 {
            return Verdict::Refused("invalid_state");
        }
        let until = known.at + std::time::Duration::from_secs(60 * u64::from(UNDO_MINUTES));
        if now <= until {
            known.undo = UndoStand::Back;
            known.returned = known.paid;
            self.wallets[usize::from(payer)].0 += left;
        } else {
            known.undo = UndoStand::Frozen(left);
        }
        Verdict::Done
    }

    fn decide_undo(&mut self, order: u8, granted: bool) -> Verdict {
        let Some(known) = self.known(order) else { return Verdict::Refused(self.no_such(order)) };
        match known.undo {
            UndoStand::Granted | UndoStand::Kept => {
                let same = (known.undo == UndoStand::Granted) == granted;
                if same { Verdict::Replayed } else { Verdict::Refused("invalid_state") }
            }
            UndoStand::Frozen(frozen) if known.stand == Stand::Paid => {
                let back = if granted { frozen.min(known.paid - known.returned) } else { 0 };
                known.returned += back;
                known.undo = if granted { UndoStand::Granted } else { UndoStand::Kept };
                let payer = known.payer;
                self.wallets[payer].0 += back;
                Verdict::Done
            }
            _ => Verdict::Refused("invalid_state"),
        }
    }

    fn top_up(&mut self, reference: u8, payer: u8, minor: i64) -> Verdict {
        if let Some(known) = self.top_ups.get(&reference) {
            let same = *known == (payer, minor);
            return if same { Verdict::Replayed } else { Verdict::Refused("reference_conflict") };
        }
        self.top_ups.insert(reference, (payer, minor));
        self.wallets[usize::from(payer)].0 += minor;
        Verdict::Done
    }
}
