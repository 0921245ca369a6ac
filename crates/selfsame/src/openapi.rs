//! `selfsame openapi`: the documents of both interfaces.

use clap::{Args, ValueEnum};

use crate::output;

/// Print the OpenAPI 3.1 document of an interface
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
}

impl Openapi {
    /// Prints it.
    pub fn run(&self) -> anyhow::Result<()> {
        output::line(match self.interface {
            Interface::Server => selfsame_server::openapi_json(),
            Interface::Terminal => selfsame_terminal::openapi_json(),
        })
    }
}
