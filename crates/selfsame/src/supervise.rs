//! Keeps a child process of ours running: the server its matcher, the terminal its verification program.
//!
//! The child watches its standard input, of which we hold the other end: whatever way we die, the pipe closes and the
//! child ends too. A child that dies is started again, at once the first time and then with growing pauses. One that
//! lives and does not answer any more is killed first: whoever waits for it would wait for ever.

use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use selfsame_api::client::Client;
use tokio::process::{Child, Command};

use crate::site::write_whole;

/// First and longest pause before a restart.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A child that ran this long was well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(5);

/// How long a child may take to end after its pipe closed.
const END: Duration = Duration::from_secs(3);

/// How often a child is asked whether it is well, how long its answer may take, and how many may be missing. A machine that
/// is busy answers late; one that is stuck is noticed within twelve seconds.
const WATCH_PAUSE: Duration = Duration::from_secs(2);
const WATCH_TIMEOUT: Duration = Duration::from_secs(2);
const MISSED_MAX: u32 = 3;

/// Flag that tells a child to end with its parent.
pub const CHILD_FLAG: &str = "--end-with-parent";

/// A child process of our own executable.
pub struct ChildProcess {
    /// Its name, for logs: `matcher` or `verifier`.
    pub name: &'static str,
    /// Its arguments, without [`CHILD_FLAG`].
    pub arguments: Vec<String>,
    /// Where its process id is kept while it runs.
    pub pid_file: PathBuf,
    /// File that its output is added to; ours if absent.
    pub log: Option<PathBuf>,
    /// How to ask it whether it is well; not asked if absent.
    pub watch: Option<Watch>,
}

/// A question that a child which is well answers at once.
pub struct Watch {
    /// The child's own interface.
    pub client: Client,
    /// What is asked there with GET.
    pub path: &'static str,
}

impl Watch {
    /// Comes to its end when the child has not answered for so long that it never will. A child that was not heard of yet
    /// is starting.
    async fn stuck(&self) {
        let (mut heard, mut missed) = (false, 0);
        while missed < MISSED_MAX {
            tokio::time::sleep(WATCH_PAUSE).await;
            match self.client.get_bytes(self.path, WATCH_TIMEOUT).await {
                Ok(_) => (heard, missed) = (true, 0),
                Err(_) => missed += u32::from(heard),
            }
        }
    }
}

async fn stuck(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.stuck().await,
        None => std::future::pending().await,
    }
}

impl ChildProcess {
    fn start(&self) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("failed to find our own executable")?;
        let mut command = Command::new(program);
        command.args(&self.arguments).arg(CHILD_FLAG).stdin(Stdio::piped()).kill_on_drop(true);
        if let Some(path) = &self.log {
            let open = || {
                let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
                Ok::<_, std::io::Error>((file.try_clone()?, file))
            };
            let (stdout, stderr) = open().with_context(|| format!("failed to open `{}`", path.display()))?;
            command.stdout(stdout).stderr(stderr);
        }
        let child = command.spawn().with_context(|| format!("failed to start the {}", self.name))?;
        let pid = child.id().unwrap_or_default();
        write_whole(&self.pid_file, pid.to_string().as_bytes())?;
        tracing::info!(process.name = self.name, process.pid = pid, "started a process");
        Ok(child)
    }

    /// Keeps the child running until `shutdown` is done, then ends it.
    pub async fn supervise(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(shutdown);
        let mut pause = PAUSE_MIN;
        loop {
            let started = Instant::now();
            let mut child = self.start()?;
            // Taken out, because waiting for a child closes the pipe that is still in it.
            let pipe = child.stdin.take();
            let status = tokio::select! {
                status = child.wait() => status,
                () = stuck(self.watch.as_ref()) => {
                    tracing::error!(process.name = self.name, "a process does not answer any more and is killed");
                    let _ = child.start_kill();
                    child.wait().await
                }
                () = &mut shutdown => {
                    // Closing the pipe asks the child to end; dropping it afterwards makes sure.
                    drop(pipe);
                    let _ = tokio::time::timeout(END, child.wait()).await;
                    let _ = std::fs::remove_file(&self.pid_file);
                    return Ok(());
                }
            };
            let status = status.map(|status| status.to_string()).unwrap_or_default();
            tracing::error!(
                process.name = self.name,
                process.status = status,
                "a process ended; starting it again"
            );
            pause = if started.elapsed() >= WELL { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut shutdown => return Ok(()),
            }
        }
    }
}

/// Done when the process is asked to stop: by signal, or by its parent's end if it is a child.
pub fn shutdown_signal(child: bool) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for signals")?;
    let (ended, parent) = tokio::sync::oneshot::channel::<()>();
    let mut keep = Some(ended);
    if child {
        let ended = keep.take();
        // A thread of its own: reading standard input cannot be cancelled, and must not hold up the process's end.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(ended);
        });
    }
    Ok(async move {
        let parent = async move {
            // Done when the sender is dropped; of an ordinary process it is kept until the end.
            let _ = parent.await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            // A child shares the keyboard with its parent, which decides.
            _ = interrupt.recv(), if !child => {}
            () = parent => {}
        }
        drop(keep);
    })
}
