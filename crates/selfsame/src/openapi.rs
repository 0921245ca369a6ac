//! `selfsame openapi`: the documents of the interfaces.

use clap::{Args, ValueEnum};

use crate::output;

/// Print the OpenAPI 3.1 document of an interface, or the tables of its page
#[derive(Args, Debug)]
pub struct Openapi {
    /// Which interface
    #[arg(value_enum)]
    interface: Interface,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Interface {
    /// The payment server's
    Server,
    /// The terminal's verification interface
    Terminal,
    /// The desk's capture for the staff's page
    Desk,
    /// What the payer's page calls
    Kiosk,
    /// The tables of docs/interface.md and docs/conformance.md, between the marks that they stand between there
    Tables,
}

impl Openapi {
    /// Prints it.
    pub fn run(&self) -> anyhow::Result<()> {
        output::line(match self.interface {
            Interface::Server => selfsame_server::openapi_json(),
            Interface::Terminal => selfsame_terminal::openapi_json(),
            Interface::Desk => selfsame_terminal::desk_openapi_json(),
            Interface::Kiosk => selfsame_terminal::kiosk_openapi_json(),
            Interface::Tables => {
                let tables = selfsame_terminal::interface_tables().into_iter();
                let marked = |(name, table): (&str, String)| {
                    format!("<!-- begin generated: {name} -->\n\n{table}\n<!-- end generated -->\n")
                };
                tables.map(marked).collect()
            }
        })
    }
}
