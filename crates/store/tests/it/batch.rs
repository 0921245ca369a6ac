//! What batches on PostgreSQL do with locks, plans and a standby, seen from outside.

use std::time::Duration;

use selfsame_domain::id::{TerminalId, VerificationId};
use selfsame_domain::payment::{Answer, Refusal};
use selfsame_store::{StoreError, with_patience};

use crate::now;
use crate::postgres::{CODES, Shared, balance, bytes, charge, post, refund, top_up};

/// Waits until the number of such connections is right.
async fn until(shared: &Shared, which: &str, is_right: fn(usize) -> bool) {
    let sql = format!("select pid from pg_stat_activity where datname = 'site' and {which}");
    while !is_right(shared.cluster.query("postgres", &sql).await.expect("it reads").lines().count()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const WAITS_FOR_A_LOCK: &str = "wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn of_a_charge_and_the_end_of_its_verification_the_second_sees_what_the_first_one_wrote() {
    let Some((shared, store)) = Shared::start(1, 1_000).await else { return };
    let (id, terminal) = (VerificationId::new(now(), bytes(0)), TerminalId::new(now(), [1; 10]));
    let mut somebody = shared.connect().await;
    // Somebody pays: the end, and with it the answer whether it has paid, waits for that.
    let paying = somebody.transaction().await.expect("it begins");
    paying.batch_execute("select id from selfsame.wallets for update").await.expect("it is locked");
    let ending = {
        let store = store.clone();
        tokio::spawn(async move { store.end_verification(id, terminal).await })
    };
    until(&shared, WAITS_FOR_A_LOCK, |number| number == 1).await;
    assert!(!ending.is_finished());
    paying.rollback().await.expect("it ends");
    assert!(ending.await.expect("no panic").expect("it is written"));
    // Somebody ends it while a charge waits for the wallet: the charge reads the code after that.
    let ending = somebody.transaction().await.expect("it begins");
    ending.batch_execute("select id from selfsame.wallets for update").await.expect("it is locked");
    let paying = {
        let store = store.clone();
        tokio::spawn(async move { post(&store, 0, vec![charge(1, 1, 1, 5)]).await })
    };
    until(&shared, WAITS_FOR_A_LOCK, |number| number == 1).await;
    ending.batch_execute("update selfsame.verifications set code_id = null").await.expect("it is written");
    ending.commit().await.expect("it is written");
    let answers = paying.await.expect("no panic").expect("it is decided");
    assert!(matches!(answers[0], Answer::Refused(Refusal::CodeRevoked)), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_for_the_standby_somebody_ended_is_no_answer() {
    let Some((shared, store)) = Shared::start(1, 1_000).await else { return };
    shared.cluster.set("synchronous_standby_names", "nobody").await.expect("it is set");
    let mut number = 2_000_000;
    let posted = loop {
        let posting = {
            let store = store.clone();
            tokio::spawn(async move { post(&store, 0, vec![top_up(number, 0, 1)]).await })
        };
        while !posting.is_finished() {
            let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
            shared.cluster.query("postgres", cancel).await.expect("it is told");
        }
        match posting.await.expect("no panic") {
            // The server takes a setting over when it gets to it.
            Ok(_) => number += 1,
            Err(posted) => break posted,
        }
    };
    assert!(matches!(posted, StoreError::OutcomeUnknown { .. }), "{posted}");
    // Before a server says what became of it, a later commit of its own must have got to the standby.
    let fenced = with_patience(Duration::from_millis(200), store.fence(0)).await;
    assert!(matches!(fenced, Err(StoreError::StillRunning { .. })), "{fenced:?}");
    shared.cluster.set("synchronous_standby_names", "").await.expect("it is set");
    let answers = post(&store, 0, vec![top_up(number, 0, 1)]).await.expect("it is decided");
    assert!(
        matches!(answers[0], Answer::Done { replayed: true, .. }),
        "it was on this server's disk: {answers:?}"
    );
    let paid_in = i64::try_from(number - 2_000_000).expect("a small number") + 1;
    assert_eq!(balance(&store, 0).await, 1_000 + paid_in);
}

/// Most rows that a request may read by an index, or of a table without.
const READ_MAX: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reads_what_it_asks_for_however_empty_the_tables_were_when_it_was_planned() {
    let Some((shared, store)) = Shared::start(200, 1_000).await else { return };
    let mut asked = 0;
    for number in 0..CODES {
        let mut requests = vec![charge(number, number, number, 5)];
        requests.extend((number % 4 == 3).then(|| refund(CODES + number, number - 1, 2)));
        asked += u64::try_from(requests.len()).expect("a small number");
        let answers = post(&store, 0, requests).await.expect("it is written");
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Done { .. })), "{answers:?}");
    }
    // What a connection has read is known for sure when it has ended.
    drop(store);
    until(&shared, "application_name = 'selfsame'", |number| number == 0).await;
    let read = "select indexrelname, idx_tup_read from pg_stat_user_indexes
         union all
         select relname, seq_tup_read from pg_stat_user_tables";
    let read = shared.cluster.query("site", read).await.expect("it reads");
    let rows = |line: &str| line.rsplit('|').next().and_then(|rows| rows.parse().ok()).unwrap_or(0_u64);
    let much: Vec<_> = read.lines().filter(|line| rows(line) > READ_MAX * asked).collect();
    assert!(much.is_empty(), "{asked} requests read {much:?}");
    assert!(read.lines().any(|line| rows(line) > asked), "nothing was counted: {read}");
}
