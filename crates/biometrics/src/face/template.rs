//! Templates: the direction of an embedding in small integers, as bytes.
//!
//! Layout, little endian. Header, 24 bytes: `SFFC`, format version (2), quality (1), reserved (1), model id (8),
//! number of dimensions (2), reserved (2), CRC-32 of all but itself (4). Then one signed byte per dimension, -127 to
//! 127, the largest of them 127 or -127. Only the direction counts, so no scale is stored: the comparison divides by
//! the lengths of the integer vectors themselves.

use std::fmt;

use crate::model_pack::ModelId;
use crate::score::Score;

/// Version of the template format and of everything before the network: detection, points, alignment. Raised when
/// any of them changes so that old templates compare worse.
pub const VERSION: u16 = 1;

/// The algorithm's name, as stored with each template beside [`VERSION`]. Which network is in the template itself.
pub const ALGORITHM: &str = "face/embedding";

const MAGIC: [u8; 4] = *b"SFFC";
const HEADER_BYTES: usize = 24;

/// Most dimensions of an embedding.
const DIMENSIONS_MAX: usize = 1024;

/// Largest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = HEADER_BYTES + DIMENSIONS_MAX;

/// What is stored of a face. A face that looks like the payer can be rebuilt from it, so it never prints and is
/// stored encrypted only.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    model: ModelId,
    quality: u8,
    values: Vec<i8>,
}

/// Bytes are no template that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Another length than the header says.
    #[error("a template of {0} bytes is cut off or too long")]
    Length(usize),
    /// Another kind of data.
    #[error("this is no face template")]
    Format,
    /// Made by another version of this program's preparation.
    #[error("the template has version {0}, this program compares version {VERSION}: enrol again")]
    Version(u16),
    /// Damaged.
    #[error("the template is damaged")]
    Checksum,
    /// Made by another network.
    #[error("the template was made by model {made_by}, this pack compares model {compared}: enrol again")]
    Model {
        /// The template's.
        made_by: ModelId,
        /// The pack's.
        compared: ModelId,
    },
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(***)")
    }
}

impl Template {
    /// From an embedding of any length. `None` if it has no direction.
    pub(super) fn of(vector: &[f32], model: ModelId, quality: u8) -> Option<Self> {
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        if !largest.is_normal() || vector.is_empty() || vector.len() > DIMENSIONS_MAX {
            return None;
        }
        let values = vector.iter().map(|value| (value / largest * 127.0).round() as i8).collect();
        Some(Self { model, quality: quality.min(100), values })
    }

    /// Which network made it.
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// 0 to 100, as at extraction.
    pub fn quality(&self) -> u8 {
        self.quality
    }

    /// The bytes to be stored, encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.values.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([self.quality, 0]);
        bytes.extend(self.model.0);
        bytes.extend((self.values.len() as u16).to_le_bytes());
        bytes.extend([0; 2 + 4]);
        bytes.extend(self.values.iter().map(|value| value.to_le_bytes()[0]));
        let checksum = checksum(&bytes);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads stored bytes; hostile ones are refused, never believed. What another network made is refused: it says
    /// nothing about anybody here.
    pub fn from_bytes(bytes: &[u8], compared: ModelId) -> Result<Self, TemplateError> {
        let (header, body) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(TemplateError::Length(bytes.len()))?;
        if header[..4] != MAGIC {
            return Err(TemplateError::Format);
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(TemplateError::Version(version));
        }
        let dimensions = usize::from(u16::from_le_bytes([header[16], header[17]]));
        if body.len() != dimensions || !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(TemplateError::Length(bytes.len()));
        }
        if checksum(bytes) != u32::from_le_bytes([header[20], header[21], header[22], header[23]]) {
            return Err(TemplateError::Checksum);
        }
        let mut made_by = ModelId([0; 8]);
        made_by.0.copy_from_slice(&header[8..16]);
        if made_by != compared {
            return Err(TemplateError::Model { made_by, compared });
        }
        let values = body.iter().map(|byte| i8::from_le_bytes([*byte])).collect();
        Ok(Self { model: made_by, quality: header[6], values })
    }
}

/// CRC-32 as in PNG (ISO 3309) of a template without the field for it.
fn checksum(bytes: &[u8]) -> u32 {
    let covered = bytes[..HEADER_BYTES - 4].iter().chain(&bytes[HEADER_BYTES..]);
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !covered.fold(u32::MAX, step)
}

/// The templates of one attempt, ready to be compared with many others.
pub struct Prepared {
    samples: Vec<(Template, u64)>,
}

impl Prepared {
    /// Prepares the samples of one attempt.
    pub fn new(samples: Vec<Template>) -> Self {
        Self { samples: samples.into_iter().map(|sample| (sample.clone(), square(&sample.values))).collect() }
    }

