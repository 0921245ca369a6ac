//! Finding faces: YuNet (Wu, Peng, Yu 2023), its outputs decoded.

use super::geometry::{Points, Rectangle};
use super::runtime::{self, Fault, Network, Threads, planes};
use crate::color_image::{Affine, Border, ColorImage};
use crate::model_pack::{CheckedFile, Input, PackError};

/// Longer side of the picture that faces are looked for in. A face at a terminal fills a quarter of the frame and
/// more; the network finds faces from about 10 pixels.
pub(super) const SIDE_PX_MAX: u32 = 256;

/// The same for a further frame of an attempt, of which the box alone is needed: a quarter of the time.
pub(super) const SIDE_PX_COARSE: u32 = 160;

/// The same for the picture turned upside down, of which only a score is wanted. With 96 to 160 pixels every one of the
/// 1,062 development photos scores higher upright than turned.
pub(super) const SIDE_PX_TURNED: u32 = 128;

/// Sides must be multiples of the coarsest stride.
const SIDE_STEP: usize = 32;

const STRIDES: [usize; 3] = [8, 16, 32];

/// Outputs of the network in the order that decoding expects: for each stride class, objectness, box and points.
pub(super) const OUTPUTS: [&str; 12] = [
    "cls_8", "obj_8", "bbox_8", "kps_8", "cls_16", "obj_16", "bbox_16", "kps_16", "cls_32", "obj_32",
    "bbox_32", "kps_32",
];

/// Lowest score of a face (the authors' own default is 0.6 to 0.9; below 0.6 come clothes and pictures).
const SCORE_MIN: f32 = 0.6;

/// Boxes that overlap more than this are one face (authors' default).
const OVERLAP_MAX: f32 = 0.3;

/// Most faces that are looked at, best first.
const FACES_MAX: usize = 100;

/// A face that was found, in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Around the face from the hair line to the chin.
    pub face: Rectangle,
    /// Eyes, nose, mouth corners.
    pub points: Points,
    /// 0 to 1, how sure the network is.
    pub score: f32,
}

/// The detector.
pub(super) struct Detector {
    network: Box<dyn Network>,
    input: Input,
}

impl Detector {
    pub(super) fn load(file: &CheckedFile, threads: &Threads) -> Result<Self, PackError> {
        let network = runtime::load(file, &OUTPUTS, threads)?;
        let detector = Self::new(network, file.facts.input.clone());
        detector.probe().map_err(|fault| file.refused(fault.reason))?;
        Ok(detector)
    }

    pub(super) fn new(network: Box<dyn Network>, input: Input) -> Self {
        Self { network, input }
    }

    /// Runs once on black, so that a wrong file is refused at load.
    fn probe(&self) -> Result<(), Fault> {
        let black = ColorImage::draw(64, 64, |_, _| [0; 3]).expect("a small square");
        self.detect(&black, SIDE_PX_MAX).map(|_| ())
    }

    /// All faces, the surest first, looked for in the picture shrunk to `side_px_max`.
    pub(super) fn detect(&self, image: &ColorImage, side_px_max: u32) -> Result<Vec<Detection>, Fault> {
        let (width, height) = (image.width_px(), image.height_px());
        let (small_width, small_height) = shrunk_size(image, side_px_max);
        let shrunk;
        let small = if (small_width, small_height) != (width, height) {
            let whole = [0.0, 0.0, width as f32, height as f32];
            let map = Affine::scale(whole, small_width, small_height);
            shrunk = image.warp(&map, small_width, small_height, Border::Nearest);
            &shrunk
        } else {
            image
        };
        let padded = |side: u32| (side as usize).next_multiple_of(SIDE_STEP);
        let (columns, rows) = (padded(small_width), padded(small_height));
        let fault = |reason: String| Fault { role: "detection", reason };
        let values = planes(small, &self.input, columns, rows);
        let outputs = self.network.run(values, rows, columns).map_err(fault)?;
        let found = decode(&outputs, rows, columns).ok_or_else(|| fault("unexpected outputs".to_owned()))?;
        let (back_x, back_y) = (width as f32 / small_width as f32, height as f32 / small_height as f32);
        Ok(found.into_iter().map(|detection| detection.scaled(back_x, back_y)).collect())
    }

