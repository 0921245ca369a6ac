//! Who is kept out of the loopback port, and what two registers at one terminal can and cannot do.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use selfsame_api::client::{Client, Credentials};
use selfsame_api::interface::{Board, Outcome, Session, SessionState};
use selfsame_domain::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::processes::{PATIENCE, Processes};
use crate::reach::{loopback, pair_by_hand};

/// The port, as whoever knows a token or none.
struct Caller {
    url: String,
    token: Option<String>,
}

impl Caller {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let request = crate::caller::http().request(method, format!("{}{path}", self.url)).timeout(PATIENCE);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn ask(request: reqwest::RequestBuilder) -> (u16, HeaderMap, Value) {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = Self::ask(self.request("GET", path)).await;
        (status, body)
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = Self::ask(self.request("POST", path).json(body)).await;
        (status, body)
    }
}

fn request(request_id: &str) -> Value {
    json!({ "request_id": request_id, "modality": "finger", "identifier": { "kind": "phone_last4", "value": "0142" } })
}

/// Every route of the document that takes a token or is for the screen, with the method.
fn routes() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&selfsame_terminal::openapi_json()).expect("JSON");
    assert_eq!(document["components"]["securitySchemes"]["register_token"]["scheme"], "bearer");
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        // Whoever pairs has no token yet; a terminal with real payers has no simulator.
        .filter(|(path, _)| !path.starts_with("/v1/pairings") && !path.starts_with("/v1/simulator"))
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_register_sees_its_own_sessions_and_strangers_none() {
    let processes = Processes::start().await;
    let url = loopback(&processes);
    let stranger = Caller { url: url.clone(), token: None };
    assert_eq!(stranger.post("/v1/pairings", &json!({ "name": "Till" })).await.1["code"], "pairing_closed");
    let [(one, _), (two, second)] = [("Till 1", 0), ("Till 2", 0)].map(|(name, _)| (name, url.clone()));
    let (one, two) =
        (pair_by_hand(&processes, &url, one).await, pair_by_hand(&processes, &second, two).await);
    let [first, second] =
        [&one, &two].map(|paired| Caller { url: url.clone(), token: Some(paired.token.0.clone()) });

    // Both may use the same reference; the second has to wait and is told how long.
    let (status, session) = first.post("/v1/verifications", &request("1")).await;
    assert_eq!(status, 202, "{session}");
    let (status, headers, busy) =
        Caller::ask(second.request("POST", "/v1/verifications").json(&request("1"))).await;
    assert_eq!(
        (status, &busy["code"], &headers["retry-after"]),
        (409, &json!("busy"), &"1".parse().unwrap())
    );
    assert!(busy["retry_after_ms"].as_u64().is_some_and(|wait_ms| wait_ms > 0));
    let (status, again) = first.post("/v1/verifications", &request("1")).await;
    assert_eq!((status, &again["id"]), (200, &session["id"]));

    let id = session["id"].as_str().expect("an id");
    let wrong = Caller { url: url.clone(), token: Some("rt_wrong".to_owned()) };
    for (method, path) in routes() {
        let of_session = path.starts_with("/v1/verifications/");
        let named = path.replace("{id}", if of_session { id } else { "reg_00000000000000000000000000" });
        let asked = |caller: &Caller| Caller::ask(caller.request(&method, &named).json(&json!({})));
        for caller in [&stranger, &wrong] {
            assert_eq!(asked(caller).await.0, 401, "{method} {path}");
        }
        if of_session {
            let (status, _, problem) = asked(&second).await;
            assert!([403, 404].contains(&status), "{method} {path}: {status} {problem}");
        }
    }
    let bearer = Credentials::Bearer(two.token.clone());
    let second_client = Client::tcp(&url, bearer, Arc::new(SystemClock));
    let mut board = second_client.events("/v1/events", PATIENCE, PATIENCE).await.expect("a stream");
    let seen = board.next::<Board>().await.expect("an event").expect("a board");
    assert_eq!(seen.session, None, "the other register's payer is none of its business");
    let path = format!("/v1/verifications/{id}");
    assert!(processes.interface.get::<Session>(&path, PATIENCE).await.is_ok(), "the terminal sees all");

    // What only the payer or somebody at the terminal does is not for a register, also for its own session.
    for path in [format!("{path}/confirmation"), "/v1/pairing-window".to_owned()] {
        assert_eq!(first.post(&path, &json!({ "pin": "1234" })).await.0, 403, "{path}");
    }
    assert_eq!(first.get("/v1/registers").await.0, 403);
    let as_payer = first.post(&format!("{path}/cancel"), &json!({ "reason": "payer" })).await;
    assert_eq!((as_payer.0, &as_payer.1["code"]), (403, &json!("forbidden")));

    // A restart in the middle: the one whose session it was learns that nobody knows; the other still nothing.
    processes.kill("terminal").await;
    processes.ready().await;
    let url = std::fs::read_to_string(processes.site().join("run/terminal.url")).expect("the port is told");
    let [first, second] =
        [&one, &two].map(|paired| Caller { url: url.clone(), token: Some(paired.token.0.clone()) });
    let (status, known) = first.get(&path).await;
    assert_eq!((status, &known["outcome"]), (200, &json!("unknown")));
    assert_eq!(second.get(&path).await.0, 404);

    // The token is taken back in the middle of a long poll: the poll ends at once.
    let (status, session) = second.post("/v1/verifications", &request("1")).await;
    assert_eq!(status, 202, "{session}");
    let id = session["id"].as_str().expect("an id").to_owned();
    let session: Session = serde_json::from_value(session).expect("a session");
    let awaited = processes.follow(&session, |session| session.state == SessionState::Capturing).await;
    let sequence = awaited.sequence;
    let polling = format!("/v1/verifications/{id}?after={sequence}&wait_ms=25000");
    let unpair = format!("/v1/registers/{}/unpair", two.id);
    let (polled, unpaired) = tokio::join!(second.get(&polling), async {
        processes.interface.post::<()>(&unpair, &json!({}), PATIENCE).await
    });
    assert!(unpaired.is_ok());
    assert_eq!(polled.0, 401);
    let cancel = format!("/v1/verifications/{id}/cancel");
    let canceled: Session =
        processes.interface.post(&cancel, &json!({ "reason": "cashier" }), PATIENCE).await.expect("canceled");
    assert_eq!(canceled.outcome, Some(Outcome::Canceled));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_names_foreign_pages_and_giant_bodies_are_refused_by_name() {
    let processes = Processes::start().await;
    let origins = ("origins = []", "origins = [\"https://pos.example\"]".to_owned());
    crate::reach::change(&processes, &[origins], &["terminal"]).await;
    let url = loopback(&processes);
    let paired = pair_by_hand(&processes, &url, "Till 1").await;
    let till = Caller { url: url.clone(), token: Some(paired.token.0.clone()) };
    let code = async |request: reqwest::RequestBuilder| {
        let (status, _, problem) = Caller::ask(request).await;
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let status = || till.request("GET", "/v1/terminal");
    assert_eq!(code(status()).await.0, 200);
    assert_eq!(code(status().header("host", "rebound.example")).await, (403, "foreign_host".to_owned()));
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(
            code(status().header("origin", origin)).await,
            (403, "foreign_origin".to_owned()),
            "{origin}"
        );
    }
    assert_eq!(code(status().header("origin", &url)).await.0, 200, "its own page");

    // A page that was let in may ask, and its browser hears so.
    let (status, headers, _) = Caller::ask(
        till.request("OPTIONS", "/v1/verifications")
            .header("origin", "https://pos.example")
            .header("access-control-request-method", "POST"),
    )
    .await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (204, &"https://pos.example".parse().unwrap())
    );
    let stranger = Caller { url: url.clone(), token: None };
    let (status, headers, _) =
        Caller::ask(stranger.request("GET", "/v1/terminal").header("origin", "https://pos.example")).await;
    assert_eq!(status, 401, "the page still needs a token");
    assert!(headers.contains_key("access-control-allow-origin"), "and may read why");

    let giant = json!({ "name": "x".repeat(1 << 20) }).to_string();
    let giant =
        stranger.request("POST", "/v1/pairings").header("content-type", "application/json").body(giant);
    // The refusal comes before the body was read; the connection may be gone before all of it was sent.
    if let Ok(answer) = giant.send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let address = url.strip_prefix("http://").expect("our own form");
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let head = format!(
        "POST /v1/pairings HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..5 {
        // No end is ever sent, and nobody waits for one.
        stream.write_all(chunk.as_bytes()).await.expect("sent");
    }
    let mut answer = vec![0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 413");
}
