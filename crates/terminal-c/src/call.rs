//! From the JSON of a request to the JSON of its answer.
//!
//! The library reads the fields that say what to do and where; the rest is the body of the terminal's own interface and
//! goes through as it is, so that this library need not know every field of a newer terminal.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::connection::{Address, Deadline, Reply, Silence, Terminal, Token};
use crate::running::{self, Running};

/// Longest wait for an answer that the terminal gives by itself: it may ask the server for a code, twice two seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long `verify` waits past its deadline: the terminal ends the session by itself half a second after.
const VERIFY_GRACE: Duration = Duration::from_secs(10);

/// What `verify` takes for its deadline if none is named, and the longest; the terminal's own, in milliseconds.
const DEADLINE_MS_DEFAULT: u64 = 60_000;
const DEADLINE_MS_MAX: u64 = 180_000;

/// Longest wait of one `status`, and of one question of `verify`; the terminal's own limit, in milliseconds.
const WAIT_MS_MAX: u64 = 25_000;

/// Pause before a terminal that does not answer is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Longest file with a token or with certificates, in bytes.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Longest id that is put into a path.
const ID_CHARACTERS_MAX: usize = 64;

/// How a call ended: what `selfsame_terminal_call` returns. The header has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Ended {
    /// Done: `code` is `ok`.
    Ok = 0,
    /// Not done, and `code` says why.
    NotDone = 1,
    /// Nothing reached the terminal.
    Unreachable = 2,
    /// The terminal may or may not have done it.
    Uncertain = 3,
    /// The request is not of the documented form. Nothing was sent.
    InvalidRequest = 4,
    /// A defect of this library.
    Defect = 5,
}

/// An answer: the number and the JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ended: Ended,
    /// Wiped, because a payment code may be in it.
    pub(crate) json: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.json)
    }

    pub(crate) fn invalid_request(detail: &str) -> Self {
        Self::without_session(Ended::InvalidRequest, "invalid_request", detail)
    }

    fn without_session(ended: Ended, code: &str, detail: &str) -> Self {
        let json = json!({ "code": code, "detail": detail });
        Self { ended, json: Zeroizing::new(json.to_string().into_bytes()) }
    }

    /// Puts what the terminal sent, which must be JSON, into the answer as it is.
    fn with(ended: Ended, code: &str, name: &str, sent: &[u8]) -> Self {
        let code = Value::from(code).to_string();
        let parts: [&[u8]; 7] = [b"{\"code\":", code.as_bytes(), b",\"", name.as_bytes(), b"\":", sent, b"}"];
        // With room for the zero byte of C: a vector that grows leaves a copy behind.
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        let mut json = Zeroizing::new(Vec::with_capacity(length));
        parts.iter().for_each(|part| json.extend_from_slice(part));
        Self { ended, json }
    }
}

/// A call that ends early has its answer already.
type Early<T> = Result<T, Answer>;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Terminal,
    Pair,
    CompletePairing,
    Prepare,
    Verify,
    Start,
    Status,
    Handover,
    Cancel,
}

