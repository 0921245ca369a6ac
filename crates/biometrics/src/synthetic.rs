//! Fingers of nobody: a master print grown from one seed, and presses of it from another.
//!
//! `(finger seed, press seed)` names a picture for ever. The master: an orientation field with singular points by the
//! zero-pole model (B. Sherlock and D. Monro, 1993), in which ridges grow out of noise under iterated oriented
//! filters (the idea of R. Cappelli's SFinGe, 2000). A press: placement, rotation, skin distortion, pressure as ridge
//! width, dryness, noise and partial contact. Good for demos, tests and relative figures; real fingers are harder.

use std::f32::consts::{PI, TAU};

use crate::image::GrayImage;

/// Size of a master print, in pixels at 500 dpi: about 17 x 21 mm.
const MASTER_WIDTH: usize = 344;
const MASTER_HEIGHT: usize = 416;

/// Size of a press, in pixels at 500 dpi.
const PRESS_WIDTH: usize = 300;
const PRESS_HEIGHT: usize = 360;

/// Resolution of everything here, in dots per inch.
const RESOLUTION_DPI: u16 = 500;

/// Directions in which ridges are filtered.
const DIRECTIONS: usize = 32;

/// Half the side of the growing filter, in pixels: one and a half ridges.
const FILTER_RADIUS: usize = 7;

/// Passes of the growing filter: by then hardly a ridge moves any more.
const PASSES: usize = 14;

/// xoshiro256++ (D. Blackman, S. Vigna), seeded by splitmix64. Our own, because the pictures that seeds name must
/// stay the same for ever, whatever a library does.
struct Random([u64; 4]);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut value = state;
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            value ^ (value >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `from..to`.
    fn uniform(&mut self, from: f32, to: f32) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1u32 << 24) as f32;
        from + (to - from) * unit
    }

    /// About normal, mean 0, standard deviation 1: the sum of twelve uniform values.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform(0.0, 1.0)).sum::<f32>() - 6.0
    }
}

/// A smooth random field over a coarse grid, bilinear between, values about -1 to 1.
struct Smooth {
    columns: usize,
    cell: f32,
    values: Vec<f32>,
}

