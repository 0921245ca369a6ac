//! What our long-running processes have in common: their log, and how they stop.

use std::fs::File;
use std::io;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::supervise::shutdown_signal;

/// What is logged unless `SELFSAME_LOG` says otherwise.
const LOG_DEFAULT: &str = "info";

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The value of the flag.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Options of a process that keeps running.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ProcessOptions {
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t, env = "SELFSAME_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// End when standard input closes: whoever started us holds its other end.
    #[arg(long, hide = true)]
    pub end_with_parent: bool,
}

impl ProcessOptions {
    /// Starts the log, and answers how this process is told to stop.
    pub fn start(self) -> anyhow::Result<(Stopper, Stop)> {
        start_log(self.log_format, LOG_DEFAULT)?;
        let signal = shutdown_signal(self.end_with_parent)?;
        let (stopper, stop) = stop();
        let on_signal = stopper.clone();
        tokio::spawn(async move {
            signal.await;
            tracing::info!("stopping");
            on_signal.stop();
        });
        Ok((stopper, stop))
    }

    /// Arguments by which a child logs in the same form.
    pub fn child_arguments(self) -> [String; 2] {
        ["--log-format".to_owned(), self.log_format.as_str().to_owned()]
    }
}

/// Sends the log to standard error.
pub fn start_log(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let ansi = std::io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    start_log_to(io::stderr, ansi, format, default)
}

/// Sends the log of a process that keeps running to a file, as who started it would.
pub fn start_log_to_file(file: File) -> anyhow::Result<()> {
    start_log_to(Arc::new(file), false, LogFormat::Text, LOG_DEFAULT)
}

fn start_log_to<W>(writer: W, ansi: bool, format: LogFormat, default: &str) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = match std::env::var("SELFSAME_LOG") {
        Ok(text) => {
            EnvFilter::try_new(&text).with_context(|| format!("SELFSAME_LOG is not valid: `{text}`"))?
        }
        Err(_) => EnvFilter::new(default),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => log.with_ansi(ansi).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Tells parts of a process to stop.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears that it is time to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A new pair.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// It is time.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Done when it is time; also when nobody is left who could say so.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            let _ = receiver.wait_for(|stop| *stop).await;
        }
    }
}
