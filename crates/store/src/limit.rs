//! Limits and the other rules that decisions are made by.

use selfsame_domain::id::{AccountId, MerchantId};
use selfsame_domain::limit::{BusinessDay, Category, Hours, Limits};
use selfsame_domain::payment::Terms;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// Which layer of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Every payment of the site.
    Site,
    /// Payments after a verification of this grade.
    Grade(SensorGrade),
    /// Payments of one account.
    Account(AccountId),
    /// The same, set by a guardian.
    Guardian(AccountId),
}

impl Layer {
    pub(crate) fn key(self) -> (&'static str, String) {
        match self {
            Layer::Site => ("site", String::new()),
            Layer::Grade(grade) => ("grade", grade.to_string()),
            Layer::Account(account) => ("account", account.to_string()),
            Layer::Guardian(account) => ("guardian", account.to_string()),
        }
    }
}

/// What was agreed with a merchant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Its category.
    pub category: Option<Category>,
    /// How long payers may take a payment back without asking, in minutes; 0: never.
    pub undo_minutes: u32,
    /// Fee in ten-thousandths of goods.
    pub fee: u32,
}

/// Rules of the whole site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where the day begins.
    pub business_day: BusinessDay,
    /// Whether a gesture confirms as well as a PIN.
    pub gesture_confirms: bool,
}

/// First column that [`read_limits`] reads is the one at `first`.
pub(crate) fn read_limits(found: &Row<'_>, first: usize) -> Result<Limits> {
    let minutes: (Option<u16>, Option<u16>) = (found.get(first + 4)?, found.get(first + 5)?);
    let hours = match minutes {
        (Some(from), Some(to)) => Hours::new(from, to).ok(),
        _ => None,
    };
    let categories: String = found.get(first + 6)?;
    let categories_blocked = categories.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    Ok(Limits {
        payment_minor_max: found.get(first)?,
        day_minor_max: found.get(first + 1)?,
        day_count_max: found.get(first + 2)?,
        step_up_above_minor: found.get(first + 3)?,
        hours,
        categories_blocked,
    })
}

pub(crate) const LIMIT_COLUMNS: &str =
    "payment_minor_max, day_minor_max, day_count_max, step_up_above_minor, from_minute,
     to_minute, categories_blocked";

