//! Plots for reports: one drawing, written as SVG and as PNG. No library draws them (ADR 0034).

mod chart;
mod font;
mod raster;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;

pub use chart::{Bars, Chart, Curve, Row, Segment};

/// Pixels of the PNG for each unit of the drawing: 1,600 pixels fill a page's width in print.
const PNG_SCALE: f64 = 2.0;

/// What browsers and word processors take for the SVG's text.
const FAMILY: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// A place on the drawing; x to the right, y downwards.
pub type Point = (f64, f64);

/// A colour, red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Text and axes.
    pub const INK: Colour = Colour([40, 40, 40]);
    /// Said less loudly.
    pub const GREY: Colour = Colour([110, 110, 110]);
    /// Lines of the grid.
    pub const FAINT: Colour = Colour([222, 222, 222]);
    /// Colours that people with any colour vision tell apart. Source: Okabe and Ito, Color Universal Design, 2008.
    pub const SERIES: [Colour; 7] = [
        Colour([213, 94, 0]),
        Colour([230, 159, 0]),
        Colour([0, 114, 178]),
        Colour([0, 158, 115]),
        Colour([204, 121, 167]),
        Colour([86, 180, 233]),
        Colour([120, 120, 120]),
    ];

    fn hex(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Where a text's given place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its beginning.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// What a drawing is made of.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A filled polygon.
    Area {
        /// Its corners.
        corners: Vec<Point>,
        /// Its colour.
        colour: Colour,
        /// 0 to 1.
        opacity: f64,
    },
    /// A line through points.
    Line {
        /// The points.
        points: Vec<Point>,
        /// Its colour.
        colour: Colour,
        /// Its width.
        width: f64,
        /// Whether it has gaps.
        dashed: bool,
    },
    /// A line of text.
    Text {
        /// Where.
        at: Point,
        /// What.
        text: String,
        /// Its size, in units of the drawing.
        size: f64,
        /// What of it is at the place.
        anchor: Anchor,
        /// Its colour.
        colour: Colour,
        /// Whether it is turned to read upwards.
        upwards: bool,
    },
}

/// A drawing of a size on white paper.
#[derive(Clone, Debug)]
pub struct Drawing {
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
}

impl Drawing {
    /// Nothing drawn yet.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    /// Draws over what is there.
    pub fn add(&mut self, shape: Shape) {
        self.shapes.push(shape);
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, from: Point, to: Point, colour: Colour, opacity: f64) {
        let corners = vec![from, (to.0, from.1), to, (from.0, to.1)];
        self.add(Shape::Area { corners, colour, opacity });
    }

    /// A line.
    pub fn line(&mut self, points: Vec<Point>, colour: Colour, width: f64, dashed: bool) {
        self.add(Shape::Line { points, colour, width, dashed });
    }

    /// A text that reads to the right.
    pub fn text(&mut self, at: Point, text: &str, size: f64, anchor: Anchor, colour: Colour) {
        self.add(Shape::Text { at, text: text.to_owned(), size, anchor, colour, upwards: false });
    }

    /// How wide a text is, as far as is known of the font that draws it.
    pub fn text_width(text: &str, size: f64) -> f64 {
        font::width(text, size)
    }

    /// As SVG.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let (width, height) = (self.width, self.height);
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" font-family=\"{FAMILY}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
        );
        for shape in &self.shapes {
            shape.write_svg(&mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// As PNG.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        let mut canvas = raster::Canvas::new(self.width * PNG_SCALE, self.height * PNG_SCALE);
        for shape in &self.shapes {
            shape.paint(&mut canvas);
        }
        canvas.png()
    }

    /// Writes both beside each other, `name.svg` and `name.png`.
    pub fn save(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        for (ending, bytes) in [("svg", self.svg().into_bytes()), ("png", self.png()?)] {
            let path = folder.join(format!("{name}.{ending}"));
            fs::write(&path, bytes).with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn svg_points(points: &[Point]) -> String {
    let places: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    places.join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Lengths of dash and gap, in widths of the line.
const DASH: [f64; 2] = [4.0, 3.0];

impl Shape {
    fn write_svg(&self, svg: &mut String) {
        let _ = match self {
            Shape::Area { corners, colour, opacity } => {
                let (points, fill) = (svg_points(corners), colour.hex());
                writeln!(svg, "<polygon points=\"{points}\" fill=\"{fill}\" fill-opacity=\"{opacity}\"/>")
            }
            Shape::Line { points, colour, width, dashed } => {
                let dash = if *dashed {
                    format!(" stroke-dasharray=\"{} {}\"", DASH[0] * width, DASH[1] * width)
                } else {
                    String::new()
                };
                writeln!(
                    svg,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" \
                     stroke-linejoin=\"round\"{dash}/>",
                    svg_points(points),
                    colour.hex()
                )
            }
            Shape::Text { at: (x, y), text, size, anchor, colour, upwards } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                let turned = if *upwards {
                    format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"")
                } else {
                    String::new()
                };
                writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
                     fill=\"{}\"{turned}>{}</text>",
                    colour.hex(),
                    escaped(text)
                )
            }
        };
    }

    fn paint(&self, canvas: &mut raster::Canvas) {
        let scaled = |points: &[Point]| -> Vec<Point> {
            points.iter().map(|(x, y)| (x * PNG_SCALE, y * PNG_SCALE)).collect()
        };
        match self {
            Shape::Area { corners, colour, opacity } => canvas.fill(&[scaled(corners)], *colour, *opacity),
            Shape::Line { points, colour, width, dashed } => {
                let width = width * PNG_SCALE;
                let points = scaled(points);
                let lines = if *dashed {
                    raster::dashes(&points, DASH.map(|part| part * width))
                } else {
                    vec![points]
                };
                canvas.stroke(&lines, width, *colour);
            }
            Shape::Text { at, text, size, anchor, colour, upwards } => {
                let at = (at.0 * PNG_SCALE, at.1 * PNG_SCALE);
                canvas.fill(&font::outlines(text, at, size * PNG_SCALE, *anchor, *upwards), *colour, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing() -> Drawing {
        let mut drawing = Drawing::new(60.0, 40.0);
        drawing.rectangle((10.0, 10.0), (30.0, 30.0), Colour([255, 0, 0]), 1.0);
        drawing.text((5.0, 38.0), "a < b & c", 6.0, Anchor::Start, Colour::INK);
        drawing
    }

    #[test]
    fn the_picture_has_the_drawings_colours_in_their_places() {
        let png = drawing().png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (120, 80));
        let pixel = |x: usize, y: usize| &pixels[(y * 120 + x) * 3..][..3];
        assert_eq!(pixel(40, 40), [255, 0, 0]);
        assert_eq!(pixel(2, 2), [255, 255, 255]);
        // Some of the text is there: dark pixels below the rectangle.
        let dark =
            (64..80).flat_map(|y| (0..120).map(move |x| (x, y))).filter(|(x, y)| pixel(*x, *y)[0] < 90);
        assert!(dark.count() > 20);
    }

    #[test]
    fn text_in_the_svg_is_text_and_escaped() {
        let svg = drawing().svg();
        assert!(svg.contains(">a &lt; b &amp; c</text>"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