#[derive(Deserialize)]
struct Request {
    call: Operation,
    address: String,
    token: Option<String>,
    token_file: Option<String>,
    ca_file: Option<String>,
    /// What is left for the terminal.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// What the library itself reads in a session.
#[derive(Deserialize)]
struct Session {
    id: String,
    state: String,
    sequence: u64,
    outcome: Option<String>,
    error: Option<SessionError>,
    handover: Option<Handover>,
}

#[derive(Deserialize)]
struct Handover {
    /// Why the code did not go out, or why that is not known.
    error: Option<String>,
}

#[derive(Deserialize)]
struct SessionError {
    code: String,
}

/// What the library itself reads in a refusal.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

/// Answers a request, whatever it is.
pub(crate) fn answer(request: &[u8]) -> Answer {
    answer_or_early(request).unwrap_or_else(|early| early)
}

fn answer_or_early(request: &[u8]) -> Early<Answer> {
    let text =
        std::str::from_utf8(request).map_err(|_| Answer::invalid_request("the request is not UTF-8"))?;
    let parsed: Result<Request, _> = serde_json::from_str(text);
    let Request { call, address, token, token_file, ca_file, fields } =
        parsed.map_err(|error| Answer::invalid_request(&error.to_string()))?;
    let address = Address::parse(&address).map_err(Answer::invalid_request)?;
    let token = token_of(token.map(Zeroizing::new), token_file)?;
    #[cfg(feature = "tls")]
    let terminal = Terminal { trust: trust_of(&address, ca_file)?, address, token };
    #[cfg(not(feature = "tls"))]
    let terminal = match ca_file {
        None => Terminal { address, token },
        Some(_) => {
            return Err(Answer::invalid_request("`ca_file` is for `https://`, which is not in this library"));
        }
    };
    let mut fields = Fields(fields);
    match call {
        Operation::Terminal => {
            fields.none_left()?;
            Ok(terminal.get("/v1/terminal", CALL_TIMEOUT)?.named("terminal"))
        }
        Operation::Pair => Ok(terminal.post("/v1/pairings", &fields, CALL_TIMEOUT)?.named("pairing")),
        Operation::CompletePairing => {
            let path = format!("/v1/pairings/{}/complete", fields.id("pairing")?);
            Ok(terminal.post(&path, &fields, CALL_TIMEOUT)?.named("paired"))
        }
        Operation::Prepare => {
            fields.none_left()?;
            Ok(terminal.post("/v1/prepare", &fields, CALL_TIMEOUT)?.named("prepared"))
        }
        Operation::Start => {
            fields.reference()?;
            Ok(terminal.post("/v1/verifications", &fields, CALL_TIMEOUT)?.named("session"))
        }
        Operation::Verify => verify(&terminal, fields),
        Operation::Status => {
            let session = fields.id("session")?;
            let after = fields.number("after")?;
            let wait_ms = fields.number("wait_ms")?.min(WAIT_MS_MAX);
            fields.none_left()?;
            Ok(terminal.follow(&session, after, wait_ms, CALL_TIMEOUT)?.named("session"))
        }
        Operation::Handover => {
            let path = format!("/v1/verifications/{}/handover", fields.id("session")?);
            handed_over(&terminal.post(&path, &fields, CALL_TIMEOUT)?)
        }
        Operation::Cancel => cancel(&terminal, fields),
    }
}

fn token_of(token: Option<Zeroizing<String>>, file: Option<String>) -> Early<Option<Token>> {
    let text = match (token, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Answer::invalid_request("give `token` or `token_file`, not both"));
        }
        (Some(token), None) => token,
        (None, Some(path)) => {
            let bytes = read_file("token_file", &path)?;
            let text =
                std::str::from_utf8(&bytes).map_err(|_| Answer::invalid_request("a token is ASCII"))?;
            Zeroizing::new(text.to_owned())
        }
    };
    Token::parse(text).map(Some).map_err(Answer::invalid_request)
}

/// `https://` needs to be told whom to trust, and the others have nobody to trust.
#[cfg(feature = "tls")]
fn trust_of(address: &Address, file: Option<String>) -> Early<Option<crate::tls::Trust>> {
    match (address, file) {
        (Address::Remote(_), Some(path)) => {
            let trust = crate::tls::Trust::from_pem(&read_file("ca_file", &path)?);
            trust.map(Some).map_err(Answer::invalid_request)
        }
        (Address::Remote(_), None) => {
            Err(Answer::invalid_request("`ca_file` is missing: the certificate of the site's authority"))
        }
        (_, Some(_)) => Err(Answer::invalid_request("`ca_file` is for `https://`")),
        (_, None) => Ok(None),
    }
}

/// The whole of a small file, in memory that is wiped.
fn read_file(field: &str, path: &str) -> Early<Zeroizing<Vec<u8>>> {
    // All of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length <= FILE_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(Answer::invalid_request(&format!("`{field}` is longer than {FILE_BYTES_MAX} bytes"))),
        Err(error) => Err(Answer::invalid_request(&format!("failed to read `{field}` `{path}`: {error}"))),
    }
}

