//! Faces: found, judged, looked at for attacks, and compared by the embedding of a model pack.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use selfsame_api::matcher::{Algorithm as Description, CalibrationPoint};
use selfsame_api::verification::FACE_FRAMES_MIN;
use selfsame_biometrics::color_image::{ColorImage, Limits, decode};
use selfsame_biometrics::face::{
    ALGORITHM, FacePipeline, Located, Prepared, Rectangle, Retry, Template, Thumbprint, VERSION, flash,
    least_difference,
};
use selfsame_biometrics::model_pack::{ModelId, ModelPack, PackError};
use selfsame_domain::challenge::{Challenge, FlashColour};
use selfsame_domain::enrolment::Pose;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::{AttackEvidence, Fault};
use zeroize::Zeroizing;

use crate::algorithm::{Algorithm, Enrolled, Probe, Samples, Unusable};
use crate::finger::same_threshold;
use crate::frame::OpenedFrame;

/// Frames that the attack detectors look at; with a challenge there are more.
const ATTACK_FRAMES: usize = 3;

/// The top of all scores on the wire.
const SCALE: f32 = 10_000.0;

/// The face algorithm of a pack, once for every request that is worked on at a time.
pub(crate) struct Face {
    description: Description,
    model: ModelId,
    idle: Mutex<Vec<FacePipeline>>,
    returned: Condvar,
}

/// A pipeline on loan.
struct Loan<'a> {
    face: &'a Face,
    pipeline: Option<FacePipeline>,
}

impl std::ops::Deref for Loan<'_> {
    type Target = FacePipeline;
    fn deref(&self) -> &FacePipeline {
        self.pipeline.as_ref().expect("given back only when the loan ends")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(pipeline) = self.pipeline.take() {
            self.face.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pipeline);
            self.face.returned.notify_one();
        }
    }
}

/// A frame with the face in it.
struct Seen {
    image: ColorImage,
    face: Rectangle,
    offset_ms: u32,
}

/// The frames of an attempt.
struct Attempt {
    /// Every frame that shows a face, in the order in which they came.
    seen: Vec<Seen>,
    /// Which of them is compared.
    compared: usize,
    /// The face of that one, measured.
    located: Located,
}

impl Face {
    /// Loads the networks of a checked pack `parallel` times: one pipeline runs on one thread.
    pub(crate) fn new(pack: &ModelPack, parallel: usize) -> Result<Self, PackError> {
        let pipelines =
            (0..parallel.max(1)).map(|_| FacePipeline::new(pack)).collect::<Result<Vec<_>, _>>()?;
        let model = pipelines[0].model();
        let point = |point: &selfsame_biometrics::score::CalibrationPoint| CalibrationPoint {
            fmr_ppb: point.fmr_ppb,
            threshold: point.threshold.0,
        };
        let description = Description {
            modality: Modality::Face,
            // The model is part of the name: templates of another one are told apart before they are decrypted.
            name: format!("{ALGORITHM}/{model}"),
            version: VERSION,
            calibration: pipelines[0].calibration().iter().map(point).collect(),
        };
        Ok(Self { description, model, idle: Mutex::new(pipelines), returned: Condvar::new() })
    }

    /// Waits for a pipeline; as many requests are let in as there are.
    fn pipeline(&self) -> Loan<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(pipeline) = idle.pop() {
                return Loan { face: self, pipeline: Some(pipeline) };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A pipeline that nobody uses now, if there is one.
    fn spare(&self) -> Option<Loan<'_>> {
        let pipeline = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Loan { face: self, pipeline: Some(pipeline) })
    }
}

fn broken(error: &selfsame_biometrics::face::Fault) -> Fault {
    tracing::error!(%error, "a network of the face pack failed");
    Fault::MatcherUnavailable
}

