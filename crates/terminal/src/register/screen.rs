//! The terminal's screen as a register: the code as Code 128 (set C) and as QR, for whichever the till's scanner reads.

use barcoders::sym::code128::Code128;
use qrcode::{Color, EcLevel, QrCode};
use selfsame_biometrics::image::{GrayImage, encode_png};

/// Pixels of one module. At 96 dpi 0.8 mm, well above the 0.25 mm that cheap scanners resolve.
const MODULE_PX: usize = 3;

/// Light modules on either side of a bar code (ISO/IEC 15417: 10 modules) and around a QR code (ISO/IEC 18004: 4).
const QUIET_MODULES: usize = 10;

/// Height of the bars, in modules: 15 % of the width at least (GS1 General Specifications ask for that by hand scanners).
const BAR_MODULES: usize = 40;

/// Light modules between the two codes, so that no scanner sees both in one line.
const GAP_MODULES: usize = 12;

/// Pixels per QR module: larger, because phones and imagers read it from afar.
const QR_MODULE_PX: usize = 9;

/// Selects code set C, which packs two digits into a symbol, in the notation of `barcoders`.
const CODE_SET_C: char = '\u{0106}';

struct Canvas {
    width: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn dark(&mut self, x: usize, y: usize, width: usize, height: usize) {
        for row in y..y + height {
            self.pixels[row * self.width + x..row * self.width + x + width].fill(0);
        }
    }
}

/// Draws 18 digits.
pub(super) fn png(digits: &str) -> Vec<u8> {
    let bars = Code128::new(format!("{CODE_SET_C}{digits}"))
        .expect("an even number of digits fits code set C")
        .encode();
    let qr =
        QrCode::with_error_correction_level(digits, EcLevel::Q).expect("18 digits fit the smallest QR code");
    let qr_px = qr.width() * QR_MODULE_PX;
    let width = (bars.len() + 2 * QUIET_MODULES) * MODULE_PX;
    let qr_top = (QUIET_MODULES + BAR_MODULES + GAP_MODULES) * MODULE_PX;
    let height = qr_top + qr_px + QUIET_MODULES * MODULE_PX;
    let mut canvas = Canvas { width, pixels: vec![255; width * height] };
    for (index, bar) in bars.iter().enumerate() {
        if *bar == 1 {
            let x = (QUIET_MODULES + index) * MODULE_PX;
            canvas.dark(x, QUIET_MODULES * MODULE_PX, MODULE_PX, BAR_MODULES * MODULE_PX);
        }
    }
    let qr_left = (width - qr_px) / 2;
    for (index, color) in qr.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (index % qr.width(), index / qr.width());
            canvas.dark(qr_left + x * QR_MODULE_PX, qr_top + y * QR_MODULE_PX, QR_MODULE_PX, QR_MODULE_PX);
        }
    }
    let (width, height) = (u32::try_from(width).expect("small"), u32::try_from(height).expect("small"));
    encode_png(&GrayImage::new(width, height, 200, canvas.pixels).expect("the canvas has the stated size"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_biometrics::image::decode_png;

    /// What a scanner reads of a picture: `TYPE:digits` lines of the Debian package zbar-tools. `None`, with a line on
    /// standard error, where it is not installed; CI has to have it.
    fn scan(png: &[u8]) -> Option<Vec<String>> {
        let file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        std::fs::write(file.path(), png).unwrap();
        match std::process::Command::new("zbarimg").arg("--quiet").arg(file.path()).output() {
            Ok(output) => {
                let mut lines: Vec<_> =
                    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
                lines.sort();
                Some(lines)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "zbarimg is missing: `cargo xtask test --setup` installs it"
                );
                eprintln!("not tested: zbarimg is missing; `cargo xtask test --setup` installs it");
                None
            }
            Err(error) => panic!("failed to start zbarimg: {error}"),
        }
    }

    #[test]
    fn a_scanner_reads_both_codes() {
        for digits in ["980123456789012345", "990000000000000000", "999999999999999994"] {
            let Some(read) = scan(&png(digits)) else { return };
            assert_eq!(read, [format!("CODE-128:{digits}"), format!("QR-Code:{digits}")]);
        }
    }

    #[test]
    fn the_bars_are_134_modules_between_quiet_zones() {
        // Start, nine pairs of digits, check symbol of 11 modules each, stop of 13: ISO/IEC 15417.
        let image = decode_png(&png("980123456789012345"), 200).unwrap();
        let width = image.width_px() as usize;
        assert_eq!(width, (134 + 2 * QUIET_MODULES) * MODULE_PX);
        let row = &image.pixels()[(QUIET_MODULES + 1) * MODULE_PX * width..][..width];
        let first = row.iter().position(|pixel| *pixel == 0);
        let last = row.iter().rposition(|pixel| *pixel == 0);
        assert_eq!((first, last), (Some(30), Some(width - 31)));
    }
}
