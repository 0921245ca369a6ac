//! `selfsame server`: the payment server, with the matcher as its child.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use ed25519_dalek::SigningKey;
use selfsame_api::client::Client;
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_server::anchor::Anchoring;
use selfsame_server::{ClonePolicy, Config, Secrets, Server as PaymentServer, ServerError};
use selfsame_store::Database;

use crate::models::face_pack;
use crate::process::{ProcessOptions, stop};
use crate::site::{ClonePolicyKind, DatabaseOption, SecretName, Site};
use crate::supervise::{ChildProcess, Watch};

/// Run the payment server of a site
///
/// Opens the site's databases, starts and watches the matcher, and serves the payment interface on the address of
/// `selfsame.toml` until it is told to stop (Ctrl-C, SIGTERM). Its address is written to `run/server.url`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame server --site /srv/canteen
  selfsame server --site /srv/canteen --database postgres://selfsame@localhost/selfsame
  selfsame server --site /srv/canteen --log-format json 2>> /var/log/selfsame.log")]
pub struct Server {
    #[command(flatten)]
    database: DatabaseOption,
    #[command(flatten)]
    process: ProcessOptions,
}

impl Server {
    /// Runs until stopped.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let site = &self.database.of(site);
        let config = config(site)?;
        let (_stopper, stopped) = self.process.start()?;
        let clock = Arc::new(AdvancingClock::new(SystemClock));
        let matcher_client = Client::unix(&config.matcher_socket, clock.clone());
        let server = PaymentServer::bind(config, clock).await;
        let server = server.map_err(|error| explain(error, site))?;
        let key = SigningKey::from_bytes(&*site.secret(SecretName::AnchorKey)?);
        let server = server.with_anchoring(Anchoring { key, file: site.anchors() });
        // Sites of before there was an authority get theirs here.
        let server = server.with_authority(site.authority(&[], SystemClock.now())?);
        let url = format!("http://{}", server.address());
        site.write_run("server.url", &url)?;
        tracing::info!(server.url = url, "serving");

        let (child_stopper, child_stopped) = stop();
        let matcher = ChildProcess {
            name: "matcher",
            arguments: child_arguments(site, "matcher", self.process),
            pid_file: site.run("matcher.pid"),
            log: None,
            watch: Some(Watch { client: matcher_client, path: "/v1/matcher" }),
        };
        // The matcher outlives the last request, and without a matcher there is no server.
        let (lost, matcher_lost) = stop();
        let serving = async {
            let stop = async move {
                tokio::select! {
                    () = stopped.wait() => {}
                    () = matcher_lost.wait() => {}
                }
            };
            let served = server.serve(stop).await;
            child_stopper.stop();
            served
        };
        let supervising = async {
            let supervised = matcher.supervise(child_stopped.wait()).await;
            lost.stop();
            supervised
        };
        let (served, supervised) = tokio::join!(serving, supervising);
        let _ = fs::remove_file(site.run("server.url"));
        supervised?;
        served.context("the payment server failed")
    }
}

/// Arguments of a child process of this site.
pub fn child_arguments(site: &Site, command: &str, process: ProcessOptions) -> Vec<String> {
    let folder = site.folder().to_string_lossy().into_owned();
    let mut arguments = vec!["--site".to_owned(), folder, command.to_owned()];
    arguments.extend(process.child_arguments());
    arguments
}

fn config(site: &Site) -> anyhow::Result<Config> {
    check_database(site)?;
    let settings = site.settings()?;
    // What keeps the matcher from starting is told here, at once and to somebody who reads it.
    face_pack(site, &settings)?;
    let secrets = Secrets {
        code_pepper: site.secret(SecretName::CodePepper)?,
        identifier_pepper: site.secret(SecretName::IdentifierPepper)?,
        profile_key: KeyEncryptionKey::new(site.secret(SecretName::ProfileKey)?),
    };
    Ok(Config {
        listen: settings.server.listen,
        database: site.database()?,
        matcher_socket: site.socket("matcher.sock")?,
        secrets,
        code_prefix: settings.server.code_prefix,
        code_lifetime_seconds: settings.server.code_lifetime_seconds,
        amount_minor_max: settings.server.amount_minor_max,
        pass_lifetime_seconds: settings.server.pass_lifetime_seconds,
        policy: settings.verification.policy(),
        colour_flash: settings.verification.colour_flash,
        clone_policy: match settings.server.clone_policy {
            ClonePolicyKind::Warn => ClonePolicy::Warn,
            ClonePolicyKind::Lock => ClonePolicy::Lock,
        },
        terminals: origins(settings.server.terminals)?,
    })
}

/// Origins as browsers write them: anything else would never be met, or would spoil the header that names them.
fn origins(origins: Vec<String>) -> anyhow::Result<Vec<String>> {
    for origin in &origins {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_host = |rest: &str| {
            let known =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
            !rest.is_empty() && rest.bytes().all(known)
        };
        if !rest.is_some_and(is_host) {
            bail!(
                "`terminals` in section [server] has `{origin}`: write scheme, host in lower case and port, e.g. \
                 \"http://127.0.0.1:8701\""
            );
        }
    }
    Ok(origins)
}

/// Looked at before it is opened, because opening makes an empty one.
fn check_database(site: &Site) -> anyhow::Result<()> {
    let Database::Files { site: path, .. } = site.database()? else { return Ok(()) };
    let (database, folder) = (path.display(), site.folder().display());
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => bail!("`{database}` is no file: name the folder of a site with --site or SELFSAME_SITE"),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "there is no site in `{folder}`: make one with `selfsame init --site {folder}`, or name the folder of \
             yours with --site or SELFSAME_SITE"
        ),
        Err(error) if error.kind() == ErrorKind::NotADirectory => bail!(
            "`{database}` cannot be: a part of this path is a file and no folder. Name the folder of a site with \
             --site or SELFSAME_SITE"
        ),
        Err(error) => Err(error).with_context(|| format!("failed to look at `{database}`")),
    }
}

fn explain(error: ServerError, site: &Site) -> anyhow::Error {
    let hint = match &error {
        ServerError::Store(_) => Some(format!(
            "the site in `{}` cannot be used; check that its files are whole, that we may write there and that the \
             disk is not full",
            site.folder().display()
        )),
        ServerError::Listen { .. } => {
            Some(format!("see `listen` in `{}`", site.folder().join("selfsame.toml").display()))
        }
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(hint),
        None => error,
    }
}
