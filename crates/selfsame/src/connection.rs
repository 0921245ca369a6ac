//! How commands reach the payment server: where it is, by which key, and what it means when it does not answer.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::client::{Client, ClientError, Credentials};
use selfsame_api::merchant::Secret;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::clock::SystemClock;
use selfsame_terminal::device::DeviceIdentity;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::Usage;
use crate::site::Site;

/// Longest wait for an ordinary answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Variable that holds a key.
const KEY_VARIABLE: &str = "SELFSAME_KEY";

/// Where the payment server is.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerOptions {
    /// Address of the payment server [default: what the site's folder says]
    #[arg(long, global = true, env = "SELFSAME_SERVER", value_name = "URL")]
    pub server: Option<String>,
}

impl ServerOptions {
    /// The address that was given, else that of the server running in this site, else the one where this machine's
    /// terminal was activated.
    pub fn url(&self, site: &Site) -> anyhow::Result<String> {
        let running = || fs::read_to_string(site.run("server.url")).ok().map(|text| text.trim().to_owned());
        let activated = || DeviceIdentity::load(&site.device()).ok().map(|identity| identity.server);
        let url = self.server.clone().or_else(running).or_else(activated).with_context(|| {
            format!(
                "no payment server is known: start one with `selfsame server --site {}`, or give its address with \
                 --server http://HOST:PORT",
                site.folder().display()
            )
        })?;
        if !url.starts_with("http://") {
            let text = format!("`{url}` is no address of a payment server: it begins with http://");
            return Err(Usage(text).into());
        }
        Ok(url)
    }
}

/// Who is calling. Keys come by file or environment, because flags show in lists of processes.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyOptions {
    /// File that holds the key; else it is taken from the variable SELFSAME_KEY
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl KeyOptions {
    /// Reads the key; `whose` says whose it must be.
    pub fn key(&self, whose: &str) -> anyhow::Result<Secret> {
        let text = match &self.key_file {
            Some(path) => {
                fs::read_to_string(path).with_context(|| format!("failed to read the key file `{}`", path.display()))?
            }
            None => std::env::var(KEY_VARIABLE).map_err(|_| {
                Usage(format!(
                    "the {whose} key is needed: give the file that holds it with --key-file, or set {KEY_VARIABLE}. \
                     `selfsame init` printed it"
                ))
            })?,
        };
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("what was given as {whose} key is none: a key is one word like `sk_test_...`");
        }
        Ok(Secret(key.to_owned()))
    }

    /// A client with this key.
    pub fn client(&self, whose: &str, url: &str) -> anyhow::Result<Client> {
        Ok(client(url, self.key(whose)?))
    }
}

/// A client with a key.
pub fn client(url: &str, key: Secret) -> Client {
    Client::tcp(url, Credentials::Bearer(key), Arc::new(SystemClock))
}

/// A failed call with what to do about it.
pub fn explain(error: ClientError) -> anyhow::Error {
    let hint = match &error {
        ClientError::Connect { .. } => Some(
            "the payment server is not there: start it with `selfsame server`, or give its address with --server",
        ),
        ClientError::NoAnswer { .. } | ClientError::Silent { .. } => {
            Some("no answer came, so it is open whether it was done: repeat it with the same reference")
        }
        ClientError::Unsigned { .. } => {
            Some("nothing was sent: see docs/identity.md on security modules, or activate this machine again")
        }
        ClientError::Answer { .. } => Some("something else than a payment server answers there"),
        ClientError::Problem(problem) => match problem.code {
            ProblemCode::Unauthenticated => Some("this key is not known to this server"),
            ProblemCode::Forbidden => {
                Some("this key is for something else (operator's keys begin with ok_, merchants' with sk_)")
            }
            _ => None,
        },
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(hint),
        None => error,
    }
}

/// How long a command repeats what storage or matcher were too slow for, and how long it waits in between.
const INSIST_FOR: Duration = Duration::from_secs(30);
const INSIST_PAUSE: Duration = Duration::from_millis(500);

/// Pauses if storage or matcher were too slow, or away and being started again, so that what was asked is not done, or nobody
/// knows yet. Answers whether to try again: not if it was refused, and not for longer than [`INSIST_FOR`] since the first
/// try.
pub async fn pause_before_retry(error: &ClientError, since: Instant) -> bool {
    let code = error.problem().map(|problem| problem.code);
    let is_behind = matches!(
        code,
        Some(
            ProblemCode::Unavailable
                | ProblemCode::OutcomeUnknown
                | ProblemCode::MatcherUnavailable
                | ProblemCode::MatcherBusy
        )
    );
    let retries = is_behind && since.elapsed() < INSIST_FOR;
    if retries {
        tokio::time::sleep(INSIST_PAUSE).await;
    }
    retries
}

/// Posts, again and again while the server is behind. For what has a reference, or does no harm a second time.
pub async fn insist<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
) -> Result<T, ClientError> {
    let since = Instant::now();
    loop {
        match client.post(path, body, TIMEOUT).await {
            Err(error) if pause_before_retry(&error, since).await => {}
            done => return done,
        }
    }
}

/// A failed call of this machine's terminal with what to do about it.
pub fn explain_terminal(error: ClientError) -> anyhow::Error {
    let absent = error.is_certainly_unsent();
    let error = anyhow::Error::new(error);
    if absent {
        error.context("no terminal runs in this site: start it with `selfsame terminal`, or name its folder with --site")
    } else {
        error
    }
}

/// Text as part of a query string.
pub fn query_value(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode =
        |byte: u8| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::response::IntoResponse;
    use axum::routing::post;
    use axum::{Json, Router};
    use selfsame_api::problem::Problem;

    use super::*;

    #[tokio::test]
    async fn what_the_server_was_too_slow_for_is_asked_again_and_nothing_else() {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = {
            let asked = asked.clone();
            async move || match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Problem::new(ProblemCode::OutcomeUnknown).into_response(),
                1 => Problem::new(ProblemCode::Unavailable).into_response(),
                2 => Problem::new(ProblemCode::MatcherUnavailable).into_response(),
                3 => Problem::new(ProblemCode::MatcherBusy).into_response(),
                4 => Json("done").into_response(),
                _ => Problem::new(ProblemCode::ConsentMissing).into_response(),
            }
        };
        let routes = Router::new().route("/v1/top-ups", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::tcp(&url, Credentials::None, Arc::new(SystemClock));
        let done: String = insist(&client, "/v1/top-ups", &()).await.unwrap();
        assert_eq!((done.as_str(), asked.load(Ordering::SeqCst)), ("done", 5));
        let refused = insist::<String>(&client, "/v1/top-ups", &()).await.unwrap_err();
        assert!(refused.problem().is_some_and(|problem| problem.code == ProblemCode::ConsentMissing));
        assert_eq!(asked.load(Ordering::SeqCst), 6, "a refusal is not asked about again");
    }

    #[test]
    fn references_travel_in_a_query_unchanged() {
        assert_eq!(query_value("T4-2026.11_24~1"), "T4-2026.11_24~1");
        assert_eq!(query_value("a&b=c#d%e+f/g"), "a%26b%3Dc%23d%25e%2Bf%2Fg");
    }
}
