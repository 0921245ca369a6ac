//! Reports of the keyboard, byte for byte, and every way in which a till may not take them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use selfsame_api::interface::RegisterKind;
use selfsame_api::problem::ProblemCode;
use selfsame_api::register::RegisterState;
use selfsame_terminal::register::{
    DigitKeys, GadgetKeyboard, KeyboardOutput, KeyboardSettings, OutputProfile, Register, RegisterSettings,
    Suffix, Undelivered,
};
use tempfile::TempDir;

use crate::{CODE, PATIENCE, open, refused, tells_no_digits};

/// Enough for a whole code at the default pause, and not too long to wait for a till that does not read.
const WITHIN: Duration = Duration::from_secs(2);

fn keyboard(device: &Path, digits: DigitKeys) -> GadgetKeyboard {
    let profile = OutputProfile::keyboard("", Suffix::Cr, 2, digits).expect("a usual profile");
    GadgetKeyboard::new(device, profile, digits)
}

fn fifo(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("hidg0");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    path
}

/// The reading end of a pipe, without waiting for the writing one.
fn reader(path: &Path) -> File {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("open flags fit");
    OpenOptions::new().read(true).custom_flags(flags).open(path).expect("a pipe opens for reading")
}

fn usages(reports: &[u8]) -> Vec<(u8, u8)> {
    reports.as_chunks::<8>().0.iter().map(|report| (report[0], report[2])).collect()
}

#[test]
fn a_code_is_nineteen_presses_and_nineteen_releases() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hidg0");
    for (digits, modifier, zero, one) in [
        (DigitKeys::Row, 0, 0x27, 0x1e),
        (DigitKeys::Keypad, 0, 0x62, 0x59),
        (DigitKeys::RowShift, 2, 0x27, 0x1e),
    ] {
        fs::write(&file, b"").unwrap();
        keyboard(&file, digits).deliver(CODE, WITHIN).expect("a file takes everything");
        let written = fs::read(&file).unwrap();
        let mut expected = Vec::new();
        for digit in CODE.bytes() {
            let usage = if digit == b'0' { zero } else { one + (digit - b'1') };
            expected.extend_from_slice(&[modifier, 0, usage, 0, 0, 0, 0, 0]);
            expected.extend_from_slice(&[0; 8]);
        }
        expected.extend_from_slice(&[0, 0, 0x28, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0; 8]);
        assert_eq!(written.len(), 304);
        assert!(written == expected, "{digits:?}: {:?}", usages(&written));
    }
}

#[test]
fn prefix_and_suffix_are_typed_as_on_a_us_keyboard() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hidg0");
    fs::write(&file, b"").unwrap();
    let profile = OutputProfile::keyboard("]C0", Suffix::Tab, 2, DigitKeys::Keypad).unwrap();
    let keyboard = GadgetKeyboard::new(&file, profile, DigitKeys::Keypad);
    keyboard.deliver(CODE, WITHIN).unwrap();
    let typed = usages(&fs::read(&file).unwrap());
    assert_eq!(typed[..6], [(0, 0x30), (0, 0), (2, 0x06), (0, 0), (0, 0x62), (0, 0)]);
    assert_eq!(typed[typed.len() - 2..], [(0, 0x2b), (0, 0)]);
}

#[test]
fn a_device_that_is_not_there_is_missing_and_nothing_was_sent() {
    let folder = TempDir::new().unwrap();
    let gone = keyboard(&folder.path().join("hidg0"), DigitKeys::Row);
    assert!(!gone.is_there());
    let error = gone.deliver(CODE, WITHIN).expect_err("there is no such file");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
    // A pipe that nobody reads is a gadget without a till.
    let unread = keyboard(&fifo(&folder), DigitKeys::Row);
    let error = unread.deliver(CODE, WITHIN).expect_err("nobody reads");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
    tells_no_digits(&error);
}

