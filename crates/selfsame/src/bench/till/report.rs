//! What a run came to: figures with intervals, the expectations that they are held against, and a paragraph for people
//! who read no tables.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use super::flow::Flow;
use super::record::Record;
use super::setting::{Knob, Setting};
use super::stages::{Group, Kind, Part};
use crate::bench::statistics::{Quantile, Sample};
use crate::output;

/// How far a wait may be from what is expected of it: so much of it, or so many milliseconds, whichever is more.
const WITHIN_SHARE: f64 = 0.05;
const WITHIN_MS: f64 = 30.0;

/// How much of a payment's time may belong to no stage, in milliseconds.
const UNEXPLAINED_MS: f64 = 5.0;

/// Budgets, in milliseconds: picture to pass (p50, p95), the server's share (p99).
const PASS_MS: [f64; 2] = [1_200.0, 2_500.0];
const SERVER_MS: f64 = 20.0;

/// A run's result.
pub struct Report {
    /// The settings, by index.
    pub settings: Vec<Setting>,
    records: Vec<Record>,
    basket_ms: f64,
}

/// Figures of one flow in one setting, in milliseconds.
#[derive(Serialize)]
pub struct Figures {
    /// Payments.
    pub count: usize,
    /// The payer's wait: p50, p95, p99.
    pub wait_ms: [Quantile; 3],
    /// From the payment operation request to PAID.
    pub request_to_paid_ms: [Quantile; 3],
    /// From the first thing that the payer had to do to PAID.
    pub occupied_ms: [Quantile; 3],
    /// What the wait must be by its steps, in the middle.
    pub expected_ms: f64,
    /// The wait by what is expected of it, payment by payment.
    pub to_expected: Quantile,
    /// Whether it is as expected.
    pub as_expected: bool,
    /// The conventional wait by this one, payment by payment of the same draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conventional_to_this: Option<Quantile>,
    /// What the conventional wait has more than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_ms: Option<Quantile>,
}

/// Steps of a payment of the conventional flow, in milliseconds: each done alone.
#[derive(Clone, Copy)]
struct Alone {
    order: f64,
    permission: f64,
    verification: f64,
    charge: f64,
}

/// Something that is held against bars.
pub struct Check {
    /// What it is.
    pub name: &'static str,
    values: Vec<f64>,
    /// Shares with the milliseconds that they must not exceed.
    bars: Vec<(f64, f64)>,
}

impl Check {
    /// Figures and verdicts.
    pub fn told(&self) -> String {
        let sample = Sample::new(self.values.iter().copied());
        let Some([p50, p95, p99]) = three(self.values.iter().copied()) else { return "-".to_owned() };
        let verdict = |(share, bar): &(f64, f64)| {
            let met = sample.quantile(*share).is_some_and(|quantile| quantile.value <= *bar);
            format!("p{:.0} <= {bar} ms {}", share * 100.0, if met { "met" } else { "MISSED" })
        };
        let verdicts: Vec<String> = self.bars.iter().map(verdict).collect();
        format!(
            "p50 {:.1}, p95 {:.1}, p99 {:.1} ms of {}; {}",
            p50.value,
            p95.value,
            p99.value,
            sample.count(),
            verdicts.join(", ")
        )
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn three(values: impl IntoIterator<Item = f64>) -> Option<[Quantile; 3]> {
    let sample = Sample::new(values);
    Some([sample.quantile(0.5)?, sample.quantile(0.95)?, sample.quantile(0.99)?])
}

impl Alone {
    fn of(record: &Record) -> Self {
        let step = |kind| ms(record.step_us(kind));
        Self {
            order: step(Kind::Order),
            permission: step(Kind::Permission),
            verification: step(Kind::Verification),
            // What follows on the verification: handed over, and charged.
            charge: step(Kind::Charge),
        }
    }

    /// The wait that a flow must come to, if it is what it says of itself.
    fn expected(&self, flow: Flow, basket_ms: f64) -> f64 {
        let Alone { order, permission, verification, charge } = *self;
        match flow {
            Flow::Conventional => order + permission + verification + charge,
            Flow::ConventionalCached => order + verification + charge,
            Flow::GeneralLast => order.max(verification) + charge,
            Flow::GeneralFirst => order.max(verification - basket_ms) + charge,
            Flow::Barcode => order + charge,
        }
    }
}

impl Report {
    /// Of what was recorded.
    pub fn new(settings: Vec<Setting>, records: Vec<Record>, basket: Duration) -> Self {
        Self { settings, records, basket_ms: basket.as_secs_f64() * 1000.0 }
    }

    fn of(&self, setting: usize, flow: Flow) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.setting == setting && record.flow == flow)
    }

