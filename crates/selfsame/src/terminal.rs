//! `selfsame terminal`: the verification interface and the hand-over, with the verification program as its child.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::Client;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::terminal::Purpose;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::{TerminalConfig, run_terminal};

use crate::process::{ProcessOptions, stop};
use crate::server::child_arguments;
use crate::site::Site;
use crate::supervise::{ChildProcess, Watch};
use crate::verifier::capture_sources;

/// Run the terminal at a till
///
/// Serves the verification interface on `run/terminal.sock`, starts and watches the verification program. The
/// machine must have been activated with `selfsame activate`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame terminal --site /srv/till-1
  curl --unix-socket /srv/till-1/run/terminal.sock http://localhost/v1/terminal")]
pub struct Terminal {
    #[command(flatten)]
    process: ProcessOptions,
}

impl Terminal {
    /// Runs until stopped.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let identity = DeviceIdentity::load(&site.device())?;
        if identity.terminal.purpose != Purpose::Till {
            bail!(
                "this machine was activated as a desk: `selfsame terminal` is for tills. Enrol people here with \
                 `selfsame desk enrol`, or activate a till terminal with `selfsame activate`"
            );
        }
        // What keeps the verification program from starting is told here, at once and to somebody who reads it.
        capture_sources(site, &identity)?;
        let (_stopper, stopped) = self.process.start()?;
        let clock = Arc::new(SystemClock);
        let config = TerminalConfig {
            socket: site.socket("terminal.sock")?,
            verifier_socket: site.socket("verifier.sock")?,
            journal: site.journal(),
            budgets: site.settings()?.terminal.budgets()?,
            identity,
            clock: clock.clone(),
        };
        let verifier = ChildProcess {
            name: "verifier",
            arguments: child_arguments(site, "verifier", self.process),
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
            let served = run_terminal(config, stop).await;
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