impl Smooth {
    fn new(random: &mut Random, width: usize, height: usize, cell: f32) -> Self {
        let columns = (width as f32 / cell) as usize + 3;
        let rows = (height as f32 / cell) as usize + 3;
        let values = (0..columns * rows).map(|_| random.normal() * 0.5).collect();
        Self { columns, cell, values }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = ((x / self.cell).max(0.0), (y / self.cell).max(0.0));
        let (column, row) = (x as usize, y as usize);
        // Smoothstep instead of straight lines, so that no grid shows.
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (ease(x - column as f32), ease(y - row as f32));
        let value = |column: usize, row: usize| {
            self.values.get(row * self.columns + column.min(self.columns - 1)).copied().unwrap_or(0.0)
        };
        let top = value(column, row) * (1.0 - fx) + value(column + 1, row) * fx;
        let bottom = value(column, row + 1) * (1.0 - fx) + value(column + 1, row + 1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

/// Where ridges run, by the zero-pole model: loops turn the direction by half a turn, deltas against it.
struct Flow {
    loops: Vec<(f32, f32)>,
    deltas: Vec<(f32, f32)>,
    arch: f32,
    bend: Smooth,
}

impl Flow {
    fn new(random: &mut Random) -> Self {
        let (w, h) = (MASTER_WIDTH as f32, MASTER_HEIGHT as f32);
        let x = random.uniform(0.44, 0.56) * w;
        let y = random.uniform(0.38, 0.50) * h;
        let spread = random.uniform(0.28, 0.42) * w;
        let low = y + random.uniform(0.22, 0.36) * h;
        let side = if random.next() & 1 == 0 { 1.0 } else { -1.0 };
        // Shares of pattern classes as in people: about a third whorls, most of the rest loops, few arches.
        let class = random.uniform(0.0, 1.0);
        let (loops, deltas, arch) = if class < 0.33 {
            let gap = random.uniform(14.0, 44.0);
            let lean = random.uniform(-14.0, 14.0);
            let loops = vec![(x - lean, y - gap / 2.0), (x + lean, y + gap / 2.0)];
            (loops, vec![(x - spread, low), (x + spread, low + random.uniform(-30.0, 30.0))], 0.0)
        } else if class < 0.92 {
            (vec![(x, y)], vec![(x + side * spread, low)], 0.0)
        } else {
            (Vec::new(), Vec::new(), random.uniform(0.5, 1.0))
        };
        Self { loops, deltas, arch, bend: Smooth::new(random, MASTER_WIDTH, MASTER_HEIGHT, 90.0) }
    }

    /// Direction of the ridge at a point, radians.
    fn direction(&self, x: f32, y: f32) -> f32 {
        let turn = |(px, py): &(f32, f32)| (y - py).atan2(x - px);
        let turned: f32 =
            self.loops.iter().map(turn).sum::<f32>() - self.deltas.iter().map(turn).sum::<f32>();
        let (w, h) = (MASTER_WIDTH as f32, MASTER_HEIGHT as f32);
        // A plain arch: ridges rise in the middle and fall again, most at mid height.
        let hill = (-((y / h - 0.55) / 0.25).powi(2)).exp() * (TAU * (x / w - 0.5)).sin();
        turned / 2.0 + self.arch * hill * 0.9 + 0.22 * self.bend.at(x, y)
    }
}

/// A master print: ridges (1) and valleys (-1) over the whole finger.
pub struct Master {
    ridges: Vec<f32>,
    seed: u64,
}

/// The growing filter in one direction: a wave across the ridge under a bell, with no response to flat grey.
fn growing_filter(direction: f32, period_px: f32) -> Vec<f32> {
    let radius = FILTER_RADIUS as i32;
    let (sin, cos) = direction.sin_cos();
    let sigma = period_px * 0.42;
    let mut filter = Vec::with_capacity((2 * FILTER_RADIUS + 1).pow(2));
    for dy in -radius..=radius {
        for dx in -radius..=radius {
            let (x, y) = (dx as f32, dy as f32);
            let across = -sin * x + cos * y;
            let bell = (-(x * x + y * y) / (2.0 * sigma * sigma)).exp();
            filter.push(bell * (TAU * across / period_px).cos());
        }
    }
    let mean = filter.iter().sum::<f32>() / filter.len() as f32;
    filter.iter_mut().for_each(|value| *value -= mean);
    let norm = filter.iter().map(|value| value.abs()).sum::<f32>();
    filter.iter_mut().for_each(|value| *value /= norm);
    filter
}

impl Master {
    /// Grows the master print of a finger. Takes some hundred milliseconds; keep it for further presses.
    pub fn grow(finger: u64) -> Self {
        let mut random = Random::new(finger, 1);
        let flow = Flow::new(&mut random);
        let period_px = random.uniform(8.2, 9.8);
        let filters: Vec<Vec<f32>> = (0..DIRECTIONS)
            .map(|index| growing_filter(index as f32 * PI / DIRECTIONS as f32, period_px))
            .collect();
        let mut choice = vec![0u8; MASTER_WIDTH * MASTER_HEIGHT];
        for y in 0..MASTER_HEIGHT {
            for x in 0..MASTER_WIDTH {
                let turns = flow.direction(x as f32, y as f32) / PI;
                let index = (turns * DIRECTIONS as f32).round() as i64;
                choice[y * MASTER_WIDTH + x] = index.rem_euclid(DIRECTIONS as i64) as u8;
            }
        }
        let mut ridges: Vec<f32> =
            (0..MASTER_WIDTH * MASTER_HEIGHT).map(|_| random.uniform(-1.0, 1.0)).collect();
        for _ in 0..PASSES {
            ridges = grow_once(&ridges, &choice, &filters);
        }
        Self { ridges, seed: finger }
    }

    fn at(&self, x: f32, y: f32) -> Option<f32> {
        if x < 0.0 || y < 0.0 {
            return None;
        }
        let (column, row) = (x as usize, y as usize);
        if column + 1 >= MASTER_WIDTH || row + 1 >= MASTER_HEIGHT {
            return None;
        }
        let (fx, fy) = (x - column as f32, y - row as f32);
        let start = row * MASTER_WIDTH + column;
        let top = self.ridges[start] * (1.0 - fx) + self.ridges[start + 1] * fx;
        let below = start + MASTER_WIDTH;
        let bottom = self.ridges[below] * (1.0 - fx) + self.ridges[below + 1] * fx;
        Some(top * (1.0 - fy) + bottom * fy)
    }

    /// One press of this finger: 300 x 360 pixels at 500 dpi, dark ridges on light ground.
    pub fn press(&self, press: u64) -> GrayImage {
        let mut random = Random::new(press ^ self.seed.rotate_left(32), 2);
        let touch = Touch::new(&mut random);
        let mut pixels = Vec::with_capacity(PRESS_WIDTH * PRESS_HEIGHT);
        for y in 0..PRESS_HEIGHT {
            for x in 0..PRESS_WIDTH {
                let grey = touch.grey(self, x as f32, y as f32) + touch.noise * random.normal();
                pixels.push(grey.clamp(0.0, 255.0) as u8);
            }
        }
        let image = GrayImage::new(PRESS_WIDTH as u32, PRESS_HEIGHT as u32, RESOLUTION_DPI, pixels);
        image.expect("the size is fixed and small")
    }
}

fn grow_once(ridges: &[f32], choice: &[u8], filters: &[Vec<f32>]) -> Vec<f32> {
    let side = 2 * FILTER_RADIUS + 1;
    // A frame of mirrored pixels spares the inner loop all questions about borders.
    let (w, h) = (MASTER_WIDTH + 2 * FILTER_RADIUS, MASTER_HEIGHT + 2 * FILTER_RADIUS);
    let mirror = |value: usize, size: usize| {
        let value = value as i64 - FILTER_RADIUS as i64;
        let value = if value < 0 { -value } else { value };
        let last = size as i64 - 1;
        (if value > last { 2 * last - value } else { value }) as usize
    };
    let mut framed = vec![0.0f32; w * h];
    for y in 0..h {
        let row = mirror(y, MASTER_HEIGHT) * MASTER_WIDTH;
        for x in 0..w {
            framed[y * w + x] = ridges[row + mirror(x, MASTER_WIDTH)];
        }
    }
    let mut grown = Vec::with_capacity(ridges.len());
    for y in 0..MASTER_HEIGHT {
        for x in 0..MASTER_WIDTH {
            let filter = &filters[usize::from(choice[y * MASTER_WIDTH + x])];
            let mut sum = 0.0;
            for (row, weights) in filter.chunks_exact(side).enumerate() {
                let start = (y + row) * w + x;
                let pixels = &framed[start..start + side];
                sum += pixels.iter().zip(weights).map(|(pixel, weight)| pixel * weight).sum::<f32>();
            }
            // Saturation: what responds at all becomes a full ridge or valley.
            grown.push((sum * 6.0).clamp(-1.0, 1.0));
        }
    }
    grown
}

/// How a finger touches the reader once.
struct Touch {
    shift: (f32, f32),
    turn: (f32, f32),
    skin: (Smooth, Smooth),
    stretch: f32,
    pressure: f32,
    dryness: f32,
    patches: Smooth,
    pores: Smooth,
    contact: (f32, f32, f32, f32),
    edge: Smooth,
    ground: f32,
    ink: f32,
    noise: f32,
}

impl Touch {
    fn new(random: &mut Random) -> Self {
        let angle = (random.normal() * 9.0).clamp(-25.0, 25.0).to_radians();
        let (w, h) = (PRESS_WIDTH, PRESS_HEIGHT);
        Self {
            shift: (random.normal() * 14.0, random.normal() * 18.0),
            turn: angle.sin_cos(),
            skin: (Smooth::new(random, w, h, 80.0), Smooth::new(random, w, h, 80.0)),
            stretch: random.uniform(2.0, 7.0),
            pressure: random.uniform(-0.35, 0.40),
            dryness: random.uniform(0.0, 0.55),
            patches: Smooth::new(random, w, h, 34.0),
            pores: Smooth::new(random, w, h, 3.0),
            contact: (
                w as f32 / 2.0 + random.normal() * 10.0,
                h as f32 / 2.0 + random.normal() * 12.0,
                random.uniform(0.38, 0.48) * w as f32,
                random.uniform(0.38, 0.49) * h as f32,
            ),
            edge: Smooth::new(random, w, h, 24.0),
            ground: random.uniform(205.0, 245.0),
            ink: random.uniform(110.0, 165.0),
            noise: random.uniform(3.0, 11.0),
        }
    }

    /// Grey of a pixel, before noise.
    fn grey(&self, master: &Master, x: f32, y: f32) -> f32 {
        let (cx, cy, rx, ry) = self.contact;
        let rim = 1.0 - ((x - cx) / rx).powi(2) - ((y - cy) / ry).powi(2) + 0.22 * self.edge.at(x, y);
        if rim <= 0.0 {
            return self.ground;
        }
        let (dx, dy) = (x - PRESS_WIDTH as f32 / 2.0, y - PRESS_HEIGHT as f32 / 2.0);
        let (sin, cos) = self.turn;
        let mx = cos * dx - sin * dy
            + MASTER_WIDTH as f32 / 2.0
            + self.shift.0
            + self.stretch * self.skin.0.at(x, y);
        let my = sin * dx
            + cos * dy
            + MASTER_HEIGHT as f32 / 2.0
            + self.shift.1
            + self.stretch * self.skin.1.at(x, y);
        let Some(ridge) = master.at(mx, my) else { return self.ground };
        // Less contact towards the rim and in dry patches: ridges get thin there and break up.
        let contact = (rim * 5.0).min(1.0);
        let dry = self.dryness * (0.35 + 0.65 * self.patches.at(x, y)) + 0.35 * (1.0 - contact);
        let height = ridge + self.pressure - dry + 0.9 * self.dryness * self.pores.at(x, y);
        let touched = 1.0 / (1.0 + (-5.0 * height).exp());
        self.ground - self.ink * touched * (0.55 + 0.45 * contact)
    }
}

/// The picture of one press of one finger. For several presses of a finger [`Master::grow`] it once.
pub fn press(finger: u64, press: u64) -> GrayImage {
    Master::grow(finger).press(press)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a.
    fn digest(image: &GrayImage) -> u64 {
        image.pixels().iter().fold(0xcbf2_9ce4_8422_2325, |hash, pixel| {
            (hash ^ u64::from(*pixel)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn the_same_seeds_name_the_same_picture() {
        let (first, again) = (press(7, 1), press(7, 1));
        assert!(first == again);
        assert_ne!(digest(&first), digest(&press(7, 2)));
        assert_ne!(digest(&first), digest(&press(8, 1)));
    }

    #[test]
    fn the_random_numbers_stay_as_published() {
        // If these change, every seed names another finger: raise nothing, fix the generator.
        let mut random = Random::new(1, 2);
        assert_eq!([random.next(), random.next()], [8_059_550_639_330_444_725, 3_722_991_764_437_952_295]);
    }
}
