//! Merchants with their stores.

use selfsame_domain::id::{MerchantId, StoreId};
use selfsame_domain::money::Currency;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;

use crate::api_key::{self, ApiKey};
use crate::database::{Optional, Transaction, params};
use crate::error::StoreError;
use crate::slot::load_slots;
use crate::{Store, row};

/// A merchant with its first store and key.
#[derive(Clone, Debug)]
pub struct NewMerchant {
    /// The merchant.
    pub merchant: MerchantId,
    /// Its first store.
    pub store: StoreId,
    /// The operator's own reference.
    pub request_ref: Reference,
    /// Name of the merchant.
    pub name: String,
    /// Name of the store.
    pub store_name: String,
    /// Its key.
    pub key: ApiKey,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MerchantCreated {
    /// Made.
    Created,
    /// The reference was used before; the key was shown then and cannot be shown again.
    ReferenceUsed,
}

impl Store {
    /// Makes a merchant with its first store and key.
    pub async fn create_merchant(
        &self,
        new: NewMerchant,
        now: Timestamp,
    ) -> Result<MerchantCreated, StoreError> {
        self.writer
            .write("merchant_create", move |tx| {
                let added = tx.execute(
                    "insert into merchants (id, request_ref, name, created_at)
                     values (?1, ?2, ?3, ?4)
                     on conflict (request_ref) do nothing",
                    params![new.merchant.to_string(), new.request_ref.as_str(), new.name, now.as_millis()],
                )?;
                if added == 0 {
                    return Ok(MerchantCreated::ReferenceUsed);
                }
                tx.execute(
                    "insert into stores (id, merchant_id, name, created_at)
                     values (?1, ?2, ?3, ?4)",
                    params![new.store.to_string(), new.merchant.to_string(), new.store_name, now.as_millis()],
                )?;
                api_key::insert(tx, new.key, new.key_hash, now)?;
                Ok(MerchantCreated::Created)
            })
            .await
    }

    /// Name of a merchant.
    pub async fn merchant_name(&self, merchant: MerchantId) -> Result<Option<String>, StoreError> {
        self.readers
            .read("merchant_name_read", move |tx| {
                tx.prepare_cached("select name from merchants where id = ?1")?
                    .query_row(params![merchant.to_string()], |found| found.get(0))
                    .optional()
            })
            .await
    }

    /// What the operator owes a merchant: what was rolled up, and the rows behind it.
    pub async fn merchant_balance(
        &self,
        merchant: MerchantId,
        currency: Currency,
    ) -> Result<i64, StoreError> {
        self.readers
            .read("merchant_balance_read", move |tx| {
                let mut owed_minor = 0;
                for slot in load_slots(tx)? {
                    let (sequence, balance_minor) = rolled_up(tx, merchant, currency, slot.slot)?;
                    let (_, tail_minor) = tail(tx, merchant, currency, slot.slot, sequence)?;
                    owed_minor += balance_minor + tail_minor;
                }
                Ok(owed_minor)
            })
            .await
    }

    /// Moves every merchant's roll-up on to its present last row, so that balances stay quick to read. Run in the
    /// background: no payment waits for it or writes it.
    pub async fn roll_up_merchants(&self, currency: Currency) -> Result<u64, StoreError> {
        self.writer
            .write("merchants_roll_up", move |tx| {
                let mut statement = tx.prepare_cached("select id from merchants")?;
                let merchants = statement.query_map(params![], |found| row::text(found, 0))?;
                let merchants = merchants.collect::<crate::error::Result<Vec<MerchantId>>>()?;
                let slots = load_slots(tx)?;
                let pairs =
                    merchants.iter().flat_map(|merchant| slots.iter().map(|slot| (*merchant, slot.slot)));
                let mut moved = 0;
                for (merchant, slot) in pairs {
                    let (sequence, balance_minor) = rolled_up(tx, merchant, currency, slot)?;
                    let (last, tail_minor) = tail(tx, merchant, currency, slot, sequence)?;
                    let Some(last) = last else { continue };
                    tx.prepare_cached(
                        "insert into merchant_rollups (merchant_id, currency, slot, sequence, balance_minor)
                         values (?1, ?2, ?3, ?4, ?5)
                         on conflict (merchant_id, currency, slot) do update
                         set sequence = excluded.sequence, balance_minor = excluded.balance_minor",
                    )?
                    .execute(params![
                        merchant.to_string(),
                        currency.code(),
                        slot,
                        last,
                        balance_minor + tail_minor,
                    ])?;
                    moved += 1;
                }
                Ok(moved)
            })
            .await
    }
}

/// Sequence and balance of a roll-up; zeros before the first.
fn rolled_up(
    tx: &Transaction<'_>,
    merchant: MerchantId,
    currency: Currency,
    slot: u32,
) -> crate::error::Result<(i64, i64)> {
    let found = tx
        .prepare_cached(
            "select sequence, balance_minor
             from merchant_rollups
             where merchant_id = ?1 and currency = ?2 and slot = ?3",
        )?
        .query_row(params![merchant.to_string(), currency.code(), slot], |found| {
            Ok((found.get(0)?, found.get(1)?))
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Last sequence and sum of a merchant's rows behind a sequence.
fn tail(
    tx: &Transaction<'_>,
    merchant: MerchantId,
    currency: Currency,
    slot: u32,
    after: i64,
) -> crate::error::Result<(Option<i64>, i64)> {
    tx.prepare_cached(
        "select max(sequence), cast(coalesce(sum(
             case
                 when state <> 'posted' then 0
                 when credit = ?1 then amount_minor
                 when debit = ?1 then -amount_minor
                 else 0
             end
         ), 0) as integer)
         from payments
         where merchant_id = ?1 and slot = ?2 and sequence > ?3 and currency = ?4",
    )?
    .query_row(params![merchant.to_string(), slot, after, currency.code()], |found| {
        Ok((found.get(0)?, found.get(1)?))
    })
}
