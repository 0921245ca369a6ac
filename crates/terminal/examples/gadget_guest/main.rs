//! The checks of `cargo xtask gadget`, in the guest: codes go out by the terminal's registers, opened by the settings of a
//! site, and are read where a till reads them, as key events and as bytes of a serial port. The gadget was made by
//! `xtask/gadget/init.sh`; its other end is this same kernel. A virtual camera is opened as a real one. Each check is a line
//! on the console that begins with `@`.

mod camera;
mod host;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use selfsame_api::interface::RegisterKind;
use selfsame_terminal::register::{
    DigitKeys, KeyboardOutput, KeyboardSettings, RegisterSettings, Registers, SerialSettings, Suffix,
    Undelivered,
};
use tokio::runtime::Runtime;

use camera::Camera;
use host::{Key, Keyboard, SerialPort, wait_for};

/// The gadget's keyboard as the till's kernel names it: manufacturer and product. And the one of `uinput`.
const SCANNER: &str = "Selfsame Selfsame Scanner";
const VIRTUAL_SCANNER: &str = "Selfsame Scanner";

/// Where the terminal writes, and where the till reads the serial line.
const KEYBOARD_NODE: &str = "/dev/hidg0";
const SERIAL_NODE: &str = "/dev/ttyGS0";
const TILL_SERIAL_NODE: &str = "/dev/ttyACM0";

/// Codes with digits that follow upon themselves, which vanish where a key is not released. Neighbours differ, so that a
/// late key of one check is none of the next.
const CODES: [&str; 4] =
    ["981111112222200000", "982345678901234567", "987766554433221100", "989990009990009990"];

/// After so many keys the cable is pulled, while a code is typed so slowly that there is time for it.
const KEYS_BEFORE_PULL: usize = 5;
const SLOW_MS: u16 = 60;

/// The pause that registers have by default, and the shortest.
const USUAL_MS: u16 = 8;
const FAST_MS: u16 = 2;

/// What a light takes from the till to the keyboard. Nobody tells when it is there without taking it away.
const LIGHT: Duration = Duration::from_secs(1);

/// One way to the register, as a site's settings make it.
struct Way {
    registers: Registers,
    kind: RegisterKind,
    runtime: Runtime,
}

impl Way {
    fn open(settings: &RegisterSettings) -> Result<Self> {
        let runtime = Runtime::new().context("there is no runtime")?;
        let registers = runtime.block_on(Registers::open(settings)).context("the register does not open")?;
        Ok(Self { registers, kind: settings.default, runtime })
    }

    fn keyboard(output: KeyboardOutput, digits: DigitKeys, suffix: Suffix, delay_ms: u16) -> Result<Self> {
        let device = PathBuf::from(KEYBOARD_NODE);
        let keyboard =
            KeyboardSettings { output, device, suffix, delay_ms, digits, ..KeyboardSettings::default() };
        let default = RegisterKind::Keyboard;
        Self::open(&RegisterSettings { default, keyboard: Some(keyboard), ..RegisterSettings::default() })
    }

    /// Types digits of the row and Enter.
    fn row(delay_ms: u16) -> Result<Self> {
        Self::keyboard(KeyboardOutput::Gadget, DigitKeys::Row, Suffix::Cr, delay_ms)
    }

    fn serial() -> Result<Self> {
        let serial = SerialSettings { device: PathBuf::from(SERIAL_NODE), ..SerialSettings::default() };
        let default = RegisterKind::Serial;
        Self::open(&RegisterSettings { default, serial: Some(serial), ..RegisterSettings::default() })
    }

    fn deliver(&self, code: &str) -> Result<(), Undelivered> {
        self.runtime.block_on(self.registers.deliver(self.kind, code))
    }
}

/// An error with its cause, in one line.
fn told(undelivered: Undelivered) -> String {
    format!("{:#}", anyhow::Error::from(undelivered))
}

/// The plug of the gadget.
struct Cable {
    file: PathBuf,
    controller: String,
}

impl Cable {
    fn find() -> Result<Self> {
        let gadget = std::env::var("SELFSAME_GADGET").context("init names the gadget")?;
        let mut controllers = fs::read_dir("/sys/class/udc").context("there is no class of controllers")?;
        let controller = controllers.next().context("there is no device controller")??.file_name();
        let controller = controller.to_string_lossy().into_owned();
        Ok(Self { file: Path::new(&gadget).join("UDC"), controller })
    }

