//! Cash registers that reach a terminal over TCP: from another network namespace with TLS, and over a loopback port.

mod network;
mod strangers;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use selfsame_api::pairing::{Paired, Pairing, PairingWindow};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::processes::{PATIENCE, PAUSE, Processes, program};
use crate::reach::network::Network;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name)
}

/// Whether a program is installed. CI has to have it, if it is one that `--setup` installs.
fn installed(name: &str, wanted_by_ci: bool) -> bool {
    let found = std::process::Command::new(name).arg("--version").output().is_ok();
    let missing = format!("{name} is missing: `cargo xtask test --setup` installs what the tests need");
    assert!(found || !wanted_by_ci || std::env::var_os("CI").is_none(), "{missing}");
    if !found {
        eprintln!("not tested: {missing}");
    }
    found
}

/// Changes lines of the settings, and lets a process start with them.
pub async fn change(processes: &Processes, changes: &[(&str, String)], restarted: &[&str]) {
    let path = processes.site().join("selfsame.toml");
    let mut text = std::fs::read_to_string(&path).expect("the settings");
    for (before, after) in changes {
        assert!(text.contains(before), "the settings have no `{before}`");
        text = text.replace(before, after);
    }
    std::fs::write(&path, text).expect("they can be changed");
    for process in restarted {
        processes.kill(process).await;
    }
    processes.ready().await;
}

/// Where the loopback port is that the demo's terminal has for the till's page.
fn loopback(processes: &Processes) -> String {
    std::fs::read_to_string(processes.site().join("run/terminal.url")).expect("the port is told")
}

/// `selfsame terminal pair` as somebody at the terminal runs it: answers it when registers may ask.
async fn open_pairing(
    processes: &Processes,
) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
    let mut screen = program()
        .args(["terminal", "pair", "--site"])
        .arg(processes.site())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    let mut said = BufReader::new(screen.stderr.take().expect("a pipe")).lines();
    let first = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("it says something");
    assert!(first.expect("text").expect("a line").contains("may ask to be paired"));
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    let shown = BufReader::new(screen.stdout.take().expect("a pipe")).lines();
    (screen, shown)
}

/// The code in what the terminal's screen shows.
fn code_in(line: &str) -> String {
    line.rsplit_once("there:  ").expect("a code is shown").1.to_owned()
}

