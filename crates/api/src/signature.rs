//! HTTP message signatures of terminals: the subset of RFC 9421 that we need, with Ed25519 or ECDSA over P-256 and a
//! content digest by RFC 9530.
//!
//! Covered, always in this order: `"@method" "@path" "@query" "content-digest"`, with the parameters `created`,
//! `nonce`, `keyid` and `alg`. One signature, label `selfsame`. Anything else is refused: a fixed list leaves no room
//! for a signature that covers less than it seems to.
//!
//! The nonce is `start.instance.counter.random`: where the signature stands in the count of its machine, by which copies
//! of a key are noticed (see [`KeyUse`]), and random bytes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selfsame_domain::key_use::{DELAY_MAX, KeyUse};
use selfsame_domain::terminal::KeyAlgorithm;
use selfsame_domain::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::device_key::{DevicePublicKey, DeviceSigner, SignerError};

/// Header with the covered components and parameters.
pub const SIGNATURE_INPUT_HEADER: &str = "signature-input";
/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "signature";
/// Header with the digest of the body.
pub const CONTENT_DIGEST_HEADER: &str = "content-digest";

/// How old a signature may be.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How far in the future it may lie, for terminals whose clock runs ahead.
pub const SKEW_MAX: Duration = Duration::from_secs(30);

/// How long the server remembers nonces: longer than any accepted signature can be presented.
pub const NONCE_MEMORY: Duration = Duration::from_secs(120);

const _: () = assert!(NONCE_MEMORY.as_secs() > WINDOW.as_secs() + SKEW_MAX.as_secs());
// What arrives later than this was signed too long ago to be accepted.
const _: () = assert!(DELAY_MAX.as_secs() > WINDOW.as_secs() + SKEW_MAX.as_secs());

/// Longest `Signature-Input` that is looked at, in bytes.
const SIGNATURE_INPUT_BYTES_MAX: usize = 512;

const COMPONENTS: &str = r#"("@method" "@path" "@query" "content-digest")"#;

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// For example `POST`.
    pub method: &'a str,
    /// Path without query, for example `/v1/verifications`.
    pub path: &'a str,
    /// Query without the question mark; empty if there is none.
    pub query: &'a str,
    /// The body as sent.
    pub body: &'a [u8],
}

/// The three headers of a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Value of [`SIGNATURE_INPUT_HEADER`].
    pub signature_input: String,
    /// Value of [`SIGNATURE_HEADER`].
    pub signature: String,
    /// Value of [`CONTENT_DIGEST_HEADER`].
    pub content_digest: String,
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing, too long, or not of the one form we accept.
    #[error("the signature headers are missing or not of the documented form")]
    Malformed,
    /// The body is not the one that was signed.
    #[error("the body does not fit its digest")]
    Digest,
    /// Too old or too far in the future.
    #[error("the signature was made at {0} seconds since 1970, outside the time window")]
    Expired(i64),
    /// The key does not fit, or something signed was changed.
    #[error("the signature does not fit the request")]
    Mismatch,
}

/// The single-use value of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// Where the signature stands in the count of its machine.
    pub key_use: KeyUse,
    /// Never used twice.
    pub random: [u8; 16],
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.key_use, Bytes::from(self.random).encode())
    }
}

impl Nonce {
    /// Reads the text; `None` if it is not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let (key_use, random) = text.rsplit_once('.')?;
        Some(Self { key_use: key_use.parse().ok()?, random: Bytes::decode(random)?.to_array()? })
    }
}

/// What a signature says about itself. Not believed until [`Presented::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Names the key.
    pub key_id: String,
    /// Single-use value.
    pub nonce: Nonce,
    algorithm: KeyAlgorithm,
    created: i64,
    parameters: String,
    signature: [u8; 64],
    content_digest: String,
}

