//! A camera. Its page posts frames while somebody is asked to look into it: `POST /v1/frames?at_ms=N` with a JPEG body
//! (`image/jpeg`), answered by [`FrameAnswer`], or 409 `invalid_state` if nobody was asked, 400 or 413 if the frame
//! cannot be read. The page sends the next frame when it has the answer to the one before. A camera that this process
//! opened itself (feature `v4l2`) offers its frames here as well.
//!
//! Frames are judged here, so that the payer hears at once what to do and only good ones travel: one face, near enough,
//! lit and sharp. All frames of a sample show the face that was there first: if another one takes its place, the sample
//! begins anew.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, header};
use axum::routing::post;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::FRAME_BYTES_MAX;
use selfsame_api::serve::{Body, Json, Query};
use selfsame_api::verifier::FrameAnswer;
use selfsame_domain::challenge::Challenge;
use selfsame_domain::enrolment::{POSE_DIFFERENCE_DEG_MIN, Pose, next_turn};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{CaptureError, Sample, SampleFrame};
#[cfg(all(feature = "v4l2", target_os = "linux"))]
use crate::face::JudgeError;
use crate::face::{FaceFinder, Found};
use crate::lock;

/// Shortest time that the frames of one sample lie apart, in milliseconds: attack detection looks for what changes.
const SPREAD_MS: u32 = 300;

/// Good frames that are kept while better ones are awaited. About 100 kB each.
const KEPT_MAX: usize = 12;

/// Least overlap of a face with the one of the frame before (intersection over union), to be taken for the same face.
/// At ten frames a second a head does not move by half its width.
const OVERLAP_MIN: f32 = 0.3;

/// Least angle between the poses of an enrolment here, in degrees. The matcher sees a frame that was cut and coded once
/// more, whose pose is up to one and a half degrees another one (99 % of photos set into a camera's picture).
const POSE_DIFFERENCE_DEG: u16 = POSE_DIFFERENCE_DEG_MIN + 2;

/// So many frames in a row that cannot be read are no disturbance.
#[cfg(all(feature = "v4l2", target_os = "linux"))]
const SPOILT_MAX: u32 = 10;

/// Guidance when the colours were shown but not seen in every frame: the page begins them again.
const START_AGAIN: &str = "start_again";

/// A good frame.
struct Kept {
    at_ms: u32,
    found: Found,
}

/// What a capture is asked for.
pub(super) struct Wanted<'a> {
    /// The colours that the face is lit with.
    pub(super) challenge: Option<&'a Challenge>,
    /// Of an enrolment, the poses that were taken before.
    pub(super) taken: Option<&'a [Pose]>,
    /// How many frames.
    pub(super) frames: usize,
}

/// A capture that is going on.
struct Waiting {
    /// Tells this capture from the one that takes its place.
    number: u64,
    challenge: Option<Challenge>,
    taken: Option<Vec<Pose>>,
    frames: usize,
    kept: Vec<Kept>,
    last_ms: u32,
    /// Frames since the last one that could be read.
    spoilt: u32,
    guidance: watch::Sender<Option<&'static str>>,
    sample: oneshot::Sender<Sample>,
}

#[derive(Default)]
struct Captures {
    number: u64,
    waiting: Option<Waiting>,
}

/// The place where a camera's frames arrive. At most one capture waits at a time; a later one takes its place.
#[derive(Clone)]
pub struct Camera {
    finder: Arc<FaceFinder>,
    captures: Arc<Mutex<Captures>>,
    judging: Arc<Semaphore>,
}

impl Camera {
    /// A camera whose frames are judged by `finder`.
    pub fn new(finder: Arc<FaceFinder>) -> Self {
        Self { finder, captures: Arc::default(), judging: Arc::new(Semaphore::new(1)) }
    }

