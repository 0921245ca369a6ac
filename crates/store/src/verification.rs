//! Verifications of payers at tills.

use selfsame_domain::account::IdentifierKind;
use selfsame_domain::challenge::Challenge;
use selfsame_domain::id::{AccountId, TerminalId, VerificationId};
use selfsame_domain::reference::Reference;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{AttackEvidence, State};

use crate::connection::Commit;
use crate::database::{DatabaseError, Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::terminal::Terminal;
use crate::{Store, row};

/// How an identifier is looked up: by a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Kind of the identifier.
    pub kind: IdentifierKind,
    /// HMAC of its canonical text under the server's pepper.
    pub mac: [u8; 32],
}

/// A verification to be opened.
#[derive(Clone, Debug)]
pub struct NewVerification {
    /// The verification.
    pub verification: VerificationId,
    /// The till's terminal.
    pub terminal: Terminal,
    /// The terminal's own reference.
    pub request_ref: Reference,
    /// What will be captured; with the grade `pin` what the payer was asked for instead.
    pub modality: Modality,
    /// How it will be captured.
    pub sensor_grade: SensorGrade,
    /// What the payer gave.
    pub lookup: Lookup,
    /// Why nothing may be captured; `None` if candidates were selected.
    pub refused: Option<&'static str>,
    /// Whose PIN was right: passed at once, with nothing to capture.
    pub known: Option<AccountId>,
    /// Nonce for the samples.
    pub nonce: [u8; 32],
    /// Usable samples that may be sent.
    pub attempts: u32,
    /// What to light the payer's face with.
    pub challenge: Option<Challenge>,
    /// Until when samples are awaited.
    pub expires_at: Timestamp,
}

/// A verification as stored.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The verification.
    pub verification: VerificationId,
    /// The till's terminal.
    pub terminal: TerminalId,
    /// What is captured.
    pub modality: Modality,
    /// How it is captured.
    pub sensor_grade: SensorGrade,
    /// What the payer gave.
    pub lookup: Lookup,
    /// Where it stands.
    pub state: State,
    /// Why it failed, for the operator only.
    pub reason: Option<String>,
    /// Nonce for the next samples.
    pub nonce: Option<Vec<u8>>,
    /// Usable samples that may still be sent.
    pub attempts_left: u32,
    /// What to light the payer's face with.
    pub challenge: Option<Challenge>,
    /// What attack detection saw in the last sample.
    pub attack: Option<AttackEvidence>,
    /// Who it was; when passed.
    pub account: Option<AccountId>,
    /// When the candidates were selected and the challenge was drawn.
    pub created_at: Timestamp,
    /// Until when this state lasts.
    pub expires_at: Timestamp,
    /// Stages so far.
    pub timings: Timings,
}

/// Why samples are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmissionRefusal {
    /// No such verification or enrolment of this terminal.
    NotFound,
    /// It does not wait for samples, or no longer.
    NotCapturing,
    /// Another nonce than the one that is due.
    NonceUsed,
}

const VERIFICATION: &str =
    "select id, terminal_id, modality, sensor_grade, identifier_kind, identifier_lookup, state,
         reason, nonce, attempts_left, account_id, expires_at, timings, challenge, attack, created_at
     from verifications";

fn read_verification(found: &Row<'_>) -> Result<Verification> {
    let timings: String = found.get(12)?;
    let (challenge, attack) = (row::optional_json(found, 13)?, row::optional_json(found, 14)?);
    Ok(Verification {
        verification: row::text(found, 0)?,
        terminal: row::text(found, 1)?,
        modality: row::text(found, 2)?,
        sensor_grade: row::text(found, 3)?,
        lookup: Lookup { kind: row::text(found, 4)?, mac: row::array(found, 5)? },
        state: row::text(found, 6)?,
        reason: found.get(7)?,
        nonce: found.get(8)?,
        attempts_left: row::integer(found, 9)?,
        account: row::optional_text(found, 10)?,
        expires_at: row::timestamp(found, 11)?,
        timings: serde_json::from_str(&timings).unwrap_or_default(),
        challenge,
        attack,
        created_at: row::timestamp(found, 15)?,
    })
}

