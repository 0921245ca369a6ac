//! Charts: curves with bands of uncertainty, and bars of stages.

use super::{Anchor, Colour, Drawing, Point};

/// Sizes of text, in units of the drawing. On a page's width of 170 mm, 800 units wide, 12 units are 7 points.
const TITLE_SIZE: f64 = 16.0;
const LABEL_SIZE: f64 = 13.0;
const TICK_SIZE: f64 = 12.0;

/// How many marks an axis has at most.
const TICKS_MAX: f64 = 6.0;

/// Opacity of a band, so that two that overlap are both seen.
const BAND_OPACITY: f64 = 0.18;

/// A line of a chart.
pub struct Curve {
    /// What it is.
    pub name: String,
    /// Its colour.
    pub colour: Colour,
    /// Its points, x and y.
    pub points: Vec<Point>,
    /// Where the truth may lie: x, lowest, highest. Empty where nothing is uncertain.
    pub band: Vec<(f64, f64, f64)>,
    /// Computed, not measured.
    pub dashed: bool,
}

/// Curves over a common pair of axes that begin at zero.
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// What is along, with its unit.
    pub x_label: String,
    /// What is up, with its unit.
    pub y_label: String,
    /// The highest y that is shown; else what the curves need.
    pub y_max: Option<f64>,
    /// The curves, the last one on top.
    pub curves: Vec<Curve>,
}

/// The distance of marks on an axis that ends at `max`: 1, 2 or 5 times a power of ten.
fn tick_step(max: f64) -> f64 {
    let rough = max / TICKS_MAX;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| power * factor >= rough * 0.999);
    power * factor.unwrap_or(10.0)
}

fn tick_text(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 { 0 } else { (-step.log10()).ceil() as usize };
    format!("{value:.decimals$}")
}

/// A pair of axes on the paper.
struct Axes {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    x_max: f64,
    y_max: f64,
}

impl Axes {
    fn place(&self, (x, y): Point) -> Point {
        let along = self.left + (self.right - self.left) * (x / self.x_max);
        let up = self.bottom - (self.bottom - self.top) * (y / self.y_max).clamp(0.0, 1.0);
        (along, up)
    }

    fn draw_x(&self, drawing: &mut Drawing, label: &str) {
        let step = tick_step(self.x_max);
        for index in 0..=(self.x_max / step + 0.001) as usize {
            let value = index as f64 * step;
            let (x, _) = self.place((value, 0.0));
            drawing.line(vec![(x, self.top), (x, self.bottom)], Colour::FAINT, 1.0, false);
            let at = (x, self.bottom + TICK_SIZE + 5.0);
            drawing.text(at, &tick_text(value, step), TICK_SIZE, Anchor::Middle, Colour::INK);
        }
        let middle = (self.left + self.right) / 2.0;
        let at = (middle, self.bottom + TICK_SIZE + LABEL_SIZE + 12.0);
        drawing.text(at, label, LABEL_SIZE, Anchor::Middle, Colour::INK);
    }

    fn draw_y(&self, drawing: &mut Drawing, label: &str) {
        let step = tick_step(self.y_max);
        for index in 0..=(self.y_max / step + 0.001) as usize {
            let value = index as f64 * step;
            let (_, y) = self.place((0.0, value));
            drawing.line(vec![(self.left, y), (self.right, y)], Colour::FAINT, 1.0, false);
            let at = (self.left - 7.0, y + TICK_SIZE * 0.36);
            drawing.text(at, &tick_text(value, step), TICK_SIZE, Anchor::End, Colour::INK);
        }
        drawing.add(super::Shape::Text {
            at: (self.left - 40.0, (self.top + self.bottom) / 2.0),
            text: label.to_owned(),
            size: LABEL_SIZE,
            anchor: Anchor::Middle,
            colour: Colour::INK,
            upwards: true,
        });
    }

    fn draw_frame(&self, drawing: &mut Drawing) {
        let corner = (self.left, self.bottom);
        drawing.line(vec![(self.left, self.top), corner, (self.right, self.bottom)], Colour::INK, 1.4, false);
    }
}

