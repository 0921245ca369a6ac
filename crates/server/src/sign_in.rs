//! Sign-in of staff at the server's pages. A key is shown once and exchanged for a cookie that no script can read, no
//! other site can send, and that ends when nobody uses it. It has exactly the key's rights.
//!
//! A request may use the cookie only if it has the header [`PAGE_HEADER`], which makes a browser ask first before a page
//! from elsewhere may send it, and only if `Origin` and `Sec-Fetch-Site` say that it comes from one of our own pages.
//! Cookies know no ports: without these checks any other page of this machine could use ours.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use selfsame_api::bytes::Bytes as WireBytes;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::Json;
use selfsame_api::sign_in::{NewSignIn, PAGE_HEADER, SignedIn};
use selfsame_domain::ledger::Caller;
use selfsame_domain::sign_in::{Page, SIGN_IN_LIFE};
use selfsame_domain::time::Timestamp;
use selfsame_store::{ApiKey, SignIn};
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::authentication::hash_api_key;
use crate::refusal::{OrProblem, invalid};
use crate::{App, AppState, random};

/// Wrong keys of one address within [`WRONG_KEYS_WITHIN`]. Keys have 256 random bits and cannot be guessed; this keeps
/// somebody who tries anyway from filling log and store.
const WRONG_KEYS_MAX: u32 = 10;
const WRONG_KEYS_WITHIN: Duration = Duration::from_secs(60);

/// Addresses whose wrong keys are counted. All are forgotten when there are more.
const ADDRESSES_MAX: usize = 4_096;

/// How often it is noted that a sign-in is used. Much less than the shortest time in which one ends.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create, show, end))
}

/// Who showed wrong keys.
#[derive(Default)]
pub(crate) struct WrongKeys(Mutex<HashMap<IpAddr, (u32, Timestamp)>>);

impl WrongKeys {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<IpAddr, (u32, Timestamp)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long this address has to wait; `None` if it may try.
    fn wait(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        self.with(|counts| {
            let (count, since) = counts.get(&address).copied()?;
            let left = (since + WRONG_KEYS_WITHIN).since(now);
            (count >= WRONG_KEYS_MAX && now >= since && !left.is_zero()).then_some(left)
        })
    }

    fn count(&self, address: IpAddr, now: Timestamp) {
        self.with(|counts| {
            if counts.len() >= ADDRESSES_MAX {
                counts.clear();
            }
            let entry = counts.entry(address).or_insert((0, now));
            if now < entry.1 || now >= entry.1 + WRONG_KEYS_WITHIN {
                *entry = (0, now);
            }
            entry.0 += 1;
        });
    }

    fn forget(&self, address: IpAddr) {
        self.with(|counts| counts.remove(&address));
    }
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: impl Into<HeaderName>) -> Option<&str> {
    let mut values = headers.get_all(name.into()).iter();
    let first = values.next();
    if values.next().is_some() { None } else { first.and_then(|value| value.to_str().ok()) }
}

/// Whether the browser reached us by TLS: the proxy before us ends it, and the page's origin tells.
fn is_https(headers: &HeaderMap) -> bool {
    only(headers, header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"))
}

/// The page that asks, if the request comes from one of our own.
fn own_page(method: &Method, headers: &HeaderMap) -> Result<Page, Problem> {
    let page = only(headers, HeaderName::from_static(PAGE_HEADER)).and_then(|page| page.parse().ok());
    let page = page.ok_or_else(|| invalid(format_args!("`{PAGE_HEADER}` must be `till` or `desk`")))?;
    let refused = |why| Err(Problem::new(ProblemCode::ForeignOrigin).detail(why));
    let site = only(headers, HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin") {
        return refused("only the server's own pages may use a sign-in");
    }
    if !headers.contains_key(header::ORIGIN) {
        // Browsers leave it out when they read from their own server.
        let reads = matches!(*method, Method::GET | Method::HEAD);
        return if reads { Ok(page) } else { refused("a change needs the page's `Origin`") };
    }
    let origin = only(headers, header::ORIGIN).unwrap_or_default();
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    match (authority, only(headers, header::HOST)) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(page),
        _ => refused("`Origin` is not this server: a proxy in between must keep `Host`"),
    }
}

/// Names of a page's cookie: where the site is reached by TLS, and where not. The first is refused by browsers that did
/// not get it by TLS from this very host.
fn cookie_name(page: Page, https: bool) -> &'static str {
    match (page, https) {
        (Page::Till, true) => "__Host-selfsame-till",
        (Page::Desk, true) => "__Host-selfsame-desk",
        (Page::Till, false) => "selfsame-till",
        (Page::Desk, false) => "selfsame-desk",
    }
}

