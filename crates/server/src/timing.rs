//! How long the stages of verifications and payments take at this site, counted in memory: how often and how long, and
//! nothing about whose they were. A stage that is over its budget for a whole window is told in the log, once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use selfsame_api::problem::Problem;
use selfsame_api::serve::Json;
use selfsame_domain::time::Timestamp;
use selfsame_domain::timing::{Stage, Timings};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::authentication::Operator;

/// Shortest duration that is told apart, and how many steps double it: steps of 19 %.
const SHORTEST_US: f64 = 50.0;
const STEPS_TO_DOUBLE: f64 = 4.0;

/// So many steps reach three minutes, the longest life of a session.
const BUCKETS: usize = 88;

/// Quantiles are those of this window and the one before it: long enough for a quiet till to have some payments in it,
/// short enough that an alarm comes while the cause is still there.
const WINDOW: Duration = Duration::from_secs(300);

/// Fewer values than this say nothing about a 95th percentile.
const JUDGED_MIN: u64 = 20;

/// What each stage may take in 19 of 20 times. What is missing waits for people.
const BUDGETS: [(Stage, Duration); 14] = [
    // Nothing to see for the payer before the program is awake.
    (Stage::Wake, Duration::from_millis(50)),
    (Stage::Candidates, Duration::from_millis(50)),
    (Stage::Seal, Duration::from_millis(20)),
    (Stage::Open, Duration::from_millis(50)),
    // Together with capture, picture to pass has 2.5 s.
    (Stage::Detection, Duration::from_millis(300)),
    (Stage::AttackDetection, Duration::from_millis(500)),
    (Stage::Extraction, Duration::from_millis(300)),
    (Stage::Comparison, Duration::from_millis(20)),
    (Stage::Code, Duration::from_millis(50)),
    // The charge has 50 ms while verifications run; its parts what leaves room for the others.
    (Stage::Queue, Duration::from_millis(20)),
    (Stage::Load, Duration::from_millis(10)),
    (Stage::Decide, Duration::from_millis(5)),
    (Stage::Commit, Duration::from_millis(30)),
    (Stage::Charge, Duration::from_millis(50)),
];

tokio::task_local! {
    /// When the request that is worked on was received.
    static RECEIVED: Instant;
}

/// Answers a request that has just been received: its head was read, its body was not.
pub(crate) async fn with_receipt<F: Future>(answering: F) -> F::Output {
    RECEIVED.scope(Instant::now(), answering).await
}

/// When the request that is worked on was received; now, for what this server does by itself.
pub(crate) fn received_at() -> Instant {
    RECEIVED.try_with(|at| *at).unwrap_or_else(|_| Instant::now())
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(metrics))
}

fn budget(stage: Stage) -> Option<Duration> {
    BUDGETS.iter().find(|(of, _)| *of == stage).map(|(_, budget)| *budget)
}

/// Durations, counted by how long they were.
#[derive(Clone)]
struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let times = duration.as_micros() as f64 / SHORTEST_US;
        let step = if times <= 1.0 { 0.0 } else { (times.log2() * STEPS_TO_DOUBLE).ceil() };
        self.0[(step as usize).min(BUCKETS - 1)] += 1;
    }

    fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    fn with(&self, other: &Histogram) -> Histogram {
        let mut sum = self.clone();
        sum.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
        sum
    }

    /// What `percent` of the durations do not exceed, rounded up to the next step.
    fn quantile(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut so_far = 0;
        let step = self.0.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        })?;
        let us = SHORTEST_US * 2f64.powf(step as f64 / STEPS_TO_DOUBLE);
        Some(Duration::from_micros(us.round() as u64))
    }

    fn is_over(&self, budget: Duration) -> bool {
        self.count() >= JUDGED_MIN && self.quantile(95).is_some_and(|p95| p95 > budget)
    }
}

/// What is known of a stage.
#[derive(Default)]
struct Meter {
    window: Histogram,
    before: Histogram,
    /// Since the server's start.
    count: u64,
    sum_us: u64,
    /// The alarm was told and not taken back yet.
    alarmed: bool,
}

#[derive(Default)]
struct Meters {
    began: Option<Timestamp>,
    of: BTreeMap<Stage, Meter>,
}

/// All stages of this server.
#[derive(Default)]
pub(crate) struct StageMeters(Mutex<Meters>);

impl StageMeters {
    /// Counts the stages of something that has just been done.
    pub(crate) fn record(&self, timings: &Timings, now: Timestamp) {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.turn(now);
        for (stage, duration) in timings.iter() {
            let meter = meters.of.entry(stage).or_default();
            meter.window.add(duration);
            meter.count += 1;
            let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            meter.sum_us = meter.sum_us.saturating_add(us);
        }
    }

