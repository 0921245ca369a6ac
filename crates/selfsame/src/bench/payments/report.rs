//! What was measured: lines with their rounds, how they compare, and which bars are met.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::bench::load::Figures;
use crate::bench::payments::parts::{
    EDGE, HOT, LIMITED, MAIN, ONE_STATEMENT, ONE_STATEMENT_AWAY, ONE_STATEMENT_AWAY_MANY, OPEN, SERVERS_ONE,
    SERVERS_TWO, STORE_AWAY, TEXTBOOK, TWO_TRIPS, UNIFORM, UNLIMITED,
};
use crate::output;

/// A ratio in hundredths, without floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u64);

impl Ratio {
    pub fn of(value: u64, base: u64) -> Self {
        Self(value * 100 / base.max(1))
    }

    /// Rounded up: of what is better the smaller it is.
    fn of_at_most(value: u64, base: u64) -> Self {
        Self((value * 100).div_ceil(base.max(1)))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

/// Values of all rounds: the one in the middle, or the lower one of two, and how far they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread<T> {
    median: T,
    least: T,
    most: T,
}

impl<T: Copy + Ord> Spread<T> {
    fn of(values: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut sorted: Vec<T> = values.into_iter().collect();
        sorted.sort_unstable();
        let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        Some(Self { median, least: *sorted.first()?, most: *sorted.last()? })
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Spread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { median, least, most } if least == most => write!(f, "{median}"),
            Self { median, least, most } => write!(f, "{median} ({least} to {most})"),
        }
    }
}

/// Milliseconds with one decimal, of microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1_000, self.0 % 1_000 / 100)
    }
}

/// A load in one round, with the baseline that was measured before it.
struct Measured {
    baseline: Option<u64>,
    figures: Figures,
}

impl Measured {
    fn p99_us(&self) -> u64 {
        let [_, p99_us, _] = self.figures.percentiles_us();
        p99_us
    }

    fn to_baseline(&self) -> Option<Ratio> {
        Some(Ratio::of(self.figures.per_second(), self.baseline?))
    }

    fn document(&self) -> Value {
        document(&self.figures, self.baseline)
    }
}

/// A load as JSON, with the baseline that was measured before it.
pub fn document(figures: &Figures, baseline: Option<u64>) -> Value {
    let [p50_us, p99_us, p999_us] = figures.percentiles_us();
    // Not measured is absent, not zero.
    let [cpu_us, cpu_clients_us] = figures.cpu_us().map(|cpu_us| (cpu_us > 0).then_some(cpu_us));
    json!({
        "per_second": figures.per_second(),
        "p50_us": p50_us,
        "p99_us": p99_us,
        "p999_us": p999_us,
        "paid": figures.latencies_us.len(),
        "refused": figures.refused,
        "log_bytes": figures.log_bytes_each(),
        "disk_bytes": figures.disk_bytes_each(),
        "busy_milli_cores": figures.busy_milli_cores,
        "cpu_us": cpu_us,
        "cpu_clients_us": cpu_clients_us,
        "pgbench_tpcb_per_second": baseline,
        "ratio_to_baseline": baseline.map(|tps| Ratio::of(figures.per_second(), tps).to_string()),
    })
}

/// Tells a load in a line.
pub fn tell(name: &str, figures: &Figures, baseline: Option<u64>) {
    let [p50, p99, p999] = figures.percentiles_us().map(Milliseconds);
    let cpu = match figures.cpu_us() {
        [0, _] => String::new(),
        [all, 0] => format!("  processor {all} us each"),
        [server, clients] => format!("  processor {server} us each, clients {clients} us"),
    };
    let log = figures.log_bytes_each().map(|bytes| format!("  log {bytes} bytes each"));
    let busy = figures.busy_milli_cores.map(|busy| format!("  {} processors busy", Ratio::of(busy, 1_000)));
    let ratio = baseline.map(|tps| format!("  {}x pgbench TPC-B", Ratio::of(figures.per_second(), tps)));
    output::note(format_args!(
        "{name:<50} {:>7}/s  p50 {p50} ms  p99 {p99} ms  p99.9 {p999} ms  refused {}{cpu}{}{}{}",
        figures.per_second(),
        figures.refused,
        log.unwrap_or_default(),
        busy.unwrap_or_default(),
        ratio.unwrap_or_default()
    ));
}

/// A load in all rounds.
struct Line {
    name: &'static str,
    rounds: Vec<Measured>,
    deadlocks: Option<u64>,
}

