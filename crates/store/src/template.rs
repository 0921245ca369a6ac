//! Templates: encrypted, and only ever selected together with a consent in force.

use std::collections::BTreeSet;

use selfsame_domain::account::IdentifierKind;
use selfsame_domain::id::{AccountId, TemplateId};
use selfsame_domain::sensor::Modality;

use crate::database::{Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::verification::Lookup;
use crate::{Store, row};

/// A template to be stored.
#[derive(Clone, Debug)]
pub struct NewTemplate {
    /// The template.
    pub template: TemplateId,
    /// Name of the algorithm that made it.
    pub algorithm: String,
    /// Version of that algorithm.
    pub version: u16,
    /// 0 to 100.
    pub quality: u8,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
}

/// A template as stored.
#[derive(Clone, Debug)]
pub struct StoredTemplate {
    /// The template.
    pub template: TemplateId,
    /// Whose it is.
    pub account: AccountId,
    /// Which finger or other instance.
    pub instance: u8,
    /// Name of the algorithm that made it.
    pub algorithm: String,
    /// Version of that algorithm.
    pub version: u16,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
}

/// The key of an account's templates, wrapped for the matcher.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    /// Whose templates it opens.
    pub account: AccountId,
    /// Nonce and ciphertext.
    pub wrapped: Vec<u8>,
}

/// What an identifier selects.
#[derive(Clone, Debug, Default)]
pub struct CandidateTemplates {
    /// Accounts that carry the identifier.
    pub accounts: usize,
    /// How many of them have a consent in force.
    pub accounts_with_consent: usize,
    /// How many of those look so much like somebody else that this identifier does not select them.
    pub pinned_accounts: usize,
    /// Templates of those.
    pub templates: Vec<StoredTemplate>,
    /// Their keys.
    pub keys: Vec<WrappedKey>,
}

pub(crate) fn insert(
    tx: &Transaction<'_>,
    enrolment: &crate::enrolment::Enrolment,
    template: &NewTemplate,
    now: selfsame_domain::time::Timestamp,
) -> Result<()> {
    tx.execute(
        "insert into templates (id, account_id, consent_id, enrolment_id, modality, instance, algorithm, version,
             quality, sealed, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            template.template.to_string(),
            enrolment.account.to_string(),
            enrolment.consent.to_string(),
            enrolment.enrolment.to_string(),
            enrolment.modality.as_str(),
            enrolment.instance,
            template.algorithm,
            template.version,
            template.quality,
            template.sealed,
            now.as_millis(),
        ],
    )?;
    Ok(())
}

fn read_template(found: &Row<'_>) -> Result<StoredTemplate> {
    Ok(StoredTemplate {
        template: row::text(found, 0)?,
        account: row::text(found, 1)?,
        instance: row::integer(found, 2)?,
        algorithm: found.get(3)?,
        version: row::integer(found, 4)?,
        sealed: found.get(5)?,
    })
}

fn accounts_of(tx: &Transaction<'_>, lookup: &Lookup, consent: bool) -> Result<usize> {
    let sql = if consent {
        "select count(distinct identifiers.account_id)
         from identifiers
         join consents on consents.account_id = identifiers.account_id
         where kind = ?1 and lookup = ?2 and consents.withdrawn_at is null"
    } else {
        "select count(distinct account_id) from identifiers where kind = ?1 and lookup = ?2"
    };
    tx.prepare_cached(sql)?
        .query_row(params![lookup.kind.as_str(), lookup.mac], |found| row::integer(found, 0))
}

/// Accounts that the short form of a phone number would select if nobody looked like them.
fn pinned_accounts(tx: &Transaction<'_>, lookup: &Lookup, modality: Modality) -> Result<usize> {
    if lookup.kind != IdentifierKind::PhoneLast4 {
        return Ok(0);
    }
    tx.prepare_cached(
        "select count(distinct identifiers.account_id)
         from identifiers
         join lookalikes on lookalikes.account_id = identifiers.account_id
         where kind = ?1 and lookup = ?2 and modality = ?3",
    )?
    .query_row(params![lookup.kind.as_str(), lookup.mac, modality.as_str()], |found| row::integer(found, 0))
}

