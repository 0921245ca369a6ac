//! A virtual camera of the kernel (module `vivid`), opened as the verification program opens one with `source = "v4l2"`.
//! It has no compressed pictures, so the frames are YUYV.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use selfsame_api::verifier::{CameraState, CameraStatus, CameraWish};
use selfsame_biometrics::color_image::{ColorImage, Limits, decode};
use selfsame_terminal::capture::v4l2::{Picture, VideoDevice, describe};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::host::{PATIENCE, wait_for};

/// The camera's file, and where the kernel is told to take it away and give it back.
const NODE: &str = "/dev/video0";
const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
const DEVICE: &str = "vivid.0";

/// What is chosen of what it offers.
const SIZE: (u32, u32) = (640, 480);

/// Frames that are looked at.
const FRAMES: usize = 12;

/// Bars of the test picture, each at three quarters of full brightness, and what coding may change.
const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [0, 0, 0],
];
const TOLERANCE: u8 = 24;

/// Argument of this program as a user who may not open the camera, and that user.
pub const AS_STRANGER: &str = "stranger";
const STRANGER: u32 = 65_534;

/// A camera that is opened and closed, and the frames that it gives.
pub struct Camera {
    runtime: Runtime,
    device: VideoDevice,
    wish: watch::Sender<CameraWish>,
    frames: Receiver<(u32, (u32, u32), Picture)>,
}

impl Camera {
    pub fn new() -> Result<Self> {
        let runtime = Runtime::new().context("there is no runtime")?;
        let device = VideoDevice::new(Path::new(NODE));
        let wish = watch::Sender::new(CameraWish { sequence: 1, on: false });
        let (sender, frames) = mpsc::sync_channel(FRAMES);
        let (opened, wished) = (device.clone(), wish.subscribe());
        runtime.spawn(async move {
            let take = move |frame: selfsame_terminal::capture::v4l2::Frame<'_>| {
                let size = (frame.format.width_px(), frame.format.height_px());
                // What nobody fetches is dropped, as frames are while one is judged.
                let _ = sender.try_send((frame.at_ms, size, frame.picture()));
            };
            opened.run(wished, take).await;
        });
        Ok(Self { runtime, device, wish, frames })
    }

    fn switch(&self, on: bool) {
        self.wish.send_modify(|wish| *wish = CameraWish { sequence: wish.sequence + 1, on });
    }

    fn reaches(&self, state: CameraState) -> Result<CameraStatus> {
        let reached = self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.device.reaches(|status| status.state == state)).await
        });
        reached.with_context(|| format!("it is {:?} and not {state}", self.device.status()))
    }

    /// Frames of the right size, each later than the one before.
    fn rising(&self) -> Result<String> {
        while self.frames.try_recv().is_ok() {}
        let mut times = Vec::new();
        for _ in 0..FRAMES {
            let (at_ms, size, _) = self.frames.recv_timeout(PATIENCE).context("no more frames come")?;
            ensure!(size == SIZE, "a frame is {size:?}");
            times.push(at_ms);
        }
        ensure!(times.windows(2).all(|two| two[0] < two[1]), "the times are {times:?}");
        Ok(format!("{FRAMES} frames from {} to {} ms", times[0], times[FRAMES - 1]))
    }

    pub fn on(&self) -> Result<String> {
        ensure!(self.device.status().state == CameraState::Off, "it is not off at first");
        ensure!(!is_open(), "it is open though nobody wishes that");
        self.switch(true);
        let status = self.reaches(CameraState::On)?;
        Ok(format!("{}, {}", status.format.unwrap_or_default(), self.rising()?))
    }

    pub fn picture(&self) -> Result<String> {
        while self.frames.try_recv().is_ok() {}
        let (_, _, picture) = self.frames.recv_timeout(PATIENCE).context("no frame comes")?;
        let jpeg = picture.jpeg()?;
        let image = decode(&jpeg, Limits::FRAME)?;
        ensure!((image.width_px(), image.height_px()) == SIZE, "the picture has another size");
        let found = bars(&image);
        let is_near =
            |(a, b): (&[u8; 3], &[u8; 3])| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= TOLERANCE);
        ensure!(found.iter().zip(&BARS).all(is_near), "the bars are {found:?}");
        Ok(format!("JPEG of {} bytes, the bars in their colours", jpeg.len()))
    }

    pub fn off(&self) -> Result<String> {
        ensure!(is_open(), "it is not open");
        let since = Instant::now();
        self.switch(false);
        self.reaches(CameraState::Off)?;
        let took = since.elapsed();
        ensure!(!is_open(), "it is still open");
        Ok(format!("closed after {} ms", took.as_millis()))
    }

    pub fn on_again(&self) -> Result<String> {
        self.switch(true);
        self.reaches(CameraState::On)?;
        self.rising()
    }

    /// Another program wants it meanwhile.
    pub fn busy(&self) -> Result<String> {
        let other = Camera::new()?;
        other.switch(true);
        let status = other.reaches(CameraState::Busy)?;
        self.rising().context("the first one no longer gets frames")?;
        Ok(status.detail.unwrap_or_default())
    }

    pub fn gone(&self) -> Result<String> {
        pull()?;
        let status = self.reaches(CameraState::Missing)?;
        ensure!(!is_open(), "it is still open");
        Ok(status.detail.unwrap_or_default())
    }

    pub fn back(&self) -> Result<String> {
        plug()?;
        self.reaches(CameraState::On)?;
        let rising = self.rising()?;
        self.switch(false);
        self.reaches(CameraState::Off)?;
        Ok(rising)
    }

    /// While it is off, nobody opens it to see whether it is there.
    pub fn gone_while_off(&self) -> Result<String> {
        pull()?;
        let status = self.reaches(CameraState::Missing)?;
        plug()?;
        self.reaches(CameraState::Off)?;
        Ok(status.detail.unwrap_or_default())
    }
}

