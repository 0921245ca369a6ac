//! A verification program whose terminal may not work, or whose clock is wrong: every run ends in a named outcome.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selfsame_api::account::Identifier;
use selfsame_api::bytes::Bytes;
use selfsame_api::client::Client;
use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{Outcome, SessionState};
use selfsame_api::verifier::{Progress, SyntheticPress, Wake};
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::SessionId;
use selfsame_domain::sensor::Modality;
use selfsame_domain::time::Timestamp;
use selfsame_terminal::capture::CaptureSource;
use selfsame_terminal::capture::power::CameraPolicy;
use selfsame_terminal::capture::reader::Reader;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::{Budgets, VerifierConfig, run_verifier};
use serde_json::json;

use crate::payer::text;
use crate::site::TestSite;

const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that is off.
struct OffClock {
    inner: Arc<dyn Clock>,
    off_ms: i64,
}

impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.now().as_millis() + self.off_ms)
    }
}

/// The till's verification program.
struct Program {
    client: Client,
    socket: PathBuf,
}

impl Program {
    async fn start(site: &TestSite, identity: DeviceIdentity, off_ms: i64) -> Self {
        let socket = site.folder().join(format!("verifier-{}.sock", site.next()));
        let config = VerifierConfig {
            socket: socket.clone(),
            sources: vec![CaptureSource::Synthetic(Reader::default())],
            camera_policy: CameraPolicy::Cold,
            budgets: Budgets { identifier: PATIENCE, capture: PATIENCE },
            page: None,
            identity,
            clock: Arc::new(OffClock { inner: site.clock.clone(), off_ms }),
        };
        tokio::spawn(run_verifier(config, std::future::pending()));
        let listening = async {
            while tokio::net::UnixStream::connect(&socket).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("it listens");
        Self { client: Client::unix(&socket, Arc::new(SystemClock)), socket }
    }

    /// Wakes it for somebody.
    async fn wake(&self, site: &TestSite, member_number: &str) -> SessionId {
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system's generator answers");
        let session = SessionId::new(site.clock.now(), random);
        let identifier = Identifier { kind: IdentifierKind::MemberNumber, value: member_number.to_owned() };
        let deadline_ms = PATIENCE.as_millis().try_into().expect("a minute");
        let (modality, identifier) = (Modality::Finger, Some(identifier));
        let wake = Wake { session, modality, identifier, deadline_ms, takes_pin: false };
        self.client.post::<Progress>("/v1/wake", &wake, PATIENCE).await.expect("it is there");
        session
    }

    async fn until(&self, session: SessionId, state: SessionState) -> Progress {
        let mut after = 0;
        loop {
            let path = format!("/v1/progress?session={session}&after={after}&wait_ms=10000");
            let progress: Progress = self.client.get(&path, PATIENCE).await.expect("it is there");
            if progress.state == state || progress.state == SessionState::Done {
                return progress;
            }
            after = progress.sequence;
        }
    }

    /// How a session ends.
    async fn failure(&self, session: SessionId) -> FailureCode {
        let verdict = self.until(session, SessionState::Done).await.verdict.expect("a verdict");
        assert_eq!(verdict.outcome, Outcome::Failed, "at {}", self.socket.display());
        verdict.error.expect("a reason").code
    }

    async fn press(&self) {
        let press = SyntheticPress { finger: 3, press: 1 };
        let () = self.client.post("/v1/presses", &press, PATIENCE).await.expect("the reader is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_an_hour_off_ends_in_clock_skew_and_minutes_do_not_matter() {
    let site = TestSite::start().await;
    let till = || site.till.identity.clone();
    for off_ms in [-3_600_000, 3_600_000] {
        let program = Program::start(&site, till(), off_ms).await;
        let session = program.wake(&site, "NOBODY").await;
        assert_eq!(program.failure(session).await, FailureCode::ClockSkew);
    }
    let program = Program::start(&site, till(), 240_000).await;
    let session = program.wake(&site, "NOBODY").await;
    let verdict = program.until(session, SessionState::Done).await.verdict.expect("a verdict");
    assert_eq!(verdict.outcome, Outcome::Declined);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_in_the_middle_ends_in_terminal_not_active() {
    let site = TestSite::start().await;
    let payer = site.payer(3, 0).await;
    for how in ["lock", "retire", "activate again"] {
        let device = site.add_terminal("till").await;
        let terminal = device.terminal();
        let program = Program::start(&site, device.identity.clone(), 0).await;
        let session = program.wake(&site, &payer.member_number).await;
        let progress = program.until(session, SessionState::Capturing).await;
        assert_eq!(progress.state, SessionState::Capturing, "{progress:?}");
        if how == "activate again" {
            let path = format!("/v1/terminals/{terminal}/activation-code");
            let renewed = site.operator.post(&path, &json!({})).await.ok(201);
            let file = site.folder().join("elsewhere.json");
            let code = text(&renewed, "activation_code");
            let clock = site.clock.clone();
            crate::device::Device::activate(&site.base(), terminal, code, &file, clock)
                .await
                .expect("activated");
        } else {
            let done = site.operator.post(&format!("/v1/terminals/{terminal}/{how}"), &json!({})).await;
            assert_eq!(done.status, 204);
        }
        program.press().await;
        assert_eq!(program.failure(session).await, FailureCode::TerminalNotActive, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_sign_ends_in_signer_unavailable() {
    let site = TestSite::start().await;
    let identity = {
        let stored = std::fs::read_to_string(site.folder().join("till.json")).expect("it is kept");
        let mut stored: serde_json::Value = serde_json::from_str(&stored).expect("JSON");
        let public_key = Bytes::from(site.till.signing_key.verifying_key().to_bytes()).encode();
        stored.as_object_mut().expect("an object").remove("private_key");
        stored["pkcs11"] = json!({
            "token": { "module": "/nowhere/lib.so", "label": "t", "key_label": "k" },
            "id": "AAAA", "algorithm": "ed25519", "public_key": public_key });
        let file = site.folder().join("tokenless.json");
        std::fs::write(&file, stored.to_string()).expect("writable");
        DeviceIdentity::load(&file).expect("nothing is opened before it is needed")
    };
    let program = Program::start(&site, identity, 0).await;
    let session = program.wake(&site, "NOBODY").await;
    assert_eq!(program.failure(session).await, FailureCode::SignerUnavailable);
}
