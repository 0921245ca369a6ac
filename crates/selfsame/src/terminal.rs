//! `selfsame terminal`: the verification interface and the hand-over, with the verification program as its child.

mod key;
mod pairing;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::Client;
use selfsame_api::simulator::{Delays, NewScenario, Scenario};
use selfsame_domain::clock::SystemClock;
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::Purpose;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::register::Registers;
use selfsame_terminal::{
    KioskAccess, LanAccess, Listening, RegisterAccess, TerminalConfig, run_simulated_terminal, run_terminal,
};

use crate::process::{ProcessOptions, stop};
use crate::server::child_arguments;
use crate::site::{Settings, Site};
use crate::supervise::{ChildProcess, Watch};
use crate::terminal::pairing::TerminalCommand;
use crate::verifier::capture_sources;

/// Where the verification interface is on TCP, in the site's `run` folder.
const LOOPBACK_URL: &str = "terminal.url";
const LAN_URL: &str = "terminal-lan.url";

/// Run the terminal at a till
///
/// Serves the verification interface on `run/terminal.sock`, and on the ports that section [terminal] of the settings
/// names; starts and watches the verification program. The machine must have been activated with `selfsame activate`.
///
/// With --simulate, on test sites only: the same interface without reader, camera and payer, for the makers of registers.
/// What happens is chosen by `POST /v1/simulator`; the payers are those of `selfsame desk test-payers`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  selfsame terminal --site /srv/till-1
  selfsame terminal pair --site /srv/till-1          let a cash register in over TCP
  selfsame terminal kiosk --site /srv/till-1 -- chromium --kiosk
  selfsame terminal rotate-key --site /srv/till-1
  selfsame terminal --site /srv/try --simulate --scenario server_slow
  selfsame demo --simulate                           a simulated one with a server and payers of its own
  curl --unix-socket /srv/till-1/run/terminal.sock http://localhost/v1/terminal"
)]
pub struct Terminal {
    #[command(flatten)]
    process: ProcessOptions,
    /// Test sites: nobody and nothing is before the terminal, and what happens is chosen
    #[arg(long)]
    simulate: bool,
    /// What happens before something else is chosen, for example `pass` or `payer_walks_away`
    #[arg(long, value_name = "NAME", requires = "simulate", default_value = "pass")]
    scenario: Scenario,
    #[command(subcommand)]
    command: Option<TerminalCommand>,
}

impl Terminal {
    /// Runs until stopped, or does what a command about registers asks for.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        if let Some(command) = self.command {
            return command.run(site).await;
        }
        let identity = DeviceIdentity::load(&site.device())?;
        if identity.terminal.purpose != Purpose::Till {
            bail!(
                "this machine was activated as a desk: `selfsame terminal` is for tills. Enrol people here with \
                 `selfsame desk enrol`, or activate a till terminal with `selfsame activate`"
            );
        }
        if self.simulate && identity.terminal.mode != Mode::Test {
            bail!("this terminal belongs to a live site, and simulators are for test sites only");
        }
        if !self.simulate {
            // What keeps the verification program from starting is told here, at once and to somebody who reads it.
            capture_sources(site, &identity)?;
        }
        let registers = register_access(site, &identity).await?;
        let kiosk = kiosk_access(site).await?;
        let page_origin = kiosk.as_ref().map(|kiosk| format!("http://{}", kiosk.listening.address()));
        let (_stopper, stopped) = self.process.start()?;
        let rotate_after_days = site.settings()?.identity.rotate_after_days;
        let clock = Arc::new(SystemClock);
        let config = TerminalConfig {
            socket: site.socket("terminal.sock")?,
            verifier_socket: site.socket("verifier.sock")?,
            journal: site.journal(),
            configuration: site.terminal_configuration(),
            budgets: site.settings()?.terminal.budgets()?,
            handover: Registers::open(&site.settings()?.register).await?,
            identity,
            kiosk,
            registers,
            clock: clock.clone(),
        };
        if self.simulate {
            let first = NewScenario { scenario: self.scenario, delays: Delays::default(), repeat: None };
            tracing::warn!(scenario = %self.scenario, "this terminal is simulated: nobody is verified");
            return run_simulated_terminal(config, first, stopped.wait())
                .await
                .context("the terminal failed");
        }
        let verifier = ChildProcess {
            name: "verifier",
            arguments: verifier_arguments(site, self.process, page_origin),
            pid_file: site.run("verifier.pid"),
            log: None,
            watch: Some(Watch {
                client: Client::unix(&site.socket("verifier.sock")?, clock),
                path: "/v1/verifier",
            }),
        };
        let (child_stopper, child_stopped) = stop();
        let (lost, verifier_lost) = stop();
        let serving = async {
            let stop = async move {
                tokio::select! {
                    () = stopped.wait() => {}
                    () = verifier_lost.wait() => {}
                }
            };
            let served = tokio::select! {
                served = run_terminal(config, stop) => served,
                () = key::keep_fresh(site, rotate_after_days) => unreachable!("it goes on for as long as the terminal"),
            };
            child_stopper.stop();
            served
        };
        let supervising = async {
            let supervised = verifier.supervise(child_stopped.wait()).await;
            lost.stop();
            supervised
        };
        let (served, supervised) = tokio::join!(serving, supervising);
        supervised?;
        served.context("the terminal failed")
    }
}

