//! Commits that are done and whose answer never comes.

use selfsame_cluster::{Cluster, Options, Proxy};
use tokio_postgres::{Client, NoTls};

use crate::{rows, start, write};

async fn connect(cluster: &Cluster, proxy: &Proxy) -> Client {
    let url = cluster.url_at(proxy.address(), "postgres");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    // Ends with the client, or with the connection.
    tokio::spawn(connection);
    client
}

async fn cluster_and_proxy() -> Option<(Cluster, Proxy)> {
    let cluster = start(Options::default().not_durable().loopback()).await?;
    write(&cluster, "first").await;
    let proxy = Proxy::start(cluster.address().unwrap()).await.unwrap();
    Some((cluster, proxy))
}

#[tokio::test]
async fn a_simple_commit_is_done_and_its_answer_is_cut_off() {
    let Some((cluster, proxy)) = cluster_and_proxy().await else { return };
    let client = connect(&cluster, &proxy).await;
    let other = connect(&cluster, &proxy).await;
    client.batch_execute("begin; insert into written values ('passed on'); commit").await.unwrap();
    proxy.cut_next_commit();
    client.batch_execute("begin; insert into written values ('cut off')").await.unwrap();
    assert_eq!(proxy.commits_cut(), 0);
    assert!(client.batch_execute("commit").await.unwrap_err().is_closed());
    proxy.until_commits_cut(1).await;
    assert_eq!(rows(&cluster).await, "cut off,first,passed on");
    // Only that one, and only that connection.
    other.batch_execute("begin; insert into written values ('other'); commit").await.unwrap();
    assert_eq!(rows(&cluster).await, "cut off,first,other,passed on");
}

#[tokio::test]
async fn a_prepared_commit_in_a_pipeline_is_done_and_its_answer_is_cut_off() {
    let Some((cluster, proxy)) = cluster_and_proxy().await else { return };
    let client = connect(&cluster, &proxy).await;
    let statement = async |sql: &str| client.prepare(sql).await.unwrap();
    let (begin, commit) = (statement("begin").await, statement("commit").await);
    let insert = statement("insert into written values ($1)").await;
    proxy.cut_next_commit();
    let (begun, inserted, committed) = tokio::join!(
        client.execute(&begin, &[]),
        client.execute(&insert, &[&"cut off"]),
        client.execute(&commit, &[])
    );
    assert!(committed.unwrap_err().is_closed());
    // Answers that the database had sent before may have come through, or not.
    drop((begun, inserted));
    proxy.until_commits_cut(1).await;
    assert_eq!(rows(&cluster).await, "cut off,first");
}

#[tokio::test]
async fn a_commit_that_fails_is_passed_on_and_the_next_is_cut_off() {
    let Some((cluster, proxy)) = cluster_and_proxy().await else { return };
    let client = connect(&cluster, &proxy).await;
    proxy.cut_next_commit();
    client.batch_execute("begin").await.unwrap();
    client.batch_execute("insert into nowhere values (1)").await.unwrap_err();
    client.batch_execute("commit").await.expect("it says that it has rolled back");
    assert_eq!(proxy.commits_cut(), 0);
    client.batch_execute("begin; insert into written values ('cut off')").await.unwrap();
    assert!(client.batch_execute("commit").await.unwrap_err().is_closed());
    proxy.until_commits_cut(1).await;
    assert_eq!(rows(&cluster).await, "cut off,first");
}