fn picture(frame: &OpenedFrame) -> Result<ColorImage, Fault> {
    decode(&frame.image, Limits::FRAME).map_err(|error| {
        tracing::warn!(%error, "a frame is no usable image");
        Fault::ImageInvalid
    })
}

fn rejected(frame: usize, retry: Retry) -> Unusable {
    Unusable::Rejected { frame, reason: retry.code() }
}

/// Finds the face in every frame. The first frame that passes the quality gate is the one that is compared; of the others
/// only the place of the face is wanted, which a spare pipeline looks for meanwhile: nearly always the first frame is the
/// one. Where several frames came, [`FACE_FRAMES_MIN`] of them must show a face, or else a sender could choose how few
/// frames the attack detectors see.
fn look(
    pipeline: &FacePipeline,
    spare: Option<&FacePipeline>,
    images: Vec<(ColorImage, u32)>,
) -> Result<Attempt, Unusable> {
    let wanted = images.len().min(FACE_FRAMES_MIN);
    let follow = |pipeline: &FacePipeline, (image, _): &(ColorImage, u32)| {
        pipeline.finder().follow(image).map_err(|error| broken(&error))
    };
    let (best, mut reason, mut followed) = std::thread::scope(|scope| {
        let following = spare.filter(|_| images.len() > 1).map(|spare| {
            let others = &images[1..];
            scope.spawn(move || others.iter().map(|image| follow(spare, image)).collect::<Vec<_>>())
        });
        let (best, reason) = first_usable(pipeline, &images)?;
        let followed = match following.map(std::thread::ScopedJoinHandle::join) {
            Some(followed) => followed.map_err(|_| Fault::MatcherUnavailable)?,
            None => Vec::new(),
        };
        Ok::<_, Fault>((best, reason, followed.into_iter()))
    })?;
    let mut seen = Vec::with_capacity(images.len());
    let mut compared = 0;
    for (frame, image) in images.into_iter().enumerate() {
        let ahead = if frame == 0 { None } else { followed.next() };
        let face = match best {
            Some((best, located)) if best == frame => Some(located.face),
            _ => ahead.unwrap_or_else(|| follow(pipeline, &image))?,
        };
        let Some(face) = face else {
            reason = reason.or(Some(rejected(frame, Retry::NoFace)));
            continue;
        };
        if best.is_some_and(|(best, _)| best == frame) {
            compared = seen.len();
        }
        let (image, offset_ms) = image;
        seen.push(Seen { image, face, offset_ms });
    }
    match (best, reason) {
        (Some((_, located)), _) if seen.len() >= wanted => Ok(Attempt { seen, compared, located }),
        (_, Some(reason)) => Err(reason),
        (_, None) => Err(rejected(0, Retry::NoFace)),
    }
}

/// The first frame that passes the quality gate, with its face; and why the first one before it did not.
type FirstUsable = (Option<(usize, Located)>, Option<Unusable>);

fn first_usable(pipeline: &FacePipeline, images: &[(ColorImage, u32)]) -> Result<FirstUsable, Fault> {
    let mut reason = None;
    for (frame, (image, _)) in images.iter().enumerate() {
        match pipeline.locate(image).map_err(|error| broken(&error))? {
            Ok(located) => return Ok((Some((frame, located)), reason)),
            Err(retry) => reason = reason.or(Some(rejected(frame, retry))),
        }
    }
    Ok((None, reason))
}

/// Frames for the attack detectors, spread over all of them, the one that becomes the template among them.
fn attack_frames(count: usize, template: usize) -> Vec<usize> {
    let wanted = count.min(ATTACK_FRAMES);
    let mut chosen: Vec<usize> = (0..wanted).map(|index| index * count / wanted).collect();
    if !chosen.contains(&template) {
        let nearest = chosen.iter_mut().min_by_key(|index| index.abs_diff(template));
        nearest.into_iter().for_each(|index| *index = template);
    }
    chosen
}

