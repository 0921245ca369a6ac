//! The networks that look at one face: landmarks, attack detection, embedding.

use super::geometry::{Points, Rectangle, similarity};
use super::runtime::{self, Fault, Network, Threads, planes};
use crate::color_image::{Affine, Area, Border, ColorImage};
use crate::model_pack::{CheckedFile, FileFacts, PackError, Role};

/// A network with fixed input size and one output.
struct Fixed {
    network: Box<dyn Network>,
    facts: FileFacts,
    role: &'static str,
    outputs: usize,
}

impl Fixed {
    /// Loads and runs once on black, so that a wrong file is refused at load.
    fn load(
        file: &CheckedFile,
        role: &'static str,
        outputs: usize,
        threads: &Threads,
    ) -> Result<Self, PackError> {
        let network = runtime::load(file, &[&file.facts.output], threads)?;
        let fixed = Self { network, facts: file.facts.clone(), role, outputs };
        let input = &file.facts.input;
        let black = ColorImage::draw(input.width_px, input.height_px, |_, _| [0; 3])
            .expect("the manifest was checked for the size of the input");
        fixed.run(&black).map_err(|fault| file.refused(fault.reason))?;
        Ok(fixed)
    }

    fn size(&self) -> (u32, u32) {
        (self.facts.input.width_px, self.facts.input.height_px)
    }

    fn run(&self, image: &ColorImage) -> Result<Vec<f32>, Fault> {
        let (width, height) = (self.facts.input.width_px as usize, self.facts.input.height_px as usize);
        let fault = |reason: String| Fault { role: self.role, reason };
        let values = planes(image, &self.facts.input, width, height);
        let output = self.network.run(values, height, width).map_err(fault)?.into_iter().next();
        let right = |output: &Vec<f32>| output.len() == self.outputs && output.iter().all(|v| v.is_finite());
        output.filter(right).ok_or_else(|| fault("unexpected output".to_owned()))
    }
}

/// How far a refined point may lie from where the detector saw it, in eye distances. Further away the refinement
/// looked at something else, and the detector's points are better.
const REFINEMENT_MAX: f32 = 0.5;

/// Where the five points of an average face lie in the landmark network's input, in shares of its sides.
const UPRIGHT_POINTS: Points = [[0.29, 0.4], [0.71, 0.4], [0.5, 0.63], [0.32, 0.83], [0.68, 0.83]];

/// How often points are settled: the second time their place no longer depends on the detector's.
const SETTLE_ROUNDS: usize = 2;

/// Shifts of the cut-outs whose points are averaged, in pixels of the network's input: the network errs a little
/// otherwise in each. With one cut-out the poses of near copies scatter twice as much.
const SETTLE_SHIFTS_PX: [[f32; 2]; 5] = [[0.0, 0.0], [-1.5, 0.0], [1.5, 0.0], [0.0, -1.5], [0.0, 1.5]];

/// Finds the five points a second time. The mean of both places is taken: their errors are nearly independent, and on
/// the development photos it misses fewer matches at each false match rate than either alone.
pub(super) struct Landmarks(Fixed);

impl Landmarks {
    pub(super) fn load(file: &CheckedFile, threads: &Threads) -> Result<Self, PackError> {
        Fixed::load(file, "landmarks", 10, threads).map(Self)
    }

    /// The five points once more, to tell how a head is held: their place in upright cut-outs, which hardly depends on
    /// where the detector saw them. `None` if they have no placement.
    pub(super) fn settle(&self, image: &ColorImage, points: &Points) -> Result<Option<Points>, Fault> {
        let (width, height) = self.0.size();
        let placed = UPRIGHT_POINTS.map(|[x, y]| [x * width as f32, y * height as f32]);
        let mut points = *points;
        for _ in 0..SETTLE_ROUNDS {
            let Some(map) = similarity(&points, &placed) else { return Ok(None) };
            let mut sum: Points = [[0.0; 2]; 5];
            for shift in SETTLE_SHIFTS_PX {
                let (x0, y0) = map.apply(shift[0], shift[1]);
                let cut = image.warp_smooth(&Affine { x0, y0, ..map }, width, height, Border::Nearest);
                let output = self.0.run(&cut)?;
                for (point, place) in sum.iter_mut().zip(output.chunks_exact(2)) {
                    point[0] += place[0] * width as f32 + shift[0];
                    point[1] += place[1] * height as f32 + shift[1];
                }
            }
            let count = SETTLE_SHIFTS_PX.len() as f32;
            points = sum.map(|[x, y]| map.apply(x / count, y / count).into());
        }
        Ok(Some(points))
    }

