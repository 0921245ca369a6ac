//! Rectangles, five points, and the placement that brings points onto others.

use crate::color_image::Affine;

/// Five points of a face in pixels, x and y: the eye on the left of the picture, the eye on the right, the tip of the
/// nose, the mouth corner on the left, the mouth corner on the right.
pub type Points = [[f32; 2]; 5];

/// A rectangle in pixels; may reach outside of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectangle {
    /// Left edge.
    pub left: f32,
    /// Upper edge.
    pub top: f32,
    /// Width, above 0.
    pub width: f32,
    /// Height, above 0.
    pub height: f32,
}

impl Rectangle {
    /// Its centre.
    pub fn centre(&self) -> [f32; 2] {
        [self.left + self.width / 2.0, self.top + self.height / 2.0]
    }

    /// The longer side.
    pub fn side(&self) -> f32 {
        self.width.max(self.height)
    }

    /// Common area by total area, 0 to 1.
    pub fn overlap(&self, other: &Rectangle) -> f32 {
        let common =
            |a: f32, a_size: f32, b: f32, b_size: f32| ((a + a_size).min(b + b_size) - a.max(b)).max(0.0);
        let both = common(self.left, self.width, other.left, other.width)
            * common(self.top, self.height, other.top, other.height);
        both / (self.width * self.height + other.width * other.height - both).max(f32::MIN_POSITIVE)
    }

    /// The share of its area that lies in a picture, 0 to 1.
    pub fn inside(&self, width_px: u32, height_px: u32) -> f32 {
        let picture = Rectangle { left: 0.0, top: 0.0, width: width_px as f32, height: height_px as f32 };
        let common =
            |a: f32, a_size: f32, b: f32, b_size: f32| ((a + a_size).min(b + b_size) - a.max(b)).max(0.0);
        common(self.left, self.width, picture.left, picture.width)
            * common(self.top, self.height, picture.top, picture.height)
            / (self.width * self.height).max(f32::MIN_POSITIVE)
    }
}

/// The map from a new picture, where the points lie at `to`, into the old one, where they lie at `from`: turned,
/// scaled and shifted, but not mirrored, so that the squared distances are smallest (Umeyama 1991). `None` if the
/// points are one point.
pub(super) fn similarity(from: &Points, to: &Points) -> Option<Affine> {
    let mean = |points: &Points| {
        let sum = points.iter().fold([0.0; 2], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
        [sum[0] / 5.0, sum[1] / 5.0]
    };
    // Fitted from old to new, as usual for this alignment, then inverted; both differ where the fit is not exact.
    let (from_mean, to_mean) = (mean(from), mean(to));
    let (mut dot, mut cross, mut spread) = (0.0f32, 0.0f32, 0.0f32);
    for (from, to) in from.iter().zip(to) {
        let (x, y) = (from[0] - from_mean[0], from[1] - from_mean[1]);
        let (u, v) = (to[0] - to_mean[0], to[1] - to_mean[1]);
        dot += x * u + y * v;
        cross += x * v - y * u;
        spread += x * x + y * y;
    }
    let length = dot * dot + cross * cross;
    if !length.is_normal() || !spread.is_normal() {
        return None;
    }
    // New = [[a, -b], [b, a]] * old + shift with a = dot / spread, b = cross / spread.
    let (a, b) = (dot * spread / length, cross * spread / length);
    let map = Affine {
        xx: a,
        xy: b,
        x0: from_mean[0] - a * to_mean[0] - b * to_mean[1],
        yx: -b,
        yy: a,
        y0: from_mean[1] + b * to_mean[0] - a * to_mean[1],
    };
    [map.xx, map.xy, map.x0, map.y0].iter().all(|value| value.is_finite()).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: Points = [[40.0, 59.0], [87.0, 59.0], [64.0, 82.0], [45.0, 105.0], [84.0, 105.0]];

    #[test]
    fn a_turned_and_scaled_face_is_brought_back_exactly() {
        // Old = 3 * turn(30 degrees) * new + (100, 50).
        let (sin, cos) = 30f32.to_radians().sin_cos();
        let place = |[x, y]: [f32; 2]| [3.0 * (cos * x - sin * y) + 100.0, 3.0 * (sin * x + cos * y) + 50.0];
        let map = similarity(&TEMPLATE.map(place), &TEMPLATE).unwrap();
        for (got, expected) in
            [(map.xx, 3.0 * cos), (map.xy, -3.0 * sin), (map.yx, 3.0 * sin), (map.yy, 3.0 * cos)]
        {
            assert!((got - expected).abs() < 1e-4, "{map:?}");
        }
        assert!((map.x0 - 100.0).abs() < 1e-2 && (map.y0 - 50.0).abs() < 1e-2, "{map:?}");
    }

    #[test]
    fn points_that_are_one_have_no_placement() {
        assert!(similarity(&[[7.0, 7.0]; 5], &TEMPLATE).is_none());
        assert!(similarity(&[[f32::NAN, 7.0]; 5], &TEMPLATE).is_none());
    }

    #[test]
    fn overlap_and_inside_are_shares() {
        let square = |left: f32| Rectangle { left, top: 0.0, width: 10.0, height: 10.0 };
        assert!((square(0.0).overlap(&square(5.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert!(square(0.0).overlap(&square(20.0)).abs() < 1e-6);
        assert!((square(-5.0).inside(100, 100) - 0.5).abs() < 1e-6);
    }
}
