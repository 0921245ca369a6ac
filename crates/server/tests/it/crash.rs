//! The process dies at every point on the way of a payment, one after the other, until a run passes them all. Whatever
//! was answered stands afterwards, whoever repeats everything gets the same answers, and the end is the one of a run in
//! which nothing died.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use selfsame_domain::site::Mode;
use selfsame_store::{Database, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::site::{Caller, Reply, Site, bearer, check_books, eur, noon, serve};

/// Tells the process that dies in which folder it works, and at which point it ends.
const FOLDER: &str = "SELFSAME_CRASH_FOLDER";
const POINT: &str = "SELFSAME_CRASH_POINT";

/// Processes at once: each waits for the disk most of the time.
const AT_ONCE: usize = 4;

/// What both processes know: how to call the server, and with which codes.
#[derive(Serialize, Deserialize)]
struct World {
    keys: [String; 2],
    account: String,
    codes: Vec<String>,
}

/// An answer as it must stay: which payment, over how much; or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    step: String,
    what: Value,
}

/// One line of what the process that dies has to say.
#[derive(Serialize, Deserialize)]
enum Line {
    World(World),
    Told(Told),
    /// It came to its end; so many points were passed.
    Whole(u64),
}

fn told(step: &str, reply: &Reply) -> Told {
    let body = &reply.body;
    let what = if reply.status < 300 {
        // A payment that is shown later may have moved on. A reversal tells the order.
        json!({ "id": body["id"], "amount": body["amount"], "order": body["order_ref"] })
    } else {
        json!({ "refused": reply.refusal() })
    };
    Told { step: step.to_owned(), what }
}

/// The fixed story. Told of each answer as soon as it has arrived.
async fn play(operator: &Caller, merchant: &Caller, world: &World, mut tell: impl FnMut(Told)) {
    let charge = |order: &str, code: usize, minor: i64| json!({ "order_ref": order, "code": world.codes[code], "amount": eur(minor) });
    let mut tell = |step: &str, reply: &Reply| tell(told(step, reply));
    let top_up = json!({ "top_up_ref": "t1", "account": world.account, "amount": eur(5_000) });
    tell("top-up", &operator.post("/v1/top-ups", top_up).await);
    tell("charge", &merchant.post("/v1/payments", charge("o1", 0, 1_200)).await);
    tell("charge again", &merchant.post("/v1/payments", charge("o1", 0, 1_200)).await);
    tell("same code, other order", &merchant.post("/v1/payments", charge("o2", 0, 1_200)).await);
    let mut hold = charge("o3", 1, 900);
    hold["hold_seconds"] = json!(3_600);
    let held = merchant.post("/v1/payments", hold).await;
    tell("hold", &held);
    let capture = format!("/v1/payments/{}/capture", held.body["id"].as_str().unwrap());
    tell("capture", &merchant.post(&capture, json!({ "amount": eur(640) })).await);
    let refund = json!({ "refund_ref": "r1", "order_ref": "o1", "amount": eur(200) });
    tell("refund", &merchant.post("/v1/refunds", refund).await);
    tell("reversal", &merchant.post("/v1/reversals", json!({ "order_ref": "o4" })).await);
    tell("charge of a reversed order", &merchant.post("/v1/payments", charge("o4", 2, 100)).await);
    tell("too much", &merchant.post("/v1/payments", charge("o5", 3, 40_000)).await);
    // Two tills, two orders, one code: exactly one of them pays. Which one is open, and stays once it is told.
    let (one, other) = tokio::join!(
        merchant.post("/v1/payments", charge("o6", 2, 300)),
        merchant.post("/v1/payments", charge("o7", 2, 300))
    );
    let paid = [("o6", &one), ("o7", &other)].into_iter().filter(|(_, reply)| reply.status < 300);
    let paid: Vec<_> = paid.collect();
    assert_eq!(paid.len(), 1, "{one:?} {other:?}");
    tell("one code at two tills", paid[0].1);
}

fn say(line: &Line) {
    // On a line of its own: the test harness writes there, too.
    println!("\n{}", serde_json::to_string(line).unwrap());
}

