//! Nonces of signed requests: each is good once.

use rusqlite::params;
use selfsame_domain::id::KeyId;
use selfsame_domain::time::Timestamp;

use crate::Store;
use crate::error::StoreError;

impl Store {
    /// Remembers a nonce until `expires_at`. Answers `false` if it was seen before: a replay. Kept in the store, so
    /// that a restart forgets none.
    pub async fn remember_nonce(
        &self,
        key: KeyId,
        nonce: String,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .write("nonce_remember", move |tx| {
                tx.prepare_cached("delete from signature_nonces where expires_at <= ?1")?
                    .execute(params![now.as_millis()])?;
                let added = tx
                    .prepare_cached(
                        "insert into signature_nonces (key_id, nonce, expires_at)
                         values (?1, ?2, ?3)
                         on conflict (key_id, nonce) do nothing",
                    )?
                    .execute(params![key.to_string(), nonce, expires_at.as_millis()])?;
                Ok(added == 1)
            })
            .await
    }
}
