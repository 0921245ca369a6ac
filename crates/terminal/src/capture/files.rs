//! Picture files as a source, for tests and measurements.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use selfsame_domain::sensor::Modality;

use super::{CaptureError, Sample, SampleFrame};
use crate::lock;

/// Picture files, each used once, in the order of their names.
#[derive(Clone)]
pub struct PictureFiles {
    folder: PathBuf,
    modality: Modality,
    resolution_dpi: u16,
    left: Arc<Mutex<std::vec::IntoIter<PathBuf>>>,
}

impl PictureFiles {
    /// The pictures of a folder, or one file: PNG of fingers, JPEG of faces.
    pub fn open(path: &Path, modality: Modality, resolution_dpi: u16) -> Result<Self, CaptureError> {
        let extensions: &[&str] = match modality {
            Modality::Finger => &["png"],
            Modality::Face => &["jpg", "jpeg"],
        };
        let fits = |file: &Path| {
            let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            extensions.contains(&extension.to_ascii_lowercase().as_str())
        };
        let error = |source| CaptureError::File { path: path.to_owned(), source };
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(error)? {
                let file = entry.map_err(error)?.path();
                if fits(&file) {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            std::fs::metadata(path).map_err(error)?;
            files.push(path.to_owned());
        }
        let left = Arc::new(Mutex::new(files.into_iter()));
        Ok(Self { folder: path.to_owned(), modality, resolution_dpi, left })
    }

    pub(super) fn modality(&self) -> Modality {
        self.modality
    }

    pub(super) fn next(&self) -> Result<Sample, CaptureError> {
        let path =
            lock(&self.left).next().ok_or_else(|| CaptureError::NoMorePictures(self.folder.clone()))?;
        let image = std::fs::read(&path).map_err(|source| CaptureError::File { path, source })?;
        Ok(vec![match self.modality {
            Modality::Finger => SampleFrame::finger(image, self.resolution_dpi),
            Modality::Face => SampleFrame::face(image, 0),
        }])
    }
}