#[test]
fn a_device_that_may_not_be_opened_is_told_with_its_reason() {
    // Nobody writes into a folder, not even root.
    let folder = TempDir::new().unwrap();
    let error = keyboard(folder.path(), DigitKeys::Row).deliver(CODE, WITHIN).expect_err("a folder");
    assert!(matches!(error, Undelivered::NotSent { .. }), "{error:?}");
}

#[test]
fn a_till_that_goes_in_the_middle_leaves_it_uncertain_and_no_key_is_typed_twice() {
    let folder = TempDir::new().unwrap();
    let path = fifo(&folder);
    let till = reader(&path);
    let slow = OutputProfile::keyboard("", Suffix::Cr, 60, DigitKeys::Row).unwrap();
    let keyboard = GadgetKeyboard::new(&path, slow, DigitKeys::Row);
    let sending = std::thread::spawn(move || keyboard.deliver(CODE, WITHIN));
    let mut reports = [0; 5 * 16];
    let mut got = 0;
    while got < reports.len() {
        got += (&till).read(&mut reports[got..]).unwrap_or(0);
        std::thread::yield_now();
    }
    drop(till);
    let error = sending.join().unwrap().expect_err("the till has gone");
    let Undelivered::Uncertain { sent, whole, .. } = &error else { panic!("{error:?}") };
    assert!((5..19).contains(sent) && *whole == 19, "{error:?}");
    tells_no_digits(&error);
    let first = usages(&reports);
    assert_eq!(first[0], (0, 0x26), "the code begins with a 9");
}

/// A pipe of one page with room for so many reports, whose reader never reads.
fn nearly_full(path: &Path, reports: usize) -> File {
    let till = reader(path);
    let page = fcntl_setpipe_size(&till, 4096).expect("a small pipe");
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("open flags fit");
    let mut writer = OpenOptions::new().write(true).custom_flags(flags).open(path).expect("it has a reader");
    writer.write_all(&vec![0xff; page - reports * 8]).expect("there is room");
    till
}

#[test]
fn a_till_that_does_not_read_ends_the_hand_over_in_time() {
    let short = Duration::from_millis(150);
    for (room, expected) in [(0, None), (1, Some(1)), (5, Some(3))] {
        let folder = TempDir::new().unwrap();
        let path = fifo(&folder);
        let _till = nearly_full(&path, room);
        let error = keyboard(&path, DigitKeys::Row).deliver(CODE, short).expect_err("the pipe is full");
        match (&error, expected) {
            (Undelivered::NotSent { .. }, None) => {}
            (Undelivered::Uncertain { sent, .. }, Some(expected)) => assert_eq!(*sent, expected),
            _ => panic!("{room} reports fit: {error:?}"),
        }
        tells_no_digits(&error);
    }
}

/// Till and gadget as the two ends of a pseudo-terminal: a device file that is read and written. The last handle keeps it
/// as it was set.
fn device() -> (File, PathBuf, File) {
    let till = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&till).unwrap();
    unlockpt(&till).unwrap();
    let name = ptsname(&till, Vec::new()).unwrap();
    let path = PathBuf::from(name.to_str().expect("ASCII"));
    let ours = File::options().read(true).write(true).open(&path).expect("our end opens");
    let mut raw = rustix::termios::tcgetattr(&ours).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&ours, rustix::termios::OptionalActions::Now, &raw).unwrap();
    (File::from(till), path, ours)
}