fn set_cookie(page: Page, https: bool, token: &str, age: Option<u64>) -> [(HeaderName, HeaderValue); 2] {
    let name = cookie_name(page, https);
    let secure = if https { "; Secure" } else { "" };
    // Without an age it ends with the browser.
    let age = age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let cookie = Zeroizing::new(format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{age}"));
    let mut value = HeaderValue::try_from(cookie.as_str()).expect("base64 and our own text");
    value.set_sensitive(true);
    [(header::SET_COOKIE, value), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Hashes of the tokens that the cookies of this page hold: at most one by each name.
fn token_hashes(page: Page, headers: &HeaderMap) -> impl Iterator<Item = [u8; 32]> + '_ {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours =
        pairs.filter(move |(name, _)| [true, false].iter().any(|tls| *name == cookie_name(page, *tls)));
    ours.take(2).map(|(_, token)| Sha256::digest(token.as_bytes()).into())
}

/// Somebody's sign-in, found by the cookie.
struct Found {
    token_hash: [u8; 32],
    sign_in: SignIn,
}

async fn find(parts: &Parts, app: &App) -> Result<Option<Found>, Problem> {
    let page = own_page(&parts.method, &parts.headers)?;
    let now = app.now();
    for token_hash in token_hashes(page, &parts.headers) {
        let Some(sign_in) = app.store.signed_in(token_hash).await.or_problem()? else { continue };
        if sign_in.page == page && sign_in.signed_in_at <= now && now < sign_in.ends_at() {
            return Ok(Some(Found { token_hash, sign_in }));
        }
    }
    Ok(None)
}

/// The key of whoever is signed in at the page that asks; `None` if nobody is.
pub(crate) async fn key_of_page(parts: &Parts, app: &App) -> Result<Option<ApiKey>, Problem> {
    let Some(Found { token_hash, sign_in }) = find(parts, app).await? else { return Ok(None) };
    note_use(app, token_hash, &sign_in).await;
    Ok(Some(sign_in.key))
}

/// Notes now and then that it is used. That it could not be noted is no reason to refuse what was asked.
async fn note_use(app: &App, token_hash: [u8; 32], sign_in: &SignIn) {
    let now = app.now();
    if now < sign_in.used_at + USE_NOTED_EVERY {
        return;
    }
    if let Err(error) = app.store.use_sign_in(token_hash, now).await {
        tracing::warn!(%error, "it could not be noted that a sign-in is used");
    }
}

async fn wire(app: &App, sign_in: &SignIn) -> Result<SignedIn, Problem> {
    let (merchant, merchant_name) = match sign_in.key.role {
        Caller::Merchant(merchant) => (Some(merchant), app.store.merchant_name(merchant).await.or_problem()?),
        Caller::Operator => (None, None),
    };
    Ok(SignedIn {
        page: sign_in.page,
        merchant,
        merchant_name,
        mode: app.site.mode,
        currency: app.site.currency,
        currency_decimals: app.site.currency.decimals(),
        amount_minor_max: app.config.amount_minor_max,
        terminals: app.config.terminals.clone(),
        idle_seconds: sign_in.page.idle_life().as_secs(),
        ends_at: sign_in.signed_in_at + SIGN_IN_LIFE,
    })
}

/// Shows a key at a page: a merchant's at the till, the operator's at the desk. The answer sets the page's cookie. Ten
/// wrong keys from one address within a minute are the last ones.
#[utoipa::path(post, path = "/v1/sign-in", operation_id = "sign_in_create", tag = "page", request_body = NewSignIn,
    params(("selfsame-page" = String, Header, description = "`till` or `desk`")),
    responses((status = 201, body = SignedIn), (status = "4XX", body = Problem)))]
async fn create(
    State(app): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    headers: HeaderMap,
    Json(new): Json<NewSignIn>,
) -> Result<Response, Problem> {
    let page = own_page(&method, &headers)?;
    let now = app.now();
    if let Some(left) = app.wrong_keys.wait(peer.ip(), now) {
        let retry_after_ms = u64::try_from(left.as_millis()).ok();
        return Err(Problem { retry_after_ms, ..Problem::new(ProblemCode::TooManyAttempts) });
    }
    let key = app.store.api_key(hash_api_key(new.key.0.trim()), now).await.or_problem()?;
    let Some(key) = key else {
        app.wrong_keys.count(peer.ip(), now);
        tracing::warn!(page = %page, "somebody showed a wrong key at a page");
        return Err(Problem::new(ProblemCode::Unauthenticated));
    };
    match (page, key.role) {
        (Page::Till, Caller::Merchant(_)) | (Page::Desk, Caller::Operator) => {}
        (Page::Till, Caller::Operator) => {
            return Err(Problem::new(ProblemCode::Forbidden).detail("the till takes a merchant's key"));
        }
        (Page::Desk, Caller::Merchant(_)) => {
            return Err(Problem::new(ProblemCode::Forbidden).detail("the desk takes the operator's key"));
        }
    }
    app.wrong_keys.forget(peer.ip());
    // Whoever was signed in here before is no more.
    for token_hash in token_hashes(page, &headers) {
        app.store.sign_out(token_hash).await.or_problem()?;
    }
    let token = Zeroizing::new(WireBytes::from(random::<32>()).encode());
    let sign_in = SignIn { page, key, signed_in_at: now, used_at: now };
    app.store.sign_in(Sha256::digest(token.as_bytes()).into(), sign_in).await.or_problem()?;
    tracing::info!(page = %page, key.id = %key.id, "somebody signed in at a page");
    let cookie = set_cookie(page, is_https(&headers), &token, None);
    Ok((StatusCode::CREATED, cookie, Json(wire(&app, &sign_in).await?)).into_response())
}

