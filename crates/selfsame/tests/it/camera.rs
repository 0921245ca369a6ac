//! A camera's frames on their way into the verification program, on real processes: by command, and from a page over
//! the loopback port. Needs photos and packs like [`crate::face`].

use std::time::Duration;

use selfsame_api::interface::{Outcome, Session};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::face::{beside, is_ready, photos};
use crate::processes::{Processes, program};

/// Longest wait for something that only a defect can delay.
const PATIENCE: Duration = Duration::from_secs(60);

/// Last four digits of Eve and Finn, whom the demo enrols by the face of the first two people that can be used.
pub const EVE: &str = "0123";
const FINN: &str = "0155";

/// People of whom Eve is one: the quality gate refuses few.
const PEOPLE: usize = 4;

pub async fn with_faces() -> Processes {
    let mut command = program();
    command.env("SELFSAME_MODELS", beside("SELFSAME_MODELS", "models"));
    command.env("SELFSAME_FACES", beside("SELFSAME_FACES", "faces"));
    Processes::start_with(command).await
}

/// What the command prints when these photos come before the camera: the code.
async fn verify(processes: &Processes, digits: &str, photos: &[Vec<u8>]) -> Option<String> {
    let folder = TempDir::new().expect("a temporary folder");
    let files: Vec<String> = photos
        .iter()
        .enumerate()
        .map(|(number, photo)| {
            let file = folder.path().join(format!("{number}.jpg"));
            std::fs::write(&file, photo).expect("a file");
            file.to_str().expect("our own path").to_owned()
        })
        .collect();
    let mut arguments = vec!["verify", "--phone-last4", digits, "--face"];
    arguments.extend(files.iter().map(String::as_str));
    processes.ready().await;
    processes.run(&arguments, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_pass_by_command_and_over_the_loopback_port_with_the_token_only() {
    if !is_ready() {
        return;
    }
    let processes = with_faces().await;
    let mut eve = None;
    for person in 0..PEOPLE {
        let photos = photos(person);
        if let Some(code) = verify(&processes, EVE, &photos).await {
            let digits = code.trim();
            assert!(
                digits.len() == 18 && digits.bytes().all(|byte| byte.is_ascii_digit()),
                "no code came out"
            );
            eve = Some(photos);
            break;
        }
    }
    let eve = eve.expect("one of the first people is Eve");
    assert_eq!(verify(&processes, FINN, &eve).await, None, "her face is not Finn's");

    let run = |name: &str| std::fs::read_to_string(processes.site().join("run").join(name)).expect(name);
    let (url, token) = (run("verifier.url"), run("verifier.token"));
    let http = reqwest::Client::new();
    let post = async |path: &str, token: &str, jpeg: &[u8]| {
        let request = http.post(format!("{}{path}", url.trim())).bearer_auth(token);
        let request = request.header("content-type", "image/jpeg").body(jpeg.to_vec());
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    assert_eq!(post("/v1/frames?at_ms=0", "wrong", &eve[0]).await.0, 401);
    assert_eq!(post("/v1/frames?at_ms=0", token.trim(), &eve[0]).await.1["code"], "invalid_state");
    // To wake and to cancel is the terminal's.
    assert_eq!(post("/v1/wake", token.trim(), b"{}").await.0, 404);

    processes.ready().await;
    let request = json!({ "request_id": "page", "modality": "face",
        "identifier": { "kind": "phone_last4", "value": EVE } });
    let session: Session =
        processes.interface.post("/v1/verifications", &request, PATIENCE).await.expect("accepted");
    let done = async {
        for photo in eve.iter().cycle() {
            let (status, answer) = post("/v1/frames?at_ms=0", token.trim(), photo).await;
            assert!(status == 200 || answer["code"] == "invalid_state", "{answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::select! {
        ended = processes.follow(&session, |session| session.outcome.is_some()) => ended,
        () = done => unreachable!("photos are shown over and over"),
    };
    assert_eq!(ended.outcome, Some(Outcome::Passed), "{ended:?}");
}