    /// The conventional payment that met the same draws.
    fn conventional(&self, record: &Record) -> Option<&Record> {
        self.of(record.setting, Flow::Conventional).find(|other| other.repetition == record.repetition)
    }

    /// Figures of a flow in a setting.
    pub fn figures(&self, setting: usize, flow: Flow) -> Option<Figures> {
        let of = || self.of(setting, flow);
        let wait_ms = three(of().map(|record| ms(record.wait_us)))?;
        // Each payment is held against the steps of the conventional one that met the same draws.
        let pairs: Vec<(f64, f64, f64)> = of()
            .filter_map(|record| {
                let conventional = self.conventional(record)?;
                let expected = Alone::of(conventional).expected(flow, self.basket_ms);
                Some((ms(record.wait_us), expected, ms(conventional.wait_us)))
            })
            .collect();
        let to_expected = Sample::new(pairs.iter().map(|(wait, expected, _)| wait / expected)).median()?;
        let expected_ms = Sample::new(pairs.iter().map(|(_, expected, _)| *expected)).median()?.value;
        let apart = Sample::new(pairs.iter().map(|(wait, expected, _)| wait - expected)).median()?.value;
        let others = pairs.iter().filter(|_| flow != Flow::Conventional);
        Some(Figures {
            count: of().count(),
            wait_ms,
            request_to_paid_ms: three(of().map(|record| ms(record.request_to_paid_us)))?,
            occupied_ms: three(of().map(|record| ms(record.occupied_us)))?,
            expected_ms,
            to_expected,
            as_expected: apart.abs() <= WITHIN_MS || (to_expected.value - 1.0).abs() <= WITHIN_SHARE,
            conventional_to_this: Sample::new(
                others.clone().map(|(wait, _, conventional)| conventional / wait),
            )
            .median(),
            saved_ms: Sample::new(others.map(|(wait, _, conventional)| conventional - wait)).median(),
        })
    }

    /// Mean time of each group on the way from request to PAID, in milliseconds.
    pub fn groups_ms(&self, setting: usize, flow: Flow) -> BTreeMap<Group, f64> {
        let count = self.of(setting, flow).count().max(1) as f64;
        let mut groups = BTreeMap::new();
        for record in self.of(setting, flow) {
            for (group, us) in record.groups_us() {
                *groups.entry(group).or_default() += us as f64 / 1000.0 / count;
            }
        }
        groups
    }

    /// The index of a setting with a fixed delay.
    pub fn setting(&self, knob: Knob, delay_ms: u64) -> Option<usize> {
        let is_it = |setting: &Setting| {
            setting.fixed_ms() == Some(delay_ms) && (setting.knob == knob || delay_ms == 0)
        };
        self.settings.iter().position(is_it)
    }

    /// Prints tables and paragraph.
    pub fn tell(&self) {
        output::note(format_args!(
            "the payer's wait, last item to PAID, ms        n    p50     p95     p99  expected  ratio, 95 % interval     \
             conventional : this"
        ));
        for (index, setting) in self.settings.iter().enumerate() {
            output::note(setting.words());
            for flow in Flow::ALL {
                if let Some(figures) = self.figures(index, flow) {
                    output::note(line(flow, &figures));
                }
            }
        }
        for flow in Flow::ALL {
            let (met, all) = self.as_expected(flow);
            output::note(format_args!(
                "{:<58} as expected within 5 % or 30 ms in {met} of {all} settings",
                flow.words()
            ));
        }
        for check in self.checks() {
            output::note(format_args!("{:<58} {}", check.name, check.told()));
        }
        output::note("");
        output::note(self.paragraph());
    }

    /// In how many settings a flow's wait is as expected, and of how many.
    pub fn as_expected(&self, flow: Flow) -> (usize, usize) {
        let judged = (0..self.settings.len()).filter_map(|index| self.figures(index, flow));
        judged.fold((0, 0), |(met, all), figures| (met + usize::from(figures.as_expected), all + 1))
    }

    /// The waits of a flow in all settings by what is expected of them.
    pub fn to_expected(&self, flow: Flow) -> Option<Quantile> {
        let of = self.records.iter().filter(|record| record.flow == flow);
        let ratios = of.filter_map(|record| {
            let expected = Alone::of(self.conventional(record)?).expected(flow, self.basket_ms);
            Some(ms(record.wait_us) / expected)
        });
        Sample::new(ratios).median()
    }

