//! What the rest of this process asks of a modality's algorithm. Two of them: [`crate::finger`] and [`crate::face`].

use selfsame_api::matcher::Algorithm as Description;
use selfsame_domain::challenge::Challenge;
use selfsame_domain::enrolment::Pose;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::Timings;
use selfsame_domain::verification::{AttackEvidence, Fault};
use zeroize::Zeroizing;

use crate::face::Face;
use crate::finger::Finger;
use crate::frame::OpenedFrame;

/// Why frames could not be used.
pub(crate) enum Unusable {
    /// What the payer should do; with the frame that is at fault.
    Rejected { frame: usize, reason: &'static str },
    /// Ours.
    Fault(Fault),
}

impl From<Fault> for Unusable {
    fn from(fault: Fault) -> Self {
        Unusable::Fault(fault)
    }
}

/// The templates of an enrolment's frames.
pub(crate) struct Enrolled {
    pub(crate) templates: Vec<Zeroizing<Vec<u8>>>,
    pub(crate) qualities: Vec<u8>,
    /// One a frame of a face, none of a finger.
    pub(crate) poses: Vec<Pose>,
    pub(crate) attack: Option<AttackEvidence>,
}

/// What is compared with the candidates, with what attack detection saw of it.
pub(crate) struct Probe {
    pub(crate) samples: Box<dyn Samples>,
    pub(crate) attack: Option<AttackEvidence>,
}

/// Samples ready to be compared.
pub(crate) trait Samples {
    /// Comparisons that one template takes.
    fn count(&self) -> usize;

    /// The best score of any sample against a template; `None` if the bytes are no template of this algorithm.
    fn score(&self, template: &[u8]) -> Option<u16>;
}

/// One modality's algorithm.
pub(crate) trait Algorithm: Send + Sync {
    /// Name, version and thresholds. Templates of another name or version are never compared.
    fn description(&self) -> &Description;

    /// Makes a template of every frame; all must be usable and show the same person or finger.
    fn enrol(&self, frames: &[OpenedFrame], grade: SensorGrade) -> Result<Enrolled, Unusable>;

    /// Prepares the frames of an attempt.
    fn probe(
        &self,
        frames: &[OpenedFrame],
        challenge: Option<&Challenge>,
        timings: &mut Timings,
    ) -> Result<Probe, Unusable>;

    /// Prepares templates; `None` if some are not of this algorithm.
    fn probe_of_templates(&self, templates: &[Zeroizing<Vec<u8>>]) -> Option<Box<dyn Samples>>;
}

/// The algorithms of this process.
pub(crate) struct Algorithms {
    finger: Finger,
    face: Option<Face>,
}

impl Algorithms {
    /// Without face where there is no pack.
    pub(crate) fn new(face: Option<Face>) -> Self {
        Self { finger: Finger::new(), face }
    }

    /// The one for a modality.
    pub(crate) fn of(&self, modality: Modality) -> Option<&dyn Algorithm> {
        match modality {
            Modality::Finger => Some(&self.finger),
            Modality::Face => self.face.as_ref().map(|face| face as &dyn Algorithm),
        }
    }

    /// All of them.
    pub(crate) fn descriptions(&self) -> Vec<Description> {
        let all = [Modality::Finger, Modality::Face].into_iter().filter_map(|modality| self.of(modality));
        all.map(|algorithm| algorithm.description().clone()).collect()
    }
}
