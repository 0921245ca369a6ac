//! Staff who are signed in at a page of the server. Kept in the file and not in memory, so that a restart of the server
//! in the middle of a queue signs nobody out.

use selfsame_domain::id::MerchantId;
use selfsame_domain::ledger::Caller;
use selfsame_domain::sign_in::{Page, SIGN_IN_LIFE, SIGN_INS_PER_KEY_MAX};
use selfsame_domain::time::Timestamp;

use crate::api_key::ApiKey;
use crate::database::{Optional, params};
use crate::error::StoreError;
use crate::{Store, row};

/// A sign-in whose key is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Where.
    pub page: Page,
    /// With which key.
    pub key: ApiKey,
    /// Since when.
    pub signed_in_at: Timestamp,
    /// Last used, to about a minute.
    pub used_at: Timestamp,
}

impl SignIn {
    /// When it ends unless it is used before.
    pub fn ends_at(&self) -> Timestamp {
        (self.used_at + self.page.idle_life()).min(self.signed_in_at + SIGN_IN_LIFE)
    }
}

impl Store {
    /// Signs somebody in. Of this key and page those that nobody used for longest end, if there are too many.
    pub async fn sign_in(&self, token_hash: [u8; 32], new: SignIn) -> Result<(), StoreError> {
        self.writer
            .write("sign_in", move |tx| {
                let (key, page) = (new.key.id.to_string(), new.page.as_str());
                // Nobody can come back to these: the longest life of all is over.
                let ended = new.signed_in_at.as_millis() - millis(SIGN_IN_LIFE);
                tx.execute("delete from sign_ins where signed_in_at < ?1", params![ended])?;
                tx.execute(
                    "insert into sign_ins (token_hash, key_id, page, signed_in_at, used_at, updated_by)
                     values (?1, ?2, ?3, ?4, ?4, 'sign_in')",
                    params![token_hash, key, page, new.signed_in_at.as_millis()],
                )?;
                tx.execute(
                    "delete from sign_ins
                     where token_hash in (
                         select token_hash
                         from sign_ins
                         where key_id = ?1 and page = ?2
                         order by used_at desc, signed_in_at desc
                         limit 100000 offset ?3
                     )",
                    params![key, page, SIGN_INS_PER_KEY_MAX],
                )?;
                Ok(())
            })
            .await
    }

    /// The sign-in with this SHA-256 of its token, if its key is in force. Whether it is over is for the caller to see.
    pub async fn signed_in(&self, token_hash: [u8; 32]) -> Result<Option<SignIn>, StoreError> {
        self.readers
            .read("sign_in_read", move |tx| {
                tx.prepare_cached(
                    "select api_keys.id, api_keys.merchant_id, page, signed_in_at, used_at
                     from sign_ins
                     join api_keys on api_keys.id = sign_ins.key_id
                     where token_hash = ?1 and revoked_at is null",
                )?
                .query_row(params![token_hash], |found| {
                    let merchant: Option<MerchantId> = row::optional_text(found, 1)?;
                    let role = merchant.map_or(Caller::Operator, Caller::Merchant);
                    Ok(SignIn {
                        key: ApiKey { id: row::text(found, 0)?, role },
                        page: row::text(found, 2)?,
                        signed_in_at: row::timestamp(found, 3)?,
                        used_at: row::timestamp(found, 4)?,
                    })
                })
                .optional()
            })
            .await
    }

    /// Notes that a sign-in is being used.
    pub async fn use_sign_in(&self, token_hash: [u8; 32], now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .write("sign_in_use", move |tx| {
                tx.execute(
                    "update sign_ins set used_at = ?2, updated_by = 'sign_in_use' where token_hash = ?1 and used_at < ?2",
                    params![token_hash, now.as_millis()],
                )?;
                Ok(())
            })
            .await
    }

    /// Ends a sign-in. Can be repeated.
    pub async fn sign_out(&self, token_hash: [u8; 32]) -> Result<(), StoreError> {
        self.writer
            .write("sign_out", move |tx| {
                tx.execute("delete from sign_ins where token_hash = ?1", params![token_hash])?;
                Ok(())
            })
            .await
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
