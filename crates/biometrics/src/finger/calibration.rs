//! placeholder
use super::Score;
/// x
#[derive(Clone, Copy, Debug)]
pub struct CalibrationPoint {
    /// x
    pub fmr_ppb: u32,
    /// x
    pub threshold: Score,
}
/// x
pub type Calibration = &'static [CalibrationPoint];
/// x
pub fn calibration() -> Calibration {
    &[]
}
