//! What becomes of a terminal's key: further activation codes, rotation, copies on another machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use selfsame_api::bytes::Bytes;
use selfsame_api::client::ClientError;
use selfsame_api::device_key::DeviceSigner;
use selfsame_api::terminal::{KeyAlgorithm, rotation_proof};
use selfsame_api::verification::Verification;
use selfsame_domain::id::TerminalId;
use selfsame_domain::key_use::KeyUse;
use selfsame_server::ClonePolicy;
use selfsame_terminal::device::{DeviceError, DeviceIdentity, KeySource, ServerLink, rotate_key};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::caller::http;
use crate::device;
use crate::payer::text;
use crate::processes::Processes;
use crate::site::{Setup, TestSite};

const PATIENCE: Duration = Duration::from_secs(30);

/// A machine: an identity in a folder of its own.
struct Machine(PathBuf);

impl Machine {
    fn file(&self) -> PathBuf {
        self.0.join("device.json")
    }

    fn identity(&self) -> DeviceIdentity {
        DeviceIdentity::load(&self.file()).expect("it was activated")
    }

    /// Starts its programs.
    fn start(&self, site: &TestSite) -> ServerLink {
        self.identity().link(site.clock.clone())
    }

    /// All that is on its disk, as a thief or a backup takes it.
    fn copy(&self, to: &str) -> Self {
        let copy = Self(self.0.with_file_name(to));
        std::fs::create_dir_all(&copy.0).expect("a folder");
        for name in ["device.json", "device.uses"] {
            std::fs::copy(self.0.join(name), copy.0.join(name)).expect("it is there");
        }
        copy
    }
}

/// An activated till on a machine of its own.
async fn machine(site: &TestSite, name: &str) -> (Machine, TerminalId) {
    let machine = Machine(site.folder().join(name));
    std::fs::create_dir(&machine.0).expect("a folder");
    let created = site.create_terminal("till").await;
    let terminal = text(&created, "id").parse().expect("a terminal");
    activate(site, &machine.file(), terminal, text(&created, "activation_code")).await.expect("activated");
    (machine, terminal)
}

async fn activate(
    site: &TestSite,
    file: &Path,
    terminal: TerminalId,
    code: &str,
) -> Result<DeviceIdentity, DeviceError> {
    DeviceIdentity::activate(&site.base(), terminal, code, KeySource::File, file, site.clock.clone()).await
}

/// Any signed request that an active till may make.
async fn knock(site: &TestSite, link: &ServerLink) -> Result<Verification, ClientError> {
    let body = site.verification_body(&json!({ "kind": "member_number", "value": "NOBODY" }));
    link.post("/v1/verifications", &body, PATIENCE).await
}

async fn knock_code(site: &TestSite, link: &ServerLink) -> String {
    let refused = knock(site, link).await.err().and_then(|error| error.problem().cloned());
    refused.map_or_else(|| "none".to_owned(), |problem| problem.code.to_string())
}

async fn status(site: &TestSite, terminal: TerminalId) -> Value {
    site.operator.get(&format!("/v1/terminals/{terminal}")).await.ok(200)
}

async fn is_suspected(site: &TestSite, terminal: TerminalId) -> bool {
    status(site, terminal).await.get("clone_suspected_at").is_some()
}

async fn clone_signs(site: &TestSite) -> Vec<String> {
    let signs = site.attempts().await.into_iter().filter(|(operation, _)| operation == "signature");
    signs.map(|(_, reason)| reason).collect()
}

