//! PostgreSQL's own programs: where they are, and as whom they run.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{geteuid, getuid};

use crate::ClusterError;

/// Where Debian keeps the programs of each major version, apart from the path.
const FOLDER: &str = "/usr/lib/postgresql";

/// The user that Debian's package makes.
const USER: &str = "postgres";

/// Longest run of one program: a base backup on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody else, as whom PostgreSQL runs because it refuses root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The programs of one installed version.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    user: Option<User>,
}

impl Programs {
    /// Finds the newest installed version; of those that are not Debian's, the one on the path.
    pub(crate) fn find() -> Result<Self, ClusterError> {
        Self::find_in(Path::new(FOLDER), &std::env::var_os("PATH").unwrap_or_default())
    }

    fn find_in(debian: &Path, path: &OsStr) -> Result<Self, ClusterError> {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(debian)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        // On the path are often links, each to a program beside which the others are.
        let on_path = std::env::split_paths(path)
            .filter_map(|folder| Some(fs::canonicalize(folder.join("initdb")).ok()?.parent()?.to_owned()));
        let mut folders = versions.into_iter().map(|(_, folder)| folder).chain(on_path);
        let has_server =
            |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
        let folder = folders.find(has_server).ok_or(ClusterError::NotInstalled)?;
        let user = if geteuid().is_root() { Some(other_user().ok_or(ClusterError::NoUser)?) } else { None };
        Ok(Self { folder, user })
    }

    pub(crate) fn user(&self) -> Option<User> {
        self.user
    }

    /// Numeric id of who owns the clusters.
    pub(crate) fn uid(&self) -> u32 {
        self.user.map_or(getuid().as_raw(), |user| user.uid)
    }

    /// A command that runs as the owner of clusters, in `folder`, and knows nothing of databases that the person at this
    /// machine has elsewhere.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Some(User { uid, gid }) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
            std::os::unix::process::CommandExt::gid(&mut command, gid);
        }
        // The current folder of the caller may be one that the other user may not enter.
        command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// A program of PostgreSQL.
    pub(crate) fn postgres(&self, name: &str, folder: &Path) -> std::process::Command {
        self.command(&self.folder.join(name), folder)
    }
}

/// Runs a program to its end and answers what it wrote.
pub(crate) async fn run(command: std::process::Command) -> Result<String, ClusterError> {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let late =
        |_| ClusterError::Late { what: format!("`{program}`"), patience: PATIENCE, log: String::new() };
    let output = output.map_err(late)?;
    let output = output.map_err(|source| ClusterError::Start { program: program.clone(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ClusterError::Program { program, said })
    }
}

fn other_user() -> Option<User> {
    let id = |option: &str| {
        let output = std::process::Command::new("id").args([option, USER]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    Some(User { uid: id("-u")?, gid: id("-g")? })
}

/// For tests: whether PostgreSQL is there. If not, says so in a line and answers no; CI has to have it.
///
/// # Panics
///
/// Without PostgreSQL if the environment has `CI`.
pub fn is_installed_or_skip() -> bool {
    match Programs::find() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            println!("skipped: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for name in ["initdb", "postgres"] {
            fs::write(folder.join(name), "").unwrap();
        }
    }

    #[test]
    fn the_newest_of_debian_comes_first_and_what_is_nowhere_is_named() {
        let all = tempfile::tempdir().unwrap();
        let (debian, path) = (all.path().join("debian"), all.path().join("bin"));
        let find = || Programs::find_in(&debian, path.as_os_str());
        let error = find().unwrap_err();
        assert!(matches!(error, ClusterError::NotInstalled));
        assert!(error.to_string().contains("Debian package `postgresql`"), "{error}");
        install(&path);
        assert_eq!(find().unwrap().folder, fs::canonicalize(&path).unwrap());
        for version in ["9", "15", "not-a-version"] {
            install(&debian.join(version).join("bin"));
        }
        fs::create_dir_all(debian.join("16/bin")).unwrap();
        assert_eq!(find().unwrap().folder, debian.join("15/bin"), "of 16 there are only the clients");
    }
}