/// What the attack detectors, the difference between frames and the challenge say. `template` is the frame that is
/// compared: its own score counts when it is the lower one, or else one picture of somebody could hide among frames of
/// a living accomplice.
fn evidence(
    pipeline: &FacePipeline,
    seen: &[Seen],
    template: usize,
    challenge: Option<&Challenge>,
) -> Result<AttackEvidence, Fault> {
    let chosen = attack_frames(seen.len(), template);
    let mut scores = Vec::with_capacity(chosen.len());
    let mut template_score = 0.0;
    for index in &chosen {
        let score = pipeline.liveness(&seen[*index].image, &seen[*index].face).map_err(|e| broken(&e))?;
        scores.push(score);
        if *index == template {
            template_score = score;
        }
    }
    let mean = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
    let thumbprints: Vec<Thumbprint> = seen.iter().map(|seen| Thumbprint::of(&seen.image)).collect();
    let scale = |share: f32| (share.clamp(0.0, 1.0) * SCALE) as u16;
    Ok(AttackEvidence {
        live_score: scale(mean.min(template_score)),
        frames: u32::try_from(scores.len()).unwrap_or(u32::MAX),
        frame_difference_min: least_difference(&thumbprints).map(|difference| scale(difference / 255.0)),
        challenge_answered: challenge.map(|challenge| is_answered(challenge, seen)),
    })
}

/// Whether the frames show the colours of a challenge, one frame for each at least.
fn is_answered(challenge: &Challenge, seen: &[Seen]) -> bool {
    let mut channels = Vec::new();
    let mut skin = Vec::new();
    for (step, colour) in challenge.colours.iter().enumerate() {
        let frame = seen.iter().find(|seen| challenge.step_at(seen.offset_ms) == Some(step));
        let Some(lit) = frame.and_then(|seen| flash::skin_colour(&seen.image, &seen.face)) else {
            return false;
        };
        channels.push(match colour {
            FlashColour::Red => 0,
            FlashColour::Green => 1,
            FlashColour::Blue => 2,
        });
        skin.push(lit);
    }
    flash::is_reflected(&channels, &skin)
}

/// Attack evidence and template of an attempt. Neither wants anything of the other, so that a spare pipeline makes the
/// template while this one looks for attacks; without one they follow on one another. What the template takes longer
/// than the attacks is told as extraction, so that stages add up to what is waited for.
fn judge(
    pipeline: &FacePipeline,
    spare: Option<&FacePipeline>,
    Attempt { seen, compared, located }: &Attempt,
    challenge: Option<&Challenge>,
    timings: &mut Timings,
) -> Result<(AttackEvidence, Template), Unusable> {
    let image = &seen[*compared].image;
    let started = Instant::now();
    let (attack, template, attacks_took) = std::thread::scope(|scope| {
        let making = spare.map(|spare| scope.spawn(move || spare.template(image, located)));
        let attack = evidence(pipeline, seen, *compared, challenge);
        let attacks_took = started.elapsed();
        let template = match making.map(std::thread::ScopedJoinHandle::join) {
            Some(made) => made.map_err(|_| Fault::MatcherUnavailable),
            None => Ok(pipeline.template(image, located)),
        };
        (attack, template, attacks_took)
    });
    timings.add(Stage::AttackDetection, attacks_took);
    timings.add(Stage::Extraction, started.elapsed().saturating_sub(attacks_took));
    let attack = attack?;
    let template = template?.map_err(|error| broken(&error))?;
    Ok((attack, template.map_err(|retry| rejected(*compared, retry))?))
}

struct FaceSamples {
    prepared: Prepared,
    model: ModelId,
}

impl Samples for FaceSamples {
    fn count(&self) -> usize {
        self.prepared.samples()
    }

    fn score(&self, template: &[u8]) -> Option<u16> {
        let template = Template::from_bytes(template, self.model).ok()?;
        Some(self.prepared.score(&template).0)
    }
}

