//! What each network of a pack costs alone, so that engines can be compared on the same shapes.

use std::time::{Duration, Instant};

use super::detection::{self, SIDE_PX_COARSE, SIDE_PX_MAX, SIDE_PX_TURNED};
use super::runtime::{self, Threads};
use crate::model_pack::{CheckedFile, ModelPack, PackError, Role};

/// One network with inputs of one size.
#[derive(Clone, Debug)]
pub struct NetworkCost {
    /// The pack that the file is in.
    pub pack: String,
    /// Name of the file.
    pub file: String,
    /// Name of its input: 1 x 3 x `height` x `width`, 32-bit floating point.
    pub input: String,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// How often one verification runs it, with a square frame whose face is looked at and two that are followed.
    pub runs: u32,
    /// Median of one run on one thread.
    pub median: Duration,
}

/// Frames that attack detection looks at.
const ATTACK_FRAMES: u32 = 3;

/// Runs every network of a pack `rounds` times on zeros: the time of these networks does not depend on the values.
/// `progress` is told how many networks are done, and of how many.
pub fn network_costs(
    pack: &ModelPack,
    rounds: usize,
    progress: impl Fn(usize, usize),
) -> Result<Vec<NetworkCost>, PackError> {
    let detector = pack.files(Role::Detection)?[0];
    let mut jobs: Vec<(&CheckedFile, usize, usize, u32)> =
        [(SIDE_PX_MAX, 1), (SIDE_PX_COARSE, ATTACK_FRAMES - 1), (SIDE_PX_TURNED, 1)]
            .map(|(side, runs)| (detector, side as usize, side as usize, runs))
            .to_vec();
    for (role, runs) in [(Role::Landmarks, 1), (Role::Attack, ATTACK_FRAMES), (Role::Embedding, 1)] {
        for file in pack.files(role)? {
            let input = &file.facts.input;
            jobs.push((file, input.height_px as usize, input.width_px as usize, runs));
        }
    }
    let (threads, total) = (Threads::one(), jobs.len());
    let mut costs = Vec::with_capacity(jobs.len());
    for (file, height, width, runs) in jobs {
        let single = [file.facts.output.as_str()];
        let outputs = if file.facts.role == Role::Detection { &detection::OUTPUTS[..] } else { &single };
        let network = runtime::load(file, outputs, &threads)?;
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds.max(1) {
            let zeros = vec![0.0; 3 * height * width];
            let started = Instant::now();
            network.run(zeros, height, width).map_err(|reason| file.refused(reason))?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        costs.push(NetworkCost {
            pack: file.pack().to_owned(),
            file: file.facts.name.clone(),
            input: file.facts.input.name.clone(),
            height,
            width,
            runs,
            median: times[times.len() / 2],
        });
        progress(costs.len(), total);
    }
    Ok(costs)
}
