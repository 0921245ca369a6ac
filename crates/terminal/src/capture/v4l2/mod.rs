//! A camera of Linux (V4L2) that the verification program opens itself, so that no browser is needed. Open only while
//! [`CameraPower`](super::power) wants it on; a fault is told in its [`CameraStatus`] and tried again every second, so a
//! camera that is plugged in again comes back by itself. Its frames go the same way as those of a page.

mod device;
mod format;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use selfsame_api::verifier::{CameraState, CameraStatus, CameraWish};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

pub use self::device::Frame;
use self::device::{Fault, Stream};
use self::format::Offer;
pub use self::format::{Format, Picture};
use super::camera::{Camera, Wanted};
use super::{CaptureError, Sample};

/// Pause before a camera with a fault is opened again, and how often is looked whether one that is off is still there.
const LOOK: Duration = Duration::from_secs(1);

/// A fault that lasts so long while a payer is looked at ends the capture. Longer than [`LOOK`], so that a camera that
/// another program has just let go does not cost the payer a verification.
const PATIENCE: Duration = Duration::from_millis(1500);

/// So often in a row a camera that was plugged in while we ran may refuse us, before we take that for the sandbox. The
/// system sets its owner in less time than that.
const REFUSED_MAX: u32 = 3;

/// Longest wait for the camera to be closed before a cancel is answered. Closing takes milliseconds.
const CLOSING_MAX: Duration = Duration::from_millis(300);

/// Tells a device file from the one that takes its place after the camera was plugged in again: device and inode.
type Node = (u64, u64);

fn node(path: &Path) -> Option<Node> {
    let found = fs::metadata(path).ok().filter(|found| found.file_type().is_char_device())?;
    Some((found.dev(), found.ino()))
}

struct Shared {
    path: PathBuf,
    /// The file that was there when this process started; the sandbox knows no other.
    first: Option<Node>,
    status: watch::Sender<CameraStatus>,
    frames: AtomicU64,
}

/// A camera's device file, opened and closed as it is wanted.
#[derive(Clone)]
pub struct VideoDevice(Arc<Shared>);

impl VideoDevice {
    /// The camera at `path`, e.g. `/dev/video0`, which need not be there yet. Nothing is opened.
    pub fn new(path: &Path) -> Self {
        let off = CameraStatus { state: CameraState::Off, detail: None, format: None, frames: 0 };
        Self(Arc::new(Shared {
            path: path.to_owned(),
            first: node(path),
            status: watch::Sender::new(off),
            frames: AtomicU64::new(0),
        }))
    }

    /// How it fares now.
    pub fn status(&self) -> CameraStatus {
        let frames = self.0.frames.load(Ordering::Relaxed);
        CameraStatus { frames, ..self.0.status.borrow().clone() }
    }

    /// Waits until its status is like that.
    pub async fn reaches(&self, is_wanted: impl FnMut(&CameraStatus) -> bool) -> CameraStatus {
        let mut changes = self.0.status.subscribe();
        let reached = changes.wait_for(is_wanted).await.map(|status| status.clone());
        reached.expect("its sender is in ourselves")
    }

    fn set(&self, state: CameraState, detail: Option<String>) {
        self.0.status.send_if_modified(|status| {
            if (status.state, &status.detail) == (state, &detail) {
                return false;
            }
            let (path, before) = (self.0.path.display(), status.state);
            if state.is_fault() {
                let detail = detail.as_deref().unwrap_or_default();
                tracing::warn!(camera.device = %path, camera.state = %state, detail, "the camera cannot be used");
            } else if before.is_fault() {
                tracing::info!(camera.device = %path, camera.state = %state, "the camera can be used again");
            }
            (status.state, status.detail) = (state, detail);
            true
        });
    }

    /// Opens and closes it as is wished, and shows its frames to `take` on a thread of its own. Ends only if it was plugged
    /// in again as a file that this process may not open: then the process, with its sandbox, has to be started anew.
    pub async fn run(
        &self,
        mut wish: watch::Receiver<CameraWish>,
        take: impl Fn(Frame<'_>) + Clone + Send + 'static,
    ) {
        let mut refused = 0;
        loop {
            self.rest(&mut wish).await;
            if !self.0.status.borrow().state.is_fault() {
                self.set(CameraState::Opening, None);
            }
            let mut running = Running::start(self.clone(), take.clone());
            let ended = tokio::select! {
                ended = &mut running.ended => ended,
                () = wished(&mut wish, false) => {
                    running.stop();
                    (&mut running.ended).await
                }
            };
            let fault = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(fault)) => fault,
                // Its sender went with a panic, on an answer of the driver that nobody expects, or there was no thread.
                Err(_) => {
                    let detail = "reading it broke off, see the log".to_owned();
                    Fault { state: CameraState::Failed, detail }
                }
            };
            let state = fault.state;
            self.set(state, Some(fault.detail));
            refused = if state == CameraState::Denied && node(&self.0.path) != self.0.first {
                refused + 1
            } else {
                0
            };
            if refused == REFUSED_MAX {
                return;
            }
            // Off in between ends the pause.
            let _ = tokio::time::timeout(LOOK, wished(&mut wish, false)).await;
        }
    }

    /// Off until it is wished on. Whether it is there is seen without opening it.
    async fn rest(&self, wish: &mut watch::Receiver<CameraWish>) {
        while !wish.borrow_and_update().on {
            let is_there = node(&self.0.path).is_some();
            if is_there {
                self.set(CameraState::Off, None);
            } else {
                self.set(CameraState::Missing, Some("there is no such device".to_owned()));
            }
            let _ = tokio::time::timeout(LOOK, wished(wish, true)).await;
        }
    }

    /// Waits for a fault that stays.
    async fn lasting_fault(&self) -> CameraStatus {
        loop {
            self.reaches(|status| status.state.is_fault()).await;
            let well = self.reaches(|status| !status.state.is_fault());
            if tokio::time::timeout(PATIENCE, well).await.is_err() {
                return self.status();
            }
        }
    }
}

