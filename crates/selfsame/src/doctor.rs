//! `selfsame doctor`: looks whether this machine protects what it should, by trying.

use std::net::TcpListener;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::output;
use crate::sandbox::{self, Role, Sandbox};
use crate::site::{CameraSourceKind, SecretName, Site};

/// Look whether this machine is fit for its part of a site
///
/// Tries the sandboxes of verification program and matcher from inside: what must work and what must be refused. With a
/// camera that the program opens itself (`source = "v4l2"`), says what it offers and what of it would be taken. Exit
/// code 1 if something came out differently, for example because the kernel is too old.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  selfsame doctor --site /srv/till-1")]
pub struct Doctor {
    /// Print results as JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    probe: Option<Probe>,
}

#[derive(Subcommand, Debug)]
enum Probe {
    /// From inside: started by `selfsame doctor` itself
    #[command(hide = true)]
    Inside {
        /// Whose sandbox
        #[arg(value_enum)]
        role: Role,
        /// A port that somebody listens on
        port: u16,
    },
}

/// What a probe found.
#[derive(Serialize)]
struct Found {
    sandbox: Sandbox,
    attempts: Vec<sandbox::Attempt>,
}

/// The same as the doctor reads it.
#[derive(Deserialize, Serialize)]
struct Report {
    sandbox: serde_json::Value,
    attempts: Vec<Attempted>,
}

#[derive(Deserialize, Serialize)]
struct Attempted {
    what: String,
    allowed: bool,
    worked: bool,
}

impl Doctor {
    /// Whether this call runs inside a sandbox that must be entered before any thread starts.
    pub fn inside(&self) -> Option<Role> {
        self.probe.as_ref().map(|Probe::Inside { role, .. }| *role)
    }

    /// Looks, and says what it saw.
    pub fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        if let Some(Probe::Inside { role, port }) = self.probe {
            let sandbox = sandbox::entered().context("the sandbox was not entered")?;
            output::json(&Found { sandbox, attempts: sandbox::try_out(role, site, port) })?;
            return Ok(ExitCode::SUCCESS);
        }
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen for the probe")?;
        let port = listener.local_addr()?.port();
        let mut well = true;
        let mut reports = serde_json::Map::new();
        for (role, name) in [(Role::Verifier, "verifier"), (Role::Matcher, "matcher")] {
            let needed = if role == Role::Verifier {
                site.device()
            } else {
                site.secret_path(SecretName::MatcherSeed)
            };
            if !needed.exists() {
                output::note(format_args!("{name}: not on this machine"));
                continue;
            }
            let report = probe(site, name, port)?;
            well &= report.attempts.iter().all(|attempt| attempt.allowed == attempt.worked);
            if self.json {
                reports.insert(name.to_owned(), serde_json::to_value(&report)?);
            } else {
                print(name, &report)?;
            }
        }
        if let Some(camera) = own_camera(site)? {
            well &= camera.is_ok();
            if self.json {
                let (Ok(told) | Err(told)) = &camera;
                reports.insert(
                    "camera".to_owned(),
                    serde_json::json!({ "usable": camera.is_ok(), "told": told }),
                );
            } else {
                let (mark, told) = camera.map_or_else(|told| ("!!", told), |told| ("ok", told));
                output::line(format_args!("camera:\n  {mark} {told}"))?;
            }
        }
        if self.json {
            output::json(&reports)?;
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the camera offers that the verification program opens itself, or why it cannot be used.
fn own_camera(site: &Site) -> anyhow::Result<Option<Result<String, String>>> {
    let camera = site.settings()?.camera;
    if camera.source != CameraSourceKind::V4l2 {
        return Ok(None);
    }
    #[cfg(all(feature = "v4l2", target_os = "linux"))]
    let told = selfsame_terminal::capture::v4l2::describe(&camera.device);
    #[cfg(not(all(feature = "v4l2", target_os = "linux")))]
    let told: Result<String, &str> =
        Err("this program was built without the feature `v4l2`, or not for Linux");
    let device = camera.device.display();
    Ok(Some(told.map(|told| format!("{device}: {told}")).map_err(|told| format!("{device}: {told}"))))
}

fn probe(site: &Site, name: &str, port: u16) -> anyhow::Result<Report> {
    let program = std::env::current_exe().context("failed to find our own executable")?;
    let mut command = Command::new(program);
    command.arg("--site").arg(site.folder()).args(["doctor", "inside", name, &port.to_string()]);
    let output = command.output().context("failed to start the probe")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the probe of the {name} failed: {}", said.trim());
    serde_json::from_slice(&output.stdout).context("the probe answers in an unknown form")
}

fn print(name: &str, report: &Report) -> anyhow::Result<()> {
    output::line(format_args!("{name}: {}", report.sandbox))?;
    for Attempted { what, allowed, worked } in &report.attempts {
        let mark = if allowed == worked { "ok" } else { "!!" };
        output::line(format_args!("  {mark} {what}: {}", if *worked { "works" } else { "refused" }))?;
    }
    Ok(())
}
