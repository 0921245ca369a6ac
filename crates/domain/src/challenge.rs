//! A random challenge that a living face in front of the screen cannot help answering: the screen lights up in colours
//! whose order only the server knows beforehand, and the skin reflects them.
//!
//! A photograph or a recording reflects or shows other colours at the wrong moment. Off by default: it takes two and a
//! half seconds and needs a bright screen near the face. Idea: D. Tang et al., "Face Flashing", NDSS 2018.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::text_enum;

text_enum! {
    /// A colour of the screen: one of the camera's own primaries, so that each moves one channel.
    FlashColour {
        /// Red.
        Red = "red",
        /// Green.
        Green = "green",
        /// Blue.
        Blue = "blue",
    }
}

const COLOURS: [FlashColour; 3] = [FlashColour::Red, FlashColour::Green, FlashColour::Blue];

/// Colours of one challenge. 540 orders have six places and every colour: guessing one succeeds in 0.2 % of tries.
pub const FLASH_STEPS: usize = 6;

/// How long one colour stands, in milliseconds. 2.4 changes a second stay below the three flashes that WCAG 2.3.1 allows.
pub const FLASH_STEP_MS: u32 = 420;

/// The beginning of a step in which the screen and the camera's exposure still change; such frames say nothing.
pub const FLASH_SETTLE_MS: u32 = 160;

/// How much longer than the colours themselves an answer may take, from the moment that the server drew them: the payer
/// has to step up, and the frames have to travel.
pub const FLASH_ANSWER_MAX: Duration = Duration::from_secs(30);

/// Random bytes that a challenge is drawn from: sixteen tries for an order that has every colour.
pub const FLASH_RANDOM_BYTES: usize = 16 * FLASH_STEPS;

/// The colours of one challenge in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The colours.
    pub colours: Vec<FlashColour>,
    /// How long each stands, in milliseconds.
    pub step_ms: u32,
}

/// Why an answer cannot be the answer to this challenge, whatever its frames show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Sooner than the colours could have been shown, or so late that they could have been learnt and played back.
    #[error("the answer came after {elapsed_ms} ms, which is too soon or too late for the challenge")]
    Elapsed {
        /// Time since the server drew the challenge.
        elapsed_ms: u64,
    },
    /// Frames are not in the order of time, or lie after the end.
    #[error("the frames are not in the order of the challenge")]
    Order,
    /// A colour has no frame that could show it.
    #[error("there is no frame of step {step}")]
    Missing {
        /// The first such step, from 0.
        step: usize,
    },
}

impl Challenge {
    /// Draws an order in which every colour comes up, each such order as likely as any other.
    pub fn draw(random: [u8; FLASH_RANDOM_BYTES]) -> Self {
        // 252 is the largest multiple of 3 in a byte; larger bytes would favour the first colours.
        let drawn: Vec<FlashColour> =
            random.iter().filter(|byte| **byte < 252).map(|byte| COLOURS[usize::from(byte % 3)]).collect();
        let complete = |colours: &&[FlashColour]| COLOURS.iter().all(|colour| colours.contains(colour));
        // Steps of their own for every try: in overlapping ones, some orders would come up more often.
        let colours = drawn.chunks_exact(FLASH_STEPS).find(complete).map(<[_]>::to_vec);
        // A try fails with probability 189 / 729. That fifteen or more in a row do happens less than once in 10^8
        // draws; the order is then a known one.
        let colours = colours.unwrap_or_else(|| COLOURS.iter().cycle().take(FLASH_STEPS).copied().collect());
        Self { colours, step_ms: FLASH_STEP_MS }
    }

    /// How long all colours together take.
    pub fn duration_ms(&self) -> u32 {
        self.step_ms.saturating_mul(u32::try_from(self.colours.len()).unwrap_or(u32::MAX))
    }

    /// Which step a frame shows, `offset_ms` after the first colour came up; `None` while the light still changes.
    pub fn step_at(&self, offset_ms: u32) -> Option<usize> {
        let step = usize::try_from(offset_ms / self.step_ms.max(1)).ok()?;
        let settled = offset_ms % self.step_ms.max(1) >= FLASH_SETTLE_MS;
        (settled && step < self.colours.len()).then_some(step)
    }

