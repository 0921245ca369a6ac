//! Who may be the payer's page: one browser, the one that was opened with the latest key of this terminal.
//!
//! A key comes to the browser behind the `#` of the address, which no request carries and no log sees, is good for one
//! minute and one opening, and is exchanged for a cookie that no script reads. So nothing that other users of the machine can
//! see, such as the browser's command line, is good for anything afterwards. `Host` and `Origin` keep out pages from
//! elsewhere, also those of other ports of this machine, to which browsers send the cookie (`access.rs`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use selfsame_api::bytes::Bytes;
use selfsame_api::kiosk::{KIOSK_KEY_MS, KioskKey};
use selfsame_api::merchant::Secret;
use selfsame_api::problem::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::access::{Gate, same_hash, token_hash};
use crate::listen::{Listening, loopback_names};
use crate::{lock, random, write_private};

/// The cookie's name.
const COOKIE: &str = "selfsame_kiosk";

/// Largest file that is read, in bytes. A real one has 80.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// What is kept over a restart of the terminal: its page goes on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    token_sha256: Bytes,
}

#[derive(Default)]
struct Keys {
    /// The key that may be shown, and until when.
    offered: Option<([u8; 32], Instant)>,
    /// The page's token.
    page: Option<[u8; 32]>,
}

/// The way in to the payer's page.
pub(super) struct Door {
    gate: Gate,
    origin: String,
    path: PathBuf,
    keys: Mutex<Keys>,
    /// Raised whenever another browser becomes the page.
    opened: watch::Sender<u64>,
}

fn kept(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(io::Error::other("the file is too long")),
        Ok(_) => {}
    }
    let kept: Kept = serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)?;
    Ok(kept.token_sha256.to_array())
}

impl Door {
    /// For a page on this port; `path` keeps whose it is.
    pub(super) fn new(listening: &Listening, path: PathBuf) -> Self {
        let address = listening.address();
        let page = kept(&path).unwrap_or_else(|error| {
            // It can be opened anew, which writes the file anew.
            tracing::error!(path = %path.display(), %error, "the file of the payer's page cannot be read");
            None
        });
        Self {
            gate: Gate::new("http", &loopback_names(address), address.port(), &[]),
            origin: format!("http://{address}"),
            path,
            keys: Mutex::new(Keys { offered: None, page }),
            opened: watch::Sender::new(0),
        }
    }

    /// A new key; the one before is good no more.
    pub(super) fn offer(&self) -> KioskKey {
        let key = Zeroizing::new(Bytes::from(random::<32>()).encode());
        let until = Instant::now() + Duration::from_millis(KIOSK_KEY_MS);
        lock(&self.keys).offered = Some((token_hash(&key), until));
        KioskKey { url: Secret(format!("{}/#{}", self.origin, *key)), expires_in_ms: KIOSK_KEY_MS }
    }

