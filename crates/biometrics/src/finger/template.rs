//! Templates: minutiae with the ridge flow around each, as bytes.
//!
//! Layout, little endian. Header, 16 bytes: `SFMT`, version (2), quality (1), number of minutiae (1), reserved (4),
//! CRC-32 of what follows (4). Then for each minutia 48 bytes: x (2) and y (2) in pixels at 500 dpi, direction (1) in
//! 256ths of a turn, kind and quality (1), and 42 bytes of flow: the direction of the ridges at points on three
//! circles around it, relative to its own, in 254ths of half a turn; 255 where there was no contact.

use std::f32::consts::PI;
use std::fmt;

use super::VERSION;
use super::ridges::Ridges;
use super::skeleton::Minutia;
use crate::elementary::sin_cos;

/// Most minutiae that are kept, the best ones. Full prints have 40 to 80.
pub(super) const MINUTIAE_MAX: usize = 80;

/// Points of flow around a minutia.
pub(super) const FLOW_POINTS: usize = 42;

/// Circles of flow points: radius in pixels and number of points (Tico and Kuosmanen, table 1, at 500 dpi).
const CIRCLES: [(f32, usize); 3] = [(27.0, 10), (45.0, 14), (63.0, 18)];

const _: () = assert!(CIRCLES[0].1 + CIRCLES[1].1 + CIRCLES[2].1 == FLOW_POINTS);

/// Steps of half a turn in a flow value.
pub(super) const FLOW_STEPS: u8 = 254;

/// Mark of a flow point without contact.
pub(super) const NO_FLOW: u8 = 255;

const MAGIC: [u8; 4] = *b"SFMT";
const HEADER_BYTES: usize = 16;
const POINT_BYTES: usize = 6 + FLOW_POINTS;

/// Largest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = HEADER_BYTES + MINUTIAE_MAX * POINT_BYTES;

/// A minutia as templates hold it. Does not print outside tests.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: u16,
    pub(super) y: u16,
    pub(super) direction: u8,
    pub(super) fork: bool,
    pub(super) quality: u8,
    pub(super) flow: [u8; FLOW_POINTS],
}

/// What is stored of a finger. Whoever has it can rebuild much of the print, so it never prints and is stored
/// encrypted only.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) quality: u8,
    pub(super) points: Vec<Point>,
}

/// Bytes are no template of this algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Another length than the header says.
    #[error("a template of {0} bytes is cut off or too long")]
    Length(usize),
    /// Another kind of data.
    #[error("this is no finger template")]
    Format,
    /// Made by another version of the algorithm.
    #[error("the template has version {0}, this program compares version {VERSION}: enrol again")]
    Version(u16),
    /// Damaged.
    #[error("the template is damaged")]
    Checksum,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(***)")
    }
}

/// Direction in 256ths of a turn.
fn turn(radians: f32) -> u8 {
    ((radians / (2.0 * PI) * 256.0).round() as i32).rem_euclid(256) as u8
}

fn flow(minutia: &Minutia, ridges: &Ridges) -> [u8; FLOW_POINTS] {
    let places = CIRCLES.iter().flat_map(|(radius, count)| {
        (0..*count).map(move |index| (*radius, index as f32 * 2.0 * PI / *count as f32))
    });
    let mut values = [NO_FLOW; FLOW_POINTS];
    for (value, (radius, angle)) in values.iter_mut().zip(places) {
        let (sin, cos) = sin_cos(minutia.direction + angle);
        let (x, y) = (minutia.x + radius * cos, minutia.y + radius * sin);
        if x < 0.0 || y < 0.0 || x as usize >= ridges.width || y as usize >= ridges.height {
            continue;
        }
        let index = y as usize * ridges.width + x as usize;
        if ridges.inside[index] > 2 {
            let relative = (ridges.direction[index] - minutia.direction).rem_euclid(PI);
            *value = (relative / PI * f32::from(FLOW_STEPS)) as u8 % FLOW_STEPS;
        }
    }
    values
}

