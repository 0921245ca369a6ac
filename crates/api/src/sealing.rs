//! Sealing of frames: HPKE (RFC 9180, base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305) to the matcher's key, so
//! that between the verification program and the matcher nobody sees a face or a finger.
//!
//! The associated data binds a frame to its terminal, session, single-use nonce, place in the sequence and all clear
//! facts about it; a frame that is moved, repeated or relabelled does not open.

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use selfsame_domain::id::TerminalId;
use selfsame_domain::sensor::{Modality, SensorGrade};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::bytes::Bytes;
use crate::terminal::MatcherKey;

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncapsulatedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Separates our use of the key from any other.
const PROTOCOL: &str = "selfsame sealed frame v1";

/// Bytes of a server nonce.
pub const NONCE_BYTES: usize = 32;

/// Largest image in a frame, in bytes, before sealing.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// An image format that matchers decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// PNG (ISO/IEC 15948), the lossless one for fingers.
    Png,
    /// JPEG (ISO/IEC 10918-1), for faces.
    Jpeg,
}

impl ImageFormat {
    fn as_str(self) -> &'static str {
        match self {
            ImageFormat::Png => "png",
            ImageFormat::Jpeg => "jpeg",
        }
    }
}

/// An image before it is sealed, with the facts about it that stay in the clear.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// Format of the image.
    pub format: ImageFormat,
    /// Resolution in dots per inch; 0 where it has no meaning (faces).
    pub resolution_dpi: u16,
    /// Milliseconds from the first colour of a challenge, or from the first frame.
    pub offset_ms: u32,
    /// The image.
    pub image: &'a [u8],
}

/// A sealed frame with the facts about it that stay in the clear (and are authenticated).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedFrame {
    /// Format of the image inside.
    pub format: ImageFormat,
    /// Resolution in dots per inch; 0 where it has no meaning (faces).
    pub resolution_dpi: u16,
    /// Milliseconds from the first colour of a challenge, or from the first frame.
    #[serde(default)]
    pub offset_ms: u32,
    /// HPKE encapsulated key, 32 bytes.
    #[schema(value_type = String)]
    pub encapsulated_key: Bytes,
    /// The sealed image.
    #[schema(value_type = String)]
    pub ciphertext: Bytes,
}

/// What a frame belongs to. Both sides state it from their own knowledge; nothing of it is taken from the frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameContext {
    /// The terminal that captured.
    pub terminal: TerminalId,
    /// The verification or enrolment, as text.
    pub session: String,
    /// The server's single-use nonce.
    pub nonce: Bytes,
    /// What was captured.
    pub modality: Modality,
    /// How it was captured.
    pub sensor_grade: SensorGrade,
}

impl FrameContext {
    fn associated_data(
        &self,
        index: usize,
        format: ImageFormat,
        resolution_dpi: u16,
        offset_ms: u32,
    ) -> Vec<u8> {
        let fields = [
            PROTOCOL.to_owned(),
            self.terminal.to_string(),
            self.session.clone(),
            self.nonce.encode(),
            self.modality.to_string(),
            self.sensor_grade.to_string(),
            index.to_string(),
            format.as_str().to_owned(),
            resolution_dpi.to_string(),
            offset_ms.to_string(),
        ];
        fields.join("\u{1f}").into_bytes()
    }
}

/// The frame could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The matcher's public key is no X25519 key.
    #[error("the matcher's key is malformed")]
    Key,
    /// Sealed for another key, session, nonce or place, or altered on the way.
    #[error("the seal does not open: made for another key or session, or altered")]
    Open,
    /// Sealing failed inside the library.
    #[error("the frame could not be sealed")]
    Seal,
}

/// Name of a public key: the first 8 bytes of its SHA-256 in hex.
fn key_id(public_key: &[u8]) -> String {
    Sha256::digest(public_key)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn info(key_id: &str) -> Vec<u8> {
    format!("{PROTOCOL}\u{1f}{key_id}").into_bytes()
}

/// Seals a frame for the matcher. `index` is its place among the frames of one submission.
pub fn seal(
    key: &MatcherKey,
    context: &FrameContext,
    index: usize,
    frame: Frame<'_>,
) -> Result<SealedFrame, SealError> {
    let public_key = PublicKey::from_bytes(&key.public_key.0).map_err(|_| SealError::Key)?;
    let Frame { format, resolution_dpi, offset_ms, image } = frame;
    let (encapsulated_key, ciphertext) =
        hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public_key,
            &info(&key.id),
            image,
            &context.associated_data(index, format, resolution_dpi, offset_ms),
        )
        .map_err(|_| SealError::Seal)?;
    Ok(SealedFrame {
        format,
        resolution_dpi,
        offset_ms,
        encapsulated_key: encapsulated_key.to_bytes().to_vec().into(),
        ciphertext: ciphertext.into(),
    })
}