    fn plug(&self) -> Result<()> {
        fs::write(&self.file, &self.controller).context("the gadget is not bound")?;
        wait_for(KEYBOARD_NODE, || Path::new(KEYBOARD_NODE).exists().then_some(()))
    }

    fn pull(&self) -> Result<()> {
        fs::write(&self.file, "\n").context("the gadget is not unbound")?;
        host::wait_until_gone(SCANNER)
    }
}

fn keys(digits: &str, key: fn(u8) -> Key, suffix: Key) -> Vec<Key> {
    digits.bytes().map(|digit| key(digit - b'0')).chain([suffix]).collect()
}

fn row_keys(code: &str) -> Vec<Key> {
    keys(code, Key::Row, Key::Enter)
}

/// A code arrives key for key.
fn typed(way: &Way, keyboard: &Keyboard, code: &str, expected: &[Key]) -> Result<String> {
    way.deliver(code).map_err(anyhow::Error::from)?;
    let (found, took) = keyboard.exactly(expected.len())?;
    ensure!(found == expected, "{found:?} came");
    Ok(format!("{} keys in {} ms", found.len(), took.as_millis()))
}

fn nothing_is_typed_without_a_cable() -> Result<String> {
    match Way::row(USUAL_MS)?.deliver(CODES[0]) {
        Err(missing @ Undelivered::Missing { .. }) => Ok(told(missing)),
        other => bail!("the register says {other:?}"),
    }
}

fn keypad(keyboard: &Keyboard) -> Result<String> {
    let way = Way::keyboard(KeyboardOutput::Gadget, DigitKeys::Keypad, Suffix::Tab, USUAL_MS)?;
    keyboard.set_num_lock(true)?;
    std::thread::park_timeout(LIGHT);
    typed(&way, keyboard, CODES[2], &keys(CODES[2], Key::Keypad, Key::Tab))
}

fn keypad_without_num_lock(keyboard: &Keyboard) -> Result<String> {
    let way = Way::keyboard(KeyboardOutput::Gadget, DigitKeys::Keypad, Suffix::Tab, USUAL_MS)?;
    keyboard.set_num_lock(false)?;
    std::thread::park_timeout(LIGHT);
    let refused = match way.deliver(CODES[2]) {
        Err(off @ Undelivered::NumLockOff) => told(off),
        other => bail!("the register says {other:?}"),
    };
    let came = keyboard.rest()?;
    ensure!(came.is_empty(), "{came:?} came");
    Ok(refused)
}

/// The cable goes in the middle of a code. The register does not know what the till got and says so; what was on its way
/// never comes a second time, whatever happens afterwards.
fn pulled_in_the_middle(cable: &Cable, keyboard: &Keyboard) -> Result<String> {
    let (code, way) = (CODES[1], Way::row(SLOW_MS)?);
    let sending = std::thread::spawn(move || way.deliver(code));
    let mut found = Vec::new();
    while found.len() < KEYS_BEFORE_PULL {
        found.push(keyboard.next()?.context("the keyboard went by itself")?.0);
    }
    cable.pull()?;
    let delivered = sending.join().map_err(|_| anyhow::anyhow!("the register panicked"))?;
    found.extend(keyboard.rest()?);
    let whole = row_keys(code);
    ensure!(found.len() < whole.len() && whole.starts_with(&found), "{found:?} came");
    match delivered {
        Err(uncertain @ Undelivered::Uncertain { .. }) => {
            Ok(format!("{} of {} keys came; {}", found.len(), whole.len(), told(uncertain)))
        }
        other => bail!("the register says {other:?} after {} keys", found.len()),
    }
}

/// The same keyboard of the terminal, with the cable in again.
fn plugged_again(cable: &Cable, way: &Way) -> Result<(Keyboard, String)> {
    cable.plug()?;
    let keyboard = Keyboard::open(SCANNER)?;
    let late = keyboard.rest()?;
    ensure!(late.is_empty(), "keys of the code before came: {late:?}");
    let told = typed(way, &keyboard, CODES[2], &row_keys(CODES[2]))?;
    Ok((keyboard, told))
}

fn written(way: &Way, till: &SerialPort, code: &str) -> Result<String> {
    way.deliver(code).map_err(anyhow::Error::from)?;
    let expected = [code.as_bytes(), b"\r"].concat();
    let found = till.exactly(expected.len())?;
    ensure!(found == expected, "{:?} came", String::from_utf8_lossy(&found));
    Ok(format!("{} bytes", found.len()))
}

