//! A screen, a keyboard and a browser of the test's own: Xvfb, xdotool, and Chromium with its DevTools. All of it ends
//! with the test.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::PATIENCE;

/// Pause between two looks at something that another process changes.
const PAUSE: Duration = Duration::from_millis(20);

const PROGRAMS: [&str; 4] = ["Xvfb", "xdotool", "setxkbmap", "chromium"];

/// Whether everything is installed; says so on standard error if not, and fails in CI.
pub fn is_installed() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &&&str| std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = PROGRAMS.iter().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{missing:?} are missing: `cargo xtask test --setup` installs them"
    );
    eprintln!("not tested: {missing:?} are missing; `cargo xtask test --setup` installs them");
    false
}

/// A process with all that it starts. Ends when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdin(Stdio::null()).spawn().expect("an installed program starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A screen that nobody sees, with a keyboard.
pub struct Screen {
    name: String,
    _server: Process,
}

impl Screen {
    pub fn start() -> Self {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]);
        let mut server = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut number = String::new();
        let output = server.0.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut number).expect("Xvfb says which screen it is");
        let number = number.trim();
        assert!(!number.is_empty(), "Xvfb did not start");
        Self { name: format!(":{number}"), _server: server }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).env("DISPLAY", &self.name).output();
        let output = output.expect("an installed program starts");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    }

    pub fn set_layout(&self, layout: &str) {
        self.run("setxkbmap", &["-rules", "evdev", "-model", "pc105", "-layout", layout]);
    }

    /// Presses and lets go keys by their number, as hardware does: what they mean is the layout's.
    pub fn press(&self, keys: &[(u8, bool)]) {
        let numbers: Vec<String> = keys.iter().map(|(key, _)| key.to_string()).collect();
        let mut arguments = Vec::new();
        for ((_, down), number) in keys.iter().zip(&numbers) {
            arguments.extend([if *down { "keydown" } else { "keyup" }, number]);
        }
        self.run("xdotool", &arguments);
    }
}

/// A browser on a screen, with one page.
pub struct Browser {
    page: String,
    calls: u64,
    tools: WebSocketStream<MaybeTlsStream<TcpStream>>,
    _profile: TempDir,
    _browser: Process,
}

impl Browser {
    pub async fn open(screen: &Screen, page: &Path) -> Self {
        let profile = TempDir::new().expect("a temporary folder");
        let mut command = Command::new("chromium");
        command
            .env("DISPLAY", &screen.name)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update", "--password-store=basic"])
            .args(["--remote-debugging-port=0", "--window-position=0,0", "--window-size=1280,900"])
            .arg(format!("file://{}", page.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let browser = Process::start(&mut command);
        let port_file = profile.path().join("DevToolsActivePort");
        let address = async {
            loop {
                // Port and path, a line each.
                let text = std::fs::read_to_string(&port_file).unwrap_or_default();
                if let Some((port, path)) = text.split_once('\n').filter(|(_, path)| !path.trim().is_empty())
                {
                    return format!("ws://127.0.0.1:{port}{}", path.trim());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let address = tokio::time::timeout(PATIENCE, address).await.expect("Chromium opens its DevTools");
        let (tools, _) = connect_async(address).await.expect("Chromium's DevTools answer");
        let mut browser = Self { page: String::new(), calls: 0, tools, _profile: profile, _browser: browser };
        let target = loop {
            let targets = browser.call("Target.getTargets", json!({})).await;
            let targets = targets["targetInfos"].as_array().cloned().unwrap_or_default();
            let is_page =
                |target: &&Value| target["url"].as_str().is_some_and(|url| url.starts_with("file://"));
            if let Some(found) = targets.iter().find(is_page) {
                break found["targetId"].clone();
            }
            tokio::time::sleep(PAUSE).await;
        };
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
        browser.page = attached["sessionId"].as_str().expect("a session").to_owned();
        browser.until("document.readyState === 'complete' && typeof fields === 'object'").await;
        screen.run("xdotool", &["search", "--sync", "--onlyvisible", "--class", "chromium", "windowfocus"]);
        browser.until("document.hasFocus()").await;
        browser
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.page.is_empty() {
            call["sessionId"] = json!(self.page);
        }
        self.tools.send(Message::text(call.to_string())).await.expect("Chromium listens");
        let answered = async {
            loop {
                let message = self.tools.next().await.expect("Chromium runs").expect("a message");
                let message: Value =
                    serde_json::from_str(message.to_text().unwrap_or_default()).unwrap_or_default();
                if message["id"] == self.calls {
                    return message["result"].clone();
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("Chromium answers")
    }

    /// What an expression is worth on the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", parameters).await["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    pub async fn until(&mut self, expression: &str) {
        let waiting = async {
            while self.evaluate(expression).await != json!(true) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {expression}"));
    }
}
