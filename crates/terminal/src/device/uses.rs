//! The count of what this machine signs, shared by all its programs, by which the server notices a copy of the key.
//!
//! Beside the identity lie two small files. `.uses` holds the present start, its random name and the last counter;
//! `.alive` is locked by every program for as long as it runs. Who finds nobody alive begins the next start, and writes
//! it through to the disk before it signs; everybody else joins the present one. Counters are not written through: when
//! the machine dies, its programs die with it, and the next start begins a new count.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use selfsame_domain::key_use::KeyUse;

use super::open_private;
use crate::{lock, random};

/// Names of the two files after the identity's.
pub(super) const USES: &str = "uses";
pub(super) const ALIVE: &str = "alive";

/// Longest content of the file, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// The machine's count, as one program takes part in it.
pub(crate) struct MachineUses {
    uses: PathBuf,
    alive: PathBuf,
    joined: Mutex<Option<Joined>>,
}

struct Joined {
    uses: File,
    /// Keeps the lock that says that somebody is alive.
    _alive: File,
}

fn read(file: &File) -> io::Result<Option<KeyUse>> {
    let mut bytes = [0; TEXT_BYTES_MAX];
    let mut length = 0;
    while length < TEXT_BYTES_MAX {
        let read = file.read_at(&mut bytes[length..], length as u64)?;
        if read == 0 {
            break;
        }
        length += read;
    }
    let text = str::from_utf8(&bytes[..length]).unwrap_or_default();
    Ok(text.split_once('\n').and_then(|(line, _)| line.parse().ok()))
}

/// One write, so that a program that dies leaves the old text or the new one. What a longer text left behind it is after
/// the end of the line.
fn write(file: &File, key_use: KeyUse) -> io::Result<()> {
    file.write_all_at(format!("{key_use}\n").as_bytes(), 0)
}

/// Counters of the next start. What cannot be read begins anew, and the server warns of it.
fn begin(file: &File) -> io::Result<()> {
    let last = read(file)?;
    if last.is_none() && file.metadata()?.len() > 0 {
        tracing::error!("the count of this machine's signatures is damaged and begins anew");
    }
    let start = last.map_or(0, |last| last.start) + 1;
    write(file, KeyUse { start, instance: u64::from_be_bytes(random()), counter: 0 })?;
    file.sync_all()
}

impl MachineUses {
    /// The count beside this identity. Nothing is opened before the first signature.
    pub(crate) fn beside(identity: &Path) -> Self {
        Self {
            uses: identity.with_extension(USES),
            alive: identity.with_extension(ALIVE),
            joined: Mutex::new(None),
        }
    }

    /// The next use of the key on this machine.
    pub(crate) fn next(&self) -> io::Result<KeyUse> {
        let mut joined = lock(&self.joined);
        let file = match &mut *joined {
            Some(joined) => &joined.uses,
            none => &none.insert(self.join()?).uses,
        };
        file.lock()?;
        let counted = (|| {
            let last = read(file)?.ok_or_else(|| io::Error::other("the count of signatures is damaged"))?;
            let next = KeyUse { counter: last.counter + 1, ..last };
            write(file, next)?;
            Ok(next)
        })();
        file.unlock()?;
        counted
    }

    fn join(&self) -> io::Result<Joined> {
        let (uses, alive) = (open_private(&self.uses)?, open_private(&self.alive)?);
        // Held while it is decided whether somebody is alive, so that two that begin together agree.
        uses.lock()?;
        let decided = match alive.try_lock() {
            Ok(()) => begin(&uses),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        };
        // From here on shared, whichever it was.
        let shared = decided.and_then(|()| alive.unlock()).and_then(|()| alive.lock_shared());
        uses.unlock()?;
        shared.map(|()| Joined { uses, _alive: alive })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    #[test]
    fn programs_that_run_together_share_one_count_and_the_next_start_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("device.json");
        let (terminal, verifier) = (MachineUses::beside(&identity), MachineUses::beside(&identity));
        let first = terminal.next().unwrap();
        let second = verifier.next().unwrap();
        assert_eq!((first.start, first.counter), (1, 1));
        assert_eq!(second, KeyUse { counter: 2, ..first });
        // As long as one of them is alive, whoever comes joins.
        drop(terminal);
        let tool = MachineUses::beside(&identity);
        assert_eq!(tool.next().unwrap(), KeyUse { counter: 3, ..first });
        drop((verifier, tool));
        let next = MachineUses::beside(&identity).next().unwrap();
        assert_eq!((next.start, next.counter), (2, 1));
        assert_ne!(next.instance, first.instance);
    }

    #[test]
    fn threads_and_programs_never_get_one_use_twice() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("device.json");
        let programs: Vec<_> = (0..4).map(|_| MachineUses::beside(&identity)).collect();
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let program = &programs[number % programs.len()];
                    scope.spawn(move || (0..50).map(|_| program.next().unwrap()).collect::<Vec<_>>())
                })
                .collect();
            for thread in threads {
                taken.extend(thread.join().unwrap());
            }
        });
        let counters: HashSet<u64> = taken.iter().map(|taken| taken.counter).collect();
        assert_eq!(counters, (1..=400).collect());
        assert!(taken.iter().all(|one| (one.start, one.instance) == (1, taken[0].instance)));
    }

    #[test]
    fn a_damaged_or_absent_count_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join("device.json");
        fs::write(identity.with_extension("uses"), b"garbage").unwrap();
        assert_eq!(MachineUses::beside(&identity).next().unwrap().start, 1);
        assert_eq!(MachineUses::beside(&identity).next().unwrap().start, 2);
        fs::remove_file(identity.with_extension("uses")).unwrap();
        assert_eq!(MachineUses::beside(&identity).next().unwrap().start, 1);
        let nowhere = MachineUses::beside(&folder.path().join("absent/device.json"));
        assert_eq!(nowhere.next().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
