//! API keys of operator and merchants. Only hashes are kept.

use selfsame_domain::id::{KeyId, MerchantId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// Whom a key acts for: the same as whose references its requests carry.
pub type Role = Caller;

/// A key that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Names the key.
    pub id: KeyId,
    /// Whom it acts for.
    pub role: Role,
}

pub(crate) fn insert(tx: &Transaction<'_>, key: ApiKey, hash: [u8; 32], now: Timestamp) -> Result<()> {
    let (role, merchant) = match key.role {
        Role::Operator => ("operator", None),
        Role::Merchant(merchant) => ("merchant", Some(merchant.to_string())),
    };
    tx.execute(
        "insert into api_keys (id, role, merchant_id, key_hash, created_at)
         values (?1, ?2, ?3, ?4, ?5)",
        params![key.id.to_string(), role, merchant, hash, now.as_millis()],
    )?;
    Ok(())
}

impl Store {
    /// Adds a key by its SHA-256.
    pub async fn create_api_key(
        &self,
        key: ApiKey,
        hash: [u8; 32],
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        self.writer.write("api_key_create", move |tx| insert(tx, key, hash, now)).await
    }

    /// The key with this SHA-256, if it is in force; or was within the last second, if another process revoked it.
    pub async fn api_key(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> std::result::Result<Option<ApiKey>, StoreError> {
        let begun = match self.known_keys.get(&hash, now) {
            Ok(key) => return Ok(Some(key)),
            Err(begun) => begun,
        };
        let key = self
            .readers
            .read("api_key_read", move |tx| {
                tx.prepare_cached(
                    "select id, merchant_id
                     from api_keys
                     where key_hash = ?1 and revoked_at is null",
                )?
                .query_row(params![hash], |found| {
                    let merchant: Option<MerchantId> = row::optional_text(found, 1)?;
                    Ok(ApiKey {
                        id: row::text(found, 0)?,
                        role: merchant.map_or(Role::Operator, Role::Merchant),
                    })
                })
                .optional()
            })
            .await?;
        if let Some(key) = key {
            self.known_keys.keep(hash, key, begun);
        }
        Ok(key)
    }

    /// Revokes a key. Answers `false` if there is none in force.
    pub async fn revoke_api_key(&self, key: KeyId, now: Timestamp) -> std::result::Result<bool, StoreError> {
        let revoked = self
            .writer
            .write("api_key_revoke", move |tx| {
                let changed = tx.execute(
                    "update api_keys set revoked_at = ?2 where id = ?1 and revoked_at is null",
                    params![key.to_string(), now.as_millis()],
                )?;
                Ok(changed == 1)
            })
            .await;
        // Whatever came of it: an error may mean that it is revoked.
        self.known_keys.forget();
        revoked
    }
}