    /// How sure the network is of a face when the picture is turned upside down, 0 to 1; 0 if it finds none. It finds
    /// heads that hang down too, with eyes and mouth exchanged, but is surer of what is upright.
    pub(super) fn score_turned(&self, image: &ColorImage) -> Result<f32, Fault> {
        let (width, height) = (image.width_px() as f32, image.height_px() as f32);
        let (small_width, small_height) = shrunk_size(image, SIDE_PX_TURNED);
        // Read from the far corner backwards.
        let map = Affine::scale([width, height, -width, -height], small_width, small_height);
        let turned = image.warp(&map, small_width, small_height, Border::Nearest);
        let found = self.detect(&turned, SIDE_PX_TURNED)?;
        Ok(found.first().map_or(0.0, |surest| surest.score))
    }
}

/// Width and height of a picture shrunk to a longer side, never enlarged.
fn shrunk_size(image: &ColorImage, side_px_max: u32) -> (u32, u32) {
    let (width, height) = (image.width_px(), image.height_px());
    let scale = (side_px_max as f32 / width.max(height) as f32).min(1.0);
    let shrink = |side: u32| ((side as f32 * scale).round() as u32).max(1);
    (shrink(width), shrink(height))
}

impl Detection {
    fn scaled(self, x: f32, y: f32) -> Self {
        let Rectangle { left, top, width, height } = self.face;
        Self {
            face: Rectangle { left: left * x, top: top * y, width: width * x, height: height * y },
            points: self.points.map(|point| [point[0] * x, point[1] * y]),
            score: self.score,
        }
    }
}

