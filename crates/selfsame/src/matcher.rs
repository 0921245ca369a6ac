//! `selfsame matcher`: the process that opens frames and compares. The server starts it.

use clap::Args;
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_matcher::Config;

use crate::models::face_pack;
use crate::process::ProcessOptions;
use crate::sandbox;
use crate::site::{SecretName, Site};

/// Run the matcher of a site (the server does this itself)
///
/// Opens sealed frames, extracts and compares. Listens on `run/matcher.sock` for the server only.
#[derive(Args, Debug)]
pub struct Matcher {
    #[command(flatten)]
    process: ProcessOptions,
}

impl Matcher {
    /// Runs until stopped.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let config = Config {
            socket: site.socket("matcher.sock")?,
            opening_seed: site.secret(SecretName::MatcherSeed)?,
            template_key: KeyEncryptionKey::new(site.secret(SecretName::TemplateKey)?),
            face_pack: face_pack(site, &site.settings()?)?,
        };
        lower_priority();
        let (_stopper, stop) = self.process.start()?;
        sandbox::tell();
        Ok(selfsame_matcher::run(config, stop.wait()).await?)
    }
}

/// How far the matcher steps back for the server: charges must not wait for pictures (`nice` value, 0 to 19).
const NICENESS: i32 = 10;

fn lower_priority() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "the matcher runs at the priority of the server");
    }
}