fn find(tx: &Transaction<'_>, verification: VerificationId) -> Result<Option<Verification>> {
    let sql = format!("{VERIFICATION} where id = ?1");
    tx.prepare_cached(&sql)?.query_row(params![verification.to_string()], read_verification).optional()
}

fn insert(tx: &Transaction<'_>, new: &NewVerification, now: Timestamp) -> Result<()> {
    let (state, nonce) = match (new.refused, new.known) {
        (Some(_), _) => (State::Failed, None),
        (None, Some(_)) => (State::Passed, None),
        (None, None) => (State::Capturing, Some(new.nonce)),
    };
    tx.prepare_cached(
        "insert into verifications (id, terminal_id, store_id, merchant_id, request_ref, modality, sensor_grade,
             identifier_kind, identifier_lookup, state, reason, nonce, attempts_left, challenge, expires_at, timings,
             created_at, account_id, updated_by)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, '{}', ?16, ?17,
             'verification_create')",
    )?
    .execute(params![
        new.verification.to_string(),
        new.terminal.terminal.to_string(),
        new.terminal.store.to_string(),
        new.terminal.merchant.to_string(),
        new.request_ref.as_str(),
        new.modality.as_str(),
        new.sensor_grade.as_str(),
        new.lookup.kind.as_str(),
        new.lookup.mac,
        state.as_str(),
        new.refused,
        nonce,
        new.attempts,
        new.challenge.as_ref().map(row::json),
        new.expires_at.as_millis(),
        now.as_millis(),
        new.known.map(|account| account.to_string()),
    ])?;
    Ok(())
}

impl Store {
    /// Opens a verification, or answers the one that this terminal opened under the same reference. Ends whatever
    /// this terminal had open before: the next payer has come. A code that was already handed over stays good until
    /// it expires, but no further one is issued.
    ///
    /// Committed in order, and so are nonce and pass: if the machine is lost before the code's commit, the terminal's
    /// session reads as one that there never was, and the payer is verified again.
    pub async fn create_verification(
        &self,
        new: NewVerification,
        now: Timestamp,
    ) -> std::result::Result<Verification, StoreError> {
        self.writer
            .write_in_order("verification_create", move |tx| {
                let terminal = new.terminal.terminal.to_string();
                let sql = format!("{VERIFICATION} where terminal_id = ?1 and request_ref = ?2");
                let earlier = tx
                    .prepare_cached(&sql)?
                    .query_row(params![terminal, new.request_ref.as_str()], read_verification)
                    .optional()?;
                if let Some(earlier) = earlier {
                    return Ok(earlier);
                }
                tx.prepare_cached(
                    "update verifications
                     set state = 'ended', nonce = null, updated_by = 'verification_create'
                     where terminal_id = ?1 and state in ('capturing', 'passed')",
                )?
                .execute(params![terminal])?;
                insert(tx, &new, now)?;
                find(tx, new.verification)?.ok_or(DatabaseError::NoRow)
            })
            .await
    }

    /// The verification that a terminal opened under a reference, if it did.
    pub async fn verification_of_request(
        &self,
        terminal: TerminalId,
        request_ref: Reference,
    ) -> std::result::Result<Option<Verification>, StoreError> {
        self.readers
            .read("verification_read_request", move |tx| {
                let sql = format!("{VERIFICATION} where terminal_id = ?1 and request_ref = ?2");
                tx.prepare_cached(&sql)?
                    .query_row(params![terminal.to_string(), request_ref.as_str()], read_verification)
                    .optional()
            })
            .await
    }

    /// A verification.
    pub async fn verification(
        &self,
        verification: VerificationId,
    ) -> std::result::Result<Option<Verification>, StoreError> {
        self.readers.read("verification_read", move |tx| find(tx, verification)).await
    }

