//! A fresh data folder in the time of a copy. `initdb` takes seconds; what it makes is kept for a day and copied.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;

use crate::guard::{Guard, Place};
use crate::programs::{Programs, run};
use crate::{Cluster, ClusterError};

/// A template that is older is made anew: programs that clear away old temporary files take them one by one after ten
/// days, and half a template is none.
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Makes the data folder `data`, which must not exist.
pub(crate) async fn copy_to(programs: &Programs, data: &Path) -> Result<(), ClusterError> {
    let folder = data.parent().unwrap_or(data);
    let mut initdb = programs.postgres("initdb", folder);
    initdb.arg("--version");
    let version = run(initdb).await?;
    // "initdb (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let version = version.split(' ').nth(2).unwrap_or_default();
    let name = format!("selfsame-postgresql-template-{version}-{}", geteuid().as_raw());
    let template = std::env::temp_dir().join(name);
    let lock = template.with_added_extension("lock");
    let file = File::create(&lock).map_err(ClusterError::file("make", &lock))?;
    // Held for the copy as well, so that nobody makes it anew meanwhile. Ends with the process at the latest.
    file.lock().map_err(ClusterError::file("lock", &lock))?;
    if !is_usable(programs, &template) {
        make(programs, &template).await?;
    }
    let mut copy = programs.command(Path::new("cp"), folder);
    copy.arg("-R").args([&template, &PathBuf::from(data)]);
    run(copy).await.map(drop)
}

/// Whether it is there, ours, and young enough. Who else is on the machine may have made a folder of this name.
fn is_usable(programs: &Programs, template: &Path) -> bool {
    let ours =
        |found: &Metadata| found.is_dir() && found.uid() == programs.uid() && found.mode() & 0o077 == 0;
    let young = |found: &Metadata| {
        let age = found.created().or_else(|_| found.modified()).ok().and_then(|made| made.elapsed().ok());
        age.is_some_and(|age| age < AGE_MAX)
    };
    fs::symlink_metadata(template).is_ok_and(|found| ours(&found) && young(&found))
}

async fn make(programs: &Programs, template: &Path) -> Result<(), ClusterError> {
    let guard = Guard::new(programs, Place::Disk)?;
    let data = guard.folder().join("data");
    let mut initdb = programs.postgres("initdb", guard.folder());
    initdb.args([
        "--username",
        Cluster::USER,
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        "--no-sync",
    ]);
    // Whoever reaches the socket is the owner of its folder; a port can be reached by everybody on the machine.
    initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pgdata"]).arg(&data);
    run(initdb).await?;
    if template.exists() {
        fs::remove_dir_all(template).map_err(ClusterError::file("remove", template))?;
    }
    fs::rename(&data, template).map_err(ClusterError::file("make", template))
}
