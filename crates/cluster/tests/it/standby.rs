//! A standby that takes the place of a primary that was killed.

use selfsame_cluster::{Options, Replication};

use crate::{rows, start, write};

#[tokio::test]
async fn a_synchronous_standby_has_all_that_was_committed_and_goes_on() {
    let Some(mut primary) = start(Options::default()).await else { return };
    let mut standby = primary.standby(Replication::Synchronous).await.unwrap();
    write(&primary, "a").await;
    assert!(standby.query("postgres", "create table refused ()").await.is_err(), "it is read only");
    primary.kill().await.unwrap();
    standby.promote().await.unwrap();
    assert_eq!(rows(&standby).await, "a");
    write(&standby, "b").await;
    // And the next: a promoted one can have a standby of its own.
    let mut next = standby.standby(Replication::Synchronous).await.unwrap();
    write(&standby, "c").await;
    standby.kill().await.unwrap();
    next.promote().await.unwrap();
    assert_eq!(rows(&next).await, "a,b,c");
}

#[tokio::test]
async fn an_asynchronous_standby_lacks_what_it_had_not_received() {
    let Some(mut primary) = start(Options::default()).await else { return };
    write(&primary, "a").await;
    let mut standby = primary.standby(Replication::Asynchronous).await.unwrap();
    primary.stall_replication().unwrap();
    write(&primary, "b").await;
    assert_eq!(rows(&primary).await, "a,b");
    primary.kill().await.unwrap();
    standby.promote().await.unwrap();
    assert_eq!(rows(&standby).await, "a");
}

#[tokio::test]
async fn a_commit_waits_for_a_synchronous_standby_that_is_held_back() {
    let Some(mut primary) = start(Options::default().not_durable()).await else { return };
    write(&primary, "a").await;
    let _standby = primary.standby(Replication::Synchronous).await.unwrap();
    primary.stall_replication().unwrap();
    let waiting = async || {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        while primary.query("postgres", sql).await.unwrap() != "1" {
            tokio::task::yield_now().await;
        }
        // It is not seen before it is on both.
        assert_eq!(rows(&primary).await, "a");
        primary.resume_replication().unwrap();
    };
    tokio::join!(write(&primary, "b"), waiting());
    assert_eq!(rows(&primary).await, "a,b");
}

#[tokio::test]
async fn a_cluster_without_standby_has_nothing_to_stall() {
    let Some(primary) = start(Options::default().not_durable()).await else { return };
    assert!(primary.stall_replication().is_err());
}
