//! The processes of one cluster, known by their working folder: postmaster and backends all work in the data folder, and
//! a backend outlives its postmaster for a while, as a child of nobody we know.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Those that work in `folder` now.
pub(crate) fn within(folder: &Path) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|found| found == folder);
    numbers.filter(here).filter_map(Pid::from_raw).collect()
}

/// Of these, the ones whose title has `word`: PostgreSQL's processes say there what they do.
pub(crate) fn titled(folder: &Path, word: &str) -> Vec<Pid> {
    let mut found = within(folder);
    found.retain(|pid| {
        let title = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&title).contains(word)
    });
    found
}

/// Sends each a signal; one that has ended meanwhile needs none.
pub(crate) fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}
