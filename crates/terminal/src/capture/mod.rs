//! Where samples come from: a reader or camera (a real one through its driver or page, or a simulated one), or files.
//!
//! A camera of this machine may be opened by the program itself (`v4l2`, where that was built in). Any other driver or page
//! connects from outside, over the verification program's Unix socket; the routes are documented in
//! [`reader`] and [`camera`]. One source a modality; what it delivers carries the source's grade.

pub mod camera;
pub mod files;
pub mod power;
pub mod reader;
#[cfg(all(feature = "v4l2", target_os = "linux"))]
pub mod v4l2;

use std::path::PathBuf;

use axum::Router;
use selfsame_api::sealing::{Frame, ImageFormat};
use selfsame_api::verifier::{CameraState, CameraStatus, CameraWish};
use selfsame_domain::challenge::Challenge;
use selfsame_domain::enrolment::Pose;
use selfsame_domain::sensor::{Modality, SensorGrade};
use tokio::sync::watch;
use zeroize::Zeroizing;

use self::camera::{Camera, Wanted};
use self::files::PictureFiles;
use self::reader::Reader;
#[cfg(all(feature = "v4l2", target_os = "linux"))]
use self::v4l2::VideoCamera;
use crate::simulator::Simulator;

/// One frame of a sample. Wiped when dropped; never printed.
pub struct SampleFrame {
    /// Format of the picture.
    pub format: ImageFormat,
    /// Dots per inch; 0 where it has no meaning (faces).
    pub resolution_dpi: u16,
    /// Milliseconds from the first colour of a challenge, or from the first frame.
    pub offset_ms: u32,
    /// The picture.
    pub image: Zeroizing<Vec<u8>>,
    /// How the head is held, where a camera was asked for it; for this machine's own guidance, never sent.
    pub pose: Option<Pose>,
}

impl SampleFrame {
    /// A single picture of a finger, PNG.
    pub fn finger(png: Vec<u8>, resolution_dpi: u16) -> Self {
        let image = Zeroizing::new(png);
        Self { format: ImageFormat::Png, resolution_dpi, offset_ms: 0, image, pose: None }
    }

    /// A picture of a face, JPEG.
    pub fn face(jpeg: Vec<u8>, offset_ms: u32) -> Self {
        let image = Zeroizing::new(jpeg);
        Self { format: ImageFormat::Jpeg, resolution_dpi: 0, offset_ms, image, pose: None }
    }

    /// As it is sealed.
    pub(crate) fn wire(&self) -> Frame<'_> {
        Frame {
            format: self.format,
            resolution_dpi: self.resolution_dpi,
            offset_ms: self.offset_ms,
            image: &self.image,
        }
    }
}

/// What one capture delivers: one frame of a finger, several of a face.
pub type Sample = Vec<SampleFrame>;

/// Why nothing was captured. A fault of ours, never an attempt of the payer's.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The folder or file cannot be read.
    #[error("failed to read the picture `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder has no more pictures.
    #[error("there are no more pictures in `{0}`")]
    NoMorePictures(PathBuf),
    /// The capture was given up.
    #[error("the capture was given up")]
    GivenUp,
    /// The simulated camera is gone.
    #[error("the simulated camera was unplugged")]
    Unplugged,
    /// The camera cannot be used.
    #[error("the camera `{device}` is {state}: {detail}")]
    Camera {
        /// Its file.
        device: PathBuf,
        /// What is the matter.
        state: CameraState,
        /// What the operating system says.
        detail: String,
    },
    /// Colours are wanted that nobody shows.
    #[error("`colour_flash` wants colours on a page that posts the camera's frames, `source = \"browser\"`")]
    NoColours,
    /// No source for this modality is configured.
    #[error("this terminal has nothing that captures a {0}")]
    NoSource(Modality),
}

/// Where the samples of one modality come from.
#[derive(Clone)]
pub enum CaptureSource {
    /// A finger reader, whose driver posts pictures.
    External(Reader),
    /// Synthetic fingers that touch the reader on request. Test sites only.
    Synthetic(Reader),
    /// A camera, whose page posts frames.
    Browser(Camera),
    /// Frames that a test program posts. Test sites only.
    Posted(Camera),
    /// A camera of this machine.
    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    V4l2(VideoCamera),
    /// Picture files in the order of their names. Test sites only.
    File(PictureFiles),
    /// What the simulator's scenario says. Test sites only.
    Scripted(Simulator),
}

