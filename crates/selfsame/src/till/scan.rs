//! How cash registers tell a scanner from a person: by time. Pure: strokes with their times in, scans out.
//!
//! The rules are those of real software: at most 100 ms between two keys, at most 1500 ms for a whole scan, at least four
//! characters, an Enter at the end (WooCommerce for Android and iOS; others differ in the numbers only).

use std::time::Duration;

use clap::ValueEnum;
use zeroize::Zeroizing;

/// Longest scan that is kept, in characters. Whatever is longer is no code of anybody's.
const LENGTH_MAX: usize = 64;

/// What ends a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// The Enter key, or a carriage return.
    #[default]
    Cr,
    /// A line feed.
    Lf,
    /// The Tab key.
    Tab,
    /// Nothing: a pause longer than any within a scan.
    None,
}

impl End {
    fn is(self, character: char) -> bool {
        match self {
            End::Cr => character == '\r',
            End::Lf => character == '\n',
            End::Tab => character == '\t',
            End::None => false,
        }
    }
}

/// What is a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRules {
    /// Longest pause between two keys.
    pub key_gap_max: Duration,
    /// Longest time from the first key to the last.
    pub scan_max: Duration,
    /// Fewest characters.
    pub length_min: usize,
    /// What ends it.
    pub end: End,
    /// What the scanner is set to send before each code; taken off.
    pub prefix: String,
}

impl Default for ScanRules {
    fn default() -> Self {
        Self {
            key_gap_max: Duration::from_millis(100),
            scan_max: Duration::from_millis(1_500),
            length_min: 4,
            end: End::Cr,
            prefix: String::new(),
        }
    }
}

/// Why keys are no scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScan {
    /// A pause in the middle, as when a person types.
    #[error("a pause within it is longer than a scanner's: a person typed, or the delay is too long")]
    Pause,
    /// It took too long as a whole.
    #[error("it took longer than a scan may take")]
    Slow,
    /// Too few characters.
    #[error("it has fewer characters than a scan")]
    Short,
    /// Too many characters.
    #[error("it has more characters than any code")]
    Long,
}

/// What was heard: its characters and their times.
pub struct Heard {
    /// The text without end, prefix and symbology identifier; or why it is no scan.
    pub text: Result<Zeroizing<String>, NoScan>,
    /// Characters that came, with the prefix.
    pub characters: usize,
    /// From the first character to the last, or to the end if there was one.
    pub duration: Duration,
    /// Longest pause between two of them.
    pub gap_max: Duration,
}

/// Takes strokes and finds scans.
pub struct Scanner {
    rules: ScanRules,
    characters: Zeroizing<String>,
    count: usize,
    first: Duration,
    last: Duration,
    gap_max: Duration,
}

impl Scanner {
    /// Nothing was heard yet.
    pub fn new(rules: ScanRules) -> Self {
        // Room for all of it at once, so that no half of a code stays behind in memory.
        let characters = Zeroizing::new(String::with_capacity(4 * LENGTH_MAX));
        let zero = Duration::ZERO;
        Self { rules, characters, count: 0, first: zero, last: zero, gap_max: zero }
    }

    /// A character came, at a time since any moment. Times never go back.
    pub fn push(&mut self, at: Duration, character: char) -> Option<Heard> {
        let before = self.idle(at);
        if self.rules.end.is(character) {
            // The pause before it has ended what there was, or this ends it now.
            return before.or_else(|| self.finish(at));
        }
        if matches!(character, '\r' | '\n' | '\t') {
            // Another line end than the one that was agreed, as the second half of CR LF.
            return before;
        }
        if self.count == 0 {
            (self.first, self.gap_max) = (at, Duration::ZERO);
        } else {
            self.gap_max = self.gap_max.max(at - self.last);
        }
        if self.count < LENGTH_MAX {
            self.characters.push(character);
        }
        (self.count, self.last) = (self.count + 1, at);
        before
    }

    /// Nothing came until now.
    pub fn idle(&mut self, now: Duration) -> Option<Heard> {
        if self.count == 0 || now.saturating_sub(self.last) <= self.rules.key_gap_max {
            return None;
        }
        if self.rules.end == End::None {
            return self.finish(self.last);
        }
        let duration = self.last - self.first;
        Some(self.take(duration, Some(NoScan::Pause)))
    }