    /// How long a part took in each payment that had it, in milliseconds.
    pub fn parts_ms(&self, part: Part) -> impl Iterator<Item = f64> {
        self.records.iter().filter_map(move |record| record.parts_us.get(&part).map(|us| ms(*us)))
    }

    /// What is held against bars beside the waits.
    pub fn checks(&self) -> Vec<Check> {
        let all = |of: &dyn Fn(&Record) -> Option<f64>| self.records.iter().filter_map(of).collect();
        vec![
            Check {
                name: "belongs to no stage, either way",
                values: all(&|record| Some((record.unexplained_us as f64 / 1000.0).abs())),
                bars: vec![(0.5, UNEXPLAINED_MS), (0.95, UNEXPLAINED_MS)],
            },
            Check {
                name: "first picture shown -> pass at the register",
                values: all(&|record| record.picture_to_pass_us.map(ms)),
                bars: vec![(0.5, PASS_MS[0]), (0.95, PASS_MS[1])],
            },
            Check {
                name: "payment server's share, without the matcher",
                // A bar code that was there before has part of its share before its clock.
                values: all(&|record| (record.flow != Flow::Barcode).then_some(ms(record.server_us))),
                bars: vec![(0.99, SERVER_MS)],
            },
        ]
    }

    /// In plain language, from the figures.
    pub fn paragraph(&self) -> String {
        let seconds = |setting: usize, flow: Flow| {
            self.figures(setting, flow).map(|figures| figures.wait_ms[0].value / 1000.0)
        };
        let mut text = String::new();
        let slowest = self.settings.iter().filter_map(Setting::fixed_ms).max().unwrap_or_default();
        let of = |knob| self.setting(knob, slowest).filter(|_| slowest > 0);
        if let Some(index) = of(Knob::Processing)
            && let (Some(old), Some(new), Some(cached)) = (
                seconds(index, Flow::Conventional),
                seconds(index, Flow::GeneralLast),
                seconds(index, Flow::ConventionalCached),
            )
        {
            text.push_str(&format!(
                "While the merchant's system took {:.1} s for an order, a payer waited {old:.2} s from the last item to \
                 PAID in the conventional flow ({cached:.2} s with a permission from before) and {new:.2} s with a \
                 general code: the order and the verification go on at the same time. ",
                slowest as f64 / 1000.0
            ));
        }
        if let Some(index) = of(Knob::Network)
            && let (Some(old), Some(new)) =
                (seconds(index, Flow::Conventional), seconds(index, Flow::GeneralLast))
        {
            text.push_str(&format!(
                "With {:.1} s for a round trip over the merchant's network it was {old:.2} s and {new:.2} s: the \
                 conventional flow crosses it twice. ",
                slowest as f64 / 1000.0
            ));
        }
        if let Some(index) = self.setting(Knob::Processing, 0)
            && let (Some(old), Some(new), Some(first), Some(phone)) = (
                seconds(index, Flow::Conventional),
                seconds(index, Flow::GeneralLast),
                seconds(index, Flow::GeneralFirst),
                seconds(index, Flow::Barcode),
            )
        {
            text.push_str(&format!(
                "With a merchant who answers at once there is next to nothing to gain from the last item on: {old:.2} s \
                 and {new:.2} s. Verified while the goods are scanned, the payer waits {first:.2} s. A phone whose bar \
                 code is ready when it is asked for waits {phone:.2} s: against that a general code gains nothing but \
                 the phone."
            ));
        }
        text
    }

    /// Everything.
    pub fn document(&self) -> anyhow::Result<Value> {
        let mut settings = Vec::new();
        for (index, setting) in self.settings.iter().enumerate() {
            let mut flows = serde_json::Map::new();
            for flow in Flow::ALL {
                let Some(figures) = self.figures(index, flow) else { continue };
                let mut value = serde_json::to_value(figures).context("failed to write figures")?;
                let groups = self.groups_ms(index, flow);
                value["stages_ms"] =
                    groups.iter().map(|(group, ms)| (group.words().to_owned(), json!(ms))).collect();
                let name = serde_json::to_value(flow).context("failed to write a flow")?;
                flows.insert(name.as_str().unwrap_or_default().to_owned(), value);
            }
            settings.push(json!({
                "setting": setting.words(),
                "knob": setting.knob.as_str(),
                "delay_ms": setting.fixed_ms(),
                "flows": flows,
            }));
        }
        let mut checks = serde_json::Map::new();
        for Check { name, values, .. } in self.checks() {
            checks.insert(name.to_owned(), json!(three(values)));
        }
        let unexplained = |record: &Record| (record.unexplained_us as f64 / 1000.0).abs();
        let most = Sample::new(self.records.iter().map(unexplained)).max();
        Ok(json!({
            "clocks": {
                "wait_ms": "from the last item, when the payer is asked to pay, until the till says PAID",
                "request_to_paid_ms": "from the payment operation request (the interface is called; without one the \
                                       order is placed) until the till says PAID",
                "occupied_ms": "from the first thing that the payer has to do until the till says PAID",
                "expected_ms": "what the steps of the conventional payment with the same draws come to: their sum, or \
                                for a general code the longer of order and verification, and the charge",
            },
            "settings": settings,
            "checks_ms": checks,
            "unexplained_max_ms": most,
            "paragraph": self.paragraph(),
            "payments": self.records,
        }))
    }
}

