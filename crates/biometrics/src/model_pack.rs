//! Model packs: a folder of network files with a manifest that says what each file is.
//!
//! Nothing of a file is parsed before its size and its SHA-256 agree with the manifest. This module reads no files
//! itself: it gets a function that does, so that it can be tested with bytes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::score::{CalibrationPoint, Score};

/// Name of the manifest in the folder of a pack. Where there is none, the built-in one of that name counts.
pub const MANIFEST_NAME: &str = "pack.toml";

/// Largest manifest, in bytes: a pack of sixteen files with a long calibration has about 8 KB.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Largest network, in bytes. The largest known one that operators may want (SFace) has 39 MB.
pub const FILE_BYTES_MAX: u64 = 128 << 20;

/// Most files of a pack.
pub const FILES_MAX: usize = 16;

/// The format of manifests that this program reads.
const FORMAT: u32 = 1;

/// Manifests of the packs that we know, by name. Facts only: the files are not in the program.
const BUILT_IN: [(&str, &str); 2] = [
    ("face-default", include_str!("../packs/face-default.toml")),
    ("face-mobilefacenet", include_str!("../packs/face-mobilefacenet.toml")),
];

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Finds faces and five points of each (YuNet).
    Detection,
    /// Finds the five points again, more exactly.
    Landmarks,
    /// Makes the vector that is compared.
    Embedding,
    /// Tells living people from pictures of people. A pack may have several; their mean counts.
    Attack,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Detection => "detection",
            Role::Landmarks => "landmarks",
            Role::Embedding => "embedding",
            Role::Attack => "attack",
        })
    }
}

/// Order of the colours in a network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Blue first.
    Bgr,
    /// Red first.
    Rgb,
}

fn no_mean() -> [f32; 3] {
    [0.0; 3]
}

fn no_deviation() -> [f32; 3] {
    [1.0; 3]
}

/// How a picture becomes a network's input, 1 x 3 x height x width of 32-bit floats.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name in the network.
    pub name: String,
    /// Order of the colours.
    pub channels: Channels,
    /// Width; 0 where any multiple of 32 goes.
    #[serde(default)]
    pub width_px: u32,
    /// Height; 0 where any multiple of 32 goes.
    #[serde(default)]
    pub height_px: u32,
    /// Taken from each channel, in input order, in units of 0 to 255.
    #[serde(default = "no_mean")]
    pub mean: [f32; 3],
    /// Each channel is divided by this afterwards.
    #[serde(default = "no_deviation")]
    pub deviation: [f32; 3],
}

/// One file of a pack.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// What it is for.
    pub role: Role,
    /// Its name in the folder: letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// Its exact size.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// SPDX expression.
    pub licence: String,
    /// Where it comes from: repository, commit, path.
    pub source: String,
    /// What it takes.
    pub input: Input,
    /// Name of the output that is read; empty for detection, which has twelve.
    #[serde(default)]
    pub output: String,
    /// Embedding only: length of the vector.
    #[serde(default)]
    pub dimensions: u16,
    /// Embedding only: where eyes, nose and mouth corners go, in pixels of its input.
    #[serde(default)]
    pub points_px: Option<[[f32; 2]; 5]>,
    /// Attack only: the face box is enlarged by this about its centre.
    #[serde(default)]
    pub crop_scale: f32,
    /// Attack only: which output stands for a living person.
    #[serde(default)]
    pub live_class: usize,
}

impl FileFacts {
    /// Whether these are the bytes of the file, by size and SHA-256.
    pub fn is_whole(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && sha256_text(bytes) == self.sha256
    }
}

