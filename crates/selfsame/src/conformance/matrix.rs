//! The matrix: codes on their way from a terminal to a till, over every channel, at every speed, whole and damaged. Pure
//! but for the channels themselves; the time is simulated, so that 120 ms between two keys cost nothing.

use std::time::Duration;

use anyhow::Context;
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use serde::Serialize;

use crate::conformance::channel::{Channel, Wires};
use crate::till::key::Decode;
use crate::till::scan::{End, ScanRules, Scanner};

/// Pauses between two characters, in milliseconds. The last one is a person's.
pub const DELAYS_MS: [u64; 5] = [2, 8, 20, 60, 120];

/// The longest pause at which a code that is not damaged must be read.
pub const DELAY_MS_READ: u64 = 60;

/// What happens to a code on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Nothing.
    None,
    /// A digit is lost.
    DigitLost,
    /// Two neighbours change places.
    Swapped,
    /// A digit comes twice.
    Doubled,
    /// The end is lost.
    SuffixLost,
    /// Somebody presses a key in the middle of it.
    HumanKey,
    /// The whole code is sent twice.
    SentTwice,
}

impl Loss {
    /// All of them.
    pub const ALL: [Loss; 7] = [
        Loss::None,
        Loss::DigitLost,
        Loss::Swapped,
        Loss::Doubled,
        Loss::SuffixLost,
        Loss::HumanKey,
        Loss::SentTwice,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Loss::None => "none",
            Loss::DigitLost => "digit_lost",
            Loss::Swapped => "swapped",
            Loss::Doubled => "doubled",
            Loss::SuffixLost => "suffix_lost",
            Loss::HumanKey => "human_key",
            Loss::SentTwice => "sent_twice",
        }
    }

    /// Whether a till must read the code all the same.
    pub fn is_harmless(self) -> bool {
        matches!(self, Loss::None | Loss::SentTwice)
    }

    /// What arrives of a code.
    pub fn damage(self, code: &str, suffix: u8, random: &mut Random) -> Vec<u8> {
        let mut text: Vec<u8> = code.bytes().chain([suffix]).collect();
        let digits = code.len();
        match self {
            Loss::None => {}
            Loss::DigitLost => _ = text.remove(random.below(digits)),
            Loss::Swapped => {
                let places: Vec<usize> =
                    (1..digits).filter(|place| text[*place] != text[place - 1]).collect();
                // A code of one digit over and over is none.
                let place = places[random.below(places.len())];
                text.swap(place, place - 1);
            }
            Loss::Doubled => {
                let place = random.below(digits);
                text.insert(place, text[place]);
            }
            Loss::SuffixLost => _ = text.pop(),
            Loss::HumanKey => {
                let key = b'0' + u8::try_from(random.below(10)).expect("a digit");
                text.insert(1 + random.below(digits - 1), key);
            }
            Loss::SentTwice => text.extend_from_within(..),
        }
        text
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.next() % end).expect("below a small number")
    }

    fn code(&mut self, prefix: Prefix) -> PaymentCode {
        loop {
            if let Some(code) = PaymentCode::from_random(prefix, &[self.next()]) {
                return code;
            }
        }
    }
}

/// Whether a text is taken for a payment code.
pub type Judge = fn(&str, Prefix) -> bool;

/// What a till took of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The code that was sent, and nothing else.
    Right,
    /// Nothing.
    Refused,
    /// Something else.
    Wrong,
}

/// One cell with its counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The channel.
    pub channel: &'static str,
    /// Keyboard only: the till's layout and the keys that type digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<&'static str>,
    /// Keyboard only: how the till reads keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<&'static str>,
    /// Pause between two characters.
    pub delay_ms: u64,
    /// What happened on the way.
    pub loss: Loss,
    /// Codes that were sent.
    pub codes: usize,
    /// Read right.
    pub right: usize,
    /// Refused, or not heard.
    pub refused: usize,
    /// Something else was taken for a code.
    pub accepted_wrong: usize,
}

impl Cell {
    /// Whether every code had to be read here.
    pub fn must_read(&self) -> bool {
        self.loss.is_harmless()
            && self.delay_ms <= DELAY_MS_READ
            && self.decode.is_none_or(|decode| decode == "keys")
    }

    /// Nothing wrong was accepted, and what had to be read was.
    pub fn is_good(&self) -> bool {
        self.accepted_wrong == 0 && (!self.must_read() || self.right == self.codes)
    }
}

