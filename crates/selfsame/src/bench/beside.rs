//! Charges while faces are verified: the matcher is a process of its own, at the priority that it has on a site.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use selfsame_api::bytes::Bytes;
use selfsame_api::client::Client;
use selfsame_api::matcher::{
    ComparisonRequest, ComparisonResponse, ExtractionRequest, ExtractionResponse, Matcher, Probe,
};
use selfsame_api::sealing::{Frame, FrameContext, ImageFormat, SealedFrame, seal};
use selfsame_api::verification::FACE_FRAMES_MIN;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::{AccountId, TemplateId, TerminalId};
use selfsame_domain::sensor::{Modality, SensorGrade};

use crate::bench::client::Till;
use crate::bench::load::{Figures, OPEN_CLIENTS, connections, open_loop};
use crate::bench::world::{Engine, Ready, Size, World};
use crate::init::Init;
use crate::models::PackOptions;
use crate::output;
use crate::process::ProcessOptions;
use crate::server::child_arguments;
use crate::site::Site;

/// Charges a second: what forty tills do at a lunch break.
const CHARGES_PER_SECOND: u32 = 100;

/// Pause between two verifications: two a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for the matcher.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What was measured.
pub struct Beside {
    /// Charges with nothing beside them.
    pub alone: Figures,
    /// Charges beside verifications.
    pub verifying: Figures,
    /// How long each verification took.
    pub verifications: Vec<Duration>,
}

impl Beside {
    /// The median verification.
    pub fn median(&self) -> Duration {
        let mut sorted = self.verifications.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// Charges for `length`, alone and then beside verifications of the first photo that the matcher takes.
pub async fn measure(pack: &PackOptions, photos: &[PathBuf], length: Duration) -> anyhow::Result<Beside> {
    let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
    let site = Site::new(folder.path())?;
    Init::for_tests().create(&site).await?;
    std::fs::write(site.folder().join("selfsame.toml"), pack.settings()?)?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(child_arguments(&site, "matcher", ProcessOptions::default()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("failed to start a matcher")?;
    let matcher = Client::unix(&site.socket("matcher.sock")?, Arc::new(SystemClock));
    let request = prepare(&matcher, photos).await?;
    output::note("charging, with nothing beside it");
    let (world, server, codes) = till(length).await?;
    let mut clients = connections(&[server], OPEN_CLIENTS).await?;
    let alone = open_loop(&mut clients, codes, CHARGES_PER_SECOND).await?;
    world.check().await?;
    output::note("charging, beside two verifications a second");
    let (world, server, codes) = till(length).await?;
    let mut clients = connections(&[server], OPEN_CLIENTS).await?;
    let mut verifications = Vec::new();
    let verifying = tokio::select! {
        figures = open_loop(&mut clients, codes, CHARGES_PER_SECOND) => figures?,
        broken = verify(&matcher, &request, &mut verifications) => return Err(broken),
    };
    world.check().await?;
    child.kill().await?;
    Ok(Beside { alone, verifying, verifications })
}

/// A server with as many codes as are charged, on a site of its own.
async fn till(length: Duration) -> anyhow::Result<(World, Till, Vec<Ready>)> {
    let mut world = World::new(1, &Engine::Sqlite, Size::SQLITE).await?;
    let server = world.serve().await?;
    let count = CHARGES_PER_SECOND as usize * usize::try_from(length.as_secs())?;
    let codes = world.codes(count).await?;
    Ok((world, server, codes))
}

/// Waits for the matcher, and makes the request that the server would send for one payer with one template.
async fn prepare(matcher: &Client, photos: &[PathBuf]) -> anyhow::Result<ComparisonRequest> {
    let started = Instant::now();
    let described: Matcher = loop {
        match matcher.get("/v1/matcher", TIMEOUT).await {
            Ok(described) => break described,
            Err(error) if started.elapsed() > TIMEOUT => return Err(error).context("no matcher came up"),
            Err(_) => tokio::time::sleep(PAUSE / 10).await,
        }
    };
    let now = SystemClock.now();
    for path in photos {
        let photo = std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let context = FrameContext {
            terminal: TerminalId::new(now, [1; 10]),
            session: "bench".to_owned(),
            nonce: Bytes(vec![1; 32]),
            modality: Modality::Face,
            sensor_grade: SensorGrade::Simulated,
        };
        let sealed = |index: usize| -> anyhow::Result<SealedFrame> {
            let frame = Frame {
                format: ImageFormat::Jpeg,
                resolution_dpi: 0,
                offset_ms: u32::try_from(index)? * 100,
                image: &photo,
            };
            Ok(seal(&described.key, &context, index, frame)?)
        };
        let frames = (0..FACE_FRAMES_MIN).map(sealed).collect::<anyhow::Result<Vec<_>>>()?;
        let enrolment = ExtractionRequest {
            context: context.clone(),
            frames: frames[..1].to_vec(),
            account: AccountId::new(now, [1; 10]),
            instance: 0,
            templates: vec![TemplateId::new(now, [1; 10])],
            key: None,
        };
        let extracted = matcher.post("/v1/extractions", &enrolment, TIMEOUT).await?;
        if let ExtractionResponse::Extracted { templates, key, .. } = extracted {
            return Ok(ComparisonRequest {
                modality: Modality::Face,
                probe: Probe::Frames { context, frames, challenge: None },
                candidates: templates,
                keys: vec![key],
            });
        }
    }
    bail!("the matcher takes none of {} photos", photos.len())
}

/// Verifies until it is dropped or something breaks.
async fn verify(
    matcher: &Client,
    request: &ComparisonRequest,
    verifications: &mut Vec<Duration>,
) -> anyhow::Error {
    let mut due = tokio::time::interval(PAUSE);
    loop {
        due.tick().await;
        let started = Instant::now();
        match matcher.post::<ComparisonResponse>("/v1/comparisons", request, TIMEOUT).await {
            Ok(ComparisonResponse::Compared { .. }) => verifications.push(started.elapsed()),
            Ok(_) => return anyhow::anyhow!("the matcher could not use what it took before"),
            Err(error) => return error.into(),
        }
    }
}
