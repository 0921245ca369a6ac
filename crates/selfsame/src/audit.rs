//! `selfsame audit`: the ledger as a file, and the check of such a file that needs nothing but the file.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ed25519_dalek::VerifyingKey;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::ledger::audit::{AuditReport, ExportVerifier};
use selfsame_domain::ledger::export::HexHash;
use selfsame_domain::money::display_minor;
use selfsame_server::anchor::Anchor;
use selfsame_store::Store;

use crate::output;
use crate::site::{DatabaseOption, SecretName, Site};

/// Longest line of an export that is read, in bytes. A row has about one kilobyte.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Export the ledger, or check an export
#[derive(Args, Debug)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Export(Export),
    Verify(Verify),
    PublicKey(PublicKey),
}

/// Write the whole ledger of a site as JSON lines
///
/// On one snapshot, also while the server runs. The format is in docs/audit.md.
#[derive(Args, Debug)]
pub struct Export {
    #[command(flatten)]
    database: DatabaseOption,
    /// File to write; must not exist
    file: PathBuf,
}

/// Recompute every balance and the hash chain from an exported file alone
///
/// Names the first wrong row. With anchors and the public key that signs them, also checks that the ledger still goes
/// through every anchored head.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame audit verify ledger.jsonl
  selfsame audit verify ledger.jsonl --anchors anchors.jsonl --public-key 1f0c...")]
pub struct Verify {
    /// File that `selfsame audit export` wrote
    file: PathBuf,
    /// File of signed anchors, from a copy kept elsewhere
    #[arg(long, value_name = "FILE", requires = "public_key")]
    anchors: Option<PathBuf>,
    /// Public key that signs the anchors, as `selfsame audit public-key` printed it
    #[arg(long, value_name = "HEX")]
    public_key: Option<HexHash>,
}

/// Print the public key that signs the daily anchors; keep it with the auditor
#[derive(Args, Debug)]
pub struct PublicKey {}

impl Audit {
    /// Runs it.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        match self.command {
            Command::Export(export) => export.run(site).await,
            Command::Verify(verify) => verify.run(),
            Command::PublicKey(_) => {
                let key = ed25519_dalek::SigningKey::from_bytes(&*site.secret(SecretName::AnchorKey)?);
                output::line(HexHash(key.verifying_key().to_bytes()))
            }
        }
    }
}

impl Export {
    async fn run(self, site: &Site) -> anyhow::Result<()> {
        let database = self.database.of(site).existing_database()?;
        let store = Store::open(&database).context("failed to open the site")?;
        let file = File::create_new(&self.file);
        let file = file.with_context(|| format!("failed to make `{}`", self.file.display()))?;
        let mut sink = BufWriter::new(file);
        let (done, finished) = std::sync::mpsc::channel();
        let write = move |line: &_| {
            serde_json::to_writer(&mut sink, line)?;
            sink.write_all(b"\n")?;
            // Lines of heads come last and are few: what is flushed with each of them is all there is.
            if matches!(line, selfsame_domain::ledger::export::Line::Head { .. }) {
                sink.flush()?;
                let _ = done.send(());
            }
            Ok(())
        };
        let rows = store.export_ledger(write, SystemClock.now()).await;
        let rows = rows.with_context(|| format!("failed to export to `{}`", self.file.display()))?;
        if finished.try_recv().is_err() {
            bail!("the site has no ledger yet");
        }
        output::line(format_args!("{rows} rows in {}", self.file.display()))
    }
}

/// Lines of a file, each with a limit, so that a file without line ends does not fill the memory.
fn each_line(path: &Path, mut take: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.with_context(|| format!("failed to read `{}`", path.display()))? == 0 {
            return Ok(());
        }
        let text = str::from_utf8(&line).with_context(|| format!("`{}` is not text", path.display()))?;
        take(text.trim_end_matches('\n'))?;
    }
}

impl Verify {
    fn run(self) -> anyhow::Result<()> {
        let anchors = match (&self.anchors, &self.public_key) {
            (Some(path), Some(key)) => read_anchors(path, key)?,
            _ => Vec::new(),
        };
        let mut verifier = ExportVerifier::default();
        let mut wanted: Vec<_> = anchors.iter().flat_map(|anchor| &anchor.heads).collect();
        each_line(&self.file, |line| {
            verifier.push_line(line)?;
            wanted.retain(|head| {
                let (sequence, hash) = verifier.head(head.slot);
                sequence != head.sequence || hash != head.hash.0
            });
            Ok(())
        })?;
        let report = verifier.finish()?;
        if let Some(missed) = wanted.iter().find(|head| head.sequence > 0) {
            bail!("the ledger does not go through the anchored head {} {}", missed.slot, missed.sequence);
        }
        print(&report, anchors.len())
    }
}

fn read_anchors(path: &Path, key: &HexHash) -> anyhow::Result<Vec<Anchor>> {
    let key = VerifyingKey::from_bytes(&key.0).context("this is no public key")?;
    let mut anchors = Vec::new();
    each_line(path, |line| {
        let anchor: Anchor = serde_json::from_str(line).context("a line is no anchor")?;
        if !anchor.verify(&key) {
            bail!("the anchor of {} is not signed by this key", anchor.at);
        }
        anchors.push(anchor);
        Ok(())
    })?;
    Ok(anchors)
}

fn print(report: &AuditReport, anchors: usize) -> anyhow::Result<()> {
    for (currency, account, balance) in report.trial_balance.lines() {
        let balance = i64::try_from(balance).context("a balance is beyond 64 bits")?;
        output::line(format_args!("{account:<32} {:>24}", display_minor(balance, currency)))?;
    }
    for (slot, (sequence, hash)) in &report.heads {
        output::line(format_args!("slot {slot}: {sequence} rows, head {}", HexHash(*hash)))?;
    }
    output::line(format_args!("{} rows verified, {anchors} anchors hold", report.rows))
}
