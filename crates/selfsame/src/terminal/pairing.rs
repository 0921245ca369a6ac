//! `selfsame terminal pair | registers | unpair | kiosk | rotate-key`: the terminal's own screen as commands, until somebody looks
//! at a real one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use selfsame_api::kiosk::KioskKey;
use selfsame_api::pairing::{AskingRegister, PairingWindow, Registers};
use selfsame_domain::id::RegisterId;

use crate::connection::{TIMEOUT, explain_terminal};
use crate::output;
use crate::site::Site;
use crate::terminal::{LAN_URL, key};
use crate::verify::AtTerminal;

/// Pause between two looks at whether a register asks.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Subcommand, Debug)]
pub enum TerminalCommand {
    /// Let a cash register in: opens the pairing for five minutes and shows the code to type into the register
    Pair,
    /// List the registers that were let in
    Registers {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a register's token back, at once
    Unpair {
        /// The register, as `selfsame terminal registers` names it
        register: RegisterId,
    },
    /// Open the payer's page: prints its address, or starts a browser with it
    ///
    /// The address opens the page once, within a minute, and the page that was open before is none any more. A browser that
    /// is started anew is opened anew, so let your service manager run this command with the browser behind `--`.
    Kiosk {
        /// The browser and its arguments; the address comes last
        #[arg(last = true)]
        browser: Vec<OsString>,
    },
    /// Change the key of this machine: the payment server takes the next one instead. Programs that run go on with it by
    /// themselves; if it breaks off, the same command goes on with it
    RotateKey,
}

impl TerminalCommand {
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let at = AtTerminal::new(site)?;
        match self {
            TerminalCommand::RotateKey => key::change(site).await,
            TerminalCommand::Pair => {
                tokio::select! {
                    paired = pair(&at, site) => paired,
                    _ = tokio::signal::ctrl_c() => {
                        close(&at).await?;
                        bail!("no register was paired")
                    }
                }
            }
            TerminalCommand::Kiosk { browser } => kiosk(&at, &browser).await,
            TerminalCommand::Registers { json } => registers(&at, json).await,
            TerminalCommand::Unpair { register } => {
                let path = format!("/v1/registers/{register}/unpair");
                let unpaired = at.interface().post::<()>(&path, &serde_json::json!({}), TIMEOUT).await;
                unpaired.map_err(explain_terminal)?;
                output::line(format_args!("unpaired {register}"))
            }
        }
    }
}

async fn kiosk(at: &AtTerminal, browser: &[OsString]) -> anyhow::Result<()> {
    let key = at.interface().post::<KioskKey>("/v1/kiosk-keys", &serde_json::json!({}), TIMEOUT).await;
    let KioskKey { url, .. } = key.map_err(explain_terminal)?;
    let Some((program, arguments)) = browser.split_first() else { return output::line(&url.0) };
    // It takes our place, so that whoever watches us watches the browser.
    let failed = Command::new(program).args(arguments).arg(&url.0).exec();
    Err(failed).with_context(|| format!("failed to start `{}`", program.display()))
}

async fn post(at: &AtTerminal, path: &str) -> anyhow::Result<PairingWindow> {
    at.interface().post(path, &serde_json::json!({}), TIMEOUT).await.map_err(explain_terminal)
}

async fn close(at: &AtTerminal) -> anyhow::Result<()> {
    post(at, "/v1/pairing-window/close").await.map(|_| ())
}

async fn pair(at: &AtTerminal, site: &Site) -> anyhow::Result<()> {
    let mut window = post(at, "/v1/pairing-window").await?;
    output::note("A register may ask to be paired now, for five minutes. Ctrl-C ends it.");
    if let Ok(url) = std::fs::read_to_string(site.run(LAN_URL)) {
        output::note(format_args!(
            "On the LAN it calls {}, once {} is installed there.",
            url.trim(),
            site.authority_certificate().display()
        ));
    }
    let mut shown = None;
    loop {
        if let Some(paired) = &window.paired {
            return output::line(format_args!("paired {}  {}", paired.id, paired.name));
        }
        if window.closes_in_ms == 0 {
            bail!("no register was paired");
        }
        let code = window.asking.as_ref().map(|asking| asking.code.clone());
        if code != shown {
            match &window.asking {
                Some(asking) => show(asking)?,
                None => output::note("That pairing is over. The register may ask again."),
            }
            shown = code;
        }
        tokio::time::sleep(PAUSE).await;
        window = at.interface().get("/v1/pairing-window", TIMEOUT).await.map_err(explain_terminal)?;
    }
}

fn show(asking: &AskingRegister) -> anyhow::Result<()> {
    let AskingRegister { name, address, code, .. } = asking;
    output::line(format_args!("\"{name}\" at {address} asks. Type this code there:  {code}"))
}

async fn registers(at: &AtTerminal, json: bool) -> anyhow::Result<()> {
    let registers: Registers =
        at.interface().get("/v1/registers", TIMEOUT).await.map_err(explain_terminal)?;
    if json {
        return output::json(&registers);
    }
    if registers.data.is_empty() {
        output::note("no register was paired with this terminal");
    }
    registers.data.iter().try_for_each(|register| {
        output::line(format_args!("{}  {}  {}", register.id, register.created_at, register.name))
    })
}
