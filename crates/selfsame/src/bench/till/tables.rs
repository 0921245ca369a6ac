//! A run's tables as Markdown, for a page like docs/benchmarks.md.

use std::fmt::Write;

use super::flow::Flow;
use super::report::Report;
use super::setting::{Knob, Setting};
use super::stages::Part;
use crate::bench::statistics::{Quantile, Sample};

/// Parts of a payment whose times are told one by one: whatever is no order, no permission, and no waiting for people.
const PARTS: [(Part, &str); 21] = [
    (Part::Call, "interface called, less the waking"),
    (Part::Wake, "verification program woken"),
    (Part::Candidates, "verification opened, candidates selected (server)"),
    (Part::Capture, "payer asked until the sample is there"),
    (Part::Seal, "frames sealed and signed"),
    (Part::Open, "frames opened and decoded (matcher)"),
    (Part::Detection, "face found and measured (matcher)"),
    (Part::AttackDetection, "looked for attacks (matcher)"),
    (Part::Extraction, "template made, as far as it took longer (matcher)"),
    (Part::Comparison, "compared (matcher)"),
    (Part::Verdict, "sent, decided, stored (server, less the matcher)"),
    (Part::Ask, "register asks for the code and has the answer, less the two below"),
    (Part::Code, "code asked for and issued (server)"),
    (Part::Handover, "code given to the register"),
    (Part::Queue, "charge: queue"),
    (Part::Load, "charge: reading"),
    (Part::Decide, "charge: deciding"),
    (Part::Commit, "charge: writing and syncing"),
    (Part::Charge, "charge: the rest at the server"),
    (Part::Till, "charge: till and connection"),
    (Part::Typing, "payer types"),
];

/// All tables of a run.
pub fn tables(report: &Report) -> String {
    [waits(report), held_against(report), parts(report)].join("\n")
}

fn words(setting: &Setting) -> String {
    match (setting.knob, setting.fixed_ms()) {
        (Knob::Processing, Some(ms)) if ms > 0 => format!("processing {} s", ms as f64 / 1000.0),
        (Knob::Network, Some(ms)) if ms > 0 => format!("network {} s", ms as f64 / 1000.0),
        _ => setting.words(),
    }
}

/// A ratio with its interval; whatever may be 1 is no gain.
fn ratio(quantile: &Quantile) -> String {
    let end = |end: Option<f64>| end.map_or("?".to_owned(), |end| format!("{end:.2}"));
    let gain = if quantile.from.is_some_and(|from| from > 1.0) { "" } else { ": **no gain**" };
    format!("{:.2} ({} to {}){gain}", quantile.value, end(quantile.from), end(quantile.to))
}

fn waits(report: &Report) -> String {
    let mut text = String::from("| |");
    for flow in Flow::ALL {
        let _ = write!(text, " {} |", flow.words());
    }
    text.push_str(" conventional : general code from the last item, 95 % interval |\n|");
    text.push_str(&"---|".repeat(Flow::ALL.len() + 2));
    for (index, setting) in report.settings.iter().enumerate() {
        let _ = write!(text, "\n| {} |", words(setting));
        for flow in Flow::ALL {
            match report.figures(index, flow) {
                Some(figures) => {
                    let _ = write!(text, " {:.2} |", figures.wait_ms[0].value / 1000.0);
                }
                None => text.push_str(" |"),
            }
        }
        let gained =
            report.figures(index, Flow::GeneralLast).and_then(|figures| figures.conventional_to_this);
        let _ = write!(text, " {} |", gained.as_ref().map(ratio).unwrap_or_default());
    }
    text.push('\n');
    text
}

fn held_against(report: &Report) -> String {
    let mut text = String::from("| held against | figure |\n|---|---|\n");
    for flow in Flow::ALL {
        let (met, all) = report.as_expected(flow);
        let Some(Quantile { value, from, to }) = report.to_expected(flow) else { continue };
        let ends = [from, to].map(|end| end.map_or("?".to_owned(), |end| format!("{end:.3}")));
        let _ = writeln!(
            text,
            "| {}: wait within 5 % or 30 ms of what is expected; wait by what is expected | {met} of {all} settings; \
             {value:.3} ({} to {}) |",
            flow.words(),
            ends[0],
            ends[1],
        );
    }
    for check in report.checks() {
        let _ = writeln!(text, "| {} | {} |", check.name, check.told());
    }
    text
}

fn parts(report: &Report) -> String {
    let mut text = String::from("| milliseconds | p50 | p95 | p99 | payments |\n|---|---|---|---|---|\n");
    for (part, words) in PARTS {
        let sample = Sample::new(report.parts_ms(part));
        let values = [0.5, 0.95, 0.99].map(|share| sample.quantile(share));
        let [Some(p50), Some(p95), Some(p99)] = values else { continue };
        let _ = writeln!(
            text,
            "| {words} | {:.2} | {:.2} | {:.2} | {} |",
            p50.value,
            p95.value,
            p99.value,
            sample.count()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_that_may_be_one_is_told_as_no_gain() {
        let gained = Quantile { value: 1.5, from: Some(1.4), to: Some(1.6) };
        assert_eq!(ratio(&gained), "1.50 (1.40 to 1.60)");
        for from in [Some(0.98), None] {
            let unsure = Quantile { value: 1.02, from, to: None };
            assert!(ratio(&unsure).ends_with("to ?): **no gain**"), "{}", ratio(&unsure));
        }
    }
}