/// SHA-256 in lower-case hexadecimal.
fn sha256_text(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateFacts {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationFacts {
    fmr_ppb: u32,
    threshold: u16,
}

/// What a pack says about itself. Comes from [`Manifest::parse`] only, which checks it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    name: String,
    version: u32,
    modality: String,
    #[serde(default)]
    base: Option<String>,
    #[serde(rename = "file")]
    files: Vec<FileFacts>,
    #[serde(default)]
    template: Option<TemplateFacts>,
    #[serde(default, rename = "calibration")]
    calibration: Vec<CalibrationFacts>,
}

/// Why a pack is not loaded. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// No manifest in the folder, and none of that name in the program.
    #[error(
        "pack `{0}` has no `{MANIFEST_NAME}` and is none of the packs this program knows: fetch it again"
    )]
    Unknown(String),
    /// The manifest cannot be read.
    #[error("the manifest of the pack is not understood: {0}")]
    Manifest(String),
    /// A file is not there.
    #[error("`{file}` of pack `{pack}` is missing: fetch the pack again, or name the folder that has it")]
    Missing {
        /// Which pack.
        pack: String,
        /// Which file.
        file: String,
    },
    /// A file could not be read.
    #[error("failed to read `{file}` of pack `{pack}`")]
    Read {
        /// Which pack.
        pack: String,
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file has another size.
    #[error(
        "`{file}` of pack `{pack}` has {bytes} bytes instead of {expected}: cut off or another file, fetch it again"
    )]
    Size {
        /// Which pack.
        pack: String,
        /// Which file.
        file: String,
        /// Its size.
        bytes: u64,
        /// The size by the manifest.
        expected: u64,
    },
    /// A file has the right size and other content.
    #[error(
        "`{file}` of pack `{pack}` was altered (SHA-256 {sha256}): fetch it again from a source you trust"
    )]
    Altered {
        /// Which pack.
        pack: String,
        /// Which file.
        file: String,
        /// What it has.
        sha256: String,
    },
    /// A file agrees with its manifest and is still no network that can be run.
    #[error("`{file}` of pack `{pack}` cannot be run: {reason}")]
    Network {
        /// Which pack.
        pack: String,
        /// Which file.
        file: String,
        /// What the runtime says.
        reason: String,
    },
    /// Neither the pack nor its base has a file for a role.
    #[error("pack `{pack}` has no file for {role}: load it together with its base pack")]
    Role {
        /// Which pack.
        pack: String,
        /// What is missing.
        role: Role,
    },
}

/// The text of the manifest that the program has for a pack. Pass what the folder has first.
pub fn built_in_manifest(pack: &str) -> Result<&'static str, PackError> {
    let found = BUILT_IN.iter().find(|(name, _)| *name == pack);
    found.map(|(_, text)| *text).ok_or_else(|| PackError::Unknown(pack.to_owned()))
}

/// Names of the packs whose manifests are in the program.
pub fn built_in_packs() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

fn is_plain_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

impl Manifest {
    /// Reads and checks a manifest. Unknown keys, roles and formats are refused.
    pub fn parse(text: &str) -> Result<Self, PackError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(PackError::Manifest(format!("it has {} bytes", text.len())));
        }
        let manifest: Self = toml::from_str(text).map_err(|error| PackError::Manifest(error.to_string()))?;
        manifest.check().map_err(PackError::Manifest)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let refuse =
            |condition: bool, message: &str| if condition { Err(message.to_owned()) } else { Ok(()) };
        refuse(self.format != FORMAT, &format!("format {} instead of {FORMAT}", self.format))?;
        refuse(self.modality != "face", &format!("modality `{}` has no networks here", self.modality))?;
        let base_is_plain = self.base.as_ref().is_none_or(|base| is_plain_name(base));
        refuse(!is_plain_name(&self.name) || !base_is_plain, "its name is no plain name")?;
        refuse(self.files.is_empty() || self.files.len() > FILES_MAX, "it has no files or too many")?;
        let names: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        refuse(names.len() != self.files.len(), "a file is named twice")?;
        for file in &self.files {
            check_file(file).map_err(|message| format!("`{}`: {message}", file.name))?;
        }
        for role in [Role::Detection, Role::Landmarks, Role::Embedding] {
            let count = self.files.iter().filter(|file| file.role == role).count();
            refuse(count > 1, &format!("it has {count} files for {role}"))?;
        }
        let embeds = self.files.iter().any(|file| file.role == Role::Embedding);
        refuse(embeds && self.template.is_none(), "it has an embedding and no [template]")?;
        let steps = self.calibration.windows(2);
        let mut unordered =
            steps.filter(|pair| pair[0].fmr_ppb <= pair[1].fmr_ppb || pair[0].threshold > pair[1].threshold);
        refuse(unordered.next().is_some(), "the calibration must have falling rates and rising thresholds")?;
        refuse(
            self.calibration.iter().any(|point| point.threshold > Score::MAX.0 || point.fmr_ppb == 0),
            "the calibration has impossible points",
        )
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pack's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The pack that has the files for the roles that this one lacks.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Its files.
    pub fn files(&self) -> &[FileFacts] {
        &self.files
    }
}