impl Algorithm for Face {
    fn description(&self) -> &Description {
        &self.description
    }

    fn enrol(&self, frames: &[OpenedFrame], grade: SensorGrade) -> Result<Enrolled, Unusable> {
        let pipeline = self.pipeline();
        let mut seen = Vec::with_capacity(frames.len());
        let mut templates: Vec<Template> = Vec::with_capacity(frames.len());
        let mut poses = Vec::with_capacity(frames.len());
        for (frame, opened) in frames.iter().enumerate() {
            let image = picture(opened)?;
            let located = pipeline.locate(&image).map_err(|error| broken(&error))?;
            let located = located.map_err(|retry| rejected(frame, retry))?;
            let template = pipeline.template(&image, &located).map_err(|error| broken(&error))?;
            templates.push(template.map_err(|retry| rejected(frame, retry))?);
            let pose = pipeline.finder().pose(&image, &located).map_err(|error| broken(&error))?;
            let pose = pose.ok_or_else(|| rejected(frame, Retry::NoFace))?;
            poses.push(Pose { yaw_deg: pose.yaw_deg, pitch_deg: pose.pitch_deg });
            seen.push(Seen { image, face: located.face, offset_ms: opened.offset_ms });
        }
        if let (Some((first, others)), Some(threshold)) =
            (templates.split_first(), same_threshold(&self.description))
        {
            let prepared = Prepared::new(vec![first.clone()]);
            if let Some(index) = others.iter().position(|other| prepared.score(other).0 < threshold.0) {
                return Err(Unusable::Rejected { frame: index + 1, reason: "different_face" });
            }
        }
        // Photos of files are enrolled on test sites only, and are no living person by nature.
        let attack = match grade {
            SensorGrade::Simulated => None,
            _ => Some(evidence(&pipeline, &seen, 0, None)?),
        };
        Ok(Enrolled {
            qualities: templates.iter().map(Template::quality).collect(),
            templates: templates.iter().map(|template| Zeroizing::new(template.to_bytes())).collect(),
            poses,
            attack,
        })
    }

    fn probe(
        &self,
        frames: &[OpenedFrame],
        challenge: Option<&Challenge>,
        timings: &mut Timings,
    ) -> Result<Probe, Unusable> {
        let started = Instant::now();
        let images = frames.iter().map(|frame| Ok((picture(frame)?, frame.offset_ms)));
        let images = images.collect::<Result<Vec<_>, Fault>>()?;
        timings.add(Stage::Open, started.elapsed());
        let pipeline = self.pipeline();
        let spare = self.spare();
        let started = Instant::now();
        let attempt = look(&pipeline, spare.as_deref(), images)?;
        timings.add(Stage::Detection, started.elapsed());
        let (attack, template) = judge(&pipeline, spare.as_deref(), &attempt, challenge, timings)?;
        let samples = FaceSamples { prepared: Prepared::new(vec![template]), model: self.model };
        Ok(Probe { samples: Box::new(samples), attack: Some(attack) })
    }

    fn probe_of_templates(&self, templates: &[Zeroizing<Vec<u8>>]) -> Option<Box<dyn Samples>> {
        let templates = templates.iter().map(|bytes| Template::from_bytes(bytes, self.model).ok());
        let prepared = Prepared::new(templates.collect::<Option<_>>()?);
        Some(Box::new(FaceSamples { prepared, model: self.model }))
    }
}

#[cfg(test)]
mod tests {
    use super::attack_frames;

    #[test]
    fn attack_frames_are_spread_and_hold_the_one_that_is_compared() {
        assert_eq!(attack_frames(1, 0), [0]);
        assert_eq!(attack_frames(3, 2), [0, 1, 2]);
        assert_eq!(attack_frames(6, 2), [0, 2, 4]);
        assert_eq!(attack_frames(6, 5), [0, 2, 5]);
        assert_eq!(attack_frames(8, 7), [0, 2, 7]);
    }
}
