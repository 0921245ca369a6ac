//! Networks on an ONNX Runtime library that is installed on the machine: about twice as fast as rten, and 20 MB of
//! foreign code in the process that sees faces. Only with the feature `ort`, and only where [`LIBRARY`] names one.

use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;

use super::Network;
use crate::model_pack::{CheckedFile, PackError};

/// Names the library file, e.g. `libonnxruntime.so` 1.17 or later. The variable is the one of the library's bindings.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// Whether networks are to run here.
pub(super) fn is_wanted() -> bool {
    std::env::var_os(LIBRARY).is_some_and(|path| !path.is_empty())
}

/// The library, loaded at the first network: a process can have one.
fn environment() -> Result<&'static Environment, String> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let load = || {
        let path = std::env::var_os(LIBRARY).unwrap_or_default();
        let library = ort::init_from(&path).map_err(|error| format!("{LIBRARY}: {error}"))?;
        library.build().map_err(|error| error.to_string())
    };
    ENVIRONMENT.get_or_init(load).as_ref().map_err(String::clone)
}

/// A network run by ONNX Runtime, on the thread that calls.
pub(super) struct OrtNetwork {
    /// A run needs it alone; pipelines are not shared between threads, so nobody waits.
    session: Mutex<Session>,
    input: String,
    outputs: Vec<String>,
}

impl OrtNetwork {
    pub(super) fn load(file: &CheckedFile, outputs: &[&str]) -> Result<Self, PackError> {
        let environment = environment().map_err(|reason| file.refused(reason))?;
        let session = || {
            let builder = Session::builder(environment)?;
            builder.with_intra_threads(1)?.with_inter_threads(1)?.commit_from_memory(&file.bytes)
        };
        let session = session().map_err(|error: ort::Error| file.refused(error))?;
        let known = |name: &str| session.outputs().iter().any(|output| output.name() == name);
        if let Some(missing) = outputs.iter().find(|name| !known(name)) {
            return Err(file.refused(format_args!("it has no output `{missing}`")));
        }
        let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { session: Mutex::new(session), input: file.facts.input.name.clone(), outputs })
    }
}

impl Network for OrtNetwork {
    fn run(&self, input: Vec<f32>, height: usize, width: usize) -> Result<Vec<Vec<f32>>, String> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let tensor = Tensor::from_array(([1, 3, height, width], input)).map_err(|error| error.to_string())?;
        let answer = session.run(ort::inputs![self.input.as_str() => tensor]);
        let answer = answer.map_err(|error| error.to_string())?;
        let vector = |name: &String| {
            let value = answer.get(name.as_str()).ok_or_else(|| format!("it has no output `{name}`"))?;
            let (_, values) = value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
            Ok(values.to_vec())
        };
        self.outputs.iter().map(vector).collect()
    }
}
