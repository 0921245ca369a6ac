//! Many payers with passes and codes at once, for the benchmark only: through the ordinary transactions, one after the
//! other, a big site would take an hour to make.

use selfsame_domain::id::{
    AccountId, MerchantId, PaymentCodeId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::money::Currency;
use selfsame_domain::payment::CodeMac;
use selfsame_domain::time::Timestamp;

use crate::Store;
use crate::database::params;
use crate::error::StoreError;

/// A payer with one wallet, without name and identifiers.
#[derive(Clone, Copy, Debug)]
pub struct SeedPayer {
    /// The account.
    pub account: AccountId,
    /// Its wallet, empty.
    pub wallet: WalletId,
}

/// A pass with its code.
#[derive(Clone, Copy, Debug)]
pub struct SeedCode {
    /// The pass.
    pub verification: VerificationId,
    /// The code.
    pub code: PaymentCodeId,
    /// Keyed hash of its digits.
    pub mac: CodeMac,
    /// Whose money it opens.
    pub account: AccountId,
    /// Where it was issued.
    pub at: (MerchantId, StoreId, TerminalId),
    /// When it dies.
    pub expires_at: Timestamp,
}

impl Store {
    /// Bytes that PostgreSQL has written to its log since it was made; `None` on SQLite.
    #[doc(hidden)]
    pub async fn log_bytes(&self) -> Result<Option<u64>, StoreError> {
        if !self.is_shared {
            return Ok(None);
        }
        let read = self.readers.read("log_read", |tx| {
            tx.query_row("select cast(pg_current_wal_insert_lsn() - '0/0' as integer)", params![], |found| {
                crate::row::integer(found, 0)
            })
        });
        read.await.map(Some)
    }

    /// Bytes of this database on PostgreSQL's disk, and connections to it; `None` on SQLite.
    #[doc(hidden)]
    pub async fn usage(&self) -> Result<Option<[u64; 2]>, StoreError> {
        if !self.is_shared {
            return Ok(None);
        }
        let read = self.readers.read("usage_read", |tx| {
            tx.query_row(
                "select pg_database_size(current_database()), count(*)
                 from pg_stat_activity
                 where datname = current_database()",
                params![],
                |found| Ok([crate::row::integer(found, 0)?, crate::row::integer(found, 1)?]),
            )
        });
        read.await.map(Some)
    }

    /// Makes payers.
    #[doc(hidden)]
    pub async fn seed_payers(
        &self,
        payers: Vec<SeedPayer>,
        currency: Currency,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .write("payers_seed", move |tx| {
                for payer in &payers {
                    let account = payer.account.to_string();
                    tx.prepare_cached(
                        "insert into accounts (id, request_ref, request_mac, state, profile, created_at, updated_by)
                         values (?1, ?1, ?2, 'active', ?2, ?3, 'payers_seed')",
                    )?
                    .execute(params![account, [0u8; 32], now.as_millis()])?;
                    tx.prepare_cached(
                        "insert into wallets (id, account_id, purpose, currency, balance_minor, held_minor, version,
                             spent_since)
                         values (?1, ?2, 'own', ?3, 0, 0, 0, 0)",
                    )?
                    .execute(params![payer.wallet.to_string(), account, currency.code()])?;
                }
                Ok(())
            })
            .await
    }

    /// Makes passes with codes.
    #[doc(hidden)]
    pub async fn seed_codes(
        &self,
        codes: Vec<SeedCode>,
        currency: Currency,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .write("codes_seed", move |tx| {
                for seed in &codes {
                    let (merchant, store, terminal) = seed.at;
                    let (merchant, store) = (merchant.to_string(), store.to_string());
                    let (terminal, verification) = (terminal.to_string(), seed.verification.to_string());
                    tx.prepare_cached(
                        "insert into verifications (id, terminal_id, store_id, merchant_id, request_ref, modality,
                             sensor_grade, identifier_kind, identifier_lookup, state, attempts_left, account_id, code_id,
                             expires_at, timings, created_at, updated_by)
                         values (?1, ?2, ?3, ?4, ?1, 'finger', 'simulated', 'member_number', ?5, 'passed', 0, ?6, ?7, ?8,
                             '{}', ?9, 'codes_seed')",
                    )?
                    .execute(params![
                        verification,
                        terminal,
                        store,
                        merchant,
                        [0u8; 32],
                        seed.account.to_string(),
                        seed.code.to_string(),
                        seed.expires_at.as_millis(),
                        now.as_millis(),
                    ])?;
                    tx.prepare_cached(
                        "insert into payment_codes (id, mac, pepper_id, verification_id, account_id, merchant_id,
                             store_id, terminal_id, currency, amount_minor_max, request_ref, device_kind, device_version,
                             register, issued_at, expires_at)
                         values (?1, ?2, '1', ?3, ?4, ?5, ?6, ?7, ?8, 1000000, ?3, 'bench', '1', 'return', ?9, ?10)",
                    )?
                    .execute(params![
                        seed.code.to_string(),
                        seed.mac.0,
                        verification,
                        seed.account.to_string(),
                        merchant,
                        store,
                        terminal,
                        currency.code(),
                        now.as_millis(),
                        seed.expires_at.as_millis(),
                    ])?;
                }
                Ok(())
            })
            .await
    }
}