    /// Takes a key; answers the cookie.
    pub(super) fn open(&self, key: &Secret) -> Result<HeaderValue, Problem> {
        let mut keys = lock(&self.keys);
        let shown = token_hash(&key.0);
        let offered = keys.offered.filter(|(hash, until)| same_hash(&shown, hash) && Instant::now() < *until);
        if offered.is_none() {
            return Err(Problem::new(ProblemCode::Unauthenticated)
                .detail("this key was used or is too old: `selfsame terminal kiosk` makes another one"));
        }
        let token = Zeroizing::new(Bytes::from(random::<32>()).encode());
        let page = token_hash(&token);
        let kept = Kept { token_sha256: page.into() };
        let kept = serde_json::to_vec(&kept).expect("bytes always serialize");
        write_private(&self.path, &kept).map_err(|error| {
            tracing::error!(path = %self.path.display(), %error, "the payer's page cannot be opened");
            Problem::new(ProblemCode::Unavailable).detail("this terminal cannot write its files")
        })?;
        (keys.offered, keys.page) = (None, Some(page));
        drop(keys);
        self.opened.send_modify(|opened| *opened += 1);
        tracing::info!("a browser became the payer's page of this terminal");
        // No life: the cookie is gone with the browser. `Secure` would ask for TLS, which a loopback port does not have.
        let cookie = Zeroizing::new(format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", *token));
        let mut cookie = HeaderValue::from_str(&cookie).expect("base64 is ASCII");
        cookie.set_sensitive(true);
        Ok(cookie)
    }

    fn is_page(&self, headers: &HeaderMap) -> bool {
        let Some(page) = lock(&self.keys).page else { return false };
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // Another port of this machine may have set one of the same name: any may be ours.
        pairs.filter(|(name, _)| *name == COOKIE).any(|(_, token)| same_hash(&token_hash(token), &page))
    }
}

/// Lets through what comes under this machine's name and from no page of elsewhere.
pub(super) async fn own_page(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match door.gate.check(request.headers()) {
        Ok(_) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets the page through. What it waits for ends as soon as another browser is the page.
pub(super) async fn page_only(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    // Before the look at the keys, so that no opening in between is missed.
    let mut opened = door.opened.subscribe();
    if !door.is_page(request.headers()) {
        return Problem::new(ProblemCode::Unauthenticated).into_response();
    }
    let response = next.run(request).await;
    let media_type = response.headers().get(header::CONTENT_TYPE);
    if media_type.is_none_or(|media_type| media_type != "text/event-stream") {
        return response;
    }
    let replaced = Box::pin(async move {
        let _ = opened.changed().await;
    });
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(replaced)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn door(folder: &Path) -> Door {
        let listening = Listening::on_loopback("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Door::new(&listening, folder.join("kiosk.json"))
    }

    fn key_of(offered: &KioskKey) -> Secret {
        Secret(offered.url.0.split_once('#').unwrap().1.to_owned())
    }

    fn with_cookie(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    fn token(set_cookie: &HeaderValue) -> String {
        set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_key_opens_once_and_the_page_stays_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let door = self::door(folder.path()).await;
        assert!(!door.is_page(&HeaderMap::new()));
        let offered = door.offer();
        let cookie = door.open(&key_of(&offered)).unwrap();
        for rule in ["HttpOnly", "SameSite=Strict"] {
            assert!(cookie.to_str().unwrap().contains(rule));
        }
        assert!(door.is_page(&with_cookie(&format!("other=1; {}", token(&cookie)))));
        let again = door.open(&key_of(&offered)).unwrap_err();
        assert_eq!(again.code, ProblemCode::Unauthenticated);
        let file = fs::read_to_string(folder.path().join("kiosk.json")).unwrap();
        assert!(!file.contains(token(&cookie).split_once('=').unwrap().1), "only a hash is kept");
        let restarted = self::door(folder.path()).await;
        assert!(restarted.is_page(&with_cookie(&token(&cookie))));
    }

    #[tokio::test]
    async fn only_the_latest_key_and_the_latest_page_count() {
        let folder = tempfile::tempdir().unwrap();
        let door = self::door(folder.path()).await;
        let (first, second) = (door.offer(), door.offer());
        assert!(door.open(&key_of(&first)).is_err(), "a newer key was made");
        let before = door.open(&key_of(&second)).unwrap();
        let after = door.open(&key_of(&door.offer())).unwrap();
        assert!(!door.is_page(&with_cookie(&token(&before))));
        assert!(door.is_page(&with_cookie(&token(&after))));
        let late = door.offer();
        lock(&door.keys).offered.as_mut().unwrap().1 = Instant::now();
        assert!(door.open(&key_of(&late)).is_err(), "a minute has passed");
        for wrong in ["selfsame_kiosk=", "selfsame_kiosk=AAAA", "selfsame_kiosk", "x"] {
            assert!(!door.is_page(&with_cookie(wrong)), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_damaged_file_costs_an_opening_and_not_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kiosk.json"), "{").unwrap();
        let door = self::door(folder.path()).await;
        assert!(door.open(&key_of(&door.offer())).is_ok());
    }
}
