//! What commands print: results on standard output, everything said beside them on standard error.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use selfsame_api::merchant::Secret;
use serde::Serialize;
use zeroize::Zeroizing;

/// The command was called wrongly in a way that only shows after its arguments were read. Exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A line of the result. Not `println!`, which panics when the reader has gone (`selfsame ... | head`).
pub fn line(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.context("failed to write to standard output")
}

/// The result as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value).context("failed to write the result as JSON")?)
}

/// Something said beside the result: progress, questions, errors.
pub fn note(text: impl fmt::Display) {
    // There is no one left to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A bar for long work of so many pieces. Drawn on standard error, and not at all if that is no terminal.
pub fn progress_bar(what: &'static str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:11} {bar:40} {pos}/{len}, {eta} left");
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A question, without a line end.
pub fn ask(text: impl fmt::Display) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Asks for something that must not be seen. When standard input is no terminal, its first line is the answer.
pub fn ask_secret(question: &str) -> anyhow::Result<Secret> {
    if io::stdin().is_terminal() {
        ask(question);
        let typed = console::Term::stderr().read_secure_line();
        return typed.map(Secret).context("failed to read what was typed");
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).context("failed to read standard input")?;
    Ok(Secret(line.trim_end().to_owned()))
}

/// Whether the reader of our output has gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().filter_map(kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}
