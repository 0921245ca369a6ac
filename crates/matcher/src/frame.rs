//! From sealed frames to frames in the clear.

use std::time::Instant;

use selfsame_api::sealing::{FrameContext, ImageFormat, OpeningKey, SealedFrame};
use selfsame_domain::timing::{Stage, Timings};
use selfsame_domain::verification::Fault;
use zeroize::Zeroizing;

/// A frame whose seal is open. Wiped when dropped; never printed.
pub(crate) struct OpenedFrame {
    pub(crate) format: ImageFormat,
    pub(crate) resolution_dpi: u16,
    pub(crate) offset_ms: u32,
    pub(crate) image: Zeroizing<Vec<u8>>,
}

/// Opens all frames of a submission.
pub(crate) fn open(
    key: &OpeningKey,
    context: &FrameContext,
    frames: &[SealedFrame],
    timings: &mut Timings,
) -> Result<Vec<OpenedFrame>, Fault> {
    let started = Instant::now();
    let open = |(index, frame): (usize, &SealedFrame)| {
        let image = key.open(context, index, frame).map_err(|_| Fault::SealBroken)?;
        let SealedFrame { format, resolution_dpi, offset_ms, .. } = *frame;
        Ok(OpenedFrame { format, resolution_dpi, offset_ms, image })
    };
    let opened = frames.iter().enumerate().map(open).collect();
    timings.add(Stage::Open, started.elapsed());
    opened
}
