//! Running programs as named, timed steps.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The checkout, where every program is started: the one that cargo runs us in, and not the one that we were built in.
/// With a target folder that was copied or is shared the two differ.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let built_in = || env!("CARGO_MANIFEST_DIR").to_owned();
        let xtask = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| built_in()));
        xtask.parent().expect("xtask lies in the workspace's folder").to_owned()
    })
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// A program, to be started in the checkout.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Whether a program is there and answers to `argument` with success.
pub(crate) fn answers(mut command: Command, argument: &str) -> bool {
    let status =
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Programs run so far with their times.
#[derive(Default)]
pub(crate) struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    /// Runs a program with its output visible. It fails if the program does.
    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let words = command.get_args().map(|argument| argument.to_string_lossy());
        let words: Vec<_> = std::iter::once(program_name(command)).chain(words.map(String::from)).collect();
        println!("==> {name}: {}", words.join(" "));
        let started = Instant::now();
        let status = command.status().with_context(|| format!("failed to start `{}`", words[0]))?;
        let duration = started.elapsed();
        self.0.push((name, duration));
        if !status.success() {
            bail!("{name} failed after {:.1} s ({status})", duration.as_secs_f64());
        }
        println!("<== {name}: {:.1} s", duration.as_secs_f64());
        Ok(())
    }

    /// Prints what took how long.
    pub(crate) fn print_table(&self) {
        let width = self.0.iter().map(|(name, _)| name.len()).chain([5]).max().unwrap_or_default();
        println!("\n{:width$}  minutes", "step");
        let line =
            |name, duration: Duration| println!("{name:width$}  {:7.2}", duration.as_secs_f64() / 60.0);
        self.0.iter().for_each(|(name, duration)| line(*name, *duration));
        line("total", self.0.iter().map(|(_, duration)| *duration).sum());
    }
}

fn program_name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}