impl Line {
    fn spread<T: Copy + Ord>(&self, of: impl Fn(&Measured) -> Option<T>) -> Option<Spread<T>> {
        Spread::of(self.rounds.iter().filter_map(of))
    }

    fn log_bytes(&self) -> Option<Spread<u64>> {
        self.spread(|measured| measured.figures.log_bytes_each())
    }

    /// The medians, each for itself, and all rounds.
    fn document(&self) -> Value {
        let rounds: Vec<Value> = self.rounds.iter().map(Measured::document).collect();
        let median = |key: &str| {
            Spread::of(rounds.iter().filter_map(|round| round[key].as_u64())).map(|all| all.median)
        };
        let mut document = Map::new();
        for key in
            ["per_second", "p50_us", "p99_us", "p999_us", "log_bytes", "disk_bytes", "busy_milli_cores"]
        {
            document.insert(key.to_owned(), json!(median(key)));
        }
        let ratio = self.spread(Measured::to_baseline).map(|all| all.median.to_string());
        document.insert("ratio_to_baseline".to_owned(), json!(ratio));
        document.insert("deadlocks".to_owned(), json!(self.deadlocks));
        document.insert("rounds".to_owned(), rounds.into());
        Value::Object(document)
    }

    /// A row of a table as documents have it.
    fn row(&self) -> String {
        let per_second = self.spread(|measured| Some(measured.figures.per_second()));
        let p50 = self.spread(|measured| Some(Milliseconds(measured.figures.percentiles_us()[0])));
        let p99 = self.spread(|measured| Some(Milliseconds(measured.p99_us())));
        let busy =
            self.spread(|measured| measured.figures.busy_milli_cores.map(|busy| Ratio::of(busy, 1_000)));
        let cells = [
            shown(per_second),
            shown(self.spread(Measured::to_baseline)),
            shown(p50),
            shown(p99),
            shown(self.log_bytes()),
            shown(busy),
            shown(self.deadlocks),
        ];
        format!("| {} | {} |", self.name, cells.join(" | "))
    }
}

