//! General payment codes: issued here, used up by the payment.

use selfsame_domain::id::{AccountId, PaymentCodeId, VerificationId};
use selfsame_domain::money::Currency;
use selfsame_domain::payment::CodeMac;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;
use selfsame_domain::verification::State;

use crate::database::{Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::terminal::Terminal;
use crate::{Store, row};

/// A code to be issued.
#[derive(Clone, Debug)]
pub struct NewPaymentCode {
    /// The code.
    pub code: PaymentCodeId,
    /// Keyed hash of its digits.
    pub mac: CodeMac,
    /// Which pepper keyed it.
    pub pepper_id: String,
    /// The verification that passed.
    pub verification: VerificationId,
    /// The terminal that asks.
    pub terminal: Terminal,
    /// The currency it may be charged in.
    pub currency: Currency,
    /// The most it may be charged with, minor units.
    pub amount_minor_max: i64,
    /// The terminal's own reference.
    pub request_ref: Reference,
    /// Kind of the device.
    pub device_kind: String,
    /// Version of the device.
    pub device_version: String,
    /// Kind of the register.
    pub register: String,
    /// The server's time from which it is dead.
    pub expires_at: Timestamp,
}

/// Why no code is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueRefusal {
    /// This terminal has no such verification.
    NotFound,
    /// It has not passed, has ended, or its pass is over.
    NotPassed,
    /// It has paid.
    Consumed,
    /// The random digits are in use: draw again.
    Collision,
}

fn issue(
    tx: &Transaction<'_>,
    new: &NewPaymentCode,
    now: Timestamp,
) -> Result<std::result::Result<AccountId, IssueRefusal>> {
    let found = tx
        .prepare_cached(
            "select state, expires_at, account_id,
                 exists (select 1 from payments where payments.verification_id = verifications.id)
             from verifications
             where id = ?1 and terminal_id = ?2",
        )?
        .query_row(params![new.verification.to_string(), new.terminal.terminal.to_string()], |found| {
            let state: State = row::text(found, 0)?;
            let account: Option<AccountId> = row::optional_text(found, 2)?;
            Ok((state, row::timestamp(found, 1)?, account, found.get::<bool>(3)?))
        })
        .optional()?;
    let Some((state, pass_expires_at, account, consumed)) = found else {
        return Ok(Err(IssueRefusal::NotFound));
    };
    if consumed {
        return Ok(Err(IssueRefusal::Consumed));
    }
    let Some(account) = account.filter(|_| state == State::Passed && now < pass_expires_at) else {
        return Ok(Err(IssueRefusal::NotPassed));
    };
    let inserted = tx
        .prepare_cached(
            "insert into payment_codes (id, mac, pepper_id, verification_id, account_id, merchant_id, store_id,
                 terminal_id, currency, amount_minor_max, request_ref, device_kind, device_version, register,
                 issued_at, expires_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             on conflict (merchant_id, mac) do nothing",
        )?
        .execute(params![
            new.code.to_string(),
            new.mac.0,
            new.pepper_id,
            new.verification.to_string(),
            account.to_string(),
            new.terminal.merchant.to_string(),
            new.terminal.store.to_string(),
            new.terminal.terminal.to_string(),
            new.currency.code(),
            new.amount_minor_max,
            new.request_ref.as_str(),
            new.device_kind,
            new.device_version,
            new.register,
            now.as_millis(),
            new.expires_at.as_millis(),
        ])?;
    if inserted == 0 {
        return Ok(Err(IssueRefusal::Collision));
    }
    // From here on this is the one code of the verification that may be charged; the one before is revoked.
    tx.prepare_cached(
        "update verifications
         set code_id = ?2, updated_by = 'payment_code_issue'
         where id = ?1",
    )?
    .execute(params![new.verification.to_string(), new.code.to_string()])?;
    Ok(Ok(account))
}

impl Store {
    /// Issues a code for a pass and revokes the one before it, in one transaction.
    pub async fn issue_payment_code(
        &self,
        new: NewPaymentCode,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<AccountId, IssueRefusal>, StoreError> {
        self.writer.write("payment_code_issue", move |tx| issue(tx, &new, now)).await
    }
}
