//! `selfsame demo`: the first payment, shown. Starts the four real processes on a fresh test site, enrols people who do
//! not exist, lets them pay by finger, and then tries what must not work. Every line is checked, not recited.

mod books;
pub mod faces;
pub mod payment;
pub mod people;
pub mod processes;
mod refusals;
pub mod scanner;
pub mod screen;
mod simulate;
mod step_up;
pub mod till;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use selfsame_api::client::Client;

use crate::connection::client;
use crate::demo::faces::FaceData;
use crate::demo::people::People;
use crate::demo::processes::{DemoSite, Processes};
use crate::demo::screen::Screen;
use crate::output;
use crate::process::{LogFormat, start_log};
use crate::site::Site;
use crate::supervise::shutdown_signal;
use crate::verify::AtTerminal;

/// Where the demo's site lies unless a folder is named.
pub const SITE_DEFAULT: &str = "target/demo";

/// Longest time that the whole demonstration may take. It takes some seconds.
const DEMONSTRATION_TIMEOUT: Duration = Duration::from_secs(180);

/// See a payment by finger, and by face, from end to end
///
/// Makes a fresh test site (an earlier demo's site in the same folder is removed), starts server, matcher, terminal
/// and verification program, enrols synthetic people, shows one payment in the five steps of the method with its
/// stage timings, and then tries what must be refused. The same by face, if SELFSAME_MODELS names a folder with a face
/// pack and photos are there. Ends with the trial balance and the ledger's hash chain.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame demo --exit          ends by itself; exit code 0 only if every line came out as it must
  selfsame demo                 leaves the processes running until Ctrl-C and says what to try next
  selfsame demo --simulate      a server and a terminal without reader, camera and payer, for makers of registers")]
pub struct Demo {
    /// End after the last line, and with it all processes
    #[arg(long)]
    exit: bool,
    /// Only start a server and a simulated terminal, for trying a register's software
    #[arg(long, conflicts_with = "faces")]
    simulate: bool,
    /// Photos of people for the part by face: images/PERSON/*.jpg and pad/image_F1.jpg
    #[arg(long, value_name = "DIR", env = "SELFSAME_FACES")]
    faces: Option<PathBuf>,
}

/// What every part of the demonstration uses.
pub struct Stage<'a> {
    site: &'a DemoSite,
    /// The payment server, with the operator's key.
    operator: Client,
    /// The payment server, with the merchant's key.
    merchant: Client,
    /// The terminal at the till.
    pub at: AtTerminal,
}

impl<'a> Stage<'a> {
    /// Of a site whose processes run.
    pub fn new(site: &'a DemoSite) -> anyhow::Result<Self> {
        Ok(Self {
            site,
            operator: client(&site.url, site.created.operator_key.clone()),
            merchant: client(&site.url, site.created.merchant_key.clone()),
            at: AtTerminal::new(&site.till)?,
        })
    }
}

