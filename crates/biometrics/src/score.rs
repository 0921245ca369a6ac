//! Scores and the thresholds that stand for false match rates; the same for every modality.

/// A comparison score: 0..=10,000, higher is more alike. Comparable within one algorithm and version, or one model, only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(pub u16);

impl Score {
    /// The highest score: a template against itself comes near it.
    pub const MAX: Score = Score(10_000);
}

/// One row of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationPoint {
    /// False match rate of one comparison, in parts per billion, above zero.
    pub fmr_ppb: u32,
    /// From this score on, comparisons of different people or fingers match at most at that rate.
    pub threshold: Score,
}