/// What the till hears of bytes that arrive at equal pauses.
pub fn hear(
    channel: Channel,
    arrived: &[u8],
    delay_ms: u64,
    wires: &mut Wires,
) -> anyhow::Result<Vec<String>> {
    let rules = ScanRules { end: End::Cr, ..ScanRules::default() };
    let mut scanner = Scanner::new(rules);
    let delay = Duration::from_millis(delay_ms);
    let mut at = Duration::ZERO;
    let mut texts = Vec::new();
    for characters in wires.pass(channel, arrived)? {
        for character in characters {
            texts.extend(scanner.push(at, character).and_then(|heard| heard.text.ok()));
        }
        at += delay;
    }
    texts.extend(scanner.idle(at + Duration::from_secs(1)).and_then(|heard| heard.text.ok()));
    Ok(texts.into_iter().map(|text| text.to_string()).collect())
}

/// What a till that judges like this takes of what it heard.
pub fn reading(sent: &str, heard: &[String], prefix: Prefix, judge: Judge) -> Reading {
    let mut taken = heard.iter().filter(|text| judge(text, prefix)).peekable();
    if taken.peek().is_none() {
        return Reading::Refused;
    }
    if taken.all(|text| text == sent) { Reading::Right } else { Reading::Wrong }
}

/// Runs the whole matrix with so many codes a cell; `done` is told after each cell.
pub fn run(
    prefix: Prefix,
    codes: usize,
    random: &mut Random,
    judge: Judge,
    wires: &mut Wires,
    mut done: impl FnMut(),
) -> anyhow::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for channel in Channel::all() {
        for delay_ms in DELAYS_MS {
            for loss in Loss::ALL {
                let mut cell = Cell {
                    channel: channel.as_str(),
                    layout: channel.layout(),
                    decode: channel.decode().map(|decode| match decode {
                        Decode::Keys => "keys",
                        Decode::Characters => "characters",
                    }),
                    delay_ms,
                    loss,
                    codes,
                    right: 0,
                    refused: 0,
                    accepted_wrong: 0,
                };
                for _ in 0..codes {
                    let code = random.code(prefix);
                    let arrived = loss.damage(code.expose(), b'\r', random);
                    let heard = hear(channel, &arrived, delay_ms, wires);
                    let heard =
                        heard.with_context(|| format!("failed to send a code over {}", channel.as_str()))?;
                    match reading(code.expose(), &heard, prefix, judge) {
                        Reading::Right => cell.right += 1,
                        Reading::Refused => cell.refused += 1,
                        Reading::Wrong => cell.accepted_wrong += 1,
                    }
                }
                cells.push(cell);
                done();
            }
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use selfsame_domain::site::Mode;

    use super::*;
    use crate::till::field::payment_code;

    fn cells(judge: Judge) -> Vec<Cell> {
        let prefix = Prefix::default_for(Mode::Test);
        let mut wires = Wires::open().unwrap();
        run(prefix, 30, &mut Random(1), judge, &mut wires, || {}).unwrap()
    }

    #[test]
    fn nothing_wrong_is_accepted_and_everything_whole_is_read() {
        let cells = cells(|text, prefix| payment_code(text, Some(prefix)).is_ok());
        assert_eq!(cells.len(), Channel::all().len() * DELAYS_MS.len() * Loss::ALL.len());
        for cell in &cells {
            assert!(cell.is_good(), "{cell:?}");
            assert_eq!(cell.right + cell.refused + cell.accepted_wrong, cell.codes);
            // A damaged code is not read by luck.
            assert!(cell.loss.is_harmless() || cell.right == 0, "{cell:?}");
        }
        assert!(cells.iter().filter(|cell| cell.must_read()).count() >= 64);
        let naive = |layout| {
            let found = cells.iter().find(|cell| {
                (cell.layout, cell.decode, cell.delay_ms, cell.loss)
                    == (Some(layout), Some("characters"), 8, Loss::None)
            });
            found.expect("a cell").right
        };
        assert_eq!((naive("us"), naive("fr"), naive("fr_shift"), naive("keypad")), (30, 0, 30, 30));
    }

    #[test]
    fn a_till_without_the_check_digit_is_found_out() {
        let broken = cells(|text, prefix| {
            text.len() == 18
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && text.starts_with(&prefix.to_string())
        });
        assert!(broken.iter().any(|cell| cell.loss == Loss::Swapped && cell.accepted_wrong > 0));
        let without_length = cells(|text, _| text.bytes().all(|byte| byte.is_ascii_digit()));
        let wrong = |loss| without_length.iter().any(|cell| cell.loss == loss && cell.accepted_wrong > 0);
        assert!(wrong(Loss::DigitLost) && wrong(Loss::Doubled) && wrong(Loss::HumanKey));
    }
}
