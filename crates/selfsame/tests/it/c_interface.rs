//! The C interface as a register's vendor meets it: the examples of `crates/terminal-c`, compiled by a C compiler
//! against header and library, beside real processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use selfsame_api::interface::{TerminalState, TerminalStatus};
use selfsame_api::pairing::PairingWindow;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};

use crate::processes::{PATIENCE, PAUSE, Processes};
use crate::reach::change;

/// Last four digits of Ada, whom the demo enrols.
const ADA: &str = "0142";

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terminal-c")
}

/// How a program is linked with the library.
#[derive(Clone, Copy)]
enum Linked {
    Shared,
    Static,
}

/// The library, built as a vendor gets it, and programs compiled against it.
struct Workshop {
    folder: TempDir,
    built: PathBuf,
}

impl Workshop {
    async fn open() -> Self {
        // Cargo builds no libraries for C in passing. In the target folder that these tests lie in:
        // target/<profile>/deps/it-1234.
        let ours = std::env::current_exe().expect("our own path");
        let built = ours.ancestors().nth(2).expect("a folder for the profile").to_owned();
        let target = built.parent().expect("the target folder");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "selfsame-terminal-c", "--features", "tls", "--offline"]);
        build.arg("--target-dir").arg(target);
        if built.ends_with("release") {
            build.arg("--release");
        }
        let build = build.current_dir(library()).output().await.expect("cargo starts");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        Self { folder: TempDir::new().expect("a temporary folder"), built }
    }

    /// Compiles one C file with every warning as an error.
    async fn compile(&self, source: &Path, linked: Linked) -> PathBuf {
        let program = self.folder.path().join(match linked {
            Linked::Shared => source.file_stem().expect("a file").to_os_string(),
            Linked::Static => "static".into(),
        });
        let mut compiler = Command::new("cc");
        compiler.args([
            "-std=c99",
            "-D_POSIX_C_SOURCE=200809L",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-g",
        ]);
        compiler.arg("-I").arg(library().join("include")).arg("-o").arg(&program).arg(source);
        match linked {
            Linked::Shared => {
                compiler
                    .arg("-L")
                    .arg(&self.built)
                    .arg("-lselfsame_terminal")
                    .arg("-Wl,-rpath")
                    .arg(&self.built);
            }
            Linked::Static => {
                compiler.arg(self.built.join("libselfsame_terminal.a")).args(["-lgcc_s", "-ldl", "-lm"]);
            }
        }
        let compiled = compiler.arg("-lpthread").output().await.expect("a C compiler is there: cc");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        program
    }

    async fn example(&self, name: &str, linked: Linked) -> PathBuf {
        self.compile(&library().join("examples").join(name), linked).await
    }
}

/// Whether valgrind is there to look at the memory. It may be missing anywhere but in CI.
async fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().await;
    let is_there = version.is_ok_and(|status| status.success());
    if !is_there {
        assert!(
            std::env::var_os("CI").is_none(),
            "valgrind is missing: `cargo xtask test --setup` installs it"
        );
        eprintln!("not tested: valgrind is missing; `cargo xtask test --setup` installs it");
    }
    is_there
}

