//! `selfsame register`: for the person who connects a till.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use selfsame_api::interface::RegisterKind;
use selfsame_api::register::RegisterState;
use selfsame_terminal::register::{CODE_CHARACTERS, RegisterSettings, Registers, TEST_PAGE, Undelivered};

use crate::output;
use crate::site::Site;

/// Digits that are no code of any operator: nothing is paid with them.
const TEST_DIGITS: &str = "012345678901234567";
const _: () = assert!(TEST_DIGITS.len() == CODE_CHARACTERS);

/// How long a till's page is waited for.
const PAGE_WAIT: Duration = Duration::from_secs(60);

/// Pause between two looks whether it has come.
const PAUSE: Duration = Duration::from_millis(100);

/// Connect a till: what it receives, and whether anything arrives
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame register page > test.html                    the page; open it in a browser on the till
  selfsame register try keyboard --site /srv/till-1     types 012345678901234567, which pays nothing

See docs/registers.md for which way fits which till.")]
pub struct Register {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the page that shows what a till receives, and how fast
    Page,
    /// Send test digits to the till, as this site's settings say
    ///
    /// While the terminal runs it holds the serial port and the port for pages: stop it first, for these two.
    Try {
        /// Which way
        way: Way,
        /// How long to wait before, so that there is time to click into the till's field, in seconds
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=60))]
        wait_seconds: u64,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Keyboard,
    Serial,
    Tcp,
    Websocket,
}

impl Register {
    /// Does what was asked.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Page => output::line(TEST_PAGE)?,
            Command::Try { way, wait_seconds } => {
                return send(site, way, Duration::from_secs(wait_seconds)).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The settings of one way alone, so that the others are left in peace.
fn only(settings: RegisterSettings, way: Way) -> (RegisterKind, RegisterSettings) {
    let none = RegisterSettings::default();
    match way {
        Way::Keyboard => (RegisterKind::Keyboard, RegisterSettings { keyboard: settings.keyboard, ..none }),
        Way::Serial => (RegisterKind::Serial, RegisterSettings { serial: settings.serial, ..none }),
        Way::Tcp => (RegisterKind::Tcp, RegisterSettings { tcp: settings.tcp, ..none }),
        Way::Websocket => {
            (RegisterKind::Websocket, RegisterSettings { websocket: settings.websocket, ..none })
        }
    }
}

async fn send(site: &Site, way: Way, wait: Duration) -> anyhow::Result<ExitCode> {
    let (kind, settings) = only(site.settings()?.register, way);
    let registers = Registers::open(&settings).await?;
    if let Err(problem) = registers.choose(Some(kind)) {
        bail!(
            "{}: add section [register.{}] to selfsame.toml",
            problem.detail.unwrap_or_default(),
            kind.as_str()
        );
    }
    if kind == RegisterKind::Websocket {
        output::note("waiting for the till's page");
        let started = Instant::now();
        while registers.offers().iter().any(|offer| offer.state == RegisterState::Missing) {
            ensure!(started.elapsed() < PAGE_WAIT, "no page has connected");
            tokio::time::sleep(PAUSE).await;
        }
    } else if !wait.is_zero() {
        output::note(format_args!("click into the till's payment field: sending in {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
    }
    match registers.deliver(kind, TEST_DIGITS).await {
        Ok(()) => {
            output::line(format_args!("sent {TEST_DIGITS}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(undelivered @ Undelivered::Uncertain { .. }) => {
            Err(undelivered).context("the till may have a part of the digits: look at it")
        }
        Err(undelivered) => Err(undelivered).context("the till has got nothing"),
    }
}
