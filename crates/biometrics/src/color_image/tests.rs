use proptest::prelude::*;

use super::*;

/// A picture with detail in all colours, so that decoders have something to do.
fn picture(width_px: u32, height_px: u32) -> ColorImage {
    let color = |x: u32, y: u32| [(x * 5) as u8, (y * 3) as u8, ((x * y) / 7) as u8];
    ColorImage::draw(width_px, height_px, color).unwrap()
}

fn jpeg_of(image: &ColorImage, prepare: impl Fn(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    prepare(&mut encoder);
    let (width, height) = (image.width_px() as u16, image.height_px() as u16);
    encoder.encode(image.rgb(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

fn png_of(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    png_with(width, height, color, depth, data, |_| {})
}

fn png_with(
    width: u32,
    height: u32,
    color: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
    prepare: impl Fn(&mut png::Encoder<'_, &mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(vec![1, 2, 3, 200, 100, 50]);
    }
    prepare(&mut encoder);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

/// EXIF data with this orientation, in either byte order.
fn exif(orientation: u16, little: bool) -> Vec<u8> {
    let short = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut bytes = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    bytes.extend(long(8));
    bytes.extend(short(2));
    // Another tag first: the maker, as two letters.
    bytes.extend([short(0x010f), short(2)].concat());
    bytes.extend([long(2), [b'x', 0, 0, 0]].concat());
    bytes.extend([short(0x0112), short(3)].concat());
    bytes.extend(long(1));
    bytes.extend([short(orientation), [0, 0]].concat());
    bytes.extend(long(0));
    bytes
}

fn mean_difference(a: &ColorImage, b: &ColorImage) -> f32 {
    assert_eq!((a.width_px(), a.height_px()), (b.width_px(), b.height_px()));
    let sum: u32 = a.rgb().iter().zip(b.rgb()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    sum as f32 / a.rgb().len() as f32
}

fn decoded(bytes: &[u8]) -> ColorImage {
    decode(bytes, Limits::FRAME).unwrap()
}

#[test]
fn a_jpeg_reads_nearly_as_it_was_written_baseline_or_progressive() {
    let image = picture(61, 47);
    assert!(mean_difference(&decoded(&jpeg_of(&image, |_| {})), &image) < 6.0);
    let progressive = jpeg_of(&image, |encoder| encoder.set_progressive(true));
    assert!(mean_difference(&decoded(&progressive), &image) < 6.0);
    let flat = ColorImage::draw(64, 64, |_, _| [200, 40, 90]).unwrap();
    assert!(mean_difference(&decoded(&encode_jpeg(&flat, 90)), &flat) < 3.0);
}

#[test]
fn a_grey_jpeg_becomes_grey_and_a_cmyk_one_is_refused() {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.encode(&[120; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
    assert!(decoded(&bytes).rgb().iter().all(|value| value.abs_diff(120) <= 2));
    for color in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        let mut bytes = Vec::new();
        jpeg_encoder::Encoder::new(&mut bytes, 95).encode(&[9; 256], 8, 8, color).unwrap();
        assert_eq!(decode(&bytes, Limits::FRAME), Err(ColorImageError::Components(4)));
    }
}

#[test]
fn every_kind_of_png_becomes_colour() {
    use png::BitDepth::{Eight, One, Sixteen};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let rgb = |bytes: &[u8]| decoded(bytes).rgb().to_vec();
    assert_eq!(rgb(&png_of(1, 1, Grayscale, Sixteen, &[0x12, 0x34])), [0x12; 3]);
    assert_eq!(rgb(&png_of(1, 1, GrayscaleAlpha, Eight, &[7, 0])), [7; 3]);
    assert_eq!(rgb(&png_of(1, 1, Rgb, Eight, &[1, 2, 3])), [1, 2, 3]);
    assert_eq!(rgb(&png_of(1, 1, Rgb, Sixteen, &[1, 9, 2, 9, 3, 9])), [1, 2, 3]);
    assert_eq!(rgb(&png_of(1, 1, Rgba, Eight, &[1, 2, 3, 4])), [1, 2, 3]);
    assert_eq!(rgb(&png_of(2, 1, Indexed, One, &[0b0100_0000])), [1, 2, 3, 200, 100, 50]);
}

#[test]
fn an_animated_png_is_refused() {
    let animate = |encoder: &mut png::Encoder<'_, &mut Vec<u8>>| encoder.set_animated(2, 0).unwrap();
    let bytes = png_with(1, 1, png::ColorType::Rgb, png::BitDepth::Eight, &[1, 2, 3], animate);
    assert_eq!(decode(&bytes, Limits::FRAME), Err(ColorImageError::Animated));
}

#[test]
fn every_orientation_is_turned_upright() {
    // Red at the top left, green at the top right, blue at the bottom left, white at the bottom right.
    let (r, g, b, w) = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3]);
    let stored = [r, g, b, w].concat();
    let expected = [
        [r, g, b, w],
        [g, r, w, b],
        [w, b, g, r],
        [b, w, r, g],
        [r, b, g, w],
        [b, r, w, g],
        [w, g, b, r],
        [g, w, r, b],
    ];
    for (orientation, expected) in (1..).zip(expected) {
        for little in [true, false] {
            let turned = orientation::of_exif(&exif(orientation, little));
            let image = ColorImage::new(2, 2, stored.clone()).unwrap();
            assert_eq!(orientation::upright(image, turned).rgb(), expected.concat(), "{orientation}");
        }
    }
}

#[test]
fn the_orientation_of_jpeg_and_png_files_is_followed() {
    let image = picture(48, 32);
    let bytes = jpeg_of(&image, |encoder| encoder.add_exif_metadata(&exif(6, false)).unwrap());
    assert_eq!((decoded(&bytes).width_px(), decoded(&bytes).height_px()), (32, 48));
    let mut bytes = png_of(2, 1, png::ColorType::Rgb, png::BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    let chunk = [b"eXIf".as_slice(), &exif(3, true)].concat();
    let length = (chunk.len() - 4) as u32;
    let chunk = [&length.to_be_bytes(), chunk.as_slice(), &crc32(&chunk).to_be_bytes()].concat();
    // Right after the header, which is 8 + 25 bytes long.
    bytes.splice(33..33, chunk);
    assert_eq!(decoded(&bytes).rgb(), [4, 5, 6, 1, 2, 3]);
}

#[test]
fn exif_data_that_lies_counts_as_upright() {
    let mut endless = exif(6, true);
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut many = exif(6, true);
    many[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    many[24] = 0xff;
    for bytes in [endless, many, exif(0, true), exif(9, false), b"Exif\0\0".to_vec(), Vec::new()] {
        assert_eq!(orientation::of_exif(&bytes), orientation::UPRIGHT);
    }
    // 60 KB of EXIF data that claims 65,535 entries costs no more than the first of them.
    let mut bomb = b"II*\0\x08\0\0\0\xff\xff".to_vec();
    bomb.resize(60_000, 1);
    let bytes = jpeg_of(&picture(16, 16), |encoder| encoder.add_exif_metadata(&bomb).unwrap());
    assert_eq!(decoded(&bytes).width_px(), 16);
}

#[test]
fn truncated_files_are_refused() {
    let image = picture(96, 96);
    let baseline = jpeg_of(&image, |_| {});
    let progressive = jpeg_of(&image, |encoder| encoder.set_progressive(true));
    let png = png_of(96, 96, png::ColorType::Rgb, png::BitDepth::Eight, image.rgb());
    // The last 40 bytes of a JPEG hold the end of the last row: without them the decoder may take the filler bits for
    // data. The end mark decides there.
    for (name, bytes) in [("baseline", baseline), ("progressive", progressive), ("png", png)] {
        for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            assert!(
                decode(&bytes[..length], Limits::FRAME).is_err(),
                "{name} cut at {length} of {}",
                bytes.len()
            );
        }
    }
    assert_eq!(decode(b"not a picture", Limits::FRAME), Err(ColorImageError::Format));
    assert_eq!(decode(&[], Limits::FRAME), Err(ColorImageError::Empty));
}

#[test]
fn huge_claims_are_refused_before_anything_is_decoded() {
    let mut png = png_of(1, 1, png::ColorType::Rgb, png::BitDepth::Eight, &[1, 2, 3]);
    png[16..24].copy_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut jpeg = jpeg_of(&picture(16, 16), |_| {});
    let start = jpeg.windows(2).position(|mark| mark == [0xff, 0xc0]).unwrap();
    jpeg[start + 5..start + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    for bytes in [png, jpeg] {
        let refused = decode(&bytes, Limits::FRAME);
        assert!(matches!(refused, Err(ColorImageError::TooManyPixels { .. })), "{refused:?}");
    }
    let large = vec![0xff; Limits::FRAME.bytes_max + 1];
    assert!(matches!(decode(&large, Limits::FRAME), Err(ColorImageError::TooLarge { .. })));
    assert!(ColorImage::new(2, 2, vec![0; 11]).is_err() && ColorImage::new(0, 2, vec![]).is_err());
}

#[test]
fn a_jpeg_fits_into_the_bytes_that_there_are() {
    let image = picture(320, 240);
    let (best, lowest) = (encode_jpeg(&image, 90), encode_jpeg(&image, 60));
    assert_eq!(encode_jpeg_within(&image, usize::MAX), best);
    assert_eq!(encode_jpeg_within(&image, 0), lowest);
    assert!(encode_jpeg_within(&image, best.len() - 1).len() < best.len());
}

#[test]
fn cutting_stays_inside() {
    let image = picture(10, 8);
    let area = Area { left: 8, top: 6, width_px: u32::MAX, height_px: 5 };
    let cut = image.cut(area).unwrap();
    assert_eq!((cut.width_px(), cut.height_px()), (2, 2));
    assert_eq!(cut.rgb()[..3], image.rgb()[(6 * 10 + 8) * 3..][..3]);
    assert!(image.cut(Area { left: 10, ..area }).is_none());
    assert!(image.cut(Area { width_px: 0, ..area }).is_none());
}

#[test]
fn scaling_follows_pixel_centres() {
    // Halving takes the mean of four pixels; doubling a step keeps the edge where it is.
    let image = ColorImage::draw(4, 2, |x, _| [(x * 40) as u8; 3]).unwrap();
    let half = image.warp(&Affine::scale([0.0, 0.0, 4.0, 2.0], 2, 1), 2, 1, Border::Nearest);
    assert_eq!(half.rgb(), [20, 20, 20, 100, 100, 100]);
    let same = image.warp(&Affine::scale([0.0, 0.0, 4.0, 2.0], 4, 2), 4, 2, Border::Black);
    assert!(same == image);
    let outside = image.warp(&Affine::scale([50.0, 0.0, 4.0, 2.0], 1, 1), 1, 1, Border::Black);
    assert_eq!(outside.rgb(), [0; 3]);
    let smooth = image.warp_smooth(&Affine::scale([0.0, 0.0, 4.0, 2.0], 1, 1), 1, 1, Border::Nearest);
    assert_eq!(smooth.rgb(), [60; 3]);
}

#[test]
fn a_picture_does_not_print_its_pixels() {
    assert_eq!(format!("{:?}", picture(3, 2)), "ColorImage(3 x 2, ***)");
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Small files of every kind, as a start for damage.
fn corpus() -> Vec<Vec<u8>> {
    let image = picture(24, 17);
    vec![
        jpeg_of(&image, |_| {}),
        jpeg_of(&image, |encoder| encoder.set_progressive(true)),
        jpeg_of(&image, |encoder| encoder.set_restart_interval(2)),
        jpeg_of(&image, |encoder| encoder.add_exif_metadata(&exif(5, true)).unwrap()),
        png_of(24, 17, png::ColorType::Rgb, png::BitDepth::Eight, image.rgb()),
        png_of(8, 1, png::ColorType::Indexed, png::BitDepth::One, &[0x5a]),
    ]
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        file in 0usize..6,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = corpus().swap_remove(file);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = decode(&bytes, Limits::FRAME);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(&bytes, Limits::FRAME);
    }

    #[test]
    fn hostile_exif_never_panics(bytes: Vec<u8>, little: bool) {
        let head = if little { b"II*\0\x08\0\0\0" } else { b"MM\0*\0\0\0\x08" };
        let turned = orientation::of_exif(&[head.as_slice(), &bytes].concat());
        prop_assert!((1..=8).contains(&turned));
    }
}
