//! Payers' accounts with their wallets, and how they are found.

use selfsame_domain::account::{AccountState, IdentifierKind};
use selfsame_domain::id::{AccountId, WalletId};
use selfsame_domain::limit::Spending;
use selfsame_domain::money::Currency;
use selfsame_domain::payment::Wallet;
use selfsame_domain::reference::Reference;
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Row, Transaction, params};
use crate::error::{Result, StoreError};
use crate::verification::Lookup;
use crate::{Store, row};

/// An account to be made. What is personal comes sealed or as a keyed hash.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The account.
    pub account: AccountId,
    /// Its wallet.
    pub wallet: WalletId,
    /// Currency of the wallet.
    pub currency: Currency,
    /// The desk's own reference.
    pub request_ref: Reference,
    /// Keyed hash of the request's content.
    pub request_mac: [u8; 32],
    /// Name and identifiers, sealed under the profile key.
    pub profile: Vec<u8>,
    /// How it can be found.
    pub lookups: Vec<Lookup>,
    /// The account's profile key, wrapped for the server.
    pub wrapped_profile_key: Vec<u8>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountCreated {
    /// Made now.
    Created,
    /// This reference made this account before, with the same content.
    Existing(AccountId),
    /// This reference made an account of other content.
    ReferenceConflict,
    /// Phone or member number belong to another account.
    DuplicateIdentifier,
}

/// An account as stored.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account.
    pub account: AccountId,
    /// Whether it may pay.
    pub state: AccountState,
    /// Name and identifiers, sealed under the profile key.
    pub profile: Vec<u8>,
    /// The profile key, wrapped for the server; absent once the person is erased.
    pub wrapped_profile_key: Option<Vec<u8>>,
    /// Its money.
    pub wallets: Vec<Wallet>,
    /// When it was made.
    pub created_at: Timestamp,
}

pub(crate) fn read_wallet(found: &Row<'_>) -> Result<Wallet> {
    Ok(Wallet {
        wallet: row::text(found, 0)?,
        account: row::text(found, 1)?,
        account_state: row::text(found, 2)?,
        currency: row::text(found, 3)?,
        balance_minor: found.get(4)?,
        held_minor: found.get(5)?,
        version: row::integer(found, 6)?,
        purpose: row::text(found, 7)?,
        spending: Spending {
            since: row::optional_timestamp(found, 8)?,
            minor: found.get(9)?,
            count: found.get(10)?,
        },
    })
}

/// Columns that [`read_wallet`] reads, of `wallets` joined with `accounts`.
pub(crate) const WALLET_COLUMNS: &str = "wallets.id, wallets.account_id, accounts.state, wallets.currency,
     wallets.balance_minor, wallets.held_minor, wallets.version, wallets.purpose, wallets.spent_since,
     wallets.spent_minor, wallets.spent_count";

fn wallets(tx: &Transaction<'_>, account: AccountId) -> Result<Vec<Wallet>> {
    let sql = format!(
        "select {WALLET_COLUMNS}
         from wallets
         join accounts on accounts.id = wallets.account_id
         where wallets.account_id = ?1
         order by wallets.currency, wallets.purpose"
    );
    tx.prepare_cached(&sql)?.query_map(params![account.to_string()], read_wallet)?.collect()
}

fn insert(tx: &Transaction<'_>, new: &NewAccount, now: Timestamp) -> Result<AccountCreated> {
    let earlier = tx
        .query_row(
            "select id, request_mac from accounts where request_ref = ?1",
            params![new.request_ref.as_str()],
            |found| Ok((row::text(found, 0)?, row::array::<32>(found, 1)?)),
        )
        .optional()?;
    if let Some((account, request_mac)) = earlier {
        let same = request_mac == new.request_mac;
        return Ok(if same { AccountCreated::Existing(account) } else { AccountCreated::ReferenceConflict });
    }
    let account = new.account.to_string();
    tx.execute(
        "insert into accounts (id, request_ref, request_mac, state, profile, created_at, updated_by)
         values (?1, ?2, ?3, 'active', ?4, ?5, 'account_create')",
        params![account, new.request_ref.as_str(), new.request_mac, new.profile, now.as_millis()],
    )?;
    tx.execute(
        "insert into wallets (id, account_id, purpose, currency, balance_minor, held_minor, version, spent_since)
         values (?1, ?2, 'own', ?3, 0, 0, 0, 0)",
        params![new.wallet.to_string(), account, new.currency.code()],
    )?;
    for lookup in &new.lookups {
        let unique = (lookup.kind != IdentifierKind::PhoneLast4).then_some(lookup.mac);
        tx.execute(
            "insert into identifiers (kind, lookup, account_id, unique_lookup)
             values (?1, ?2, ?3, ?4)",
            params![lookup.kind.as_str(), lookup.mac, account, unique],
        )?;
    }
    Ok(AccountCreated::Created)
}

