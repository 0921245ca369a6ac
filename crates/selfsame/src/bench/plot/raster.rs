//! Polygons to pixels.

use anyhow::Context;

use super::{Colour, Point};

/// Lines of samples in each line of pixels. Along a line the cover is exact.
const SAMPLE_LINES: usize = 4;

/// Corners of the disc that rounds a line's joins.
const DISC_CORNERS: usize = 12;

/// White paper.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

/// An edge that goes down from `top` to `bottom`; `turn` says which way the polygon went.
struct Edge {
    top: Point,
    bottom: Point,
    turn: i32,
}

impl Edge {
    fn between(from: Point, to: Point) -> Option<Self> {
        if from.1 < to.1 {
            Some(Self { top: from, bottom: to, turn: 1 })
        } else if to.1 < from.1 {
            Some(Self { top: to, bottom: from, turn: -1 })
        } else {
            None
        }
    }

    fn crossing(&self, y: f64) -> Option<(f64, i32)> {
        let (top, bottom) = (self.top, self.bottom);
        (top.1 <= y && y < bottom.1)
            .then(|| (top.0 + (bottom.0 - top.0) * (y - top.1) / (bottom.1 - top.1), self.turn))
    }
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let (width, height) = (width.ceil() as usize, height.ceil() as usize);
        Self { width, height, pixels: vec![[255; 3]; width * height] }
    }

    /// Fills what the polygons wind around.
    pub(super) fn fill(&mut self, polygons: &[Vec<Point>], colour: Colour, opacity: f64) {
        let mut edges = Vec::new();
        for polygon in polygons {
            let next = polygon.iter().cycle().skip(1);
            edges.extend(polygon.iter().zip(next).filter_map(|(from, to)| Edge::between(*from, *to)));
        }
        let top = edges.iter().map(|edge| edge.top.1).fold(f64::MAX, f64::min).max(0.0);
        let bottom = edges.iter().map(|edge| edge.bottom.1).fold(0.0, f64::max).min(self.height as f64);
        let mut cover = vec![0.0; self.width];
        for y in top as usize..bottom.ceil() as usize {
            cover.fill(0.0);
            for line in 0..SAMPLE_LINES {
                let at = y as f64 + (line as f64 + 0.5) / SAMPLE_LINES as f64;
                let mut crossings: Vec<_> = edges.iter().filter_map(|edge| edge.crossing(at)).collect();
                crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
                let mut winding = 0;
                for pair in crossings.windows(2) {
                    winding += pair[0].1;
                    if winding != 0 {
                        add_span(&mut cover, pair[0].0, pair[1].0);
                    }
                }
            }
            for (x, cover) in cover.iter().enumerate().filter(|(_, cover)| **cover > 0.0) {
                self.blend(x, y, colour, opacity * cover.min(1.0));
            }
        }
    }

    /// Draws lines, round at their ends and joins.
    pub(super) fn stroke(&mut self, lines: &[Vec<Point>], width: f64, colour: Colour) {
        let half = width / 2.0;
        let mut polygons = Vec::new();
        for line in lines {
            for pair in line.windows(2) {
                let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
                let length = dx.hypot(dy);
                if length > 0.0 {
                    let (nx, ny) = (-dy / length * half, dx / length * half);
                    let [from, to] = [pair[0], pair[1]];
                    polygons.push(vec![
                        (from.0 + nx, from.1 + ny),
                        (from.0 - nx, from.1 - ny),
                        (to.0 - nx, to.1 - ny),
                        (to.0 + nx, to.1 + ny),
                    ]);
                }
            }
            let joins = line.iter().skip(1).take(line.len().saturating_sub(2));
            polygons.extend(joins.map(|centre| disc(*centre, half)));
        }
        self.fill(&polygons, colour, 1.0);
    }

    fn blend(&mut self, x: usize, y: usize, colour: Colour, cover: f64) {
        let pixel = &mut self.pixels[y * self.width + x];
        for (channel, wanted) in pixel.iter_mut().zip(colour.0) {
            let mixed = f64::from(*channel) * (1.0 - cover) + f64::from(wanted) * cover;
            *channel = mixed.round() as u8;
        }
    }

    /// The picture.
    pub(super) fn png(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let (width, height) = (u32::try_from(self.width)?, u32::try_from(self.height)?);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().context("failed to begin a picture")?;
        writer.write_image_data(self.pixels.as_flattened()).context("failed to write a picture")?;
        writer.finish().context("failed to end a picture")?;
        Ok(bytes)
    }
}

