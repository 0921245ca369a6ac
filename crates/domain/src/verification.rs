//! Step 2 of the method, decided: do the scores of the candidates that the identifier selected say who this is?
//!
//! An attempt ends in one of three ways that never share a type: a [`Retry`] (the sample cannot be used: closer,
//! cleaner), a [`Decision`] (match, no match, ambiguous, attack) or a [`Fault`] (camera, matcher or network gone,
//! which never counts against the payer).

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::sensor::SensorGrade;
use crate::text::{UnknownValue, text_enum};

/// A comparison score: 0..=10,000, higher is more alike. Comparable only within one algorithm and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(pub u16);

/// One row of a calibration: at this threshold a comparison of different people passes with at most this rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationPoint {
    /// False match rate of one comparison, in parts per billion.
    pub fmr_ppb: u32,
    /// Scores from here on are a match at that rate.
    pub threshold: Score,
}

/// What the operator tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tolerated rate of accepting the wrong person in one attempt, in parts per billion. Divided by the number of
    /// comparisons made in the attempt, so a longer list of candidates asks for a higher threshold.
    pub false_accept_ppb: u32,
    /// By how much the best account must beat the second best.
    pub margin: u16,
    /// More candidates than this are `ambiguous` before any capture: the payer gives more digits.
    pub candidates_max: usize,
    /// Usable samples per verification, after which it fails.
    pub attempts_max: u32,
    /// When frames are an attack.
    pub attack: AttackPolicy,
}

impl Policy {
    /// 1 wrong acceptance in 10,000 attempts (NIST SP 800-63B-4 draft asks for that or better), 256 candidates
    /// (the worst last-four-digits bucket of a million accounts holds about 141), three tries.
    pub const DEFAULT: Policy = Policy {
        false_accept_ppb: 100_000,
        margin: 300,
        candidates_max: 256,
        attempts_max: 3,
        attack: AttackPolicy::DEFAULT,
    };

    /// The threshold for one comparison among `comparisons`, or `None` if the calibration does not reach that far:
    /// it is never extrapolated.
    pub fn threshold(&self, calibration: &[CalibrationPoint], comparisons: NonZeroU32) -> Option<Score> {
        let fmr_ppb_max = self.false_accept_ppb / comparisons.get();
        let strict_enough = calibration.iter().filter(|point| point.fmr_ppb <= fmr_ppb_max);
        strict_enough.map(|point| point.threshold).min()
    }
}

/// The best score of one candidate's templates against the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoredCandidate {
    /// Whose templates these are.
    pub account: AccountId,
    /// Best score over all of this account's templates and all samples.
    pub score: Score,
}

/// What attack detection saw in the frames of one sample (ISO/IEC 30107-1). Stored with the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackEvidence {
    /// How live the frames look, mean over all: 0 (an attack) to 10,000 (a living person).
    pub live_score: u16,
    /// Frames that were looked at.
    pub frames: u32,
    /// Difference between the two frames that are most alike, 0 (the same) to 10,000; absent for a single frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_difference_min: Option<u16>,
    /// Whether the frames show the colours of the challenge in its order; absent without a challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_answered: Option<bool>,
}

/// From when on frames are an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttackPolicy {
    /// Least mean live score.
    pub live_score_min: u16,
    /// Least difference between any two frames of a camera: what does not change at all is a picture, not a person.
    pub frame_difference_min: u16,
}

impl AttackPolicy {
    /// A quarter of the scale: the highest value that refuses at most 7 % of the living faces of tight crops, where the
    /// detectors are at their worst, chosen by cross-validation over persons (`selfsame evaluate face --end-to-end`). A
    /// difference of 0.01 %: noise of one grey level, which a camera in good light has, makes 0.019 % or more between
    /// two pictures of a head that keeps still (60 photos enlarged to 1,000 pixels), and a frame sent twice makes none.
    pub const DEFAULT: AttackPolicy = AttackPolicy { live_score_min: 2_500, frame_difference_min: 1 };

