//! `selfsame models`: model packs, which faces need. Weights are never part of this program: a pack is a folder of
//! files, and every file is checked against the pack's list before it is used.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use selfsame_biometrics::face::FacePipeline;
use selfsame_biometrics::model_pack::{
    FILE_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, ModelPack, built_in_manifest, built_in_packs,
};
use serde_json::json;

use crate::output;
use crate::site::{Settings, Site, write_whole};

/// Longest wait for a file of a pack.
const PULL_TIMEOUT: Duration = Duration::from_secs(300);

/// What to do where a pack is missing or broken.
const ADVICE: &str = "`selfsame models list` says what there is, `selfsame models pull` fetches a pack, docs/models.md \
                      says how to make one";

/// Model packs: list them, check them, fetch them
///
/// Faces need a pack of networks, fingers need none. A pack lies in a folder of its own name below the folder that
/// `selfsame.toml` names (`[models] folder`, or the variable SELFSAME_MODELS).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame models list
  selfsame models check face-default
  selfsame models pull face-default --url http://packs.example/selfsame

Then set `face = \"face-default\"` in section [models] of `selfsame.toml`.")]
pub struct Models {
    /// Folder of the packs [default: what the site says]
    #[arg(long, global = true, env = "SELFSAME_MODELS", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Packs that this program knows, and whether they are there
    List,
    /// Check size and SHA-256 of every file of a pack, and load its networks
    Check {
        /// Which pack
        pack: String,
    },
    /// Fetch the files of a pack that are missing or broken
    Pull {
        /// Which pack
        pack: String,
        /// Where it lies: files are fetched from URL/PACK/FILE [default: what the site says]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
}

impl Models {
    /// Does it.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        let settings = site.settings()?;
        let folder = self.folder.clone().unwrap_or_else(|| models_folder(site, &settings));
        match &self.action {
            Action::List => self.list(&folder),
            Action::Check { pack } => {
                let loaded = load(&folder, pack)?;
                FacePipeline::new(&loaded).with_context(|| format!("the pack `{pack}` cannot be run"))?;
                let (model, files) = (loaded.model_id()?.to_string(), loaded.manifest().files().len());
                if self.json {
                    output::json(&json!({ "pack": pack, "model": model, "files": files, "whole": true }))?;
                } else {
                    output::line(format_args!("{pack}: whole, {files} files, templates of model {model}"))?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Pull { pack, url } => {
                let url = url.as_ref().or(settings.models.release_url.as_ref());
                let url = url.context(
                    "no address is known: name one with --url, or `release_url` in section [models]",
                )?;
                pull(&folder, pack, url).await?;
                output::line(format_args!("{pack}: whole, in {}", folder.join(pack).display()))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn list(&self, folder: &Path) -> anyhow::Result<ExitCode> {
        let mut packs = Vec::new();
        for pack in built_in_packs() {
            let loaded = load(folder, pack);
            let state = match &loaded {
                Ok(_) => "whole".to_owned(),
                Err(error) => format!("{:#}", error.root_cause()),
            };
            packs.push((pack, loaded.is_ok(), state));
        }
        if self.json {
            let packs = packs
                .iter()
                .map(|(pack, whole, state)| json!({ "pack": pack, "whole": whole, "state": state }));
            output::json(&json!({ "folder": folder, "packs": packs.collect::<Vec<_>>() }))?;
        } else {
            output::line(format_args!("packs in {}", folder.display()))?;
            for (pack, _, state) in packs {
                output::line(format_args!("{pack:24}{state}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where this site's packs lie.
pub fn models_folder(site: &Site, settings: &Settings) -> PathBuf {
    match std::env::var_os("SELFSAME_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => site.folder().join(&settings.models.folder),
    }
}

/// The pack that the settings name for faces, checked; `None` if they name none.
pub fn face_pack(site: &Site, settings: &Settings) -> anyhow::Result<Option<ModelPack>> {
    let Some(pack) = &settings.models.face else { return Ok(None) };
    load(&models_folder(site, settings), pack).map(Some)
}

/// Which pack a measurement is made with.
#[derive(Args, Debug)]
pub struct PackOptions {
    /// The model pack
    #[arg(long, default_value = "face-default")]
    pack: String,
    /// Folder of the packs
    #[arg(long, env = "SELFSAME_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
}

impl PackOptions {
    /// The checked pack.
    pub fn load(&self) -> anyhow::Result<ModelPack> {
        load(&self.models, &self.pack)
    }

    /// Folder of the packs.
    pub fn folder(&self) -> &Path {
        &self.models
    }

    /// Settings of a site that uses the pack.
    pub fn settings(&self) -> anyhow::Result<String> {
        let folder = std::path::absolute(&self.models)?;
        let [folder, pack] = [folder.display().to_string(), self.pack.clone()].map(toml::Value::String);
        Ok(format!("[models]\nfolder = {folder}\nface = {pack}\n"))
    }
}

/// Reads and checks a pack below a folder. The manifest is the folder's own, or else the one that this program brings.
pub fn load(folder: &Path, pack: &str) -> anyhow::Result<ModelPack> {
    let checked = || {
        let manifest = manifest(&folder.join(pack), pack)?;
        let base = manifest.base().map(|base| load(folder, base)).transpose()?;
        let own = folder.join(pack);
        let verified =
            ModelPack::verify(manifest, |name, bytes_max| read_at_most(&own.join(name), bytes_max))?;
        anyhow::Ok(match base {
            Some(base) => verified.with_base(base),
            None => verified,
        })
    };
    checked().with_context(|| {
        format!("the model pack `{pack}` in `{}` cannot be used ({ADVICE})", folder.display())
    })
}

fn manifest(folder: &Path, pack: &str) -> anyhow::Result<Manifest> {
    let path = folder.join(MANIFEST_NAME);
    let text = match read_at_most(&path, MANIFEST_BYTES_MAX as u64) {
        Ok(bytes) => String::from_utf8(bytes).with_context(|| format!("`{}` is no text", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => built_in_manifest(pack)?.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", path.display())),
    };
    Ok(Manifest::parse(&text)?)
}

/// Reads a file, one byte more than allowed at most, so that what is too long is seen without being read.
fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Fetches what is missing or broken. A file takes its place only after it was checked.
async fn pull(folder: &Path, pack: &str, url: &str) -> anyhow::Result<()> {
    let manifest = Manifest::parse(built_in_manifest(pack)?)?;
    if let Some(base) = manifest.base() {
        Box::pin(pull(folder, base, url)).await?;
    }
    let own = folder.join(pack);
    fs::create_dir_all(&own).with_context(|| format!("failed to make the folder `{}`", own.display()))?;
    let progress = ProgressBar::new(manifest.files().iter().map(|file| file.bytes).sum());
    let style = ProgressStyle::with_template("{msg:40} {bar:30} {bytes}/{total_bytes}");
    progress.set_style(style.context("a progress bar's template")?);
    for file in manifest.files() {
        progress.set_message(file.name.clone());
        let path = own.join(&file.name);
        let whole = |bytes: &[u8]| file.is_whole(bytes);
        if read_at_most(&path, file.bytes).is_ok_and(|bytes| whole(&bytes)) {
            progress.inc(file.bytes);
            continue;
        }
        let address = format!("{}/{pack}/{}", url.trim_end_matches('/'), file.name);
        let bytes = fetch(&address, file.bytes.min(FILE_BYTES_MAX)).await?;
        if !whole(&bytes) {
            bail!("what {address} gives is not the file that the pack lists: nothing was kept");
        }
        write_whole(&path, &bytes)?;
        progress.inc(file.bytes);
    }
    progress.finish_and_clear();
    load(folder, pack).map(|_| ())
}

async fn fetch(address: &str, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    if !address.starts_with("http://") {
        bail!(
            "`{address}`: only http:// addresses are fetched from; what arrives is checked against the pack's list"
        );
    }
    let client = reqwest::Client::builder().timeout(PULL_TIMEOUT).no_proxy().build();
    let client = client.context("failed to make an HTTP client")?;
    let answer = client.get(address).send().await.and_then(reqwest::Response::error_for_status);
    let mut answer = answer.with_context(|| format!("failed to fetch {address}"))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.with_context(|| format!("failed to fetch {address}"))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > bytes_max {
            bail!("{address} gives more than the {bytes_max} bytes that the pack lists");
        }
    }
    Ok(bytes)
}
