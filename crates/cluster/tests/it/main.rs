//! Clusters and the proxy on the real PostgreSQL, with real processes that are killed. Without PostgreSQL the tests that
//! need it say so and are skipped; CI has to have it.

mod cluster;
mod commit;
mod proxy;
mod standby;

use selfsame_cluster::{Cluster, Options, is_installed_or_skip};

/// A cluster, or nothing where PostgreSQL is not installed.
async fn start(options: Options) -> Option<Cluster> {
    if !is_installed_or_skip() {
        return None;
    }
    Some(Cluster::start(options).await.expect("a cluster"))
}

/// The rows of the table that `write` fills.
async fn rows(cluster: &Cluster) -> String {
    cluster
        .query("postgres", "select coalesce(string_agg(name, ',' order by name), '') from written")
        .await
        .unwrap()
}

async fn write(cluster: &Cluster, name: &str) {
    let sql =
        format!("create table if not exists written (name text); insert into written values ('{name}')");
    cluster.query("postgres", &sql).await.unwrap();
}
