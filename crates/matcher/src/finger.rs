//! The finger algorithm as this process offers it.

use selfsame_api::matcher::{Algorithm, CalibrationPoint};
use selfsame_biometrics::finger::{ALGORITHM, VERSION, calibration};
use selfsame_domain::sensor::Modality;

/// Thresholds by false match rate.
pub(crate) fn thresholds() -> Vec<CalibrationPoint> {
    let point = |point: &selfsame_biometrics::finger::CalibrationPoint| CalibrationPoint {
        fmr_ppb: point.fmr_ppb,
        threshold: point.threshold.0,
    };
    calibration().iter().map(point).collect()
}

/// What the server is told.
pub(crate) fn algorithm() -> Algorithm {
    Algorithm {
        modality: Modality::Finger,
        name: ALGORITHM.to_owned(),
        version: VERSION,
        calibration: thresholds(),
    }
}

/// Whether stored templates are of this algorithm and version. Others are never compared.
pub(crate) fn compares(name: &str, version: u16) -> bool {
    name == ALGORITHM && version == VERSION
}
