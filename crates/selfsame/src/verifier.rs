//! `selfsame verifier`: the verification program. The terminal starts it and wakes it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use selfsame_domain::clock::SystemClock;
use selfsame_domain::sensor::Modality;
use selfsame_terminal::capture::CaptureSource;
use selfsame_terminal::capture::camera::Camera;
use selfsame_terminal::capture::files::PictureFiles;
use selfsame_terminal::capture::power::CameraPolicy;
use selfsame_terminal::capture::reader::Reader;
#[cfg(all(feature = "v4l2", target_os = "linux"))]
use selfsame_terminal::capture::v4l2::VideoCamera;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::face::FaceFinder;
use selfsame_terminal::{PageAccess, VerifierConfig, run_verifier};

use crate::models::face_pack;
use crate::process::ProcessOptions;
use crate::sandbox;
use crate::site::{CameraPolicyKind, CameraSourceKind, CaptureSettings, CaptureSourceKind, Settings, Site};

/// Where the payer's page finds the verification program, in the site's `run` folder.
pub const PAGE_URL: &str = "verifier.url";

/// The token that it shows there.
pub const PAGE_TOKEN: &str = "verifier.token";

/// Run the verification program of a terminal (the terminal does this itself)
///
/// Takes identifier and sample from the payer, seals and signs them. Listens on `run/verifier.sock` for the terminal
/// and for the driver of the reader. With `listen` in section [camera] also on a loopback port for the payer's page, which
/// shows the token in `run/verifier.token`.
#[derive(Args, Debug)]
pub struct Verifier {
    #[command(flatten)]
    process: ProcessOptions,
    /// Page of another port that may send frames
    #[arg(long, hide = true)]
    page_origin: Option<String>,
}

impl Verifier {
    /// Runs until stopped.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let identity = DeviceIdentity::load(&site.device())?;
        let sources = capture_sources(site, &identity)?;
        let socket = site.socket("verifier.sock")?;
        let page = page_access(site, self.page_origin).await?;
        let (_stopper, stop) = self.process.start()?;
        sandbox::tell();
        let settings = site.settings()?;
        let camera_policy = match settings.camera.policy {
            CameraPolicyKind::Cold => CameraPolicy::Cold,
            CameraPolicyKind::Warm => CameraPolicy::Warm,
        };
        let budgets = settings.terminal.budgets()?;
        let clock = Arc::new(SystemClock);
        let config = VerifierConfig { socket, sources, camera_policy, budgets, page, identity, clock };
        run_verifier(config, stop.wait()).await.context("the verification program failed")
    }
}

/// The port for the payer's page, if the settings name one; its address and token are told in the site's `run` folder.
async fn page_access(site: &Site, origin: Option<String>) -> anyhow::Result<Option<PageAccess>> {
    let Some(address) = site.settings()?.camera.listen else { return Ok(None) };
    let page = PageAccess::bind(address, origin.into_iter().collect()).await.with_context(|| {
        format!("failed to listen on {address}, which `listen` in section [camera] names")
    })?;
    site.write_run_private(PAGE_TOKEN, page.token())?;
    site.write_run(PAGE_URL, &page.url())?;
    Ok(Some(page))
}

/// The sources that the settings name, if a site of this mode takes their samples.
pub fn capture_sources(site: &Site, identity: &DeviceIdentity) -> anyhow::Result<Vec<CaptureSource>> {
    let settings = site.settings()?;
    let sources = [Some(finger_source(&settings.capture)?), face_source(site, &settings)?];
    let sources: Vec<CaptureSource> = sources.into_iter().flatten().collect();
    let mode = identity.terminal.mode;
    for source in &sources {
        if !source.grade().accepted_in(mode) {
            let (section, real) = match source.modality() {
                Modality::Finger => ("capture", "external` and connect a reader"),
                Modality::Face => ("camera", "browser` and open the terminal's page, or `v4l2"),
            };
            bail!(
                "`source = \"{}\"` in section [{section}] gives simulated samples, which a {} site refuses: set \
                 `source = {real}",
                source.name(),
                mode.as_str()
            );
        }
    }
    Ok(sources)
}

/// The source of one modality.
pub fn capture_source(
    site: &Site,
    identity: &DeviceIdentity,
    modality: Modality,
) -> anyhow::Result<CaptureSource> {
    let sources = capture_sources(site, identity)?;
    sources.into_iter().find(|source| source.modality() == modality).with_context(|| {
        format!("`selfsame.toml` names no source of a {modality}: set `source` in section [camera]")
    })
}

fn finger_source(capture: &CaptureSettings) -> anyhow::Result<CaptureSource> {
    Ok(match (capture.source, &capture.path) {
        (CaptureSourceKind::External, _) => CaptureSource::External(Reader::default()),
        (CaptureSourceKind::Synthetic, _) => CaptureSource::Synthetic(Reader::default()),
        (CaptureSourceKind::File, Some(path)) => {
            CaptureSource::File(PictureFiles::open(path, Modality::Finger, capture.resolution_dpi)?)
        }
        (CaptureSourceKind::File, None) => {
            bail!("setting `path` in section [capture] is missing: `source = \"file\"` needs pictures")
        }
    })
}

fn face_source(site: &Site, settings: &Settings) -> anyhow::Result<Option<CaptureSource>> {
    let camera = || {
        let pack = face_pack(site, settings)?.context(
            "section [camera] names a source, but section [models] names no pack that finds faces: set `face` there, \
             or `source = \"none\"`",
        )?;
        anyhow::Ok(Camera::new(Arc::new(FaceFinder::new(&pack)?)))
    };
    Ok(Some(match (settings.camera.source, &settings.camera.path) {
        (CameraSourceKind::None, _) => return Ok(None),
        (CameraSourceKind::Browser, _) => CaptureSource::Browser(camera()?),
        (CameraSourceKind::Posted, _) => CaptureSource::Posted(camera()?),
        (CameraSourceKind::V4l2, _) => own_camera(&settings.camera.device, camera)?,
        // Files carry their own resolution, in pixels of the face.
        (CameraSourceKind::File, Some(path)) => {
            CaptureSource::File(PictureFiles::open(path, Modality::Face, 0)?)
        }
        (CameraSourceKind::File, None) => {
            bail!("setting `path` in section [camera] is missing: `source = \"file\"` needs pictures")
        }
    }))
}

#[cfg(all(feature = "v4l2", target_os = "linux"))]
fn own_camera(
    device: &Path,
    camera: impl FnOnce() -> anyhow::Result<Camera>,
) -> anyhow::Result<CaptureSource> {
    Ok(CaptureSource::V4l2(VideoCamera::new(device, camera()?)))
}

#[cfg(not(all(feature = "v4l2", target_os = "linux")))]
fn own_camera(
    _device: &Path,
    _camera: impl FnOnce() -> anyhow::Result<Camera>,
) -> anyhow::Result<CaptureSource> {
    bail!(
        "`source = \"v4l2\"` in section [camera] needs a program that was built for Linux with the feature `v4l2` \
         (`cargo build --release --features v4l2`): this one was not. Set `source = \"browser\"` and open the terminal's page"
    )
}
