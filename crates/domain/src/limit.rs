//! Limits: what a payer may spend, decided with the payment itself by what the payer's wallets say of the day.
//!
//! Several layers apply at once (site, sensor grade, account, guardian) and each may only narrow. The order of the
//! checks is the order of the variants of [`Exceeded`].

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PaymentId, WalletId};
use crate::ledger::{Kind, Row, RowState};
use crate::sensor::SensorGrade;
use crate::text::{UnknownValue, serde_as_text};
use crate::time::Timestamp;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// A business day: it begins at the same minute of UTC every day.
const DAY: Duration = Duration::from_secs(DAY_MINUTES as u64 * 60);

/// Most categories that one layer may block. A list that is longer should be a layer that allows less.
pub const CATEGORIES_BLOCKED_MAX: usize = 32;

/// A merchant's category, for example `food` or `alcohol`: 1 to 40 characters of lower-case letters, digits and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Category(String);

impl Category {
    /// Longest name, in bytes.
    const BYTES_MAX: usize = 40;
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Category {
    type Err = UnknownValue;
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(UnknownValue::new("category", text)) }
    }
}

serde_as_text!(Category);

/// Hours of the business day in which payments are taken, in minutes since its midnight. `from == to` is refused;
/// `from > to` runs over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedHours")]
pub struct Hours {
    from_minute: u16,
    to_minute: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedHours {
    from_minute: u16,
    to_minute: u16,
}

/// Minutes are 0 to 1439, and from and to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hours are two different minutes of a day, 0 to 1439")]
pub struct HoursError;

impl TryFrom<UncheckedHours> for Hours {
    type Error = HoursError;
    fn try_from(unchecked: UncheckedHours) -> Result<Self, HoursError> {
        Hours::new(unchecked.from_minute, unchecked.to_minute)
    }
}

impl Hours {
    /// From and including `from_minute`, up to and excluding `to_minute`.
    pub fn new(from_minute: u16, to_minute: u16) -> Result<Self, HoursError> {
        let fits = from_minute < DAY_MINUTES && to_minute < DAY_MINUTES && from_minute != to_minute;
        if fits { Ok(Self { from_minute, to_minute }) } else { Err(HoursError) }
    }

    /// First minute.
    pub fn from_minute(self) -> u16 {
        self.from_minute
    }

    /// First minute after.
    pub fn to_minute(self) -> u16 {
        self.to_minute
    }

    fn contain(self, minute: u16) -> bool {
        if self.from_minute < self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
}

/// One layer of limits. Absent means: this layer does not limit that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most of one payment, minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_minor_max: Option<i64>,
    /// Most of one business day, minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_minor_max: Option<i64>,
    /// Most payments of one business day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_count_max: Option<u32>,
    /// Above this the payer must confirm, minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_up_above_minor: Option<i64>,
    /// When payments are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Categories of merchants that are not paid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories_blocked: Vec<Category>,
}

impl Limits {
    /// What a new site allows after a verification of this grade, until the operator decides otherwise. Minor units of
    /// whatever currency: where a unit is worth much less than a euro's cent the operator raises them first.
    ///
    /// A verification by face or finger can be fooled, and how often is not known: attack detection was not tested on a
    /// certified set. So a loss is bounded by what a site can bear. The figures are classes of verification as the PBoC
    /// has them since 2018, with amounts of ours (docs/sources.md, "classes of verification").
    pub fn default_for(grade: SensorGrade) -> Limits {
        let (payment_minor_max, day_minor_max, day_count_max) = match grade {
            // Nobody was there, and the money is play money: enough for every magic amount, and a wrong test is cheap.
            SensorGrade::Simulated => (5_000, 20_000, 50),
            // No attack detection, but a copy needs the finger's print and a reader that staff can see: a lunch or two.
            SensorGrade::Finger => (2_000, 5_000, 10),
            // Passive attack detection misses good masks, and injected pictures altogether: the same.
            SensorGrade::Rgb => (2_000, 5_000, 10),
            // Replayed and injected pictures do not show colours that the server drew just now; masks do. Below what
            // contactless cards may be charged without a PIN (50 at once, 150 in a row).
            SensorGrade::RgbChallenge => (3_000, 7_500, 10),
            // Number and PIN can be watched and told; three tries bound guessing. As much as by finger or camera: whoever
            // cannot or does not want to be looked at is not to be worse off.
            SensorGrade::Pin => (2_000, 5_000, 10),
        };
        Limits {
            payment_minor_max: Some(payment_minor_max),
            day_minor_max: Some(day_minor_max),
            day_count_max: Some(day_count_max),
            ..Limits::default()
        }
    }
}

/// Where the site's day begins: a fixed distance to UTC, so that "today" is the same for every decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusinessDay {
    /// Minutes east of UTC, -720 to 840.
    pub utc_offset_minutes: i32,
}