fn check_file(file: &FileFacts) -> Result<(), &'static str> {
    if !is_plain_name(&file.name) {
        return Err("no plain file name");
    }
    if file.bytes == 0 || file.bytes > FILE_BYTES_MAX {
        return Err("an impossible size");
    }
    let is_hex = file.sha256.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if file.sha256.len() != 64 || !is_hex {
        return Err("`sha256` is no SHA-256 in lower-case hexadecimal");
    }
    let normal = file.input.deviation.iter().all(|value| value.is_normal())
        && file.input.mean.iter().all(|value| value.is_finite());
    if !normal {
        return Err("an impossible mean or deviation");
    }
    // 512: four times the largest input of known networks, so that nobody makes us fill gigabytes.
    let sized = (16..=512).contains(&file.input.width_px) && (16..=512).contains(&file.input.height_px);
    match file.role {
        Role::Detection => Ok(()),
        _ if !sized => Err("an impossible input size"),
        Role::Embedding if file.points_px.is_none() || !(16..=1024).contains(&file.dimensions) => {
            Err("an embedding needs `points_px`, and `dimensions` of 16 to 1024")
        }
        Role::Attack if !(1.0..=8.0).contains(&file.crop_scale) || file.live_class > 15 => {
            Err("attack detection needs `crop_scale` of 1 to 8, and `live_class` up to 15")
        }
        _ => Ok(()),
    }
}

/// Which network made a template. Only templates of one id are ever compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub [u8; 8]);

impl ModelId {
    /// From the model's name and the hash of the very file, so that an exchanged file is another model.
    fn of(model: &str, file_sha256: &str) -> Self {
        let digest = Sha256::digest(format!("selfsame model id\n{model}\n{file_sha256}\n"));
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({self})")
    }
}

/// A file of a pack whose content agrees with the manifest.
pub struct CheckedFile {
    /// What the manifest says.
    pub facts: FileFacts,
    /// Its content.
    pub bytes: Vec<u8>,
    pack: String,
}

impl CheckedFile {
    /// Name of the pack that it is in.
    pub fn pack(&self) -> &str {
        &self.pack
    }

    /// The error for a file that the runtime refuses.
    pub(crate) fn refused(&self, reason: impl fmt::Display) -> PackError {
        PackError::Network {
            pack: self.pack.clone(),
            file: self.facts.name.clone(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedFile({}, {} bytes)", self.facts.name, self.bytes.len())
    }
}

/// A pack whose files all agree with the manifest. Nothing of them has been parsed yet.
#[derive(Debug)]
pub struct ModelPack {
    manifest: Manifest,
    files: Vec<CheckedFile>,
}

impl ModelPack {
    /// Reads every file with `read` and checks size and SHA-256. `read` gets a file's name, which has no folder in it,
    /// and how many bytes it needs to read at most: one more than the right number, so that a huge file costs nothing.
    pub fn verify(
        manifest: Manifest,
        mut read: impl FnMut(&str, u64) -> io::Result<Vec<u8>>,
    ) -> Result<Self, PackError> {
        let files = manifest.files.iter().map(|facts| {
            let (pack, file) = (manifest.name.clone(), facts.name.clone());
            let bytes = match read(&facts.name, facts.bytes + 1) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(PackError::Missing { pack, file });
                }
                Err(source) => return Err(PackError::Read { pack, file, source }),
            };
            if bytes.len() as u64 != facts.bytes {
                let size = bytes.len() as u64;
                return Err(PackError::Size { pack, file, bytes: size, expected: facts.bytes });
            }
            let sha256 = sha256_text(&bytes);
            if sha256 != facts.sha256 {
                return Err(PackError::Altered { pack, file, sha256 });
            }
            Ok(CheckedFile { facts: facts.clone(), bytes, pack })
        });
        let files = files.collect::<Result<_, _>>()?;
        Ok(Self { manifest, files })
    }

    /// Takes the files for the roles that this pack lacks from its base pack.
    pub fn with_base(mut self, base: ModelPack) -> Self {
        let own: BTreeSet<Role> = self.files.iter().map(|file| file.facts.role).collect();
        self.files.extend(base.files.into_iter().filter(|file| !own.contains(&file.facts.role)));
        self
    }

    /// What the pack says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files for a role; at least one.
    pub fn files(&self, role: Role) -> Result<Vec<&CheckedFile>, PackError> {
        let files: Vec<_> = self.files.iter().filter(|file| file.facts.role == role).collect();
        if files.is_empty() {
            return Err(PackError::Role { pack: self.manifest.name.clone(), role });
        }
        Ok(files)
    }

    /// The id that templates of this pack carry.
    pub fn model_id(&self) -> Result<ModelId, PackError> {
        let embedding = self.files(Role::Embedding)?;
        let missing = || PackError::Role { pack: self.manifest.name.clone(), role: Role::Embedding };
        let template = self.manifest.template.as_ref().ok_or_else(missing)?;
        Ok(ModelId::of(&template.model, &embedding[0].facts.sha256))
    }

    /// Which score stands for which false match rate. Empty if nobody measured: then nothing can match.
    pub fn calibration(&self) -> Vec<CalibrationPoint> {
        let point = |point: &CalibrationFacts| CalibrationPoint {
            fmr_ppb: point.fmr_ppb,
            threshold: Score(point.threshold),
        };
        self.manifest.calibration.iter().map(point).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