    fn read(&self, now: Timestamp) -> Vec<(StageTiming, u64)> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.turn(now);
        meters.of.iter().map(|(stage, meter)| (meter.read(*stage), meter.sum_us)).collect()
    }
}

impl Meters {
    /// Ends the window if it is over. After a long silence both windows are empty.
    fn turn(&mut self, now: Timestamp) {
        let began = *self.began.get_or_insert(now);
        let lasted = now.since(began);
        if lasted < WINDOW {
            return;
        }
        let long_ago = lasted >= 2 * WINDOW;
        for (stage, meter) in &mut self.of {
            meter.judge(*stage);
            let ended = std::mem::take(&mut meter.window);
            meter.before = if long_ago { Histogram::default() } else { ended };
        }
        self.began = Some(now);
    }
}

impl Meter {
    /// Tells the log when a stage begins to be over its budget, and when it is within it again.
    fn judge(&mut self, stage: Stage) {
        let Some(budget) = budget(stage) else { return };
        if self.window.count() < JUDGED_MIN {
            return;
        }
        let over = self.window.is_over(budget);
        let (p95, budget_ms) = (self.window.quantile(95).unwrap_or_default(), budget.as_millis());
        match (over, self.alarmed) {
            (true, false) => tracing::warn!(
                stage.name = stage.as_str(),
                stage.p95_ms = p95.as_millis(),
                stage.budget_ms = budget_ms,
                "a stage takes longer than its budget"
            ),
            (false, true) => tracing::info!(
                stage.name = stage.as_str(),
                stage.p95_ms = p95.as_millis(),
                stage.budget_ms = budget_ms,
                "a stage is within its budget again"
            ),
            _ => {}
        }
        self.alarmed = over;
    }

    fn read(&self, stage: Stage) -> StageTiming {
        let recent = self.before.with(&self.window);
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let budget = budget(stage);
        StageTiming {
            stage,
            count: self.count,
            recent: recent.count(),
            p50_us: recent.quantile(50).map(us),
            p95_us: recent.quantile(95).map(us),
            budget_us: budget.map(us),
            over_budget: budget.is_some_and(|budget| recent.is_over(budget)),
        }
    }
}

/// How long a stage takes.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct StageTiming {
    /// Which.
    #[schema(value_type = String)]
    stage: Stage,
    /// How often it happened since the server's start.
    count: u64,
    /// How often in the last five to ten minutes.
    recent: u64,
    /// What half of these did not exceed, microseconds, rounded up by 19 % at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<u64>,
    /// What 19 of 20 of these did not exceed, microseconds, rounded up by 19 % at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_us: Option<u64>,
    /// What the 95th percentile may be; absent of stages that wait for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_us: Option<u64>,
    /// Whether it is more, of twenty values at least.
    over_budget: bool,
}

/// All stages that happened since the start.
#[derive(Serialize, ToSchema)]
struct StageTimings {
    data: Vec<StageTiming>,
}

/// How long each stage of verifications and payments takes, over all of them: no person, account or payment is named.
#[utoipa::path(get, path = "/v1/stage-timings", operation_id = "timing_list", tag = "operator",
    responses((status = 200, body = StageTimings), (status = "4XX", body = Problem)))]
async fn list(State(app): State<AppState>, _: Operator) -> Json<StageTimings> {
    Json(StageTimings { data: app.stages.read(app.now()).into_iter().map(|(timing, _)| timing).collect() })
}

/// The same in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "timing_metrics", tag = "operator",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)))]
async fn metrics(State(app): State<AppState>, _: Operator) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        exposition(&app.stages.read(app.now())),
    )
}

