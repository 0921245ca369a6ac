//! What a payment consisted of: steps as the till saw them, parts of steps as each program measured them by its own
//! clock, and whether the parts add up to the whole.

use std::time::{Duration, Instant};

use selfsame_domain::timing::{Stage, Timings};
use serde::Serialize;

/// A part of a payment, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The cashier scans goods, and the payer has nothing left to do.
    Basket,
    /// The order's way over the merchant's network (till's clock less merchant's clock).
    OrderNetwork,
    /// The merchant's system works on the order (its clock).
    OrderProcessing,
    /// The permission's way over the merchant's network (till's clock less merchant's clock).
    PermissionNetwork,
    /// The merchant's system fetches the permission from the platform (its clock).
    PermissionPlatform,
    /// The register calls the verification interface (register's clock less the waking).
    Call,
    /// The verification interface wakes the verification program (terminal's clock).
    Wake,
    /// The payer types (payer's clock).
    Typing,
    /// The server selects the candidates (verification program's clock).
    Candidates,
    /// The payer touches or looks until the sample is there (verification program's clock).
    Capture,
    /// Frames are sealed and signed (verification program's clock).
    Seal,
    /// The seal is opened, the picture decoded (matcher's clock).
    Open,
    /// Faces are found and judged (matcher's clock).
    Detection,
    /// Looked for attacks (matcher's clock).
    AttackDetection,
    /// Picture to template (matcher's clock).
    Extraction,
    /// Template against candidates (matcher's clock).
    Comparison,
    /// The rest of the way to the verdict: sending, deciding, storing (verification program's clock less matcher's).
    Verdict,
    /// The register asks for the code and has the answer (register's clock less terminal's).
    Ask,
    /// The code is asked for and issued (terminal's clock).
    Code,
    /// The code is given to the register (terminal's clock).
    Handover,
    /// Waiting for the batch (server's clock).
    Queue,
    /// Reading what the decision needs (store's clock).
    Load,
    /// Deciding (store's clock).
    Decide,
    /// Writing and syncing (store's clock).
    Commit,
    /// The rest of the charge at the server (server's clock).
    Charge,
    /// The till and its connection (till's clock less server's).
    Till,
}

/// What parts are told of together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Basket,
    Order,
    Permission,
    Typing,
    Capture,
    Verification,
    Handover,
    Charge,
    Unexplained,
}

impl Group {
    /// All, in the order in which they come.
    pub const ALL: [Group; 9] = [
        Group::Basket,
        Group::Order,
        Group::Permission,
        Group::Typing,
        Group::Capture,
        Group::Verification,
        Group::Handover,
        Group::Charge,
        Group::Unexplained,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Group::Basket => "goods are scanned",
            Group::Order => "order: merchant's network and system",
            Group::Permission => "permission over the merchant's system",
            Group::Typing => "payer types the digits",
            Group::Capture => "payer touches or looks",
            Group::Verification => "verification: wake, candidates, seal, compare",
            Group::Handover => "code issued and handed over",
            Group::Charge => "charge",
            Group::Unexplained => "between the stages",
        }
    }
}

impl Part {
    /// Which group it belongs to.
    pub fn group(self) -> Group {
        match self {
            Part::Basket => Group::Basket,
            Part::OrderNetwork | Part::OrderProcessing => Group::Order,
            Part::PermissionNetwork | Part::PermissionPlatform => Group::Permission,
            Part::Typing => Group::Typing,
            Part::Capture => Group::Capture,
            Part::Call
            | Part::Wake
            | Part::Candidates
            | Part::Seal
            | Part::Open
            | Part::Detection
            | Part::AttackDetection
            | Part::Extraction
            | Part::Comparison
            | Part::Verdict => Group::Verification,
            Part::Ask | Part::Code | Part::Handover => Group::Handover,
            Part::Queue | Part::Load | Part::Decide | Part::Commit | Part::Charge | Part::Till => {
                Group::Charge
            }
        }
    }
}

/// A step of a payment as the till saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Goods are scanned.
    Basket,
    /// The order is placed and processed.
    Order,
    /// The permission to verify is fetched.
    Permission,
    /// The payer is verified.
    Verification,
    /// The code is handed over.
    Handover,
    /// The code is charged.
    Charge,
}