impl Store {
    /// The templates of the accounts that an identifier selects, with a consent in force.
    pub async fn candidates(
        &self,
        lookup: Lookup,
        modality: Modality,
    ) -> std::result::Result<CandidateTemplates, StoreError> {
        let mut found = self
            .readers
            .read("candidates_read", move |tx| {
                let templates = tx
                    .prepare_cached(
                        "select templates.id, templates.account_id, templates.instance, templates.algorithm,
                             templates.version, templates.sealed
                         from identifiers
                         join templates on templates.account_id = identifiers.account_id
                         join consents on consents.id = templates.consent_id
                         join enrolments on enrolments.id = templates.enrolment_id
                         where identifiers.kind = ?1 and identifiers.lookup = ?2 and templates.modality = ?3
                             and consents.withdrawn_at is null and enrolments.state = 'active'
                             and (
                                 identifiers.kind <> 'phone_last4'
                                 or not exists (
                                     select 1
                                     from lookalikes
                                     where lookalikes.account_id = templates.account_id
                                         and lookalikes.modality = templates.modality
                                 )
                             )
                         order by templates.account_id, templates.id",
                    )?
                    .query_map(params![lookup.kind.as_str(), lookup.mac, modality.as_str()], read_template)?
                    .collect::<Result<Vec<_>>>()?;
                Ok(CandidateTemplates {
                    accounts: accounts_of(tx, &lookup, false)?,
                    accounts_with_consent: accounts_of(tx, &lookup, true)?,
                    pinned_accounts: pinned_accounts(tx, &lookup, modality)?,
                    templates,
                    keys: Vec::new(),
                })
            })
            .await?;
        found.keys = self.template_keys(&found.templates).await?;
        Ok(found)
    }

    /// One page of all templates of a modality with a consent in force, after `after`, for the search for duplicates.
    pub async fn template_page(
        &self,
        modality: Modality,
        after: Option<TemplateId>,
        limit: usize,
    ) -> std::result::Result<(Vec<StoredTemplate>, Vec<WrappedKey>), StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let templates = self
            .readers
            .read("template_page_read", move |tx| {
                tx.prepare_cached(
                    "select templates.id, templates.account_id, instance, algorithm, version, sealed
                     from templates
                     join consents on consents.id = templates.consent_id
                     where modality = ?1 and templates.id > ?2 and consents.withdrawn_at is null
                     order by templates.id
                     limit ?3",
                )?
                .query_map(params![modality.as_str(), after, limit], read_template)?
                .collect::<Result<Vec<_>>>()
            })
            .await?;
        let keys = self.template_keys(&templates).await?;
        Ok((templates, keys))
    }

    /// The template key of an account, wrapped for the matcher; `None` before the first enrolment.
    pub async fn template_key(
        &self,
        account: AccountId,
    ) -> std::result::Result<Option<WrappedKey>, StoreError> {
        let wrapped = self.subject_key(account, "template").await?;
        Ok(wrapped.map(|wrapped| WrappedKey { account, wrapped }))
    }

    async fn template_keys(
        &self,
        templates: &[StoredTemplate],
    ) -> std::result::Result<Vec<WrappedKey>, StoreError> {
        let accounts: BTreeSet<AccountId> = templates.iter().map(|template| template.account).collect();
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        self.keys
            .write("template_keys_read", move |tx| {
                let mut statement = tx.prepare_cached(
                    "select wrapped from subject_keys where account_id = ?1 and purpose = 'template'",
                )?;
                let mut keys = Vec::with_capacity(accounts.len());
                for account in accounts {
                    let wrapped =
                        statement.query_row(params![account.to_string()], |found| found.get(0)).optional()?;
                    keys.extend(wrapped.map(|wrapped| WrappedKey { account, wrapped }));
                }
                Ok(keys)
            })
            .await
    }

    /// Destroys the template key of an account that has no templates left, which erases every copy of them.
    pub(crate) async fn destroy_template_key_if_unused(
        &self,
        account: AccountId,
    ) -> std::result::Result<(), StoreError> {
        let used = self.readers.read("templates_exist", move |tx| {
            tx.query_row(
                "select exists (select 1 from templates where account_id = ?1)",
                params![account.to_string()],
                |found| found.get::<bool>(0),
            )
        });
        if used.await? {
            return Ok(());
        }
        self.keys
            .write("template_key_destroy", move |tx| {
                tx.execute(
                    "delete from subject_keys where account_id = ?1 and purpose = 'template'",
                    params![account.to_string()],
                )?;
                Ok(())
            })
            .await
    }
}
