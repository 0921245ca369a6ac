//! A camera that the verification program opens itself, on real processes that have none. What a camera does is checked by
//! `cargo xtask gadget`.

use std::time::Duration;

use selfsame_api::diagnostics::Diagnostics;
use selfsame_api::failure::FailureCode;
use selfsame_api::fleet::Reason;
use selfsame_api::interface::{Outcome, Session, TerminalState};
use selfsame_api::verifier::CameraState;
use serde_json::json;

use crate::camera::{EVE, with_faces};
use crate::face::is_ready;

/// Longest wait for something that only a defect can delay.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_missing_is_told_before_a_payer_is_asked_and_fails_a_verification_without_a_try() {
    if !is_ready() {
        return;
    }
    let processes = with_faces().await;
    processes.write_settings(&[
        ("source = \"posted\"", "source = \"v4l2\""),
        ("device = \"/dev/video0\"", "device = \"/dev/no-such-camera\""),
    ]);
    processes.kill("verifier").await;
    let told = processes.status(|status| status.reasons.contains(&Reason::CameraUnavailable)).await;
    assert_eq!(told.state, TerminalState::Degraded);

    let request = json!({ "request_id": "blind", "modality": "face",
        "identifier": { "kind": "phone_last4", "value": EVE } });
    let session: Session =
        processes.interface.post("/v1/verifications", &request, PATIENCE).await.expect("accepted");
    let ended = processes.follow(&session, |session| session.outcome.is_some()).await;
    assert_eq!(ended.outcome, Some(Outcome::Failed), "{ended:?}");
    assert_eq!(ended.error.expect("why").code, FailureCode::CaptureUnavailable);

    let told: Diagnostics = processes.interface.get("/v1/diagnostics", PATIENCE).await.expect("an answer");
    let verifier = told.verifier.expect("it answers");
    assert_eq!(verifier.camera.expect("its camera").state, CameraState::Missing);
    assert_eq!(verifier.counters.get("samples"), None, "nothing was sampled");
    // The rest of the terminal goes on.
    let session = processes.ask("by-finger").await;
    assert!(processes.press_until_done(&session, 100).await);

    // The payer's page knows that it has no camera to switch on and no picture to show. Last, because with a page open whoever
    // is not recognised is asked for a PIN.
    let shown = crate::kiosk::shown(&processes).await;
    assert_eq!((&shown["has_own_camera"], shown.get("camera")), (&json!(true), None));
    assert_eq!(shown["place"], json!({ "merchant_name": "Canteen", "store_name": "Main hall" }));
}
