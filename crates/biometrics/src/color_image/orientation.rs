//! Which way a photo is up, by its EXIF data, and turning it.

use super::ColorImage;

/// The orientation of a picture that is as it should be.
pub(super) const UPRIGHT: u8 = 1;

/// The tag of the orientation (EXIF 2.32, table 4).
const ORIENTATION: u16 = 0x0112;

/// Entries of the first directory that are looked at. Cameras write about 15, and the tag stands near the front.
const ENTRIES_MAX: usize = 64;

/// The orientation in EXIF data, 1 to 8. Only the first directory is read, no offset but its own is followed, and
/// what does not make sense counts as upright.
pub(super) fn of_exif(exif: &[u8]) -> u8 {
    find(exif)
        .filter(|value| (1..=8).contains(value))
        .and_then(|value| u8::try_from(value).ok())
        .unwrap_or(UPRIGHT)
}

fn find(exif: &[u8]) -> Option<u16> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes: [u8; 4] = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = usize::from(short(directory)?).min(ENTRIES_MAX);
    (0..entries).find_map(|entry| {
        let at = directory.checked_add(2 + entry * 12)?;
        // Type 3 is a 16-bit number, stored in the entry itself.
        (short(at)? == ORIENTATION && short(at + 2)? == 3 && long(at + 4)? == 1).then(|| short(at + 8))?
    })
}

/// Turns and mirrors a picture so that it is upright.
pub(super) fn upright(image: ColorImage, orientation: u8) -> ColorImage {
    if !(2..=8).contains(&orientation) {
        return image;
    }
    let (width, height) = (image.width_px as usize, image.height_px as usize);
    let lies = orientation >= 5;
    let (new_width, new_height) = if lies { (height, width) } else { (width, height) };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for y in 0..new_height {
        for x in 0..new_width {
            let (right, bottom) = (new_width - 1 - x, new_height - 1 - y);
            let (from_x, from_y) = match orientation {
                2 => (right, y),
                3 => (right, bottom),
                4 => (x, bottom),
                5 => (y, x),
                6 => (y, right),
                7 => (bottom, right),
                _ => (bottom, x),
            };
            let at = (from_y * width + from_x) * 3;
            pixels.extend_from_slice(&image.pixels[at..at + 3]);
        }
    }
    let sides = if lies { (image.height_px, image.width_px) } else { (image.width_px, image.height_px) };
    ColorImage { width_px: sides.0, height_px: sides.1, pixels }
}
