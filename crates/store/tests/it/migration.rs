//! Schema versions and the two files.

use rusqlite::Connection;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::timing::{Stage, Timings};
use selfsame_store::{AccountCreated, Layer, Store, StoreError};

use crate::{Files, account, make_account, tables};

/// The schema of a file as text, with its version.
fn schema(path: &std::path::Path) -> (i64, Vec<String>) {
    let database = Connection::open(path).expect("the file opens");
    let version = database.query_row("pragma user_version", [], |row| row.get(0)).expect("a version");
    let sql = "select coalesce(sql, '') from sqlite_master order by name";
    let mut statement = database.prepare(sql).expect("a query");
    let texts = statement.query_map([], |row| row.get(0)).expect("a query");
    (version, texts.collect::<Result<_, _>>().expect("text"))
}

#[tokio::test]
async fn opening_a_site_again_changes_nothing() {
    let files = Files::new();
    let store = files.open_with_site().await;
    make_account(&store, 1, Vec::new()).await;
    drop(store);
    let before = (schema(&files.site()), schema(&files.keys()));
    for _ in 0..3 {
        let store = files.open();
        let found = store.account(account(1)).await.expect("it reads").expect("it is there");
        assert_eq!(found.profile, vec![1; 40]);
    }
    assert_eq!((schema(&files.site()), schema(&files.keys())), before);
}

/// PostgreSQL would look it up for every row that is written.
#[tokio::test]
async fn rows_of_the_ledger_reference_no_other_table() {
    let files = Files::new();
    drop(files.open_with_site().await);
    let database = Connection::open(files.site()).expect("the file opens");
    let references = |table: &str| -> i64 {
        let sql = "select count(*) from pragma_foreign_key_list(?1)";
        database.query_row(sql, [table], |row| row.get(0)).expect("a count")
    };
    assert_eq!(references("payments"), 0);
    assert!(references("payment_codes") > 0, "nothing is counted");
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    for newer in [Files::site as fn(&Files) -> _, Files::keys] {
        let files = Files::new();
        drop(files.open_with_site().await);
        let path = newer(&files);
        let (known, tables) = schema(&path);
        let database = Connection::open(&path).expect("the file opens");
        database.pragma_update(None, "user_version", known + 1).expect("a setting");
        drop(database);
        let refused = Store::open(&files.database());
        let Err(StoreError::SchemaTooNew { found, known: told }) = refused else {
            panic!("a newer schema was opened")
        };
        assert_eq!((found, told), (known + 1, known));
        assert_eq!(schema(&path), (known + 1, tables), "nothing was changed");
    }
    let files = Files::new();
    drop(files.open_with_site().await);
    Connection::open(files.site())
        .expect("the file opens")
        .pragma_update(None, "user_version", -1)
        .expect("a setting");
    assert!(matches!(Store::open(&files.database()), Err(StoreError::SchemaTooNew { found: -1, .. })));
}

#[tokio::test]
async fn a_migration_that_was_interrupted_is_done_again() {
    let files = Files::new();
    drop(files.open_with_site().await);
    let whole = schema(&files.keys());
    // As if the machine had died before the commit: the file is there, and empty.
    std::fs::remove_file(files.keys()).expect("it is there");
    std::fs::write(files.keys(), b"").expect("writable");
    drop(files.open());
    assert_eq!(schema(&files.keys()), whole);
}