    pub(super) async fn next(
        &self,
        wanted: Wanted<'_>,
        guide: impl Fn(Option<&'static str>) + Send + Sync,
    ) -> Result<Sample, CaptureError> {
        let (guidance, mut guided) = watch::channel(None);
        let (sender, mut sample) = oneshot::channel();
        {
            let mut captures = lock(&self.captures);
            captures.number += 1;
            captures.waiting = Some(Waiting {
                number: captures.number,
                challenge: wanted.challenge.cloned(),
                taken: wanted.taken.map(<[Pose]>::to_vec),
                frames: wanted.frames,
                kept: Vec::new(),
                last_ms: 0,
                spoilt: 0,
                guidance,
                sample: sender,
            });
        }
        loop {
            tokio::select! {
                sample = &mut sample => return sample.map_err(|_| CaptureError::GivenUp),
                Ok(()) = guided.changed() => guide(*guided.borrow_and_update()),
            }
        }
    }

    pub(super) fn routes(&self) -> Router {
        Router::new()
            .route("/v1/frames", post(take_frame))
            .layer(DefaultBodyLimit::max(FRAME_BYTES_MAX))
            .with_state(self.clone())
    }

    /// The capture that waits now, if somebody still waits for it, and whether it is one of an enrolment.
    fn awaited(&self) -> Option<(u64, bool)> {
        let mut captures = lock(&self.captures);
        if captures.waiting.as_ref().is_some_and(|waiting| waiting.sample.is_closed()) {
            captures.waiting = None;
        }
        captures.waiting.as_ref().map(|waiting| (waiting.number, waiting.taken.is_some()))
    }

    /// Judges a frame of a camera that this process opened itself, on a thread of `runtime`. Left out, without a copy being
    /// made of it, if nobody waits for one or the one before is being judged.
    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    pub(super) fn offer(
        &self,
        runtime: &tokio::runtime::Handle,
        at_ms: u32,
        copy: impl FnOnce() -> super::v4l2::Picture,
    ) {
        let Some((number, with_pose)) = self.awaited() else { return };
        let Ok(permit) = self.judging.clone().try_acquire_owned() else { return };
        let (camera, picture) = (self.clone(), copy());
        runtime.spawn_blocking(move || {
            let _permit = permit;
            let judged = picture.jpeg().map_err(JudgeError::from);
            match judged.and_then(|jpeg| camera.finder.judge(&jpeg, with_pose)) {
                Ok(judged) => {
                    camera.take(number, at_ms, judged);
                }
                Err(error) => camera.spoil(number, &error),
            }
        });
    }

    /// Leaves a frame out that was disturbed on its way; the next one comes by itself. After too many in a row the capture is
    /// given up, as a fault of ours: waiting longer would look as if the payer had not come.
    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    fn spoil(&self, number: u64, error: &JudgeError) {
        let mut captures = lock(&self.captures);
        let Some(waiting) = captures.waiting.as_mut().filter(|waiting| waiting.number == number) else {
            return;
        };
        if waiting.spoil() {
            tracing::warn!(%error, "the camera's frames cannot be read");
            captures.waiting = None;
        }
    }

    /// Takes a judged frame of the capture `number`.
    fn take(&self, number: u64, at_ms: u32, judged: Result<Found, &'static str>) -> FrameAnswer {
        let mut captures = lock(&self.captures);
        let Some(waiting) = captures.waiting.as_mut().filter(|waiting| waiting.number == number) else {
            return FrameAnswer { kept: false, enough: true, guidance: None };
        };
        let (kept, guidance) = waiting.take(at_ms, judged);
        waiting.guidance.send_if_modified(|shown| std::mem::replace(shown, guidance) != guidance);
        let enough = waiting.is_complete();
        if enough && let Some(waiting) = captures.waiting.take() {
            waiting.deliver();
        }
        FrameAnswer { kept, enough, guidance: guidance.map(str::to_owned) }
    }
}

impl Waiting {
    /// Keeps a good frame; answers whether it was kept and what the payer should do.
    fn take(&mut self, at_ms: u32, judged: Result<Found, &'static str>) -> (bool, Option<&'static str>) {
        if at_ms < self.last_ms {
            // The page began again.
            self.kept.clear();
        }
        (self.last_ms, self.spoilt) = (at_ms, 0);
        let found = match judged {
            Ok(found) => found,
            Err(guidance) => return (false, Some(guidance)),
        };
        if let Some(turn) = self.missing_turn(found.pose) {
            return (false, Some(turn));
        }
        if self.kept.last().is_some_and(|before| before.found.face.overlap(&found.face) < OVERLAP_MIN) {
            self.kept.clear();
        }
        if let Some(challenge) = &self.challenge {
            if at_ms >= challenge.duration_ms() {
                self.kept.clear();
                return (false, Some(START_AGAIN));
            }
            let Some(step) = challenge.step_at(at_ms) else { return (false, None) };
            let same = self.kept.iter().position(|kept| challenge.step_at(kept.at_ms) == Some(step));
            match same {
                Some(index) if self.kept[index].found.quality >= found.quality => return (false, None),
                Some(index) => self.kept[index] = Kept { at_ms, found },
                None => self.kept.push(Kept { at_ms, found }),
            }
            return (true, None);
        }
        self.kept.push(Kept { at_ms, found });
        if self.kept.len() > KEPT_MAX {
            // The worst but the first and the last, which hold the spread.
            let inner = 1..self.kept.len() - 1;
            let worst =
                inner.min_by(|a, b| self.kept[*a].found.quality.total_cmp(&self.kept[*b].found.quality));
            worst.map(|index| self.kept.remove(index));
        }
        (true, None)
    }