/// A program, itself or under valgrind: which ends with 99 if memory is lost or misused.
fn watched(program: &Path, by_valgrind: bool) -> Command {
    let mut command = Command::new(if by_valgrind { OsStr::new("valgrind") } else { program.as_os_str() });
    if by_valgrind {
        command.args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect,possible",
        ]);
        command.arg(program);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn end_of(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let Output { status, stdout, stderr } = output.expect("no program hangs").expect("it ran");
    (
        status.code(),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

fn address_of(processes: &Processes) -> String {
    format!("unix:{}", processes.site().join("run/terminal.sock").display())
}

/// A press that was not made before. No two of a finger are alike.
fn next_press() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(7_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A finger touches the reader as soon as it is awaited.
async fn press(processes: &Processes, request_id: &str) {
    let press = async {
        while !processes.press(next_press()).await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, press)
        .await
        .unwrap_or_else(|_| panic!("no finger is awaited: {request_id}"));
}

/// Ada pays by a program in C.
async fn pay(processes: &Processes, address: &[&str], name: &str, mut program: Command) {
    processes.ready().await;
    let (place, token) = (address[0], &address[1..]);
    let child = program.args([place, name, ADA]).args(token).spawn().expect("it starts");
    press(processes, name).await;
    let (status, printed, complaints) = end_of(child).await;
    assert_eq!((status, complaints.as_str()), (Some(0), ""), "{name}");
    let code = printed.trim();
    assert!(code.len() == 18 && code.bytes().all(|byte| byte.is_ascii_digit()), "no code came out");
    assert_eq!(processes.charge(name, code).await["result"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_c_verifies_a_payer_and_its_code_pays() {
    let workshop = Workshop::open().await;
    let example = workshop.example("pay.c", Linked::Shared).await;
    let processes = Processes::start().await;
    let address = address_of(&processes);
    pay(&processes, &[&address], "c-shared", watched(&example, false)).await;
    let with_library = workshop.example("pay.c", Linked::Static).await;
    pay(&processes, &[&address], "c-static", watched(&with_library, false)).await;
    if has_valgrind().await {
        pay(&processes, &[&address], "c-valgrind", watched(&example, true)).await;
    }
    // A number that nobody has is declined, and the program hears it.
    processes.ready().await;
    let nobody = watched(&example, false).args([&address, "c-nobody", "9999"]).spawn().expect("it starts");
    let (status, printed, complaints) = end_of(nobody).await;
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(complaints.starts_with(r#"{"code":"declined","session":{"#), "{complaints}");
}

/// One call by the program that takes any.
async fn call(program: &Path, request: &Value) -> (Option<i32>, Value) {
    let mut child = watched(program, false).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(request.to_string().as_bytes()).await.expect("it reads");
    drop(stdin);
    let (status, printed, complaints) = end_of(child).await;
    assert_eq!(complaints, "");
    (status, serde_json::from_str(&printed).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_c_is_paired_and_pays_over_the_loopback_port_and_over_tls() {
    let workshop = Workshop::open().await;
    let (calling, paying) =
        (workshop.example("call.c", Linked::Shared).await, workshop.example("pay.c", Linked::Shared).await);
    let processes = Processes::start().await;
    let changes = [
        ("# listen_lan = \"0.0.0.0:8702\"", "listen_lan = \"127.0.0.1:0\"".to_owned()),
        ("names = []", "names = [\"127.0.0.1\"]".to_owned()),
    ];
    change(&processes, &changes, &["terminal"]).await;
    let site = processes.site();
    let told = |file: &str| std::fs::read_to_string(site.join("run").join(file)).expect("the port is told");
    let (loopback, lan) = (told("terminal.url"), told("terminal-lan.url"));
    let certified = async {
        while !site.join("data/terminal-certificate.json").exists() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, certified).await.expect("the terminal gets its certificate");
    let lan = format!("https://127.0.0.1:{}", lan.trim().rsplit_once(':').expect("with its port").1);

    // Nobody without a token.
    let (status, answer) = call(&calling, &json!({ "call": "terminal", "address": loopback })).await;
    assert_eq!((status, &answer["code"]), (Some(1), &json!("unauthenticated")));

    let screen = &processes.interface;
    screen.post::<PairingWindow>("/v1/pairing-window", &json!({}), PATIENCE).await.expect("opened");
    let (_, asked) = call(&calling, &json!({ "call": "pair", "address": loopback, "name": "In C" })).await;
    assert_eq!(asked["code"], "ok", "{asked}");
    let window: PairingWindow = screen.get("/v1/pairing-window", PATIENCE).await.expect("it is open");
    let complete = json!({
        "call": "complete_pairing", "address": loopback,
        "pairing": asked["pairing"]["id"], "code": window.asking.expect("somebody asks").code,
    });
    let (_, paired) = call(&calling, &complete).await;
    assert_eq!(paired["code"], "ok");
    let token = workshop.folder.path().join("token");
    std::fs::write(&token, paired["paired"]["token"].as_str().expect("a token")).expect("a file");

    let path = |path: &Path| path.to_str().expect("our own path").to_owned();
    let (token, authority) = (path(&token), path(&site.join("authority.pem")));
    pay(&processes, &[&loopback, &token], "c-loopback", watched(&paying, false)).await;
    pay(&processes, &[&lan, &token, &authority], "c-tls", watched(&paying, false)).await;
    if has_valgrind().await {
        let mut paying = watched(&paying, true);
        // The assembly of `ring` works on whole vectors, of which valgrind takes the unused lanes for uninitialised.
        paying.env("VALGRIND_OPTS", "--undef-value-errors=no");
        pay(&processes, &[&lan, &token, &authority], "c-tls-valgrind", paying).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_thread_cancels_by_the_registers_own_reference() {
    let workshop = Workshop::open().await;
    let example = workshop.example("cancel.c", Linked::Shared).await;
    let processes = Processes::start().await;
    for by_valgrind in [false, true] {
        if by_valgrind && !has_valgrind().await {
            continue;
        }
        processes.ready().await;
        let reference = format!("cancel-{by_valgrind}");
        let mut program = watched(&example, by_valgrind);
        let mut child = program.args([&address_of(&processes), &reference]).spawn().expect("it starts");
        let busy = async {
            loop {
                let status: TerminalStatus =
                    processes.interface.get("/v1/terminal", PATIENCE).await.expect("it answers");
                if status.state == TerminalState::Busy {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, busy).await.expect("the terminal takes the request");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"\n").await.expect("it reads");
        let (status, printed, complaints) = end_of(child).await;
        assert_eq!((status, complaints.as_str()), (Some(0), ""));
        let lines: Vec<&str> = printed.lines().collect();
        assert!(lines[0].starts_with(r#"verify 1 {"code":"canceled","session":{"#), "{printed}");
        assert!(lines[1].starts_with(r#"cancel 0 {"code":"ok","session":{"#), "{printed}");
        let terminal: TerminalStatus =
            processes.interface.get("/v1/terminal", PATIENCE).await.expect("it answers");
        assert_eq!(terminal.state, TerminalState::Ready);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_hangs_up_kills_no_caller_on_any_thread() {
    let workshop = Workshop::open().await;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/c_interface/many_calls.c");
    let program = workshop.compile(&source, Linked::Shared).await;
    let socket = workshop.folder.path().join("t.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let hanging_up = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let address = format!("unix:{}", socket.display());
    // Some of the callers write after the other end has gone: without precautions that is a deadly signal.
    let child = watched(&program, false).args([&address, "500"]).spawn().expect("it starts");
    let (status, printed, complaints) = end_of(child).await;
    assert_eq!((status, complaints.as_str()), (Some(0), ""));
    assert_eq!(printed, "0 0 0 2000 0 0 \n");
    hanging_up.abort();
}

/// The symbols that a file exports, by `nm`.
async fn exported(file: &Path) -> Vec<String> {
    let listed =
        Command::new("nm").args(["-D", "--defined-only"]).arg(file).output().await.expect("nm is there");
    let listed = String::from_utf8(listed.stdout).expect("text");
    listed.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let workshop = Workshop::open().await;
    let header = std::fs::read_to_string(library().join("include/selfsame_terminal.h")).expect("the header");
    let declaration = |line: &str| {
        let (start, _) = line.split_once('(')?;
        let name = start.rsplit([' ', '*']).next()?;
        (line.ends_with(';') && !line.starts_with(' ')).then(|| name.to_owned())
    };
    let mut declared: Vec<String> = header.lines().filter_map(declaration).collect();
    declared.sort();
    assert_eq!(declared, ["selfsame_terminal_call", "selfsame_terminal_release"]);
    assert_eq!(exported(&workshop.built.join("libselfsame_terminal.so")).await, declared);
}