impl Demo {
    /// Shows everything. Whatever happens, no process is left behind.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        start_log(LogFormat::Text, "warn")?;
        let stop = shutdown_signal(false)?;
        tokio::pin!(stop);
        let mut screen = Screen::new();
        let faces = FaceData::find(self.faces.as_deref());
        let with_faces = faces.as_ref().ok().filter(|_| !self.simulate);
        let demo_site = DemoSite::make(site, with_faces).await?;
        let mut processes = Processes::new(&demo_site, self.simulate);
        let demonstration = async {
            if self.simulate {
                simulate::prepare(&demo_site, &mut processes, &mut screen).await
            } else {
                demonstrate(&demo_site, &mut processes, &faces, &mut screen).await
            }
        };
        let shown = tokio::select! {
            shown = tokio::time::timeout(DEMONSTRATION_TIMEOUT, demonstration) => {
                shown.context("the demo took too long and was given up").flatten()
            }
            () = &mut stop => Err(anyhow::anyhow!("stopped")),
        };
        let ended = match shown {
            Ok(()) => screen.verdict(),
            Err(error) => {
                output::note(format_args!("error: {error:#}"));
                output::note(format_args!("what the processes said is in {}/log", demo_site.short_folder()));
                Ok(false)
            }
        };
        let succeeded = *ended.as_ref().unwrap_or(&false);
        if succeeded && !self.exit {
            if self.simulate {
                simulate::print_what_to_try(&demo_site, &screen)?;
            } else {
                print_what_to_try(&demo_site, &screen)?;
            }
            stop.await;
            output::note("stopping the processes");
        }
        processes.stop().await;
        Ok(if ended? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn demonstrate(
    site: &DemoSite,
    processes: &mut Processes<'_>,
    faces: &anyhow::Result<FaceData>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.title("Selfsame: the first payment by finger")?;
    screen.text(format!(
        "A test site of its own in {}, with real processes, sockets, pictures and databases. Only the people are made \
         up: each press of a synthetic finger is another picture, and no press is used both to enrol and to pay.",
        site.short_folder()
    ))?;

    screen.heading("Five processes")?;
    processes.start(screen).await?;
    let stage = Stage::new(site)?;

    screen.heading("People, enrolled at a staffed desk with recorded consent")?;
    let mut people = People::enrol(&stage, processes, screen).await?;

    screen.heading("One payment, in the five steps of the method (CN111027978A)")?;
    let returned = payment::by_return(&stage, &mut people, screen).await?;

    screen.heading("Another one, with the code on the terminal's screen")?;
    let scanned = payment::by_screen(&stage, &mut people, screen).await?;

    screen.heading("How long each stage took, in milliseconds")?;
    payment::print_table(screen, &returned, &scanned)?;

    screen.heading("What must not work, and what must")?;
    refusals::show(&stage, &mut people, &returned, screen).await?;

    screen.heading("Above a limit the payer agrees to the exact amount")?;
    step_up::show(&stage, &mut people, screen).await?;

    screen.heading("The same by face")?;
    match faces {
        Ok(data) => faces::show(&stage, processes, data, &mut people, screen).await?,
        Err(missing) => screen.text(format!(
            "Left out: {missing:#}. Faces need a model pack (docs/models.md, `selfsame models`) in the folder that \
             SELFSAME_MODELS names, and the demo needs photos in the folder of --faces or SELFSAME_FACES: \
             images/PERSON/*.jpg with four photos of some, and pad/image_F1.jpg, a photo of a photo."
        ))?,
    }

    screen.heading("The books")?;
    books::show(&stage, &people, screen).await
}

fn print_what_to_try(site: &DemoSite, screen: &Screen) -> anyhow::Result<()> {
    let (program, folder) = (site.program(), site.short_folder());
    screen.heading("The processes stay up until Ctrl-C. In another window:")?;
    screen.comment("pages in a browser on this machine; the key is shown once, at their sign-in")?;
    screen.verbatim(&format!("{0}/till      key: {folder}/keys/merchant", site.url))?;
    screen.verbatim(&format!("{0}/desk      key: {folder}/keys/operator", site.url))?;
    if !selfsame_pages::are_built() {
        screen.comment(
            "this build has no pages: they need Node (`cargo xtask web` says what), then once more",
        )?;
    }
    let commands = [
        ("the demo's site and program", format!("export SELFSAME_SITE={folder}")),
        ("", format!("selfsame() {{ {program} \"$@\"; }}")),
        (
            "the payer's page, by an address that opens it once; enrol yourself at the desk's page with your own camera",
            "selfsame terminal kiosk".to_owned(),
        ),
        (
            "connects the till's page with the terminal: press `No terminal` there, and here",
            "selfsame terminal pair".to_owned(),
        ),
        (
            "Ada pays 4.20: another press of her finger, and the code goes to the till",
            "selfsame verify --phone-last4 0142 --finger 1 --press 900 | \\\n    selfsame till --amount 4.20 --key-file \
             $SELFSAME_SITE/keys/merchant"
                .to_owned(),
        ),
        (
            "above 5.00 Ada must agree at the terminal: while the till waits, type 2580 in a third window",
            "selfsame confirm".to_owned(),
        ),
        ("a stranger tries with the same digits", "selfsame verify --phone-last4 0142 --finger 77".to_owned()),
        (
            "what was refused and why, and the books",
            "selfsame desk attempts --key-file $SELFSAME_SITE/keys/operator".to_owned(),
        ),
        ("", "selfsame desk trial-balance --key-file $SELFSAME_SITE/keys/operator".to_owned()),
        (
            "kill a process (or server, matcher, terminal): it comes back, and the next payment works",
            "kill -9 $(cat $SELFSAME_SITE/run/verifier.pid)".to_owned(),
        ),
    ];
    for (what, command) in commands {
        if !what.is_empty() {
            screen.comment(what)?;
        }
        screen.verbatim(&command)?;
    }
    Ok(())
}
