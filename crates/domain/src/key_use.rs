//! Uses of a device key, and how they betray a copy of it (ADR 0024).
//!
//! Whatever signs on one machine counts together: all programs that run at the same time are one *start*, with a random
//! name of its own, and each signature of it has the next counter. Two machines with the same key cannot keep to one such
//! count: sooner or later a start appears twice under two names, or somebody falls behind what was seen long ago.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::Timestamp;

/// The longest way of a request in which others can overtake it: longer than any signature is accepted after it was made,
/// with the allowed skew of clocks. What comes later than this and is still behind was not signed in its turn.
pub const DELAY_MAX: Duration = Duration::from_secs(120);

/// Starts and counters are below this, so that every database can keep them.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// One use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// How often the machine's programs were started, counting this time. Begins at 1 and is kept on the machine.
    pub start: u64,
    /// Random name of this start.
    pub instance: u64,
    /// The signature's number in this start. Begins at 1.
    pub counter: u64,
}

/// Text that is no use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form `start.instance.counter`")]
pub struct KeyUseError;

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}.{}", self.start, self.instance, self.counter)
    }
}

impl FromStr for KeyUse {
    type Err = KeyUseError;

    fn from_str(text: &str) -> Result<Self, KeyUseError> {
        let parse = |text: &str| {
            let mut parts = text.split('.');
            let (start, instance, counter) = (parts.next()?, parts.next()?, parts.next()?);
            let number = |text: &str| text.parse().ok().filter(|number| *number <= NUMBER_MAX);
            Some(Self {
                start: number(start)?,
                instance: u64::from_str_radix(instance, 16).ok()?,
                counter: number(counter)?,
            })
        };
        // Only what reads back as it was written, so that no use has two texts.
        parse(text).filter(|read| read.to_string() == text).ok_or(KeyUseError)
    }
}

/// Where a use stands in the order in which an honest machine signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// See [`KeyUse::start`].
    pub start: u64,
    /// See [`KeyUse::counter`].
    pub counter: u64,
}

/// What makes it likely that a key is used on two machines. A machine that was set back to an earlier state looks the
/// same, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneSign {
    /// The same start under another name.
    StartReused,
    /// Behind what was seen longer ago than any request can be under way.
    FellBehind,
    /// Two different requests with one counter.
    CounterReused,
}

impl CloneSign {
    /// The reason as recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            CloneSign::StartReused => "clone_start_reused",
            CloneSign::FellBehind => "clone_fell_behind",
            CloneSign::CounterReused => "clone_counter_reused",
        }
    }
}

/// What is remembered of the uses of one key. Of constant size, whatever its holders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    /// The furthest position.
    pub highest: Position,
    /// Name of the start of the furthest position.
    pub instance: u64,
    /// When the furthest position was first seen.
    pub highest_at: Timestamp,
    /// A position on its way to become the floor.
    pub mark: Position,
    /// Since when it has been the mark; it was seen by then.
    pub marked_at: Timestamp,
    /// Nothing honest is at or behind this any more.
    pub floor: Position,
}

impl KeyHistory {
    /// After the first use of a key.
    pub fn first(key_use: KeyUse, now: Timestamp) -> Self {
        let highest = key_use.position();
        Self {
            highest,
            instance: key_use.instance,
            highest_at: now,
            mark: highest,
            marked_at: now,
            floor: Position::default(),
        }
    }

    /// Takes a use over. After a sign of a clone the history begins anew with that use, so that a machine that was set
    /// back is noticed once, and two machines again and again.
    pub fn take(&mut self, key_use: KeyUse, now: Timestamp) -> Option<CloneSign> {
        self.raise_floor(now);
        let position = key_use.position();
        let sign = if position.start == self.highest.start && key_use.instance != self.instance {
            Some(CloneSign::StartReused)
        } else if position <= self.floor {
            Some(CloneSign::FellBehind)
        } else {
            None
        };
        if sign.is_some() {
            *self = Self::first(key_use, now);
        } else if position > self.highest {
            (self.highest, self.instance, self.highest_at) = (position, key_use.instance, now);
        }
        sign
    }

    /// Whoever signs in turn and is under way for [`DELAY_MAX`] at most arrives before what was signed after it is this
    /// old. Two marks are enough to know a floor that is at most twice as old.
    fn raise_floor(&mut self, now: Timestamp) {
        if now.since(self.highest_at) > DELAY_MAX {
            self.floor = self.highest;
            (self.mark, self.marked_at) = (self.highest, now);
        } else if now.since(self.marked_at) > DELAY_MAX {
            self.floor = self.mark;
            (self.mark, self.marked_at) = (self.highest, now);
        }
    }
}

impl KeyUse {
    fn position(self) -> Position {
        Position { start: self.start, counter: self.counter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + seconds * 1000)
    }

    fn key_use(start: u64, instance: u64, counter: u64) -> KeyUse {
        KeyUse { start, instance, counter }
    }

    #[test]
    fn a_use_reads_as_it_was_written() {
        let used = key_use(12, 0xab, 34);
        assert_eq!(used.to_string(), "12.00000000000000ab.34");
        assert_eq!(used.to_string().parse(), Ok(used));
        for text in
            ["", "1.2", "1.00000000000000ab.2.3", "01.00000000000000ab.2", "1.AB.2", "1.00000000000000AB.2"]
        {
            assert_eq!(text.parse::<KeyUse>(), Err(KeyUseError), "{text}");
        }
        let beyond = format!("{}.0000000000000001.1", u64::MAX);
        assert_eq!(beyond.parse::<KeyUse>(), Err(KeyUseError));
    }

