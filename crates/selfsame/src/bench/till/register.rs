//! The register: `selfsame till` as a process of its own, switched on and waiting before a payment begins, as tills are.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::payment::Payment;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use zeroize::Zeroizing;

use crate::demo::processes::DemoSite;
use crate::demo::till::TillResult;

/// Longest wait for a till. It gives up by itself before.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a till says when it waits for the items of an order.
const READY: &str = "items and prices";

/// A till that waits for its order.
pub struct Register {
    child: Child,
    keys: ChildStdin,
    display: ChildStdout,
}

/// What became of a charge.
pub struct Charged {
    /// When the till said that it is paid.
    pub paid_at: Instant,
    /// The payment.
    pub payment: Payment,
}

impl Register {
    /// Switches a till on and waits until it waits. It has reached the payment server by then, over the connection that it
    /// keeps.
    pub async fn switch_on(site: &DemoSite, order_ref: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("failed to find our own executable")?;
        let mut command = Command::new(program);
        command.args(["till", "--json", "--server", &site.url, "--order-ref", order_ref, "--key-file"]);
        command.arg(site.key_file("merchant"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start a till")?;
        let keys = child.stdin.take().context("the till has no standard input")?;
        let display = child.stdout.take().context("the till has no standard output")?;
        let mut said = BufReader::new(child.stderr.take().context("the till has no standard error")?).lines();
        let ready = async {
            let mut heard = String::new();
            while let Some(line) = said.next_line().await? {
                if line.starts_with(READY) {
                    return Ok(());
                }
                heard.push_str(&line);
            }
            bail!("the till did not come up: {heard}")
        };
        tokio::time::timeout(TIMEOUT, ready).await.context("the till does not come up")??;
        // What it says later is still read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Ok(Self { child, keys, display })
    }

    /// Enters what the order costs.
    pub async fn enter(&mut self, amount_minor: i64) -> anyhow::Result<()> {
        let line = format!("{}.{:02}\n\n", amount_minor / 100, amount_minor % 100);
        self.keys.write_all(line.as_bytes()).await.context("the till takes no items")
    }

    /// Gives the code to the till's scanner and waits for the end.
    pub async fn scan(mut self, digits: &str) -> anyhow::Result<Charged> {
        let line = Zeroizing::new(format!("{digits}\n"));
        self.keys.write_all(line.as_bytes()).await.context("the till takes no code")?;
        let charging = async {
            let mut shown = Vec::new();
            self.display.read_buf(&mut shown).await.context("the till shows nothing")?;
            let paid_at = Instant::now();
            self.display.read_to_end(&mut shown).await.context("the till stopped in the middle")?;
            self.child.wait().await.context("the till did not end")?;
            anyhow::Ok((paid_at, shown))
        };
        let charged = tokio::time::timeout(TIMEOUT, charging).await.context("the till does not end")?;
        let (paid_at, shown) = charged?;
        let result: TillResult = serde_json::from_slice(&shown).context("the till printed no result")?;
        let (payment, replayed) = result.paid()?;
        ensure!(!replayed, "the order was paid before");
        Ok(Charged { paid_at, payment })
    }
}