    /// Whether the frames are an attack. Files and generators repeat frames by nature, so `simulated` samples are not
    /// asked to change.
    pub fn is_attack(&self, evidence: &AttackEvidence, grade: SensorGrade) -> bool {
        let frozen = |difference: u16| difference < self.frame_difference_min;
        evidence.live_score < self.live_score_min
            || (grade != SensorGrade::Simulated && evidence.frame_difference_min.is_some_and(frozen))
            || evidence.challenge_answered == Some(false)
    }
}

/// What the matcher found out about one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// How the sample was taken.
    pub grade: SensorGrade,
    /// What attack detection saw; `None` for modalities that have none.
    pub attack: Option<AttackEvidence>,
    /// Every template against every sample: each is a chance for a false match.
    pub comparisons: NonZeroU32,
    /// The candidates' scores.
    pub candidates: Vec<ScoredCandidate>,
}

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This account, with enough distance to any other.
    Match(AccountId),
    /// None of the candidates.
    NoMatch,
    /// Two candidates too near, or too many candidates for the calibration: the payer gives more digits.
    Ambiguous,
    /// Attack detection refused the sample (ISO/IEC 30107).
    Attack,
}

impl Decision {
    /// The value on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Match(_) => "match",
            Decision::NoMatch => "no_match",
            Decision::Ambiguous => "ambiguous",
            Decision::Attack => "attack",
        }
    }
}

/// Decides over one sample: an attack is one whoever it looks like; then the threshold for as many comparisons as were
/// made; then the margin.
pub fn decide(policy: &Policy, calibration: &[CalibrationPoint], compared: &Compared) -> Decision {
    if compared.attack.is_some_and(|evidence| policy.attack.is_attack(&evidence, compared.grade)) {
        return Decision::Attack;
    }
    let Some(threshold) = policy.threshold(calibration, compared.comparisons) else {
        return Decision::Ambiguous;
    };
    let mut ranked = compared.candidates.clone();
    ranked.sort_by_key(|candidate| std::cmp::Reverse((candidate.score, candidate.account)));
    let Some(best) = ranked.first().filter(|best| best.score >= threshold) else {
        return Decision::NoMatch;
    };
    // The same account may be listed once per template; only another account can contest.
    let second = ranked.iter().find(|candidate| candidate.account != best.account);
    let contested = second.is_some_and(|second| best.score.0.saturating_sub(second.score.0) < policy.margin);
    if contested { Decision::Ambiguous } else { Decision::Match(best.account) }
}

/// The sample cannot be used; what the payer should do. A reason code of the modality, e.g. `press_harder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry(String);

impl Retry {
    /// Longest reason, in bytes.
    const BYTES_MAX: usize = 40;

    /// The reason in snake case.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Retry {
    type Err = UnknownValue;
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        let snake_case = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && snake_case;
        if fits { Ok(Self(text.to_owned())) } else { Err(UnknownValue::new("retry reason", text)) }
    }
}

text_enum! {
    /// Something of ours broke; the payer did nothing wrong and nothing is counted.
    Fault {
        /// The camera or reader does not answer.
        CaptureUnavailable = "capture_unavailable",
        /// The matcher is away or died in the middle.
        MatcherUnavailable = "matcher_unavailable",
        /// More samples wait for the matcher than it takes: try again in a moment.
        MatcherBusy = "matcher_busy",
        /// The frames could not be opened: sealed for another key or session.
        SealBroken = "seal_broken",
        /// The frames are no images.
        ImageInvalid = "image_invalid",
    }
}