async fn operator_says(site: &TestSite, terminal: TerminalId, what: &str) {
    let said = site.operator.post(&format!("/v1/terminals/{terminal}/{what}"), &json!({})).await;
    assert_eq!(said.status, 204, "{}", said.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_activation_code_replaces_the_one_before_and_nothing_else() {
    let site = TestSite::start().await;
    let (first, terminal) = (site.create_terminal("till").await, PathBuf::from("late.json"));
    let file = site.folder().join(terminal);
    let terminal: TerminalId = text(&first, "id").parse().expect("a terminal");
    let path = format!("/v1/terminals/{terminal}/activation-code");
    // The first one runs out, and five wrong ones lock the second one.
    site.advance(16 * 60);
    activate(&site, &file, terminal, text(&first, "activation_code")).await.err().expect("it ran out");
    let second = site.operator.post(&path, &json!({})).await.ok(201);
    assert_eq!(text(&second, "id"), text(&first, "id"));
    for _ in 0..5 {
        activate(&site, &file, terminal, "0000-0000-0000").await.err().expect("wrong");
    }
    activate(&site, &file, terminal, text(&second, "activation_code")).await.err().expect("locked");
    let third = site.operator.post(&path, &json!({})).await.ok(201);
    activate(&site, &file, terminal, text(&second, "activation_code")).await.err().expect("replaced");
    let identity = activate(&site, &file, terminal, text(&third, "activation_code")).await.expect("good");
    knock(&site, &identity.link(site.clock.clone())).await.expect("it works");
    // A retired terminal gets none, and nobody else asks.
    operator_says(&site, terminal, "retire").await;
    site.operator.post(&path, &json!({})).await.refused(404, "not_found");
    let nobody = "/v1/terminals/trm_00000000000000000000000000";
    site.operator.post(&format!("{nobody}/activation-code"), &json!({})).await.refused(404, "not_found");
    site.operator.get(nobody).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_taken_over_by_programs_that_run() {
    let site = TestSite::start().await;
    let (machine, terminal) = machine(&site, "m").await;
    let (running, before) = (machine.start(&site), machine.identity());
    knock(&site, &running).await.expect("the first key is good");
    let after = rotate_key(&machine.file(), site.clock.clone()).await.expect("the server takes the next key");
    assert_ne!(after.terminal.key_id, before.terminal.key_id);
    let told = status(&site, terminal).await;
    assert_eq!(told["key"]["id"], after.terminal.key_id.to_string());
    // What was on its way is taken for a minute; afterwards the running program finds the next key by itself.
    knock(&site, &running).await.expect("still taken");
    site.advance(61);
    knock(&site, &running).await.expect("taken over");
    knock(&site, &machine.start(&site)).await.expect("the next key is good");
    assert_eq!(
        site.count(&format!("terminal_keys where terminal_id = '{terminal}' and retired_at is null")),
        1
    );
    assert!(!is_suspected(&site, terminal).await);
}

/// A way to the server on which the first answer is lost.
async fn lossy_way(site: &TestSite) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = site.address;
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a connection");
        let mut upstream = TcpStream::connect(server).await.expect("the server listens");
        let (mut request, mut answer) = (vec![0; 64 << 10], [0; 1]);
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    upstream.write_all(&request[..read.expect("a request")]).await.expect("it takes it");
                }
                // The server has answered, and nobody hears it.
                _ = upstream.read(&mut answer) => break,
            }
        }
    });
    format!("http://{address}")
}

