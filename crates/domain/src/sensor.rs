//! Modality and sensor grade: what a sample is, and how far the way it was taken can be trusted.

use crate::site::Mode;
use crate::text::text_enum;

text_enum! {
    /// A biometric modality (ISO/IEC 2382-37: biometric characteristic type).
    Modality {
        /// Friction ridges of a finger.
        Finger = "finger",
        /// The face in visible light.
        Face = "face",
    }
}

text_enum! {
    /// How a sample was taken. Every sample carries one; policy and caps hang on it.
    SensorGrade {
        /// From a file or a generator: nobody was there. Test sites only.
        Simulated = "simulated",
        /// A finger reader attached to the terminal.
        Finger = "finger",
        /// An ordinary colour camera with passive attack detection.
        Rgb = "rgb",
        /// A colour camera that answered the server's random challenge.
        RgbChallenge = "rgb_challenge",
        /// No sample: the payer gave the whole identifier and the PIN instead.
        Pin = "pin",
    }
}

impl SensorGrade {
    /// All of them.
    pub const ALL: &[SensorGrade] = &[
        SensorGrade::Simulated,
        SensorGrade::Finger,
        SensorGrade::Rgb,
        SensorGrade::RgbChallenge,
        SensorGrade::Pin,
    ];

    /// Whether a site of this mode takes samples of this grade.
    pub fn accepted_in(self, mode: Mode) -> bool {
        self != SensorGrade::Simulated || mode == Mode::Test
    }

    /// Whether this grade can stand for this modality.
    pub fn fits(self, modality: Modality) -> bool {
        match self {
            SensorGrade::Simulated => true,
            SensorGrade::Finger => modality == Modality::Finger,
            SensorGrade::Rgb | SensorGrade::RgbChallenge => modality == Modality::Face,
            SensorGrade::Pin => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_samples_are_for_test_sites_only() {
        assert!(!SensorGrade::Simulated.accepted_in(Mode::Live));
        assert!(SensorGrade::Simulated.accepted_in(Mode::Test));
        assert!(SensorGrade::Finger.accepted_in(Mode::Live));
    }

    #[test]
    fn a_camera_cannot_stand_for_a_finger_reader() {
        assert!(!SensorGrade::Rgb.fits(Modality::Finger));
        assert!(!SensorGrade::Finger.fits(Modality::Face));
        assert!(!SensorGrade::Pin.fits(Modality::Face) && !SensorGrade::Pin.fits(Modality::Finger));
    }
}
