//! `selfsame verifier`: the verification program. The terminal starts it and wakes it.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_domain::clock::SystemClock;
use selfsame_terminal::capture::{CaptureSource, PictureFiles, Reader};
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::{VerifierConfig, run_verifier};

use crate::process::ProcessOptions;
use crate::site::{CaptureSourceKind, Settings, Site};

/// Run the verification program of a terminal (the terminal does this itself)
///
/// Takes identifier and sample from the payer, seals and signs them. Listens on `run/verifier.sock` for the terminal
/// and for the driver of the reader.
#[derive(Args, Debug)]
pub struct Verifier {
    #[command(flatten)]
    process: ProcessOptions,
}

impl Verifier {
    /// Runs until stopped.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let identity = DeviceIdentity::load(&site.device())?;
        let source = capture_source(&site.settings()?, &identity)?;
        let socket = site.socket("verifier.sock")?;
        let (_stopper, stop) = self.process.start()?;
        let config = VerifierConfig { socket, source, identity, clock: Arc::new(SystemClock) };
        run_verifier(config, stop.wait()).await.context("the verification program failed")
    }
}

/// The source that the settings name, if a site of this mode takes its samples.
pub fn capture_source(settings: &Settings, identity: &DeviceIdentity) -> anyhow::Result<CaptureSource> {
    let capture = &settings.capture;
    let source = match (capture.source, &capture.path) {
        (CaptureSourceKind::External, _) => CaptureSource::External(Reader::default()),
        (CaptureSourceKind::Synthetic, _) => CaptureSource::Synthetic(Reader::default()),
        (CaptureSourceKind::File, Some(path)) => {
            CaptureSource::File(PictureFiles::open(path, capture.resolution_dpi)?)
        }
        (CaptureSourceKind::File, None) => {
            bail!("setting `path` in section [capture] is missing: `source = \"file\"` needs pictures")
        }
    };
    let mode = identity.terminal.mode;
    if !source.grade().accepted_in(mode) {
        bail!(
            "`source = \"{}\"` in section [capture] gives simulated samples, which a {} site refuses: set `source = \
             \"external\"` and connect a reader",
            source.name(),
            mode.as_str()
        );
    }
    Ok(source)
}