fn set_server(machine: &Machine, server: &str) {
    let bytes = std::fs::read(machine.file()).expect("it is there");
    let mut stored: Value = serde_json::from_slice(&bytes).expect("JSON");
    stored["server"] = json!(server);
    std::fs::write(machine.file(), stored.to_string()).expect("writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_rotation_locks_nobody_out() {
    let site = TestSite::start().await;
    // Repeated by hand, by a program that runs, and by one that starts later.
    for (name, way) in [("hand", 0), ("running", 1), ("later", 2)] {
        let (machine, terminal) = machine(&site, name).await;
        let running = machine.start(&site);
        set_server(&machine, &lossy_way(&site).await);
        let lost = rotate_key(&machine.file(), site.clock.clone()).await;
        assert!(matches!(lost, Err(DeviceError::Rotation(ClientError::NoAnswer { .. }))));
        set_server(&machine, &site.base());
        let keys = format!("terminal_keys where terminal_id = '{terminal}'");
        assert_eq!(site.count(&keys), 2, "the server has done it");
        let stored = std::fs::read_to_string(machine.file()).expect("it is there");
        assert!(stored.contains("\"next\""), "both keys are known here");
        knock(&site, &running).await.expect("the key before is taken for a minute");
        site.advance(61);
        match way {
            0 => drop(rotate_key(&machine.file(), site.clock.clone()).await.expect("the same answer again")),
            1 => drop(knock(&site, &running).await.expect("the running program repeats it")),
            _ => drop(knock(&site, &machine.start(&site)).await.expect("the next program repeats it")),
        }
        knock(&site, &machine.start(&site)).await.expect("the next key is good");
        assert_eq!(site.count(&keys), 2, "and no third one was made");
        let stored = std::fs::read_to_string(machine.file()).expect("it is there");
        assert!(!stored.contains("\"next\""), "the key before is forgotten");
        assert!(!is_suspected(&site, terminal).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_needs_both_keys_and_happens_once() {
    let site = TestSite::start().await;
    let path = "/v1/terminals/rotate-key";
    let key = |byte| SigningKey::from_bytes(&[byte; 32]);
    let rotation = |next: &SigningKey, prover: &SigningKey| {
        let message = rotation_proof(site.till.identity.terminal.key_id, &next.public_key());
        let proof = Bytes::from(Signer::sign(prover, &message).to_bytes());
        let public_key = Bytes(next.public_key().to_bytes());
        json!({ "algorithm": KeyAlgorithm::Ed25519, "public_key": public_key, "proof": proof })
    };
    site.till.post(path, &rotation(&key(1), &key(2))).await.refused(400, "invalid_request");
    let mut malformed = rotation(&key(1), &key(1));
    malformed["public_key"] = json!("AAAA");
    site.till.post(path, &malformed).await.refused(400, "invalid_request");
    assert_eq!(site.count("terminal_keys"), 2, "nothing was changed");

    let first = site.till.post(path, &rotation(&key(1), &key(1))).await.ok(200);
    // Another next key comes too late, the same one is answered alike, for as long as it is in use.
    site.till.post(path, &rotation(&key(3), &key(3))).await.refused(403, "terminal_retired");
    site.advance(3_600);
    let again = site.till.post(path, &rotation(&key(1), &key(1))).await.ok(200);
    assert_eq!((&first["key_id"], &first["previous_until"]), (&again["key_id"], &again["previous_until"]));
    site.till.get("/v1/verifications/ver_00000000000000000000000000").await.refused(403, "terminal_retired");
    operator_says(&site, site.till.terminal(), "retire").await;
    site.till.post(path, &rotation(&key(1), &key(1))).await.refused(403, "terminal_retired");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_and_restarts_are_no_clones() {
    let site = TestSite::start().await;
    let (machine, terminal) = machine(&site, "m").await;
    for _ in 0..20 {
        let (first, second) = (machine.start(&site), machine.start(&site));
        knock(&site, &first).await.expect("it works");
        knock(&site, &second).await.expect("it works");
        site.advance(50);
    }
    assert!(!is_suspected(&site, terminal).await);
    assert_eq!(clone_signs(&site).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_works_beside_the_machine_is_seen_and_a_new_activation_ends_it() {
    let site = TestSite::start().await;
    let (machine, terminal) = machine(&site, "m").await;
    let original = machine.start(&site);
    knock(&site, &original).await.expect("it works");
    let copy = machine.copy("thief").start(&site);
    for _ in 0..6 {
        knock(&site, &copy).await.expect("only a warning");
        knock(&site, &original).await.expect("only a warning");
        site.advance(60);
    }
    assert!(is_suspected(&site, terminal).await);
    // Once an hour at most.
    assert_eq!(clone_signs(&site).await, ["clone_fell_behind"]);
    // The operator gives a new code: the warning goes, and so does the copy.
    let path = format!("/v1/terminals/{terminal}/activation-code");
    let renewed = site.operator.post(&path, &json!({})).await.ok(201);
    let again = activate(&site, &machine.file(), terminal, text(&renewed, "activation_code")).await;
    knock(&site, &again.expect("activated").link(site.clock.clone())).await.expect("it works");
    assert_eq!(knock_code(&site, &copy).await, "terminal_retired");
    assert!(!is_suspected(&site, terminal).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_works_at_night_is_seen_in_the_morning() {
    let site = TestSite::start_with(Setup { clone_policy: ClonePolicy::Lock, ..Setup::default() }).await;
    let (machine, terminal) = machine(&site, "m").await;
    knock(&site, &machine.start(&site)).await.expect("it works");
    site.advance(6 * 3_600);
    knock(&site, &machine.copy("thief").start(&site)).await.expect("nobody knows yet");
    site.advance(6 * 3_600);
    let morning = machine.start(&site);
    assert_eq!(knock_code(&site, &morning).await, "terminal_locked");
    assert_eq!(clone_signs(&site).await, ["clone_start_reused"]);
    assert!(status(&site, terminal).await.get("locked_at").is_some());
    // Nothing is locked for good: it goes on from here.
    operator_says(&site, terminal, "unlock").await;
    operator_says(&site, terminal, "dismiss-clone-warning").await;
    knock(&site, &morning).await.expect("it works");
    assert!(!is_suspected(&site, terminal).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_set_back_is_warned_of_once() {
    let site = TestSite::start().await;
    let (machine, terminal) = machine(&site, "m").await;
    knock(&site, &machine.start(&site)).await.expect("it works");
    let backup = machine.copy("backup");
    for _ in 0..3 {
        site.advance(600);
        knock(&site, &machine.start(&site)).await.expect("it works");
    }
    site.advance(600);
    std::fs::copy(backup.0.join("device.uses"), machine.0.join("device.uses")).expect("it was saved");
    knock(&site, &machine.start(&site)).await.expect("only a warning");
    assert!(is_suspected(&site, terminal).await);
    operator_says(&site, terminal, "dismiss-clone-warning").await;
    for _ in 0..6 {
        site.advance(600);
        knock(&site, &machine.start(&site)).await.expect("it works");
    }
    assert!(!is_suspected(&site, terminal).await);
    assert_eq!(clone_signs(&site).await, ["clone_fell_behind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_with_one_counter_are_seen_and_a_late_one_is_not() {
    let site = TestSite::start().await;
    let till = &site.till;
    let send = async |counter: u64| {
        let body = site.verification_body(&json!({ "kind": "member_number", "value": "NOBODY" }));
        let key_use = KeyUse { start: 9, instance: 1, counter };
        let (key, key_id) = (&till.signing_key, till.key_id.as_str());
        let path = "/v1/verifications";
        let body = body.to_string();
        let signed = device::sign_as(key_use, key, key_id, "POST", path, body.as_bytes(), till.now());
        device::send(&http(), &site.base(), &signed).await.ok(201);
    };
    for counter in [10, 500, 9, 11, 499, 1] {
        send(counter).await;
    }
    site.restart_server().await;
    send(2).await;
    assert!(!is_suspected(&site, till.terminal()).await, "others may overtake");
    // The memory of a running machine was copied.
    send(499).await;
    assert!(is_suspected(&site, till.terminal()).await);
    assert_eq!(clone_signs(&site).await, ["clone_counter_reused"]);
    // And with nothing remembered of the counter itself.
    operator_says(&site, till.terminal(), "dismiss-clone-warning").await;
    site.advance(130);
    send(12).await;
    assert_eq!(clone_signs(&site).await, ["clone_counter_reused", "clone_fell_behind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_run_in_their_cage_go_on_with_a_changed_key() {
    let processes = Processes::start().await;
    processes.ready().await;
    let pass = async |press: &str| {
        let arguments = ["verify", "--phone-last4", "0142", "--finger", "1", "--press", press];
        processes.run(&arguments, "").await.expect("Ada is verified")
    };
    pass("7101").await;
    let said = processes.run(&["terminal", "rotate-key"], "").await.expect("the key is changed");
    assert!(said.contains("signs as key_"), "{said}");
    // The key before is taken for a minute; the terminals' clocks are corrected by the server's.
    let advance = json!({ "seconds": 90 });
    let operator = processes.server("operator");
    operator.post::<Value>("/v1/test-clock/advance", &advance, PATIENCE).await.expect("it is later");
    pass("7102").await;
}
