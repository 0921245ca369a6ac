//! A sample of the matrix at a real server: codes of a simulated terminal, over every channel with every loss, charged.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use selfsame_api::client::Client;
use selfsame_api::interface::{
    HandoverMode, HandoverPlan, HandoverRequest, NewSession, Outcome, RegisterKind, Session, SessionState,
};
use selfsame_api::merchant::MerchantBalance;
use selfsame_api::simulator::{Delays, NewScenario, Scenario, SimulatorState};
use selfsame_domain::money::Amount;
use selfsame_domain::payment_code::Prefix;
use selfsame_domain::sensor::Modality;
use selfsame_domain::site::Mode;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::conformance::channel::{Channel, Wires};
use crate::conformance::matrix::{Loss, Random, hear};
use crate::connection::{TIMEOUT, client, explain};
use crate::demo::processes::{DemoSite, Processes};
use crate::demo::scanner::scan;
use crate::demo::screen::Screen;
use crate::desk::test_payers;
use crate::output;
use crate::site::Site;
use crate::till::charge::{Ending, Register};
use crate::till::field::payment_code;
use crate::verify::AtTerminal;

/// Pause between two characters.
const DELAY_MS: u64 = 8;

/// What each order costs, in minor units. The payer has money for all of them.
const AMOUNT_MINOR: i64 = 10;

/// What came of the sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Codes of the terminal.
    pub codes: usize,
    /// Read right, and paid once.
    pub paid: usize,
    /// Damaged and refused by the till.
    pub refused: usize,
    /// Of those, what the server refused as well when it was asked all the same.
    pub refused_by_server: usize,
    /// Something else was taken for a code, by till or server.
    pub accepted_wrong: usize,
    /// Whole codes that were not paid.
    pub not_read: usize,
    /// What the merchant has got by the server's books, in minor units.
    pub merchant_minor: i64,
}

impl Sample {
    /// Nothing wrong was accepted, what is whole was paid once, and the books say the same.
    pub fn is_good(&self) -> bool {
        let paid = i64::try_from(self.paid).unwrap_or(i64::MAX);
        self.accepted_wrong == 0
            && self.not_read == 0
            && self.merchant_minor == paid.saturating_mul(AMOUNT_MINOR)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { codes, paid, refused, refused_by_server, accepted_wrong, not_read, .. } = self;
        write!(
            f,
            "sample: {codes} codes of a simulated terminal, charged at a real server: {paid} paid once, {refused} refused \
             by the till ({refused_by_server} of them tried at the server and refused there, too), {accepted_wrong} accepted \
             wrong, {not_read} whole ones not paid; the books say {}.{:02}",
            self.merchant_minor / 100,
            self.merchant_minor % 100
        )
    }
}

/// Makes a site, starts it, and charges. Whatever happens, no process is left behind.
pub async fn charge(
    folder: Option<PathBuf>,
    random: &mut Random,
    wires: &mut Wires,
) -> anyhow::Result<Sample> {
    let temporary = tempfile::TempDir::with_prefix("selfsame-").context("failed to make a folder")?;
    let site = Site::new(&folder.unwrap_or_else(|| temporary.path().join("site")))?;
    let site = DemoSite::make(&site, None).await?;
    let mut processes = Processes::new(&site, true);
    let charged = charge_at(&site, &mut processes, random, wires).await;
    processes.stop().await;
    charged
}