/// One layer. Asked twice for a payer, and not once with `layer in (...)`: for the list SQLite makes a table each time.
pub(crate) fn load_limits(tx: &Transaction<'_>, layer: Layer) -> Result<Limits> {
    let (layer, subject) = layer.key();
    let sql = format!("select {LIMIT_COLUMNS} from limits where layer = ?1 and subject = ?2");
    let found = tx
        .prepare_cached(&sql)?
        .query_row(params![layer, subject], |found| read_limits(found, 0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Two columns from `first` on: minutes and whether gestures confirm.
pub(crate) fn read_rules(found: &Row<'_>, first: usize) -> Result<Rules> {
    let business_day = BusinessDay { utc_offset_minutes: row::integer(found, first)? };
    Ok(Rules { business_day, gesture_confirms: found.get(first + 1)? })
}

pub(crate) fn load_rules(tx: &Transaction<'_>) -> Result<Rules> {
    let found = tx
        .prepare_cached("select utc_offset_minutes, gesture_confirms from rules where id = 1")?
        .query_row(params![], |found| read_rules(found, 0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Puts a layer of the site's limits, the first two columns, where it belongs.
pub(crate) fn read_site_limits(found: &Row<'_>, terms: &mut Terms) -> Result<()> {
    let limits = read_limits(found, 2)?;
    match found.get::<String>(0)?.as_str() {
        "site" => terms.site = limits,
        _ => {
            terms.by_grade.insert(row::text(found, 1)?, limits);
        }
    }
    Ok(())
}

/// Site-wide rules of a decision.
pub(crate) fn load_terms(tx: &Transaction<'_>) -> Result<Terms> {
    let rules = load_rules(tx)?;
    let mut terms = Terms {
        business_day: rules.business_day,
        gesture_confirms: rules.gesture_confirms,
        ..Terms::default()
    };
    let sql = format!("select layer, subject, {LIMIT_COLUMNS} from limits where layer in ('site', 'grade')");
    tx.prepare_cached(&sql)?.for_each(params![], |found| read_site_limits(found, &mut terms))?;
    Ok(terms)
}

impl Store {
    /// One layer of limits; nothing is limited where nothing was set.
    pub async fn limits(&self, layer: Layer) -> std::result::Result<Limits, StoreError> {
        self.readers.read("limits_read", move |tx| load_limits(tx, layer)).await
    }

    /// Replaces one layer of limits. Holds from the next batch on.
    pub async fn set_limits(
        &self,
        layer: Layer,
        limits: Limits,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        let (layer, subject) = layer.key();
        self.writer
            .write("limits_set", move |tx| {
                let categories: Vec<_> = limits.categories_blocked.iter().map(ToString::to_string).collect();
                tx.execute(
                    "insert into limits (layer, subject, payment_minor_max, day_minor_max, day_count_max,
                         step_up_above_minor, from_minute, to_minute, categories_blocked, updated_at, updated_by)
                     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'limits_set')
                     on conflict (layer, subject) do update
                     set payment_minor_max = excluded.payment_minor_max, day_minor_max = excluded.day_minor_max,
                         day_count_max = excluded.day_count_max, step_up_above_minor = excluded.step_up_above_minor,
                         from_minute = excluded.from_minute, to_minute = excluded.to_minute,
                         categories_blocked = excluded.categories_blocked, updated_at = excluded.updated_at,
                         updated_by = excluded.updated_by",
                    params![
                        layer,
                        subject,
                        limits.payment_minor_max,
                        limits.day_minor_max,
                        limits.day_count_max,
                        limits.step_up_above_minor,
                        limits.hours.map(Hours::from_minute),
                        limits.hours.map(Hours::to_minute),
                        categories.join(" "),
                        now.as_millis(),
                    ],
                )?;
                Ok(())
            })
            .await
    }

    /// Rules of the whole site.
    pub async fn rules(&self) -> std::result::Result<Rules, StoreError> {
        self.readers.read("rules_read", load_rules).await
    }

    /// Replaces the rules of the whole site.
    pub async fn set_rules(&self, rules: Rules) -> std::result::Result<(), StoreError> {
        self.writer
            .write("rules_set", move |tx| {
                tx.execute(
                    "insert into rules (id, utc_offset_minutes, gesture_confirms, updated_by)
                     values (1, ?1, ?2, 'rules_set')
                     on conflict (id) do update
                     set utc_offset_minutes = excluded.utc_offset_minutes,
                         gesture_confirms = excluded.gesture_confirms, updated_by = excluded.updated_by",
                    params![rules.business_day.utc_offset_minutes, rules.gesture_confirms],
                )?;
                Ok(())
            })
            .await
    }

    /// What was agreed with a merchant, or `None` if there is no such merchant.
    pub async fn agreement(
        &self,
        merchant: MerchantId,
    ) -> std::result::Result<Option<Agreement>, StoreError> {
        self.readers
            .read("agreement_read", move |tx| {
                let id = merchant.to_string();
                let sql = "select category, coalesce(undo_minutes, 0), coalesce(fee, 0)
                     from merchants
                     left join merchant_terms on merchant_terms.merchant_id = merchants.id
                     where merchants.id = ?1";
                tx.prepare_cached(sql)?
                    .query_row(params![id], |found| {
                        Ok(Agreement {
                            category: row::optional_text(found, 0)?,
                            undo_minutes: row::integer(found, 1)?,
                            fee: row::integer(found, 2)?,
                        })
                    })
                    .optional()
            })
            .await
    }

    /// Replaces what was agreed with a merchant. Answers `false` if there is no such merchant.
    pub async fn set_agreement(
        &self,
        merchant: MerchantId,
        agreement: Agreement,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("agreement_set", move |tx| {
                let changed = tx.execute(
                    "insert into merchant_terms (merchant_id, category, undo_minutes, fee, updated_by)
                     select merchants.id, ?2, cast(?3 as integer), cast(?4 as integer), 'agreement_set'
                     from merchants
                     where merchants.id = ?1
                     on conflict (merchant_id) do update
                     set category = excluded.category, undo_minutes = excluded.undo_minutes, fee = excluded.fee,
                         updated_by = excluded.updated_by",
                    params![
                        merchant.to_string(),
                        agreement.category.map(|category| category.to_string()),
                        agreement.undo_minutes,
                        agreement.fee,
                    ],
                )?;
                Ok(changed == 1)
            })
            .await
    }
}