    pub(super) fn refine(
        &self,
        image: &ColorImage,
        face: &Rectangle,
        rough: &Points,
    ) -> Result<Points, Fault> {
        let (width, height) = self.0.size();
        let (side, [x, y]) = (face.side(), face.centre());
        let square = [x - side / 2.0, y - side / 2.0, side, side];
        let cut = image.warp_smooth(&Affine::scale(square, width, height), width, height, Border::Nearest);
        let output = self.0.run(&cut)?;
        let fine: Points =
            std::array::from_fn(|index| [0, 1].map(|axis| square[axis] + output[index * 2 + axis] * side));
        let eyes = distance(rough[0], rough[1]);
        let near =
            fine.iter().zip(rough).all(|(fine, rough)| distance(*fine, *rough) <= REFINEMENT_MAX * eyes);
        let mean = |index: usize| [0, 1].map(|axis| (fine[index][axis] + rough[index][axis]) / 2.0);
        Ok(if near { std::array::from_fn(mean) } else { *rough })
    }
}

pub(super) fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// Tells living people from pictures of people (MiniFASNet, Minivision 2020). Sees traces of recapture - edges of a
/// print, the grid of a screen - around the face, so it must get the surroundings.
pub(super) struct AttackDetection(Vec<Fixed>);

/// Outputs of the networks: two kinds of attack and the living.
const CLASSES: usize = 3;

impl AttackDetection {
    pub(super) fn load(files: &[&CheckedFile], threads: &Threads) -> Result<Self, PackError> {
        let load = |file: &&CheckedFile| {
            if file.facts.live_class >= CLASSES || file.facts.live_class != files[0].facts.live_class {
                return Err(
                    file.refused("`live_class` is none of its classes, or not that of the other networks")
                );
            }
            Fixed::load(file, "attack detection", CLASSES, threads)
        };
        files.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// Probability of a living person, 0 to 1: the mean of the networks' log-probabilities, so that one network that is
    /// sure outweighs one that is not. (Upstream adds the probabilities: the attack sample then scores 0.24 instead of
    /// 0.08, at the same rate of living people refused.)
    pub(super) fn score(&self, image: &ColorImage, face: &Rectangle) -> Result<f32, Fault> {
        let mut sum = [0.0; CLASSES];
        for network in &self.0 {
            let area = surroundings(face, network.facts.crop_scale, image.width_px(), image.height_px());
            let logits = network.run(&patch(image, area, network.size()))?;
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let log_total = logits.iter().map(|value| (value - most).exp()).sum::<f32>().ln() + most;
            sum.iter_mut()
                .zip(&logits)
                .for_each(|(sum, logit)| *sum += (logit - log_total) / self.0.len() as f32);
        }
        let total: f32 = sum.iter().map(|value| value.exp()).sum();
        Ok(self.0.first().map_or(0.0, |network| sum[network.facts.live_class].exp() / total))
    }
}

/// Cut out, then scaled to the network's input with one sample a pixel, as in training: smoothing would wipe out the
/// traces of recapture.
fn patch(image: &ColorImage, area: Area, (width_px, height_px): (u32, u32)) -> ColorImage {
    let cut = image.cut(area);
    let cut = cut.as_ref().unwrap_or(image);
    let whole = [0.0, 0.0, cut.width_px() as f32, cut.height_px() as f32];
    cut.warp(&Affine::scale(whole, width_px, height_px), width_px, height_px, Border::Nearest)
}

/// The face box enlarged about its centre, as upstream cuts it (`generate_patches.py`): the factor is reduced so that
/// it fits into the picture, then the area is shifted inside and cut to whole pixels, the last ones included.
pub(super) fn surroundings(face: &Rectangle, scale: f32, width_px: u32, height_px: u32) -> Area {
    let (last_x, last_y) = (width_px as f32 - 1.0, height_px as f32 - 1.0);
    let scale = scale.min(last_x / face.width).min(last_y / face.height);
    let [x, y] = face.centre();
    let span = |centre: f32, size: f32, last: f32| {
        let (mut first, mut end) = (centre - size / 2.0, centre + size / 2.0);
        if first < 0.0 {
            (first, end) = (0.0, end - first);
        }
        if end > last {
            (first, end) = (first - (end - last), last);
        }
        let (first, end) = (first.max(0.0) as u32, end.max(0.0) as u32);
        (first, end - first.min(end) + 1)
    };
    let (left, width_px) = span(x, face.width * scale, last_x);
    let (top, height_px) = span(y, face.height * scale, last_y);
    Area { left, top, width_px, height_px }
}

/// Makes the vector that is compared.
pub(super) struct Embedding {
    network: Fixed,
    points: Points,
}

impl Embedding {
    pub(super) fn load(file: &CheckedFile, threads: &Threads) -> Result<Self, PackError> {
        let points = file.facts.points_px.ok_or_else(|| file.refused("`points_px` is missing"))?;
        let network = Fixed::load(file, "embedding", usize::from(file.facts.dimensions), threads)?;
        debug_assert_eq!(network.facts.role, Role::Embedding);
        Ok(Self { network, points })
    }

