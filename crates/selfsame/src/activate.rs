//! `selfsame activate`: gives this machine its identity as a terminal.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::ClientError;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::id::TerminalId;
use selfsame_terminal::device::{DeviceError, DeviceIdentity};

use crate::connection::ServerOptions;
use crate::output;
use crate::site::Site;

/// Make this machine a terminal
///
/// Makes a key that never leaves this machine, has the payment server accept it against a one-time activation code,
/// and keeps it in `data/device.json`. An earlier key of the same terminal is retired. The code is asked for, so that
/// it does not show in lists of processes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame activate --site /srv/till-1 --server http://127.0.0.1:8700 --terminal trm_01kav9q4rz0000000000000000
  printf '%s' \"$CODE\" | selfsame activate --site /srv/till-1 --terminal trm_... --code-stdin")]
pub struct Activate {
    #[command(flatten)]
    server: ServerOptions,
    /// The terminal, as `selfsame init` or `selfsame desk terminal` named it
    #[arg(long, value_name = "ID")]
    terminal: TerminalId,
    /// Read the activation code from standard input without asking
    #[arg(long)]
    code_stdin: bool,
}

impl Activate {
    /// Activates and says what for.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let server = self.server.url(site)?;
        let code = read_code(self.code_stdin)?;
        let identity = activate(site, &server, self.terminal, &code).await?;
        let terminal = &identity.terminal;
        output::line(format_args!(
            "activated {} as a {} of {} ({} site)",
            terminal.terminal,
            terminal.purpose,
            terminal.merchant,
            terminal.mode.as_str()
        ))
    }
}

/// Activates; makes the folder of a terminal's own part if it is not there.
pub async fn activate(
    site: &Site,
    server: &str,
    terminal: TerminalId,
    code: &str,
) -> anyhow::Result<DeviceIdentity> {
    site.create_folders()?;
    site.create_settings()?;
    let activated =
        DeviceIdentity::activate(server, terminal, code, &site.device(), Arc::new(SystemClock)).await;
    activated.map_err(explain)
}

fn explain(error: DeviceError) -> anyhow::Error {
    let hint = match &error {
        DeviceError::Activation(ClientError::Connect { .. }) => Some(
            "the payment server is not there: start it with `selfsame server`, or give its address with --server",
        ),
        DeviceError::Activation(error) => match error.problem().map(|problem| problem.code) {
            Some(ProblemCode::ActivationRefused) => Some(
                "the code is wrong, used, or older than 15 minutes (24 hours for the first terminals of a site): make \
                 a terminal with `selfsame desk terminal`",
            ),
            Some(ProblemCode::MatcherUnavailable) => Some("the server's matcher is not up yet: try again"),
            _ => None,
        },
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(hint),
        None => error,
    }
}

fn read_code(quiet: bool) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !quiet && stdin.is_terminal() {
        output::ask("Activation code: ");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("failed to read the activation code from standard input")?;
    let code = line.trim();
    if code.is_empty() {
        bail!("no activation code was given on standard input");
    }
    Ok(code.to_owned())
}