    /// Checks order and timing of an answer: `offsets_ms` of its frames since the first colour, `elapsed` since the
    /// server drew the challenge, by the server's clock.
    pub fn check_timing(&self, offsets_ms: &[u32], elapsed: Duration) -> Result<(), ChallengeError> {
        let shown = Duration::from_millis(self.duration_ms().into());
        if elapsed < shown || elapsed > shown + FLASH_ANSWER_MAX {
            let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            return Err(ChallengeError::Elapsed { elapsed_ms });
        }
        let ascending = offsets_ms.is_sorted_by(|a, b| a < b);
        if !ascending || offsets_ms.last().is_some_and(|last| *last >= self.duration_ms()) {
            return Err(ChallengeError::Order);
        }
        let shows = |step: usize| offsets_ms.iter().any(|offset| self.step_at(*offset) == Some(step));
        match (0..self.colours.len()).find(|step| !shows(*step)) {
            Some(step) => Err(ChallengeError::Missing { step }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge() -> Challenge {
        Challenge::draw(std::array::from_fn(|index| index as u8))
    }

    fn offsets() -> Vec<u32> {
        (0..FLASH_STEPS as u32).map(|step| step * FLASH_STEP_MS + FLASH_SETTLE_MS + 10).collect()
    }

    const IN_TIME: Duration = Duration::from_secs(5);

    #[test]
    fn an_answer_in_time_and_order_is_accepted() {
        assert_eq!(challenge().check_timing(&offsets(), IN_TIME), Ok(()));
    }

    #[test]
    fn an_answer_cannot_come_before_the_colours_were_shown_nor_much_later() {
        let shown = Duration::from_millis(challenge().duration_ms().into());
        for (elapsed, fits) in [
            (shown - Duration::from_millis(1), false),
            (shown, true),
            (shown + FLASH_ANSWER_MAX, true),
            (shown + FLASH_ANSWER_MAX + Duration::from_millis(1), false),
        ] {
            assert_eq!(challenge().check_timing(&offsets(), elapsed).is_ok(), fits, "{elapsed:?}");
        }
    }

    #[test]
    fn frames_out_of_order_or_without_a_colour_are_refused() {
        let mut swapped = offsets();
        swapped.swap(1, 2);
        assert_eq!(challenge().check_timing(&swapped, IN_TIME), Err(ChallengeError::Order));
        let mut late = offsets();
        late.push(challenge().duration_ms());
        assert_eq!(challenge().check_timing(&late, IN_TIME), Err(ChallengeError::Order));
        let mut missing = offsets();
        missing.remove(3);
        assert_eq!(challenge().check_timing(&missing, IN_TIME), Err(ChallengeError::Missing { step: 3 }));
        assert_eq!(challenge().check_timing(&[], IN_TIME), Err(ChallengeError::Missing { step: 0 }));
    }

    #[test]
    fn frames_say_nothing_while_the_light_changes() {
        let challenge = challenge();
        assert_eq!(challenge.step_at(FLASH_SETTLE_MS - 1), None);
        assert_eq!(challenge.step_at(FLASH_SETTLE_MS), Some(0));
        assert_eq!(challenge.step_at(FLASH_STEP_MS + FLASH_SETTLE_MS), Some(1));
        assert_eq!(challenge.step_at(challenge.duration_ms() + FLASH_SETTLE_MS), None);
    }

    proptest! {
        #[test]
        fn every_challenge_has_every_colour(random in proptest::collection::vec(any::<u8>(), FLASH_RANDOM_BYTES)) {
            let challenge = Challenge::draw(random.try_into().expect("as many bytes as are asked for"));
            prop_assert_eq!(challenge.colours.len(), FLASH_STEPS);
            prop_assert!(COLOURS.iter().all(|colour| challenge.colours.contains(colour)));
        }
    }
}