/// The matcher's private key. Only the matcher process holds it.
pub struct OpeningKey {
    private_key: PrivateKey,
    public: MatcherKey,
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningKey({})", self.public.id)
    }
}

impl OpeningKey {
    /// Derives the key from 32 random bytes, which are what is kept in the secrets folder.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let (private_key, public_key) = X25519HkdfSha256::derive_keypair(seed.as_slice());
        let public_key = public_key.to_bytes().to_vec();
        let public = MatcherKey { id: key_id(&public_key), public_key: public_key.into() };
        Self { private_key, public }
    }

    /// The public half, which terminals get at activation.
    pub fn public(&self) -> &MatcherKey {
        &self.public
    }

    /// Opens the frame at `index` of a submission.
    pub fn open(
        &self,
        context: &FrameContext,
        index: usize,
        frame: &SealedFrame,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let encapsulated_key =
            EncapsulatedKey::from_bytes(&frame.encapsulated_key.0).map_err(|_| SealError::Open)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private_key,
            &encapsulated_key,
            &info(&self.public.id),
            &frame.ciphertext.0,
            &context.associated_data(index, frame.format, frame.resolution_dpi, frame.offset_ms),
        )
        .map(Zeroizing::new)
        .map_err(|_| SealError::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_domain::time::Timestamp;

    fn key() -> OpeningKey {
        OpeningKey::from_seed(&Zeroizing::new([7; 32]))
    }

    fn context() -> FrameContext {
        FrameContext {
            terminal: TerminalId::new(Timestamp::from_millis(1), [1; 10]),
            session: "ver_1".to_owned(),
            nonce: Bytes::from([9; NONCE_BYTES]),
            modality: Modality::Finger,
            sensor_grade: SensorGrade::Simulated,
        }
    }

    fn sealed() -> SealedFrame {
        let frame = Frame { format: ImageFormat::Png, resolution_dpi: 500, offset_ms: 7, image: b"ridges" };
        seal(key().public(), &context(), 0, frame).unwrap()
    }

    #[test]
    fn the_matcher_opens_what_was_sealed_for_it() {
        assert_eq!(key().open(&context(), 0, &sealed()).unwrap().as_slice(), b"ridges");
        assert!(!sealed().ciphertext.0.windows(6).any(|window| window == b"ridges"));
    }

    #[test]
    fn a_frame_opens_in_its_own_place_only() {
        let frame = sealed();
        let other_key = OpeningKey::from_seed(&Zeroizing::new([8; 32]));
        assert_eq!(other_key.open(&context(), 0, &frame), Err(SealError::Open));
        assert_eq!(key().open(&context(), 1, &frame), Err(SealError::Open));
        let changes: [fn(&mut FrameContext); 5] = [
            |context| context.terminal = TerminalId::new(Timestamp::from_millis(2), [1; 10]),
            |context| context.session = "ver_2".to_owned(),
            |context| context.nonce = Bytes::from([8; NONCE_BYTES]),
            |context| context.modality = Modality::Face,
            |context| context.sensor_grade = SensorGrade::Finger,
        ];
        for change in changes {
            let mut context = context();
            change(&mut context);
            assert_eq!(key().open(&context, 0, &frame), Err(SealError::Open));
        }
        for relabelled in [
            SealedFrame { resolution_dpi: 1000, ..frame.clone() },
            SealedFrame { format: ImageFormat::Jpeg, ..frame.clone() },
            SealedFrame { offset_ms: 8, ..frame },
        ] {
            assert_eq!(key().open(&context(), 0, &relabelled), Err(SealError::Open));
        }
    }

    #[test]
    fn altered_and_truncated_frames_do_not_open() {
        let frame = sealed();
        for index in 0..frame.ciphertext.0.len() {
            let mut altered = frame.clone();
            altered.ciphertext.0[index] ^= 1;
            assert_eq!(key().open(&context(), 0, &altered), Err(SealError::Open));
        }
        for length in 0..frame.ciphertext.0.len() {
            let mut truncated = frame.clone();
            truncated.ciphertext.0.truncate(length);
            assert_eq!(key().open(&context(), 0, &truncated), Err(SealError::Open));
        }
        let mut foreign = frame;
        foreign.encapsulated_key.0.clear();
        assert_eq!(key().open(&context(), 0, &foreign), Err(SealError::Open));
    }
}
