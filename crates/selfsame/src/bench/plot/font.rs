//! Letters as polygons, for the PNG.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{Anchor, Point};

/// Outlines of strokes that were drawn for this; its head says how.
const OUTLINES: &str = include_str!("outlines.txt");

/// Units of the outlines in an em.
const EM: f64 = 1000.0;

/// Drawn for a character that has no outline.
const UNKNOWN: char = '?';

struct Glyph {
    advance: f64,
    contours: Vec<Vec<Point>>,
}

fn glyphs() -> &'static BTreeMap<char, Glyph> {
    static GLYPHS: OnceLock<BTreeMap<char, Glyph>> = OnceLock::new();
    GLYPHS.get_or_init(|| OUTLINES.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect())
}

fn parse(line: &str) -> Option<(char, Glyph)> {
    let mut fields = line.split('|');
    let character = char::from_u32(fields.next()?.parse().ok()?)?;
    let advance = fields.next()?.parse().ok()?;
    let point = |text: &str| {
        let (x, y) = text.split_once(',')?;
        Some((x.parse().ok()?, y.parse().ok()?))
    };
    let contours = fields.map(|contour| contour.split(' ').filter_map(point).collect()).collect();
    Some((character, Glyph { advance, contours }))
}

fn glyph(character: char) -> Option<&'static Glyph> {
    glyphs().get(&character).or_else(|| glyphs().get(&UNKNOWN))
}

/// Width of a text.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().filter_map(glyph).map(|glyph| glyph.advance).sum::<f64>() * size / EM
}

/// The contours of a text at a place of the paper.
pub(super) fn outlines(text: &str, at: Point, size: f64, anchor: Anchor, upwards: bool) -> Vec<Vec<Point>> {
    let scale = size / EM;
    let mut pen = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -width(text, size) / 2.0,
        Anchor::End => -width(text, size),
    };
    let mut contours = Vec::new();
    for glyph in text.chars().filter_map(glyph) {
        let placed = |(x, y): &Point| {
            let (right, up) = (pen + x * scale, y * scale);
            if upwards { (at.0 - up, at.1 - right) } else { (at.0 + right, at.1 - up) }
        };
        contours.extend(glyph.contours.iter().map(|contour| contour.iter().map(placed).collect()));
        pen += glyph.advance * scale;
    }
    contours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_an_outline() {
        for character in (' '..='~').chain("±×–→≤≥µ".chars()) {
            let glyph = glyphs().get(&character).unwrap_or_else(|| panic!("no outline of `{character}`"));
            assert!(glyph.advance > 0.0);
            assert_eq!(glyph.contours.is_empty(), character == ' ', "`{character}`");
            assert!(glyph.contours.iter().all(|contour| contour.len() >= 3), "`{character}`");
        }
    }

    #[test]
    fn an_anchor_is_where_the_text_begins_or_ends() {
        let right = |anchor| {
            let contours = outlines("Ha", (100.0, 50.0), 20.0, anchor, false);
            contours.iter().flatten().map(|(x, _)| *x).fold(f64::MIN, f64::max)
        };
        assert!(right(Anchor::Start) > 115.0 && right(Anchor::End) <= 100.0);
    }
}