    /// Number of samples: comparisons made per template.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// The best score of any sample against a template. A score is the cosine between the vectors times 10,000,
    /// rounded down, and 0 where they point away from each other: unlike people lie about 0, one person's photos
    /// about 6,800. Computed in integers, so it is the same on every machine. Templates of another model score 0.
    pub fn score(&self, template: &Template) -> Score {
        let length = square(&template.values);
        let scores = self.samples.iter().map(|(sample, sample_length)| {
            if sample.model != template.model || sample.values.len() != template.values.len() {
                return Score(0);
            }
            cosine(dot(&sample.values, &template.values), *sample_length, length)
        });
        scores.max().unwrap_or(Score(0))
    }
}

/// At most 1,024 * 128 * 128 in size, so it fits.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn square(values: &[i8]) -> u64 {
    values.iter().map(|value| u64::from(value.unsigned_abs()).pow(2)).sum()
}

/// 10,000 * dot / sqrt(a * b), rounded down.
fn cosine(dot: i32, a: u64, b: u64) -> Score {
    let Ok(dot) = u128::try_from(dot) else { return Score(0) };
    let lengths = u128::from(a) * u128::from(b);
    if lengths == 0 {
        return Score(0);
    }
    // dot and lengths are below 2^25 and 2^50: nothing overflows.
    let squared = dot * dot * u128::from(Score::MAX.0).pow(2) / lengths;
    let score = u16::try_from(squared.isqrt()).unwrap_or(Score::MAX.0);
    Score(score.min(Score::MAX.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: ModelId = ModelId([1, 2, 3, 4, 5, 6, 7, 8]);

    fn template(values: &[f32]) -> Template {
        Template::of(values, MODEL, 80).unwrap()
    }

    fn score(a: &Template, b: &Template) -> Score {
        Prepared::new(vec![a.clone()]).score(b)
    }

    #[test]
    fn a_template_reads_as_it_was_written() {
        let made = template(&[1.0, -0.5, 0.25, 0.0]);
        let bytes = made.to_bytes();
        assert_eq!(bytes.len(), 28);
        assert!(Template::from_bytes(&bytes, MODEL) == Ok(made));
        assert_eq!(format!("{:?}", template(&[1.0])), "Template(***)");
    }

    #[test]
    fn damaged_templates_are_refused() {
        let bytes = template(&[1.0, -0.5, 0.25, 0.0]).to_bytes();
        for length in 0..bytes.len() {
            assert!(Template::from_bytes(&bytes[..length], MODEL).is_err(), "{length}");
        }
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            assert!(Template::from_bytes(&damaged, MODEL).is_err(), "{index}");
        }
    }

    #[test]
    fn a_template_of_another_model_is_refused_and_never_alike() {
        let other = ModelId([9; 8]);
        let made = template(&[1.0, 0.5]);
        let expected = TemplateError::Model { made_by: MODEL, compared: other };
        assert!(Template::from_bytes(&made.to_bytes(), other) == Err(expected));
        let foreign = Template::of(&[1.0, 0.5], other, 80).unwrap();
        assert_eq!(score(&made, &foreign), Score(0));
        assert_eq!(score(&made, &template(&[1.0, 0.5, 0.1])), Score(0));
    }

    #[test]
    fn the_score_is_the_cosine() {
        let a = template(&[1.0, 0.0]);
        assert_eq!(score(&a, &a), Score::MAX);
        assert_eq!(score(&a, &template(&[0.0, 1.0])), Score(0));
        assert_eq!(score(&a, &template(&[-1.0, 0.3])), Score(0));
        assert_eq!(score(&a, &template(&[1.0, 1.0])), Score(7071));
        // The length of an embedding does not matter.
        assert_eq!(score(&template(&[3.0, 4.0]), &template(&[30.0, 40.0])), Score::MAX);
        assert!(
            Template::of(&[0.0, 0.0], MODEL, 1).is_none() && Template::of(&[f32::NAN], MODEL, 1).is_none()
        );
    }

    #[test]
    fn the_best_sample_counts() {
        let (a, b) = (template(&[1.0, 0.0]), template(&[0.0, 1.0]));
        let both = Prepared::new(vec![a.clone(), b]);
        assert_eq!((both.samples(), both.score(&a)), (2, Score::MAX));
        assert_eq!(Prepared::new(Vec::new()).score(&a), Score(0));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = Template::from_bytes(&bytes, MODEL);
            let mut real = template(&[1.0; 64]).to_bytes();
            real.truncate(24 + tail.len().min(64));
            real.splice(24.., tail);
            let _ = Template::from_bytes(&real, MODEL);
        }

        #[test]
        fn scores_are_symmetric_and_near_the_real_cosine(
            a in prop::collection::vec(-1.0f32..1.0, 256),
            b in prop::collection::vec(-1.0f32..1.0, 256),
        ) {
            let (first, second) = (template(&a), template(&b));
            prop_assert_eq!(score(&first, &second), score(&second, &first));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            let expected = (cosine.max(0.0) * 10_000.0) as i32;
            prop_assert!((i32::from(score(&first, &second).0) - expected).abs() <= 40);
        }
    }
}