/// Waits until the camera is wished on, or off.
async fn wished(wish: &mut watch::Receiver<CameraWish>, on: bool) {
    if wish.wait_for(|wish| wish.on == on).await.is_err() {
        // Nobody wishes any more: the process ends.
        std::future::pending().await
    }
}

/// A thread that reads frames. Stopped when dropped.
struct Running {
    stop: Option<Arc<OwnedFd>>,
    ended: oneshot::Receiver<Result<(), Fault>>,
}

impl Running {
    fn start(device: VideoDevice, take: impl Fn(Frame<'_>) + Send + 'static) -> Self {
        let (sender, ended) = oneshot::channel();
        let stop = match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(stop) => Arc::new(stop),
            Err(error) => {
                let _ = sender.send(Err(std::io::Error::from(error).into()));
                return Self { stop: None, ended };
            }
        };
        let stopped = stop.clone();
        let read = move || {
            let result = device.read(&stopped, take);
            // Closed by now. Nobody may wait for it any more.
            let _ = sender.send(result);
        };
        let started = std::thread::Builder::new().name("camera".to_owned()).spawn(read);
        if let Err(error) = started {
            // The sender went with the closure, which tells it; the log tells why.
            tracing::error!(%error, "no thread for the camera could be started");
        }
        Self { stop: Some(stop), ended }
    }

    fn stop(&self) {
        if let Some(stop) = &self.stop {
            // Cannot fail: the counter is far from its end.
            let _ = rustix::io::write(stop, &1_u64.to_ne_bytes());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl VideoDevice {
    /// Reads frames until `stop` can be read, then closes the camera.
    fn read(&self, stop: &OwnedFd, take: impl Fn(Frame<'_>)) -> Result<(), Fault> {
        let mut stream = Stream::open(&self.0.path)?;
        let format = stream.format().to_string();
        self.0.status.send_modify(|status| status.format = Some(format));
        let is_going_on = |frame: Frame<'_>| {
            self.0.frames.fetch_add(1, Ordering::Relaxed);
            self.set(CameraState::On, None);
            take(frame);
        };
        while stream.next(stop, is_going_on)? {}
        Ok(())
    }
}

/// The camera as a source of faces.
#[derive(Clone)]
pub struct VideoCamera {
    device: VideoDevice,
    camera: Camera,
}

impl VideoCamera {
    /// The camera at `path`, whose frames `camera` judges.
    pub fn new(path: &Path, camera: Camera) -> Self {
        Self { device: VideoDevice::new(path), camera }
    }

    pub(crate) fn status(&self) -> CameraStatus {
        self.device.status()
    }

    /// See [`VideoDevice::run`].
    pub(crate) async fn run(&self, wish: watch::Receiver<CameraWish>) {
        let (camera, runtime) = (self.camera.clone(), Handle::current());
        self.device.run(wish, move |frame| camera.offer(&runtime, frame.at_ms, || frame.picture())).await;
    }

    /// Waits a moment until it is closed.
    pub(crate) async fn closed(&self) {
        let is_closed =
            |status: &CameraStatus| !matches!(status.state, CameraState::Opening | CameraState::On);
        if tokio::time::timeout(CLOSING_MAX, self.device.reaches(is_closed)).await.is_err() {
            tracing::warn!("the camera is slow to close");
        }
    }

    /// Waits for a sample.
    pub(super) async fn next(
        &self,
        wanted: Wanted<'_>,
        guide: impl Fn(Option<&'static str>) + Send + Sync,
    ) -> Result<Sample, CaptureError> {
        if wanted.challenge.is_some() {
            // Nobody tells when the first colour came up.
            return Err(CaptureError::NoColours);
        }
        tokio::select! {
            sample = self.camera.next(wanted, guide) => sample,
            status = self.device.lasting_fault() => Err(CaptureError::Camera {
                device: self.device.0.path.clone(),
                state: status.state,
                detail: status.detail.unwrap_or_default(),
            }),
        }
    }
}

/// What the camera at `path` offers, in a line for people, the kind of frames first that would be taken. None is taken.
pub fn describe(path: &Path) -> Result<String, String> {
    let offers =
        device::offers(path).map_err(|fault| format!("{} ({})", fault.state.meaning(), fault.detail))?;
    let offered = offers.iter().map(Offer::to_string).collect::<Vec<_>>().join("; ");
    match format::choose(&offers) {
        Some((coding, (width, height))) => {
            Ok(format!("takes {} {width}x{height} of {offered}", coding.escape_ascii()))
        }
        None => Err(format!("{} (it offers {offered})", CameraState::Unsuitable.meaning())),
    }
}
