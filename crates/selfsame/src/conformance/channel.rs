//! The ways from a terminal to a till: the reports that the real keyboard register writes, a pseudo terminal in place of a
//! serial cable, a TCP connection, and what a scanner decodes from the screen.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use selfsame_terminal::register::{DigitKeys, GadgetKeyboard, OutputProfile, Register, Suffix};

use crate::till::key::{Decode, Layout, Reports};

/// A keyboard as a till has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyboard {
    name: &'static str,
    layout: Layout,
    digits: DigitKeys,
    decode: Decode,
}

/// A way to the till.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Keys.
    Keyboard(Keyboard),
    /// A serial line.
    Serial,
    /// A TCP connection.
    Tcp,
    /// Bar codes on the screen.
    Screen,
}

/// Layouts of tills, with the keys that a terminal is set to for them. `fr` is what happens when it is not set.
const KEYBOARDS: [(&str, Layout, DigitKeys); 5] = [
    ("us", Layout::Us, DigitKeys::Row),
    ("fr", Layout::Fr, DigitKeys::Row),
    ("fr_shift", Layout::Fr, DigitKeys::RowShift),
    ("de", Layout::De, DigitKeys::Row),
    ("keypad", Layout::Fr, DigitKeys::Keypad),
];

impl Channel {
    /// All of them.
    pub fn all() -> Vec<Channel> {
        let keyboards = [Decode::Keys, Decode::Characters].into_iter().flat_map(|decode| {
            let keyboard =
                move |(name, layout, digits)| Channel::Keyboard(Keyboard { name, layout, digits, decode });
            KEYBOARDS.into_iter().map(keyboard)
        });
        keyboards.chain([Channel::Serial, Channel::Tcp, Channel::Screen]).collect()
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Keyboard(_) => "keyboard",
            Channel::Serial => "serial",
            Channel::Tcp => "tcp",
            Channel::Screen => "screen",
        }
    }

    fn keyboard(self) -> Option<Keyboard> {
        if let Channel::Keyboard(keyboard) = self { Some(keyboard) } else { None }
    }

    /// Of a keyboard, the layout.
    pub fn layout(self) -> Option<&'static str> {
        self.keyboard().map(|keyboard| keyboard.name)
    }

    /// Of a keyboard, how keys are read.
    pub fn decode(self) -> Option<Decode> {
        self.keyboard().map(|keyboard| keyboard.decode)
    }
}

/// Reports by which the real keyboard register types each character.
type Typed = HashMap<u8, Vec<[u8; 8]>>;

/// The channels, open.
pub struct Wires {
    typed: Vec<(DigitKeys, Typed)>,
    serial: (File, File),
    tcp: (TcpStream, TcpStream),
}

impl Wires {
    /// Opens them.
    pub fn open() -> anyhow::Result<Self> {
        let digits = [DigitKeys::Row, DigitKeys::RowShift, DigitKeys::Keypad];
        let typed = digits
            .into_iter()
            .map(|digits| -> anyhow::Result<(DigitKeys, Typed)> { Ok((digits, typed(digits)?)) });
        Ok(Self { typed: typed.collect::<anyhow::Result<_>>()?, serial: serial()?, tcp: tcp()? })
    }

    /// Sends characters; answers what comes out of each of them at the other end, in their order.
    pub fn pass(&mut self, channel: Channel, characters: &[u8]) -> anyhow::Result<Vec<Vec<char>>> {
        let one_each = |bytes: Vec<u8>| -> Vec<Vec<char>> {
            bytes.into_iter().map(|byte| vec![char::from(byte)]).collect()
        };
        Ok(match channel {
            Channel::Screen => one_each(characters.to_vec()),
            Channel::Serial => one_each(carry(&mut self.serial.0, &mut self.serial.1, characters)?),
            Channel::Tcp => one_each(carry(&mut self.tcp.0, &mut self.tcp.1, characters)?),
            Channel::Keyboard(keyboard) => {
                let typed = self.typed.iter().find(|(digits, _)| *digits == keyboard.digits);
                let (_, typed) = typed.context("these keys were not recorded")?;
                let mut reports = Reports::default();
                let mut type_one = |character: &u8| -> Vec<char> {
                    let pressed = typed[character].iter().flat_map(|report| reports.take(*report));
                    let character = |(key, shift): (crate::till::key::Key, bool)| {
                        key.character(shift, keyboard.decode, keyboard.layout)
                    };
                    pressed.filter_map(character).collect()
                };
                characters.iter().map(&mut type_one).collect()
            }
        })
    }
}

/// Has the register type every digit and Enter into a file, and takes the file apart.
fn typed(digits: DigitKeys) -> anyhow::Result<Typed> {
    let file = tempfile::NamedTempFile::new().context("failed to make a file")?;
    let profile = OutputProfile::keyboard("", Suffix::Cr, 2, digits)?;
    let keyboard = GadgetKeyboard::new(file.path(), profile, digits);
    let characters = "0123456789";
    keyboard
        .deliver(characters, Duration::from_secs(2))
        .context("the keyboard register does not type into a file")?;
    let bytes = std::fs::read(file.path()).context("failed to read what was typed")?;
    let reports: Vec<[u8; 8]> = bytes.as_chunks().0.to_vec();
    let strokes: Vec<Vec<[u8; 8]>> =
        reports.split_inclusive(|report| *report == [0; 8]).map(<[_]>::to_vec).collect();
    let written: Vec<u8> = characters.bytes().chain([b'\r']).collect();
    ensure!(strokes.len() == written.len(), "{} characters were typed as {}", written.len(), strokes.len());
    Ok(written.into_iter().zip(strokes).collect())
}

/// Both ends of a serial line. What goes in at one end comes out at the other as it is.
fn serial() -> anyhow::Result<(File, File)> {
    let opened = || {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let name = ptsname(&near, Vec::new())?;
        let far =
            File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes()))?;
        let mut settings = tcgetattr(&far)?;
        settings.make_raw();
        tcsetattr(&far, OptionalActions::Now, &settings)?;
        std::io::Result::Ok((File::from(near), far))
    };
    opened().context("failed to open a pseudo terminal")
}

fn tcp() -> anyhow::Result<(TcpStream, TcpStream)> {
    let opened = || {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        near.set_nodelay(true)?;
        let far = listener.accept()?.0;
        far.set_read_timeout(Some(Duration::from_secs(5)))?;
        std::io::Result::Ok((near, far))
    };
    opened().context("failed to open a TCP connection on 127.0.0.1")
}

fn carry(near: &mut impl Write, far: &mut impl Read, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    near.write_all(bytes)?;
    let mut arrived = vec![0; bytes.len()];
    far.read_exact(&mut arrived)?;
    Ok(arrived)
}