/// Reads the outputs. `None` if their sizes are not those of the strides.
fn decode(outputs: &[Vec<f32>], rows: usize, columns: usize) -> Option<Vec<Detection>> {
    let mut found = Vec::new();
    for (outputs, stride) in outputs.chunks(4).zip(STRIDES) {
        let [class, object, boxes, points] = outputs else { return None };
        let (cells_wide, cells) = (columns / stride, rows / stride * (columns / stride));
        let sizes = [(class, 1), (object, 1), (boxes, 4), (points, 10)];
        if sizes.iter().any(|(values, size)| values.len() != cells * size) {
            return None;
        }
        for cell in 0..cells {
            let score = (class[cell].clamp(0.0, 1.0) * object[cell].clamp(0.0, 1.0)).sqrt();
            if score >= SCORE_MIN {
                let corner = [(cell % cells_wide) as f32, (cell / cells_wide) as f32];
                let place = (&boxes[cell * 4..][..4], &points[cell * 10..][..10]);
                found.extend(detection(corner, stride as f32, place, score));
            }
        }
    }
    if outputs.len() != OUTPUTS.len() {
        return None;
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    Some(suppress(found))
}

fn detection(corner: [f32; 2], stride: f32, place: (&[f32], &[f32]), score: f32) -> Option<Detection> {
    let (shape, points) = place;
    let (width, height) = (shape[2].exp() * stride, shape[3].exp() * stride);
    let centre = [(corner[0] + shape[0]) * stride, (corner[1] + shape[1]) * stride];
    let face = Rectangle { left: centre[0] - width / 2.0, top: centre[1] - height / 2.0, width, height };
    let points = std::array::from_fn(|index| {
        [(corner[0] + points[index * 2]) * stride, (corner[1] + points[index * 2 + 1]) * stride]
    });
    let detection = Detection { face, points, score };
    let finite =
        [face.left, face.top, width, height].iter().chain(points.as_flattened()).all(|v| v.is_finite());
    (finite && width >= 1.0 && height >= 1.0).then_some(detection)
}

/// Keeps the surest of faces that overlap.
fn suppress(sorted: Vec<Detection>) -> Vec<Detection> {
    let mut kept: Vec<Detection> = Vec::new();
    for detection in sorted {
        if kept.len() == FACES_MAX {
            break;
        }
        if kept.iter().all(|other| other.face.overlap(&detection.face) <= OVERLAP_MAX) {
            kept.push(detection);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_pack::Channels;

    /// A network that answers with what it was given.
    struct Scripted(Vec<Vec<f32>>);

    impl Network for Scripted {
        fn run(&self, input: Vec<f32>, height: usize, width: usize) -> Result<Vec<Vec<f32>>, String> {
            assert_eq!(input.len(), 3 * height * width);
            Ok(self.0.clone())
        }
    }

    fn detector(outputs: Vec<Vec<f32>>) -> Detector {
        let input = Input {
            name: "input".to_owned(),
            channels: Channels::Bgr,
            width_px: 0,
            height_px: 0,
            mean: [0.0; 3],
            deviation: [1.0; 3],
        };
        Detector::new(Box::new(Scripted(outputs)), input)
    }

    fn nothing(rows: usize, columns: usize) -> Vec<Vec<f32>> {
        let sizes = STRIDES.iter().flat_map(|stride| {
            let cells = rows / stride * (columns / stride);
            [cells, cells, cells * 4, cells * 10]
        });
        sizes.map(|size| vec![0.0; size]).collect()
    }

    #[test]
    fn a_face_lies_where_its_cell_says_in_pixels_of_the_whole_picture() {
        // 640 x 320 is looked at as 320 x 160: cell (2, 1) of stride 16, shifted by half a cell, twice as large.
        let mut outputs = nothing(160, 320);
        let cell = 20 + 2;
        outputs[4][cell] = 0.81;
        outputs[5][cell] = 1.0;
        outputs[6][cell * 4..][..4].copy_from_slice(&[0.5, 0.5, 2f32.ln(), 4f32.ln()]);
        let image = ColorImage::draw(640, 320, |_, _| [9; 3]).unwrap();
        let found = detector(outputs).detect(&image, 320).unwrap();
        assert_eq!(found.len(), 1);
        let face = found[0].face;
        assert!((face.left - 48.0).abs() < 0.01 && (face.width - 64.0).abs() < 0.01, "{face:?}");
        assert!((face.top + 16.0).abs() < 0.01 && (face.height - 128.0).abs() < 0.01, "{face:?}");
        assert!((found[0].points[0][0] - 64.0).abs() < 0.01 && (found[0].score - 0.9).abs() < 1e-6);
    }

    #[test]
    fn overlapping_faces_are_one_and_impossible_ones_none() {
        let mut outputs = nothing(64, 64);
        for (cell, score) in [(9, 0.9), (10, 1.0), (63, 1.0)] {
            outputs[0][cell] = score;
            outputs[1][cell] = 1.0;
            outputs[2][cell * 4 + 2] = 1.5;
            outputs[2][cell * 4 + 3] = 1.5;
        }
        outputs[2][63 * 4] = f32::NAN;
        let image = ColorImage::draw(64, 64, |_, _| [0; 3]).unwrap();
        let found = detector(outputs).detect(&image, 320).unwrap();
        assert_eq!(found.len(), 1);
        assert!((found[0].score - 1.0).abs() < 1e-6);
    }

    #[test]
    fn outputs_of_another_network_are_a_fault() {
        let image = ColorImage::draw(64, 64, |_, _| [0; 3]).unwrap();
        assert!(detector(nothing(32, 64)).detect(&image, 320).is_err());
        assert!(detector(nothing(64, 64)[..8].to_vec()).detect(&image, 320).is_err());
        assert!(detector(Vec::new()).detect(&image, 320).is_err());
    }
}
