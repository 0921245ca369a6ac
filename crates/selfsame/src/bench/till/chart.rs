//! The plots of a run.

use std::path::Path;

use super::flow::Flow;
use super::report::Report;
use super::setting::Knob;
use super::stages::Group;
use crate::bench::plot::{Anchor, Bars, Chart, Colour, Curve, Drawing, Row, Segment};

/// Size of the plot of waits, and of the bars of stages.
const WAIT_SIZE: (f64, f64) = (1_000.0, 580.0);
const STAGES_WIDTH: f64 = 1_000.0;

/// The delay at which stages are shown: the longest up to this one, in milliseconds.
const STAGES_DELAY_MS: u64 = 1_000;

/// A group that is shorter than this is not told at the end of a bar, in milliseconds.
const TOLD_MS: f64 = 0.5;

fn colour(flow: Flow) -> Colour {
    Colour::SERIES[match flow {
        Flow::Conventional => 0,
        Flow::ConventionalCached => 1,
        Flow::GeneralLast => 2,
        Flow::GeneralFirst => 3,
        Flow::Barcode => 6,
    }]
}

/// Writes all plots into a folder.
pub fn save(report: &Report, folder: &Path) -> anyhow::Result<()> {
    waits(report).save(folder, "wait")?;
    for knob in [Knob::Processing, Knob::Network] {
        let delays = report.settings.iter().filter(|setting| setting.knob == knob);
        let shown =
            delays.filter_map(|setting| setting.fixed_ms()).filter(|ms| (1..=STAGES_DELAY_MS).contains(ms));
        if let Some(index) = shown.max().and_then(|delay_ms| report.setting(knob, delay_ms)) {
            stages(report, index).save(folder, &format!("stages-{}", knob.as_str()))?;
        }
    }
    Ok(())
}

/// The payer's wait over each knob, in seconds.
fn waits(report: &Report) -> Drawing {
    let mut drawing = Drawing::new(WAIT_SIZE.0, WAIT_SIZE.1);
    let panels = [
        (Knob::Processing, "Merchant's order processing", "order processing, seconds"),
        (Knob::Network, "Merchant's network", "round trip, seconds"),
    ];
    let mut charts: Vec<Chart> =
        panels.iter().map(|(knob, title, x_label)| wait_chart(report, *knob, title, x_label)).collect();
    let highest = |chart: &Chart| {
        let points = chart.curves.iter().flat_map(|curve| &curve.points);
        points.map(|(_, y)| *y).fold(0.0, f64::max)
    };
    // Both panels show the same seconds in the same height.
    let y_max = charts.iter().map(highest).fold(f64::MIN_POSITIVE, f64::max) * 1.06;
    charts.iter_mut().for_each(|chart| chart.y_max = Some(y_max));
    let at = (20.0, 28.0);
    drawing.text(at, "The payer's wait, from the last item until PAID", 20.0, Anchor::Start, Colour::INK);
    let middle = WAIT_SIZE.0 / 2.0;
    charts[0].draw(&mut drawing, (10.0, 44.0), (middle, 424.0));
    charts[1].draw(&mut drawing, (middle, 44.0), (WAIT_SIZE.0 - 6.0, 424.0));
    let end = charts[0].draw_legend(&mut drawing, (40.0, 452.0));
    let note = "Points: median. Bands: 95 % interval of the median. Dashed: computed from the steps of the conventional \
                payments.";
    drawing.text((middle - 40.0, 452.0), "Lower is better.", 13.0, Anchor::Start, Colour::INK);
    for (index, words) in lines(note, 62).iter().enumerate() {
        let y = 472.0 + 18.0 * index as f64;
        drawing.text((middle - 40.0, y), words, 12.0, Anchor::Start, Colour::GREY);
    }
    debug_assert!(end < WAIT_SIZE.1 + 20.0, "the legend is longer than its paper");
    drawing
}