fn digest_header(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// The text that is signed (RFC 9421, section 2.5).
fn signature_base(components: &[(&str, &str)], parameters: &str) -> String {
    let lines: String = components.iter().map(|(name, value)| format!("\"{name}\": {value}\n")).collect();
    format!("{lines}\"@signature-params\": {parameters}")
}

fn request_base(request: &Request<'_>, content_digest: &str, parameters: &str) -> String {
    // RFC 9421, section 2.2.7: the query component begins with the question mark, also when there is no query.
    let query = format!("?{}", request.query);
    let components = [
        ("@method", request.method),
        ("@path", request.path),
        ("@query", query.as_str()),
        ("content-digest", content_digest),
    ];
    signature_base(&components, parameters)
}

/// Signs a request. A nonce is never used twice.
pub fn sign(
    signer: &dyn DeviceSigner,
    key_id: &str,
    request: &Request<'_>,
    nonce: Nonce,
    now: Timestamp,
) -> Result<SignatureHeaders, SignerError> {
    let (created, algorithm) = (now.as_seconds(), signer.public_key().algorithm());
    let parameters =
        format!("{COMPONENTS};created={created};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"{algorithm}\"");
    let content_digest = digest_header(request.body);
    let signature = signer.sign(request_base(request, &content_digest, &parameters).as_bytes())?;
    Ok(SignatureHeaders {
        signature_input: format!("selfsame={parameters}"),
        signature: format!("selfsame=:{}:", STANDARD.encode(signature)),
        content_digest,
    })
}

impl Presented {
    /// Reads the headers of a request; `None` stands for a missing one.
    pub fn parse(
        signature_input: Option<&str>,
        signature: Option<&str>,
        content_digest: Option<&str>,
    ) -> Result<Self, SignatureError> {
        let (Some(input), Some(signature), Some(content_digest)) =
            (signature_input, signature, content_digest)
        else {
            return Err(SignatureError::Malformed);
        };
        if input.len() > SIGNATURE_INPUT_BYTES_MAX {
            return Err(SignatureError::Malformed);
        }
        parse_presented(input, signature, content_digest).ok_or(SignatureError::Malformed)
    }

    /// Checks time window, digest and signature, in this order.
    pub fn verify(
        &self,
        key: &DevicePublicKey,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let age_seconds = now.as_seconds().saturating_sub(self.created);
        let window = -(SKEW_MAX.as_secs() as i64)..=(WINDOW.as_secs() as i64);
        if !window.contains(&age_seconds) {
            return Err(SignatureError::Expired(self.created));
        }
        if self.content_digest != digest_header(request.body) {
            return Err(SignatureError::Digest);
        }
        let base = request_base(request, &self.content_digest, &self.parameters);
        let fits = key.algorithm() == self.algorithm && key.verifies(base.as_bytes(), &self.signature);
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

fn parse_presented(input: &str, signature: &str, content_digest: &str) -> Option<Presented> {
    let parameters = input.strip_prefix("selfsame=")?;
    let rest = parameters.strip_prefix(COMPONENTS)?;
    let rest = rest.strip_prefix(";created=")?;
    let (created, rest) = rest.split_once(";nonce=\"")?;
    let (nonce, rest) = rest.split_once("\";keyid=\"")?;
    let (key_id, algorithm) = rest.split_once("\";alg=\"")?;
    let algorithm = algorithm.strip_suffix('"')?.parse().ok()?;
    let plain = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
    };
    if !plain(key_id) {
        return None;
    }
    let signature = signature.strip_prefix("selfsame=:")?.strip_suffix(':')?;
    Some(Presented {
        key_id: key_id.to_owned(),
        nonce: Nonce::parse(nonce)?,
        algorithm,
        created: created.parse().ok()?,
        parameters: parameters.to_owned(),
        signature: STANDARD.decode(signature).ok()?.try_into().ok()?,
        content_digest: content_digest.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;

    const REQUEST: Request<'static> =
        Request { method: "POST", path: "/v1/verifications", query: "", body: b"{\"a\":1}" };

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000)
    }

    fn parse(headers: &SignatureHeaders) -> Result<Presented, SignatureError> {
        Presented::parse(
            Some(&headers.signature_input),
            Some(&headers.signature),
            Some(&headers.content_digest),
        )
    }

    const NONCE: Nonce = Nonce { key_use: KeyUse { start: 3, instance: 0xab, counter: 1 }, random: [9; 16] };

    fn signed_by(signer: &dyn DeviceSigner) -> SignatureHeaders {
        sign(signer, "key_1", &REQUEST, NONCE, now()).unwrap()
    }

    fn signed() -> SignatureHeaders {
        signed_by(&key())
    }

    fn verify(
        headers: &SignatureHeaders,
        request: &Request<'_>,
        at: Timestamp,
    ) -> Result<(), SignatureError> {
        parse(headers)?.verify(&key().public_key(), request, at)
    }

    #[test]
    fn our_signature_base_and_ed25519_agree_with_the_rfc() {
        // RFC 9421, appendix B.1.4 (key) and B.2.6 (signature over a request with Ed25519).
        let seed = STANDARD.decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=").unwrap();
        let key = SigningKey::from_bytes(&seed.try_into().unwrap());
        let parameters = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
        let components = [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ];
        let signature = DeviceSigner::sign(&key, signature_base(&components, parameters).as_bytes()).unwrap();
        assert_eq!(
            STANDARD.encode(signature),
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
        );
    }

    #[test]
    fn our_signature_base_and_ecdsa_agree_with_the_rfc() {
        // RFC 9421, appendix B.1.3 (key) and B.2.4 (signature over a response). The RFC's signature is one of many that
        // fit, because ECDSA draws a random number for each; so it is checked and not made again.
        let coordinates =
            ["qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA", "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"];
        let [x, y] = coordinates.map(|text| Bytes::decode(text).unwrap().0);
        let key = DevicePublicKey::from_p256_point(&[vec![4], x, y].concat()).unwrap();
        let parameters = r#"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
        let components = [
            ("@status", "200"),
            ("content-type", "application/json"),
            (
                "content-digest",
                "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:",
            ),
            ("content-length", "23"),
        ];
        let signature = STANDARD.decode(
            "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
        );
        let signature = signature.unwrap().try_into().unwrap();
        assert!(key.verifies(signature_base(&components, parameters).as_bytes(), &signature));
        assert!(!key.verifies(signature_base(&components[1..], parameters).as_bytes(), &signature));
    }

    #[test]
    fn a_signed_request_verifies() {
        assert_eq!(verify(&signed(), &REQUEST, now()), Ok(()));
        let presented = parse(&signed()).unwrap();
        assert_eq!((presented.key_id.as_str(), presented.nonce), ("key_1", NONCE));
    }

    #[test]
    fn both_algorithms_sign_and_neither_passes_for_the_other() {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let headers = signed_by(&p256);
        assert!(headers.signature_input.ends_with(r#"alg="ecdsa-p256-sha256""#));
        let presented = parse(&headers).unwrap();
        assert_eq!(presented.verify(&p256.public_key(), &REQUEST, now()), Ok(()));
        assert_eq!(presented.verify(&key().public_key(), &REQUEST, now()), Err(SignatureError::Mismatch));
        let relabelled = headers.signature_input.replace("ecdsa-p256-sha256", "ed25519");
        let relabelled = SignatureHeaders { signature_input: relabelled, ..headers };
        for key in [p256.public_key(), key().public_key()] {
            let result = parse(&relabelled).unwrap().verify(&key, &REQUEST, now());
            assert_eq!(result, Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn a_nonce_without_its_place_in_the_count_is_refused() {
        assert_eq!(Nonce::parse(&NONCE.to_string()), Some(NONCE));
        for nonce in ["", "n1", "3.00000000000000ab.1", "3.00000000000000ab.1.AAAA"] {
            let headers = signed();
            let input = headers.signature_input.replace(&NONCE.to_string(), nonce);
            let result =
                Presented::parse(Some(&input), Some(&headers.signature), Some(&headers.content_digest));
            assert_eq!(result, Err(SignatureError::Malformed), "{nonce}");
        }
    }

    #[test]
    fn any_change_to_the_request_is_noticed() {
        let altered_body = Request { body: b"{\"a\":2}", ..REQUEST };
        assert_eq!(verify(&signed(), &altered_body, now()), Err(SignatureError::Digest));
        for request in [
            Request { method: "PUT", ..REQUEST },
            Request { path: "/v1/payment-codes", ..REQUEST },
            Request { query: "a=1", ..REQUEST },
        ] {
            assert_eq!(verify(&signed(), &request, now()), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn a_new_digest_does_not_rescue_an_altered_body() {
        let altered = Request { body: b"{\"a\":2}", ..REQUEST };
        let headers = SignatureHeaders { content_digest: digest_header(altered.body), ..signed() };
        assert_eq!(verify(&headers, &altered, now()), Err(SignatureError::Mismatch));
    }

    #[test]
    fn another_key_does_not_fit() {
        let other = SigningKey::from_bytes(&[6; 32]).public_key();
        let result = parse(&signed()).unwrap().verify(&other, &REQUEST, now());
        assert_eq!(result, Err(SignatureError::Mismatch));
    }

    #[test]
    fn old_and_future_signatures_are_refused_at_the_second() {
        let made = now().as_seconds();
        for (shift, fits) in [(60, true), (61, false), (3_600, false)] {
            let result = verify(&signed(), &REQUEST, now() + Duration::from_secs(shift));
            assert_eq!(result, if fits { Ok(()) } else { Err(SignatureError::Expired(made)) }, "{shift}");
        }
        for (shift, fits) in [(30, true), (31, false), (3_600, false)] {
            let result = verify(&signed(), &REQUEST, now() - Duration::from_secs(shift));
            assert_eq!(result, if fits { Ok(()) } else { Err(SignatureError::Expired(made)) }, "-{shift}");
        }
    }

    #[test]
    fn a_signature_that_covers_less_is_refused() {
        let headers = signed();
        let input = headers.signature_input.replace(" \"content-digest\"", "");
        let result = Presented::parse(Some(&input), Some(&headers.signature), Some(&headers.content_digest));
        assert_eq!(result, Err(SignatureError::Malformed));
        assert_eq!(Presented::parse(None, Some(&headers.signature), None), Err(SignatureError::Malformed));
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(input in "\\PC{0,200}", signature in "\\PC{0,100}", digest in "\\PC{0,100}") {
            let _ = Presented::parse(Some(&input), Some(&signature), Some(&digest));
        }
    }
}