/// Origins of the pages that may call this machine: those of the payment server, which this terminal trusts with
/// everything else, under the name by which it knows it; and those that the settings name.
pub fn page_origins(settings: &Settings, identity: &DeviceIdentity) -> Vec<String> {
    let server = identity.server.trim_end_matches('/').to_ascii_lowercase();
    let mut origins = settings.terminal.origins.clone();
    if !origins.contains(&server) {
        origins.push(server);
    }
    origins
}

/// What the verification program is started with: the payer's page sends it frames from another port.
fn verifier_arguments(site: &Site, process: ProcessOptions, page_origin: Option<String>) -> Vec<String> {
    let mut arguments = child_arguments(site, "verifier", process);
    arguments.extend(page_origin.into_iter().flat_map(|origin| ["--page-origin".to_owned(), origin]));
    arguments
}

/// The port for the payer's page, if the settings name one.
async fn kiosk_access(site: &Site) -> anyhow::Result<Option<KioskAccess>> {
    let Some(address) = site.settings()?.kiosk.listen else { return Ok(None) };
    let listening = Listening::on_loopback(address)
        .await
        .with_context(|| format!("failed to listen on {address}, which `listen` in section [kiosk] names"))?;
    Ok(Some(KioskAccess { listening, file: site.kiosk() }))
}

/// The ports that the settings name. Where they are is told in the site's `run` folder.
async fn register_access(site: &Site, identity: &DeviceIdentity) -> anyhow::Result<RegisterAccess> {
    let settings = site.settings()?;
    let origins = page_origins(&settings, identity);
    let settings = settings.terminal;
    // Of an earlier run, whose settings may have been others.
    for stale in [LOOPBACK_URL, LAN_URL] {
        let _ = std::fs::remove_file(site.run(stale));
    }
    let failed = |setting: &str, address: SocketAddr| {
        format!("failed to listen on {address}, which `{setting}` in section [terminal] names")
    };
    let loopback = match settings.listen {
        None => None,
        Some(address) => {
            let listening =
                Listening::on_loopback(address).await.with_context(|| failed("listen", address))?;
            site.write_run(LOOPBACK_URL, &format!("http://{}", listening.address()))?;
            Some(listening)
        }
    };
    let lan = match (settings.listen_lan, settings.names.first()) {
        (None, _) => None,
        (Some(_), None) => bail!(
            "setting `names` in section [terminal] is missing: registers on the LAN need a name or an address by which \
             they reach this terminal"
        ),
        (Some(address), Some(first)) => {
            let listening =
                Listening::on_lan(address).await.with_context(|| failed("listen_lan", address))?;
            let host = if first.contains(':') { format!("[{first}]") } else { first.clone() };
            site.write_run(LAN_URL, &format!("https://{host}:{}", listening.address().port()))?;
            let (certificate, authority) = (site.terminal_certificate(), site.authority_certificate());
            Some(LanAccess { listening, names: settings.names, certificate, authority })
        }
    };
    Ok(RegisterAccess { registers: site.registers(), origins, loopback, lan })
}
