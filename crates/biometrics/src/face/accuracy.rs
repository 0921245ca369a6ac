//! How often faces are judged wrongly, alone and end to end (ISO/IEC 19795-1, 30107-3).

use std::collections::BTreeMap;
use std::ops::Range;

use super::{FacePipeline, Fault, Gates, Located, Pose, Prepared, Retry, Template};
pub use crate::accuracy::Rate;
use crate::accuracy::Scores;
use crate::color_image::ColorImage;
use crate::score::Score;

/// Everything that the pipeline says of one photo, with no gate applied.
pub struct Sample {
    /// Who is shown.
    pub person: String,
    /// Which photo.
    pub photo: String,
    /// What was found; `None` without a face.
    pub found: Option<Found>,
}

/// What the pipeline found in a photo.
pub struct Found {
    /// Where and how good.
    pub located: Located,
    /// Probability of a living person, 0 to 1.
    pub liveness: f32,
    /// The template.
    pub template: Template,
    /// How the head is held.
    pub pose: Option<Pose>,
}

impl Sample {
    /// Runs all stages on a photo.
    pub fn of(pipeline: &FacePipeline, person: &str, photo: &str, image: &ColorImage) -> Result<Self, Fault> {
        let mut found = None;
        if let Some(located) = pipeline.finder().measure(image)? {
            let liveness = pipeline.liveness(image, &located.face)?;
            let template = pipeline.template(image, &located)?;
            let pose = pipeline.finder().pose(image, &located)?;
            found = template.ok().map(|template| Found { located, liveness, template, pose });
        }
        Ok(Self { person: person.to_owned(), photo: photo.to_owned(), found })
    }

    /// What was found, if the gate takes it.
    pub fn gate(&self, gates: &Gates) -> Result<&Found, Retry> {
        let found = self.found.as_ref().ok_or(Retry::NoFace)?;
        gates.check(&found.located.measures).map(|()| found)
    }
}

/// Sorts samples by person and photo and tells where each person's lie.
pub fn sort(samples: &mut [Sample]) -> Vec<Range<usize>> {
    samples.sort_by(|a, b| (&a.person, &a.photo).cmp(&(&b.person, &b.photo)));
    let mut persons: Vec<Range<usize>> = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        match persons.last_mut() {
            Some(last) if samples[last.start].person == sample.person => last.end = index + 1,
            _ => persons.push(index..index + 1),
        }
    }
    persons
}

/// Scores of all comparisons with gates and attack detection off: genuine = all pairs of a person's photos, impostor
/// = all pairs of photos of two persons. Samples are sorted by [`sort`], which gives `persons`. `progress` is told
/// how many persons are done.
pub fn scores(samples: &[Sample], persons: &[Range<usize>], mut progress: impl FnMut(usize)) -> Scores {
    let (mut genuine, mut impostor, mut genuine_failed) = (Vec::new(), Vec::new(), 0);
    for (number, person) in persons.iter().enumerate() {
        for first in person.clone() {
            let later = &samples[first + 1..person.end];
            let Some(found) = &samples[first].found else {
                genuine_failed += later.len();
                continue;
            };
            genuine_failed += later.iter().filter(|other| other.found.is_none()).count();
            let prepared = Prepared::new(vec![found.template.clone()]);
            let score = |other: &Sample| other.found.as_ref().map(|other| prepared.score(&other.template));
            genuine.extend(later.iter().filter_map(score));
            impostor.extend(samples[person.end..].iter().filter_map(score));
        }
        progress(number + 1);
    }
    let failures_to_acquire = samples.iter().filter(|sample| sample.found.is_none()).count();
    Scores::new(genuine, impostor, genuine_failed, failures_to_acquire)
}

fn count(rate: &mut Rate, error: bool) {
    rate.errors += usize::from(error);
    rate.trials += 1;
}

const NONE: Rate = Rate { errors: 0, trials: 0 };

/// What is switched on for [`end_to_end`].
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The quality gate.
    pub gates: Gates,
    /// Least probability of a living person.
    pub live_min: f32,
    /// Least score of a match.
    pub threshold: Score,
}

/// What a payer sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndToEnd {
    /// The right person is not accepted with one photo: gate, attack detection or comparison.
    pub first_try: Rate,
    /// The same where a second photo is tried after the first; only persons with a third photo to be enrolled with.
    pub second_try: Rate,
    /// Another person is accepted, of all pairs of photos of two persons.
    pub impostor: Rate,
    /// Photos that the gate refuses.
    pub failure_to_acquire: Rate,
    /// Living faces, of all that were found, taken for an attack (BPCER).
    pub taken_for_attack: Rate,
    /// Photos that the gate refuses, by guidance code.
    pub reasons: BTreeMap<&'static str, usize>,
}