impl BusinessDay {
    fn shifted_ms(self, at: Timestamp) -> i64 {
        at.as_millis() + i64::from(self.utc_offset_minutes) * 60_000
    }

    /// Number of the day since 1970-01-01.
    pub fn number(self, at: Timestamp) -> i64 {
        self.shifted_ms(at).div_euclid(86_400_000)
    }

    /// First moment of the day.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let into_day = self.shifted_ms(at).rem_euclid(86_400_000);
        at - Duration::from_millis(into_day.unsigned_abs())
    }

    /// Minute of the day, 0 to 1439.
    pub fn minute(self, at: Timestamp) -> u16 {
        let minute = self.shifted_ms(at).rem_euclid(86_400_000) / 60_000;
        u16::try_from(minute).unwrap_or(0)
    }
}

/// What was spent from one wallet on one business day, as the wallet keeps it beside its balance.
///
/// It never says anything that the wallet's rows do not say: it is written with them, and where it cannot tell (the
/// clock of another server is behind, the operator moved the beginning of the day) it says so, and the rows are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// First moment of the day. All rows from then on that count are counted, and all of them are of that day. Absent
    /// where that does not hold, or is not known: whoever wants to know reads the rows.
    pub since: Option<Timestamp>,
    /// Sum, minor units: posted and held, less what was released or reversed. Refunds do not give room back.
    pub minor: i64,
    /// Payments, counted in the wallet of their first leg. Below 0 where another wallet of the payer counted a payment
    /// that was given back to this one.
    pub count: i64,
}

impl Spending {
    /// Of a new wallet: it has no rows.
    pub fn nothing() -> Self {
        Self { since: Some(Timestamp::from_millis(0)), ..Self::default() }
    }

    /// What this says of the business day that begins then; absent where the rows have to be added up.
    pub fn on(self, day: Timestamp) -> Option<Self> {
        let since = self.since?;
        if since == day {
            Some(self)
        } else if since + DAY <= day {
            Some(Self { since: Some(day), ..Self::default() })
        } else {
            None
        }
    }

    /// Adds up a wallet's share in the rows of its account since the beginning of a business day, in whatever order:
    /// what undoes a payment may have been written by another server than the payment, to another slot.
    pub fn of(rows: &[Row], wallet: WalletId, day: Timestamp) -> Self {
        let spent: HashSet<PaymentId> =
            rows.iter().filter(|row| is_spent(row)).map(|row| row.payment).collect();
        let mut spending = Self { since: Some(day), ..Self::default() };
        for row in rows.iter().filter(|row| row.wallet() == Some(wallet)) {
            let counts = spending.add(row, |parent| spent.contains(&parent));
            if counts && row.created_at >= day + DAY {
                spending.since = None;
            }
        }
        spending
    }

    /// Counts one more row of the day; answers whether it is one that counts. What undoes something gives room if that was
    /// spent on the same day.
    pub fn add(&mut self, row: &Row, was_spent_today: impl Fn(PaymentId) -> bool) -> bool {
        let sign = match (row.kind, row.state) {
            _ if is_spent(row) => 1,
            (Kind::Closing, RowState::Voided | RowState::Expired) | (Kind::Reversal, RowState::Posted)
                if row.parent.is_some_and(&was_spent_today) =>
            {
                -1
            }
            _ => 0,
        };
        self.minor = self.minor.saturating_add(row.amount_minor.saturating_mul(sign));
        self.count = self.count.saturating_add(if row.leg == 0 { sign } else { 0 });
        sign != 0
    }
}

/// Whether a row spends: money that has moved, is held, or waits for the payer.
pub(crate) fn is_spent(row: &Row) -> bool {
    let states = [RowState::Posted, RowState::Pending, RowState::ActionRequired];
    row.kind == Kind::Charge && states.contains(&row.state)
}