/// The fields of a request that are not taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Early<Option<String>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Answer::invalid_request(&format!("`{name}` must be a string"))),
        }
    }

    fn id(&mut self, name: &str) -> Early<String> {
        let missing = || Answer::invalid_request(&format!("`{name}` is missing"));
        let id = self.take(name)?.ok_or_else(missing)?;
        if !is_id(&id) {
            return Err(Answer::invalid_request(&format!("`{name}` is no id")));
        }
        Ok(id)
    }

    fn number(&mut self, name: &str) -> Early<u64> {
        let Some(value) = self.0.remove(name) else { return Ok(0) };
        value.as_u64().ok_or_else(|| Answer::invalid_request(&format!("`{name}` must be a whole number")))
    }

    /// The register's own reference, which stays in.
    fn reference(&self) -> Early<&str> {
        let reference = self.0.get("request_id").and_then(Value::as_str);
        reference
            .ok_or_else(|| Answer::invalid_request("`request_id` is missing: your own name of this request"))
    }

    fn none_left(&self) -> Early<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Answer::invalid_request(&format!("this call knows no field `{name}`"))),
        }
    }

    fn to_body(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(&self.0).expect("a map of JSON values is JSON"))
    }
}

/// What may stand in a path.
fn is_id(text: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.len() <= ID_CHARACTERS_MAX && text.bytes().all(characters)
}

/// A success of the terminal: JSON, checked.
struct Done(Reply);

impl Done {
    fn named(&self, name: &str) -> Answer {
        Answer::with(Ended::Ok, "ok", name, if self.0.body.is_empty() { b"{}" } else { &self.0.body })
    }

    fn session(&self) -> Early<Session> {
        let session: Session = serde_json::from_slice(&self.0.body).map_err(|_| malformed("no session"))?;
        if !is_id(&session.id) {
            return Err(malformed("the session has no id"));
        }
        Ok(session)
    }
}

fn malformed(detail: &str) -> Answer {
    let detail = format!("the terminal answered in an unknown form: {detail}");
    Answer::without_session(Ended::Uncertain, "answer_malformed", &detail)
}

/// Why the terminal did not do what it was asked.
enum Failure {
    /// It did not answer.
    Silence(Silence),
    /// It answered.
    Answer(Answer),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Silence(silence) => from_silence(silence),
            Failure::Answer(answer) => answer,
        }
    }
}

fn from_silence(silence: Silence) -> Answer {
    match silence {
        Silence::Unreachable(error) => {
            let detail = format!("no connection to the terminal: {error}");
            Answer::without_session(Ended::Unreachable, "terminal_unreachable", &detail)
        }
        Silence::NoAnswer(error) => {
            let detail = format!("no answer of the terminal: {error}; repeat the same request");
            Answer::without_session(Ended::Uncertain, "no_answer", &detail)
        }
        Silence::Malformed(detail) => malformed(detail),
    }
}

/// Success is JSON or nothing, a refusal a problem document with a `code`.
fn checked(reply: Reply) -> Early<Done> {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok();
    if (200..300).contains(&reply.status) && (is_json || reply.body.is_empty()) {
        return Ok(Done(reply));
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) if !(200..300).contains(&reply.status) => {
            Err(Answer::with(Ended::NotDone, &problem.code, "problem", &reply.body))
        }
        _ => Err(malformed(&format!("status {}", reply.status))),
    }
}

impl Terminal {
    fn get(&self, path: &str, longest: Duration) -> Result<Done, Failure> {
        let reply = self.request("GET", path, b"", Deadline::after(longest)).map_err(Failure::Silence)?;
        checked(reply).map_err(Failure::Answer)
    }

    fn post(&self, path: &str, fields: &Fields, longest: Duration) -> Result<Done, Failure> {
        let reply = self.request("POST", path, &fields.to_body(), Deadline::after(longest));
        checked(reply.map_err(Failure::Silence)?).map_err(Failure::Answer)
    }

    fn follow(&self, session: &str, after: u64, wait_ms: u64, grace: Duration) -> Result<Done, Failure> {
        let path = format!("/v1/verifications/{session}?after={after}&wait_ms={wait_ms}");
        self.get(&path, Duration::from_millis(wait_ms) + grace)
    }

    /// A name for this terminal among others.
    fn name(&self) -> String {
        format!("{:?}", self.address)
    }
}

