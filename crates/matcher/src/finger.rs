//! Fingers, by their minutiae.

use std::num::NonZeroU32;
use std::time::Instant;

use selfsame_api::matcher::{Algorithm as Description, CalibrationPoint};
use selfsame_api::sealing::ImageFormat;
use selfsame_biometrics::finger::{ALGORITHM, Prepared, Rejection, Template, VERSION, calibration, extract};
use selfsame_biometrics::image::{GrayImage, decode_png};
use selfsame_domain::challenge::Challenge;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::{Fault, Policy, Score};
use zeroize::Zeroizing;

use crate::algorithm::{Algorithm, Enrolled, Probe, Samples, Unusable};
use crate::frame::OpenedFrame;

/// The finger algorithm as this process offers it.
pub(crate) struct Finger(Description);

impl Finger {
    pub(crate) fn new() -> Self {
        let point = |point: &selfsame_biometrics::score::CalibrationPoint| CalibrationPoint {
            fmr_ppb: point.fmr_ppb,
            threshold: point.threshold.0,
        };
        Self(Description {
            modality: Modality::Finger,
            name: ALGORITHM.to_owned(),
            version: VERSION,
            calibration: calibration().iter().map(point).collect(),
        })
    }
}

fn decode(frame: &OpenedFrame) -> Result<GrayImage, Fault> {
    if frame.format != ImageFormat::Png {
        tracing::warn!("a finger came in a lossy format");
        return Err(Fault::ImageInvalid);
    }
    decode_png(&frame.image, frame.resolution_dpi).map_err(|error| {
        tracing::warn!(%error, "a frame is no usable image");
        Fault::ImageInvalid
    })
}

/// The threshold at which two frames of an enrolment are taken for the same finger or face: that of one comparison.
pub(crate) fn same_threshold(description: &Description) -> Option<Score> {
    let points: Vec<_> = description
        .calibration
        .iter()
        .map(|point| selfsame_domain::verification::CalibrationPoint {
            fmr_ppb: point.fmr_ppb,
            threshold: Score(point.threshold),
        })
        .collect();
    Policy::DEFAULT.threshold(&points, NonZeroU32::MIN)
}

impl Samples for Prepared {
    fn count(&self) -> usize {
        self.samples()
    }

    fn score(&self, template: &[u8]) -> Option<u16> {
        let template = Template::from_bytes(template).ok()?;
        Some(Prepared::score(self, &template).0)
    }
}

impl Algorithm for Finger {
    fn description(&self) -> &Description {
        &self.0
    }

    fn enrol(&self, frames: &[OpenedFrame], _: SensorGrade) -> Result<Enrolled, Unusable> {
        let mut prints = Vec::with_capacity(frames.len());
        for (frame, opened) in frames.iter().enumerate() {
            let print = extract(&decode(opened)?);
            prints.push(print.map_err(|rejection| Unusable::Rejected { frame, reason: rejection.code() })?);
        }
        // A person who changes fingers in the middle would open the account to both.
        if let (Some((first, others)), Some(threshold)) = (prints.split_first(), same_threshold(&self.0)) {
            let prepared = Prepared::new(vec![first.template.clone()]);
            let foreign = others.iter().position(|print| prepared.score(&print.template).0 < threshold.0);
            if let Some(index) = foreign {
                return Err(Unusable::Rejected { frame: index + 1, reason: "different_finger" });
            }
        }
        Ok(Enrolled {
            templates: prints.iter().map(|print| Zeroizing::new(print.template.to_bytes())).collect(),
            qualities: prints.iter().map(|print| print.quality).collect(),
            poses: Vec::new(),
            attack: None,
        })
    }

    fn probe(
        &self,
        frames: &[OpenedFrame],
        _: Option<&Challenge>,
        timings: &mut Timings,
    ) -> Result<Probe, Unusable> {
        let started = Instant::now();
        let images = frames.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        timings.add(Stage::Open, started.elapsed());
        let started = Instant::now();
        let mut templates = Vec::new();
        let mut rejected = Unusable::Rejected { frame: 0, reason: Rejection::NoFinger.code() };
        for (frame, image) in images.iter().enumerate() {
            match extract(image) {
                Ok(print) => templates.push(print.template),
                Err(rejection) => rejected = Unusable::Rejected { frame, reason: rejection.code() },
            }
        }
        timings.add(Stage::Extraction, started.elapsed());
        // One usable frame is enough; the last reason stands for all if there is none.
        if templates.is_empty() {
            return Err(rejected);
        }
        Ok(Probe { samples: Box::new(Prepared::new(templates)), attack: None })
    }

    fn probe_of_templates(&self, templates: &[Zeroizing<Vec<u8>>]) -> Option<Box<dyn Samples>> {
        let templates =
            templates.iter().map(|bytes| Template::from_bytes(bytes).ok()).collect::<Option<_>>()?;
        Some(Box::new(Prepared::new(templates)))
    }
}
