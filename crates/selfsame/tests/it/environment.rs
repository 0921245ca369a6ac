//! A hostile environment: paths that are none, ports and sockets in use, a second writer, a full disk.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use selfsame_domain::clock::Clock;
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::site::Mode;
use selfsame_matcher::MatcherError;
use selfsame_server::setup::{SetupError, create_site};
use selfsame_server::{Server, ServerError};
use selfsame_store::{Database, StoreError};
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::payer::charge_body;
use crate::site::{Setup, TestSite, any_port, eur, files, new_clock, new_site, server_config};

fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_path_that_cannot_be_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, b"no folder").expect("writable");
    let clock = new_clock();
    let mut config = server_config(folder.path(), files(folder.path()), &Setup::default(), any_port());
    config.database = Database::files(file.join("site.db"), folder.path().join("keys.db"));
    let named = |error: &dyn std::error::Error| {
        let text = chain_text(error);
        assert!(text.contains("file/site.db"), "{text}");
    };
    let made = create_site(&config.database, new_site(Mode::Test), clock.now()).await;
    let Err(error @ SetupError::Store(StoreError::Open { .. })) = made else { panic!("a site below a file") };
    named(&error);
    let bound = Server::bind(config, clock.clone()).await;
    let Err(error @ ServerError::Store(StoreError::Open { .. })) = bound else {
        panic!("a server below a file")
    };
    named(&error);
    // What is no database is not taken for one, and not overwritten.
    let mut config = server_config(folder.path(), files(folder.path()), &Setup::default(), any_port());
    config.database = Database::files(&file, folder.path().join("keys.db"));
    let long = "no database ".repeat(100);
    std::fs::write(&file, &long).expect("writable");
    let Err(error) = Server::bind(config, clock).await else { panic!("a server on a text file") };
    assert!(chain_text(&error).contains("not a database"), "{}", chain_text(&error));
    assert_eq!(std::fs::read_to_string(&file).expect("readable"), long);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_site_starts_no_server_and_a_site_is_made_once() {
    let folder = TempDir::new().expect("a temporary folder");
    let clock = new_clock();
    let config = || server_config(folder.path(), files(folder.path()), &Setup::default(), any_port());
    let bound = Server::bind(config(), clock.clone()).await;
    assert!(matches!(bound, Err(ServerError::NoSite(_))));
    create_site(&config().database, new_site(Mode::Test), clock.now()).await.expect("a new site");
    // A test site never becomes live.
    let again = create_site(&config().database, new_site(Mode::Live), clock.now()).await;
    assert!(matches!(again, Err(SetupError::Exists)));
    Server::bind(config(), clock).await.expect("the site is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_or_socket_in_use_is_named() {
    let site = TestSite::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    let clock = new_clock();
    let config = server_config(folder.path(), files(folder.path()), &Setup::default(), site.address);
    create_site(&config.database, new_site(Mode::Test), clock.now()).await.expect("a new site");
    let bound = Server::bind(config, clock).await;
    let Err(error @ ServerError::Listen { .. }) = bound else { panic!("two servers on one port") };
    assert!(error.to_string().contains(&site.address.to_string()), "{error}");

    let socket = site.folder().join("matcher.sock");
    let second = selfsame_matcher::Config {
        socket: socket.clone(),
        opening_seed: Zeroizing::new([4; 32]),
        template_key: KeyEncryptionKey::new(Zeroizing::new([5; 32])),
        face_pack: None,
    };
    let second = selfsame_matcher::run(second, std::future::pending()).await;
    let Err(error @ MatcherError::Listen { .. }) = second else { panic!("two matchers on one socket") };
    assert!(error.to_string().contains("matcher.sock"), "{error}");
    // Only the site's own user and group reach it.
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // The first one is none the worse.
    assert_eq!(site.nobody.get("/readyz").await.ok(200)["matcher"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_taken_over_moves_no_more_money() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    let base = site.start_second_server().await;
    // The stale one refuses, and says that the same request may be tried again.
    site.charge("o-1", 100, &digits).await.refused(503, "unavailable");
    let top_up = json!({ "top_up_ref": "t-1", "account": payer.account, "amount": eur(1) });
    site.operator.post("/v1/top-ups", &top_up).await.refused(503, "unavailable");
    assert_eq!(site.balance_minor(&payer.account).await, 1_000);
    let second = Caller::new(&base, Some(&site.created.merchant_key.0));
    second.post("/v1/payments", &charge_body("o-1", 100, &digits)).await.ok(201);
    assert_eq!(site.balance_minor(&payer.account).await, 900);
    let chain = site.operator.get("/v1/ledger/chain").await.ok(200);
    assert_eq!((&chain["slots"][0]["rows"], chain["slots"][0].get("error")), (&json!(2), None));
}

/// Tells the inner run of the test below where its small disk is.
const SMALL_DISK: &str = "SELFSAME_TEST_SMALL_DISK";

/// Size of the small disk. A new site takes about half a megabyte.
const SMALL_DISK_SIZE: &str = "4m";

/// Runs one test of this binary again, with a disk of a few megabytes that only it can see: a mount in a namespace of
/// its own, which needs no rights where the kernel allows that, and leaves nothing behind.
fn run_on_small_disk(test: &str) -> Option<std::process::Output> {
    let folder = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
    let disk = folder.path().join("d");
    std::fs::DirBuilder::new().mode(0o700).create(&disk).expect("a folder");
    let program = std::env::current_exe().expect("this program has a name");
    let mount = format!("mount -t tmpfs -o size={SMALL_DISK_SIZE},mode=0700 small \"$0\"");
    for namespaces in [&["--map-root-user", "--mount"][..], &["--mount"][..]] {
        let inner = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(namespaces).args(["sh", "-c", script]).arg(&disk);
            command
        };
        if !inner(&mount).output().is_ok_and(|output| output.status.success()) {
            continue;
        }
        let mut command = inner(&format!("{mount} && exec \"$@\""));
        command.arg(&program).args(["--exact", test, "--nocapture"]).env(SMALL_DISK, &disk);
        return Some(command.output().expect("it was tried a moment ago"));
    }
    None
}

/// Writes until nothing more fits, and answers the file.
fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    for size in [64 << 10, 4 << 10, 512, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
    ballast
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_lost_and_service_comes_back() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        fill_the_disk(PathBuf::from(disk)).await;
        println!("the small disk was filled");
        return;
    }
    let test = "environment::on_a_full_disk_nothing_is_lost_and_service_comes_back";
    match run_on_small_disk(test) {
        Some(output) => {
            let text = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat();
            assert!(output.status.success() && text.contains("the small disk was filled"), "{text}");
        }
        None => println!(
            "skipped: this machine lets nobody mount a small disk, not even in a namespace of its own"
        ),
    }
}

async fn fill_the_disk(disk: PathBuf) {
    let site = TestSite::start_in(disk.clone(), Setup::default()).await;
    let payer = site.payer(1, 1_000).await;
    let passed = site.pass(&payer).await;
    let digits = site.digits(&passed).await;
    let top_up =
        |reference: &str| json!({ "top_up_ref": reference, "account": payer.account, "amount": eur(1) });
    let mut acknowledged: Vec<(String, Value)> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    for round in 0..3 {
        let ballast = fill(&disk);
        let already_refused = refused.len();
        // What was reserved before may still take some; then each is refused.
        for number in 0..400 {
            if refused.len() >= already_refused + 5 {
                break;
            }
            let reference = format!("t-{round}-{number}");
            let reply = site.operator.post("/v1/top-ups", &top_up(&reference)).await;
            if reply.status == 201 {
                acknowledged.push((reference, reply.ok(201)));
            } else {
                assert_eq!(reply.headers["retry-after"], "1");
                reply.refused(503, "unavailable");
                refused.push(reference);
            }
        }
        assert_eq!(refused.len(), already_refused + 5, "the disk is full");
        site.charge("o-1", 100, &digits).await.refused(503, "unavailable");
        site.ask_code(&passed).await.refused(503, "unavailable");
        // What needs no writing still answers.
        site.merchant.get("/v1/payments?order_ref=o-1").await.refused(404, "not_found");
        let books = site.operator.get("/v1/ledger/trial-balance").await.ok(200);
        assert_eq!((&books["sum_minor"], &books["wallets_that_differ"]), (&json!(0), &json!(0)));

        std::fs::remove_file(&ballast).expect("it is there");
        let reference = format!("again-{round}");
        let reply = site.operator.post("/v1/top-ups", &top_up(&reference)).await;
        acknowledged.push((reference, reply.ok(201)));
    }
    // Nothing that was answered is lost, nothing that was refused is done.
    for (reference, payment) in &acknowledged {
        let again = site.operator.post("/v1/top-ups", &top_up(reference)).await;
        assert!(again.is_replay(), "{reference} was lost");
        assert_eq!(again.ok(200)["id"], payment["id"]);
    }
    for reference in &refused {
        assert_eq!(site.count(&format!("payments where reference = '{reference}'")), 0, "{reference}");
    }
    let paid = i64::try_from(acknowledged.len()).expect("a few hundred");
    assert_eq!(site.balance_minor(&payer.account).await, 1_000 + paid);
    // The code in hand is still good: no second scan.
    site.charge("o-1", 100, &digits).await.ok(201);
    let chain = site.operator.get("/v1/ledger/chain").await.ok(200);
    assert_eq!((&chain["slots"][0]["rows"], chain["slots"][0].get("error")), (&json!(paid + 2), None));
    // And a restart finds all of it.
    site.restart_server().await;
    assert_eq!(site.operator.get("/v1/ledger/chain").await.ok(200), chain);
}
