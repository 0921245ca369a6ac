//! Where the finger touches the reader.

use super::plane::Plane;

/// Contrast below this share of the print's own good parts is no contact.
const CONTRAST_SHARE: f32 = 0.12;

/// Contrast below this is no contact at all: variance of grey values, about 8 steps of 255 up and down.
const CONTRAST_MIN: f32 = 60.0;

/// Clearness of the flow below this, 0 to 1, is dirt or noise.
const CLEARNESS_MIN: f32 = 0.15;

/// Half the window of the majority that closes holes and drops specks, in pixels: about a ridge.
const MAJORITY_RADIUS: usize = 8;

/// The contact area with its size in pixels: enough contrast, a flow, and in one piece.
pub(super) fn contact(variance: &Plane, clearness: &Plane) -> (Vec<bool>, usize) {
    // The contrast of a good part of this print, against which the rest is judged.
    let mut sample: Vec<f32> = variance.values.iter().step_by(7).copied().collect();
    sample.sort_by(f32::total_cmp);
    let strongest = sample.get(sample.len() * 9 / 10).copied().unwrap_or(0.0);
    let least = (strongest * CONTRAST_SHARE).max(CONTRAST_MIN);
    let touches = |variance: f32, clear: f32| variance > least && clear > CLEARNESS_MIN;
    let share = variance
        .zip(clearness, |variance, clear| if touches(variance, clear) { 1.0 } else { 0.0 })
        .blur(MAJORITY_RADIUS);
    let mask: Vec<bool> = share.values.iter().map(|share| *share > 0.5).collect();
    let mut mask = largest_part(&mask, variance.width);
    fill_holes(&mut mask, variance.width);
    let contact_px = mask.iter().filter(|inside| **inside).count();
    (mask, contact_px)
}

/// The pixels above, below and beside one.
fn beside(index: usize, w: usize, pixels: usize) -> impl Iterator<Item = usize> {
    let x = index % w;
    let neighbours = [
        (x > 0).then(|| index - 1),
        (x + 1 < w).then_some(index + 1),
        index.checked_sub(w),
        (index + w < pixels).then_some(index + w),
    ];
    neighbours.into_iter().flatten()
}

/// Steps to the border of the contact area, by a two-pass chamfer.
pub(super) fn distances(mask: &[bool], w: usize, h: usize) -> Vec<u16> {
    let mut distance: Vec<u16> = mask.iter().map(|inside| if *inside { u16::MAX - 1 } else { 0 }).collect();
    for y in 0..h {
        for x in 0..w {
            let index = y * w + x;
            let left = if x > 0 { distance[index - 1] } else { 0 };
            let above = if y > 0 { distance[index - w] } else { 0 };
            distance[index] = distance[index].min(left.min(above).saturating_add(1));
        }
    }
    for y in (0..h).rev() {
        for x in (0..w).rev() {
            let index = y * w + x;
            let right = if x + 1 < w { distance[index + 1] } else { 0 };
            let below = if y + 1 < h { distance[index + w] } else { 0 };
            distance[index] = distance[index].min(right.min(below).saturating_add(1));
        }
    }
    distance
}

/// The largest connected part of a mask.
fn largest_part(mask: &[bool], w: usize) -> Vec<bool> {
    let mut label = vec![0u32; mask.len()];
    let mut best = (0u32, 0usize);
    let mut labels = 0;
    let mut stack = Vec::new();
    for start in 0..mask.len() {
        if !mask[start] || label[start] != 0 {
            continue;
        }
        labels += 1;
        let mut size = 0;
        label[start] = labels;
        stack.push(start);
        while let Some(index) = stack.pop() {
            size += 1;
            for next in beside(index, w, mask.len()) {
                if mask[next] && label[next] == 0 {
                    label[next] = labels;
                    stack.push(next);
                }
            }
        }
        if size > best.1 {
            best = (labels, size);
        }
    }
    label.iter().map(|label| best.0 != 0 && *label == best.0).collect()
}

/// Counts what the contact area encloses as contact: the middle of a whorl has no clear direction of its own.
fn fill_holes(mask: &mut [bool], w: usize) {
    let h = mask.len() / w;
    let mut outside = vec![false; mask.len()];
    let mut stack: Vec<usize> = (0..mask.len())
        .filter(|index| {
            let (x, y) = (index % w, index / w);
            !mask[*index] && (x == 0 || y == 0 || x + 1 == w || y + 1 == h)
        })
        .collect();
    stack.iter().for_each(|index| outside[*index] = true);
    while let Some(index) = stack.pop() {
        for next in beside(index, w, mask.len()) {
            if !mask[next] && !outside[next] {
                outside[next] = true;
                stack.push(next);
            }
        }
    }
    mask.iter_mut().zip(&outside).for_each(|(inside, outside)| *inside = !outside);
}
