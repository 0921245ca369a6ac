//! The desk's camera and reader for the staff's page.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::terminal::Purpose;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::{DeskConfig, Listening, run_desk};

use crate::process::ProcessOptions;
use crate::sandbox;
use crate::site::Site;
use crate::terminal::page_origins;
use crate::verifier::capture_sources;

/// Where the page finds the program, in the site's `run` folder.
const PAGE_URL: &str = "desk.url";

/// Serve camera and reader of this desk to the staff's page
///
/// On a machine that was activated as a desk. The page `/desk` of the payment server, opened in a browser on this machine,
/// finds it on the loopback port that `listen` in section [camera] names, and has people enrolled by it. Runs until it is
/// told to stop (Ctrl-C, SIGTERM).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame desk serve --site /srv/desk-1")]
pub struct Serve {
    #[command(flatten)]
    process: ProcessOptions,
}

impl Serve {
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let identity = DeviceIdentity::load(&site.device())?;
        if identity.terminal.purpose != Purpose::Desk {
            bail!(
                "this machine was activated as a till, and people are enrolled at a staffed desk only: run this on a \
                 desk, in its folder (--site)"
            );
        }
        let sources = capture_sources(site, &identity)?;
        let settings = site.settings()?;
        let listen = settings.camera.listen.context(
            "setting `listen` in section [camera] is missing: the staff's page needs a port of this machine, e.g. \
             `listen = \"127.0.0.1:8703\"`",
        )?;
        let page = Listening::on_loopback(listen).await.with_context(|| {
            format!("failed to listen on {listen}, which `listen` in section [camera] names")
        })?;
        let url = format!("http://{}", page.address());
        let (_stopper, stop) = self.process.start()?;
        sandbox::tell();
        site.write_run(PAGE_URL, &url)?;
        tracing::info!(desk.url = url, "serving camera and reader of this desk");
        let config = DeskConfig {
            socket: site.socket("verifier.sock")?,
            page,
            origins: page_origins(&settings, &identity),
            sources,
            identity,
            clock: Arc::new(SystemClock),
        };
        run_desk(config, stop.wait()).await.context("the desk's capture failed")
    }
}
