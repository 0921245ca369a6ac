//! Enrolments.

use std::collections::BTreeSet;

use selfsame_domain::enrolment::EnrolmentState;
use selfsame_domain::id::{AccountId, ConsentId, EnrolmentId, TerminalId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;

use crate::database::{DatabaseError, Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::template::{self, NewTemplate};
use crate::verification::SubmissionRefusal;
use crate::{Store, row};

/// An enrolment to be opened.
#[derive(Clone, Debug)]
pub struct NewEnrolment {
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// Who is enrolled.
    pub account: AccountId,
    /// The consent that allows it.
    pub consent: ConsentId,
    /// The desk terminal that may send samples.
    pub terminal: TerminalId,
    /// What will be captured.
    pub modality: Modality,
    /// Which finger or other instance.
    pub instance: u8,
    /// Single-use nonce for the samples.
    pub nonce: [u8; 32],
    /// Until when samples are awaited.
    pub expires_at: Timestamp,
}

/// An enrolment as stored.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// Who is enrolled.
    pub account: AccountId,
    /// The consent that allows it.
    pub consent: ConsentId,
    /// The desk terminal that may send samples.
    pub terminal: TerminalId,
    /// What is captured.
    pub modality: Modality,
    /// Which finger or other instance.
    pub instance: u8,
    /// Where it stands.
    pub state: EnrolmentState,
    /// Until when samples are awaited.
    pub expires_at: Timestamp,
    /// Nonce for the samples; `None` while some are being looked at.
    pub nonce: Option<Vec<u8>>,
}

fn read_enrolment(found: &Row<'_>) -> Result<Enrolment> {
    Ok(Enrolment {
        enrolment: row::text(found, 0)?,
        account: row::text(found, 1)?,
        consent: row::text(found, 2)?,
        terminal: row::text(found, 3)?,
        modality: row::text(found, 4)?,
        instance: row::integer(found, 5)?,
        state: row::text(found, 6)?,
        expires_at: row::timestamp(found, 7)?,
        nonce: found.get(8)?,
    })
}

fn find(tx: &Transaction<'_>, enrolment: EnrolmentId) -> Result<Option<Enrolment>> {
    tx.query_row(
        "select id, account_id, consent_id, terminal_id, modality, instance, state, expires_at, nonce
         from enrolments
         where id = ?1",
        params![enrolment.to_string()],
        read_enrolment,
    )
    .optional()
}

/// Whether the consent of an enrolment is in force.
fn consent_in_force(tx: &Transaction<'_>, consent: ConsentId, account: AccountId) -> Result<bool> {
    tx.query_row(
        "select exists (
             select 1 from consents where id = ?1 and account_id = ?2 and withdrawn_at is null
         )",
        params![consent.to_string(), account.to_string()],
        |found| found.get(0),
    )
}

/// Notes that two people look much alike, in both directions.
fn pin(
    tx: &Transaction<'_>,
    one: AccountId,
    other: AccountId,
    modality: Modality,
    now: Timestamp,
) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "insert into lookalikes (account_id, modality, other_account_id, found_at)
         values (?1, ?2, ?3, ?4)
         on conflict (account_id, modality, other_account_id) do nothing",
    )?;
    for (account, other) in [(one, other), (other, one)] {
        statement.execute(params![
            account.to_string(),
            modality.as_str(),
            other.to_string(),
            now.as_millis()
        ])?;
    }
    Ok(())
}

/// Frees those who only looked like somebody whose templates of a modality are all gone.
pub(crate) fn unpin_without_templates(tx: &Transaction<'_>, account: AccountId) -> Result<()> {
    tx.execute(
        "delete from lookalikes
         where (account_id = ?1 or other_account_id = ?1)
             and not exists (
                 select 1
                 from templates
                 where templates.account_id = ?1 and templates.modality = lookalikes.modality
             )",
        params![account.to_string()],
    )?;
    Ok(())
}