impl Chart {
    /// Draws it within these corners of the paper.
    pub fn draw(&self, drawing: &mut Drawing, from: Point, to: Point) {
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let bands = self.curves.iter().flat_map(|curve| curve.band.iter().map(|(_, _, high)| *high));
        let x_max = all().map(|(x, _)| *x).fold(f64::MIN_POSITIVE, f64::max);
        let y_needed = all().map(|(_, y)| *y).chain(bands).fold(f64::MIN_POSITIVE, f64::max);
        let y_max = self.y_max.unwrap_or(y_needed * 1.05);
        let axes = Axes {
            left: from.0 + 58.0,
            top: from.1 + 34.0,
            right: to.0 - 14.0,
            bottom: to.1 - 46.0,
            x_max,
            y_max,
        };
        drawing.text((axes.left, from.1 + 18.0), &self.title, TITLE_SIZE, Anchor::Start, Colour::INK);
        axes.draw_x(drawing, &self.x_label);
        axes.draw_y(drawing, &self.y_label);
        for curve in self.curves.iter().filter(|curve| curve.band.len() > 1) {
            let low = curve.band.iter().map(|(x, low, _)| axes.place((*x, *low)));
            let high = curve.band.iter().rev().map(|(x, _, high)| axes.place((*x, *high)));
            let corners = low.chain(high).collect();
            drawing.add(super::Shape::Area { corners, colour: curve.colour, opacity: BAND_OPACITY });
        }
        for curve in &self.curves {
            // What lies above the chart is left out, not squeezed in at its edge.
            let shown = curve.points.iter().take_while(|(_, y)| *y <= y_max);
            let points: Vec<Point> = shown.map(|point| axes.place(*point)).collect();
            if !curve.dashed {
                for (x, y) in &points {
                    drawing.rectangle((x - 3.0, y - 3.0), (x + 3.0, y + 3.0), curve.colour, 1.0);
                }
            }
            let width = if curve.dashed { 1.3 } else { 2.2 };
            drawing.line(points, curve.colour, width, curve.dashed);
        }
        axes.draw_frame(drawing);
    }

    /// Draws what each curve is, one below the other; answers where the last one ended.
    pub fn draw_legend(&self, drawing: &mut Drawing, at: Point) -> f64 {
        let mut y = at.1;
        for curve in &self.curves {
            let middle = y - LABEL_SIZE * 0.35;
            let width = if curve.dashed { 1.3 } else { 2.2 };
            drawing.line(vec![(at.0, middle), (at.0 + 28.0, middle)], curve.colour, width, curve.dashed);
            if !curve.dashed {
                let centre = at.0 + 14.0;
                drawing.rectangle(
                    (centre - 3.0, middle - 3.0),
                    (centre + 3.0, middle + 3.0),
                    curve.colour,
                    1.0,
                );
            }
            drawing.text((at.0 + 36.0, y), &curve.name, LABEL_SIZE, Anchor::Start, Colour::INK);
            y += LABEL_SIZE + 7.0;
        }
        y
    }
}

/// A part of a bar.
pub struct Segment {
    /// Which of the colours and names it has.
    pub kind: usize,
    /// How long it is, in the unit of the axis.
    pub length: f64,
}

/// A bar with its name.
pub struct Row {
    /// What it is.
    pub name: String,
    /// Its parts, from the left.
    pub segments: Vec<Segment>,
    /// Said at its end.
    pub note: String,
}

/// Bars of parts that follow on one another.
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// What is along, with its unit.
    pub x_label: String,
    /// What the kinds of parts are, with their colours.
    pub kinds: Vec<(String, Colour)>,
    /// The bars.
    pub rows: Vec<Row>,
}

/// Height of a bar with the space below it.
const ROW_HEIGHT: f64 = 46.0;
const BAR_HEIGHT: f64 = 26.0;

/// Space for the names of bars, on the left.
const NAMES_WIDTH: f64 = 262.0;

