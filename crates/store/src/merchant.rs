//! Merchants with their stores.

use rusqlite::{OptionalExtension, params};
use selfsame_domain::id::{MerchantId, StoreId};
use selfsame_domain::money::Currency;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;

use crate::Store;
use crate::api_key::{self, ApiKey};
use crate::error::StoreError;

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

    /// What the operator owes a merchant: the sum of its payments.
    pub async fn merchant_balance(
        &self,
        merchant: MerchantId,
        currency: Currency,
    ) -> Result<i64, StoreError> {
        self.readers
            .read("merchant_balance_read", move |tx| {
                let sum: Option<i64> = tx
                    .prepare_cached(
                        "select sum(case when credit = ?1 then amount_minor else -amount_minor end)
                         from payments
                         where merchant_id = ?1 and currency = ?2 and state = 'posted' and ?1 in (credit, debit)",
                    )?
                    .query_row(params![merchant.to_string(), currency.code()], |found| found.get(0))
                    .optional()?
                    .flatten();
                Ok(sum.unwrap_or(0))
            })
            .await
    }
}