    /// Takes the nonce of a verification away for one submission.
    pub async fn take_verification_nonce(
        &self,
        verification: VerificationId,
        terminal: TerminalId,
        nonce: Vec<u8>,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Verification, SubmissionRefusal>, StoreError> {
        self.writer
            .write_in_order("verification_take_nonce", move |tx| {
                let Some(found) = find(tx, verification)?.filter(|found| found.terminal == terminal) else {
                    return Ok(Err(SubmissionRefusal::NotFound));
                };
                if found.state != State::Capturing || now >= found.expires_at {
                    return Ok(Err(SubmissionRefusal::NotCapturing));
                }
                if found.nonce.as_ref().is_none_or(|expected| *expected != nonce) {
                    return Ok(Err(SubmissionRefusal::NonceUsed));
                }
                tx.execute(
                    "update verifications set nonce = null, updated_by = 'verification_take_nonce' where id = ?1",
                    params![verification.to_string()],
                )?;
                Ok(Ok(found))
            })
            .await
    }

    /// Writes what a submission came to. Answers `false`, and writes nothing, if the verification was ended in the
    /// meantime. What speaks against the payer is on disk before it is told: no loss of power gives a try back.
    pub async fn conclude_verification(
        &self,
        concluded: Verification,
    ) -> std::result::Result<bool, StoreError> {
        let timings = serde_json::to_string(&concluded.timings).expect("timings always serialize");
        let commit = if concluded.reason.is_some() { Commit::Synced } else { Commit::InOrder };
        self.writer
            .write_as(commit, "verification_conclude", move |tx| {
                let changed = tx
                    .prepare_cached(
                        "update verifications
                         set state = ?2, reason = ?3, nonce = ?4, attempts_left = ?5, account_id = ?6, expires_at = ?7,
                             timings = ?8, attack = ?9, updated_by = 'verification_conclude'
                         where id = ?1 and state = 'capturing'",
                    )?
                    .execute(params![
                        concluded.verification.to_string(),
                        concluded.state.as_str(),
                        concluded.reason,
                        concluded.nonce,
                        concluded.attempts_left,
                        concluded.account.map(|id| id.to_string()),
                        concluded.expires_at.as_millis(),
                        timings,
                        concluded.attack.as_ref().map(row::json),
                    ])?;
                Ok(changed == 1)
            })
            .await
    }

    /// Whether a payment has come of a verification, whatever became of it.
    pub async fn verification_has_paid(
        &self,
        verification: VerificationId,
    ) -> std::result::Result<bool, StoreError> {
        self.readers
            .read("verification_read_paid", move |tx| {
                tx.prepare_cached("select exists (select 1 from payments where verification_id = ?1)")?
                    .query_row(params![verification.to_string()], |found| found.get(0))
            })
            .await
    }

    /// Ends a verification: no further codes, and the one that was issued is revoked. Answers `false` if this
    /// terminal has no such verification. Whether it has paid is settled by then.
    pub async fn end_verification(
        &self,
        verification: VerificationId,
        terminal: TerminalId,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("verification_end", move |tx| {
                let ids = params![verification.to_string(), terminal.to_string()];
                if tx.postgres().is_some() {
                    // A charge that is going on has locked the payer's wallets, and nothing else that is seen here.
                    tx.execute(
                        "select id
                         from wallets
                         where account_id = (select account_id from verifications where id = ?1 and terminal_id = ?2)
                         order by id
                         for update",
                        ids,
                    )?;
                }
                let changed = tx.execute(
                    "update verifications
                     set state = case when state in ('capturing', 'passed') then 'ended' else state end,
                         nonce = null, code_id = null, updated_by = 'verification_end'
                     where id = ?1 and terminal_id = ?2",
                    ids,
                )?;
                Ok(changed == 1)
            })
            .await
    }
}
