//! `selfsame activate`: gives this machine its identity as a terminal.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::ClientError;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::id::TerminalId;
use selfsame_domain::terminal::KeyAlgorithm;
use selfsame_terminal::device::{DeviceError, DeviceIdentity, KeySource, Token};

use crate::connection::ServerOptions;
use crate::output::{self, Usage};
use crate::site::{IdentitySettings, KeySourceKind, Site};

/// Make this machine a terminal
///
/// Makes a key that never leaves this machine, has the payment server accept it against a one-time activation code,
/// and keeps it in `data/device`, or inside a security module if section [identity] or --pkcs11 says so. An earlier
/// key of the same terminal is retired. The code is asked for, so that it does not show in lists of processes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame activate --site /srv/till-1 --server http://127.0.0.1:8700 --terminal trm_01kav9q4rz0000000000000000
  printf '%s' \"$CODE\" | selfsame activate --site /srv/till-1 --terminal trm_... --code-stdin
  selfsame activate --site /srv/till-1 --terminal trm_... --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token till-1")]
pub struct Activate {
    #[command(flatten)]
    server: ServerOptions,
    /// The terminal, as `selfsame init` or `selfsame desk terminal` named it
    #[arg(long, value_name = "ID")]
    terminal: TerminalId,
    /// Read the activation code from standard input without asking
    #[arg(long)]
    code_stdin: bool,
    #[command(flatten)]
    key: KeyOptions,
}

/// Where the key is made, against what section [identity] says.
#[derive(Args, Debug, Default)]
pub struct KeyOptions {
    /// Make the key inside a security module: the library that reaches it
    #[arg(long, value_name = "MODULE")]
    pkcs11: Option<PathBuf>,
    /// Label of the token in the security module
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
    /// Label that the key gets in the token
    #[arg(long, value_name = "LABEL")]
    key_label: Option<String>,
    /// File of mode 0600 with the token's PIN; else it is taken from the variable SELFSAME_PKCS11_PIN
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// How the token signs: ed25519 or ecdsa-p256-sha256 [default: the first of them that it can do]
    #[arg(long)]
    algorithm: Option<KeyAlgorithm>,
}

impl KeyOptions {
    /// The settings, with what was given instead.
    fn source(self, settings: IdentitySettings) -> anyhow::Result<KeySource> {
        if self.pkcs11.is_none() && settings.source == KeySourceKind::File {
            if self.token.is_some() || self.pin_file.is_some() || self.algorithm.is_some() {
                let text = "a token is for a key in a security module: name its library with --pkcs11";
                return Err(Usage(text.to_owned()).into());
            }
            return Ok(KeySource::File);
        }
        let module = self.pkcs11.or(settings.pkcs11_module).context(
            "the library of the security module is missing: give --pkcs11, or set `pkcs11_module` in section [identity]",
        )?;
        let label = self.token.or(settings.pkcs11_token).context(
            "the label of the token is missing: give --token, or set `pkcs11_token` in section [identity]",
        )?;
        // What starts later starts elsewhere.
        let pin_file = self.pin_file.or(settings.pkcs11_pin_file);
        let pin_file =
            pin_file.map(std::path::absolute).transpose().context("no usable path of a PIN file")?;
        Ok(KeySource::Token(Token {
            module,
            label,
            key_label: self.key_label.unwrap_or(settings.pkcs11_key_label),
            pin_file,
            algorithm: self.algorithm.or(settings.pkcs11_algorithm),
        }))
    }
}

impl Activate {
    /// Activates and says what for.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let server = self.server.url(site)?;
        let source = self.key.source(site.settings()?.identity)?;
        let code = read_code(self.code_stdin)?;
        let identity = activate(site, &server, self.terminal, &code, source).await?;
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
    source: KeySource,
) -> anyhow::Result<DeviceIdentity> {
    site.create_folders()?;
    site.create_settings(None)?;
    let activated =
        DeviceIdentity::activate(server, terminal, code, source, &site.device(), Arc::new(SystemClock)).await;
    activated.map_err(explain)
}

fn explain(error: DeviceError) -> anyhow::Error {
    let hint = match &error {
        DeviceError::Activation(ClientError::Connect { .. }) => Some(
            "the payment server is not there: start it with `selfsame server`, or give its address with --server",
        ),
        DeviceError::Activation(error) => match error.problem().map(|problem| problem.code) {
            Some(ProblemCode::ActivationRefused) => Some(
                "the code is wrong, used, or older than 15 minutes (24 hours for the first terminals of a site): ask \
                 for another with `selfsame desk terminal activation-code`",
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