/// Which limit a payment would exceed. The order of the variants is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exceeded {
    /// The merchant's category is blocked.
    Category,
    /// Outside the hours.
    Hours,
    /// Above the most of one payment.
    Payment,
    /// Above the most of the day.
    Day,
    /// More payments than the day allows.
    Count,
}

/// A payment that is checked against limits.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// How much, minor units.
    pub amount_minor: i64,
    /// Category of the merchant.
    pub category: Option<&'a Category>,
    /// What was spent today, minor units.
    pub spent_minor: i64,
    /// How many payments that was.
    pub spent_count: i64,
    /// Minute of the business day.
    pub minute: u16,
}

/// Checks all layers; answers whether the payer must confirm.
pub fn check(layers: &[&Limits], proposal: &Proposal<'_>) -> Result<bool, Exceeded> {
    let any = |exceeds: &dyn Fn(&Limits) -> bool| layers.iter().any(|limits| exceeds(limits));
    let amount_minor = proposal.amount_minor;
    let blocked = |limits: &Limits| {
        proposal.category.is_some_and(|category| limits.categories_blocked.contains(category))
    };
    let above = |most: Option<i64>, value: i64| most.is_some_and(|most| value > most);
    let day_minor = proposal.spent_minor.saturating_add(amount_minor);
    if any(&blocked) {
        return Err(Exceeded::Category);
    }
    if any(&|limits| limits.hours.is_some_and(|hours| !hours.contain(proposal.minute))) {
        return Err(Exceeded::Hours);
    }
    if any(&|limits| above(limits.payment_minor_max, amount_minor)) {
        return Err(Exceeded::Payment);
    }
    if any(&|limits| above(limits.day_minor_max, day_minor)) {
        return Err(Exceeded::Day);
    }
    if any(&|limits| limits.day_count_max.is_some_and(|most| proposal.spent_count >= most.into())) {
        return Err(Exceeded::Count);
    }
    Ok(any(&|limits| above(limits.step_up_above_minor, amount_minor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerAccount;
    use crate::ledger::tests::row;

    fn proposal(amount_minor: i64) -> Proposal<'static> {
        Proposal { amount_minor, category: None, spent_minor: 0, spent_count: 0, minute: 600 }
    }

    #[test]
    fn the_strictest_layer_counts_and_checks_come_in_their_order() {
        let category: Category = "alcohol".parse().unwrap();
        let mut strict = Limits {
            payment_minor_max: Some(10),
            day_minor_max: Some(20),
            day_count_max: Some(1),
            step_up_above_minor: Some(5),
            hours: Some(Hours::new(0, 60).unwrap()),
            categories_blocked: vec![category.clone()],
        };
        let site = Limits { payment_minor_max: Some(1_000), ..Limits::default() };
        let mut asked =
            Proposal { category: Some(&category), spent_minor: 15, spent_count: 1, ..proposal(11) };
        let named = |strict: &Limits, asked: &Proposal<'_>| check(&[&site, strict], asked);
        assert_eq!(named(&strict, &asked), Err(Exceeded::Category));
        strict.categories_blocked.clear();
        assert_eq!(named(&strict, &asked), Err(Exceeded::Hours));
        asked.minute = 59;
        assert_eq!(named(&strict, &asked), Err(Exceeded::Payment));
        asked.amount_minor = 10;
        assert_eq!(named(&strict, &asked), Err(Exceeded::Day));
        asked.amount_minor = 5;
        assert_eq!(named(&strict, &asked), Err(Exceeded::Count));
        asked.spent_count = 0;
        assert_eq!(named(&strict, &asked), Ok(false));
        strict.step_up_above_minor = Some(4);
        assert_eq!(named(&strict, &asked), Ok(true));
    }

    #[test]
    fn the_less_a_grade_proves_the_less_it_pays() {
        let of = |grade| {
            let limits = Limits::default_for(grade);
            (limits.payment_minor_max.unwrap(), limits.day_minor_max.unwrap(), limits.day_count_max.unwrap())
        };
        for grade in SensorGrade::ALL {
            let (payment, day, count) = of(*grade);
            assert!(0 < payment && payment < day && i64::from(count) * payment >= day, "{grade}");
        }
        assert!(of(SensorGrade::Rgb) < of(SensorGrade::RgbChallenge));
        assert!(of(SensorGrade::Finger) < of(SensorGrade::RgbChallenge));
    }

    #[test]
    fn hours_may_run_over_midnight() {
        let night = Hours::new(1_320, 360).unwrap();
        assert!([1_320, 1_439, 0, 359].into_iter().all(|minute| night.contain(minute)));
        assert!([360, 1_319].into_iter().all(|minute| !night.contain(minute)));
        assert_eq!(Hours::new(5, 5), Err(HoursError));
        assert_eq!(Hours::new(0, 1_440), Err(HoursError));
    }

    #[test]
    fn a_business_day_begins_at_its_own_midnight() {
        let day = BusinessDay { utc_offset_minutes: 60 };
        let before: Timestamp = "2026-11-24T22:59:59.999Z".parse().unwrap();
        let after: Timestamp = "2026-11-24T23:00:00.000Z".parse().unwrap();
        assert_eq!(day.number(before) + 1, day.number(after));
        assert_eq!(day.start(after), after);
        assert_eq!((day.minute(before), day.minute(after)), (1_439, 0));
    }

    fn wallet() -> WalletId {
        row(1, 1).wallet().unwrap()
    }

    fn told(rows: &[&Row], day: Timestamp) -> (i64, i64) {
        let rows: Vec<Row> = rows.iter().map(|row| (*row).clone()).collect();
        let spending = Spending::of(&rows, wallet(), day);
        (spending.minor, spending.count)
    }

    #[test]
    fn what_was_released_or_reversed_today_gives_room_back() {
        let day = Timestamp::from_millis(0);
        let charge = Row { kind: Kind::Charge, ..row(1, 100) };
        let held = Row { kind: Kind::Charge, state: RowState::Pending, ..row(2, 50) };
        let voided =
            Row { kind: Kind::Closing, state: RowState::Voided, parent: Some(held.payment), ..row(3, 50) };
        let reversal = Row { kind: Kind::Reversal, parent: Some(charge.payment), ..row(4, 100) };
        let refund = Row { kind: Kind::Refund, parent: Some(charge.payment), ..row(5, 100) };
        assert_eq!(told(&[&charge, &held, &refund], day), (150, 2));
        assert_eq!(told(&[&charge, &held, &voided, &reversal], day), (0, 0));
        // Undone by a server whose slot comes before that of the payment.
        assert_eq!(told(&[&voided, &reversal, &charge, &held], day), (0, 0));
        // What was paid on another day gives no room on this one.
        assert_eq!(told(&[&reversal, &held], day), (50, 1));
    }

    #[test]
    fn a_payment_counts_once_and_in_each_wallet_what_it_paid() {
        let other = WalletId::new(Timestamp::from_millis(0), [2; 10]);
        let first = Row { kind: Kind::Charge, ..row(1, 100) };
        let second =
            Row { leg: 1, debit: LedgerAccount::Wallet(other), credit: LedgerAccount::Cash, ..first.clone() };
        let rows = [first, second];
        let day = Timestamp::from_millis(0);
        let shares = [wallet(), other].map(|wallet| Spending::of(&rows, wallet, day));
        assert_eq!(shares.map(|share| (share.minor, share.count)), [(100, 1), (100, 0)]);
    }

    #[test]
    fn what_a_wallet_says_of_a_day_is_true_or_nothing() {
        let at = |hours: i64| Timestamp::from_millis((240 + hours) * 3_600_000);
        let paid = |sequence, hours| Row { kind: Kind::Charge, created_at: at(hours), ..row(sequence, 100) };
        let today = Spending::of(&[paid(1, 3)], wallet(), at(0));
        assert_eq!(today, Spending { since: Some(at(0)), minor: 100, count: 1 });
        assert_eq!(today.on(at(0)), Some(today));
        // A day later nothing has been spent yet.
        assert_eq!(today.on(at(24)), Some(Spending { since: Some(at(24)), minor: 0, count: 0 }));
        // The operator moved the beginning of the day, to before and after: what of it counts is not known here.
        assert_eq!((today.on(at(-2)), today.on(at(2))), (None, None));
        // A server whose clock is ahead has seen the next day: from then on only the rows can tell.
        let behind = Spending::of(&[paid(1, 23), paid(2, 24)], wallet(), at(0));
        assert_eq!(behind, Spending { since: None, minor: 200, count: 2 });
        assert_eq!((behind.on(at(0)), behind.on(at(24)), behind.on(at(240))), (None, None, None));
    }
}