async fn charge_at(
    site: &DemoSite,
    processes: &mut Processes<'_>,
    random: &mut Random,
    wires: &mut Wires,
) -> anyhow::Result<Sample> {
    processes.start(&Screen::quiet()).await?;
    let operator = client(&site.url, site.created.operator_key.clone());
    let merchant = client(&site.url, site.created.merchant_key.clone());
    test_payers::make(&operator, processes.desk()?).await?;
    let at = AtTerminal::new(&site.till)?;
    let fast = Delays { payer_ms: 0, ..Delays::default() };
    let pass = NewScenario { scenario: Scenario::Pass, delays: fast, repeat: None };
    at.interface().post::<SimulatorState>("/v1/simulator", &pass, TIMEOUT).await.map_err(explain)?;
    let channels = Channel::all();
    let bar = output::progress_bar("charges", channels.len() * Loss::ALL.len());
    let mut sample = Sample::default();
    for channel in channels {
        for loss in Loss::ALL {
            let code = code_of(&at, channel, sample.codes).await?;
            sample.codes += 1;
            let order_ref = format!("conformance-{}", sample.codes).parse()?;
            let amount = Amount::new(AMOUNT_MINOR, site.currency)?;
            let till = Register { client: merchant.clone(), order_ref, amount };
            till.try_code(&code, channel, loss, random, wires, &mut sample).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    sample.merchant_minor = balance_minor(&merchant).await?;
    Ok(sample)
}

async fn balance_minor(merchant: &Client) -> anyhow::Result<i64> {
    let balance: MerchantBalance = merchant.get("/v1/balance", TIMEOUT).await.map_err(explain)?;
    Ok(balance.balance_minor)
}

/// A code as it leaves the terminal: of the screen, as a scanner reads it there.
async fn code_of(at: &AtTerminal, channel: Channel, number: usize) -> anyhow::Result<Zeroizing<String>> {
    let register = if channel == Channel::Screen { RegisterKind::Screen } else { RegisterKind::Return };
    let new = NewSession {
        request_id: format!("conformance-{number}").parse()?,
        modality: Modality::Finger,
        identifier: None,
        deadline_ms: None,
        lease_ms: None,
        handover: HandoverPlan { register: Some(register), mode: Some(HandoverMode::OnRequest) },
    };
    let mut session = at.request(&new).await.map_err(explain)?;
    while session.state != SessionState::Done {
        session = at.next(&session, Duration::from_secs(2)).await.map_err(explain)?;
    }
    ensure!(
        session.outcome == Some(Outcome::Passed),
        "the simulated payer did not pass: {:?}",
        session.error
    );
    let path = format!("/v1/verifications/{}", session.id);
    let request = HandoverRequest::default();
    let handed: Session =
        at.interface().post(&format!("{path}/handover"), &request, TIMEOUT).await.map_err(explain)?;
    if register == RegisterKind::Screen {
        let png = at.interface().get_bytes(&format!("{path}/screen.png"), TIMEOUT).await.map_err(explain)?;
        return scan(&png);
    }
    let digits = handed.handover.and_then(|handover| handover.digits);
    digits.map(Zeroizing::new).context("the terminal handed over no digits")
}

impl Register {
    async fn try_code(
        &self,
        code: &str,
        channel: Channel,
        loss: Loss,
        random: &mut Random,
        wires: &mut Wires,
        sample: &mut Sample,
    ) -> anyhow::Result<()> {
        let arrived = loss.damage(code, b'\r', random);
        let heard = hear(channel, &arrived, DELAY_MS, wires)?;
        let prefix = Prefix::default_for(Mode::Test);
        let taken: Vec<&String> =
            heard.iter().filter(|text| payment_code(text, Some(prefix)).is_ok()).collect();
        if taken.iter().any(|text| *text != code) {
            sample.accepted_wrong += 1;
            return Ok(());
        }
        if taken.is_empty() {
            sample.refused += 1;
            if loss.is_harmless()
                && channel.decode().is_none_or(|decode| decode == crate::till::key::Decode::Keys)
            {
                sample.not_read += 1;
            }
            return self.try_damaged(&arrived, loss, sample).await;
        }
        // What is sent twice is one order, and is paid once.
        let mut payments = Vec::new();
        for text in taken {
            let result = self.charge(text).await;
            if result.ending != Ending::Paid {
                sample.not_read += 1;
                return Ok(());
            }
            payments.extend(result.payment.map(|payment| payment.id));
        }
        payments.dedup();
        ensure!(payments.len() == 1, "one order has {} payments", payments.len());
        sample.paid += 1;
        Ok(())
    }

    /// Sends what the till refused to the server all the same.
    async fn try_damaged(&self, arrived: &[u8], loss: Loss, sample: &mut Sample) -> anyhow::Result<()> {
        // Here the code is whole, and only its end is missing.
        if loss.is_harmless() || loss == Loss::SuffixLost {
            return Ok(());
        }
        let text = Zeroizing::new(String::from_utf8_lossy(arrived).trim_end().to_owned());
        match self.charge(&text).await.ending {
            Ending::NotPaid => sample.refused_by_server += 1,
            Ending::Paid => sample.accepted_wrong += 1,
            Ending::Unknown => bail!("the server does not answer"),
        }
        Ok(())
    }
}
