//! `selfsame demo --simulate`: a test site with a simulated terminal, for the makers of registers.

use selfsame_api::simulator::Scenario;

use crate::connection::client;
use crate::demo::processes::{DemoSite, Processes};
use crate::demo::screen::Screen;
use crate::desk::test_payers;

/// Starts the processes and makes the payers.
pub async fn prepare(
    site: &DemoSite,
    processes: &mut Processes<'_>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.title("Selfsame: a simulated terminal")?;
    screen.text(format!(
        "A test site of its own in {}. Server, codes and the verification interface are the real ones; reader, camera and \
         payer are made up. docs/conformance.md says more.",
        site.short_folder()
    ))?;
    screen.heading("Processes")?;
    processes.start(screen).await?;
    let operator = client(&site.url, site.created.operator_key.clone());
    let payers = test_payers::make(&operator, processes.desk()?).await?;
    screen.step(
        "payers",
        format_args!("TEST-0000 to TEST-{:04}, enrolled; the first has money", payers.len() - 1),
    )
}

/// What to try.
pub fn print_what_to_try(site: &DemoSite, screen: &Screen) -> anyhow::Result<()> {
    let (program, folder) = (site.program(), site.short_folder());
    screen.heading("The processes stay up until Ctrl-C. In another window:")?;
    let curl = format!("curl -s --unix-socket {folder}/run/terminal.sock http://localhost");
    let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.as_str()).collect();
    let commands = [
        ("a payer is verified, and the code is charged", format!("export SELFSAME_SITE={folder}")),
        (
            "",
            format!(
                "{program} verify --member-number M-1 | \\\n    {program} till --amount 4.20 --key-file {folder}/keys/merchant"
            ),
        ),
        ("what can happen, and what a register must see of it", format!("{curl}/v1/simulator")),
        (
            "the next payer is not recognised",
            format!(
                "{curl}/v1/simulator -H 'content-type: application/json' \\\n    -d '{{\"scenario\": \"not_recognised\", \"repeat\": 1}}'"
            ),
        ),
        ("what the register asked and got", format!("{curl}/v1/simulator/record")),
        (
            "amounts that end charges in a certain way are in docs/payments.md",
            format!("cat {folder}/run/server.url"),
        ),
    ];
    for (what, command) in commands {
        if !what.is_empty() {
            screen.comment(what)?;
        }
        screen.verbatim(&command)?;
    }
    screen.text(format!("Scenarios: {}.", names.join(", ")))
}