#[tokio::test]
async fn a_site_of_the_first_version_is_brought_up_to_date_with_all_that_it_holds() {
    let files = Files::new();
    let first = include_str!("../../migrations/site/0001_create_site.sql");
    let database = Connection::open(files.site()).expect("the file opens");
    database.execute_batch(first).expect("it was a schema");
    database.pragma_update(None, "user_version", 1).expect("a setting");
    let id = account(1).to_string();
    let rows = format!(
        "insert into site (id, mode, currency, created_at) values (1, 'test', 'EUR', 0);
         insert into slots (slot, epoch, sequence, hash) values (0, 5, 0, zeroblob(32));
         insert into accounts (id, request_ref, request_mac, state, profile, created_at, updated_by)
         values ('{id}', 'a', zeroblob(32), 'active', zeroblob(40), 0, 'test');
         insert into limits (layer, subject, payment_minor_max, categories_blocked, updated_at, updated_by)
         values ('grade', 'finger', 700, '', 0, 'test'), ('grade', 'rgb', 900, '', 0, 'test');
         insert into payments (slot, sequence, payment_id, leg, kind, state, debit, credit, amount_minor, currency, caller,
             reference, code_id, verification_id, created_at, hash)
         values (0, 1, 'pay_1', 0, 'charge', 'posted', 'wal_1', 'mch_1', 7, 'EUR', 'mch_1', 'o1', 'code_1', 'ver_1', 3,
             zeroblob(32));
         insert into payment_timings (payment_id, stage, duration_us)
         values ('pay_1', 'queue', 7), ('pay_1', 'commit', 4000), ('pay_2', 'load', 0)"
    );
    database.execute_batch(&rows).expect("rows of that version");
    drop(database);
    let store = files.open();
    let found = store.account(account(1)).await.expect("it reads").expect("it is there");
    assert_eq!(found.profile, vec![0; 40]);
    // Who is verified by a PIN may pay as much as by a finger: without a row there would be no limit.
    let pin = store.limits(Layer::Grade(SensorGrade::Pin)).await.expect("it reads");
    assert_eq!((pin.payment_minor_max, pin.day_minor_max), (Some(700), None));
    // Nobody of that version shows himself, so nobody is waited for.
    let century = std::time::Duration::from_secs(100 * 366 * 24 * 3600);
    assert_eq!(store.take_over_slot(century).await.expect("it is written"), Some(6));
    let timings = |payment: &str| {
        let sql = "select timings from payment_timings where payment_id = ?1";
        let database = Connection::open(files.site()).expect("the file opens");
        let text: String = database.query_row(sql, [payment], |row| row.get(0)).expect("its row");
        let timings: Timings = serde_json::from_str(&text).expect("stages as JSON");
        timings.iter().map(|(stage, duration)| (stage, duration.as_micros())).collect::<Vec<_>>()
    };
    assert_eq!(timings("pay_1"), [(Stage::Queue, 7), (Stage::Commit, 4_000)]);
    assert_eq!(timings("pay_2"), [(Stage::Load, 0)]);
    let database = Connection::open(files.site()).expect("the file opens");
    let sql = "select payment_id || ' ' || amount_minor || ' ' || code_id || ' ' || created_at from payments where parent_id is null";
    let payments: String = database.query_row(sql, [], |row| row.get(0)).expect("its row");
    assert_eq!(payments, "pay_1 7 code_1 3");
    let fresh = Files::new();
    drop(fresh.open());
    assert_eq!(tables(&files.site()), tables(&fresh.site()));
}

#[tokio::test]
async fn subject_keys_live_in_their_own_file_only() {
    let files = Files::new();
    let store = files.open_with_site().await;
    assert_eq!(make_account(&store, 1, Vec::new()).await, AccountCreated::Created);
    assert_eq!(tables(&files.keys()), ["subject_keys"]);
    assert!(!tables(&files.site()).contains(&"subject_keys".to_owned()));
    let wrapped = [0x51; 60];
    let has = |name: &str| {
        let bytes = std::fs::read(files.folder.path().join(name)).unwrap_or_default();
        bytes.windows(wrapped.len()).any(|window| window == wrapped)
    };
    assert!(has("keys.db"));
    assert!(!has("site.db") && !has("site.db-wal") && !has("keys.db-journal"));
    // Without that file nothing opens a profile.
    drop(store);
    std::fs::remove_file(files.keys()).expect("it is there");
    let store = files.open();
    let found = store.account(account(1)).await.expect("it reads").expect("the account stays");
    assert_eq!(found.wrapped_profile_key, None);
}

#[tokio::test]
async fn an_account_that_is_refused_leaves_no_key() {
    let files = Files::new();
    let store = files.open_with_site().await;
    make_account(&store, 1, Vec::new()).await;
    let keys = || {
        let database = Connection::open(files.keys()).expect("the file opens");
        database
            .query_row("select count(*) from subject_keys", [], |row| row.get::<_, i64>(0))
            .expect("a number")
    };
    let again = selfsame_store::NewAccount {
        account: account(2),
        wallet: selfsame_domain::id::WalletId::new(crate::now(), [2; 10]),
        currency: "EUR".parse().expect("a currency"),
        request_ref: "desk-1".parse().expect("a reference"),
        request_mac: [9; 32],
        profile: Vec::new(),
        lookups: Vec::new(),
        wrapped_profile_key: vec![7; 60],
    };
    let created = store.create_account(again, crate::now()).await.expect("it is answered");
    assert_eq!((created, keys()), (AccountCreated::ReferenceConflict, 1));
}
