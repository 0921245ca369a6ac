//! The demo's site and its processes.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::interface::{TerminalState, TerminalStatus};
use selfsame_domain::money::Currency;
use selfsame_domain::terminal::Purpose;
use selfsame_server::setup::CreatedSite;
use selfsame_terminal::device::{DeviceIdentity, KeySource};
use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::activate::activate;
use crate::connection::client;
use crate::demo::faces::{FaceData, PACK};
use crate::demo::screen::Screen;
use crate::init::Init;
use crate::output;
use crate::process::{ProcessOptions, Stop, Stopper, stop};
use crate::server::child_arguments;
use crate::site::{DEFAULT_SETTINGS, Site, write_private};
use crate::supervise::ChildProcess;
use crate::verify::AtTerminal;

/// File by which a demo's site is known: nothing else is ever removed.
const MARKER: &str = "this-is-a-demo-site";

/// Longest time that a process may take to come up.
const UP_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time that they may take to end.
const DOWN_TIMEOUT: Duration = Duration::from_secs(15);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Lines of a log that are shown if its process does not come up.
const LOG_LINES: usize = 5;

/// A test site that the demo made.
pub struct DemoSite {
    /// The server's part, and that of the terminal at the till.
    pub till: Site,
    /// The part of the desk.
    pub desk: Site,
    /// Where the payment server will be.
    pub url: String,
    /// What was made.
    pub created: CreatedSite,
    /// Its currency.
    pub currency: Currency,
    /// Held as long as the demo runs, so that no second one removes the site under it.
    _lock: fs::File,
}

impl DemoSite {
    /// Removes the site of an earlier demo and makes a new one.
    pub async fn make(till: &Site, faces: Option<&FaceData>) -> anyhow::Result<Self> {
        // Sockets need short paths: said before anything is made.
        till.socket("terminal.sock")?;
        remove_earlier(till.folder())?;
        let lock = mark(till.folder())?;
        let desk = Site::new(&till.folder().join("desk"))?;
        for site in [till, &desk] {
            site.create_folders()?;
        }
        let [server, terminal, desk_port, kiosk, camera] = free_ports()?;
        let ports = Ports { server, terminal, desk: desk_port, kiosk, camera };
        write_settings(till, &ports, Purpose::Till, faces)?;
        write_settings(&desk, &ports, Purpose::Desk, faces)?;
        let created = Init::for_tests().create(till).await?;
        for folder in ["keys", "log"] {
            fs::create_dir_all(till.folder().join(folder)).context("failed to make the demo's folders")?;
        }
        let url = format!("http://127.0.0.1:{}", ports.server);
        let currency = "EUR".parse()?;
        let site = Self { till: till.clone(), desk, url, created, currency, _lock: lock };
        site.keep_key("operator", &site.created.operator_key.0)?;
        site.keep_key("merchant", &site.created.merchant_key.0)?;
        Ok(site)
    }

    /// File of a key. Test keys of a test site.
    pub fn key_file(&self, name: &str) -> PathBuf {
        self.till.folder().join("keys").join(name)
    }

    /// Keeps a key in a file that only its owner can read.
    pub fn keep_key(&self, name: &str, key: &str) -> anyhow::Result<()> {
        write_private(&self.key_file(name), key.as_bytes())
    }

    /// The folder as one can type it here.
    pub fn short_folder(&self) -> String {
        short(self.till.folder())
    }

    /// Our executable as one can type it here.
    pub fn program(&self) -> String {
        std::env::current_exe().map_or_else(|_| "selfsame".to_owned(), |path| short(&path))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.till.folder().join("log").join(format!("{name}.log"))
    }
}

fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn remove_earlier(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("failed to look into `{shown}`")),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let marker = folder.join(MARKER);
    ensure!(
        marker.is_file(),
        "`{shown}` holds something that no demo made, so it is left alone: name another folder with --site"
    );
    let marker = fs::File::open(&marker).with_context(|| format!("failed to open `{}`", marker.display()))?;
    if let Err(fs::TryLockError::WouldBlock) = marker.try_lock() {
        bail!("a demo is running in `{shown}`: end it with Ctrl-C, or name another folder with --site");
    }
    fs::remove_dir_all(folder)
        .with_context(|| format!("failed to remove the earlier demo's site in `{shown}`"))
}