fn shown(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const TABLE_HEAD: &str = "| | payments a second | to pgbench TPC-B | p50, ms | p99, ms | log bytes each | processors busy | \
                          deadlocks |\n|---|---|---|---|---|---|---|---|";

/// What of a load is compared.
#[derive(Clone, Copy, Debug)]
enum Of {
    PerSecond,
    P99,
}

/// What it is compared to, round by round.
#[derive(Clone, Copy, Debug)]
enum To {
    /// The baseline that was measured before it.
    Baseline,
    /// Another line.
    Line(&'static str),
}

/// What a median must be.
#[derive(Clone, Copy, Debug)]
enum Bar {
    AtLeast(Ratio),
    AtMost(Ratio),
}

impl Bar {
    fn is_met(self, ratio: Ratio) -> bool {
        match self {
            Bar::AtLeast(bar) => ratio >= bar,
            Bar::AtMost(bar) => ratio <= bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtLeast(bar) => write!(f, "at least {bar}"),
            Bar::AtMost(bar) => write!(f, "at most {bar}"),
        }
    }
}

struct Comparison {
    name: &'static str,
    line: &'static str,
    to: To,
    of: Of,
    bar: Option<Bar>,
}

const fn compare(name: &'static str, line: &'static str, to: To, of: Of, bar: Option<Bar>) -> Comparison {
    Comparison { name, line, to, of, bar }
}

/// Bytes of PostgreSQL's log for a payment of one leg, at most: what replication and archiving carry.
const LOG_BYTES_MAX: u64 = 900;

/// All that is compared, if it was measured, with the bars of docs/payments.md and docs/postgres.md.
const COMPARISONS: &[Comparison] = &[
    compare("store path to pgbench TPC-B", MAIN, To::Baseline, Of::PerSecond, Some(Bar::AtLeast(Ratio(300)))),
    compare("HTTP edge to pgbench TPC-B", EDGE, To::Baseline, Of::PerSecond, Some(Bar::AtLeast(Ratio(200)))),
    compare("HTTP edge to store path", EDGE, To::Line(MAIN), Of::PerSecond, Some(Bar::AtLeast(Ratio(60)))),
    compare("hot merchant to uniform", HOT, To::Line(UNIFORM), Of::PerSecond, Some(Bar::AtLeast(Ratio(95)))),
    compare("limits of a new site to none", LIMITED, To::Line(UNLIMITED), Of::PerSecond, None),
    compare("5 ms away: store path to pgbench TPC-B", STORE_AWAY, To::Baseline, Of::PerSecond, None),
    compare(
        "5 ms away: store path to one statement, 32",
        STORE_AWAY,
        To::Line(ONE_STATEMENT_AWAY),
        Of::PerSecond,
        None,
    ),
    compare(
        "5 ms away: store path to one statement, 256",
        STORE_AWAY,
        To::Line(ONE_STATEMENT_AWAY_MANY),
        Of::PerSecond,
        None,
    ),
    compare(
        "p99 at 500/s, store path to one statement",
        OPEN,
        To::Line(ONE_STATEMENT),
        Of::P99,
        Some(Bar::AtMost(Ratio(100))),
    ),
    compare("p99 at 500/s, store path to one textbook statement", OPEN, To::Line(TEXTBOOK), Of::P99, None),
    compare(
        "p99 at 500/s, two round trips to one statement",
        TWO_TRIPS,
        To::Line(ONE_STATEMENT),
        Of::P99,
        None,
    ),
    compare(
        "two servers to one",
        SERVERS_TWO,
        To::Line(SERVERS_ONE),
        Of::PerSecond,
        Some(Bar::AtLeast(Ratio(100))),
    ),
];

/// A bar, and what came out.
struct Verdict {
    name: String,
    wanted: String,
    found: String,
    is_met: bool,
}

impl Verdict {
    fn row(&self) -> String {
        let met = if self.is_met { "met" } else { "missed" };
        format!("{met:<7} {:<45} {}, wanted {}", self.name, self.found, self.wanted)
    }

    fn document(&self) -> Value {
        json!({ "bar": self.name, "wanted": self.wanted, "found": self.found, "met": self.is_met })
    }
}

/// All of it.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
    baselines: Vec<u64>,
    facts: Map<String, Value>,
}

impl Report {
    fn line(&mut self, name: &'static str) -> &mut Line {
        let place = self.lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
            self.lines.push(Line { name, rounds: Vec::new(), deadlocks: None });
            self.lines.len() - 1
        });
        &mut self.lines[place]
    }

    fn found(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// Keeps a load of one round, and tells it.
    pub fn take(&mut self, name: &'static str, baseline: Option<u64>, figures: Figures) {
        tell(name, &figures, baseline);
        self.line(name).rounds.push(Measured { baseline, figures });
    }

    /// Keeps how many deadlocks there were in a line's database.
    pub fn deadlocks(&mut self, name: &'static str, count: Option<u64>) {
        self.line(name).deadlocks = count;
    }

    /// Keeps what the baseline came to on the short way.
    pub fn baseline(&mut self, per_second: u64) {
        self.baselines.push(per_second);
    }

    /// Keeps something else that has to be known.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Of all rounds that both lines have.
    fn ratios(&self, comparison: &Comparison) -> Vec<Ratio> {
        let Some(line) = self.found(comparison.line) else { return Vec::new() };
        let ratio = |one: &Measured, other: &Measured| match comparison.of {
            Of::PerSecond => Ratio::of(one.figures.per_second(), other.figures.per_second()),
            Of::P99 => Ratio::of_at_most(one.p99_us(), other.p99_us()),
        };
        match comparison.to {
            To::Baseline => line.rounds.iter().filter_map(Measured::to_baseline).collect(),
            To::Line(other) => {
                let others = self.found(other).into_iter().flat_map(|other| &other.rounds);
                line.rounds.iter().zip(others).map(|(one, other)| ratio(one, other)).collect()
            }
        }
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for comparison in COMPARISONS {
            let (Some(bar), Some(ratios)) = (comparison.bar, Spread::of(self.ratios(comparison))) else {
                continue;
            };
            verdicts.push(Verdict {
                name: comparison.name.to_owned(),
                wanted: bar.to_string(),
                found: ratios.to_string(),
                is_met: bar.is_met(ratios.median),
            });
        }
        if let Some(log_bytes) = self.found(MAIN).and_then(Line::log_bytes) {
            verdicts.push(Verdict {
                name: "log of a payment, store path".to_owned(),
                wanted: format!("at most {LOG_BYTES_MAX} bytes"),
                found: log_bytes.to_string(),
                is_met: log_bytes.median <= LOG_BYTES_MAX,
            });
        }
        let deadlocks: Vec<u64> = self.lines.iter().filter_map(|line| line.deadlocks).collect();
        if !deadlocks.is_empty() {
            let sum: u64 = deadlocks.iter().sum();
            verdicts.push(Verdict {
                name: format!("deadlocks in {} databases", deadlocks.len()),
                wanted: "0".to_owned(),
                found: sum.to_string(),
                is_met: sum == 0,
            });
        }
        verdicts
    }

    /// Everything as a table and lines.
    pub fn text(&self) -> String {
        let mut lines = vec![TABLE_HEAD.to_owned()];
        lines.extend(self.lines.iter().map(Line::row));
        lines.push(String::new());
        for comparison in COMPARISONS {
            if let Some(ratios) = Spread::of(self.ratios(comparison)) {
                lines.push(format!("{:<53} {ratios}", comparison.name));
            }
        }
        for (name, value) in &self.facts {
            lines.push(format!("{name:<53} {value}"));
        }
        lines.push(String::new());
        lines.extend(self.verdicts().iter().map(Verdict::row));
        lines.join("\n")
    }

    /// Everything as JSON.
    pub fn document(&self) -> Value {
        let ratios = COMPARISONS.iter().filter_map(|comparison| {
            let all = self.ratios(comparison);
            let median = Spread::of(all.iter().copied())?.median.to_string();
            let all: Vec<String> = all.iter().map(Ratio::to_string).collect();
            Some((comparison.name.to_owned(), json!({ "median": median, "all": all })))
        });
        let results = self.lines.iter().map(|line| (line.name.to_owned(), line.document()));
        json!({
            "pgbench_tpcb_per_second": Spread::of(self.baselines.iter().copied()).map(|all| all.median),
            "ratios": ratios.collect::<Map<_, _>>(),
            "results": results.collect::<Map<_, _>>(),
            "facts": self.facts,
            "bars": self.verdicts().iter().map(Verdict::document).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// So many payments in a second, of this latency.
    fn figures(count: usize, latency_us: u64) -> Figures {
        Figures {
            latencies_us: vec![latency_us; count],
            length: Duration::from_secs(1),
            log_bytes: Some(count as u64 * 901),
            ..Figures::default()
        }
    }

    fn met(report: &Report) -> Vec<(String, bool)> {
        report.verdicts().into_iter().map(|verdict| (verdict.name, verdict.is_met)).collect()
    }

    #[test]
    fn bars_are_judged_by_the_median_of_the_rounds() {
        let mut report = Report::default();
        for (count, baseline) in [(300, 100), (299, 100), (400, 100)] {
            report.take(MAIN, Some(baseline), figures(count, 10));
        }
        report.deadlocks(MAIN, Some(0));
        assert_eq!(
            met(&report),
            [
                ("store path to pgbench TPC-B".to_owned(), true),
                ("log of a payment, store path".to_owned(), false),
                ("deadlocks in 1 databases".to_owned(), true),
            ]
        );
        for _ in 0..2 {
            report.take(MAIN, Some(100), figures(200, 10));
        }
        report.deadlocks(MAIN, Some(1));
        assert!(met(&report).iter().all(|(_, is_met)| !is_met), "{:?}", met(&report));
    }

    #[test]
    fn lines_are_compared_round_by_round_and_what_was_not_measured_is_left_out() {
        let mut report = Report::default();
        for (ours, theirs) in [(20, 10), (9, 10), (10, 10)] {
            report.take(OPEN, None, figures(10, ours));
            report.take(ONE_STATEMENT, None, figures(10, theirs));
        }
        let document = report.document();
        let compared = document["ratios"].as_object().unwrap();
        assert_eq!(compared.len(), 1, "{compared:?}");
        let p99 = &compared["p99 at 500/s, store path to one statement"];
        assert_eq!(*p99, json!({ "median": "1.00", "all": ["2.00", "0.90", "1.00"] }));
        assert_eq!(document["bars"][0]["met"], true);
        assert_eq!(document["results"][OPEN]["rounds"].as_array().unwrap().len(), 3);
        assert!(report.text().contains("1.00 (0.90 to 2.00), wanted at most 1.00"), "{}", report.text());
    }

    #[test]
    fn a_spread_takes_the_lower_of_two_in_the_middle() {
        let spread = Spread::of([4, 1, 3, 2]).unwrap();
        assert_eq!(spread, Spread { median: 2, least: 1, most: 4 });
        assert_eq!(spread.to_string(), "2 (1 to 4)");
        assert_eq!(Spread::of([5]).unwrap().to_string(), "5");
        assert_eq!(Spread::<u64>::of([]), None);
    }
}