/// Who is signed in at this page.
#[utoipa::path(get, path = "/v1/sign-in", operation_id = "sign_in_show", tag = "page",
    params(("selfsame-page" = String, Header, description = "`till` or `desk`")),
    responses((status = 200, body = SignedIn), (status = "4XX", body = Problem)))]
async fn show(State(app): State<AppState>, parts: Parts) -> Result<Json<SignedIn>, Problem> {
    let found = find(&parts, &app).await?.ok_or_else(|| Problem::new(ProblemCode::Unauthenticated))?;
    note_use(&app, found.token_hash, &found.sign_in).await;
    wire(&app, &found.sign_in).await.map(Json)
}

/// Signs out. Can be repeated.
#[utoipa::path(delete, path = "/v1/sign-in", operation_id = "sign_in_end", tag = "page",
    params(("selfsame-page" = String, Header, description = "`till` or `desk`")),
    responses((status = 204), (status = "4XX", body = Problem)))]
async fn end(State(app): State<AppState>, method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    let page = own_page(&method, &headers)?;
    for token_hash in token_hashes(page, &headers) {
        app.store.sign_out(token_hash).await.or_problem()?;
    }
    let cookie = set_cookie(page, is_https(&headers), "", Some(0));
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn ten_wrong_keys_of_one_address_are_the_last_for_a_minute() {
        let (wrong, here, there) =
            (WrongKeys::default(), "192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..WRONG_KEYS_MAX {
            assert_eq!(wrong.wait(here, at(100)), None);
            wrong.count(here, at(100));
        }
        assert_eq!(wrong.wait(here, at(101)), Some(Duration::from_secs(59)));
        assert_eq!(wrong.wait(there, at(101)), None);
        assert_eq!(wrong.wait(here, at(160)), None);
        wrong.count(here, at(160));
        assert_eq!(wrong.wait(here, at(161)), None);
    }

    #[test]
    fn addresses_that_are_counted_have_a_limit() {
        let wrong = WrongKeys::default();
        for number in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            wrong.count(IpAddr::V4(number.into()), at(100));
        }
        assert!(wrong.with(|counts| counts.len()) <= ADDRESSES_MAX);
    }

    fn asked(method: Method, lines: &[(&'static str, &'static str)]) -> Result<Page, ProblemCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        own_page(&method, &headers).map_err(|problem| problem.code)
    }

    #[test]
    fn only_our_own_pages_may_use_a_sign_in() {
        let (page, host) = (("selfsame-page", "till"), ("host", "pay.example:8700"));
        let (own, secure) = (("origin", "http://pay.example:8700"), ("origin", "https://PAY.example:8700"));
        let foreign = Err(ProblemCode::ForeignOrigin);
        assert_eq!(asked(Method::POST, &[page, host, own]), Ok(Page::Till));
        assert_eq!(asked(Method::POST, &[page, host, secure]), Ok(Page::Till));
        assert_eq!(asked(Method::GET, &[page, host, ("sec-fetch-site", "same-origin")]), Ok(Page::Till));
        assert_eq!(asked(Method::GET, &[page, host]), Ok(Page::Till));
        assert_eq!(asked(Method::POST, &[page, host]), foreign);
        assert_eq!(asked(Method::DELETE, &[page, host]), foreign);
        assert_eq!(asked(Method::GET, &[page, host, ("sec-fetch-site", "same-site")]), foreign);
        for elsewhere in
            ["http://pay.example:8701", "http://evil.example", "null", "", "ftp://pay.example:8700"]
        {
            assert_eq!(asked(Method::POST, &[page, host, ("origin", elsewhere)]), foreign, "{elsewhere}");
            assert_eq!(asked(Method::GET, &[page, host, ("origin", elsewhere)]), foreign, "{elsewhere}");
        }
        assert_eq!(asked(Method::POST, &[page, host, own, own]), foreign);
        assert_eq!(asked(Method::POST, &[page, own]), foreign);
        assert_eq!(asked(Method::POST, &[host, own]), Err(ProblemCode::InvalidRequest));
        assert_eq!(
            asked(Method::POST, &[("selfsame-page", "console"), host, own]),
            Err(ProblemCode::InvalidRequest)
        );
    }

    #[test]
    fn the_cookie_is_for_our_pages_alone() {
        let [(_, plain), _] = set_cookie(Page::Till, false, "token", None);
        assert_eq!(plain, "selfsame-till=token; Path=/; HttpOnly; SameSite=Strict");
        let [(_, tls), _] = set_cookie(Page::Desk, true, "token", None);
        assert_eq!(tls, "__Host-selfsame-desk=token; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(tls.is_sensitive());
    }
}