/// A text in lines of at most so many characters.
fn lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].len() + word.len() >= columns {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

fn wait_chart(report: &Report, knob: Knob, title: &str, x_label: &str) -> Chart {
    let mut delays: Vec<u64> = report
        .settings
        .iter()
        .filter(|setting| setting.knob == knob || setting.fixed_ms() == Some(0))
        .filter_map(|setting| setting.fixed_ms())
        .collect();
    delays.sort_unstable();
    let mut curves = Vec::new();
    // The bar code lies where the first item does, and is drawn below it.
    for flow in
        [Flow::Conventional, Flow::ConventionalCached, Flow::Barcode, Flow::GeneralLast, Flow::GeneralFirst]
    {
        let (mut points, mut band, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for delay_ms in &delays {
            let index = report.setting(knob, *delay_ms);
            let Some(figures) = index.and_then(|index| report.figures(index, flow)) else { continue };
            let x = *delay_ms as f64 / 1000.0;
            let wait = figures.wait_ms[0];
            points.push((x, wait.value / 1000.0));
            band.extend(wait.from.zip(wait.to).map(|(from, to)| (x, from / 1000.0, to / 1000.0)));
            expected.push((x, figures.expected_ms / 1000.0));
        }
        let name = flow.words().to_owned();
        if matches!(flow, Flow::Conventional | Flow::GeneralLast) {
            let what = if flow == Flow::Conventional {
                "computed: order + permission + verification + charge"
            } else {
                "computed: max(order, verification) + charge"
            };
            let grey = Colour::INK;
            curves.push(Curve {
                name: what.to_owned(),
                colour: grey,
                points: expected,
                band: vec![],
                dashed: true,
            });
        }
        curves.push(Curve { name, colour: colour(flow), points, band, dashed: false });
    }
    // What was measured first, what was computed last, in the legend; the same order in which they are drawn over.
    curves.sort_by_key(|curve| curve.dashed);
    Chart {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: "payer's wait, seconds".to_owned(),
        y_max: None,
        curves,
    }
}

/// What each flow consists of in one setting.
fn stages(report: &Report, setting: usize) -> Drawing {
    let mut rows = Vec::new();
    for flow in Flow::ALL {
        let groups = report.groups_ms(setting, flow);
        let Some(figures) = report.figures(setting, flow) else { continue };
        let segments: Vec<Segment> = Group::ALL
            .iter()
            .enumerate()
            .filter_map(|(kind, group)| {
                let ms = groups.get(group).copied().filter(|ms| *ms >= TOLD_MS)?;
                Some(Segment { kind, length: ms / 1000.0 })
            })
            .collect();
        let note = format!("{:.2} s", figures.wait_ms[0].value / 1000.0);
        rows.push(Row { name: flow.words().to_owned(), segments, note });
    }
    let palette = [
        Colour([222, 222, 222]),
        Colour([213, 94, 0]),
        Colour([240, 170, 110]),
        Colour([86, 180, 233]),
        Colour([0, 158, 115]),
        Colour([0, 114, 178]),
        Colour([204, 121, 167]),
        Colour([240, 228, 66]),
        Colour([90, 90, 90]),
    ];
    let kinds = Group::ALL.iter().zip(palette).map(|(group, colour)| (group.words().to_owned(), colour));
    let bars = Bars {
        title: format!(
            "What a payment waits for, {} (at the end: the payer's wait)",
            report.settings[setting].words()
        ),
        x_label: "seconds from the payment operation request until PAID, mean".to_owned(),
        kinds: kinds.collect(),
        rows,
    };
    let mut drawing = Drawing::new(STAGES_WIDTH, bars.height(STAGES_WIDTH) + 12.0);
    bars.draw(&mut drawing, STAGES_WIDTH);
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_broken_between_words() {
        let broken = lines("one two three four", 9);
        assert_eq!(broken, ["one two", "three", "four"]);
    }
}