    fn finish(&mut self, at: Duration) -> Option<Heard> {
        if self.count == 0 {
            return None;
        }
        let duration = at - self.first;
        let wrong = if self.count > LENGTH_MAX {
            Some(NoScan::Long)
        } else if self.count < self.rules.length_min {
            Some(NoScan::Short)
        } else {
            (duration > self.rules.scan_max).then_some(NoScan::Slow)
        };
        Some(self.take(duration, wrong))
    }

    fn take(&mut self, duration: Duration, wrong: Option<NoScan>) -> Heard {
        let text = match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Zeroizing::new(stripped(&self.characters, &self.rules.prefix).to_owned())),
        };
        let heard = Heard { text, characters: self.count, duration, gap_max: self.gap_max };
        zeroize::Zeroize::zeroize(&mut *self.characters);
        self.count = 0;
        heard
    }
}

/// The text without what a scanner is set to put before it: the configured prefix and the symbology identifier that
/// ISO/IEC 15424 defines (`]C0` for Code 128, `]Q1` for QR).
pub fn stripped<'a>(text: &'a str, prefix: &str) -> &'a str {
    let text = text.strip_prefix(prefix).unwrap_or(text);
    let identifier = text.strip_prefix(']').and_then(|rest| rest.split_at_checked(2));
    match identifier {
        Some((kind, rest)) if kind.starts_with(|kind: char| kind.is_ascii_alphabetic()) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is heard of a text whose characters come in equal pauses.
    fn heard(rules: ScanRules, text: &str, gap_ms: u64) -> Vec<Result<String, NoScan>> {
        let mut scanner = Scanner::new(rules);
        let mut at = Duration::from_secs(5);
        let mut all = Vec::new();
        for character in text.chars() {
            all.extend(scanner.push(at, character));
            at += Duration::from_millis(gap_ms);
        }
        all.extend(scanner.idle(at + Duration::from_secs(1)));
        all.into_iter().map(|heard| heard.text.map(|text| text.to_string())).collect()
    }

    const CODE: &str = "980123456789012345";

    #[test]
    fn a_scan_is_fast_long_enough_and_ended() {
        let with_end = format!("{CODE}\r");
        for gap_ms in [0, 2, 60, 75] {
            assert_eq!(heard(ScanRules::default(), &with_end, gap_ms), [Ok(CODE.to_owned())], "{gap_ms}");
        }
        assert_eq!(heard(ScanRules::default(), &with_end, 90), [Err(NoScan::Slow)]);
        assert_eq!(heard(ScanRules::default(), &with_end, 101), vec![Err(NoScan::Pause); 18]);
        assert_eq!(heard(ScanRules::default(), "980\r", 5), [Err(NoScan::Short)]);
        assert_eq!(heard(ScanRules::default(), CODE, 5), [Err(NoScan::Pause)], "the end is missing");
        assert_eq!(heard(ScanRules::default(), &format!("{}\r", "7".repeat(65)), 1), [Err(NoScan::Long)]);
    }

    #[test]
    fn each_end_is_heard_and_other_line_ends_are_passed_over() {
        let rules = |end| ScanRules { end, ..ScanRules::default() };
        let code = || Ok(CODE.to_owned());
        assert_eq!(heard(rules(End::None), CODE, 20), [code()]);
        assert_eq!(heard(rules(End::Tab), &format!("{CODE}\t"), 20), [code()]);
        assert_eq!(heard(rules(End::Lf), &format!("{CODE}\r\n"), 1), [code()]);
        assert_eq!(heard(rules(End::Cr), &format!("{CODE}\r\n{CODE}\r\n"), 1), [code(), code()]);
        assert_eq!(heard(rules(End::Cr), &format!("\r{CODE}\r"), 1), [code()], "an Enter before the data");
    }

    #[test]
    fn prefix_and_symbology_identifier_are_taken_off() {
        let rules = |prefix: &str| ScanRules { prefix: prefix.to_owned(), ..ScanRules::default() };
        for text in ["]C0", "]Q1", "]C1"] {
            assert_eq!(heard(rules(""), &format!("{text}{CODE}\r"), 5), [Ok(CODE.to_owned())]);
        }
        assert_eq!(heard(rules("~A"), &format!("~A{CODE}\r"), 5), [Ok(CODE.to_owned())]);
        assert_eq!(heard(rules("~A"), &format!("~A]C0{CODE}\r"), 5), [Ok(CODE.to_owned())]);
        assert_eq!(heard(rules("98"), &format!("{CODE}\r"), 5), [Ok(CODE[2..].to_owned())], "as it was set");
    }
}