pub fn described() -> Result<String> {
    let told = describe(Path::new(NODE)).map_err(anyhow::Error::msg)?;
    ensure!(told.starts_with("takes YUYV 640x480 of "), "it says {told}");
    Ok("takes YUYV 640x480".to_owned())
}

fn bars(image: &ColorImage) -> Vec<[u8; 3]> {
    let (width, row) = (SIZE.0 as usize, SIZE.1 as usize * 3 / 4);
    let middle = |bar: usize| (row * width + (2 * bar + 1) * width / 16) * 3;
    let pixel = |at: usize| [image.rgb()[at], image.rgb()[at + 1], image.rgb()[at + 2]];
    (0..BARS.len()).map(|bar| pixel(middle(bar))).collect()
}

/// Whether this process has the camera open, or its memory mapped.
fn is_open() -> bool {
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut opened = files.filter_map(|file| fs::read_link(file.path()).ok());
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    opened.any(|file| file.to_string_lossy().starts_with(NODE)) || maps.contains(NODE)
}

fn pull() -> Result<()> {
    fs::write(format!("{DRIVER}/unbind"), DEVICE).context("the camera is not taken away")?;
    wait_for("the camera's file to go", || (!Path::new(NODE).exists()).then_some(()))
}

fn plug() -> Result<()> {
    fs::write(format!("{DRIVER}/bind"), DEVICE).context("the camera is not given back")?;
    wait_for(NODE, || Path::new(NODE).exists().then_some(()))
}

/// The part of a user who may not open the camera: tells every state of it, and its end.
pub fn as_stranger() -> Result<()> {
    let runtime = Runtime::new().context("there is no runtime")?;
    let device = VideoDevice::new(Path::new(NODE));
    let on = watch::Sender::new(CameraWish { sequence: 1, on: true });
    runtime.block_on(async {
        let tell = async {
            let mut told = CameraState::Off;
            loop {
                told = device.reaches(|status| status.state != told).await.state;
                println!("{told}");
            }
        };
        tokio::select! {
            () = device.run(on.subscribe(), |_| {}) => println!("ended"),
            () = tell => {}
        }
    });
    Ok(())
}

/// The other side of it: a process of a user who may not open the camera.
struct Stranger {
    process: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Stranger {
    fn start() -> Result<Self> {
        let program = std::env::current_exe().context("our own executable has no name")?;
        let mut command = Command::new(program);
        let started = command.arg(AS_STRANGER).uid(STRANGER).stdout(Stdio::piped()).spawn();
        let mut process = started.context("the stranger does not start")?;
        let output = process.stdout.take().context("the stranger says nothing")?;
        Ok(Self { process, told: BufReader::new(output).lines() })
    }

    /// Reads on until the stranger says so.
    fn says(&mut self, wanted: &str) -> Result<()> {
        for told in self.told.by_ref() {
            if told? == wanted {
                return Ok(());
            }
        }
        bail!("the stranger has ended and never said `{wanted}`")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn allow_all() -> Result<()> {
    fs::set_permissions(NODE, fs::Permissions::from_mode(0o666))
        .context("the camera's rights are not changed")
}

/// Refused without rights, open with them; and once it was plugged in again as a file that is refused, the program says that
/// it must be started anew, as for a file that its sandbox does not know.
pub fn refused() -> Result<String> {
    let mut stranger = Stranger::start()?;
    stranger.says("denied")?;
    allow_all()?;
    stranger.says("on")?;
    pull()?;
    stranger.says("missing")?;
    plug()?;
    stranger.says("denied")?;
    stranger.says("ended")?;
    Ok("denied, on, missing, denied, ended".to_owned())
}