/// A step with its parts.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which.
    pub kind: Kind,
    /// When it began.
    pub begun: Instant,
    /// When it had ended.
    pub ended: Instant,
    /// What it consisted of.
    pub parts: Vec<(Part, Duration)>,
}

impl Step {
    /// How long it took.
    pub fn length(&self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }

    /// A question to the merchant's system, which had it for so long.
    pub fn asked(kind: Kind, begun: Instant, handled: Duration, [network, system]: [Part; 2]) -> Self {
        let ended = Instant::now();
        let network = (network, (ended - begun).saturating_sub(handled));
        Self { kind, begun, ended, parts: vec![network, (system, handled)] }
    }
}

/// Parts of a verification, from what terminal, verification program and matcher measured, and how long the register was
/// `calling` the interface.
pub fn verification_parts(timings: &Timings, calling: Duration, typing: Duration) -> Vec<(Part, Duration)> {
    let matcher = [
        (Part::Open, Stage::Open),
        (Part::Detection, Stage::Detection),
        (Part::AttackDetection, Stage::AttackDetection),
        (Part::Extraction, Stage::Extraction),
        (Part::Comparison, Stage::Comparison),
    ];
    let calling = calling.saturating_sub(timings.get(Stage::Wake).unwrap_or_default());
    let mut parts = vec![(Part::Call, calling), (Part::Typing, typing)];
    let own = [
        (Part::Wake, Stage::Wake),
        (Part::Candidates, Stage::Candidates),
        (Part::Capture, Stage::Capture),
        (Part::Seal, Stage::Seal),
    ];
    let of = |(part, stage): (Part, Stage)| Some((part, timings.get(stage)?));
    parts.extend(own.into_iter().filter_map(of));
    let in_matcher: Vec<_> = matcher.into_iter().filter_map(of).collect();
    let sum: Duration = in_matcher.iter().map(|(_, duration)| *duration).sum();
    parts.extend(in_matcher);
    parts.extend(timings.get(Stage::Verdict).map(|verdict| (Part::Verdict, verdict.saturating_sub(sum))));
    parts.retain(|(_, duration)| !duration.is_zero());
    parts
}

/// Parts of a hand-over that took `whole` as the register saw it. Session timings grow, so only what came since the
/// verification counts.
pub fn handover_parts(timings: &Timings, whole: Duration) -> Vec<(Part, Duration)> {
    let of = |(part, stage): (Part, Stage)| Some((part, timings.get(stage)?));
    let stages = [(Part::Code, Stage::Code), (Part::Handover, Stage::Handover)];
    let mut parts: Vec<_> = stages.into_iter().filter_map(of).collect();
    let sum: Duration = parts.iter().map(|(_, duration)| *duration).sum();
    parts.push((Part::Ask, whole.saturating_sub(sum)));
    parts
}

/// Parts of a charge that took `whole` as the till saw it.
pub fn charge_parts(timings: &Timings, whole: Duration) -> Vec<(Part, Duration)> {
    let of = |(part, stage): (Part, Stage)| Some((part, timings.get(stage)?));
    let stages = [
        (Part::Queue, Stage::Queue),
        (Part::Load, Stage::Load),
        (Part::Decide, Stage::Decide),
        (Part::Commit, Stage::Commit),
    ];
    let mut parts: Vec<_> = stages.into_iter().filter_map(of).collect();
    let sum: Duration = parts.iter().map(|(_, duration)| *duration).sum();
    let at_server = timings.get(Stage::Charge).unwrap_or(sum);
    parts.push((Part::Charge, at_server.saturating_sub(sum)));
    parts.push((Part::Till, whole.saturating_sub(at_server)));
    parts
}

/// The steps that the payment waited for, from the first to the last: of steps that went on at the same time, the one
/// that ended last.
pub fn path(steps: &[Step]) -> Vec<&Step> {
    let mut path: Vec<&Step> = Vec::new();
    let mut until = None;
    loop {
        let before = steps.iter().filter(|step| until.is_none_or(|until| step.ended <= until));
        let Some(last) = before.max_by_key(|step| step.ended) else { break };
        // What takes no time cannot be waited for twice.
        if path.last().is_some_and(|step| std::ptr::eq(*step, last)) {
            break;
        }
        path.push(last);
        until = Some(last.begun);
    }
    path.reverse();
    path
}