    /// The vector, of any length. `None` if the points of the face have no placement.
    pub(super) fn vector(&self, image: &ColorImage, points: &Points) -> Result<Option<Vec<f32>>, Fault> {
        let Some(map) = similarity(points, &self.points) else { return Ok(None) };
        let (width, height) = self.network.size();
        self.network.run(&image.warp_smooth(&map, width, height, Border::Black)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surroundings_are_cut_as_upstream_cuts_them() {
        // Computed with upstream's own function; left, top, and right and bottom as the last pixels inside.
        let cases = [
            ((300.0, 170.0, 90.0, 120.0), 2.7, (640, 480), (223, 68, 466, 392)),
            ((300.0, 170.0, 90.0, 120.0), 4.0, (640, 480), (165, 0, 524, 479)),
            ((10.0, 20.0, 90.0, 120.0), 2.7, (640, 480), (0, 0, 243, 324)),
            ((10.0, 20.0, 90.0, 120.0), 4.0, (640, 480), (0, 0, 359, 479)),
            ((80.0, 70.0, 95.0, 120.0), 2.7, (250, 250), (28, 0, 226, 249)),
        ];
        for ((left, top, width, height), scale, (width_px, height_px), expected) in cases {
            let area = surroundings(&Rectangle { left, top, width, height }, scale, width_px, height_px);
            let last = (area.left + area.width_px - 1, area.top + area.height_px - 1);
            assert_eq!((area.left, area.top, last.0, last.1), expected);
        }
    }

    #[test]
    fn surroundings_of_absurd_faces_are_inside() {
        for face in [
            Rectangle { left: -500.0, top: -500.0, width: 100.0, height: 100.0 },
            Rectangle { left: 9e9, top: 9e9, width: 1.0, height: 1.0 },
            Rectangle { left: 0.0, top: 0.0, width: 9e9, height: 1.0 },
            Rectangle { left: f32::NAN, top: 0.0, width: 1.0, height: f32::NAN },
        ] {
            let area = surroundings(&face, 4.0, 64, 48);
            assert!(area.width_px >= 1 && area.height_px >= 1, "{area:?}");
            assert!(ColorImage::draw(64, 48, |_, _| [0; 3]).unwrap().cut(area).is_some(), "{area:?}");
        }
    }
}