fn cancel(terminal: &Terminal, mut fields: Fields) -> Early<Answer> {
    let session = match fields.take("request_id")? {
        None => fields.id("session")?,
        Some(_) if fields.0.contains_key("session") => {
            return Err(Answer::invalid_request("give `session` or `request_id`, not both"));
        }
        Some(request_id) => {
            let running = running::session_of(&terminal.name(), &request_id, CALL_TIMEOUT);
            running.ok_or_else(|| {
                let detail = "no `verify` with this `request_id` is running in this process";
                Answer::without_session(Ended::NotDone, "not_running", detail)
            })?
        }
    };
    fields.0.entry("reason").or_insert_with(|| "cashier".into());
    let path = format!("/v1/verifications/{session}/cancel");
    Ok(terminal.post(&path, &fields, CALL_TIMEOUT)?.named("session"))
}

/// Starts a verification and waits for its end. Goes on over answers that are lost and a terminal that is being started
/// again: `request_id` makes asking twice harmless.
fn verify(terminal: &Terminal, mut fields: Fields) -> Early<Answer> {
    // To the caller a code is what this is about; at once, because it comes back with this very answer.
    let at_once = || json!({ "register": "return", "mode": "immediate" });
    fields.0.entry("handover").or_insert_with(at_once);
    let deadline_ms = fields.0.get("deadline_ms").and_then(Value::as_u64).unwrap_or(DEADLINE_MS_DEFAULT);
    let deadline = Duration::from_millis(deadline_ms.min(DEADLINE_MS_MAX));
    let end = Deadline::after(deadline + VERIFY_GRACE);
    let Some(running) = Running::enter(&terminal.name(), fields.reference()?) else {
        let detail = format!("{} calls of this process are waiting already", running::RUNNING_MAX);
        return Err(Answer::without_session(Ended::Unreachable, "too_many_calls", &detail));
    };
    let mut last = insist(end, false, || terminal.post("/v1/verifications", &fields, CALL_TIMEOUT))?;
    loop {
        let session = last.session()?;
        running.is(&session.id);
        if session.state == "done" {
            return Ok(ended(&session, &last));
        }
        let Some(left) = end.left() else {
            return Ok(Answer::with(Ended::Uncertain, "no_answer", "session", &last.0.body));
        };
        let wait_ms = (left.as_millis() as u64).min(WAIT_MS_MAX);
        last = insist(end, true, || terminal.follow(&session.id, session.sequence, wait_ms, CALL_TIMEOUT))?;
    }
}

/// Asks until the terminal answers or the time is over. `was_reached`: it was, so being away is passing.
fn insist(end: Deadline, mut was_reached: bool, ask: impl Fn() -> Result<Done, Failure>) -> Early<Done> {
    loop {
        match ask() {
            Err(Failure::Silence(Silence::NoAnswer(_))) => was_reached = true,
            Err(Failure::Silence(Silence::Unreachable(_))) if was_reached => {}
            asked => return Ok(asked?),
        }
        if end.left().is_none() {
            let detail = "the terminal was reached and then fell silent: repeat the same request";
            return Err(Answer::without_session(Ended::Uncertain, "no_answer", detail));
        }
        pause();
    }
}

/// `ok` only if the code went out.
fn handed_over(sent: &Done) -> Early<Answer> {
    match sent.session()?.handover.and_then(|handover| handover.error) {
        None => Ok(sent.named("session")),
        Some(error) => Ok(Answer::with(Ended::NotDone, &error, "session", &sent.0.body)),
    }
}

#[expect(clippy::disallowed_methods, reason = "a terminal that comes back sends no event to wait for")]
fn pause() {
    std::thread::sleep(RETRY_PAUSE);
}

/// `ok` only if everything that `verify` is for has happened: passed, and the code handed over if it was to be.
fn ended(session: &Session, sent: &Done) -> Answer {
    let body = &sent.0.body;
    match (session.outcome.as_deref(), &session.error) {
        (Some("passed"), None) => Answer::with(Ended::Ok, "ok", "session", body),
        (Some("passed"), Some(error)) => Answer::with(Ended::NotDone, &error.code, "session", body),
        (Some(outcome), _) => Answer::with(Ended::NotDone, outcome, "session", body),
        (None, _) => malformed("a session is done without an outcome"),
    }
}