fn line(flow: Flow, figures: &Figures) -> String {
    let [p50, p95, p99] = figures.wait_ms.map(|quantile| quantile.value);
    let verdict = if figures.as_expected { "" } else { " NOT AS EXPECTED" };
    let gain = match (figures.conventional_to_this, figures.saved_ms) {
        (Some(ratio), Some(saved)) => format!("{} ({:+.0} ms)", interval(&ratio), -saved.value),
        _ => String::new(),
    };
    format!(
        "  {:<36} {:>9} {p50:>6.0} {p95:>7.0} {p99:>7.0}  {:>8.0}  {:<22}  {gain}{verdict}",
        flow.words(),
        figures.count,
        figures.expected_ms,
        interval(&figures.to_expected)
    )
}

/// A ratio with its interval; an end that is not bounded is left out.
fn interval(quantile: &Quantile) -> String {
    let end = |end: Option<f64>| end.map_or("?".to_owned(), |end| format!("{end:.2}"));
    format!("{:.2} ({} to {})", quantile.value, end(quantile.from), end(quantile.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::till::setting::Delay;

    fn record(flow: Flow, repetition: u32, wait_ms: u64) -> Record {
        let us = |ms: u64| ms * 1000;
        Record {
            setting: 0,
            flow,
            repetition,
            processing_us: us(1_000),
            network_us: 0,
            request_to_paid_us: us(wait_ms),
            wait_us: us(wait_ms),
            occupied_us: us(wait_ms),
            picture_to_pass_us: None,
            steps: vec![
                (Kind::Order, us(1_000)),
                (Kind::Permission, us(100)),
                (Kind::Verification, us(600)),
                (Kind::Charge, us(10)),
            ],
            path: Vec::new(),
            parts_us: BTreeMap::new(),
            unexplained_us: 0,
            server_us: us(5),
        }
    }

    fn report(general_ms: u64) -> Report {
        let mut records = Vec::new();
        for repetition in 0..8 {
            records.push(record(Flow::Conventional, repetition, 1_710));
            records.push(record(Flow::GeneralLast, repetition, general_ms));
        }
        let settings = vec![Setting { knob: Knob::Processing, delay: Delay::Fixed(1_000) }];
        Report::new(settings, records, Duration::from_secs(4))
    }

    #[test]
    fn a_general_code_is_held_against_the_longer_of_order_and_verification() {
        let report = report(1_020);
        let ours = report.figures(0, Flow::GeneralLast).unwrap();
        assert!((ours.expected_ms - 1_010.0).abs() < 1e-9 && ours.as_expected);
        assert!(ours.saved_ms.is_some_and(|saved| (saved.value - 690.0).abs() < 1e-9));
        let old = report.figures(0, Flow::Conventional).unwrap();
        assert!((old.expected_ms - 1_710.0).abs() < 1e-9 && old.as_expected);
        assert!(old.conventional_to_this.is_none());
    }

    #[test]
    fn a_general_code_that_waits_for_the_sum_is_not_as_expected() {
        let ours = report(1_610).figures(0, Flow::GeneralLast).unwrap();
        assert!(!ours.as_expected, "{}", ours.to_expected.value);
    }

    #[test]
    fn steps_that_run_beside_goods_being_scanned_are_not_waited_for() {
        let alone = Alone { order: 50.0, permission: 10.0, verification: 900.0, charge: 5.0 };
        let waits = [Flow::GeneralFirst, Flow::GeneralLast, Flow::Barcode, Flow::ConventionalCached]
            .map(|flow| alone.expected(flow, 600.0));
        assert_eq!(waits.map(|wait| wait as u64), [305, 905, 55, 955]);
    }
}
