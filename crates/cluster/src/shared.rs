//! Databases on one cluster for all tests of a process, so that tests over HTTP run on either engine.

use std::fs;
use std::path::Path;

use tokio::sync::OnceCell;

use crate::{Cluster, ClusterError, Options};

/// What says on which engine tests run: `postgres`, or anything else for files.
const ENGINE: &str = "SELFSAME_TEST_ENGINE";

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// The database that belongs to a folder.
pub struct SharedDatabase {
    cluster: &'static Cluster,
    name: String,
}

impl SharedDatabase {
    /// The one of this folder, made at the first call; `None` unless `SELFSAME_TEST_ENGINE=postgres`.
    pub async fn of(folder: &Path) -> Result<Option<Self>, ClusterError> {
        if std::env::var_os(ENGINE).is_none_or(|engine| engine != "postgres") {
            return Ok(None);
        }
        // Durable, because the store takes nothing else.
        let cluster = CLUSTER.get_or_try_init(|| Cluster::start(Options::default())).await?;
        let named = folder.join("database.name");
        if let Ok(name) = fs::read_to_string(&named) {
            return Ok(Some(Self { cluster, name }));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system's generator always answers");
        let name = format!("site_{:016x}", u64::from_be_bytes(random));
        cluster.create_database(&name).await?;
        fs::write(&named, &name).map_err(ClusterError::file("write", named))?;
        Ok(Some(Self { cluster, name }))
    }

    /// Its address, over the socket.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// [`Cluster::query`] on it.
    pub async fn query(&self, sql: &str) -> Result<String, ClusterError> {
        self.cluster.query(&self.name, sql).await
    }
}
