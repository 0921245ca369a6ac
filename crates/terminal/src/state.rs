//! A session's states as a pure table: what may happen, and what comes of it. The driver in `verification` makes the
//! events; docs/interface.md shows this table as generated from here.

use selfsame_api::failure::FailureCode;
use selfsame_api::interface::{Outcome, SessionState};

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The verification program says where it stands; never `waking` or `done`.
    Reported(SessionState),
    /// The verification program came to its verdict.
    Concluded(Outcome),
    /// The till or the payer cancelled.
    Canceled,
    /// The caller asked for a lease and let it run out.
    Deserted,
    /// The deadline passed without a verdict.
    DeadlinePassed,
    /// The session broke for a reason of ours.
    Broke(FailureCode),
    /// The terminal was started again in the middle.
    Restarted,
}

impl Event {
    /// The outcome that this event brings, if it ends a session.
    fn outcome(self) -> Option<Outcome> {
        Some(match self {
            Event::Reported(_) => return None,
            Event::Concluded(outcome) => outcome,
            Event::Canceled | Event::Deserted => Outcome::Canceled,
            Event::DeadlinePassed => Outcome::TimedOut,
            Event::Broke(_) => Outcome::Failed,
            Event::Restarted => Outcome::Unknown,
        })
    }
}

/// What comes of an event: the next state, with the outcome if it is the last. `None`: nothing, because the session is
/// over or what was reported cannot be.
pub(crate) fn next(state: SessionState, event: Event) -> Option<(SessionState, Option<Outcome>)> {
    if state == SessionState::Done {
        return None;
    }
    if let Some(outcome) = event.outcome() {
        return Some((SessionState::Done, Some(outcome)));
    }
    match event {
        // The program is never back at waking, and ends by a verdict only.
        Event::Reported(SessionState::Waking | SessionState::Done) => None,
        Event::Reported(reported) => Some((reported, None)),
        _ => None,
    }
}

/// The table for people: every state with every kind of event, in Markdown.
pub(crate) fn table() -> String {
    let states = [
        SessionState::Waking,
        SessionState::AwaitingIdentifier,
        SessionState::Capturing,
        SessionState::AwaitingPin,
        SessionState::Verifying,
        SessionState::Done,
    ];
    let reported = [
        SessionState::AwaitingIdentifier,
        SessionState::Capturing,
        SessionState::AwaitingPin,
        SessionState::Verifying,
    ];
    let reported =
        reported.map(|state| (format!("program reports `{}`", state.as_str()), Event::Reported(state)));
    let verdicts = [Outcome::Passed, Outcome::Declined, Outcome::TimedOut, Outcome::Failed]
        .map(|outcome| (format!("program concludes `{outcome}`"), Event::Concluded(outcome)));
    let others = [
        ("cancel".to_owned(), Event::Canceled),
        ("lease ran out".to_owned(), Event::Deserted),
        ("deadline passed".to_owned(), Event::DeadlinePassed),
        ("program lost, journal full, defect".to_owned(), Event::Broke(FailureCode::Internal)),
        ("terminal started again".to_owned(), Event::Restarted),
    ];
    let mut table = String::from("| what happens |");
    states.iter().for_each(|state| table.push_str(&format!(" in `{}` |", state.as_str())));
    table.push_str("\n|---|---|---|---|---|---|---|\n");
    for (words, event) in reported.into_iter().chain(verdicts).chain(others) {
        table.push_str(&format!("| {words} |"));
        for state in states {
            let cell = match next(state, event) {
                None => "nothing".to_owned(),
                Some((_, Some(outcome))) => format!("`done`: {outcome}"),
                Some((next, None)) => format!("`{}`", next.as_str()),
            };
            table.push_str(&format!(" {cell} |"));
        }
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_state() -> impl Strategy<Value = SessionState> {
        prop::sample::select(vec![
            SessionState::Waking,
            SessionState::AwaitingIdentifier,
            SessionState::Capturing,
            SessionState::AwaitingPin,
            SessionState::Verifying,
            SessionState::Done,
        ])
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(vec![
            Outcome::Passed,
            Outcome::Declined,
            Outcome::Canceled,
            Outcome::TimedOut,
            Outcome::Failed,
            Outcome::Unknown,
        ])
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => any_state().prop_map(Event::Reported),
            1 => any_outcome().prop_map(Event::Concluded),
            1 => prop::sample::select(vec![Event::Canceled, Event::Deserted, Event::DeadlinePassed, Event::Restarted]),
            1 => prop::sample::select(FailureCode::ALL.to_vec()).prop_map(Event::Broke),
        ]
    }

    proptest! {
        #[test]
        fn a_session_has_one_outcome_and_it_is_the_last_that_happens(
            events in prop::collection::vec(any_event(), 0..40)
        ) {
            let mut state = SessionState::Waking;
            let mut outcomes = Vec::new();
            for event in &events {
                let Some((next, outcome)) = next(state, *event) else { continue };
                prop_assert!(state != SessionState::Done, "nothing follows `done`");
                prop_assert_eq!(next == SessionState::Done, outcome.is_some());
                prop_assert!(next != SessionState::Waking, "nobody is woken twice");
                state = next;
                outcomes.extend(outcome);
            }
            let ends = events.iter().filter(|event| event.outcome().is_some()).count();
            prop_assert_eq!(outcomes.len(), ends.min(1));
            let first = events.iter().find_map(|event| event.outcome());
            prop_assert_eq!(outcomes.first().copied(), first, "the first end is the one");
        }
    }

    #[test]
    fn the_table_has_a_row_for_everything_that_happens() {
        let table = table();
        assert_eq!(table.lines().count(), 2 + 4 + 4 + 5);
        assert!(table.contains("| deadline passed | `done`: timed_out |"));
        assert!(table.lines().skip(2).all(|row| row.ends_with(" nothing |")), "{table}");
    }
}