impl CaptureSource {
    /// Its name in settings.
    pub fn name(&self) -> &'static str {
        match self {
            CaptureSource::External(_) => "external",
            CaptureSource::Synthetic(_) => "synthetic",
            CaptureSource::Browser(_) => "browser",
            CaptureSource::Posted(_) => "posted",
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(_) => "v4l2",
            CaptureSource::File(_) => "file",
            CaptureSource::Scripted(_) => "scripted",
        }
    }

    /// What it captures.
    pub fn modality(&self) -> Modality {
        match self {
            CaptureSource::External(_) | CaptureSource::Synthetic(_) | CaptureSource::Scripted(_) => {
                Modality::Finger
            }
            CaptureSource::Browser(_) | CaptureSource::Posted(_) => Modality::Face,
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(_) => Modality::Face,
            CaptureSource::File(files) => files.modality(),
        }
    }

    /// How far its samples can be trusted: files, generators and test programs are `simulated`.
    pub fn grade(&self) -> SensorGrade {
        match self {
            CaptureSource::External(_) => SensorGrade::Finger,
            CaptureSource::Browser(_) => SensorGrade::Rgb,
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(_) => SensorGrade::Rgb,
            CaptureSource::Synthetic(_)
            | CaptureSource::Posted(_)
            | CaptureSource::File(_)
            | CaptureSource::Scripted(_) => SensorGrade::Simulated,
        }
    }

    /// Waits for the next sample; `guide` is told what the payer should do meanwhile. Dropping the future frees the
    /// reader or camera.
    pub async fn capture(
        &self,
        challenge: Option<&Challenge>,
        guide: impl Fn(Option<&'static str>) + Send + Sync,
    ) -> Result<Sample, CaptureError> {
        match self {
            CaptureSource::External(reader) | CaptureSource::Synthetic(reader) => reader.next().await,
            CaptureSource::Browser(camera) | CaptureSource::Posted(camera) => {
                camera.next(Wanted { challenge, taken: None, frames: self.frames() }, guide).await
            }
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(camera) => {
                camera.next(Wanted { challenge, taken: None, frames: self.frames() }, guide).await
            }
            CaptureSource::File(files) => files.next(),
            CaptureSource::Scripted(simulator) => simulator.capture().await,
        }
    }

    /// Waits for the next sample of an enrolment. A camera waits until the face is held otherwise than in the poses
    /// `taken` before, as far as that is still wanted (see [`next_turn`](selfsame_domain::enrolment::next_turn)), and
    /// tells the pose of its frames. Readers and files just take what comes.
    pub async fn capture_for_enrolment(
        &self,
        taken: &[Pose],
        guide: impl Fn(Option<&'static str>) + Send + Sync,
    ) -> Result<Sample, CaptureError> {
        match self {
            CaptureSource::Browser(camera) | CaptureSource::Posted(camera) => {
                let wanted = Wanted { challenge: None, taken: Some(taken), frames: self.frames() };
                camera.next(wanted, guide).await
            }
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(camera) => {
                let wanted = Wanted { challenge: None, taken: Some(taken), frames: self.frames() };
                camera.next(wanted, guide).await
            }
            _ => self.capture(None, guide).await,
        }
    }

    /// Frames of a face that make a sample: attack detection wants several of a camera, of a photo there is one.
    fn frames(&self) -> usize {
        if self.grade() == SensorGrade::Simulated { 1 } else { selfsame_api::verification::FACE_FRAMES_MIN }
    }

    /// Routes by which a driver, page or simulated finger brings samples.
    pub fn routes(&self) -> Router {
        match self {
            CaptureSource::External(reader) => reader.driver_routes(),
            CaptureSource::Synthetic(reader) => reader.press_routes(),
            CaptureSource::Browser(camera) | CaptureSource::Posted(camera) => camera.routes(),
            CaptureSource::File(_) | CaptureSource::Scripted(_) => Router::new(),
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(_) => Router::new(),
        }
    }

    /// How the camera fares that this program opens itself; `None` for any other source.
    pub(crate) fn camera_status(&self) -> Option<CameraStatus> {
        match self {
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(camera) => Some(camera.status()),
            _ => None,
        }
    }

    /// Opens and closes this program's own camera as is wished. Ends only if the program has to be started anew for a camera
    /// that was plugged in again; never for any other source.
    pub(crate) async fn switch(&self, wish: watch::Receiver<CameraWish>) {
        match self {
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(camera) => camera.run(wish).await,
            _ => {
                drop(wish);
                std::future::pending().await
            }
        }
    }

    /// Waits a moment until this program's own camera is closed, which nobody wishes on any more.
    pub(crate) async fn closed(&self) {
        match self {
            #[cfg(all(feature = "v4l2", target_os = "linux"))]
            CaptureSource::V4l2(camera) => camera.closed().await,
            _ => {}
        }
    }

    /// Keeps this program's own camera on for as long as this is awaited, where no terminal says when it is wanted. Ends
    /// only if that has become impossible.
    pub(crate) async fn keep_on(&self) {
        let on = watch::Sender::new(CameraWish { sequence: 1, on: true });
        self.switch(on.subscribe()).await;
    }
}