impl Store {
    /// Opens an enrolment. Answers `false` if that consent of that account is not in force.
    pub async fn create_enrolment(
        &self,
        new: NewEnrolment,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("enrolment_create", move |tx| {
                if !consent_in_force(tx, new.consent, new.account)? {
                    return Ok(false);
                }
                tx.execute(
                    "insert into enrolments (id, account_id, consent_id, terminal_id, modality, instance, state, nonce,
                         expires_at, created_at, updated_by)
                     values (?1, ?2, ?3, ?4, ?5, ?6, 'capturing', ?7, ?8, ?9, 'enrolment_create')",
                    params![
                        new.enrolment.to_string(),
                        new.account.to_string(),
                        new.consent.to_string(),
                        new.terminal.to_string(),
                        new.modality.as_str(),
                        new.instance,
                        new.nonce,
                        new.expires_at.as_millis(),
                        now.as_millis(),
                    ],
                )?;
                Ok(true)
            })
            .await
    }

    /// Enrolments of an account, newest first, at most so many.
    pub async fn enrolments_of(
        &self,
        account: AccountId,
        limit: usize,
    ) -> std::result::Result<Vec<Enrolment>, StoreError> {
        self.readers
            .read("enrolments_read", move |tx| {
                tx.prepare_cached(
                    "select id, account_id, consent_id, terminal_id, modality, instance, state, expires_at, nonce
                     from enrolments
                     where account_id = ?1
                     order by id desc
                     limit ?2",
                )?
                .query_map(params![account.to_string(), limit], read_enrolment)?
                .collect()
            })
            .await
    }

    /// An enrolment.
    pub async fn enrolment(
        &self,
        enrolment: EnrolmentId,
    ) -> std::result::Result<Option<Enrolment>, StoreError> {
        self.readers.read("enrolment_read", move |tx| find(tx, enrolment)).await
    }

    /// Takes the nonce of an enrolment away for one submission.
    pub async fn take_enrolment_nonce(
        &self,
        enrolment: EnrolmentId,
        terminal: TerminalId,
        nonce: Vec<u8>,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Enrolment, SubmissionRefusal>, StoreError> {
        self.writer
            .write("enrolment_take_nonce", move |tx| {
                let Some(found) = find(tx, enrolment)?.filter(|found| found.terminal == terminal) else {
                    return Ok(Err(SubmissionRefusal::NotFound));
                };
                if found.state != EnrolmentState::Capturing || now >= found.expires_at {
                    return Ok(Err(SubmissionRefusal::NotCapturing));
                }
                if found.nonce.as_ref().is_none_or(|expected| *expected != nonce) {
                    return Ok(Err(SubmissionRefusal::NonceUsed));
                }
                tx.execute(
                    "update enrolments set nonce = null, updated_by = 'enrolment_take_nonce' where id = ?1",
                    params![enrolment.to_string()],
                )?;
                Ok(Ok(found))
            })
            .await
    }

    /// Gives an enrolment a new nonce after samples that could not be used.
    pub async fn renew_enrolment_nonce(
        &self,
        enrolment: EnrolmentId,
        nonce: [u8; 32],
    ) -> std::result::Result<(), StoreError> {
        self.writer
            .write("enrolment_renew_nonce", move |tx| {
                tx.execute(
                    "update enrolments
                     set nonce = ?2, updated_by = 'enrolment_renew_nonce'
                     where id = ?1 and state = 'capturing'",
                    params![enrolment.to_string(), nonce],
                )?;
                Ok(())
            })
            .await
    }

    /// Stores the templates of an enrolment and makes it active, or leaves it to staff's review if `lookalikes` names
    /// people who look much alike; these and the enrolled person are pinned to whole identifiers from now on. Earlier
    /// templates of the same finger or face are replaced. Answers `None`, and stores nothing, if the consent was
    /// withdrawn in the meantime.
    pub async fn complete_enrolment(
        &self,
        enrolment: Enrolment,
        templates: Vec<NewTemplate>,
        lookalikes: BTreeSet<AccountId>,
        wrapped_key: Vec<u8>,
        now: Timestamp,
    ) -> std::result::Result<Option<EnrolmentState>, StoreError> {
        // The key first: templates that nobody can open would be worse than a key without templates.
        let account = enrolment.account;
        self.put_subject_key(account, "template", wrapped_key, now).await?;
        let stored = self
            .writer
            .write("enrolment_complete", move |tx| {
                if !consent_in_force(tx, enrolment.consent, enrolment.account)? {
                    return Ok(None);
                }
                let state =
                    if lookalikes.is_empty() { EnrolmentState::Active } else { EnrolmentState::Review };
                tx.execute(
                    "delete from templates where account_id = ?1 and modality = ?2 and instance = ?3",
                    params![enrolment.account.to_string(), enrolment.modality.as_str(), enrolment.instance],
                )?;
                for template in &templates {
                    template::insert(tx, &enrolment, template, now)?;
                }
                for other in &lookalikes {
                    pin(tx, enrolment.account, *other, enrolment.modality, now)?;
                }
                let changed = tx.execute(
                    "update enrolments
                     set state = ?2, updated_by = 'enrolment_complete'
                     where id = ?1 and state = 'capturing'",
                    params![enrolment.enrolment.to_string(), state.as_str()],
                )?;
                if changed != 1 {
                    // Withdrawn and recorded anew in between: roll everything back.
                    return Err(DatabaseError::Guard(changed));
                }
                Ok(Some(state))
            })
            .await?;
        if stored.is_none() {
            self.destroy_template_key_if_unused(account).await?;
        }
        Ok(stored)
    }

    /// Takes the templates of an enrolment into use after staff have looked at it. Can be repeated. Answers `None` if
    /// there is no such enrolment, and its state otherwise.
    pub async fn approve_enrolment(
        &self,
        enrolment: EnrolmentId,
    ) -> std::result::Result<Option<Enrolment>, StoreError> {
        self.writer
            .write("enrolment_approve", move |tx| {
                tx.execute(
                    "update enrolments
                     set state = 'active', updated_by = 'enrolment_approve'
                     where id = ?1 and state = 'review'",
                    params![enrolment.to_string()],
                )?;
                find(tx, enrolment)
            })
            .await
    }
}
