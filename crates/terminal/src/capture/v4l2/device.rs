//! A camera's device file: opened, set up, read frame by frame.
//!
//! By the crate `linuxvideo`, which has Linux's interface in Rust, without a C library or generated bindings, and owns the
//! mapped memory (ADR 0031).

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use linuxvideo::format::{FrameSizes, PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, CapabilityFlags, Device, Fract};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use selfsame_api::verifier::CameraState;

use super::format::{Format, Offer, Picture, Size, Sizes, choose, is_usable};

/// Longest time without a frame; opening takes up to two seconds.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Frames a second that a camera is asked for. More than are judged, so that the one judged next is fresh.
const RATE: u32 = 30;

/// Codings of a camera that are looked at; real ones have up to ten, virtual ones a hundred.
const CODINGS_MAX: usize = 256;

/// Why a device gives no frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What to tell.
    pub(super) state: CameraState,
    /// What the operating system says.
    pub(super) detail: String,
}

impl Fault {
    fn new(state: CameraState, detail: impl Into<String>) -> Self {
        Self { state, detail: detail.into() }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let errno = Errno::from_io_error(&error);
        let state = match errno {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::SHUTDOWN) => CameraState::Missing,
            Some(Errno::BUSY) => CameraState::Busy,
            Some(Errno::ACCESS | Errno::PERM) => CameraState::Denied,
            // No video device at all, or one that knows no such calls.
            Some(Errno::NOTTY | Errno::INVAL | Errno::ISDIR) => CameraState::Unsuitable,
            _ => CameraState::Failed,
        };
        Fault::new(state, error.to_string())
    }
}

/// A frame in the camera's own memory.
pub struct Frame<'a> {
    /// When it came, in milliseconds since the camera was opened; never falling until it is opened again.
    pub at_ms: u32,
    /// Its coding and size.
    pub format: Format,
    bytes: &'a [u8],
}

impl Frame<'_> {
    /// A copy that outlives the camera's own.
    pub fn picture(&self) -> Picture {
        Picture::new(self.format, self.bytes)
    }
}

/// What a camera offers, without a frame being taken.
pub(super) fn offers(path: &Path) -> Result<Vec<Offer>, Fault> {
    offers_of(&open(path)?)
}

fn open(path: &Path) -> Result<Device, Fault> {
    let device = Device::open(path)?;
    let capabilities = device.capabilities()?.device_capabilities();
    if !capabilities.contains(CapabilityFlags::VIDEO_CAPTURE | CapabilityFlags::STREAMING) {
        return Err(Fault::new(CameraState::Unsuitable, "it is a video device that gives no pictures"));
    }
    Ok(device)
}

fn offers_of(device: &Device) -> Result<Vec<Offer>, Fault> {
    let mut offers = Vec::new();
    for described in device.formats(BufType::VIDEO_CAPTURE).take(CODINGS_MAX) {
        let pixels = described?.pixel_format();
        let sizes = match device.frame_sizes(pixels) {
            Ok(FrameSizes::Discrete(sizes)) => {
                Sizes::Listed(sizes.iter().map(|size| (size.width(), size.height())).collect())
            }
            Ok(FrameSizes::Stepwise(range) | FrameSizes::Continuous(range)) => Sizes::Range {
                min: (range.min_width(), range.min_height()),
                max: (range.max_width(), range.max_height()),
                step: (range.step_width(), range.step_height()),
            },
            Err(error) => match Fault::from(error) {
                // Drivers need not list them.
                Fault { state: CameraState::Unsuitable, .. } => Sizes::Unknown,
                fault => return Err(fault),
            },
        };
        offers.push(Offer { coding: pixels.as_fourcc(), sizes });
    }
    Ok(offers)
}

/// An open camera.
pub(super) struct Stream {
    stream: ReadStream,
    format: Format,
    opened: Instant,
    /// When the last whole frame came.
    last: Instant,
}

impl Stream {
    /// Opens a camera and has it give frames. Its light goes on.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let device = open(path)?;
        let unsuitable = |detail: String| Fault::new(CameraState::Unsuitable, detail);
        let chosen = choose(&offers_of(&device)?);
        let (coding, (width, height)): (_, Size) = chosen.ok_or_else(|| {
            unsuitable("it offers neither MJPG, JPEG nor YUYV of 320 x 240 to 2560 x 1440 pixels".to_owned())
        })?;
        let capture =
            device.video_capture(PixFormat::new(width, height, PixelFormat::from_fourcc(coding)))?;
        // Otherwise it may be as slow as the program before us wanted it. The driver takes the nearest rate; not all can.
        if let Err(error) = capture.set_frame_interval(Fract::new(1, RATE)) {
            tracing::debug!(%error, "the camera keeps its own rate");
        }
        // A driver may give something else than what was asked for.
        let given = capture.format();
        let format = Format {
            coding: given.pixel_format().as_fourcc(),
            size: (given.width(), given.height()),
            row_bytes: given.bytes_per_line(),
        };
        if format.coding != coding || !is_usable(format.size) {
            return Err(unsuitable(format!("it was asked for {width}x{height} and gives {format}")));
        }
        let stream = capture.into_stream()?;
        let opened = Instant::now();
        Ok(Self { stream, format, opened, last: opened })
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Waits for the next frame and shows it to `take`. Answers false when `stop` can be read.
    pub(super) fn next(&mut self, stop: impl AsFd, take: impl FnOnce(Frame<'_>)) -> Result<bool, Fault> {
        let silence = Timespec { tv_sec: SILENCE_MAX.as_secs() as i64, tv_nsec: 0 };
        let mut files = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&self.stream, PollFlags::IN)];
        let ready = match poll(&mut files, Some(&silence)) {
            Err(Errno::INTR) => return Ok(true),
            ready => ready.map_err(io::Error::from)?,
        };
        if !files[0].revents().is_empty() {
            return Ok(false);
        }
        if ready == 0 || self.last.elapsed() > SILENCE_MAX {
            let detail = format!("no frame came for {} s", SILENCE_MAX.as_secs());
            return Err(Fault::new(CameraState::Silent, detail));
        }
        let (format, opened) = (self.format, self.opened);
        let taken = self.stream.dequeue(|view| {
            // What was disturbed on its way is left out.
            let is_whole = !view.is_error() && !view.is_empty();
            if is_whole {
                let at_ms = u32::try_from(opened.elapsed().as_millis()).unwrap_or(u32::MAX);
                take(Frame { at_ms, format, bytes: &view });
            }
            Ok(is_whole)
        });
        match taken {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
            Ok(true) => self.last = Instant::now(),
            Ok(false) => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_is_told_by_what_is_the_matter() {
        let state = |path: &str| Stream::open(Path::new(path)).err().map(|fault| fault.state);
        assert_eq!(state("/dev/no-such-camera"), Some(CameraState::Missing));
        assert_eq!(state("/dev/null"), Some(CameraState::Unsuitable));
        assert_eq!(state("/dev"), Some(CameraState::Unsuitable));
        assert_eq!(offers(Path::new("/dev/null")).unwrap_err().state, CameraState::Unsuitable);
    }

    #[test]
    fn errors_of_the_operating_system_have_their_states() {
        for (errno, state) in [
            (Errno::NODEV, CameraState::Missing),
            (Errno::BUSY, CameraState::Busy),
            (Errno::ACCESS, CameraState::Denied),
            (Errno::NOTTY, CameraState::Unsuitable),
            (Errno::IO, CameraState::Failed),
            (Errno::NOSPC, CameraState::Failed),
        ] {
            assert_eq!(Fault::from(io::Error::from(errno)).state, state, "{errno}");
        }
    }
}