text_enum! {
    /// Where a verification at the payment server stands.
    State {
        /// Candidates are selected; frames are awaited.
        Capturing = "capturing",
        /// Somebody was recognised: a code may be asked for.
        Passed = "passed",
        /// Over without a pass.
        Failed = "failed",
        /// Ended by the till or by the next payer.
        Ended = "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const CALIBRATION: &[CalibrationPoint] = &[
        CalibrationPoint { fmr_ppb: 1_000_000, threshold: Score(2_000) },
        CalibrationPoint { fmr_ppb: 100_000, threshold: Score(3_000) },
        CalibrationPoint { fmr_ppb: 10_000, threshold: Score(4_000) },
        CalibrationPoint { fmr_ppb: 1_000, threshold: Score(5_000) },
    ];

    fn account(number: u8) -> AccountId {
        AccountId::new(Timestamp::from_millis(0), [number; 10])
    }

    fn scored(number: u8, score: u16) -> ScoredCandidate {
        ScoredCandidate { account: account(number), score: Score(score) }
    }

    fn compared(comparisons: u32, candidates: &[ScoredCandidate]) -> Compared {
        Compared {
            grade: SensorGrade::Finger,
            attack: None,
            comparisons: NonZeroU32::new(comparisons).unwrap(),
            candidates: candidates.to_vec(),
        }
    }

    fn verdict(comparisons: u32, candidates: &[ScoredCandidate]) -> Decision {
        decide(&Policy::DEFAULT, CALIBRATION, &compared(comparisons, candidates))
    }

    fn seen(grade: SensorGrade, evidence: AttackEvidence) -> Decision {
        let compared = Compared { grade, attack: Some(evidence), ..compared(1, &[scored(1, 10_000)]) };
        decide(&Policy::DEFAULT, CALIBRATION, &compared)
    }

    const LIVE: AttackEvidence = AttackEvidence {
        live_score: 9_000,
        frames: 3,
        frame_difference_min: Some(80),
        challenge_answered: None,
    };

    #[test]
    fn an_attack_is_one_however_alike_it_is() {
        assert_eq!(seen(SensorGrade::Rgb, LIVE), Decision::Match(account(1)));
        let edge = AttackPolicy::DEFAULT.live_score_min;
        assert_eq!(seen(SensorGrade::Rgb, AttackEvidence { live_score: edge - 1, ..LIVE }), Decision::Attack);
        assert_eq!(
            seen(SensorGrade::Rgb, AttackEvidence { live_score: edge, ..LIVE }),
            Decision::Match(account(1))
        );
    }

    #[test]
    fn a_camera_whose_picture_never_changes_is_an_attack_and_a_file_is_not() {
        let frozen = AttackEvidence { frame_difference_min: Some(0), ..LIVE };
        assert_eq!(seen(SensorGrade::Rgb, frozen), Decision::Attack);
        assert_eq!(seen(SensorGrade::RgbChallenge, frozen), Decision::Attack);
        assert_eq!(seen(SensorGrade::Simulated, frozen), Decision::Match(account(1)));
    }

    #[test]
    fn a_challenge_that_is_not_answered_is_an_attack() {
        let answered = |answered| AttackEvidence { challenge_answered: Some(answered), ..LIVE };
        assert_eq!(seen(SensorGrade::RgbChallenge, answered(false)), Decision::Attack);
        assert_eq!(seen(SensorGrade::RgbChallenge, answered(true)), Decision::Match(account(1)));
    }

    #[test]
    fn more_candidates_need_a_higher_score() {
        assert_eq!(verdict(1, &[scored(1, 3_000)]), Decision::Match(account(1)));
        assert_eq!(verdict(1, &[scored(1, 2_999)]), Decision::NoMatch);
        assert_eq!(verdict(2, &[scored(1, 3_999)]), Decision::NoMatch);
        assert_eq!(verdict(10, &[scored(1, 4_000)]), Decision::Match(account(1)));
        assert_eq!(verdict(100, &[scored(1, 4_999)]), Decision::NoMatch);
    }

    #[test]
    fn beyond_the_calibration_nothing_is_extrapolated() {
        assert_eq!(verdict(101, &[scored(1, 10_000)]), Decision::Ambiguous);
    }

    #[test]
    fn two_accounts_too_near_are_ambiguous() {
        assert_eq!(verdict(2, &[scored(1, 6_000), scored(2, 5_701)]), Decision::Ambiguous);
        assert_eq!(verdict(2, &[scored(1, 6_000), scored(2, 5_700)]), Decision::Match(account(1)));
    }

    #[test]
    fn two_templates_of_one_account_do_not_contest_each_other() {
        assert_eq!(verdict(2, &[scored(1, 6_000), scored(1, 5_990)]), Decision::Match(account(1)));
    }

    #[test]
    fn retry_reasons_are_short_snake_case() {
        assert!("press_harder".parse::<Retry>().is_ok());
        for text in ["", "Press Harder", "x".repeat(41).as_str()] {
            assert!(text.parse::<Retry>().is_err(), "{text}");
        }
    }
}