/// Metrics of one kind stay together, as the format wants it.
fn exposition(stages: &[(StageTiming, u64)]) -> String {
    let seconds = |us: u64| us as f64 / 1_000_000.0;
    let mut text = String::from(
        "# HELP selfsame_stage_seconds Stages of verifications and payments, quantiles of the last minutes.\n\
         # TYPE selfsame_stage_seconds summary\n",
    );
    for (timing, sum_us) in stages {
        let stage = timing.stage.as_str();
        for (quantile, us) in [("0.5", timing.p50_us), ("0.95", timing.p95_us)] {
            if let Some(us) = us {
                let value = seconds(us);
                let _ = writeln!(
                    text,
                    "selfsame_stage_seconds{{stage=\"{stage}\",quantile=\"{quantile}\"}} {value}"
                );
            }
        }
        let _ = writeln!(text, "selfsame_stage_seconds_sum{{stage=\"{stage}\"}} {}", seconds(*sum_us));
        let _ = writeln!(text, "selfsame_stage_seconds_count{{stage=\"{stage}\"}} {}", timing.count);
    }
    text.push_str(
        "# HELP selfsame_stage_budget_seconds What the 95th percentile of a stage may be.\n\
         # TYPE selfsame_stage_budget_seconds gauge\n",
    );
    for (timing, _) in stages {
        if let Some(budget_us) = timing.budget_us {
            let (stage, value) = (timing.stage.as_str(), seconds(budget_us));
            let _ = writeln!(text, "selfsame_stage_budget_seconds{{stage=\"{stage}\"}} {value}");
        }
    }
    text.push_str(
        "# HELP selfsame_stage_over_budget 1 if the 95th percentile of a stage is over its budget.\n\
         # TYPE selfsame_stage_over_budget gauge\n",
    );
    for (timing, _) in stages.iter().filter(|(timing, _)| timing.budget_us.is_some()) {
        let (stage, value) = (timing.stage.as_str(), u8::from(timing.over_budget));
        let _ = writeln!(text, "selfsame_stage_over_budget{{stage=\"{stage}\"}} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn charge(ms: u64) -> Timings {
        let mut timings = Timings::default();
        timings.add(Stage::Charge, Duration::from_millis(ms));
        timings
    }

    fn read(meters: &StageMeters, seconds: i64) -> StageTiming {
        meters.read(at(seconds)).remove(0).0
    }

    #[test]
    fn quantiles_are_never_below_what_was_measured_and_a_fifth_above_at_most() {
        for percent in [50u64, 95] {
            let mut histogram = Histogram::default();
            (1..=1000).for_each(|ms| histogram.add(Duration::from_millis(ms)));
            let (found, exact) = (histogram.quantile(percent).unwrap(), Duration::from_millis(percent * 10));
            assert!(found >= exact && found <= exact.mul_f64(1.2), "{percent}: {found:?}");
        }
        assert!(Histogram::default().quantile(50).is_none());
        let mut longest = Histogram::default();
        longest.add(Duration::from_secs(180));
        assert!(longest.quantile(50).unwrap() >= Duration::from_secs(150));
    }

    #[test]
    fn a_stage_is_over_its_budget_only_by_enough_values() {
        let meters = StageMeters::default();
        (1..JUDGED_MIN).for_each(|_| meters.record(&charge(200), at(0)));
        assert!(!read(&meters, 1).over_budget);
        meters.record(&charge(200), at(1));
        assert!(read(&meters, 1).over_budget);
    }

    #[test]
    fn what_was_slow_is_forgotten_after_two_windows_and_the_count_is_not() {
        let meters = StageMeters::default();
        (0..30).for_each(|_| meters.record(&charge(200), at(0)));
        assert_eq!(read(&meters, 301).recent, 30);
        let later = read(&meters, 602);
        assert_eq!((later.recent, later.count, later.over_budget), (0, 30, false));
        (0..30).for_each(|_| meters.record(&charge(200), at(700)));
        let much_later = read(&meters, 5_000);
        assert_eq!((much_later.recent, much_later.count), (0, 60));
    }

    #[test]
    fn the_alarm_is_raised_once_and_taken_back() {
        let mut meter = Meter::default();
        (0..30).for_each(|_| meter.window.add(Duration::from_millis(200)));
        meter.judge(Stage::Charge);
        assert!(meter.alarmed);
        meter.window = Histogram::default();
        meter.judge(Stage::Charge);
        assert!(meter.alarmed, "silence takes nothing back");
        (0..30).for_each(|_| meter.window.add(Duration::from_millis(2)));
        meter.judge(Stage::Charge);
        assert!(!meter.alarmed);
    }

    #[test]
    fn metrics_of_one_name_stay_together() {
        let meters = StageMeters::default();
        let mut timings = charge(2);
        timings.add(Stage::Capture, Duration::from_secs(3));
        meters.record(&timings, at(0));
        let text = exposition(&meters.read(at(1)));
        let names: Vec<&str> =
            text.lines().map(|line| line.split(['{', ' ']).next().unwrap_or_default()).collect();
        assert!(text.contains("selfsame_stage_seconds_count{stage=\"charge\"} 1\n"), "{text}");
        assert!(text.contains("selfsame_stage_over_budget{stage=\"charge\"} 0\n"), "{text}");
        assert!(!text.contains("selfsame_stage_budget_seconds{stage=\"capture\"}"), "{text}");
        assert_eq!(names.iter().filter(|name| **name == "#").count(), 6);
    }
}
