//! `selfsame bench terminal`: what the till waits for at the terminal, stage by stage, on the real processes.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::fs::{CWD, Mode, mkfifoat};
use selfsame_api::interface::{
    Cancel, CancelReason, HandoverMode, HandoverRequest, NewSession, Outcome, RegisterKind, Session,
    SessionState,
};
use selfsame_domain::timing::Stage as Timed;
use serde::Serialize;
use serde_json::json;

use crate::connection::explain_terminal;
use crate::demo::Stage;
use crate::demo::payment::request;
use crate::demo::people::{People, Person};
use crate::demo::processes::{DemoSite, Processes};
use crate::demo::screen::Screen;
use crate::output;
use crate::site::Site;

/// Wait of one look at a session.
const LOOK: Duration = Duration::from_secs(2);

/// Pause between two kills, so that a program that died at once is started again at once.
const WELL: Duration = Duration::from_secs(6);

/// How long a terminal whose program was killed may take to be well again.
const BACK: Duration = Duration::from_secs(10);

/// What the till waits for at the terminal: woken, verified, cancelled, handed over; and the memory that it takes
///
/// Starts server, matcher, terminal and verification program on a site of its own in a temporary folder; the payer is a
/// synthetic finger that touches the reader as soon as it is asked to.
#[derive(Args, Debug)]
pub struct Terminal {
    /// Verifications of the main measurement
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    count: u32,
    /// How often the verification program is killed before a request, to measure a cold start
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    cold: u32,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Pause between two characters on the keyboard, in milliseconds: what scanners that type are usually set to.
const KEY_PAUSE_MS: u32 = 8;

/// Usage of Enter in a keyboard's report. Source: USB HID Usage Tables 1.5, page 0x07.
const ENTER: u8 = 0x28;

/// What was measured, by name, in microseconds.
#[derive(Default)]
struct Measured(BTreeMap<&'static str, Vec<u64>>);

/// Places in an ordered list of what was measured.
#[derive(Serialize)]
struct Spread {
    count: usize,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Measured {
    fn add(&mut self, name: &'static str, duration: Duration) {
        self.0.entry(name).or_default().push(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn spread(&self, name: &str) -> Option<Spread> {
        let mut sorted = self.0.get(name)?.clone();
        sorted.sort_unstable();
        let count = sorted.len();
        // The smallest value that so many of a hundred do not exceed.
        let place = |percent: usize| sorted[(count * percent).div_ceil(100).clamp(1, count) - 1];
        Some(Spread { count, p50_us: place(50), p95_us: place(95), p99_us: place(99), max_us: place(100) })
    }
}

/// What is told, in the order in which a payer meets it, with the bar for its 99th percentile where there is one.
const TOLD: [(&str, &str, Option<u64>); 11] = [
    ("accept", "interface called, request accepted", None),
    ("wake", "interface called, verification program awake", Some(10_000)),
    ("candidates", "server has selected the candidates", None),
    ("capture", "finger asked for, picture there (drawn meanwhile)", None),
    ("seal", "sealed and signed", None),
    ("verdict", "sent, compared, verdict back", None),
    ("request_to_pass", "interface called, payer has passed", None),
    ("handover", "hand-over asked for, code there", Some(300_000)),
    ("last_key", "hand-over asked for, last key typed (8 ms a character)", Some(300_000)),
    ("cancel", "cancel asked for, reader free", Some(300_000)),
    ("cold_wake", "program killed, request made, finger asked for", None),
];

impl Terminal {
    /// Measures.
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        let site = Site::new(&folder.path().join("site"))?;
        let demo_site = DemoSite::make(&site, None).await?;
        let keys = plug_keyboard(&demo_site)?;
        let mut processes = Processes::new(&demo_site, false);
        let measured = self.measure(&demo_site, &mut processes, &keys).await;
        processes.stop().await;
        let (measured, memory) = measured?;
        self.tell(&measured, &memory)
    }

    async fn measure(
        &self,
        site: &DemoSite,
        processes: &mut Processes<'_>,
        keys: &Receiver<Instant>,
    ) -> anyhow::Result<(Measured, BTreeMap<&'static str, u64>)> {
        let mut screen = Screen::quiet();
        processes.start(&screen).await?;
        let stage = Stage::new(site)?;
        let mut people = People::enrol(&stage, processes, &mut screen).await?;
        let mut measured = Measured::default();
        let bar = output::progress_bar("warm", self.count as usize);
        for number in 0..self.count {
            warm(&stage, &mut people.ben, number, keys, &mut measured).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let bar = output::progress_bar("cancel", self.count as usize / 2);
        for number in 0..self.count / 2 {
            cancel(&stage, &people.ben, number, &mut measured).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let memory = memory(&site.till)?;
        let bar = output::progress_bar("cold", self.cold as usize);
        for number in 0..self.cold {
            cold(&stage, site, &people.ben, number, &mut measured).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok((measured, memory))
    }

    fn tell(&self, measured: &Measured, memory: &BTreeMap<&'static str, u64>) -> anyhow::Result<()> {
        let mut results = serde_json::Map::new();
        for (name, words, bar_us) in TOLD {
            let Some(spread) = measured.spread(name) else { continue };
            let verdict = match bar_us {
                Some(bar_us) if spread.p99_us <= bar_us => format!("  bar {} ms: met", bar_us / 1000),
                Some(bar_us) => format!("  bar {} ms: MISSED", bar_us / 1000),
                None => String::new(),
            };
            output::note(format_args!(
                "{words:<52} p50 {:>7}  p95 {:>7}  p99 {:>7} us{verdict}",
                spread.p50_us, spread.p95_us, spread.p99_us
            ));
            results.insert(name.to_owned(), serde_json::to_value(spread)?);
        }
        for (process, kib) in memory {
            output::note(format_args!("{process:<52} {} MiB resident", kib / 1024));
        }
        if self.json {
            output::json(&json!({ "results": results, "resident_kib": memory }))?;
        }
        Ok(())
    }
}

fn new_session(request_id: &str, person: &Person) -> anyhow::Result<NewSession> {
    let new = request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?;
    Ok(NewSession { identifier: Some(person.identifier()), ..new })
}

/// Follows a session until it is in another state than `waking` and `verifying`.
async fn settle(stage: &Stage<'_>, mut session: Session) -> anyhow::Result<Session> {
    while matches!(session.state, SessionState::Waking | SessionState::Verifying) {
        session = stage.at.next(&session, LOOK).await.map_err(explain_terminal)?;
    }
    Ok(session)
}

async fn warm(
    stage: &Stage<'_>,
    person: &mut Person,
    number: u32,
    keys: &Receiver<Instant>,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let new = new_session(&format!("warm-{number}"), person)?;
    let started = Instant::now();
    let session = stage.at.request(&new).await.map_err(explain_terminal)?;
    measured.add("accept", started.elapsed());
    let finger = person.finger;
    let done = stage.at.present(session, finger, &mut person.presses(), |_| {}).await?;
    let passed = started.elapsed();
    // A press that is not recognised happens to real fingers too; its time says nothing about the terminal.
    if done.outcome != Some(Outcome::Passed) {
        return Ok(());
    }
    measured.add("request_to_pass", passed);
    for (name, stage) in [
        ("wake", Timed::Wake),
        ("candidates", Timed::Candidates),
        ("capture", Timed::Capture),
        ("seal", Timed::Seal),
        ("verdict", Timed::Verdict),
    ] {
        let time = done.timings.get(stage).with_context(|| format!("no time was taken of `{name}`"))?;
        measured.add(name, time);
    }
    // Given back and typed in turn.
    let typed = number % 2 == 1;
    let register = if typed { RegisterKind::Keyboard } else { RegisterKind::Return };
    let request = HandoverRequest { register: Some(register), ..HandoverRequest::default() };
    let asked = Instant::now();
    let handed = stage.at.hand_over(&done, &request).await.map_err(explain_terminal)?;
    let answered = asked.elapsed();
    ensure!(handed.handover.is_some_and(|handover| handover.error.is_none()), "nothing was handed over");
    if typed {
        let last_key = keys.recv_timeout(LOOK).context("the till has not got the last key")?;
        measured.add("last_key", last_key.duration_since(asked));
    } else {
        measured.add("handover", answered);
    }
    Ok(())
}

/// Gives the till's terminal a keyboard whose reports go into a pipe; answers when Enter is pressed on it.
fn plug_keyboard(site: &DemoSite) -> anyhow::Result<Receiver<Instant>> {
    let device = site.till.folder().join("keyboard");
    mkfifoat(CWD, &device, Mode::RUSR | Mode::WUSR).context("failed to make a pipe")?;
    let settings = site.till.folder().join("selfsame.toml");
    let mut settings = OpenOptions::new().append(true).open(settings).context("there are no settings")?;
    write!(settings, "\n[register.keyboard]\ndevice = {device:?}\ndelay_ms = {KEY_PAUSE_MS}\n")?;
    till(&device)
}

fn till(device: &Path) -> anyhow::Result<Receiver<Instant>> {
    // Opened for both, so that the pipe never ends between two codes.
    let mut reports =
        OpenOptions::new().read(true).write(true).open(device).context("failed to open the pipe")?;
    let (pressed, keys) = channel();
    std::thread::spawn(move || {
        let mut report = [0; 8];
        while reports.read_exact(&mut report).is_ok() {
            if report[2] == ENTER && pressed.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    Ok(keys)
}

async fn cancel(
    stage: &Stage<'_>,
    person: &Person,
    number: u32,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let new = new_session(&format!("cancel-{number}"), person)?;
    let session = settle(stage, stage.at.request(&new).await.map_err(explain_terminal)?).await?;
    ensure!(session.state == SessionState::Capturing, "the finger was not asked for");
    let asked = Instant::now();
    let cancel = Cancel { reason: CancelReason::Cashier };
    let ended = stage.at.cancel(session.id, &cancel).await.map_err(explain_terminal)?;
    measured.add("cancel", asked.elapsed());
    ensure!(ended.outcome == Some(Outcome::Canceled), "the session ended as {:?}", ended.outcome);
    Ok(())
}

async fn cold(
    stage: &Stage<'_>,
    site: &DemoSite,
    person: &Person,
    number: u32,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    tokio::time::sleep(WELL).await;
    let pid = pid(&site.till, "verifier")?;
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(
        pid.context("the verification program has no number")?,
        rustix::process::Signal::KILL,
    )
    .context("failed to kill the verification program")?;
    let new = new_session(&format!("cold-{number}"), person)?;
    let started = Instant::now();
    let session = settle(stage, stage.at.request(&new).await.map_err(explain_terminal)?).await?;
    ensure!(
        session.state == SessionState::Capturing,
        "the session is {:?}: {:?}",
        session.state,
        session.error
    );
    measured.add("cold_wake", started.elapsed());
    let cancel = Cancel { reason: CancelReason::Cashier };
    tokio::time::timeout(BACK, stage.at.cancel(session.id, &cancel)).await?.map_err(explain_terminal)?;
    Ok(())
}

fn pid(site: &Site, process: &str) -> anyhow::Result<u32> {
    let file = site.run(&format!("{process}.pid"));
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
    text.trim().parse().context("a process's number is no number")
}

/// Resident memory of each process, in KiB.
fn memory(site: &Site) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let mut memory = BTreeMap::new();
    for process in ["server", "matcher", "terminal", "verifier"] {
        let status = fs::read_to_string(format!("/proc/{}/status", pid(site, process)?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        memory.insert(process, kib.context("the kernel does not say how much memory a process takes")?);
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut measured = Measured::default();
        (1..=200).for_each(|us| measured.add("x", Duration::from_micros(us)));
        let spread = measured.spread("x").unwrap();
        assert_eq!((spread.p50_us, spread.p95_us, spread.p99_us, spread.max_us), (100, 190, 198, 200));
        measured.add("y", Duration::from_micros(7));
        let one = measured.spread("y").unwrap();
        assert_eq!((one.p50_us, one.p99_us), (7, 7));
        assert!(measured.spread("z").is_none());
    }
}
