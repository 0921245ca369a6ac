//! Hand-over to tills that know nothing of us, end to end: four processes, a keyboard that is a pipe, a serial line that
//! is a pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use selfsame_api::client::ClientError;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{Handover, Outcome, RegisterKind, Session, SessionState, TerminalStatus};
use selfsame_api::register::{HandoverState, RegisterState};
use serde_json::{Value, json};

use crate::processes::{PATIENCE, Processes};

/// The byte that the till asks with.
const TRIGGER: u8 = 22;

struct Till {
    processes: Processes,
    keyboard: PathBuf,
    serial: File,
}

impl Till {
    /// A terminal with a keyboard that is not there yet, which is its default, and a serial line.
    async fn start() -> Self {
        let processes = Processes::start().await;
        let keyboard = processes.site().join("hidg0");
        let serial = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&serial).unwrap();
        unlockpt(&serial).unwrap();
        let port = ptsname(&serial, Vec::new()).unwrap();
        let ways = format!(
            "[register]\ndefault = \"keyboard\"\n[register.keyboard]\ndevice = {keyboard:?}\ndelay_ms = 2\n\
             [register.serial]\ndevice = {:?}\ntrigger_byte = {TRIGGER}\n[models]",
            port.to_str().expect("ASCII")
        );
        let changes = [("[register]\n", ""), ("\ndefault = \"return\"\n", "\n"), ("[models]", ways.as_str())];
        processes.change_settings(&changes).await;
        processes.kill("terminal").await;
        processes.ready().await;
        Self { processes, keyboard, serial: File::from(serial) }
    }

    /// A pass; nothing is handed over yet.
    async fn pass(&self, request_id: &str, press: u64) -> Session {
        let session = self.processes.ask(request_id).await;
        assert!(self.processes.press_until_done(&session, press).await);
        let done = self.processes.follow(&session, |session| session.state == SessionState::Done).await;
        assert_eq!(
            (done.outcome, &done.handover),
            (Some(Outcome::Passed), &None),
            "a till is not typed into unasked"
        );
        done
    }

    async fn post(&self, path: &str, body: Value) -> Result<Session, ClientError> {
        self.processes.interface.post(path, &body, PATIENCE).await
    }

    async fn hand_over(&self, session: &Session, body: Value) -> Handover {
        let handed = self.post(&format!("/v1/verifications/{}/handover", session.id), body).await;
        handed.expect("answered").handover.expect("a hand-over")
    }

    /// Plugs the keyboard in: from now on the till reads it, code by code.
    fn plug(&self) -> Receiver<String> {
        mkfifoat(CWD, &self.keyboard, Mode::RUSR | Mode::WUSR).expect("a pipe");
        let (typed, codes) = channel();
        // Opened for both, so that the pipe never ends between two codes.
        let mut reports = OpenOptions::new().read(true).write(true).open(&self.keyboard).expect("it opens");
        std::thread::spawn(move || {
            let (mut code, mut report) = (String::new(), [0; 8]);
            while reports.read_exact(&mut report).is_ok() {
                match report[2] {
                    0 => continue,
                    0x28 if typed.send(std::mem::take(&mut code)).is_err() => return,
                    0x28 => {}
                    0x27 => code.push('0'),
                    usage => code.push(char::from(b'1' + usage - 0x1e)),
                }
            }
        });
        codes
    }
}