/// Runs a register's pairing and types the code that the terminal's screen shows, first a wrong one. Answers what the
/// register printed.
async fn pair(processes: &Processes, mut register: Command, name: &str) -> String {
    let (mut screen, mut shown) = open_pairing(processes).await;
    let mut register =
        register.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let asks = tokio::time::timeout(PATIENCE, shown.next_line()).await.expect("a register asks");
    let asks = asks.expect("text").expect("a line");
    assert!(asks.contains(name), "{asks}");
    let mut keys = register.stdin.take().expect("a pipe");
    keys.write_all(format!("{}\n", code_in(&asks)).as_bytes()).await.expect("it reads the code");
    let mut printed = String::new();
    let ended = async {
        register.stdout.take().expect("a pipe").read_to_string(&mut printed).await.expect("text");
        assert!(register.wait().await.expect("it ends").success(), "{printed}");
        assert!(screen.wait().await.expect("it ends").success());
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("pairing comes to its end");
    let paired = shown.next_line().await.expect("text").expect("a line");
    assert!(paired.starts_with("paired reg_") && paired.ends_with(name), "{paired}");
    printed
}

/// Runs a register that waits for a payer, and lets Ada press her finger until it has what it wants.
async fn serve_ada(processes: &Processes, mut register: Command, first_press: u64) -> (ExitStatus, String) {
    let mut register = register.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut output = register.stdout.take().expect("a pipe");
    let pressing = async {
        let mut press = first_press;
        loop {
            press += u64::from(processes.press(press).await);
            tokio::time::sleep(PAUSE).await;
        }
    };
    let served = async {
        let mut printed = String::new();
        output.read_to_string(&mut printed).await.expect("text");
        (register.wait().await.expect("it ends"), printed)
    };
    tokio::select! {
        served = tokio::time::timeout(PATIENCE, served) => served.expect("a sale comes to its end"),
        () = pressing => unreachable!("pressing never ends"),
    }
}

/// Pairs a register by the routes themselves.
async fn pair_by_hand(processes: &Processes, url: &str, name: &str) -> Paired {
    let screen = &processes.interface;
    screen.post::<PairingWindow>("/v1/pairing-window", &json!({}), PATIENCE).await.expect("opened");
    let http = crate::caller::http();
    let ask = http.post(format!("{url}/v1/pairings")).json(&json!({ "name": name }));
    let pairing: Pairing = ask.send().await.expect("an answer").json().await.expect("a pairing");
    let window: PairingWindow = screen.get("/v1/pairing-window", PATIENCE).await.expect("it is open");
    let code = window.asking.expect("somebody asks").code;
    let complete =
        http.post(format!("{url}/v1/pairings/{}/complete", pairing.id)).json(&json!({ "code": code }));
    complete.send().await.expect("an answer").json().await.expect("paired")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_in_another_network_namespace_pairs_and_sells_over_tls() {
    let Some(network) = Network::new() else { return };
    let processes = Processes::start().await;
    let here = network.here();
    let server = processes.server_url();
    let port = server.rsplit_once(':').expect("an address with a port").1;
    let changes = [
        ("# listen_lan = \"0.0.0.0:8702\"", format!("listen_lan = \"{here}:0\"")),
        ("names = []", format!("names = [\"till-1.local\", \"{here}\"]")),
        (&format!("listen = \"127.0.0.1:{port}\""), format!("listen = \"0.0.0.0:{port}\"")),
    ];
    change(&processes, &changes, &["server", "terminal"]).await;
    let site = processes.site();
    let told = std::fs::read_to_string(site.join("run/terminal-lan.url")).expect("the port is told");
    let terminal = format!("https://{here}:{}", told.rsplit_once(':').expect("with its port").1);
    let certified = async {
        while !site.join("data/terminal-certificate.json").exists() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, certified).await.expect("the terminal gets its certificate");

    let token_file = site.join("till4.token");
    let pos = |command: &str, authority: &Path| {
        let mut pos = network.command("python3");
        pos.arg(sample("python/pos.py")).args([command, "--terminal", &terminal]);
        pos.arg("--authority").arg(authority).arg("--token-file").arg(&token_file);
        pos
    };
    let authority = site.join("authority.pem");
    let mut pairing = pos("pair", &authority);
    pairing.args(["--name", "Till 4"]);
    let printed = pair(&processes, pairing, "Till 4").await;
    assert!(printed.contains("paired with trm_"), "{printed}");

    let sale = |order: &str, authority: &Path| {
        let mut sale = pos("sale", authority);
        sale.args(["--server", &format!("http://{here}:{port}"), "--key-file"]);
        sale.arg(site.join("keys/merchant"));
        sale.args(["--order", order, "--amount", "10", "--currency", "EUR", "--phone-last4", "0142"]);
        sale
    };
    let (ended, printed) = serve_ada(&processes, sale("lan-1", &authority), 7_000).await;
    assert!(ended.success() && printed.trim_end().ends_with("PAID"), "{printed}");

    // Another site's authority does not vouch for this terminal.
    let other = site.join("other");
    let made = program().args(["init", "--test", "--json", "--site"]).arg(&other).output().await;
    assert!(made.expect("it runs").status.success());
    let output = sale("lan-2", &other.join("authority.pem")).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("not the site's terminal"), "{said}");

    // A token that was taken back opens nothing any more.
    let listed = processes.run(&["terminal", "registers"], "").await.expect("a list");
    let (register, _) = listed.split_once(' ').expect("one register");
    assert!(processes.run(&["terminal", "unpair", register], "").await.is_some());
    let output = sale("lan-3", &authority).output().await.expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("unauthenticated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_in_curl_and_in_csharp_verify_a_payer() {
    let processes = Processes::start().await;
    let url = loopback(&processes);
    if installed("curl", true) {
        let curl = |command: &str, terminal: &str, name: &str| {
            let mut curl = Command::new("sh");
            curl.arg(sample("curl/pos.sh")).args([command, terminal, name]);
            curl
        };
        let token = pair(&processes, curl("pair", &url, "Curl"), "Curl").await;
        let mut verify = curl("verify", &url, "curl-1");
        verify.env("TOKEN", token.trim()).env("LAST4", "0142");
        let (ended, printed) = serve_ada(&processes, verify, 7_100).await;
        assert!(ended.success() && printed.starts_with("passed, code .."), "{printed}");
        let mut verify = curl("verify", "http://localhost", "curl-2");
        verify.env("SOCKET", processes.site().join("run/terminal.sock")).env("LAST4", "0142");
        let (ended, printed) = serve_ada(&processes, verify, 7_200).await;
        assert!(ended.success() && printed.starts_with("passed, code .."), "{printed}");
    }
    if installed("mcs", false) && installed("mono", false) {
        let program = processes.site().join("Pos.exe");
        let mut compile = Command::new("mcs");
        compile.arg("-r:System.Runtime.Serialization.dll").arg(format!("-out:{}", program.display()));
        let compiled = compile.arg(sample("csharp/Pos.cs")).output().await.expect("it runs");
        let said = String::from_utf8_lossy(&compiled.stderr);
        if said.contains("CS0006") {
            eprintln!("not tested: Mono is here without System.Runtime.Serialization");
            return;
        }
        assert!(compiled.status.success(), "{said}");
        let mono = |command: &str, name: &str| {
            let mut mono = Command::new("mono");
            mono.arg(&program).args([command, &url, name]);
            mono
        };
        let token = pair(&processes, mono("pair", "C sharp"), "C sharp").await;
        let mut verify = mono("verify", "csharp-1");
        verify.env("TOKEN", token.trim()).env("LAST4", "0142");
        let (ended, printed) = serve_ada(&processes, verify, 7_300).await;
        assert!(ended.success() && printed.starts_with("passed, code .."), "{printed}");
    }
}