impl Bars {
    /// How high the drawing must be for it.
    pub fn height(&self, width: f64) -> f64 {
        let lines = self.legend_places(width).last().map_or(0, |(_, line)| line + 1);
        34.0 + ROW_HEIGHT * self.rows.len() as f64 + 46.0 + (LABEL_SIZE + 8.0) * lines as f64
    }

    /// Where each name of the legend goes: x, and its line.
    fn legend_places(&self, width: f64) -> Vec<(f64, usize)> {
        let (mut x, mut line) = (20.0, 0);
        let mut places = Vec::new();
        for (name, _) in &self.kinds {
            let wide = 22.0 + Drawing::text_width(name, TICK_SIZE) + 18.0;
            if x + wide > width {
                (x, line) = (20.0, line + 1);
            }
            places.push((x, line));
            x += wide;
        }
        places
    }

    /// Draws it on a paper of this width.
    pub fn draw(&self, drawing: &mut Drawing, width: f64) {
        let whole = |row: &Row| row.segments.iter().map(|segment| segment.length).sum::<f64>();
        let longest = self.rows.iter().map(whole).fold(f64::MIN_POSITIVE, f64::max);
        let bottom = 34.0 + ROW_HEIGHT * self.rows.len() as f64;
        let axes = Axes {
            left: NAMES_WIDTH,
            top: 34.0,
            right: width - 84.0,
            bottom,
            x_max: longest * 1.02,
            y_max: 1.0,
        };
        drawing.text((20.0, 20.0), &self.title, TITLE_SIZE, Anchor::Start, Colour::INK);
        axes.draw_x(drawing, &self.x_label);
        for (index, row) in self.rows.iter().enumerate() {
            let top = axes.top + ROW_HEIGHT * index as f64 + (ROW_HEIGHT - BAR_HEIGHT) / 2.0;
            let text_y = top + BAR_HEIGHT / 2.0 + LABEL_SIZE * 0.36;
            drawing.text((NAMES_WIDTH - 10.0, text_y), &row.name, LABEL_SIZE, Anchor::End, Colour::INK);
            let mut at = 0.0;
            for segment in &row.segments {
                let (from, _) = axes.place((at, 0.0));
                at += segment.length;
                let (to, _) = axes.place((at, 0.0));
                let colour = self.kinds.get(segment.kind).map_or(Colour::GREY, |(_, colour)| *colour);
                drawing.rectangle((from, top), (to, top + BAR_HEIGHT), colour, 1.0);
            }
            let (end, _) = axes.place((at, 0.0));
            drawing.text((end + 8.0, text_y), &row.note, LABEL_SIZE, Anchor::Start, Colour::INK);
        }
        axes.draw_frame(drawing);
        let first = bottom + TICK_SIZE + LABEL_SIZE + 34.0;
        for ((name, colour), (x, line)) in self.kinds.iter().zip(self.legend_places(width)) {
            let y = first + (LABEL_SIZE + 8.0) * line as f64;
            drawing.rectangle((x, y - 11.0), (x + 14.0, y + 2.0), *colour, 1.0);
            drawing.text((x + 20.0, y), name, TICK_SIZE, Anchor::Start, Colour::INK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_marked_in_round_steps() {
        let steps: Vec<f64> = [5.0, 12.0, 0.7, 100.0].into_iter().map(tick_step).collect();
        for (step, wanted) in steps.iter().zip([1.0, 2.0, 0.2, 20.0]) {
            assert!((step - wanted).abs() < 1e-9, "{step} instead of {wanted}");
        }
        assert_eq!(tick_text(0.4, 0.2), "0.4");
        assert_eq!(tick_text(40.0, 20.0), "40");
    }

    #[test]
    fn a_point_is_as_far_along_and_up_as_its_values_say() {
        let axes = Axes { left: 100.0, top: 0.0, right: 300.0, bottom: 50.0, x_max: 4.0, y_max: 10.0 };
        assert_eq!(axes.place((1.0, 5.0)), (150.0, 25.0));
        assert_eq!(axes.place((0.0, 0.0)), (100.0, 50.0));
    }
}