/// Adds what a line of samples from `from` to `to` covers of each pixel.
fn add_span(cover: &mut [f64], from: f64, to: f64) {
    let (from, to) = (from.max(0.0), to.min(cover.len() as f64));
    if from >= to {
        return;
    }
    let (first, last) = (from as usize, (to.ceil() as usize).min(cover.len()));
    for (offset, cover) in cover[first..last].iter_mut().enumerate() {
        let left = (first + offset) as f64;
        *cover += (to.min(left + 1.0) - from.max(left)) / SAMPLE_LINES as f64;
    }
}

/// Turned the same way as the rectangles of a stroke, so that they join where they overlap.
fn disc(centre: Point, radius: f64) -> Vec<Point> {
    let corner = |index: usize| {
        let (sine, cosine) = (index as f64 / DISC_CORNERS as f64 * std::f64::consts::TAU).sin_cos();
        (centre.0 + radius * cosine, centre.1 + radius * sine)
    };
    (0..DISC_CORNERS).map(corner).collect()
}

/// A line cut into dashes.
pub(super) fn dashes(line: &[Point], [dash, gap]: [f64; 2]) -> Vec<Vec<Point>> {
    let mut dashes = Vec::new();
    let mut current: Vec<Point> = line.first().copied().into_iter().collect();
    let (mut drawn, mut left) = (true, dash);
    for pair in line.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = (to.0 - from.0).hypot(to.1 - from.1);
        while length > left {
            let share = left / length;
            let cut = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            if drawn {
                current.push(cut);
                dashes.push(std::mem::take(&mut current));
            } else {
                current = vec![cut];
            }
            (drawn, length, from) = (!drawn, length - left, cut);
            left = if drawn { dash } else { gap };
        }
        left -= length;
        if drawn {
            current.push(to);
        }
    }
    if current.len() > 1 {
        dashes.push(current);
    }
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_covered_pixel_is_half_as_dark() {
        let mut canvas = Canvas::new(4.0, 4.0);
        canvas.fill(&[vec![(1.5, 1.0), (3.0, 1.0), (3.0, 3.0), (1.5, 3.0)]], Colour([0, 0, 0]), 1.0);
        assert_eq!(canvas.pixels[4 + 1], [128; 3]);
        assert_eq!(canvas.pixels[4 + 2], [0; 3]);
        assert_eq!(canvas.pixels[4 + 3], [255; 3]);
    }

    #[test]
    fn dashes_and_gaps_take_turns_along_the_whole_line() {
        let dashes = dashes(&[(0.0, 0.0), (10.0, 0.0)], [4.0, 2.0]);
        let ends: Vec<(f64, f64)> = dashes.iter().map(|dash| (dash[0].0, dash[dash.len() - 1].0)).collect();
        assert_eq!(ends, [(0.0, 4.0), (6.0, 10.0)]);
    }

    #[test]
    fn a_hole_stays_open() {
        let square = |from: f64, to: f64| vec![(from, from), (to, from), (to, to), (from, to)];
        let mut hole = square(2.0, 4.0);
        hole.reverse();
        let mut canvas = Canvas::new(6.0, 6.0);
        canvas.fill(&[square(0.0, 6.0), hole], Colour([0, 0, 0]), 1.0);
        assert_eq!((canvas.pixels[3 * 6 + 3], canvas.pixels[0]), ([255; 3], [0; 3]));
    }
}
