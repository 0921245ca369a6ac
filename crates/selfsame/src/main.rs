//! The one executable: payment server, matcher, terminal and verification program, and the commands of the people
//! who run them.

mod activate;
mod audit;
mod bench;
mod confirm;
mod conformance;
mod connection;
mod demo;
mod desk;
mod doctor;
mod evaluate;
mod init;
mod matcher;
mod models;
mod openapi;
mod output;
mod process;
mod register;
mod sandbox;
mod server;
mod site;
mod store;
mod supervise;
mod terminal;
mod till;
mod verifier;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::output::Usage;
use crate::sandbox::Role;
use crate::site::Site;

/// Folder of a site that nobody named.
const SITE_DEFAULT: &str = "site";

const EXAMPLES: &str = "\
Examples:
  selfsame demo --exit                       see a payment by finger from end to end, on a test site of its own
  selfsame init --site /srv/canteen --test   make a test site
  selfsame server --site /srv/canteen        run its payment server (and the matcher beside it)
  selfsame desk --help                       accounts, top-ups, consents, enrolments, books
  selfsame till --help                       charge a payment code
  selfsame models list                       model packs, which faces need and fingers do not

Exit codes: 0 done, 1 failed, 2 used wrongly.
SELFSAME_LOG sets what is logged, for example `warn` or `info,selfsame_store=debug`.";

/// Self-hosted biometric payment: people pay at a till by being themselves.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// Folder of the site, or of a terminal's part of it [default: ./site; of the demo: target/demo]
    #[arg(long, global = true, env = "SELFSAME_SITE", value_name = "DIR")]
    site: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Server(server::Server),
    Matcher(matcher::Matcher),
    Terminal(terminal::Terminal),
    Verifier(verifier::Verifier),
    Activate(activate::Activate),
    Desk(desk::Desk),
    Verify(verify::Verify),
    Confirm(confirm::Confirm),
    Till(till::Till),
    Conformance(conformance::Conformance),
    Register(register::Register),
    Models(models::Models),
    Audit(audit::Audit),
    Store(store::Store),
    Backup(store::Backup),
    RestoreCheck(store::RestoreCheck),
    Bench(bench::Bench),
    Evaluate(evaluate::Evaluate),
    Doctor(doctor::Doctor),
    Openapi(openapi::Openapi),
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = enter_sandbox(&cli).and_then(|()| start(cli));
    match result {
        Ok(code) => code,
        // Whoever read our output has gone; there is nobody to tell.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            output::note(format_args!("error: {error:#}"));
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Processes that meet pictures from outside are caged, before their first thread starts.
fn enter_sandbox(cli: &Cli) -> anyhow::Result<()> {
    let role = match &cli.command {
        Command::Verifier(_) => Some(Role::Verifier),
        // It does at the desk what the verification program does at the till.
        Command::Desk(desk) if desk.serves() => Some(Role::Verifier),
        Command::Matcher(_) => Some(Role::Matcher),
        Command::Doctor(doctor) => doctor.inside(),
        _ => None,
    };
    let Some(role) = role else { return Ok(()) };
    let site = site_of(cli)?;
    sandbox::enter(role, &site).map(|_| ())
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the threads of this process")
        .and_then(|runtime| runtime.block_on(run(cli)))
}

fn site_of(cli: &Cli) -> anyhow::Result<Site> {
    let default = if matches!(cli.command, Command::Demo(_)) { demo::SITE_DEFAULT } else { SITE_DEFAULT };
    Site::new(cli.site.as_deref().unwrap_or(Path::new(default)))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let site = site_of(&cli)?;
    let named = cli.site.clone();
    match cli.command {
        Command::Init(command) => command.run(&site).await?,
        Command::Server(command) => command.run(&site).await?,
        Command::Matcher(command) => command.run(&site).await?,
        Command::Terminal(command) => command.run(&site).await?,
        Command::Verifier(command) => command.run(&site).await?,
        Command::Activate(command) => command.run(&site).await?,
        Command::Desk(command) => command.run(&site).await?,
        Command::Verify(command) => return command.run(&site).await,
        Command::Confirm(command) => return command.run(&site).await,
        Command::Till(command) => return command.run(&site).await,
        Command::Conformance(command) => return command.run(named).await,
        Command::Register(command) => return command.run(&site).await,
        Command::Models(command) => return command.run(&site).await,
        Command::Audit(command) => command.run(&site).await?,
        Command::Store(command) => command.run(&site).await?,
        Command::Backup(command) => command.run(&site).await?,
        Command::RestoreCheck(command) => command.run().await?,
        Command::Bench(command) => command.run().await?,
        Command::Evaluate(command) => command.run()?,
        Command::Doctor(command) => return command.run(&site),
        Command::Openapi(command) => command.run()?,
        Command::Demo(command) => return command.run(&site).await,
    }
    Ok(ExitCode::SUCCESS)
}
