//! The pages for staff in a real browser on the real processes: `web/tests/browser/*.mjs`, run by node with Debian's
//! chromium. What the pages look like is left in `target/pages/staff/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::face::{beside, is_ready};
use crate::kiosk::has_browser;
use crate::processes::{Processes, program};

/// Longest time that a script may take. It takes a minute or two.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(600);

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web")
}

/// Where pictures of all screens are left.
fn artefacts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pages/staff")
}

/// Runs a script against the processes; fails with it.
async fn run(script: &str, processes: &Processes) {
    let folder = processes.site();
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect(path).trim().to_owned();
    let site = json!({
        "server": processes.server_url(),
        "desk": read("desk/run/desk.url"),
        "folder": folder,
        "merchantKey": read("keys/merchant"),
        "operatorKey": read("keys/operator"),
        "artefacts": artefacts(),
        "photos": is_ready().then(|| beside("SELFSAME_FACES", "faces")),
    });
    let mut node = Command::new("node")
        .arg(web().join("tests/browser").join(script))
        .env("SELFSAME_PAGES", site.to_string())
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("node runs, because npm did");
    let mut lines = BufReader::new(node.stdout.take().expect("a pipe")).lines();
    let running = async {
        while let Some(line) = lines.next_line().await.expect("lines of text") {
            eprintln!("{script}: {line}");
        }
        node.wait().await.expect("it ends")
    };
    let ended = tokio::time::timeout(SCRIPT_TIMEOUT, running).await.expect("the script comes to its end");
    assert!(ended.success(), "{script} failed: see above, and the pictures in target/pages");
}

/// The demo's processes; with cameras where there are photos and a model pack.
async fn processes() -> Processes {
    let mut command = program();
    if is_ready() {
        command.env("SELFSAME_MODELS", beside("SELFSAME_MODELS", "models"));
        command.env("SELFSAME_FACES", beside("SELFSAME_FACES", "faces"));
    }
    Processes::start_with(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cashier_sells_gives_back_and_never_charges_twice() {
    if !has_browser() {
        return;
    }
    run("till.mjs", &Processes::start().await).await;
    let read = |name: &str| std::fs::read_to_string(artefacts().join(name)).expect("the script leaves it");
    match Command::new("zbarimg")
        .args(["--quiet", "--raw"])
        .arg(artefacts().join("till-barcode.png"))
        .output()
        .await
    {
        Ok(scanned) => {
            assert_eq!(String::from_utf8_lossy(&scanned.stdout).trim(), read("till-barcode.txt").trim())
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "zbarimg: {error}");
            eprintln!("not tested: whether scanners read a receipt's bar code, because there is no zbarimg");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_at_the_desk_find_enrol_top_up_and_let_go() {
    if has_browser() {
        let processes = processes().await;
        run("desk.mjs", &processes).await;
        run("keyboard.mjs", &processes).await;
    }
}