fn has_duplicate(tx: &Transaction<'_>, new: &NewAccount) -> Result<bool> {
    for lookup in new.lookups.iter().filter(|lookup| lookup.kind != IdentifierKind::PhoneLast4) {
        let taken: bool = tx.query_row(
            "select exists (
                 select 1
                 from identifiers
                 join accounts on accounts.id = identifiers.account_id
                 where kind = ?1 and unique_lookup = ?2 and accounts.request_ref <> ?3
             )",
            params![lookup.kind.as_str(), lookup.mac, new.request_ref.as_str()],
            |found| found.get(0),
        )?;
        if taken {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Store {
    /// Makes an account with an empty wallet.
    pub async fn create_account(
        &self,
        new: NewAccount,
        now: Timestamp,
    ) -> std::result::Result<AccountCreated, StoreError> {
        // The key first: an account without one could not be read. A key without an account harms nobody.
        let (account, wrapped) = (new.account, new.wrapped_profile_key.clone());
        self.put_subject_key(account, "profile", wrapped, now).await?;
        let created = self
            .writer
            .write("account_create", move |tx| {
                if has_duplicate(tx, &new)? {
                    return Ok(AccountCreated::DuplicateIdentifier);
                }
                insert(tx, &new, now)
            })
            .await?;
        if created != AccountCreated::Created {
            self.destroy_subject_keys(account).await?;
        }
        Ok(created)
    }

    /// An account with its wallets.
    pub async fn account(&self, account: AccountId) -> std::result::Result<Option<Account>, StoreError> {
        let found = self
            .readers
            .read("account_read", move |tx| {
                let found = tx
                    .query_row(
                        "select state, profile, created_at from accounts where id = ?1",
                        params![account.to_string()],
                        |found| {
                            Ok(Account {
                                account,
                                state: row::text(found, 0)?,
                                profile: found.get(1)?,
                                wrapped_profile_key: None,
                                wallets: Vec::new(),
                                created_at: row::timestamp(found, 2)?,
                            })
                        },
                    )
                    .optional()?;
                found.map(|found| Ok(Account { wallets: wallets(tx, account)?, ..found })).transpose()
            })
            .await?;
        let Some(found) = found else { return Ok(None) };
        let wrapped_profile_key = self.subject_key(account, "profile").await?;
        Ok(Some(Account { wrapped_profile_key, ..found }))
    }

    /// Accounts that have this identifier, oldest first, at most so many.
    pub async fn accounts_with(
        &self,
        lookup: Lookup,
        limit: usize,
    ) -> std::result::Result<Vec<AccountId>, StoreError> {
        self.readers
            .read("accounts_find", move |tx| {
                tx.prepare_cached(
                    "select account_id
                     from identifiers
                     where kind = ?1 and lookup = ?2
                     order by account_id
                     limit ?3",
                )?
                .query_map(params![lookup.kind.as_str(), lookup.mac, limit], |found| row::text(found, 0))?
                .collect()
            })
            .await
    }

    /// Makes the wallet for what the operator grants, if the account has none. Answers `false` without an account.
    pub async fn ensure_subsidy_wallet(
        &self,
        account: AccountId,
        wallet: WalletId,
        currency: Currency,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("subsidy_wallet_ensure", move |tx| {
                let account = account.to_string();
                tx.prepare_cached(
                    "insert into wallets (id, account_id, purpose, currency, balance_minor, held_minor, version, spent_since)
                     select ?1, accounts.id, 'subsidy', ?3, 0, 0, 0, 0
                     from accounts
                     where accounts.id = ?2
                     on conflict (account_id, currency, purpose) do nothing",
                )?
                .execute(params![wallet.to_string(), account, currency.code()])?;
                tx.query_row(
                    "select exists (select 1 from accounts where id = ?1)",
                    params![account],
                    |found| found.get(0),
                )
            })
            .await
    }

    /// Freezes or unfreezes an account. Answers `false` if there is no such account.
    pub async fn set_account_state(
        &self,
        account: AccountId,
        state: AccountState,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("account_set_state", move |tx| {
                let changed = tx.execute(
                    "update accounts set state = ?2, updated_by = 'account_set_state' where id = ?1",
                    params![account.to_string(), state.as_str()],
                )?;
                Ok(changed == 1)
            })
            .await
    }

    /// How many accounts have no profile key: those whose persons were erased, and, in a restored backup, those that are
    /// newer than the keys.
    pub async fn accounts_without_profile_key(&self) -> std::result::Result<u64, StoreError> {
        let accounts: Vec<AccountId> = self
            .readers
            .read("accounts_read_all", |tx| {
                tx.prepare_cached("select id from accounts order by id")?
                    .query_map(params![], |found| row::text(found, 0))?
                    .collect()
            })
            .await?;
        self.keys
            .write("profile_keys_count", move |tx| {
                let mut find = tx.prepare_cached(
                    "select 1 from subject_keys where account_id = ?1 and purpose = 'profile'",
                )?;
                let mut missing = 0;
                for account in accounts {
                    missing += u64::from(!find.exists(params![account.to_string()])?);
                }
                Ok(missing)
            })
            .await
    }

    pub(crate) async fn put_subject_key(
        &self,
        account: AccountId,
        purpose: &'static str,
        wrapped: Vec<u8>,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        self.keys
            .write("subject_key_put", move |tx| {
                tx.execute(
                    "insert into subject_keys (account_id, purpose, wrapped, created_at)
                     values (?1, ?2, ?3, ?4)
                     on conflict (account_id, purpose) do update set wrapped = excluded.wrapped",
                    params![account.to_string(), purpose, wrapped, now.as_millis()],
                )?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn subject_key(
        &self,
        account: AccountId,
        purpose: &'static str,
    ) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        self.keys
            .write("subject_key_read", move |tx| {
                tx.query_row(
                    "select wrapped from subject_keys where account_id = ?1 and purpose = ?2",
                    params![account.to_string(), purpose],
                    |found| found.get(0),
                )
                .optional()
            })
            .await
    }

    async fn destroy_subject_keys(&self, account: AccountId) -> std::result::Result<(), StoreError> {
        self.keys
            .write("subject_keys_destroy", move |tx| {
                tx.execute("delete from subject_keys where account_id = ?1", params![account.to_string()])?;
                Ok(())
            })
            .await
    }
}
