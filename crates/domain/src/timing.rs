//! How long each stage of a verification or payment took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::text_enum;

text_enum! {
    /// A stage on the payment's way, in the order in which a payer meets them.
    Stage {
        /// Interface called until the verification program answers.
        Wake = "wake",
        /// Server asked to select the candidates of the identifier.
        Candidates = "candidates",
        /// Waiting for the payer and taking the sample.
        Capture = "capture",
        /// Sealing and signing the frames.
        Seal = "seal",
        /// Opening the seal and decoding the frames (matcher).
        Open = "open",
        /// Finding and judging faces (matcher).
        Detection = "detection",
        /// Looking for attacks (matcher).
        AttackDetection = "attack_detection",
        /// Frames to template (matcher).
        Extraction = "extraction",
        /// Template against the candidates (matcher).
        Comparison = "comparison",
        /// Frames sent until the verdict is back at the verification program.
        Verdict = "verdict",
        /// Asking the payment server for the code.
        Code = "code",
        /// Giving the code to the register.
        Handover = "handover",
        /// Waiting in the payment queue (server).
        Queue = "queue",
        /// Reading what the decision needs (store).
        Load = "load",
        /// Deciding.
        Decide = "decide",
        /// Writing and syncing (store).
        Commit = "commit",
        /// Charge request received until its answer is ready: who asks, body, queue, transaction, sync (server).
        Charge = "charge",
    }
}

/// Durations by stage, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timings(BTreeMap<Stage, u64>);

impl Timings {
    /// Adds time to a stage; a stage that happens twice (a second try) adds up.
    pub fn add(&mut self, stage: Stage, duration: Duration) {
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let total = self.0.entry(stage).or_default();
        *total = total.saturating_add(duration_us);
    }

    /// Replaces the time of a stage by a total that somebody else has kept.
    pub fn set(&mut self, stage: Stage, duration: Duration) {
        self.0.remove(&stage);
        self.add(stage, duration);
    }

    /// Time of a stage, if it happened.
    pub fn get(&self, stage: Stage) -> Option<Duration> {
        self.0.get(&stage).copied().map(Duration::from_micros)
    }

    /// Adds all stages of `other`.
    pub fn merge(&mut self, other: &Timings) {
        for (stage, duration_us) in &other.0 {
            self.add(*stage, Duration::from_micros(*duration_us));
        }
    }

    /// Stages in order with their durations.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        self.0.iter().map(|(stage, duration_us)| (*stage, Duration::from_micros(*duration_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_happens_twice_adds_up() {
        let mut timings = Timings::default();
        timings.add(Stage::Capture, Duration::from_millis(2));
        timings.add(Stage::Capture, Duration::from_millis(3));
        assert_eq!(serde_json::to_string(&timings).unwrap(), r#"{"capture":5000}"#);
        assert_eq!(serde_json::from_str::<Timings>(r#"{"capture":5000}"#).unwrap(), timings);
    }
}
