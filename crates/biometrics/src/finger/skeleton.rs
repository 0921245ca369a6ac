//! From ridges to minutiae: thin the ridges to lines and look where lines end and fork.

use std::f32::consts::PI;

use super::ridges::Ridges;
use crate::elementary::atan2;

/// Steps along a line from which the direction of a minutia is taken, in pixels.
const TRACE_PX: usize = 10;

/// Shorter lines are no ridges: spurs of the thinning and islands of dirt.
const SPUR_PX: usize = 9;

/// Minutiae nearer to the border of the contact area are where the print is cut, not where a ridge ends.
const BORDER_PX: u16 = 14;

/// Two minutiae nearer than this that turn their backs on each other are a break in a ridge, in pixels: about a ridge
/// period.
const GAP_PX: f32 = 10.0;

/// Two minutiae nearer than this are noise, however they face, in pixels: ridges lie farther apart.
const CROWD_PX: f32 = 6.0;

/// Directions this far apart are opposite, in radians.
const OPPOSITE: f32 = PI * 0.7;

/// So deep inside the contact area, in steps, a minutia cannot be better placed.
const DEPTH_GOOD: u16 = 40;

/// A point where a ridge ends or forks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Minutia {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Direction, radians in 0..2 PI: from an end into its ridge, from a fork between its two near arms. So the same
    /// place has the same direction whether light pressure ends the ridge or strong pressure joins it.
    pub(super) direction: f32,
    pub(super) fork: bool,
    /// 0 to 1.
    pub(super) quality: f32,
}

/// Neighbours of a pixel, clockwise from above.
const AROUND: [(i32, i32); 8] = [(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)];

/// Lines one pixel wide on a raster.
struct Lines {
    width: usize,
    height: usize,
    on: Vec<bool>,
}

impl Lines {
    fn at(&self, x: i32, y: i32) -> bool {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        inside && self.on[y as usize * self.width + x as usize]
    }

    fn around(&self, x: i32, y: i32) -> [bool; 8] {
        AROUND.map(|(dx, dy)| self.at(x + dx, y + dy))
    }

    /// Thinning by T. Zhang and C. Suen, 1984.
    fn thin(&mut self) {
        loop {
            let mut changed = false;
            for second in [false, true] {
                let gone: Vec<usize> =
                    (0..self.on.len()).filter(|index| self.removable(*index, second)).collect();
                changed |= !gone.is_empty();
                gone.into_iter().for_each(|index| self.on[index] = false);
            }
            if !changed {
                break;
            }
        }
        self.drop_corners();
    }

    fn removable(&self, index: usize, second: bool) -> bool {
        if !self.on[index] {
            return false;
        }
        let (x, y) = ((index % self.width) as i32, (index / self.width) as i32);
        let near = self.around(x, y);
        let count = near.iter().filter(|on| **on).count();
        if !(2..=6).contains(&count) || crossings(&near) != 1 {
            return false;
        }
        let [up, _, right, _, down, _, left, _] = near;
        // First from below and right, then from above and left, so that lines stay in the middle of their ridge.
        let kept = if second { up && left && (right || down) } else { right && down && (up || left) };
        !kept
    }

    /// Zhang and Suen leave stairs of two pixels; a line must be one pixel wide for crossings to be counted.
    fn drop_corners(&mut self) {
        for index in 0..self.on.len() {
            if !self.on[index] {
                continue;
            }
            let (x, y) = ((index % self.width) as i32, (index / self.width) as i32);
            let near = self.around(x, y);
            let [up, _, right, _, down, _, left, _] = near;
            let corner = (up && right && !near[5])
                || (right && down && !near[7])
                || (down && left && !near[1])
                || (left && up && !near[3]);
            let joined = near.iter().filter(|on| **on).count();
            if corner && (joined == 2 || crossings(&near) == 1) {
                self.on[index] = false;
            }
        }
    }

    /// Walks along a line from a pixel, first to `next`, for at most `steps` pixels. Stops early at an end or a fork.
    fn walk(&self, from: (i32, i32), next: (i32, i32), steps: usize) -> Vec<(i32, i32)> {
        let mut path = vec![next];
        let mut before = from;
        while path.len() < steps {
            let here = path[path.len() - 1];
            if crossings(&self.around(here.0, here.1)) > 2 {
                break;
            }
            let away = |place: &(i32, i32)| (place.0 - before.0).pow(2) + (place.1 - before.1).pow(2);
            let open = AROUND.iter().map(|(dx, dy)| (here.0 + dx, here.1 + dy));
            let open =
                open.filter(|place| self.at(place.0, place.1) && *place != from && !path.contains(place));
            let Some(place) = open.filter(|place| away(place) > 1).max_by_key(away) else { break };
            before = here;
            path.push(place);
        }
        path
    }

    /// First pixels of the arms that leave a minutia.
    fn arms(&self, x: i32, y: i32) -> Vec<(i32, i32)> {
        let near = self.around(x, y);
        // Where a run of neighbours begins, clockwise: one pixel for each arm.
        (0..8)
            .filter(|index| near[*index] && !near[(*index + 7) % 8])
            .map(|index| (x + AROUND[index].0, y + AROUND[index].1))
            .collect()
    }
}