/// The process that dies.
async fn die(folder: &Path, point: u64) {
    let site = Site::create(folder, Mode::Test, Vec::new()).await;
    let account = site.payer("ada", 0).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(site.code(account).await);
    }
    let world = World { keys: site.keys.clone(), account: account.to_string(), codes };
    say(&Line::World(serde_json::from_value(json!(world)).unwrap()));
    site.store.faults().crash_at(point);
    play(&site.operator, &site.merchant, &world, |told| say(&Line::Told(told))).await;
    say(&Line::Whole(site.store.faults().points_passed()));
}

struct Run {
    world: World,
    told: Vec<Told>,
    whole: Option<u64>,
    died: String,
}

fn run_until_it_dies(folder: &Path, point: u64) -> Run {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "crash::no_crash_loses_or_doubles_anything", "--nocapture"]);
    process.env(FOLDER, folder).env(POINT, point.to_string()).stdin(Stdio::null());
    let output = process.output().unwrap();
    let died = String::from_utf8_lossy(&output.stderr).into_owned();
    let (mut world, mut told, mut whole) = (None, Vec::new(), None);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match serde_json::from_str(line) {
            Ok(Line::World(found)) => world = Some(found),
            Ok(Line::Told(one)) => told.push(one),
            Ok(Line::Whole(points)) => whole = Some(points),
            Err(_) => {}
        }
    }
    assert!(whole.is_some() || died.contains("crash "), "it ended by itself: {died}");
    Run { world: world.unwrap_or_else(|| panic!("{died}")), told, whole, died }
}

/// How the wallet and the ledger end, which must be the same after every crash.
#[derive(Debug, PartialEq, Eq)]
struct End {
    balance_minor: i64,
    held_minor: i64,
    rows: u64,
}

/// Starts on what is left, repeats everything, and answers how it ends.
async fn repeat(folder: &Path, run: &Run) -> End {
    // The owner is dead, and we know it: nobody has to wait for its lease.
    let store = Store::open(&Database::files(folder.join("site.db"), folder.join("keys.db"))).unwrap();
    store.take_over_slot(Duration::ZERO).await.unwrap().unwrap();
    store.release_slot().await.unwrap();
    let clock = noon();
    let (_, base, _) = serve(folder, clock.clone()).await;
    let [operator, merchant] = run.world.keys.clone().map(|key| bearer(&base, &key, &clock));
    check_books(&operator).await;
    let mut again = Vec::new();
    play(&operator, &merchant, &run.world, |told| again.push(told)).await;
    for told in &run.told {
        assert!(again.contains(told), "{told:?} was answered, and then: {again:?}\n{}", run.died);
    }
    let rows = check_books(&operator).await;
    let found = operator.get(&format!("/v1/accounts/{}", run.world.account)).await.expect(200);
    let wallet = &found["wallets"][0];
    let minor = |name: &str| wallet[name].as_i64().unwrap();
    End { balance_minor: minor("balance_minor"), held_minor: minor("held_minor"), rows }
}

async fn crash_at(point: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let run = tokio::task::spawn_blocking(move || run_until_it_dies(&path, point)).await.unwrap();
    let end = repeat(folder.path(), &run).await;
    // 5,000 paid in; 1,200, 640 and 300 paid; 200 given back. Rows: one each, but two of the hold that is captured and
    // two of the order that is reversed before it arrives.
    let expected = End { balance_minor: 5_000 - 1_200 - 640 - 300 + 200, held_minor: 0, rows: 8 };
    assert_eq!(end, expected, "point {point}: {}", run.died);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn no_crash_loses_or_doubles_anything() {
    if let (Ok(folder), Ok(point)) = (std::env::var(FOLDER), std::env::var(POINT)) {
        return die(Path::new(&folder), point.parse().unwrap()).await;
    }
    let (mut next, mut places, mut points) = (0, std::collections::BTreeSet::new(), None);
    while points.is_none() {
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            runs.spawn(crash_at(next));
            next += 1;
        }
        while let Some(run) = runs.join_next().await {
            let run = run.unwrap();
            let place = run.died.lines().find(|line| line.starts_with("crash "));
            places.extend(place.map(str::to_owned));
            points = points.or(run.whole);
        }
    }
    println!("died at each of {} points: {places:#?}", points.unwrap());
    // Every kind of point was met, and far more than one request died at each.
    assert_eq!(places.len(), 12, "{places:#?}");
    assert!(points.unwrap() > 100, "{points:?}");
}
