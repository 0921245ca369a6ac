//! Sine, arctangent and exponential that are the same bit for bit on every machine.
//!
//! Those of the standard library come from the platform and differ in the last bits from one to the next. The seeds
//! of synthetic fingers name pictures for ever, and a template must not depend on where it was made. Only sums,
//! products and quotients of IEEE 754 are used here, which are exact everywhere; series are evaluated in 64 bits, so
//! results are right to the last place of 32 but for rare ties.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, LOG2_E, PI};

/// Sine and cosine of an angle in radians. Meant for angles within some thousand turns.
pub(crate) fn sin_cos(radians: f32) -> (f32, f32) {
    let radians = f64::from(radians);
    let quarters = (radians / FRAC_PI_2).round();
    let x = radians - quarters * FRAC_PI_2;
    let sq = x * x;
    // Taylor series; at an eighth of a turn the first term left out is below 1e-12.
    let sin =
        x * (1.0 - sq / 6.0 * (1.0 - sq / 20.0 * (1.0 - sq / 42.0 * (1.0 - sq / 72.0 * (1.0 - sq / 110.0)))));
    let cos = 1.0
        - sq / 2.0
            * (1.0
                - sq / 12.0 * (1.0 - sq / 30.0 * (1.0 - sq / 56.0 * (1.0 - sq / 90.0 * (1.0 - sq / 132.0)))));
    let (sin, cos) = match (quarters as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    };
    (sin as f32, cos as f32)
}

/// Angle of the point (x, y) in radians, -PI to PI; 0 for the origin.
pub(crate) fn atan2(y: f32, x: f32) -> f32 {
    let (y, x) = (f64::from(y), f64::from(x));
    let (least, most) = if x.abs() < y.abs() { (x.abs(), y.abs()) } else { (y.abs(), x.abs()) };
    if most == 0.0 {
        return 0.0;
    }
    // An eighth of a turn is cut in half, so that the series converges quickly.
    let folded = least > 0.414_213_562 * most;
    let t = if folded { (least - most) / (least + most) } else { least / most };
    let sq = t * t;
    let mut sum = 0.0;
    for odd in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = 1.0 / odd - sq * sum;
    }
    let eighth = t * sum + if folded { FRAC_PI_4 } else { 0.0 };
    let quarter = if x.abs() < y.abs() { FRAC_PI_2 - eighth } else { eighth };
    let half = if x < 0.0 { PI - quarter } else { quarter };
    (if y < 0.0 { -half } else { half }) as f32
}

/// e to the power of `x`; 0 far below zero.
pub(crate) fn exp(x: f32) -> f32 {
    let x = f64::from(x.clamp(-100.0, 88.0));
    let twos = (x * LOG2_E).round();
    let rest = x - twos * LN_2;
    let mut sum = 1.0;
    for step in [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + rest / step * sum;
    }
    // 2 to the power of `twos`, -144 to 127, by the exponent bits of a 64-bit number.
    let power = f64::from_bits(((1023 + twos as i64) as u64) << 52);
    (sum * power) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_those_of_the_platform() {
        for step in -4_000i32..=4_000 {
            let x = step as f32 * 0.01;
            let (sin, cos) = sin_cos(x);
            assert!((sin - x.sin()).abs() < 1e-6 && (cos - x.cos()).abs() < 1e-6, "{x}");
            let relative = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(relative < 1e-6, "{x}");
            let y = 3.0 - x * 0.7;
            assert!((atan2(y, x) - y.atan2(x)).abs() < 1e-6, "{y} {x}");
            assert!((atan2(x * 0.01, -1.0) - (x * 0.01).atan2(-1.0)).abs() < 1e-6 || step == 0, "{x}");
        }
    }

    #[test]
    fn corners_are_defined() {
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits();
        assert!(same(atan2(0.0, 0.0), 0.0));
        assert!(same(atan2(0.0, -1.0), std::f32::consts::PI));
        assert!(same(atan2(-2.0, 0.0), -std::f32::consts::FRAC_PI_2));
        assert_eq!((exp(-1e9), exp(0.0)), (exp(-100.0), 1.0));
        assert!(exp(-100.0) < 1e-30 && exp(1e9).is_finite());
        assert_eq!(sin_cos(0.0), (0.0, 1.0));
    }
}