fn mark(folder: &Path) -> anyhow::Result<fs::File> {
    let make = || {
        fs::create_dir_all(folder)?;
        let marker = fs::File::create(folder.join(MARKER))?;
        marker.lock()?;
        Ok::<_, std::io::Error>(marker)
    };
    make().with_context(|| format!("failed to make the folder `{}`", folder.display()))
}

/// Ports that nobody uses now. The programs are told them by their settings, so that they come back on the same ones.
fn free_ports<const COUNT: usize>() -> anyhow::Result<[u16; COUNT]> {
    // All are held until the last one is known, so that none comes twice.
    let mut listeners = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port on 127.0.0.1")?;
        *port = listener.local_addr().context("a port has no number")?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Where the demo's programs listen on this machine.
struct Ports {
    server: u16,
    /// The verification interface, for the till's page.
    terminal: u16,
    /// Camera and reader of the desk, for the desk's page.
    desk: u16,
    /// The payer's page, and the camera at the till. A page that is open finds them again after a restart.
    kiosk: u16,
    camera: u16,
}

fn write_settings(
    site: &Site,
    ports: &Ports,
    purpose: Purpose,
    faces: Option<&FaceData>,
) -> anyhow::Result<()> {
    let mut text = DEFAULT_SETTINGS.to_owned();
    let Ports { server, terminal, desk, kiosk, camera } = ports;
    let pages = format!("terminals = [\"http://127.0.0.1:{terminal}\", \"http://127.0.0.1:{desk}\"]");
    let camera = if purpose == Purpose::Desk { desk } else { camera };
    for (default, wanted) in [
        ("listen = \"127.0.0.1:8700\"", format!("listen = \"127.0.0.1:{server}\"")),
        ("terminals = [\"http://127.0.0.1:8701\", \"http://127.0.0.1:8703\"]", pages),
        ("# listen = \"127.0.0.1:8701\"", format!("listen = \"127.0.0.1:{terminal}\"")),
        ("# listen = \"127.0.0.1:8703\"", format!("listen = \"127.0.0.1:{camera}\"")),
        ("# listen = \"127.0.0.1:8705\"", format!("listen = \"127.0.0.1:{kiosk}\"")),
        ("source = \"external\"", "source = \"synthetic\"".to_owned()),
    ] {
        ensure!(text.contains(default), "the default settings have no line `{default}`");
        text = text.replace(default, &wanted);
    }
    if let Some(faces) = faces {
        let folder = toml::Value::String(faces.models.display().to_string());
        for (default, wanted) in [
            ("source = \"none\"", format!("source = \"{}\"", faces.source)),
            ("folder = \"models\"", format!("folder = {folder}")),
            ("# face = \"face-default\"", format!("face = \"{PACK}\"")),
        ] {
            ensure!(text.contains(default), "the default settings have no line `{default}`");
            text = text.replace(default, &wanted);
        }
    }
    let path = site.folder().join("selfsame.toml");
    fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

/// Whether the server is ready.
#[derive(Deserialize)]
struct Readiness {
    store: bool,
    matcher: bool,
}

/// Server and terminal, which start matcher and verification program themselves.
pub struct Processes<'a> {
    site: &'a DemoSite,
    /// The terminal is a simulated one, which has no verification program of its own.
    simulate: bool,
    stopper: Stopper,
    stop: Stop,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
    desk: Option<DeviceIdentity>,
}

impl<'a> Processes<'a> {
    /// None yet.
    pub fn new(site: &'a DemoSite, simulate: bool) -> Self {
        let (stopper, stop) = stop();
        Self { site, simulate, stopper, stop, running: Vec::new(), desk: None }
    }

    /// Starts all of them, and activates the terminals at till and desk.
    pub async fn start(&mut self, screen: &Screen) -> anyhow::Result<()> {
        let site = self.site;
        self.launch("server");
        let server = client(&site.url, site.created.operator_key.clone());
        self.until("server", async || {
            let ready: Readiness = server.get("/readyz", UP_TIMEOUT).await.ok()?;
            (ready.store && ready.matcher).then_some(())
        })
        .await?;
        self.tell(screen, "server", &site.url).await?;
        self.tell(screen, "matcher", "run/matcher.sock").await?;

        let (till, desk) = (&site.created.till, &site.created.desk);
        activate(&site.till, &site.url, till.terminal, &till.activation_code.0, KeySource::File).await?;
        let code = &desk.activation_code.0;
        self.desk = Some(activate(&site.desk, &site.url, desk.terminal, code, KeySource::File).await?);
        if !self.simulate {
            let mut arguments = child_arguments(&site.desk, "desk", ProcessOptions::default());
            arguments.insert(3, "serve".to_owned());
            self.launch_with("desk", arguments);
        }
        self.launch("terminal");
        let at = AtTerminal::new(&site.till)?;
        self.until("terminal", async || {
            let status: TerminalStatus = at.interface().get("/v1/terminal", UP_TIMEOUT).await.ok()?;
            (status.state == TerminalState::Ready).then_some(())
        })
        .await?;
        self.tell(screen, "terminal", "run/terminal.sock, activated with a key that it made itself").await?;
        if self.simulate {
            return Ok(());
        }
        self.tell(screen, "verifier", "run/verifier.sock, reader: synthetic fingers").await?;
        let desk_url = site.desk.run("desk.url");
        self.until("desk", async || desk_url.exists().then_some(())).await?;
        self.tell(screen, "desk", "desk/run/desk.url, camera and reader for the staff's page").await
    }

    /// The desk's identity, once it is activated.
    pub fn desk(&self) -> anyhow::Result<&DeviceIdentity> {
        self.desk.as_ref().context("the desk is not activated")
    }

    fn launch(&mut self, name: &'static str) {
        let mut arguments = child_arguments(&self.site.till, name, ProcessOptions::default());
        if self.simulate && name == "terminal" {
            arguments.push("--simulate".to_owned());
        }
        self.launch_with(name, arguments);
    }

    fn launch_with(&mut self, name: &'static str, arguments: Vec<String>) {
        let child = ChildProcess {
            name,
            arguments,
            pid_file: self.site.till.run(&format!("{name}.pid")),
            log: Some(self.site.log(name)),
            watch: None,
        };
        self.running.push(tokio::spawn(child.supervise(self.stop.wait())));
    }

    async fn tell(&self, screen: &Screen, name: &str, where_: &str) -> anyhow::Result<()> {
        let file = self.site.till.run(&format!("{name}.pid"));
        // A process may answer before its parent has written down which one it is.
        let written = || fs::read_to_string(&file).ok();
        self.until(name, async || written().map(drop)).await?;
        let pid = written().with_context(|| format!("failed to read `{}`", file.display()))?;
        screen.step(name, format_args!("process {pid:8} {where_}"))
    }

    /// Waits until a process is up, or shows the end of its log.
    async fn until(&self, name: &str, is_up: impl AsyncFn() -> Option<()>) -> anyhow::Result<()> {
        let started = Instant::now();
        let looking = async {
            while is_up().await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(UP_TIMEOUT, looking).await.is_ok() {
            return Ok(());
        }
        let log = fs::read_to_string(self.site.log(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        bail!("the {name} did not come up within {} s. It said:\n{end}", started.elapsed().as_secs());
    }

    /// Ends all of them.
    pub async fn stop(self) {
        self.stopper.stop();
        for running in self.running {
            match tokio::time::timeout(DOWN_TIMEOUT, running).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => {
                    output::note(format_args!("a process could not be kept running: {error:#}"))
                }
                Ok(Err(error)) => output::note(format_args!("a process was not ended: {error}")),
                Err(_) => output::note("a process takes long to end; it ends with us"),
            }
        }
    }
}
