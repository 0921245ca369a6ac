//! The executable as its users meet it: four processes, any of which may be killed at any moment. The site is the
//! demo's, which starts them again as a service manager does.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use selfsame_api::client::{Client, ClientError, Credentials};
use selfsame_api::interface::{
    HandoverRequest, Outcome, Session, SessionState, TerminalState, TerminalStatus,
};
use selfsame_api::merchant::Secret;
use selfsame_domain::clock::SystemClock;
use selfsame_terminal::device::DeviceIdentity;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for something that only a defect can delay.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at something that another process changes.
pub const PAUSE: Duration = Duration::from_millis(20);

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
    command.env_remove("SELFSAME_SITE").env_remove("SELFSAME_KEY").kill_on_drop(true);
    command
}

/// Waits until a process that lost its parent has ended.
async fn ended(pid: &str) {
    let ended = async {
        while Path::new("/proc").join(pid).exists() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("a child ends with its parent");
}

/// A demo that stays up. Ends with the test, and all four processes with it.
pub struct Processes {
    folder: TempDir,
    pub interface: Client,
    verifier: Client,
    _demo: Child,
}

/// The finger that the demo enrols for Ada, whose phone number ends in 0142.
const ADA: u64 = 1;

impl Processes {
    pub async fn start() -> Self {
        Self::start_with(program()).await
    }

    /// Starts the demo by `command`, which may tell it where photos and packs are.
    pub async fn start_with(mut command: Command) -> Self {
        // Short, because a socket's path has 107 bytes at most.
        let folder = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
        let site = folder.path().join("site");
        let mut demo = command
            .arg("demo")
            .arg("--site")
            .arg(&site)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the executable starts");
        let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
        let up = async {
            while let Some(line) = lines.next_line().await.expect("lines of text") {
                if line.contains("The processes stay up") {
                    return;
                }
            }
            panic!("the demo ended before its processes stayed up");
        };
        tokio::time::timeout(2 * PATIENCE, up).await.expect("the demo comes to its end");
        // Nobody may fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let socket = |name: &str| Client::unix(&site.join("run").join(name), Arc::new(SystemClock));
        let (interface, verifier) = (socket("terminal.sock"), socket("verifier.sock"));
        Self { folder, interface, verifier, _demo: demo }
    }

    pub fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    pub fn pid(&self, process: &str) -> String {
        let file = self.site().join("run").join(format!("{process}.pid"));
        std::fs::read_to_string(file).expect("a process that runs has its number there")
    }

    /// Sends a signal to a process.
    pub async fn signal(&self, process: &str, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid(process)]).status().await.expect("kill runs");
        assert!(sent.success(), "{process} does not run");
    }

    /// Kills a process the hard way and waits until another one is in its place.
    pub async fn kill(&self, process: &str) {
        let before = self.pid(process);
        let killed = Command::new("kill").args(["-9", &before]).status().await.expect("kill runs");
        assert!(killed.success(), "{process} ran as {before}");
        let replaced = async {
            while self.pid(process) == before {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, replaced).await.expect("a process that was killed is started again");
    }

    /// Asks the terminal to verify Ada, and answers the session as soon as her finger is awaited.
    pub async fn ask(&self, request_id: &str) -> Session {
        let request = json!({
            "request_id": request_id,
            "modality": "finger",
            "identifier": { "kind": "phone_last4", "value": "0142" },
        });
        let session: Session =
            self.interface.post("/v1/verifications", &request, PATIENCE).await.expect("accepted");
        self.follow(&session, |session| {
            session.state != SessionState::Waking && session.state != SessionState::Verifying
        })
        .await
    }

    /// Follows a session by long poll, over a terminal that may be starting again.
    pub async fn follow(&self, session: &Session, until: impl Fn(&Session) -> bool) -> Session {
        let followed = async {
            let mut after = 0;
            loop {
                let path = format!("/v1/verifications/{}?after={after}&wait_ms=1000", session.id);
                match self.interface.get::<Session>(&path, PATIENCE).await {
                    Ok(found) if until(&found) => return found,
                    Ok(found) => after = found.sequence,
                    Err(ClientError::Problem(problem)) => panic!("{problem}"),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, followed).await.expect("a session comes to its end")
    }

    async fn outcome(&self, session: &Session) -> (Outcome, Option<String>) {
        let done = self.follow(session, |session| session.state == SessionState::Done).await;
        (
            done.outcome.expect("a session that is done has its outcome"),
            done.error.map(|error| error.code.to_string()),
        )
    }

    /// Ada's finger touches the reader, if it is awaited.
    pub async fn press(&self, press: u64) -> bool {
        self.press_by(ADA, press).await
    }

    /// A finger touches the reader, if one is awaited.
    pub async fn press_by(&self, finger: u64, press: u64) -> bool {
        let body = json!({ "finger": finger, "press": press });
        self.verifier.post::<Value>("/v1/presses", &body, PATIENCE).await.is_ok()
    }

    /// Ada's finger touches the reader again and again until the session is done; answers whether she has passed.
    pub async fn press_until_done(&self, session: &Session, first_press: u64) -> bool {
        let mut press = first_press;
        loop {
            let seen = self.follow(session, |session| session.state != SessionState::Verifying).await;
            match seen.state {
                SessionState::Done => return seen.outcome == Some(Outcome::Passed),
                SessionState::Capturing => press += u64::from(self.press(press).await),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Changes lines of the till's settings, and lets the verification program start with them.
    pub async fn change_settings(&self, changes: &[(&str, &str)]) {
        self.write_settings(changes);
        self.kill("verifier").await;
        self.ready().await;
    }

    /// Changes lines of the till's settings, for whatever starts from now on.
    pub fn write_settings(&self, changes: &[(&str, &str)]) {
        let path = self.site().join("selfsame.toml");
        let mut text = std::fs::read_to_string(&path).expect("the till's settings");
        for (before, after) in changes {
            assert!(text.contains(before), "the settings have no `{before}`");
            text = text.replace(before, after);
        }
        std::fs::write(&path, text).expect("they can be changed");
    }

    pub async fn ready(&self) {
        self.status(|status| status.state == TerminalState::Ready).await;
    }

    /// What the terminal says of itself, as soon as it is what is wanted.
    pub async fn status(&self, wanted: impl Fn(&TerminalStatus) -> bool) -> TerminalStatus {
        let mut last = None;
        let reached = async {
            loop {
                match self.interface.get::<TerminalStatus>("/v1/terminal", PATIENCE).await {
                    Ok(status) if wanted(&status) => return status,
                    other => last = other.ok(),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("the terminal does not come to what is wanted, but: {last:?}"))
    }

    /// A whole payment by the commands that a person would type.
    pub async fn pay(&self, order: &str, press: u64) -> Value {
        let code = self.code(press).await;
        self.charge(order, &code).await
    }

    pub async fn charge(&self, order: &str, code: &str) -> Value {
        let charged = self.try_charge(order, code).await.expect("the till ends with PAID");
        serde_json::from_str(&charged).expect("the till prints JSON")
    }

    /// What the till prints if it ends with PAID.
    pub async fn try_charge(&self, order: &str, code: &str) -> Option<String> {
        let key = self.site().join("keys/merchant");
        let key = key.to_str().expect("our own path");
        let arguments = ["till", "--amount", "0.10", "--order-ref", order, "--key-file", key, "--json"];
        self.run(&arguments, &format!("{code}\n")).await
    }

    /// A code of Ada's.
    async fn code(&self, press: u64) -> String {
        self.ready().await;
        let press = press.to_string();
        let verified =
            self.run(&["verify", "--phone-last4", "0142", "--finger", "1", "--press", &press], "").await;
        verified.expect("Ada is verified").trim().to_owned()
    }

    /// Where the server is.
    pub fn server_url(&self) -> String {
        self.identity().server
    }

    /// The server, with a key of the site.
    pub fn server(&self, key: &str) -> Client {
        let secret = std::fs::read_to_string(self.site().join("keys").join(key)).expect("a key of the demo");
        let credentials = Credentials::Bearer(Secret(secret.trim().to_owned()));
        Client::tcp(&self.identity().server, credentials, Arc::new(SystemClock))
    }

    pub fn identity(&self) -> DeviceIdentity {
        DeviceIdentity::load(&self.site().join("data/device/identity.json")).expect("the till was activated")
    }

    /// Runs a command on the site; answers what it printed, if it succeeded.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Option<String> {
        let mut child = program()
            .args(arguments)
            .arg("--site")
            .arg(self.site())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("it reads or has ended well");
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("no command hangs").expect("it ran");
        if !output.status.success() {
            eprintln!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
    }
}

#[tokio::test]
async fn a_verifier_that_is_killed_while_it_waits_for_the_finger_fails_the_session_and_the_next_one_works() {
    let processes = Processes::start().await;
    let session = processes.ask("killed-verifier").await;
    assert_eq!(session.state, SessionState::Capturing);
    processes.kill("verifier").await;
    assert_eq!(processes.outcome(&session).await, (Outcome::Failed, Some("verifier_lost".to_owned())));
    assert_eq!(processes.pay("after-verifier", 5_000).await["result"], "paid");
}

#[tokio::test]
async fn a_terminal_that_is_killed_in_the_middle_does_not_know_the_outcome_and_says_so() {
    let processes = Processes::start().await;
    let session = processes.ask("killed-terminal").await;
    let verifier = processes.pid("verifier");
    processes.kill("terminal").await;
    assert_eq!(processes.outcome(&session).await, (Outcome::Unknown, None));
    let again: Session = processes
        .interface
        .post(
            "/v1/verifications",
            &json!({ "request_id": "killed-terminal", "modality": "finger" }),
            PATIENCE,
        )
        .await
        .expect("a request that was accepted is remembered");
    assert_eq!((again.id, again.outcome), (session.id, Some(Outcome::Unknown)));
    let handover = format!("/v1/verifications/{}/handover", session.id);
    let refused = processes.interface.post::<Session>(&handover, &HandoverRequest::default(), PATIENCE).await;
    assert_eq!(
        refused.expect_err("there is no code").problem().expect("a problem").code.as_str(),
        "invalid_state"
    );
    assert_eq!(processes.pay("after-terminal", 5_000).await["result"], "paid");
    ended(&verifier).await;
}

#[tokio::test]
async fn a_matcher_that_is_killed_costs_the_payer_nothing() {
    let processes = Processes::start().await;
    let session = processes.ask("killed-matcher").await;
    processes.kill("matcher").await;
    assert!(processes.press(5_000).await);
    // Back in time for the second try of the same sample, or not: both are definite, and nothing counts.
    let outcome = processes.outcome(&session).await;
    let definite = [(Outcome::Passed, None), (Outcome::Failed, Some("matcher_unavailable".to_owned()))];
    assert!(definite.contains(&outcome), "{outcome:?}");
    assert_eq!(processes.pay("after-matcher", 5_001).await["result"], "paid");
}

#[tokio::test]
async fn a_server_that_is_killed_while_the_finger_is_awaited_ends_the_session_definitely() {
    let processes = Processes::start().await;
    let session = processes.ask("killed-server").await;
    processes.kill("server").await;
    assert!(processes.press(5_000).await);
    let (outcome, error) = processes.outcome(&session).await;
    let definite = outcome == Outcome::Passed
        || outcome == Outcome::Failed
            && error.is_some_and(|code| code.starts_with("server_") || code.starts_with("matcher_"));
    assert!(definite, "{outcome:?}");
    assert_eq!(processes.pay("after-server", 5_001).await["result"], "paid");
}

#[tokio::test]
async fn a_server_that_is_killed_while_orders_are_charged_loses_and_doubles_none() {
    let processes = Processes::start().await;
    let books = async || {
        let key = processes.site().join("keys/operator");
        let arguments =
            ["desk", "trial-balance", "--json", "--key-file", key.to_str().expect("our own path")];
        let books: Value =
            serde_json::from_str(&processes.run(&arguments, "").await.expect("the books")).expect("JSON");
        assert_eq!(books["sum_minor"], 0);
        assert_eq!(books["wallets_that_differ"], 0);
        let lines = books["lines"].as_array().expect("a list").clone();
        let owed = |line: &Value| line["account"].as_str().is_some_and(|account| account.starts_with("mch_"));
        let owed =
            lines.iter().filter(|line| owed(line)).map(|line| line["balance_minor"].as_i64().expect("money"));
        owed.sum::<i64>()
    };
    let before = books().await;
    processes.ready().await;
    for order in 0..4 {
        let (order_ref, press) = (format!("killed-{order}"), (5_000 + order).to_string());
        let verified = ["verify", "--phone-last4", "0142", "--finger", "1", "--press", &press];
        let code = processes.run(&verified, "").await.expect("Ada is verified").trim().to_owned();
        // The charge and the kill race; the till asks by the order's reference until it knows.
        let (charged, ()) = tokio::join!(processes.charge(&order_ref, &code), processes.kill("server"));
        assert_eq!(charged["result"], "paid");
        assert_eq!(processes.charge(&order_ref, &code).await["payment"]["id"], charged["payment"]["id"]);
    }
    assert_eq!(books().await - before, 4 * 10);
}

#[tokio::test]
async fn the_demo_ends_well_and_cannot_be_started_twice_on_one_site() {
    let processes = Processes::start().await;
    assert_eq!(processes.run(&["demo", "--exit"], "").await, None, "this site is in use");
    let other = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
    std::fs::write(other.path().join("mine"), "").expect("a file");
    let taken =
        program().args(["demo", "--exit", "--site"]).arg(other.path()).output().await.expect("it runs");
    assert!(!taken.status.success() && other.path().join("mine").exists(), "what no demo made is left alone");
}

#[tokio::test]
async fn children_end_when_their_parent_is_killed() {
    let processes = Processes::start().await;
    let matcher = processes.pid("matcher");
    let mut seen = String::new();
    let status = tokio::fs::File::open(format!("/proc/{matcher}/cmdline")).await;
    status.expect("it runs").read_to_string(&mut seen).await.expect("text");
    assert!(seen.contains("matcher"));
    processes.kill("server").await;
    ended(&matcher).await;
}

/// The payer at the terminal, by the command that stands in for its screen.
async fn answer(processes: &Processes, arguments: &[&str], pin: &str) -> Option<String> {
    let arguments = [&["confirm", "--wait-seconds", "30"], arguments].concat();
    processes.run(&arguments, &format!("{pin}\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_says_paid_when_the_payer_has_confirmed_at_the_terminal_and_not_before() {
    let processes = Processes::start().await;
    let operator = processes.server("operator");
    let limits = json!({ "step_up_above_minor": 9 });
    operator.put::<Value>("/v1/limits/site", &limits, PATIENCE).await.expect("limits are set");
    let code = processes.code(5_000).await;
    let confirm = async {
        assert_eq!(answer(&processes, &[], "0852").await, None, "a wrong PIN confirms nothing");
        assert_eq!(answer(&processes, &["--gesture"], "").await, None, "nor does a gesture here");
        answer(&processes, &[], "2580").await
    };
    let (charged, confirmed) = tokio::join!(processes.charge("confirmed", &code), confirm);
    assert_eq!((&charged["result"], &charged["payment"]["status"]), (&json!("paid"), &json!("succeeded")));
    assert_eq!(confirmed.as_deref(), Some("CONFIRMED\n"));
    let code = processes.code(5_001).await;
    let (charged, refused) =
        tokio::join!(processes.try_charge("refused", &code), answer(&processes, &["--refuse"], ""));
    assert_eq!(charged, None, "the till does not end with PAID");
    assert_eq!(refused.as_deref(), Some("GIVEN UP\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_hang_are_replaced_and_nobody_waits_for_them_for_ever() {
    let processes = Processes::start().await;
    processes.ready().await;
    for name in ["verifier", "matcher"] {
        let before = processes.pid(name);
        let stopped = Command::new("kill").args(["-STOP", &before]).status().await.expect("kill runs");
        assert!(stopped.success());
        let replaced = async {
            while processes.pid(name) == before {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, replaced).await.expect("a process that hangs is replaced");
        processes.ready().await;
    }
    assert_eq!(processes.pay("after-hanging", 5_000).await["result"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn verifier_and_matcher_can_do_their_work_and_nothing_else() {
    let processes = Processes::start().await;
    let told = processes.run(&["doctor", "--json"], "").await.expect("all comes out as it must");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    for name in ["verifier", "matcher"] {
        let attempts = told[name]["attempts"].as_array().expect("attempts");
        assert!(attempts.iter().any(|attempt| attempt["allowed"] == true));
        assert!(attempts.iter().filter(|attempt| attempt["allowed"] == false).count() >= 7);
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", processes.pid(name))).expect("it runs");
        let field = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")), "{name}");
    }
    // Of the files in /dev it may use the camera that the settings name. Any device will do.
    let using = async || {
        let told = processes.run(&["doctor", "inside", "verifier", "1"], "").await.expect("it looks around");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let attempts = told["attempts"].as_array().expect("attempts").clone();
        attempts.into_iter().find(|attempt| attempt["what"] == "using the camera's file")
    };
    assert_eq!(using().await, None);
    processes.write_settings(&[
        ("source = \"none\"", "source = \"v4l2\""),
        ("device = \"/dev/video0\"", "device = \"/dev/full\""),
    ]);
    assert_eq!(using().await.expect("it is tried")["worked"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_terminal_asks_no_payer_and_says_so_to_its_register() {
    let processes = Processes::start().await;
    processes.ready().await;
    let operator = processes.server("operator");
    let terminal = processes.identity().terminal.terminal;
    let set = async |action: &str, state: TerminalState| {
        let path = format!("/v1/terminals/{terminal}/{action}");
        operator.post::<Value>(&path, &json!({}), PATIENCE).await.expect("the operator may do that");
        let reached = async {
            while processes.interface.get::<TerminalStatus>("/v1/terminal", PATIENCE).await.unwrap().state
                != state
            {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the terminal hears of it");
    };
    set("lock", TerminalState::Locked).await;
    let request = json!({ "request_id": "locked", "modality": "finger" });
    let asked = processes.interface.post::<Session>("/v1/verifications", &request, PATIENCE).await;
    assert_eq!(refused(asked), "terminal_locked");
    set("unlock", TerminalState::Ready).await;
    assert_eq!(processes.pay("unlocked", 5_000).await["result"], "paid");
}

/// A refusal of the verification interface.
pub fn refused(answer: Result<Session, ClientError>) -> String {
    let error = answer.expect_err("the interface refuses");
    error.problem().expect("a problem document").code.as_str().to_owned()
}

#[tokio::test]
async fn the_interface_takes_one_payer_at_a_time_and_ends_each_request_once() {
    let processes = Processes::start().await;
    let ask =
        async |body: Value| processes.interface.post::<Session>("/v1/verifications", &body, PATIENCE).await;
    let request = json!({ "request_id": "one", "modality": "finger",
        "identifier": { "kind": "phone_last4", "value": "0142" } });
    let session = ask(request.clone()).await.expect("accepted");
    assert_eq!(ask(request.clone()).await.expect("the same again").id, session.id);
    let mut other = request.clone();
    other["deadline_ms"] = json!(5_000);
    assert_eq!(refused(ask(other).await), "reference_conflict");
    assert_eq!(refused(ask(json!({ "request_id": "two", "modality": "finger" })).await), "busy");
    let handover = format!("/v1/verifications/{}/handover", session.id);
    let early = processes.interface.post(&handover, &HandoverRequest::default(), PATIENCE).await;
    assert_eq!(refused(early), "invalid_state");

    let cancel = format!("/v1/verifications/{}/cancel", session.id);
    for _ in 0..2 {
        let canceled: Session = processes
            .interface
            .post(&cancel, &json!({ "reason": "cashier" }), PATIENCE)
            .await
            .expect("canceled");
        assert_eq!(canceled.outcome, Some(Outcome::Canceled));
    }
    assert!(!processes.press(6_000).await, "the reader is free");

    for (name, value) in [("amount", json!(100)), ("deadline_ms", json!(999)), ("modality", json!("iris"))] {
        let mut wrong = json!({ "request_id": "wrong", "modality": "finger" });
        wrong[name] = value;
        assert_eq!(refused(ask(wrong).await), "invalid_request", "{name}");
    }
    let short = json!({ "request_id": "short", "modality": "finger", "deadline_ms": 1_000 });
    let session = ask(short).await.expect("nobody is in the way any more");
    assert_eq!(processes.outcome(&session).await, (Outcome::TimedOut, None));
    assert_eq!(processes.pay("after-all", 6_001).await["result"], "paid");
}

#[tokio::test]
async fn a_code_lives_until_it_is_replaced_canceled_or_spent() {
    let processes = Processes::start().await;
    let session = processes.ask("codes").await;
    for press in 6_000..6_010 {
        if processes
            .interface
            .get::<Session>(&format!("/v1/verifications/{}", session.id), PATIENCE)
            .await
            .expect("it is there")
            .state
            == SessionState::Done
        {
            break;
        }
        processes.press(press).await;
        processes.follow(&session, |session| session.state != SessionState::Verifying).await;
    }
    assert_eq!(processes.outcome(&session).await.0, Outcome::Passed);
    let handover = format!("/v1/verifications/{}/handover", session.id);
    let hand_over = async || {
        let handed: Session =
            processes.interface.post(&handover, &HandoverRequest::default(), PATIENCE).await.expect("a code");
        handed.handover.expect("handed over").digits.expect("to the caller")
    };
    let (first, second) = (hand_over().await, hand_over().await);
    assert_ne!(first, second);
    // The answer may have been lost: the digits that are alive can be read again.
    let again: Session = processes
        .interface
        .get(&format!("/v1/verifications/{}", session.id), PATIENCE)
        .await
        .expect("it is there");
    assert_eq!(again.handover.expect("handed over").digits.as_ref(), Some(&second));
    let charge = async |order: &str, code: &str| {
        let key = processes.site().join("keys/merchant");
        let key = key.to_str().expect("our own path").to_owned();
        let arguments = ["till", "--amount", "0.10", "--order-ref", order, "--key-file", &key];
        processes.run(&arguments, &format!("{code}\n")).await.is_some()
    };
    assert!(!charge("replaced", &first).await, "the first code was replaced");
    let cancel = format!("/v1/verifications/{}/cancel", session.id);
    let canceled: Session =
        processes.interface.post(&cancel, &json!({ "reason": "payer" }), PATIENCE).await.expect("canceled");
    assert_eq!((canceled.outcome, canceled.handover), (Some(Outcome::Passed), None));
    assert!(!charge("canceled", &second).await, "the pass was given up, and its code with it");
}