/// What the parts on the path leave of the whole time, in microseconds; below zero if they are longer.
pub fn unexplained_us(path: &[&Step], whole: Duration) -> i64 {
    let parts: Duration = path.iter().flat_map(|step| &step.parts).map(|(_, duration)| *duration).sum();
    let of = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    of(whole) - of(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: Kind, start: Instant, from_ms: u64, to_ms: u64) -> Step {
        let at = |ms| start + Duration::from_millis(ms);
        Step { kind, begun: at(from_ms), ended: at(to_ms), parts: vec![] }
    }

    fn kinds(steps: &[Step]) -> Vec<Kind> {
        path(steps).iter().map(|step| step.kind).collect()
    }

    #[test]
    fn a_payment_waits_for_the_slower_of_order_and_verification() {
        let start = Instant::now();
        let of = |order_ms: u64, verified_ms: u64| {
            let later = order_ms.max(verified_ms);
            [
                step(Kind::Order, start, 0, order_ms),
                step(Kind::Verification, start, 0, verified_ms),
                step(Kind::Handover, start, later, later + 10),
                step(Kind::Charge, start, later + 10, later + 20),
            ]
        };
        assert_eq!(kinds(&of(900, 300)), [Kind::Order, Kind::Handover, Kind::Charge]);
        assert_eq!(kinds(&of(100, 300)), [Kind::Verification, Kind::Handover, Kind::Charge]);
    }

    #[test]
    fn steps_that_follow_on_one_another_are_all_waited_for() {
        let start = Instant::now();
        let steps = [
            step(Kind::Order, start, 0, 100),
            step(Kind::Permission, start, 101, 150),
            step(Kind::Verification, start, 151, 400),
            step(Kind::Charge, start, 400, 410),
        ];
        assert_eq!(kinds(&steps), [Kind::Order, Kind::Permission, Kind::Verification, Kind::Charge]);
    }

    #[test]
    fn goods_that_are_scanned_after_the_verification_are_what_is_waited_for() {
        let start = Instant::now();
        let steps = [
            step(Kind::Verification, start, 0, 300),
            step(Kind::Basket, start, 0, 4_000),
            step(Kind::Order, start, 4_000, 4_050),
            step(Kind::Charge, start, 4_051, 4_060),
        ];
        assert_eq!(kinds(&steps), [Kind::Basket, Kind::Order, Kind::Charge]);
    }

    #[test]
    fn what_no_program_measured_is_left_over() {
        let start = Instant::now();
        let mut order = step(Kind::Order, start, 0, 100);
        order.parts = vec![
            (Part::OrderNetwork, Duration::from_millis(40)),
            (Part::OrderProcessing, Duration::from_millis(57)),
        ];
        assert_eq!(unexplained_us(&[&order], Duration::from_millis(100)), 3_000);
        assert_eq!(unexplained_us(&[&order], Duration::from_millis(90)), -7_000);
    }

    #[test]
    fn what_the_register_waits_for_is_told_once() {
        let mut timings = Timings::default();
        for (stage, ms) in [(Stage::Wake, 2), (Stage::Code, 3), (Stage::Handover, 1)] {
            timings.add(stage, Duration::from_millis(ms));
        }
        let parts = handover_parts(&timings, Duration::from_millis(6));
        assert!(parts.contains(&(Part::Ask, Duration::from_millis(2))), "{parts:?}");
        let parts = verification_parts(&timings, Duration::from_millis(5), Duration::from_millis(9));
        let told = [(Part::Call, 3), (Part::Typing, 9), (Part::Wake, 2)];
        assert_eq!(parts, told.map(|(part, ms)| (part, Duration::from_millis(ms))));
    }

    #[test]
    fn parts_of_a_charge_are_its_whole() {
        let mut timings = Timings::default();
        for (stage, ms) in [(Stage::Queue, 1), (Stage::Load, 2), (Stage::Commit, 3), (Stage::Charge, 9)] {
            timings.add(stage, Duration::from_millis(ms));
        }
        let parts = charge_parts(&timings, Duration::from_millis(14));
        let sum: Duration = parts.iter().map(|(_, duration)| *duration).sum();
        assert_eq!(sum, Duration::from_millis(14));
        assert!(parts.contains(&(Part::Till, Duration::from_millis(5))));
        assert!(parts.contains(&(Part::Charge, Duration::from_millis(3))));
    }
}