fn nothing_is_written_without_a_cable(way: &Way) -> Result<String> {
    match way.deliver(CODES[1]) {
        Err(undelivered) => Ok(told(undelivered)),
        Ok(()) => bail!("the register says that the till has it"),
    }
}

/// The till on the terminal's own machine.
fn same_machine() -> Result<String> {
    let way = Way::keyboard(KeyboardOutput::Uinput, DigitKeys::Row, Suffix::Cr, USUAL_MS)?;
    let keyboard = Keyboard::open(VIRTUAL_SCANNER)?;
    typed(&way, &keyboard, CODES[0], &row_keys(CODES[0]))
}

/// The checks so far.
struct Checks {
    passed: bool,
}

impl Checks {
    fn tell(&mut self, name: &str, result: Result<String>) {
        match result {
            Ok(detail) => println!("@pass {name} | {detail}"),
            Err(error) => {
                println!("@fail {name} | {error:#}");
                self.passed = false;
            }
        }
    }
}

/// All checks, in an order that one cable allows.
fn check_all() -> Result<bool> {
    let mut checks = Checks { passed: true };
    let cable = Cable::find()?;
    checks.tell("keyboard, gadget not bound: nothing sent", nothing_is_typed_without_a_cable());
    println!("@step binding the gadget to {}", cable.controller);
    cable.plug()?;
    let keyboard = Keyboard::open(SCANNER)?;
    let usual = Way::row(USUAL_MS)?;
    checks.tell("keyboard, row and Enter, 8 ms", typed(&usual, &keyboard, CODES[0], &row_keys(CODES[0])));
    let fast = Way::row(FAST_MS)?;
    checks.tell("keyboard, row and Enter, 2 ms", typed(&fast, &keyboard, CODES[1], &row_keys(CODES[1])));
    checks.tell("keyboard, keypad and Tab, NumLock on", keypad(&keyboard));
    checks.tell("keyboard, keypad, NumLock off: nothing sent", keypad_without_num_lock(&keyboard));
    let till = SerialPort::open(TILL_SERIAL_NODE)?;
    let line = Way::serial()?;
    checks.tell("serial, ttyGS0 to ttyACM0", written(&line, &till, CODES[3]));

    println!("@step unbinding it in the middle of a code");
    checks.tell("keyboard, unbound in the middle: uncertain", pulled_in_the_middle(&cable, &keyboard));
    checks.tell("keyboard, unbound: nothing sent", nothing_is_typed_without_a_cable());
    drop(till);
    checks.tell("serial, unbound: not said to be sent", nothing_is_written_without_a_cable(&line));

    println!("@step binding it again");
    let again = plugged_again(&cable, &usual);
    let name = "keyboard, bound again: nothing twice, next code whole";
    checks.tell(name, again.map(|(_keyboard, told)| told));
    let late_and_next = SerialPort::open(TILL_SERIAL_NODE).and_then(|till| {
        let late = till.rest();
        ensure!(late.is_empty(), "bytes of the code before came: {:?}", String::from_utf8_lossy(&late));
        written(&line, &till, CODES[0])
    });
    checks.tell("serial, bound again: nothing late, next code whole", late_and_next);
    checks.tell("uinput, same machine, 8 ms", same_machine());

    println!("@step looking into the camera");
    check_camera(&mut checks)?;
    Ok(checks.passed)
}

fn check_camera(checks: &mut Checks) -> Result<()> {
    let camera = Camera::new()?;
    checks.tell("camera, what it offers", camera::described());
    checks.tell("camera, on: frames in order", camera.on());
    checks.tell("camera, a frame as JPEG", camera.picture());
    checks.tell("camera, off: closed", camera.off());
    checks.tell("camera, on again", camera.on_again());
    checks.tell("camera, another program wants it: busy", camera.busy());
    checks.tell("camera, unplugged: missing", camera.gone());
    checks.tell("camera, plugged in: frames by itself", camera.back());
    checks.tell("camera, unplugged while off, and plugged in", camera.gone_while_off());
    checks.tell("camera, without the right to open it", camera::refused());
    Ok(())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(camera::AS_STRANGER) {
        return if camera::as_stranger().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match check_all() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("@fail the checks themselves | {error:#}");
            ExitCode::FAILURE
        }
    }
}
