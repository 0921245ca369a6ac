//! What is kept of a payment: durations only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::flow::{Flow, Paid};
use super::setting::Drawn;
use super::stages::{Group, Kind, Part, path, unexplained_us};

/// A payment in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Index of the setting.
    pub setting: usize,
    /// The flow.
    pub flow: Flow,
    /// Payments of a setting with the same number met the same draws.
    pub repetition: u32,
    /// What was drawn for the merchant's system.
    pub processing_us: u64,
    /// What was drawn for the merchant's network.
    pub network_us: u64,
    /// From the payment operation request to PAID.
    pub request_to_paid_us: u64,
    /// From the last item to PAID: the payer's wait.
    pub wait_us: u64,
    /// From the first thing that the payer had to do to PAID.
    pub occupied_us: u64,
    /// From the first picture that was shown to the pass as the register knew it, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_to_pass_us: Option<u64>,
    /// Steps with their lengths.
    pub steps: Vec<(Kind, u64)>,
    /// The steps that were waited for, with the parts of each.
    pub path: Vec<(Kind, BTreeMap<Part, u64>)>,
    /// All parts of all steps, waited for or not.
    pub parts_us: BTreeMap<Part, u64>,
    /// What the parts of the path leave of the time from request to PAID.
    pub unexplained_us: i64,
    /// What the payment server took of it without the matcher: candidates, verdict, code and charge, each as its caller
    /// saw it.
    pub server_us: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Parts in which the payment server is waited for.
const SERVER: [Part; 8] = [
    Part::Candidates,
    Part::Verdict,
    Part::Code,
    Part::Queue,
    Part::Load,
    Part::Decide,
    Part::Commit,
    Part::Charge,
];

impl Record {
    /// Of a payment.
    pub fn new(setting: usize, flow: Flow, repetition: u32, drawn: &Drawn, paid: &Paid) -> Self {
        let whole = paid.paid_at - paid.requested_at;
        let waited_for = path(&paid.steps);
        let parts_of = |parts: &[(Part, Duration)]| {
            let mut map = BTreeMap::new();
            for (part, duration) in parts {
                *map.entry(*part).or_default() += micros(*duration);
            }
            map
        };
        let all_parts: Vec<_> = paid.steps.iter().flat_map(|step| step.parts.iter().copied()).collect();
        let server =
            all_parts.iter().filter(|(part, _)| SERVER.contains(part)).map(|(_, duration)| *duration);
        Self {
            setting,
            flow,
            repetition,
            processing_us: micros(drawn.processing),
            network_us: micros(drawn.network),
            request_to_paid_us: micros(whole),
            wait_us: micros(paid.paid_at - paid.last_item_at),
            occupied_us: micros(paid.paid_at - paid.occupied_at),
            picture_to_pass_us: paid.picture_to_pass.map(micros),
            steps: paid.steps.iter().map(|step| (step.kind, micros(step.length()))).collect(),
            path: waited_for.iter().map(|step| (step.kind, parts_of(&step.parts))).collect(),
            parts_us: parts_of(&all_parts),
            unexplained_us: unexplained_us(&waited_for, whole),
            server_us: micros(server.sum()),
        }
    }

    /// How long a step took, in microseconds; 0 if there was none.
    pub fn step_us(&self, kind: Kind) -> u64 {
        self.steps.iter().filter(|(of, _)| *of == kind).map(|(_, length_us)| length_us).sum()
    }

    /// Time by groups on the path, in microseconds.
    pub fn groups_us(&self) -> BTreeMap<Group, i64> {
        let mut groups = BTreeMap::new();
        for (part, duration_us) in self.path.iter().flat_map(|(_, parts)| parts) {
            *groups.entry(part.group()).or_default() += i64::try_from(*duration_us).unwrap_or(i64::MAX);
        }
        groups.insert(Group::Unexplained, self.unexplained_us);
        groups
    }
}