impl Template {
    pub(super) fn new(minutiae: &[Minutia], ridges: &Ridges, quality: u8) -> Self {
        let point = |minutia: &Minutia| Point {
            x: minutia.x as u16,
            y: minutia.y as u16,
            direction: turn(minutia.direction),
            fork: minutia.fork,
            quality: (minutia.quality * 127.0) as u8,
            flow: flow(minutia, ridges),
        };
        Self { quality, points: minutiae.iter().take(MINUTIAE_MAX).map(point).collect() }
    }

    /// 0 to 100, as at extraction.
    pub fn quality(&self) -> u8 {
        self.quality
    }

    /// Number of minutiae, at most 80.
    pub fn minutiae(&self) -> usize {
        self.points.len()
    }

    /// The bytes to be stored, encrypted: at most [`TEMPLATE_BYTES_MAX`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.points.len() * POINT_BYTES);
        for point in &self.points {
            body.extend(point.x.to_le_bytes());
            body.extend(point.y.to_le_bytes());
            body.push(point.direction);
            body.push(u8::from(point.fork) << 7 | point.quality.min(127));
            body.extend(point.flow);
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.push(self.quality);
        bytes.push(self.points.len() as u8);
        bytes.extend([0; 4]);
        bytes.extend(crc32(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Reads stored bytes; hostile ones are refused, never believed. Whatever comes out can be compared.
    ///
    /// # Errors
    ///
    /// The first [`TemplateError`] that applies: bytes shorter than a header, another format, another version, a wrong
    /// length, a wrong checksum.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TemplateError> {
        let (header, body) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(TemplateError::Length(bytes.len()))?;
        if header[..4] != MAGIC {
            return Err(TemplateError::Format);
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(TemplateError::Version(version));
        }
        if header[8..12] != [0; 4] {
            return Err(TemplateError::Format);
        }
        let count = usize::from(header[7]);
        if count > MINUTIAE_MAX || body.len() != count * POINT_BYTES {
            return Err(TemplateError::Length(bytes.len()));
        }
        if crc32(body) != u32::from_le_bytes([header[12], header[13], header[14], header[15]]) {
            return Err(TemplateError::Checksum);
        }
        let point = |bytes: &[u8]| {
            let mut flow = [NO_FLOW; FLOW_POINTS];
            flow.copy_from_slice(&bytes[6..]);
            Point {
                x: u16::from_le_bytes([bytes[0], bytes[1]]),
                y: u16::from_le_bytes([bytes[2], bytes[3]]),
                direction: bytes[4],
                fork: bytes[5] >> 7 == 1,
                quality: bytes[5] & 127,
                flow,
            }
        };
        Ok(Self { quality: header[6], points: body.chunks_exact(POINT_BYTES).map(point).collect() })
    }
}

/// CRC-32 as in PNG and Ethernet (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template() -> Template {
        let point = |index: u8| Point {
            x: u16::from(index) * 3,
            y: 300,
            direction: index,
            fork: index.is_multiple_of(2),
            quality: index,
            flow: [index; FLOW_POINTS],
        };
        Template { quality: 77, points: (0..12).map(point).collect() }
    }

    #[test]
    fn a_template_reads_as_it_was_written() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(Template::from_bytes(&template().to_bytes()) == Ok(template()));
        assert!(template().to_bytes().len() <= TEMPLATE_BYTES_MAX);
    }

    #[test]
    fn damaged_templates_are_refused() {
        let bytes = template().to_bytes();
        for length in 0..bytes.len() {
            assert!(Template::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for index in HEADER_BYTES..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            assert!(Template::from_bytes(&damaged) == Err(TemplateError::Checksum), "{index}");
        }
        let mut newer = bytes;
        newer[4] = 9;
        assert!(Template::from_bytes(&newer) == Err(TemplateError::Version(9)));
    }

    #[test]
    fn a_template_does_not_print() {
        assert_eq!(format!("{:?}", template()), "Template(***)");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Template::from_bytes(&bytes);
        }
    }
}
