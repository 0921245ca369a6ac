//! The slot: one writer at a time, and a batch is written whole or not at all.

use std::time::Duration;

use selfsame_domain::id::{KeyId, PaymentId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{Answer, Purpose, Request, TopUp};
use selfsame_store::{ApiKey, Store, StoreError};

use crate::{Files, account, make_account, now};

/// The payment of a top-up.
fn payment(number: u16) -> PaymentId {
    let mut bytes = [0; 10];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    PaymentId::new(now(), bytes)
}

fn top_up(number: u16, minor: i64) -> Request {
    Request::TopUp(TopUp {
        payment: payment(number),
        account: account(1),
        purpose: Purpose::Own,
        top_up_ref: format!("t-{number}").parse().expect("a reference"),
        amount: Amount::new(minor, "EUR".parse().expect("a currency")).expect("an amount"),
        actor: None,
    })
}

async fn post(store: &Store, requests: Vec<Request>) -> Result<Vec<Answer>, StoreError> {
    store.post_batch(0, requests, Vec::new(), Vec::new(), now()).await.map(|outcome| outcome.answers)
}

async fn rows(store: &Store) -> u64 {
    let audit = store.audit_ledger().await.expect("it reads");
    assert_eq!((audit.slots[0].error.clone(), audit.wallets_that_differ), (None, 0));
    audit.slots[0].sequence
}

/// Takes the slot from an owner that is known to be gone.
async fn take_over(store: &Store) -> u64 {
    store.take_over_slot(Duration::ZERO).await.expect("it is written").expect("nobody is alive")
}

#[tokio::test]
async fn a_stale_writer_writes_nothing() {
    let files = Files::new();
    let first = files.open_with_site().await;
    make_account(&first, 1, Vec::new()).await;
    assert_eq!(take_over(&first).await, 1);
    post(&first, vec![top_up(1, 5)]).await.expect("it is the writer");
    let second = files.open();
    assert_eq!(take_over(&second).await, 2);
    let stale = post(&first, vec![top_up(2, 5)]).await;
    assert!(matches!(stale, Err(error @ StoreError::TakenOver) if error.is_temporary()));
    post(&second, vec![top_up(3, 5)]).await.expect("it is the writer");
    assert_eq!((rows(&first).await, rows(&second).await), (2, 2));
    // Back again, as after a fail-back.
    assert_eq!(take_over(&first).await, 3);
    post(&first, vec![top_up(2, 5)]).await.expect("it is the writer again");
    assert!(matches!(post(&second, vec![top_up(4, 5)]).await, Err(StoreError::TakenOver)));
    assert_eq!(rows(&second).await, 3);
}

#[tokio::test]
async fn a_stale_owner_does_not_write_beside_the_ledger_either() {
    let files = Files::new();
    let first = files.open_with_site().await;
    take_over(&first).await;
    assert!(first.owns_slot().await.expect("it reads"));
    let second = files.open();
    take_over(&second).await;
    assert!(!first.owns_slot().await.expect("it reads") && second.owns_slot().await.expect("it reads"));
    let key = ApiKey { id: KeyId::new(now(), [2; 10]), role: Caller::Operator };
    let stale = first.create_api_key(key, [2; 32], now()).await;
    assert!(matches!(stale, Err(StoreError::TakenOver)));
    assert!(matches!(first.renew_slot().await, Err(StoreError::TakenOver)));
    assert!(matches!(first.release_slot().await, Err(StoreError::TakenOver)));
    second.create_api_key(key, [2; 32], now()).await.expect("nobody wrote it before");
}

#[tokio::test]
async fn an_owner_that_is_alive_keeps_its_slot_by_beats_and_by_payments() {
    let files = Files::new();
    let (first, second) = (files.open_with_site().await, files.open());
    make_account(&first, 1, Vec::new()).await;
    take_over(&first).await;
    let lease = Duration::from_millis(50);
    let beating = async {
        loop {
            first.renew_slot().await.expect("it is the owner");
        }
    };
    tokio::select! {
        taken = second.take_over_slot(lease) => assert_eq!(taken.expect("it answers"), None),
        () = beating => {}
    }
    let paying = async {
        for number in 1.. {
            post(&first, vec![top_up(number, 5)]).await.expect("it is the writer");
        }
    };
    tokio::select! {
        taken = second.take_over_slot(lease) => assert_eq!(taken.expect("it answers"), None),
        () = paying => {}
    }
    post(&first, vec![top_up(0, 5)]).await.expect("it is the writer still");
    // An owner that is silent for the whole lease is gone.
    assert_eq!(second.take_over_slot(lease).await.expect("it is written"), Some(2));
    assert!(matches!(post(&first, vec![top_up(u16::MAX, 5)]).await, Err(StoreError::TakenOver)));
}

#[tokio::test]
async fn a_slot_that_was_released_is_taken_without_waiting() {
    let files = Files::new();
    let (first, second) = (files.open_with_site().await, files.open());
    take_over(&first).await;
    first.release_slot().await.expect("it is written");
    // Nobody would see the end of this lease.
    let century = Duration::from_secs(100 * 366 * 24 * 3600);
    assert_eq!(second.take_over_slot(century).await.expect("it is written"), Some(2));
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_of_itself() {
    let files = Files::new();
    let store = files.open_with_site().await;
    make_account(&store, 1, Vec::new()).await;
    take_over(&store).await;
    post(&store, vec![top_up(1, 5)]).await.expect("it is the writer");
    // The second row carries an id that is taken, which no honest server brings about.
    let Request::TopUp(taken) = top_up(2, 5) else { unreachable!() };
    let taken = Request::TopUp(TopUp { payment: payment(1), ..taken });
    let failed = post(&store, vec![top_up(3, 7), taken]).await;
    let Err(StoreError::RolledBack { transaction, .. }) = failed else { panic!("an id was used twice") };
    assert_eq!(transaction, "payments_post");
    assert_eq!(rows(&store).await, 1);
    post(&store, vec![top_up(3, 7)]).await.expect("the next batch is none the worse");
    assert_eq!(rows(&store).await, 2);
}