    /// Counts a frame that cannot be read; answers whether these are too many in a row.
    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    fn spoil(&mut self) -> bool {
        self.spoilt += 1;
        self.spoilt >= SPOILT_MAX
    }

    /// What the person enrolled should do if the head is still held as in an earlier picture.
    fn missing_turn(&self, pose: Option<Pose>) -> Option<&'static str> {
        let (taken, pose) = (self.taken.as_ref()?, pose?);
        let turn = next_turn(taken)?;
        let is_new = taken.iter().all(|earlier| pose.is_apart(*earlier, POSE_DIFFERENCE_DEG));
        (!is_new).then_some(turn.as_str())
    }

    fn is_complete(&self) -> bool {
        if let Some(challenge) = &self.challenge {
            return self.kept.len() >= challenge.colours.len();
        }
        let spread_ms = match (self.kept.first(), self.kept.last()) {
            (Some(first), Some(last)) => last.at_ms - first.at_ms,
            _ => 0,
        };
        self.kept.len() >= self.frames && (self.frames == 1 || spread_ms >= SPREAD_MS)
    }

    /// The frames of a challenge in the order of time, or else the best ones, the best first: that one is compared.
    fn deliver(mut self) {
        let mut start_ms = 0;
        if self.challenge.is_some() {
            self.kept.sort_by_key(|kept| kept.at_ms);
        } else {
            self.kept.sort_by(|a, b| b.found.quality.total_cmp(&a.found.quality));
            self.kept.truncate(self.frames);
            start_ms = self.kept.iter().map(|kept| kept.at_ms).min().unwrap_or_default();
        }
        let frames = self.kept.into_iter().map(|kept| SampleFrame {
            pose: kept.found.pose,
            ..SampleFrame::face(kept.found.jpeg, kept.at_ms - start_ms)
        });
        // Whoever waited may have gone; then nobody wants the frames.
        let _ = self.sample.send(frames.collect());
    }
}

/// When a frame was taken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    at_ms: u32,
}

async fn take_frame(
    State(camera): State<Camera>,
    Query(taken): Query<Taken>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<FrameAnswer>, Problem> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != "image/jpeg") {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType).detail("send image/jpeg"));
    }
    let nobody =
        || Problem::new(ProblemCode::InvalidState).detail("nobody was asked to look into the camera");
    let (number, with_pose) = camera.awaited().ok_or_else(nobody)?;
    // A page that does not wait for the answers would only make the payer wait: its frames are left out.
    let Ok(_permit) = camera.judging.clone().try_acquire_owned() else {
        return Ok(Json(FrameAnswer { kept: false, enough: false, guidance: None }));
    };
    let finder = camera.finder.clone();
    let judged = tokio::task::spawn_blocking(move || finder.judge(&body, with_pose)).await;
    let judged = judged.map_err(|_| Problem::new(ProblemCode::Internal))?;
    let judged = judged.map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    Ok(Json(camera.take(number, taken.at_ms, judged)))
}

#[cfg(test)]
mod tests {
    use selfsame_biometrics::face::Rectangle;
    use selfsame_domain::challenge::{FLASH_RANDOM_BYTES, FLASH_SETTLE_MS};

    use super::*;

    fn found(x: f32, quality: f32) -> Found {
        let face = Rectangle { left: x, top: 100.0, width: 100.0, height: 100.0 };
        Found { jpeg: vec![quality as u8], quality, face, pose: None }
    }

    fn waiting(frames: usize, challenge: Option<Challenge>) -> (Waiting, oneshot::Receiver<Sample>) {
        let (sample, receiver) = oneshot::channel();
        let guidance = watch::Sender::new(None);
        let kept = Vec::new();
        let (taken, last_ms, spoilt) = (None, 0, 0);
        (Waiting { number: 1, challenge, taken, frames, kept, last_ms, spoilt, guidance, sample }, receiver)
    }

    fn delivered(waiting: Waiting, mut receiver: oneshot::Receiver<Sample>) -> Vec<(u32, u8)> {
        assert!(waiting.is_complete());
        waiting.deliver();
        receiver.try_recv().unwrap().iter().map(|frame| (frame.offset_ms, frame.image[0])).collect()
    }

    #[test]
    fn the_best_frames_are_sent_and_the_best_comes_first() {
        let (mut waiting, receiver) = waiting(3, None);
        for (at_ms, quality) in [(1_000, 50.0), (1_100, 90.0), (1_200, 10.0), (1_300, 70.0)] {
            assert!(waiting.take(at_ms, Ok(found(100.0, quality))).0);
        }
        assert_eq!(delivered(waiting, receiver), [(100, 90), (300, 70), (0, 50)]);
    }

