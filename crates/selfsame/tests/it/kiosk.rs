//! The payer's page in a real browser, on real processes. The journeys are in `web/tests/browser/kiosk.mjs`; here is the
//! site that they run on.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::face::{beside, is_ready, photos};
use crate::processes::{Processes, program};

/// Longest time of all journeys on one site together.
const JOURNEYS_MAX: std::time::Duration = std::time::Duration::from_secs(400);

/// People of whom Eve, whom the demo enrols by her face, is one.
const PEOPLE: usize = 4;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether browser, Node, the packages of the pages and the built pages are there. CI has to have them.
pub fn has_browser() -> bool {
    let runs = |program: &str| {
        let found = std::process::Command::new(program).arg("--version").output();
        found.is_ok_and(|output| output.status.success())
    };
    let missing = if !runs("node") || !checkout().join("web/node_modules/playwright-core").is_dir() {
        Some("Node or the packages of the pages are missing: `cargo xtask web`")
    } else if !runs("chromium") {
        Some("chromium is missing: `cargo xtask test --setup` installs it")
    } else if !selfsame_pages::are_built() {
        Some("the pages are not built: `cargo xtask web`")
    } else {
        None
    };
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("not tested: {missing}");
    }
    missing.is_none()
}

/// Changes the settings of the till, whose terminal has the payer's page, and answers what the journeys need to know of the site.
async fn open(processes: &Processes, changes: &[(&str, &str)]) -> Value {
    let path = processes.site().join("selfsame.toml");
    let mut text = std::fs::read_to_string(&path).expect("the till's settings");
    for (before, after) in changes {
        assert!(text.contains(before), "the settings have no `{before}`");
        text = text.replace(before, after);
    }
    std::fs::write(&path, text).expect("they can be changed");
    processes.kill("terminal").await;
    processes.ready().await;
    let key = |name: &str| {
        let key = std::fs::read_to_string(processes.site().join("keys").join(name)).expect("a key");
        key.trim().to_owned()
    };
    json!({
        "program": env!("CARGO_BIN_EXE_selfsame"),
        "site": processes.site(),
        "server": processes.server_url(),
        "operator": key("operator"),
        "merchant": key("merchant"),
        "pictures": checkout().join("target/pages/kiosk-journeys"),
    })
}

/// What the payer's page is shown first when a browser opens it.
pub async fn shown(processes: &Processes) -> Value {
    let address = processes.run(&["terminal", "kiosk"], "").await.expect("an address");
    let (page, key) = address.trim().split_once("/#").expect("the key is behind the address");
    let http = reqwest::Client::new();
    let opened = http.post(format!("{page}/v1/kiosk/open")).json(&json!({ "key": key })).send().await;
    let opened = opened.expect("it answers").error_for_status().expect("the key opens once");
    let cookie = opened.headers()["set-cookie"].to_str().expect("text").split(';').next().map(str::to_owned);
    let cookie = cookie.expect("a cookie is name and value");
    let events = http.get(format!("{page}/v1/kiosk/events")).header("cookie", cookie).send().await;
    let mut events = events.expect("it answers").error_for_status().expect("this browser is the page");
    let mut text = String::new();
    while !text.contains("\n\n") {
        let chunk = events.chunk().await.expect("the stream goes on").expect("it does not end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data");
    serde_json::from_str(data).expect("JSON")
}

/// Runs journeys of a group; they say themselves what went wrong.
async fn run(group: &str, site: &Value) {
    let mut node = Command::new("node");
    node.arg("tests/browser/kiosk.mjs").arg(group).current_dir(checkout().join("web"));
    let mut node = node.stdin(Stdio::piped()).kill_on_drop(true).spawn().expect("node starts");
    let mut input = node.stdin.take().expect("a pipe");
    input.write_all(site.to_string().as_bytes()).await.expect("it reads");
    drop(input);
    let ended = tokio::time::timeout(JOURNEYS_MAX, node.wait()).await.expect("journeys come to their end");
    assert!(ended.expect("it ran").success(), "a journey failed: see above");
}

#[tokio::test]
async fn payers_without_a_camera_pay_by_finger_or_number_and_pin_and_are_never_at_a_loss() {
    if !has_browser() {
        return;
    }
    let processes = Processes::start().await;
    let site = open(&processes, &[]).await;
    run("finger", &site).await;
}

#[tokio::test]
async fn every_screen_can_be_used_by_everybody() {
    if !has_browser() {
        return;
    }
    let mut node = Command::new("node");
    node.arg("tests/browser/kiosk-screens.mjs").current_dir(checkout().join("web")).kill_on_drop(true);
    let looked = tokio::time::timeout(JOURNEYS_MAX, node.status()).await.expect("it comes to its end");
    assert!(looked.expect("node starts").success(), "see above");
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_are_recognised_by_their_face_and_go_on_when_the_camera_does_not() {
    if !has_browser() || !is_ready() {
        return;
    }
    let mut command = program();
    command.env("SELFSAME_MODELS", beside("SELFSAME_MODELS", "models"));
    command.env("SELFSAME_FACES", beside("SELFSAME_FACES", "faces"));
    let processes = Processes::start_with(command).await;
    let mut site = open(&processes, &[("source = \"posted\"", "source = \"browser\"")]).await;
    let folder = processes.site().join("photos");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut people = Vec::new();
    for person in 0..PEOPLE {
        let files = photos(person).into_iter().enumerate().map(|(number, photo)| {
            let file = folder.join(format!("{person}-{number}.jpg"));
            std::fs::write(&file, photo).expect("a file");
            file
        });
        people.push(files.collect::<Vec<_>>());
    }
    site["people"] = json!(people);
    run("face", &site).await;
    let path = processes.site().join("selfsame.toml");
    let text = std::fs::read_to_string(&path).expect("the settings");
    std::fs::write(&path, text.replace("colour_flash = false", "colour_flash = true"))
        .expect("they can be changed");
    processes.kill("server").await;
    processes.ready().await;
    run("colours", &site).await;
}