#[test]
fn with_numlock_off_keypad_digits_are_not_typed_and_row_digits_are() {
    let (mut till, path, _ours) = device();
    let keypad = keyboard(&path, DigitKeys::Keypad);
    // The till says nothing of its lights: most are on.
    keypad.deliver(CODE, WITHIN).expect("NumLock is not known to be off");
    till.read_exact(&mut [0; 304]).unwrap();
    till.write_all(&[0b0000_0010]).unwrap();
    let error = keypad.deliver(CODE, WITHIN).expect_err("NumLock is off, CapsLock is on");
    assert!(matches!(error, Undelivered::NumLockOff), "{error:?}");
    keyboard(&path, DigitKeys::Row).deliver(CODE, WITHIN).expect("the row does not care");
    till.read_exact(&mut [0; 304]).unwrap();
    // The last report is the one that counts.
    till.write_all(&[0, 1]).unwrap();
    keypad.deliver(CODE, WITHIN).expect("NumLock is on again");
    let mut typed = [0; 304];
    till.read_exact(&mut typed).unwrap();
    assert_eq!(usages(&typed)[..2], [(0, 0x61), (0, 0)]);
}

#[tokio::test]
async fn what_is_configured_is_offered_and_the_rest_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let settings = RegisterSettings {
        default: RegisterKind::Keyboard,
        keyboard: Some(KeyboardSettings { device: folder.path().join("hidg0"), ..Default::default() }),
        ..Default::default()
    };
    let registers = open(settings).await;
    let offers: Vec<_> =
        registers.offers().iter().map(|offer| (offer.register, offer.is_default, offer.state)).collect();
    let expected = [
        (RegisterKind::Return, false, RegisterState::Ready),
        (RegisterKind::Screen, false, RegisterState::Ready),
        (RegisterKind::Keyboard, true, RegisterState::Missing),
    ];
    assert_eq!(offers, expected);
    assert_eq!(registers.choose(None).unwrap(), RegisterKind::Keyboard);
    let problem = registers.choose(Some(RegisterKind::Serial)).expect_err("there is none");
    assert_eq!((problem.code, problem.status), (ProblemCode::RegisterNotConfigured, 422));
    assert_eq!(
        problem.detail.as_deref(),
        Some("`serial` is not configured at this terminal, which has return, screen, keyboard")
    );
    fs::write(folder.path().join("hidg0"), b"").unwrap();
    assert!(registers.offers().iter().all(|offer| offer.state == RegisterState::Ready));
    let delivered = tokio::time::timeout(PATIENCE, registers.deliver(RegisterKind::Keyboard, CODE)).await;
    delivered.expect("in time").expect("a file takes everything");
    assert_eq!(fs::read(folder.path().join("hidg0")).unwrap().len(), 304);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_section_and_name() {
    let keyboard = |change: fn(&mut KeyboardSettings)| {
        let mut keyboard = KeyboardSettings::default();
        change(&mut keyboard);
        RegisterSettings { keyboard: Some(keyboard), ..Default::default() }
    };
    let told = refused(keyboard(|keyboard| keyboard.delay_ms = 200)).await;
    assert_eq!(told, "section [register.keyboard]: `delay_ms` must be within 2..=60");
    let told = refused(keyboard(|keyboard| keyboard.suffix = Suffix::Crlf)).await;
    assert!(told.starts_with("section [register.keyboard]: a keyboard has no key for a line feed"), "{told}");
    let told = refused(keyboard(|keyboard| keyboard.prefix = "¿".to_owned())).await;
    assert!(told.contains("`prefix`"), "{told}");
    let told = refused(RegisterSettings { default: RegisterKind::Tcp, ..Default::default() }).await;
    assert_eq!(told, "`default = \"tcp\"` in section [register] has no section [register.tcp]");
}

#[tokio::test]
async fn a_keyboard_of_this_machine_without_the_kernels_help_is_missing() {
    if Path::new("/dev/uinput").exists() {
        eprintln!("not tested: this machine has /dev/uinput, and the test must not type on it");
        return;
    }
    let keyboard = KeyboardSettings { output: KeyboardOutput::Uinput, ..Default::default() };
    let registers = open(RegisterSettings { keyboard: Some(keyboard), ..Default::default() }).await;
    assert_eq!(registers.offers()[2].state, RegisterState::Missing);
    let error = registers.deliver(RegisterKind::Keyboard, CODE).await.expect_err("there is no uinput");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
}
