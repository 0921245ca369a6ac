//! The store on real files: versions, the two files apart, and what no caller may get past it.

mod api_key;
mod batch;
mod candidates;
mod migration;
mod postgres;
mod slot;
mod tls;

use std::path::PathBuf;

use rusqlite::Connection;
use selfsame_domain::id::{AccountId, KeyId, WalletId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use selfsame_store::{AccountCreated, ApiKey, Database, Lookup, NewAccount, Site, Store};
use tempfile::TempDir;

/// A folder with a site.
struct Files {
    folder: TempDir,
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_534_695_000)
}

impl Files {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site.db")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys.db")
    }

    fn database(&self) -> Database {
        Database::files(self.site(), self.keys())
    }

    fn open(&self) -> Store {
        Store::open(&self.database()).expect("the store opens")
    }

    async fn open_with_site(&self) -> Store {
        let store = self.open();
        let site = Site { mode: Mode::Test, currency: "EUR".parse().expect("a currency") };
        assert!(store.create_site(site, now()).await.expect("it is written"));
        let operator = ApiKey { id: KeyId::new(now(), [1; 10]), role: Caller::Operator };
        store.create_api_key(operator, [1; 32], now()).await.expect("it is written");
        store
    }
}

fn account(number: u8) -> AccountId {
    AccountId::new(now(), [number; 10])
}

/// Makes account `number`, found by `lookups`.
async fn make_account(store: &Store, number: u8, lookups: Vec<Lookup>) -> AccountCreated {
    let new = NewAccount {
        account: account(number),
        wallet: WalletId::new(now(), [number; 10]),
        currency: "EUR".parse().expect("a currency"),
        request_ref: format!("desk-{number}").parse().expect("a reference"),
        request_mac: [number; 32],
        profile: vec![number; 40],
        lookups,
        wrapped_profile_key: vec![0x50 | number; 60],
    };
    store.create_account(new, now()).await.expect("it is written")
}

/// Names of the tables of a file.
fn tables(path: &std::path::Path) -> Vec<String> {
    let database = Connection::open(path).expect("the file opens");
    let sql = "select name from sqlite_master where type = 'table' order by name";
    let mut statement = database.prepare(sql).expect("a query");
    let names = statement.query_map([], |row| row.get(0)).expect("a query");
    names.collect::<Result<_, _>>().expect("names")
}
