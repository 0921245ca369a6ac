use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::connection::BODY_BYTES_MAX;

/// Calls as a C program does.
fn call_bytes(request: &[u8]) -> (c_int, Value) {
    let (mut response, mut length) = (std::ptr::null_mut(), 0);
    let pointer = request.as_ptr().cast();
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: pointer and length are those of a slice, the others of variables.
    let ended = unsafe { selfsame_terminal_call(pointer, request.len(), &raw mut response, &raw mut length) };
    assert!(!response.is_null());
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: as documented, the response ends in a zero byte.
    let text = unsafe { std::ffi::CStr::from_ptr(response) }.to_bytes().to_vec();
    assert_eq!(text.len(), length);
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: it is the response, whole, and it is not used again.
    unsafe {
        selfsame_terminal_release(response);
    }
    (ended, serde_json::from_slice(&text).expect("every response is JSON"))
}

fn call(request: &Value) -> (c_int, Value) {
    call_bytes(request.to_string().as_bytes())
}

fn code(answer: &(c_int, Value)) -> (c_int, &str) {
    (answer.0, answer.1["code"].as_str().expect("every response has a code"))
}

/// A terminal that answers each connection with the next of some texts, and ends with the requests that came.
struct Scripted {
    socket: PathBuf,
    _folder: TempDir,
    serving: JoinHandle<Vec<String>>,
}

impl Scripted {
    fn new(answers: Vec<Vec<u8>>) -> Self {
        let folder = TempDir::with_prefix_in("selfsame-", "/tmp").unwrap();
        let socket = folder.path().join("t.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = move |answer: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            // Whoever is fed up with a long answer hangs up.
            let _ = stream.write_all(&answer);
            String::from_utf8(request).unwrap()
        };
        let serving = std::thread::spawn(move || answers.into_iter().map(serve).collect());
        Self { socket, _folder: folder, serving }
    }

    fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    fn requests(self) -> Vec<String> {
        self.serving.join().unwrap()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    body.len() == length.map_or(0, |length| length.parse().unwrap())
}

fn http(status: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn session(state: &str, sequence: u64, outcome: Option<&str>) -> Value {
    json!({ "id": "ses_01", "state": state, "sequence": sequence, "outcome": outcome, "new_field": [1, 2] })
}

#[test]
fn null_pointers_are_answered() {
    let (mut response, mut length) = (std::ptr::null_mut(), 1);
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: null is allowed everywhere.
    let ended =
        unsafe { selfsame_terminal_call(std::ptr::null(), 5, &raw mut response, std::ptr::null_mut()) };
    assert_eq!((ended, response.is_null()), (4, true));
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: as above.
    let ended = unsafe { selfsame_terminal_call(std::ptr::null(), 5, std::ptr::null_mut(), &raw mut length) };
    assert_eq!(ended, 4);
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: as above, and the others are of variables.
    let ended = unsafe { selfsame_terminal_call(std::ptr::null(), 5, &raw mut response, &raw mut length) };
    assert_eq!(ended, 4);
    assert!(!response.is_null());
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: it is the response, whole.
    unsafe {
        selfsame_terminal_release(response);
    }
    #[expect(unsafe_code, reason = "the interface under test")]
    // SAFETY: null is allowed.
    unsafe {
        selfsame_terminal_release(std::ptr::null_mut());
    }
}

#[test]
fn requests_of_another_form_are_answered_and_nothing_is_sent() {
    // An address where nobody is: what got as far as a connection would answer `terminal_unreachable`.
    let address = "unix:/nowhere/t.sock";
    let with = |fields: Value| {
        let mut request = json!({ "address": address });
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request.to_string().into_bytes()
    };
    let long = vec![b' '; REQUEST_BYTES_MAX + 1];
    let deep = "[".repeat(10_000);
    let bytes: [&[u8]; 9] = [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b"\0", &long, deep.as_bytes()];
    let objects = [
        json!({ "call": "pay" }),
        json!({ "call": "terminal", "amount": 5 }),
        json!({ "call": "terminal", "address": "http://192.168.0.7:8701" }),
        json!({ "call": "terminal", "address": 5 }),
        json!({ "call": "terminal", "token": "a\r\nX: 1" }),
        json!({ "call": "terminal", "token": "a", "token_file": "b" }),
        json!({ "call": "terminal", "token_file": "/nowhere/token" }),
        json!({ "call": "terminal", "ca_file": "/nowhere/ca.pem" }),
        json!({ "call": "terminal", "address": "https://till-2:8702" }),
        json!({ "call": "terminal", "address": "https://till-2:8702", "ca_file": "/nowhere/ca.pem" }),
        json!({ "call": "verify" }),
        json!({ "call": "verify", "request_id": 5 }),
        json!({ "call": "start" }),
        json!({ "call": "status" }),
        json!({ "call": "status", "session": "../terminal" }),
        json!({ "call": "status", "session": "" }),
        json!({ "call": "status", "session": "ses_01", "wait_ms": -1 }),
        json!({ "call": "status", "session": "ses_01", "amount": 1 }),
        json!({ "call": "handover", "session": "ses_01 HTTP/1.1\r\n" }),
        json!({ "call": "cancel" }),
        json!({ "call": "cancel", "session": "ses_01", "request_id": "R" }),
    ];
    let objects = objects.map(with);
    for request in bytes.into_iter().chain(objects.iter().map(Vec::as_slice)) {
        let answer = call_bytes(request);
        assert_eq!(code(&answer), (4, "invalid_request"), "{}", String::from_utf8_lossy(request));
        assert!(answer.1["detail"].is_string());
    }
}

#[test]
fn a_terminal_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let nowhere = json!({ "call": "verify", "address": "unix:/nowhere/t.sock", "request_id": "R" });
    assert_eq!(code(&call(&nowhere)), (2, "terminal_unreachable"));
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = json!({ "call": "terminal", "address": format!("http://{port}") });
    assert_eq!(code(&call(&nobody)), (2, "terminal_unreachable"));
    let silent = Scripted::new(vec![Vec::new()]);
    let request = json!({ "call": "handover", "address": silent.address(), "session": "ses_01" });
    assert_eq!(code(&call(&request)), (3, "no_answer"));
    assert!(silent.requests()[0].starts_with("POST /v1/verifications/ses_01/handover HTTP/1.1\r\n"));
}

#[test]
fn a_verification_goes_on_over_lost_answers_and_ends_with_its_outcome() {
    let waiting = http("202 Accepted", &session("waking", 1, None));
    let declined = http("200 OK", &session("done", 2, Some("declined")));
    // Lost: the first answer, then one of the long poll's.
    let terminal = Scripted::new(vec![Vec::new(), waiting, b"HTTP/1.1 200 OK\r\n".to_vec(), declined]);
    let request = json!({
        "call": "verify", "address": terminal.address(), "request_id": "R-1", "modality": "finger", "token": "t0ken",
    });
    let answer = call(&request);
    assert_eq!(code(&answer), (1, "declined"));
    assert_eq!(answer.1["session"], session("done", 2, Some("declined")));
    let requests = terminal.requests();
    assert!(requests[0].starts_with("POST /v1/verifications HTTP/1.1\r\n"));
    assert!(requests[0].contains("\r\nAuthorization: Bearer t0ken\r\n"));
    let body: Value = serde_json::from_str(requests[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    let handover = json!({ "register": "return", "mode": "immediate" });
    assert_eq!(body, json!({ "request_id": "R-1", "modality": "finger", "handover": handover }));
    assert_eq!(requests[1], requests[0]);
    assert!(requests[2].starts_with("GET /v1/verifications/ses_01?after=1&wait_ms=25000 HTTP/1.1\r\n"));
    assert_eq!(requests[3], requests[2]);
}

#[test]
fn only_a_pass_with_its_code_is_ok() {
    let failed = json!({ "code": "code_issue_failed", "class": "server", "retryable": true });
    let mut without = session("done", 1, Some("passed"));
    without["error"] = failed;
    let cases = [
        (session("done", 1, Some("passed")), (0, "ok")),
        (without, (1, "code_issue_failed")),
        (session("done", 1, Some("timed_out")), (1, "timed_out")),
        (session("done", 1, Some("an_outcome_of_next_year")), (1, "an_outcome_of_next_year")),
        (session("done", 1, None), (3, "answer_malformed")),
        (json!({ "id": "../x", "state": "done", "sequence": 1 }), (3, "answer_malformed")),
        (json!([]), (3, "answer_malformed")),
    ];
    for (session, expected) in cases {
        let terminal = Scripted::new(vec![http("200 OK", &session)]);
        let request = json!({ "call": "verify", "address": terminal.address(), "request_id": "R-2" });
        assert_eq!(code(&call(&request)), expected);
        terminal.requests();
    }
}

#[test]
fn a_hand_over_is_ok_only_if_the_code_went_out() {
    for (handover, expected) in [
        (json!({ "state": "sent" }), (0, "ok")),
        (json!({ "state": "failed", "error": "register_missing" }), (1, "register_missing")),
        (json!({ "state": "uncertain", "error": "handover_uncertain" }), (1, "handover_uncertain")),
    ] {
        let mut session = session("done", 1, Some("passed"));
        session["handover"] = handover;
        let terminal = Scripted::new(vec![http("200 OK", &session)]);
        let request = json!({ "call": "handover", "address": terminal.address(), "session": "ses_01" });
        let answer = call(&request);
        assert_eq!(code(&answer), expected);
        assert_eq!(answer.1["session"], session);
        terminal.requests();
    }
}

#[test]
fn refusals_keep_their_code_and_answers_of_another_form_are_no_success() {
    let busy = json!({ "code": "busy", "title": "The terminal is busy with another payer", "status": 409 });
    let long = vec![b'a'; 64 << 10];
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1).into_bytes();
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; BODY_BYTES_MAX + 1]].concat();
    let cases: [(Vec<u8>, (c_int, &str)); 11] = [
        (http("200 OK", &json!({ "state": "ready" })), (0, "ok")),
        (b"HTTP/1.1 200 OK\r\n\r\n{\"state\":\"ready\"}".to_vec(), (0, "ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), (0, "ok")),
        (http("409 Conflict", &busy), (1, "busy")),
        (http("200 OK", &busy), (0, "ok")),
        (http("502 Bad Gateway", &json!({})), (3, "answer_malformed")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>".to_vec(), (3, "answer_malformed")),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(),
            (3, "answer_malformed"),
        ),
        (long, (3, "answer_malformed")),
        (large, (3, "answer_malformed")),
        (endless, (3, "answer_malformed")),
    ];
    for (sent, expected) in cases {
        let terminal = Scripted::new(vec![sent.clone()]);
        let request = json!({ "call": "terminal", "address": terminal.address() });
        let start = String::from_utf8_lossy(&sent[..sent.len().min(80)]).into_owned();
        assert_eq!(code(&call(&request)), expected, "{start}");
        terminal.requests();
    }
}

#[test]
fn a_cancel_by_request_id_is_for_calls_that_run() {
    let request = json!({ "call": "cancel", "address": "unix:/nowhere/t.sock", "request_id": "R-3" });
    assert_eq!(code(&call(&request)), (1, "not_running"));
}

#[test]
fn a_panic_stays_inside() {
    let answer = guarded(|| panic!("a defect"));
    assert_eq!(answer.ended, Ended::Defect);
    let json: Value = serde_json::from_slice(&answer.json).unwrap();
    assert_eq!(json["code"], "internal");
}

#[test]
fn the_header_has_the_numbers_that_are_answered() {
    let header = include_str!("../include/selfsame_terminal.h");
    let numbers: Vec<(&str, c_int)> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define SELFSAME_TERMINAL_")?.split_once(' '))
        .map(|(name, number)| (name, number.parse().unwrap()))
        .collect();
    let all = [
        ("OK", Ended::Ok),
        ("NOT_DONE", Ended::NotDone),
        ("UNREACHABLE", Ended::Unreachable),
        ("UNCERTAIN", Ended::Uncertain),
        ("INVALID_REQUEST", Ended::InvalidRequest),
        ("DEFECT", Ended::Defect),
    ];
    assert_eq!(numbers, all.map(|(name, ended)| (name, ended as c_int)));
    assert!(header.contains("65,536 bytes") && REQUEST_BYTES_MAX == 65_536);
    assert!(header.contains("At most 64 `verify`") && running::RUNNING_MAX == 64);
}