    #[test]
    fn frames_of_one_moment_are_not_enough() {
        let (mut waiting, _receiver) = waiting(3, None);
        for at_ms in [0, 50, 100, 150, 299] {
            waiting.take(at_ms, Ok(found(100.0, 50.0)));
            assert!(!waiting.is_complete());
        }
        waiting.take(300, Ok(found(100.0, 50.0)));
        assert!(waiting.is_complete());
    }

    #[test]
    fn another_face_in_the_same_place_begins_the_sample_anew() {
        let (mut waiting, _receiver) = waiting(3, None);
        for (at_ms, x) in [(0, 100.0), (200, 110.0), (400, 400.0)] {
            waiting.take(at_ms, Ok(found(x, 50.0)));
        }
        assert_eq!(waiting.kept.len(), 1);
    }

    #[test]
    fn the_payer_hears_what_is_wrong_with_a_frame() {
        let (mut waiting, _receiver) = waiting(1, None);
        assert_eq!(waiting.take(0, Err("too_far")), (false, Some("too_far")));
        assert_eq!(waiting.take(100, Ok(found(100.0, 50.0))), (true, None));
        assert!(waiting.is_complete());
    }

    #[test]
    fn an_enrolment_waits_until_the_head_is_held_otherwise() {
        let held = |yaw_deg: i8| Found { pose: Some(Pose { yaw_deg, pitch_deg: 0 }), ..found(100.0, 50.0) };
        let (waiting_for_first, receiver) = waiting(1, None);
        let mut first = Waiting { taken: Some(Vec::new()), ..waiting_for_first };
        assert_eq!(first.take(0, Ok(held(-2))), (true, None));
        first.deliver();
        let sample = { receiver }.try_recv().unwrap();
        let taken: Vec<Pose> = sample.iter().filter_map(|frame| frame.pose).collect();
        assert_eq!(taken, [Pose { yaw_deg: -2, pitch_deg: 0 }]);

        let (waiting_for_second, _receiver) = waiting(1, None);
        let mut second = Waiting { taken: Some(taken), ..waiting_for_second };
        for yaw in [-2, 0, 4] {
            assert_eq!(second.take(100, Ok(held(yaw))), (false, Some("turn_left")));
            assert!(!second.is_complete());
        }
        // What the gate says goes first.
        assert_eq!(second.take(200, Err("blurred")), (false, Some("blurred")));
        assert_eq!(second.take(300, Ok(held(5))), (true, None));
        assert!(second.is_complete());
    }

    #[test]
    fn a_challenge_wants_a_frame_of_every_colour_after_the_light_has_settled() {
        let challenge = Challenge::draw([7; FLASH_RANDOM_BYTES]);
        let steps = challenge.colours.len() as u32;
        let step_ms = challenge.step_ms;
        let (mut waiting, receiver) = waiting(3, Some(challenge));
        for step in 0..steps {
            assert_eq!(
                waiting.take(step * step_ms + FLASH_SETTLE_MS - 1, Ok(found(100.0, 99.0))),
                (false, None)
            );
            assert!(!waiting.is_complete());
            waiting.take(step * step_ms + FLASH_SETTLE_MS, Ok(found(100.0, 40.0)));
            if step + 1 < steps {
                waiting.take(step * step_ms + FLASH_SETTLE_MS + 50, Ok(found(100.0, 60.0)));
            }
        }
        let delivered = delivered(waiting, receiver);
        assert_eq!(delivered.len(), steps as usize);
        assert!(delivered.is_sorted());
        assert_eq!(delivered[0], (FLASH_SETTLE_MS + 50, 60));
    }

    #[test]
    fn colours_that_were_not_all_seen_are_shown_again() {
        let challenge = Challenge::draw([7; FLASH_RANDOM_BYTES]);
        let end_ms = challenge.duration_ms();
        let (mut waiting, _receiver) = waiting(3, Some(challenge));
        waiting.take(FLASH_SETTLE_MS, Ok(found(100.0, 40.0)));
        assert_eq!(waiting.take(end_ms, Ok(found(100.0, 40.0))), (false, Some(START_AGAIN)));
        assert!(waiting.kept.is_empty());
    }

    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    #[test]
    fn frames_that_cannot_be_read_end_a_capture_only_if_none_between_them_can() {
        let (mut waiting, _receiver) = waiting(3, None);
        for _ in 1..SPOILT_MAX {
            assert!(!waiting.spoil());
        }
        waiting.take(0, Err("no_face"));
        assert!((1..SPOILT_MAX).all(|_| !waiting.spoil()));
        assert!(waiting.spoil());
    }
}
