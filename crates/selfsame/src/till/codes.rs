//! Codes as the till hears them, and what it saw of each. Never a whole code: its last four digits.

use std::time::Duration;

use clap::Args;
use selfsame_domain::payment_code::{CODE_DIGITS, PaymentCode, Prefix};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::output;
use crate::till::field::{Field, WrongField, item, payment_code};
use crate::till::key::{Decode, Layout};
use crate::till::order::Input;
use crate::till::scan::{End, Heard, ScanRules, stripped};
use crate::till::source::{KeyReading, ReadFrom, Source};

/// Readings that are kept for the result.
const SEEN_MAX: usize = 100;

/// How codes are read, as the settings of real registers' software have it.
#[derive(Args, Clone, Debug)]
pub struct ScanOptions {
    /// Where codes are read: stdin, wedge:/dev/input/eventN, reports:FILE, serial:/dev/ttyX or tcp:ADDRESS:PORT
    #[arg(long, default_value = "stdin", value_name = "WHERE")]
    read: ReadFrom,
    /// Read keys by their place, or by the characters that a layout makes of them, as naive tills do
    #[arg(long, value_enum, default_value_t)]
    decode: Decode,
    /// The till's keyboard layout, for --decode characters
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// What ends a scan
    #[arg(long, value_enum, default_value_t)]
    suffix: End,
    /// Longest pause between two characters of a scan, in milliseconds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    key_gap_ms_max: u64,
    /// Longest scan, in milliseconds
    #[arg(long, default_value_t = 1_500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    scan_ms_max: u64,
    /// Fewest characters of a scan
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=18))]
    length_min: u8,
    /// What the scanner sends before each code; taken off
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    scan_prefix: String,
    /// Two digits with which codes of this site begin; else the server checks that
    #[arg(long, value_name = "DIGITS")]
    code_prefix: Option<Prefix>,
    /// The field that has the focus
    #[arg(long, value_enum, default_value_t)]
    pub field: Field,
}

/// What the till saw of one reading.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Characters that came.
    pub characters: usize,
    /// The last four of a text as long as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last4: Option<String>,
    /// From the first to the end; absent for lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Longest pause; absent for lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_ms_max: Option<u64>,
    /// `code`, `item`, or why it was not taken.
    pub verdict: String,
}

enum Listening {
    Lines(Input),
    Scanner(Box<Source>),
}

/// The till's scanner.
pub struct Codes {
    from: Listening,
    prefix: Option<Prefix>,
    scan_prefix: String,
    /// What was read.
    pub seen: Vec<Seen>,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ScanOptions {
    /// Begins to listen. `input` is where lines come from.
    pub fn listen(&self, input: Input) -> anyhow::Result<Codes> {
        let rules = ScanRules {
            key_gap_max: Duration::from_millis(self.key_gap_ms_max),
            scan_max: Duration::from_millis(self.scan_ms_max),
            length_min: self.length_min.into(),
            end: self.suffix,
            prefix: self.scan_prefix.clone(),
        };
        let reading = KeyReading { decode: self.decode, layout: self.layout };
        let from = match &self.read {
            ReadFrom::Stdin => Listening::Lines(input),
            device => Listening::Scanner(Box::new(Source::open(device, reading, rules)?)),
        };
        let (prefix, scan_prefix) = (self.code_prefix, self.scan_prefix.clone());
        Ok(Codes { from, prefix, scan_prefix, seen: Vec::new() })
    }
}

impl Codes {
    /// The next text that is a scan; `None` when nothing more comes.
    fn text(&mut self, question: &str) -> anyhow::Result<Option<(Zeroizing<String>, Seen)>> {
        loop {
            let heard = match &mut self.from {
                Listening::Lines(input) => {
                    let Some(line) = input.line(question)?.filter(|line| !line.is_empty()) else {
                        return Ok(None);
                    };
                    // People group digits; scanners do not.
                    let digits: String =
                        line.chars().filter(|character| !matches!(character, ' ' | '-')).collect();
                    let digits = Zeroizing::new(digits);
                    let text = Zeroizing::new(stripped(&digits, &self.scan_prefix).to_owned());
                    let seen = Seen {
                        characters: digits.chars().count(),
                        last4: last4(&text),
                        duration_ms: None,
                        gap_ms_max: None,
                        verdict: String::new(),
                    };
                    return Ok(Some((text, seen)));
                }
                Listening::Scanner(source) => {
                    let Some(heard) = source.next() else { return Ok(None) };
                    heard
                }
            };
            let Heard { text, characters, duration, gap_max } = heard;
            let seen = Seen {
                characters,
                last4: text.as_ref().ok().and_then(|text| last4(text)),
                duration_ms: Some(milliseconds(duration)),
                gap_ms_max: Some(milliseconds(gap_max)),
                verdict: text.as_ref().err().map(|why| format!("no scan: {why}")).unwrap_or_default(),
            };
            match text {
                Ok(text) => return Ok(Some((text, seen))),
                Err(_) => self.tell(seen),
            }
        }
    }

    /// The next payment code, or why what was read is none.
    pub fn next(&mut self) -> anyhow::Result<Option<Result<PaymentCode, WrongField>>> {
        let Some((text, seen)) = self.text("payment code: ")? else { return Ok(None) };
        let judged = payment_code(&text, self.prefix);
        let verdict = judged.as_ref().map_or_else(ToString::to_string, |_| "code".to_owned());
        self.tell(Seen { verdict, ..seen });
        Ok(Some(judged))
    }

    /// Reads items until nothing more comes. Answers what was taken, and whether everything was.
    pub fn items(&mut self) -> anyhow::Result<(Vec<String>, bool)> {
        let (mut items, mut all) = (Vec::new(), true);
        while let Some((text, seen)) = self.text("item: ")? {
            let judged = item(&text, self.prefix);
            let verdict = judged.as_ref().map_or_else(ToString::to_string, |()| "item".to_owned());
            self.tell(Seen { verdict, ..seen });
            match judged {
                Ok(()) if items.len() < SEEN_MAX => items.push(text.to_string()),
                _ => all = false,
            }
        }
        Ok((items, all))
    }

    fn tell(&mut self, seen: Seen) {
        let Seen { characters, last4, duration_ms, gap_ms_max, verdict } = &seen;
        let last4 = last4.as_ref().map(|last4| format!(" ..{last4}")).unwrap_or_default();
        let time = duration_ms.zip(*gap_ms_max);
        let time =
            time.map(|(whole, gap)| format!(" in {whole} ms, longest pause {gap} ms")).unwrap_or_default();
        output::note(format_args!("read {characters} characters{last4}{time}: {verdict}"));
        if self.seen.len() < SEEN_MAX {
            self.seen.push(seen);
        }
    }
}

/// The last four characters of what may be a code.
fn last4(text: &str) -> Option<String> {
    let long_enough = text.is_ascii() && text.len() >= CODE_DIGITS - 2;
    long_enough.then(|| text[text.len() - 4..].to_owned())
}
