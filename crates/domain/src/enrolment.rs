//! Enrolment: from consent to templates in use, and how much the pictures of a face must differ.

use serde::{Deserialize, Serialize};

use crate::text::text_enum;

text_enum! {
    /// Where an enrolment stands.
    EnrolmentState {
        /// Samples are awaited.
        Capturing = "capturing",
        /// Somebody enrolled looks much alike: the templates are kept but not used until staff have looked.
        Review = "review",
        /// The templates are in use.
        Active = "active",
        /// Withdrawn or replaced: the templates are destroyed.
        Revoked = "revoked",
    }
}

/// How a head is held before the camera, estimated roughly from five points of the face, in whole degrees, -90 to 90.
/// Zero is an average face that looks straight into the camera; noses differ, so only differences within one person
/// mean something. How far a head is tilted to a shoulder is no part of it: that is turned back before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Turn to the side; positive to the person's own left.
    pub yaw_deg: i8,
    /// Turn up or down; positive up.
    pub pitch_deg: i8,
}

/// Least angle between two poses that are told apart, in degrees.
pub const POSE_DIFFERENCE_DEG_MIN: u16 = 5;

/// Poses of a face that an enrolment holds at least, each two of them apart by [`POSE_DIFFERENCE_DEG_MIN`].
pub const POSES_MIN: usize = 3;

text_enum! {
    /// What the person enrolled is asked to do for the next picture, a little. Left and right are their own.
    Turn {
        /// To the left.
        Left = "turn_left",
        /// To the right.
        Right = "turn_right",
        /// Up.
        Up = "look_up",
    }
}

/// Too few poses: pictures are the same or nearly so. The samples are of no use as an enrolment, and others are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pictures show {distinct} of {POSES_MIN} poses of the head")]
pub struct TooFewPoses {
    /// How many differ.
    pub distinct: usize,
}

impl TooFewPoses {
    /// The guidance in snake case, as it goes to desks.
    pub const CODE: &str = "turn_head";
}

impl Pose {
    /// Whether the angle to another pose is at least so many degrees.
    pub fn is_apart(self, other: Pose, degrees: u16) -> bool {
        let square = |a: i8, b: i8| u32::from(a.abs_diff(b)).pow(2);
        square(self.yaw_deg, other.yaw_deg) + square(self.pitch_deg, other.pitch_deg)
            >= u32::from(degrees).pow(2)
    }
}

/// The most poses among these of which each two are apart. Tries every choice: an enrolment has at most five samples.
fn distinct(chosen: &mut Vec<Pose>, poses: &[Pose]) -> usize {
    let Some((first, others)) = poses.split_first() else { return chosen.len() };
    let without = distinct(chosen, others);
    if !chosen.iter().all(|pose| pose.is_apart(*first, POSE_DIFFERENCE_DEG_MIN)) {
        return without;
    }
    chosen.push(*first);
    let with = distinct(chosen, others);
    chosen.pop();
    with.max(without)
}

/// Whether the samples of one enrolment show the face in enough poses.
pub fn check_poses(poses: &[Pose]) -> Result<(), TooFewPoses> {
    let distinct = distinct(&mut Vec::with_capacity(poses.len()), poses);
    if distinct < POSES_MIN { Err(TooFewPoses { distinct }) } else { Ok(()) }
}

/// What to ask for next when these poses were taken: the first of left, right and up that none of them is, seen from
/// the first. `None` before the first picture, for which a person just looks, and once all were seen.
pub fn next_turn(taken: &[Pose]) -> Option<Turn> {
    let first = taken.first()?;
    let reached = |turned: fn(Pose) -> i16| {
        let from = turned(*first);
        taken.iter().any(|pose| turned(*pose) - from >= POSE_DIFFERENCE_DEG_MIN.cast_signed())
    };
    if !reached(|pose| i16::from(pose.yaw_deg)) {
        return Some(Turn::Left);
    }
    if !reached(|pose| -i16::from(pose.yaw_deg)) {
        return Some(Turn::Right);
    }
    (!reached(|pose| i16::from(pose.pitch_deg))).then_some(Turn::Up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pose(yaw_deg: i8, pitch_deg: i8) -> Pose {
        Pose { yaw_deg, pitch_deg }
    }

    #[test]
    fn one_picture_several_times_is_refused_and_three_turns_of_the_head_are_taken() {
        assert_eq!(check_poses(&[pose(3, -2); 3]), Err(TooFewPoses { distinct: 1 }));
        assert_eq!(check_poses(&[]), Err(TooFewPoses { distinct: 0 }));
        // Near copies: each differs a little from the others.
        assert_eq!(check_poses(&[pose(3, -2), pose(5, -1), pose(2, 1)]), Err(TooFewPoses { distinct: 1 }));
        assert_eq!(check_poses(&[pose(0, 0), pose(12, 0), pose(13, 1)]), Err(TooFewPoses { distinct: 2 }));
        assert_eq!(check_poses(&[pose(0, 0), pose(5, 0), pose(-5, 0)]), Ok(()));
        assert_eq!(check_poses(&[pose(0, 0), pose(4, 3), pose(0, 8)]), Ok(()));
        assert_eq!(check_poses(&[pose(0, 0), pose(4, 2), pose(0, 8)]), Err(TooFewPoses { distinct: 2 }));
        assert_eq!(check_poses(&[pose(90, 90), pose(-90, -90), pose(90, -90)]), Ok(()));
    }

    #[test]
    fn of_more_pictures_any_three_that_differ_are_enough() {
        // The one in the middle is near to two others, which are apart from each other.
        let poses = [pose(0, 0), pose(0, 0), pose(-3, 0), pose(3, 0), pose(0, 9)];
        assert_eq!(check_poses(&poses), Ok(()));
        assert_eq!(check_poses(&poses[..4]), Err(TooFewPoses { distinct: 2 }));
    }

    #[test]
    fn whoever_follows_the_guidance_is_enrolled() {
        let mut taken = vec![pose(-4, 6)];
        let mut asked = Vec::new();
        while let Some(turn) = next_turn(&taken) {
            asked.push(turn);
            taken.push(match turn {
                Turn::Left => pose(3, 6),
                Turn::Right => pose(-9, 4),
                Turn::Up => pose(-3, 12),
            });
            if taken.len() == POSES_MIN {
                assert_eq!(check_poses(&taken), Ok(()));
            }
        }
        assert_eq!(asked, [Turn::Left, Turn::Right, Turn::Up]);
        assert_eq!(next_turn(&[]), None);
        // Who turned the other way first is asked for what is missing.
        assert_eq!(next_turn(&[pose(0, 0), pose(-9, 0)]), Some(Turn::Left));
        assert_eq!(next_turn(&[pose(0, 0), pose(-9, 0), pose(9, 0)]), Some(Turn::Up));
    }
}
