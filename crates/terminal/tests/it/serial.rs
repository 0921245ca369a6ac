//! The serial line over pseudo-terminals: bytes, exclusive use, the trigger byte, and a cable that goes and comes.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use selfsame_api::interface::RegisterKind;
use selfsame_api::register::RegisterState;
use selfsame_terminal::register::{RegisterSettings, Registers, SerialSettings, Suffix, Undelivered};
use tempfile::TempDir;

use crate::{CODE, PATIENCE, open, refused, tells_no_digits};

/// Synchronous idle, the byte that triggers many scanners.
const TRIGGER: u8 = 0x16;

/// The till's end of a cable, and the terminal's port.
fn cable() -> (File, PathBuf) {
    let till = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&till).unwrap();
    unlockpt(&till).unwrap();
    let name = ptsname(&till, Vec::new()).unwrap();
    (File::from(till), PathBuf::from(name.to_str().expect("ASCII")))
}

fn settings(device: &Path) -> SerialSettings {
    SerialSettings { device: device.to_owned(), trigger_byte: Some(TRIGGER), ..Default::default() }
}

async fn line(serial: SerialSettings) -> Registers {
    open(RegisterSettings { serial: Some(serial), ..Default::default() }).await
}

fn state(registers: &Registers) -> RegisterState {
    let offers = registers.offers();
    offers.iter().find(|offer| offer.register == RegisterKind::Serial).expect("it is configured").state
}

async fn until(registers: &Registers, expected: RegisterState) {
    let waiting = async {
        while state(registers) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("the port becomes {expected:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_written_between_prefix_and_suffix() {
    let (mut till, device) = cable();
    let serial = SerialSettings { prefix: "]C0".to_owned(), suffix: Suffix::Crlf, ..settings(&device) };
    let registers = line(serial).await;
    registers
        .deliver(RegisterKind::Serial, CODE)
        .await
        .expect("a pseudo-terminal has no modem lines, and no matter");
    registers.deliver(RegisterKind::Serial, CODE).await.expect("again");
    let expected = format!("]C0{CODE}\r\n]C0{CODE}\r\n");
    let mut read = vec![0; expected.len()];
    till.read_exact(&mut read).unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_not_there_or_somebody_elses_is_missing() {
    let folder = TempDir::new().unwrap();
    let registers = line(settings(&folder.path().join("ttyUSB0"))).await;
    assert_eq!(state(&registers), RegisterState::Missing);
    let error = registers.deliver(RegisterKind::Serial, CODE).await.expect_err("there is no such port");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
    tells_no_digits(&error);

    let (_till, device) = cable();
    let first = line(settings(&device)).await;
    let second = line(settings(&device)).await;
    assert_eq!((state(&first), state(&second)), (RegisterState::Ready, RegisterState::Missing));
    let error = second.deliver(RegisterKind::Serial, CODE).await.expect_err("the first one holds it");
    assert!(matches!(error, Undelivered::Missing { .. } | Undelivered::NotSent { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_was_out_is_found_again() {
    let folder = TempDir::new().unwrap();
    let port = folder.path().join("ttyUSB0");
    let (till, device) = cable();
    symlink(&device, &port).unwrap();
    let registers = line(settings(&port)).await;
    until(&registers, RegisterState::Ready).await;
    drop(till);
    std::fs::remove_file(&port).unwrap();
    until(&registers, RegisterState::Missing).await;
    let error = registers.deliver(RegisterKind::Serial, CODE).await.expect_err("the cable is out");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");

    let (mut till, device) = cable();
    symlink(&device, &port).unwrap();
    until(&registers, RegisterState::Ready).await;
    registers.deliver(RegisterKind::Serial, CODE).await.expect("the cable is back");
    let mut read = [0; 19];
    till.read_exact(&mut read).unwrap();
    assert_eq!(read, *format!("{CODE}\r").as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_that_goes_in_the_middle_leaves_it_uncertain() {
    let (mut till, device) = cable();
    let registers = line(SerialSettings { delay_ms: 60, ..settings(&device) }).await;
    let pulled = std::thread::spawn(move || {
        let mut read = [0; 5];
        till.read_exact(&mut read).unwrap();
        read
    });
    let error = registers.deliver(RegisterKind::Serial, CODE).await.expect_err("the cable goes");
    assert_eq!(pulled.join().unwrap(), CODE.as_bytes()[..5]);
    let Undelivered::Uncertain { sent, whole, .. } = &error else { panic!("{error:?}") };
    assert!((5..19).contains(sent) && *whole == 19, "{error:?}");
    tells_no_digits(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tills_trigger_byte_asks_for_the_code() {
    let (mut till, device) = cable();
    let mut registers = line(settings(&device)).await;
    let mut asked = registers.take_asked().expect("it was not taken before");
    assert!(registers.take_asked().is_none());
    till.write_all(b"T\r").unwrap();
    till.write_all(&[TRIGGER, b'T', b'\r']).unwrap();
    let heard = tokio::time::timeout(PATIENCE, asked.recv()).await.expect("it is heard");
    assert_eq!(heard, Some(RegisterKind::Serial));
    // Other bytes asked for nothing.
    assert!(asked.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trigger_byte_the_tills_bytes_mean_nothing() {
    let (mut till, device) = cable();
    let mut registers = line(SerialSettings { trigger_byte: None, ..settings(&device) }).await;
    let mut asked = registers.take_asked().expect("it was not taken before");
    till.write_all(&[TRIGGER; 64]).unwrap();
    registers.deliver(RegisterKind::Serial, CODE).await.expect("a code goes out all the same");
    till.read_exact(&mut [0; 19]).unwrap();
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_line_that_cannot_be_set_is_refused_by_name() {
    for (change, name) in [
        (SerialSettings { baud: 1, ..Default::default() }, "`baud`"),
        (SerialSettings { data_bits: 9, ..Default::default() }, "`data_bits`"),
        (SerialSettings { stop_bits: 0, ..Default::default() }, "`stop_bits`"),
        (SerialSettings { delay_ms: 61, ..Default::default() }, "`delay_ms`"),
    ] {
        let told = refused(RegisterSettings { serial: Some(change), ..Default::default() }).await;
        assert!(told.starts_with(&format!("section [register.serial]: {name}")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_was_given_up_is_opened_again_though_its_cable_never_went() {
    let (mut till, device) = cable();
    let registers = line(settings(&device)).await;
    // Nobody reads: at some point no more fits in between.
    let mut fitted = 0;
    while registers.deliver(RegisterKind::Serial, CODE).await.is_ok() {
        fitted += 1;
        assert!(fitted < 10_000, "no system keeps so much");
    }
    // The till wakes up.
    let (sender, bytes) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while till.read_exact(&mut byte).is_ok() && sender.send(byte[0]).is_ok() {}
    });
    until(&registers, RegisterState::Ready).await;
    let next = "989990009990009990";
    registers.deliver(RegisterKind::Serial, next).await.expect("the port is open again");
    let expected = format!("{next}\r").into_bytes();
    let mut read = Vec::new();
    while !read.ends_with(&expected) {
        read.push(bytes.recv_timeout(PATIENCE).expect("the next code comes whole"));
    }
}
