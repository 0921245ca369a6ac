//! The slot: one writer at a time, and a batch is written whole or not at all.

use selfsame_domain::id::PaymentId;
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{Answer, Purpose, Request, TopUp};
use selfsame_store::{Store, StoreError};

use crate::{Files, account, make_account, now};

fn top_up(number: u8, minor: i64) -> Request {
    Request::TopUp(TopUp {
        payment: PaymentId::new(now(), [number; 10]),
        account: account(1),
        purpose: Purpose::Own,
        top_up_ref: format!("t-{number}").parse().expect("a reference"),
        amount: Amount::new(minor, "EUR".parse().expect("a currency")).expect("an amount"),
        actor: None,
    })
}

async fn post(store: &Store, requests: Vec<Request>) -> Result<Vec<Answer>, StoreError> {
    store.post_batch(requests, Vec::new(), Vec::new(), now()).await.map(|outcome| outcome.answers)
}

async fn rows(store: &Store) -> u64 {
    let audit = store.audit_ledger().await.expect("it reads");
    assert_eq!((audit.slots[0].error.clone(), audit.wallets_that_differ), (None, 0));
    audit.slots[0].sequence
}

#[tokio::test]
async fn a_stale_writer_writes_nothing() {
    let files = Files::new();
    let first = files.open_with_site().await;
    make_account(&first, 1, Vec::new()).await;
    assert_eq!(first.take_over_slot().await.expect("it is written"), 1);
    post(&first, vec![top_up(1, 5)]).await.expect("it is the writer");
    let second = files.open();
    assert_eq!(second.take_over_slot().await.expect("it is written"), 2);
    let stale = post(&first, vec![top_up(2, 5)]).await;
    assert!(matches!(stale, Err(error @ StoreError::TakenOver) if error.is_temporary()));
    post(&second, vec![top_up(3, 5)]).await.expect("it is the writer");
    assert_eq!((rows(&first).await, rows(&second).await), (2, 2));
    // Back again, as after a fail-back.
    assert_eq!(first.take_over_slot().await.expect("it is written"), 3);
    post(&first, vec![top_up(2, 5)]).await.expect("it is the writer again");
    assert!(matches!(post(&second, vec![top_up(4, 5)]).await, Err(StoreError::TakenOver)));
    assert_eq!(rows(&second).await, 3);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_of_itself() {
    let files = Files::new();
    let store = files.open_with_site().await;
    make_account(&store, 1, Vec::new()).await;
    store.take_over_slot().await.expect("it is written");
    post(&store, vec![top_up(1, 5)]).await.expect("it is the writer");
    // The second row carries an id that is taken, which no honest server brings about.
    let Request::TopUp(taken) = top_up(2, 5) else { unreachable!() };
    let taken = Request::TopUp(TopUp { payment: PaymentId::new(now(), [1; 10]), ..taken });
    let failed = post(&store, vec![top_up(3, 7), taken]).await;
    let Err(StoreError::RolledBack { transaction, .. }) = failed else { panic!("an id was used twice") };
    assert_eq!(transaction, "payments_post");
    assert_eq!(rows(&store).await, 1);
    post(&store, vec![top_up(3, 7)]).await.expect("the next batch is none the worse");
    assert_eq!(rows(&store).await, 2);
}
