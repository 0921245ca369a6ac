//! Running a network. The rest of the face code does not know by which library.

#[cfg(feature = "ort")]
mod ort;

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, op_registry};
use rten_tensor::NdTensor;

use crate::color_image::ColorImage;
use crate::model_pack::{Channels, CheckedFile, Input, PackError};

/// A network did not answer, or not with what its pack says. Ours to repair; never counts against a payer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the network for {role} failed: {reason}")]
pub struct Fault {
    /// What the network is for.
    pub role: &'static str,
    /// What the library says.
    pub reason: String,
}

/// A network: one picture in, some vectors out.
pub(super) trait Network: Send + Sync {
    /// `input` is 1 x 3 x height x width. The outputs are in the order in which they were named at load.
    fn run(&self, input: Vec<f32>, height: usize, width: usize) -> Result<Vec<Vec<f32>>, String>;
}

/// One thread that networks run on. Networks loaded with the same one wait for each other.
#[derive(Clone)]
pub(super) struct Threads(Arc<ThreadPool>);

impl Threads {
    pub(super) fn one() -> Self {
        Self(Arc::new(ThreadPool::with_num_threads(1)))
    }
}

/// Parses a file that agrees with its manifest. `outputs` are the ones that are wanted.
pub(super) fn load(
    file: &CheckedFile,
    outputs: &[&str],
    threads: &Threads,
) -> Result<Box<dyn Network>, PackError> {
    #[cfg(feature = "ort")]
    if ort::is_wanted() {
        return Ok(Box::new(ort::OrtNetwork::load(file, outputs)?));
    }
    Ok(Box::new(RtenNetwork::load(file, outputs, threads)?))
}

/// A network run by rten.
struct RtenNetwork {
    model: Arc<Model>,
    input: NodeId,
    outputs: Vec<NodeId>,
    options: RunOptions,
}

/// The operators of the networks that we know and a few that their kind uses. Others are refused at load: they would
/// only widen what a hostile file can reach.
fn operators() -> rten::OpRegistry {
    op_registry!(
        Add,
        AveragePool,
        BatchNormalization,
        Clip,
        Concat,
        Conv,
        Div,
        Flatten,
        Gemm,
        GlobalAveragePool,
        HardSigmoid,
        HardSwish,
        Identity,
        LeakyRelu,
        MatMul,
        MaxPool,
        Mul,
        PRelu,
        Relu,
        Reshape,
        Resize,
        Sigmoid,
        Slice,
        Softmax,
        Sub,
        Transpose
    )
}

impl RtenNetwork {
    fn load(file: &CheckedFile, outputs: &[&str], threads: &Threads) -> Result<Self, PackError> {
        let model = ModelOptions::with_ops(operators())
            .prepack_weights(true)
            .load(file.bytes.clone())
            .map_err(|error| file.refused(error))?;
        let id = |name: &str| model.node_id(name).map_err(|error| file.refused(error));
        let input = id(&file.facts.input.name)?;
        let outputs = outputs.iter().map(|name| id(name)).collect::<Result<_, _>>()?;
        let options = RunOptions::default().with_thread_pool(Some(threads.0.clone()));
        Ok(Self { model: Arc::new(model), input, outputs, options })
    }
}

impl Network for RtenNetwork {
    fn run(&self, input: Vec<f32>, height: usize, width: usize) -> Result<Vec<Vec<f32>>, String> {
        let tensor = NdTensor::from_data([1, 3, height, width], input);
        let outputs =
            self.model.run(vec![(self.input, tensor.into())], &self.outputs, Some(self.options.clone()));
        let vector = |value: rten::Value| {
            let tensor: rten_tensor::Tensor<f32> = value.try_into().map_err(|error| format!("{error:?}"))?;
            Ok(tensor.into_data())
        };
        outputs.map_err(|error| error.to_string())?.into_iter().map(vector).collect()
    }
}

/// A picture as a network takes it: planes of one colour after the other, in the order and scale of its manifest.
/// Rows and columns up to `height` and `width` are filled with 0.
pub(super) fn planes(image: &ColorImage, input: &Input, width: usize, height: usize) -> Vec<f32> {
    let mut values = vec![0.0; 3 * width * height];
    let row_bytes = image.width_px() as usize * 3;
    for (plane, values) in values.chunks_exact_mut(width * height).enumerate() {
        let channel = match input.channels {
            Channels::Bgr => 2 - plane,
            Channels::Rgb => plane,
        };
        let (mean, deviation) = (input.mean[plane], input.deviation[plane]);
        for (values, row) in values.chunks_exact_mut(width).zip(image.rgb().chunks_exact(row_bytes)) {
            for (value, pixel) in values.iter_mut().zip(row.chunks_exact(3)) {
                *value = (f32::from(pixel[channel]) - mean) / deviation;
            }
        }
    }
    values
}
