//! Codes of the keyboard typed into a real browser: the reports that would go to the till are replayed as the key presses
//! that they are, on a US and a French layout, into a page with an item field and a payment field.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use selfsame_terminal::register::{DigitKeys, GadgetKeyboard, OutputProfile, Register, Suffix, TEST_PAGE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::CODE;
use crate::browser::{Browser, Screen, is_installed};

/// NumLock, as X numbers keys.
const NUM_LOCK: u8 = 77;

/// The key of a USB usage as X numbers it (rules `evdev`: the kernel's number and 8).
fn x_key(usage: u8) -> u8 {
    match usage {
        0x1e..=0x27 => usage - 0x1e + 10,
        0x28 => 36,
        0x2b => 23,
        0x59..=0x5b => usage - 0x59 + 87,
        0x5c..=0x5e => usage - 0x5c + 83,
        0x5f..=0x61 => usage - 0x5f + 79,
        0x62 => 90,
        _ => panic!("usage {usage:#x} is not used here"),
    }
}

/// The keys that a report says are down.
fn keys_down(report: &[u8; 8]) -> BTreeSet<u8> {
    let modifiers = [(1 << 1, 50), (1 << 2, 64)];
    let modifiers = modifiers.into_iter().filter(|(bit, _)| report[0] & bit != 0).map(|(_, key)| key);
    modifiers.chain(report[2..].iter().filter(|usage| **usage != 0).map(|usage| x_key(*usage))).collect()
}

/// What a keyboard of this profile presses for the code: keys, and whether they go down.
fn presses(digits: DigitKeys, suffix: Suffix) -> Vec<(u8, bool)> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hidg0");
    std::fs::write(&file, b"").unwrap();
    let profile = OutputProfile::keyboard("", suffix, 2, digits).unwrap();
    GadgetKeyboard::new(&file, profile, digits).deliver(CODE, Duration::from_secs(2)).unwrap();
    let reports = std::fs::read(&file).unwrap();
    let mut before = BTreeSet::new();
    let mut presses = Vec::new();
    for report in reports.as_chunks::<8>().0 {
        let after = keys_down(report);
        presses.extend(before.difference(&after).map(|key| (*key, false)));
        // Modifiers have the smaller bits in the report, and are read first.
        let (modifiers, keys): (Vec<u8>, Vec<u8>) =
            after.difference(&before).copied().partition(|key| matches!(*key, 50 | 64));
        presses.extend(modifiers.into_iter().chain(keys).map(|key| (key, true)));
        before = after;
    }
    assert!(before.is_empty(), "all keys are up in the end");
    presses
}

/// What the row of digits types on a French keyboard.
fn french_row(code: &str) -> String {
    let row = ['à', '&', 'é', '"', '\'', '(', '-', 'è', '_', 'ç'];
    code.bytes().map(|digit| row[usize::from(digit - b'0')]).collect()
}

struct Till {
    screen: Screen,
    browser: Browser,
}

impl Till {
    async fn open(page: &Path) -> Self {
        let screen = Screen::start();
        screen.set_layout("us");
        let browser = Browser::open(&screen, page).await;
        Self { screen, browser }
    }

    /// Types a code into the payment field, and answers what the page saw there.
    async fn receive(&mut self, digits: DigitKeys) -> Value {
        let start = "for (const field of Object.values(fields)) field.at = -Infinity, field.count = 0; \
                     document.getElementById('payment').value = ''; document.getElementById('payment').focus(); true";
        assert_eq!(self.browser.evaluate(start).await, true);
        self.screen.press(&presses(digits, Suffix::Cr));
        self.browser.until("fields.payment.count >= 19").await;
        let seen = "({ symbols: fields.payment.symbols, digits: fields.payment.digits, last: fields.payment.last, \
                    count: fields.payment.count, field: document.getElementById('payment').value, \
                    items: fields.item.count })";
        self.browser.evaluate(seen).await
    }
}

fn seen(symbols: &str) -> Value {
    json!({ "symbols": symbols, "digits": CODE, "last": "Enter", "count": 19, "field": symbols, "items": 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_reads_the_code_on_us_and_french_layouts() {
    if !is_installed() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("till.html");
    std::fs::write(&page, TEST_PAGE).unwrap();
    let mut till = Till::open(&page).await;
    // A keypad types digits with NumLock only; without, it moves the cursor.
    let without = till.receive(DigitKeys::Keypad).await;
    assert_eq!(
        (&without["symbols"], &without["field"], &without["digits"]),
        (&json!(""), &json!(""), &json!(CODE))
    );
    till.screen.press(&[(NUM_LOCK, true), (NUM_LOCK, false)]);
    assert_eq!(till.receive(DigitKeys::Row).await, seen(CODE));
    assert_eq!(till.receive(DigitKeys::Keypad).await, seen(CODE));

    till.screen.set_layout("fr");
    // Other characters, the same keys: a page that reads `event.code` has the code all the same.
    assert_eq!(till.receive(DigitKeys::Row).await, seen(&french_row(CODE)));
    assert_eq!(till.receive(DigitKeys::RowShift).await, seen(CODE));
    assert_eq!(till.receive(DigitKeys::Keypad).await, seen(CODE));
}
