//! Consents. Withdrawing one destroys what it allowed.

use selfsame_domain::id::{AccountId, ConsentId, KeyId};
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Row, params};
use crate::enrolment::unpin_without_templates;
use crate::error::StoreError;
use crate::{Store, row};

/// A consent to be recorded.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// The consent.
    pub consent: ConsentId,
    /// Who agreed.
    pub account: AccountId,
    /// Version of the text that was shown.
    pub text_version: String,
    /// Language in which it was shown.
    pub language: String,
    /// SHA-256 of the text.
    pub text_hash: [u8; 32],
    /// The key of the staff that recorded it.
    pub given_to: KeyId,
}

/// A recorded consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The consent.
    pub consent: ConsentId,
    /// Who agreed.
    pub account: AccountId,
    /// Version of the text that was shown.
    pub text_version: String,
    /// Language in which it was shown.
    pub language: String,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it was withdrawn.
    pub withdrawn_at: Option<Timestamp>,
}

const CONSENT: &str = "select id, account_id, text_version, language, given_at, withdrawn_at
     from consents
     where id = ?1";

fn read_consent(found: &Row<'_>) -> crate::error::Result<Consent> {
    Ok(Consent {
        consent: row::text(found, 0)?,
        account: row::text(found, 1)?,
        text_version: found.get(2)?,
        language: found.get(3)?,
        given_at: row::timestamp(found, 4)?,
        withdrawn_at: row::optional_timestamp(found, 5)?,
    })
}

impl Store {
    /// Records a consent. Answers `false` if there is no such account.
    pub async fn create_consent(&self, new: NewConsent, now: Timestamp) -> Result<bool, StoreError> {
        self.writer
            .write("consent_create", move |tx| {
                let added = tx.execute(
                    "insert into consents (id, account_id, text_version, language, text_hash, given_to, given_at)
                     select ?1, id, ?3, ?4, cast(?5 as blob), ?6, cast(?7 as integer)
                     from accounts
                     where id = ?2",
                    params![
                        new.consent.to_string(),
                        new.account.to_string(),
                        new.text_version,
                        new.language,
                        new.text_hash,
                        new.given_to.to_string(),
                        now.as_millis(),
                    ],
                )?;
                Ok(added == 1)
            })
            .await
    }

    /// A consent.
    pub async fn consent(&self, consent: ConsentId) -> Result<Option<Consent>, StoreError> {
        self.readers
            .read("consent_read", move |tx| {
                tx.query_row(CONSENT, params![consent.to_string()], read_consent).optional()
            })
            .await
    }

    /// Consents of an account, newest first, at most so many.
    pub async fn consents_of(&self, account: AccountId, limit: usize) -> Result<Vec<Consent>, StoreError> {
        self.readers
            .read("consents_read", move |tx| {
                tx.prepare_cached(
                    "select id, account_id, text_version, language, given_at, withdrawn_at
                     from consents
                     where account_id = ?1
                     order by given_at desc, id desc
                     limit ?2",
                )?
                .query_map(params![account.to_string(), limit], read_consent)?
                .collect()
            })
            .await
    }

    /// Withdraws a consent: its templates are deleted, running enrolments end, and when no template of the account
    /// is left its template key is destroyed. Can be repeated. Answers `None` if there is no such consent.
    pub async fn withdraw_consent(
        &self,
        consent: ConsentId,
        now: Timestamp,
    ) -> Result<Option<Consent>, StoreError> {
        let withdrawn = self
            .writer
            .write("consent_withdraw", move |tx| {
                let id = consent.to_string();
                tx.execute(
                    "update consents set withdrawn_at = ?2 where id = ?1 and withdrawn_at is null",
                    params![id, now.as_millis()],
                )?;
                tx.execute("delete from templates where consent_id = ?1", params![id])?;
                tx.execute(
                    "update enrolments
                     set state = 'revoked', nonce = null, updated_by = 'consent_withdraw'
                     where consent_id = ?1",
                    params![id],
                )?;
                let withdrawn = tx.query_row(CONSENT, params![id], read_consent).optional()?;
                if let Some(consent) = &withdrawn {
                    unpin_without_templates(tx, consent.account)?;
                }
                Ok(withdrawn)
            })
            .await?;
        if let Some(consent) = &withdrawn {
            self.destroy_template_key_if_unused(consent.account).await?;
        }
        Ok(withdrawn)
    }
}
