//! The till's bar code scanner: reads Code 128 from the picture on the terminal's screen.

use anyhow::{Context, ensure};
use barcoders::sym::code128::Code128;
use selfsame_biometrics::image::decode_png;
use selfsame_domain::payment_code::CODE_DIGITS;
use zeroize::Zeroizing;

/// Modules of a symbol (ISO/IEC 15417).
const SYMBOL_MODULES: usize = 11;

/// Modules of the whole bar code: start, pairs of digits, check symbol, and the stop with its two more.
const MODULES: usize = SYMBOL_MODULES * (CODE_DIGITS / 2 + 3) + 2;

/// Selects code set C, two digits in a symbol, in the notation of `barcoders`.
const CODE_SET_C: char = '\u{0106}';

/// Reads the digits. The check symbol must fit.
pub fn scan(png: &[u8]) -> anyhow::Result<Zeroizing<String>> {
    // Screens have no resolution that matters to a scanner; the decoder wants one.
    let image = decode_png(png, 500).context("the screen's picture cannot be read")?;
    let rows = image.pixels().chunks_exact(image.width_px() as usize);
    rows.filter_map(scan_row).next().context("there is no Code 128 of 18 digits on the screen")
}

fn encode(digits: &str) -> Option<Vec<u8>> {
    Code128::new(format!("{CODE_SET_C}{digits}")).ok().map(|code| code.encode())
}

fn scan_row(row: &[u8]) -> Option<Zeroizing<String>> {
    let dark = |pixel: &u8| *pixel < 128;
    let first = row.iter().position(dark)?;
    let width = row.iter().rposition(dark)? + 1 - first;
    if width % MODULES != 0 {
        return None;
    }
    let module = width / MODULES;
    let bars: Vec<u8> =
        (0..MODULES).map(|index| u8::from(dark(&row[first + index * module + module / 2]))).collect();
    let mut digits = Zeroizing::new(String::with_capacity(CODE_DIGITS));
    for symbol in bars.chunks_exact(SYMBOL_MODULES).skip(1).take(CODE_DIGITS / 2) {
        let is_symbol = |pair: &u8| {
            encode(&format!("{pair:02}"))
                .is_some_and(|bars| &bars[SYMBOL_MODULES..2 * SYMBOL_MODULES] == symbol)
        };
        let pair = (0..100u8).find(is_symbol)?;
        digits.push_str(&format!("{pair:02}"));
    }
    // Start, check symbol and stop are right if the same digits give the same bars.
    (encode(&digits)? == bars).then_some(digits)
}

/// Digits as logs and the demo may show them.
pub fn masked(digits: &str) -> anyhow::Result<String> {
    ensure!(digits.len() == CODE_DIGITS && digits.is_ascii(), "a code has {CODE_DIGITS} digits");
    Ok(format!("{}***{}", &digits[..2], &digits[CODE_DIGITS - 4..]))
}

#[cfg(test)]
mod tests {
    use selfsame_biometrics::image::{GrayImage, encode_png};

    use super::*;

    fn picture(bars: &[u8], module: usize) -> Vec<u8> {
        let line: Vec<u8> =
            bars.iter().flat_map(|bar| vec![if *bar == 1 { 0 } else { 255 }; module]).collect();
        let quiet = vec![255u8; 10 * module];
        let row = [quiet.clone(), line, quiet].concat();
        let width = u32::try_from(row.len()).unwrap();
        encode_png(&GrayImage::new(width, 3, 500, row.repeat(3)).unwrap())
    }

    #[test]
    fn digits_are_read_as_they_were_drawn() {
        for digits in ["980123456789012345", "990000000000000000"] {
            let bars = encode(digits).unwrap();
            assert_eq!(bars.len(), MODULES);
            assert_eq!(*scan(&picture(&bars, 3)).unwrap(), digits);
        }
    }

    #[test]
    fn a_damaged_bar_code_is_not_read() {
        let mut bars = encode("980123456789012345").unwrap();
        bars[60] ^= 1;
        assert!(scan(&picture(&bars, 3)).is_err());
        assert!(scan(b"no picture").is_err());
    }
}