    #[test]
    fn a_restart_and_a_late_request_of_the_start_before_are_honest() {
        let mut history = KeyHistory::first(key_use(1, 7, 10), at(0));
        assert_eq!(history.take(key_use(2, 8, 1), at(5)), None);
        assert_eq!(history.take(key_use(1, 7, 11), at(6)), None);
        // A start of which nothing had arrived yet is nothing special either.
        assert_eq!(history.take(key_use(4, 9, 1), at(7)), None);
        assert_eq!(history.take(key_use(3, 6, 1), at(8)), None);
    }

    #[test]
    fn a_copy_that_works_at_the_same_time_is_noticed_and_again_and_again() {
        let mut history = KeyHistory::first(key_use(5, 1, 100), at(0));
        // The copy was started from the same files, so it takes the next start; the machine itself goes on.
        let mut signs = Vec::new();
        for minute in 1..30_u64 {
            let now = at(60 * i64::try_from(minute).unwrap());
            assert_eq!(history.take(key_use(6, 2, minute), now), None, "who is ahead is not noticed");
            signs.extend(history.take(key_use(5, 1, 100 + minute), now));
        }
        assert!(signs.len() > 3, "{signs:?}");
        assert!(signs.iter().all(|sign| *sign == CloneSign::FellBehind));
    }

    #[test]
    fn a_copy_that_was_used_at_night_is_noticed_when_the_machine_starts() {
        let mut history = KeyHistory::first(key_use(5, 1, 100), at(0));
        assert_eq!(history.take(key_use(6, 2, 1), at(30_000)), None, "at night");
        let morning = history.take(key_use(6, 3, 1), at(60_000));
        assert_eq!(morning, Some(CloneSign::StartReused));
        // A thief who takes a number of his own is met as well.
        let mut history = KeyHistory::first(key_use(5, 1, 100), at(0));
        assert_eq!(history.take(key_use(900, 2, 1), at(30_000)), None, "at night");
        assert_eq!(history.take(key_use(6, 3, 1), at(60_000)), Some(CloneSign::FellBehind));
    }

    #[test]
    fn a_machine_that_was_set_back_is_noticed_once_and_goes_on() {
        let mut history = KeyHistory::first(key_use(50, 1, 9), at(0));
        assert_eq!(history.take(key_use(12, 2, 1), at(1_000)), Some(CloneSign::FellBehind));
        for number in 1..200_u64 {
            let now = at(1_000 + 60 * i64::try_from(number).unwrap());
            assert_eq!(history.take(key_use(12 + number / 9, 2 + number / 9, number), now), None);
        }
    }

    #[test]
    fn a_copy_of_a_running_machine_is_noticed_when_it_falls_behind() {
        let mut history = KeyHistory::first(key_use(5, 1, 100), at(0));
        for minute in 1..10_u64 {
            assert_eq!(
                history.take(key_use(5, 1, 100 + minute), at(60 * i64::try_from(minute).unwrap())),
                None
            );
        }
        assert_eq!(history.take(key_use(5, 1, 101), at(600)), Some(CloneSign::FellBehind));
    }

    proptest! {
        /// Whatever overtakes whatever on the way, an honest machine with restarts and pauses is never suspected.
        #[test]
        fn reordering_within_the_window_is_never_suspected(
            signatures in prop::collection::vec(
                (prop_oneof![0_i64..50, 0_i64..400_000], any::<bool>(), 0_i64..=120_000), 1..200),
        ) {
            let (mut signed_ms, mut start, mut counter) = (0, 1, 0);
            let mut arrivals = Vec::new();
            for (pause_ms, restarted, delay_ms) in signatures {
                signed_ms += pause_ms;
                if restarted && pause_ms > 20 {
                    (start, counter) = (start + 1, 0);
                }
                counter += 1;
                arrivals.push((signed_ms + delay_ms, key_use(start, start * 77, counter)));
            }
            arrivals.sort_by_key(|(arrives_ms, _)| *arrives_ms);
            let at_ms = |ms| Timestamp::from_millis(1_795_000_000_000 + ms);
            let mut history = KeyHistory::first(arrivals[0].1, at_ms(arrivals[0].0));
            for (arrives_ms, used) in &arrivals[1..] {
                prop_assert_eq!(history.take(*used, at_ms(*arrives_ms)), None);
            }
        }

        /// Two machines that both go on are told apart, however their uses interleave.
        #[test]
        fn two_machines_are_noticed_within_four_windows(
            order in prop::collection::vec(any::<bool>(), 40..80),
            ahead in 0_u64..3,
        ) {
            let mut history = KeyHistory::first(key_use(5, 1, 1), at(0));
            let mut counters = [1, 0];
            let mut first_both = None;
            let mut noticed = None;
            for (minute, copy) in order.into_iter().enumerate() {
                let now = at(60 * i64::try_from(minute).unwrap());
                counters[usize::from(copy)] += 1;
                let used = if copy { key_use(5 + ahead, 2, counters[1]) } else { key_use(5, 1, counters[0]) };
                if history.take(used, now).is_some() {
                    noticed.get_or_insert(now);
                }
                if copy && first_both.is_none() {
                    first_both = Some(now);
                }
                // The machine itself comes back long after the copy was first seen: it must have been noticed by then.
                if !copy && first_both.is_some_and(|first| now.since(first) > 4 * DELAY_MAX) {
                    prop_assert!(noticed.is_some());
                }
            }
        }

        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<KeyUse>();
        }
    }
}