/// Number of arms: how often the way around a pixel goes from off to on.
fn crossings(near: &[bool; 8]) -> usize {
    (0..8).filter(|index| !near[*index] && near[(*index + 1) % 8]).count()
}

fn angle(from: (i32, i32), to: (i32, i32)) -> f32 {
    atan2((to.1 - from.1) as f32, (to.0 - from.0) as f32).rem_euclid(2.0 * PI)
}

/// Smallest angle between two directions, 0..=PI.
fn apart(a: f32, b: f32) -> f32 {
    let difference = (a - b).rem_euclid(2.0 * PI);
    difference.min(2.0 * PI - difference)
}

/// Removes short loose ends: a walk from an end that meets a fork or another end within a few steps.
fn remove_spurs(lines: &mut Lines, inside: &[u16]) {
    let ends: Vec<(i32, i32)> = (0..lines.on.len())
        .filter(|index| lines.on[*index] && inside[*index] > 0)
        .map(|index| ((index % lines.width) as i32, (index / lines.width) as i32))
        .filter(|(x, y)| crossings(&lines.around(*x, *y)) == 1)
        .collect();
    for (x, y) in ends {
        let Some(first) = lines.arms(x, y).first().copied() else { continue };
        let path = lines.walk((x, y), first, SPUR_PX);
        if path.len() >= SPUR_PX {
            continue;
        }
        let last = path[path.len() - 1];
        let at_fork = crossings(&lines.around(last.0, last.1)) > 2;
        lines.on[y as usize * lines.width + x as usize] = false;
        for place in path.iter().take(path.len() - usize::from(at_fork)) {
            lines.on[place.1 as usize * lines.width + place.0 as usize] = false;
        }
    }
}

fn minutia(lines: &Lines, ridges: &Ridges, x: i32, y: i32) -> Option<Minutia> {
    let index = y as usize * lines.width + x as usize;
    let arms = lines.arms(x, y);
    let paths: Vec<Vec<(i32, i32)>> = arms.iter().map(|arm| lines.walk((x, y), *arm, TRACE_PX)).collect();
    let directions: Vec<f32> = paths.iter().map(|path| angle((x, y), path[path.len() - 1])).collect();
    let (direction, fork) = match directions.as_slice() {
        [one] => (*one, false),
        [a, b, c] => {
            // The two arms with the least angle between them; their middle is the direction.
            let pairs = [(*a, *b), (*b, *c), (*a, *c)];
            let (p, q) = pairs.into_iter().min_by(|p, q| apart(p.0, p.1).total_cmp(&apart(q.0, q.1)))?;
            let half = (q - p).rem_euclid(2.0 * PI);
            let middle = if half > PI { p - (2.0 * PI - half) / 2.0 } else { p + half / 2.0 };
            (middle.rem_euclid(2.0 * PI), true)
        }
        _ => return None,
    };
    if paths.iter().any(|path| path.len() < TRACE_PX / 2) {
        return None;
    }
    let depth = f32::from(ridges.inside[index].min(DEPTH_GOOD)) / f32::from(DEPTH_GOOD);
    // Clear ridges first; near the border a minutia may be the end of the contact.
    let quality = (0.7 * ridges.clearness[index] + 0.3 * depth).clamp(0.0, 1.0);
    Some(Minutia { x: x as f32, y: y as f32, direction, fork, quality })
}

/// Drops pairs that are two sides of a break in a ridge, or noise.
fn drop_pairs(minutiae: &mut Vec<Minutia>) {
    let mut dropped = vec![false; minutiae.len()];
    for (i, a) in minutiae.iter().enumerate() {
        for (j, b) in minutiae.iter().enumerate().skip(i + 1) {
            let (dx, dy) = (b.x - a.x, b.y - a.y);
            let distance = (dx * dx + dy * dy).sqrt();
            if distance > GAP_PX {
                continue;
            }
            if apart(a.direction, b.direction) > OPPOSITE || distance < CROWD_PX {
                dropped[i] = true;
                dropped[j] = true;
            }
        }
    }
    let mut index = 0;
    minutiae.retain(|_| {
        index += 1;
        !dropped[index - 1]
    });
}

/// The minutiae of a print, best first.
pub(super) fn minutiae(ridges: &Ridges) -> Vec<Minutia> {
    let on = ridges.response.iter().map(|response| *response > 0.0).collect();
    let mut lines = Lines { width: ridges.width, height: ridges.height, on };
    lines.thin();
    remove_spurs(&mut lines, &ridges.inside);
    let mut found = Vec::new();
    for index in 0..lines.on.len() {
        if !lines.on[index] || ridges.inside[index] < BORDER_PX {
            continue;
        }
        let (x, y) = ((index % lines.width) as i32, (index / lines.width) as i32);
        if matches!(crossings(&lines.around(x, y)), 1 | 3) {
            found.extend(minutia(&lines, ridges, x, y));
        }
    }
    drop_pairs(&mut found);
    found.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    found
}
