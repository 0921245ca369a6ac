//! A caller with a key, and what it is answered: the bytes on the wire, not what our own client makes of them.

use reqwest::header::HeaderMap;
use selfsame_api::problem::PROBLEM_MEDIA_TYPE;
use serde_json::Value;

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer arrives whole").to_vec();
        assert!(headers.contains_key("request-id"), "every answer of the server names its request");
        Self { status, headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).expect("answers are JSON")
    }

    /// The problem document of a refusal; checks that it is a whole one.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.headers["content-type"], PROBLEM_MEDIA_TYPE);
        let problem: Value = serde_json::from_slice(&self.body).expect("problem documents are JSON");
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["type"], format!("urn:selfsame:problem:{code}"));
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
        problem
    }

    /// The code of a problem document, or nothing for a success.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn is_replay(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
    }
}

/// Nobody, the operator or a merchant.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client without TLS is always there")
}

impl Caller {
    pub fn new(base: &str, key: Option<&str>) -> Self {
        Self { http: http(), base: base.to_owned(), key: key.map(str::to_owned) }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::read(request.send().await.expect("the server answers")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string()).await
    }

    /// JSON that need not be JSON.
    pub async fn post_text(&self, path: &str, body: &str) -> Reply {
        let request = self.request("POST", path).header("content-type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        let request = self.request("PUT", path).header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }
}
