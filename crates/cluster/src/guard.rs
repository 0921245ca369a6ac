//! Sees to it that nothing of a cluster outlives its owner, however the owner ends.
//!
//! A guard is a small shell that waits for the end of a pipe whose other end only we hold. When we let go - by dropping the
//! cluster, by a panic, or because the kernel closes it after a kill -9 - it kills what works in the folder and removes it.
//! The same way every time, so that the way after a crash is no rarely tried one.

use std::fs::{File, TryLockError};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ClusterError;
use crate::programs::{Programs, User};

/// Beginning of the folders' names. Short, because a socket's path has 107 bytes at most.
const PREFIX: &str = "selfsame-pg-";

/// Its owner holds a lock on this for as long as it lives; who can take it finds a folder without an owner.
const OWNER: &str = "owner";

/// Where Linux keeps files in memory, if the machine or its container has set room aside.
const MEMORY: &str = "/dev/shm";

/// Free room there without which it is left alone: many clusters at once. Containers have 64 MiB by default.
const MEMORY_FREE_MIN_BYTES: u64 = 1 << 30;

/// What a cluster's folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Disk,
    /// In memory where there is room, else on a disk.
    Memory,
}

/// $1 is the folder. Signals of the terminal go to groups, and the guard has its own; what is left of them it ignores.
/// Both kinds of processes are looked for: those in the data folder, and tools that were started in the folder itself. A
/// postmaster that is killed leaves a piece of shared memory, of which the kernel has some thousands for all; its number
/// is in the seventh line of the file that names it. Nobody waits for the removal, which takes seconds on some disks.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
alive() {
    find /proc -mindepth 2 -maxdepth 2 -name cwd '(' -lname "$1" -o -lname "$1/*" ')' 2> /dev/null | cut -d / -f 3
}
while found=$(alive "$1"); [ -n "$found" ]; do
    kill -9 $found 2> /dev/null
    sleep 0.02
done
sed -n 7p "$1/data/postmaster.pid" 2> /dev/null | { read -r key segment && ipcrm -m "$segment" 2> /dev/null; }
rm -rf "$1" &
"#;

fn spawn(folder: &Path, stdin: Stdio) -> Result<Child, ClusterError> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "guard"]).arg(folder).current_dir("/");
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map_err(|source| ClusterError::Start { program: "sh".to_owned(), source })
}

/// A folder that is guarded.
pub(crate) struct Guard {
    folder: PathBuf,
    shell: Child,
    /// Held, never read.
    _owner: File,
}

impl Guard {
    /// Makes a folder with a guard, after clearing away folders that have lost owner and guard.
    pub(crate) fn new(programs: &Programs, place: Place) -> Result<Self, ClusterError> {
        let memory = Path::new(MEMORY);
        let has_room = |free: rustix::fs::StatVfs| free.f_bavail * free.f_frsize >= MEMORY_FREE_MIN_BYTES;
        let all = match place {
            Place::Memory if rustix::fs::statvfs(memory).is_ok_and(has_room) => memory.to_owned(),
            Place::Memory | Place::Disk => std::env::temp_dir(),
        };
        sweep(&all);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&all);
        let folder = folder.map_err(ClusterError::file("make a folder in", all))?;
        // What works in it is found by this name, which must therefore be the one that the kernel has for it.
        let path = folder.path().canonicalize().map_err(ClusterError::file("resolve", folder.path()))?;
        let owner = lock(&path)?;
        if let Some(User { uid, gid }) = programs.user() {
            chown(&path, Some(uid), Some(gid)).map_err(ClusterError::file("give away", &path))?;
        }
        let shell = spawn(&path, Stdio::piped())?;
        // From here on the guard removes it.
        let _ = folder.keep();
        Ok(Self { folder: path, shell, _owner: owner })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends everything now, and lets it be removed.
    pub(crate) fn let_go(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn lock(folder: &Path) -> Result<File, ClusterError> {
    let (path, locked) = (folder.join(OWNER), folder.join("owner.new"));
    let file = File::create(&locked).map_err(ClusterError::file("make", &locked))?;
    file.lock().map_err(ClusterError::file("lock", &locked))?;
    // Under its name it is never seen without the lock.
    std::fs::rename(&locked, &path).map_err(ClusterError::file("make", &path))?;
    Ok(file)
}

/// Clears away what was left when guard and owner were killed together.
fn sweep(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // One without this file is being made just now.
        let Ok(owner) = File::open(entry.path().join(OWNER)) else { continue };
        if matches!(owner.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_))) {
            continue;
        }
        if let Ok(mut guard) = spawn(&entry.path(), Stdio::null()) {
            let _ = guard.wait();
        }
    }
}