/// Every photo that passes the gate is enrolled once, and every other photo of that person tries to pass against it;
/// where that fails, the person's next photo is the second try. Attack detection is on for tries, off for enrolment
/// (which is attended). Samples are sorted by [`sort`], which gives `persons`. `progress` is told how many persons
/// are done.
pub fn end_to_end(
    samples: &[Sample],
    persons: &[Range<usize>],
    settings: &Settings,
    mut progress: impl FnMut(usize),
) -> EndToEnd {
    let mut result = EndToEnd {
        first_try: NONE,
        second_try: NONE,
        impostor: NONE,
        failure_to_acquire: NONE,
        taken_for_attack: NONE,
        reasons: BTreeMap::new(),
    };
    let gated: Vec<Result<&Found, Retry>> =
        samples.iter().map(|sample| sample.gate(&settings.gates)).collect();
    for (sample, gated) in samples.iter().zip(&gated) {
        count(&mut result.failure_to_acquire, gated.is_err());
        if let Err(retry) = gated {
            *result.reasons.entry(retry.code()).or_default() += 1;
        }
        if let Some(found) = &sample.found {
            count(&mut result.taken_for_attack, found.liveness < settings.live_min);
        }
    }
    let tries: Vec<Option<&Found>> = gated
        .iter()
        .map(|gated| gated.as_ref().ok().copied().filter(|found| found.liveness >= settings.live_min))
        .collect();
    for (number, person) in persons.iter().enumerate() {
        for enrolled in person.clone() {
            let Ok(found) = gated[enrolled] else { continue };
            let prepared = Prepared::new(vec![found.template.clone()]);
            let passes = |photo: usize| {
                tries[photo].is_some_and(|other| prepared.score(&other.template) >= settings.threshold)
            };
            let others: Vec<usize> = person.clone().filter(|other| *other != enrolled).collect();
            for (index, photo) in others.iter().enumerate() {
                let passed = passes(*photo);
                count(&mut result.first_try, !passed);
                if others.len() > 1 {
                    let next = others[(index + 1) % others.len()];
                    count(&mut result.second_try, !passed && !passes(next));
                }
            }
            let strangers = (0..person.start).chain(person.end..samples.len());
            strangers.for_each(|stranger| count(&mut result.impostor, passes(stranger)));
        }
        progress(number + 1);
    }
    result
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::quality::tests::good;
    use super::*;
    use crate::face::Rectangle;
    use crate::model_pack::ModelId;

    fn located() -> Located {
        let face = Rectangle { left: 0.0, top: 0.0, width: 10.0, height: 10.0 };
        Located { face, points: [[0.0; 2]; 5], measures: good(), quality: 80 }
    }

    fn sample(person: &str, photo: usize, vector: &[f32]) -> Sample {
        let template = Template::of(vector, ModelId([1; 8]), 80).unwrap();
        let found = Some(Found { located: located(), liveness: 0.9, template, pose: None });
        Sample { person: person.to_owned(), photo: photo.to_string(), found }
    }

    /// People as random directions, their photos as noise around them.
    pub(in super::super) fn crowd(people: usize, photos: usize, noise: f32) -> Vec<Sample> {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The sum of a few is nearly normal.
            (0..4).map(|part| ((state >> (part * 12 + 8)) & 0xfff) as f32 / 4096.0 - 0.5).sum::<f32>()
        };
        let mut samples = Vec::new();
        for person in 0..people {
            let own: Vec<f32> = (0..48).map(|_| random()).collect();
            for photo in 0..photos {
                let vector: Vec<f32> = own.iter().map(|value| value + noise * random()).collect();
                samples.push(sample(&format!("{person:03}"), photo, &vector));
            }
        }
        samples
    }

    #[test]
    fn all_pairs_are_compared_and_photos_without_a_face_counted() {
        let mut samples = crowd(6, 3, 0.3);
        samples[4].found = None;
        samples.reverse();
        let persons = sort(&mut samples);
        assert_eq!(persons.len(), 6);
        let mut done = 0;
        let scores = scores(&samples, &persons, |persons| done = persons);
        assert_eq!((done, scores.failures_to_acquire()), (6, 1));
        assert_eq!((scores.genuine().len(), scores.impostor().len()), (5 * 3 + 1, 10 * 9 + 5 * 6));
        // The two pairs with the photo without a face count as not matched.
        assert_eq!(scores.fnmr(Score(0)), Rate { errors: 2, trials: 18 });
        assert!(scores.genuine().first() > scores.impostor().last());
    }

    #[test]
    fn gate_attack_detection_and_comparison_all_refuse() {
        let vector = [1.0, 0.0, 0.0];
        let mut samples: Vec<Sample> = (0..4).map(|photo| sample("a", photo, &vector)).collect();
        samples.push(sample("b", 0, &[0.0, 1.0, 0.0]));
        samples[1].found.as_mut().unwrap().liveness = 0.1;
        samples[2].found.as_mut().unwrap().located.measures.luminance = 3.0;
        let persons = sort(&mut samples);
        let settings = Settings { gates: Gates::DEFAULT, live_min: 0.5, threshold: Score(5_000) };
        let result = end_to_end(&samples, &persons, &settings, |_| {});
        // Enrolled: 0, 1 and 3; each is tried by the other three, of which only 0 and 3 can pass.
        assert_eq!(result.first_try, Rate { errors: 5, trials: 9 });
        // 0 by 1 then 2 fails; 0 by 2 then 3 and 3 by 2 then 0 pass; 3 by 1 then 2 fails.
        assert_eq!(result.second_try, Rate { errors: 2, trials: 9 });
        assert_eq!(result.impostor, Rate { errors: 0, trials: 3 + 4 });
        assert_eq!(result.failure_to_acquire, Rate { errors: 1, trials: 5 });
        assert_eq!(result.taken_for_attack, Rate { errors: 1, trials: 5 });
        assert_eq!(result.reasons, BTreeMap::from([("too_dark", 1)]));
        assert!((result.first_try.share() - 5.0 / 9.0).abs() < 1e-9 && result.first_try.interval().0 > 0.1);
    }
}
