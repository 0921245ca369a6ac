//! From sealed frames to pictures.

use std::time::Instant;

use selfsame_api::sealing::{FrameContext, ImageFormat, OpeningKey, SealedFrame};
use selfsame_biometrics::image::{GrayImage, decode_png};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::Fault;

/// Opens and decodes all frames of a submission.
pub(crate) fn open(
    key: &OpeningKey,
    context: &FrameContext,
    frames: &[SealedFrame],
    timings: &mut Timings,
) -> Result<Vec<GrayImage>, Fault> {
    let started = Instant::now();
    let mut images = Vec::with_capacity(frames.len());
    for (index, frame) in frames.iter().enumerate() {
        let opened = key.open(context, index, frame).map_err(|_| Fault::SealBroken)?;
        let image = match frame.format {
            ImageFormat::Png => decode_png(&opened, frame.resolution_dpi),
        };
        images.push(image.map_err(|error| {
            tracing::warn!(%error, session = context.session, "a frame is no usable image");
            Fault::ImageInvalid
        })?);
    }
    timings.add(Stage::Open, started.elapsed());
    Ok(images)
}