fn refused(answer: Result<Session, ClientError>) -> (String, String) {
    let error = answer.expect_err("it is refused");
    let problem = error.problem().expect("with a reason");
    (problem.code.as_str().to_owned(), problem.detail.clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_the_till_did_not_get_is_sent_again_and_charged_once() {
    let till = Till::start().await;
    let status: TerminalStatus =
        till.processes.interface.get("/v1/terminal", PATIENCE).await.expect("a status");
    let state = |kind| status.registers.iter().find(|offer| offer.register == kind).map(|offer| offer.state);
    assert_eq!(state(RegisterKind::Keyboard), Some(RegisterState::Missing));
    assert_eq!(state(RegisterKind::Serial), Some(RegisterState::Ready));
    assert_eq!(state(RegisterKind::Tcp), None);
    let default = status.registers.iter().find(|offer| offer.is_default).expect("a default");
    assert_eq!(default.register, RegisterKind::Keyboard);

    assert_eq!(refused(till.post("/v1/handover", json!({})).await).0, "invalid_state");
    let session = till.pass("keyboard", 5_000).await;
    let path = format!("/v1/verifications/{}/handover", session.id);
    assert_eq!(refused(till.post(&path, json!({ "resend": true })).await).0, "invalid_state");

    // The cable is out.
    let failed = till.hand_over(&session, json!({})).await;
    assert_eq!((failed.register, failed.state), (RegisterKind::Keyboard, HandoverState::Failed));
    assert_eq!(failed.error, Some(FailureCode::RegisterMissing));
    assert!(failed.detail.as_ref().is_some_and(|detail| detail.contains("hidg0")), "{:?}", failed.detail);
    assert!(failed.digits.is_none());

    // It is in again: the same code is sent, as often as somebody asks.
    let codes = till.plug();
    let sent = till.hand_over(&session, json!({ "resend": true })).await;
    assert_eq!((sent.code_id, sent.state, sent.error), (failed.code_id, HandoverState::Sent, None));
    let pressed =
        till.post("/v1/handover", json!({})).await.expect("the button").handover.expect("a hand-over");
    assert_eq!((pressed.code_id, pressed.state), (failed.code_id, HandoverState::Sent));
    let (first, second) = (codes.recv().unwrap(), codes.recv().unwrap());
    assert_eq!((first.len(), first == second), (18, true), "the same code twice");

    // A new one revokes it.
    let other = till.hand_over(&session, json!({})).await;
    let code = codes.recv().unwrap();
    assert!(other.code_id != failed.code_id && code != first);
    assert_eq!(till.processes.try_charge("revoked", &first).await, None, "the till says that it is not paid");
    let wrong = json!({ "resend": true, "lifetime_seconds": 30 });
    assert_eq!(refused(till.post(&path, wrong).await).0, "invalid_request");

    // Sent is not paid; the server says when it is, and then nothing is sent any more.
    assert_eq!(till.processes.charge("typed", &code).await["result"], "paid");
    let paid = till.processes.follow(&session, |session| session.payment.is_some()).await;
    assert_eq!(paid.handover.map(|handover| handover.state), Some(HandoverState::Sent));
    assert_eq!(
        refused(till.post("/v1/handover", json!({})).await),
        ("invalid_state".to_owned(), "this code was charged already".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tills_trigger_byte_brings_the_code_of_the_payer_who_has_passed() {
    let mut till = Till::start().await;
    // Nobody has passed: nothing comes.
    till.serial.write_all(&[TRIGGER]).unwrap();
    let session = till.pass("serial", 5_000).await;
    till.serial.write_all(&[TRIGGER]).unwrap();
    let mut line = [0; 19];
    till.serial.read_exact(&mut line).unwrap();
    let line = String::from_utf8(line.to_vec()).unwrap();
    let sent = till
        .processes
        .follow(&session, |session| session.handover.as_ref().is_some_and(|h| h.state == HandoverState::Sent))
        .await;
    assert_eq!(sent.handover.map(|handover| handover.register), Some(RegisterKind::Serial));
    assert_eq!(till.processes.charge("triggered", line.trim_end()).await["result"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_that_are_not_there_are_refused_by_name_before_a_payer_is_asked() {
    let till = Till::start().await;
    let ask = |register: &str| {
        let body = json!({ "request_id": format!("to-{register}"), "modality": "finger",
            "handover": { "register": register } });
        till.post("/v1/verifications", body)
    };
    let (code, detail) = refused(ask("websocket").await);
    assert_eq!(code, "register_not_configured");
    assert_eq!(
        detail,
        "`websocket` is not configured at this terminal, which has return, screen, keyboard, serial"
    );
    let (code, detail) = refused(ask("fax").await);
    assert_eq!(code, "invalid_request");
    assert!(detail.contains("fax"), "{detail}");
    let session = till.pass("elsewhere", 5_000).await;
    let path = format!("/v1/verifications/{}/handover", session.id);
    assert_eq!(refused(till.post(&path, json!({ "register": "tcp" })).await).0, "register_not_configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_want_the_code_at_once_and_hears_why_it_did_not_come() {
    let till = Till::start().await;
    let body = json!({ "request_id": "at-once", "modality": "finger",
        "identifier": { "kind": "phone_last4", "value": "0142" }, "handover": { "mode": "immediate" } });
    let session = till.post("/v1/verifications", body).await.expect("accepted");
    assert!(till.processes.press_until_done(&session, 5_000).await);
    let done = till.processes.follow(&session, |session| session.state == SessionState::Done).await;
    assert_eq!(done.outcome, Some(Outcome::Passed), "what the keyboard does is not the payer's fault");
    assert_eq!(done.error.map(|error| error.code), Some(FailureCode::RegisterMissing));
    assert_eq!(done.handover.map(|handover| handover.state), Some(HandoverState::Failed));
}

/// Somebody else who reads a pipe, without waiting for its writer.
fn reader(path: &Path) -> File {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("open flags fit");
    OpenOptions::new().read(true).custom_flags(flags).open(path).expect("a pipe opens for reading")
}

#[tokio::test(flavor = "multi_thread")]
async fn installers_send_digits_that_pay_nothing_and_see_what_is_wrong() {
    let till = Till::start().await;
    let page = till.processes.run(&["register", "page"], "").await.expect("a page");
    assert!(page.contains("<title>Selfsame: what the till receives</title>"));
    let attempt = ["register", "try", "keyboard", "--wait-seconds", "0"];
    assert_eq!(till.processes.run(&attempt, "").await, None, "the keyboard is not there");
    mkfifoat(CWD, &till.keyboard, Mode::RUSR | Mode::WUSR).expect("a pipe");
    let mut reports = reader(&till.keyboard);
    let said = till.processes.run(&attempt, "").await.expect("it is typed");
    assert_eq!(said.trim(), "sent 012345678901234567");
    let mut typed = Vec::new();
    let _ = reports.read_to_end(&mut typed);
    assert_eq!((typed.len(), typed[2]), (304, 0x27), "0 first");
    let tcp = ["register", "try", "tcp", "--wait-seconds", "0"];
    assert_eq!(till.processes.run(&tcp, "").await, None, "there is no such section");
}
