//! Device keys inside a security module: SoftHSM, over PKCS#11.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use selfsame_api::client::ClientError;
use selfsame_api::terminal::KeyAlgorithm;
use selfsame_api::verification::Verification;
use selfsame_domain::id::TerminalId;
use selfsame_terminal::device::{DeviceError, DeviceIdentity, KeySource, ServerLink, Token, rotate_key};
use serde_json::json;
use tempfile::TempDir;

use crate::payer::text;
use crate::site::TestSite;

const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the inner run of a test that there is a token, and by which library.
const MODULE: &str = "SELFSAME_TEST_MODULE";

/// Where Debian and others put the library.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

const PIN: &str = "482910";
const LABEL: &str = "selfsame test";
const KEY_LABEL: &str = "till key";

/// Runs one test of this binary again with a fresh token: SoftHSM is told by the environment where its tokens are.
fn run_with_token(test: &str) -> Option<Output> {
    let module = MODULES.iter().find(|module| Path::new(module).exists())?;
    let folder = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
    let (tokens, settings) = (folder.path().join("tokens"), folder.path().join("softhsm2.conf"));
    std::fs::create_dir(&tokens).expect("a folder");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    std::fs::write(&settings, text).expect("writable");
    let init = ["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "123456"];
    let made = Command::new("softhsm2-util").args(init).env("SOFTHSM2_CONF", &settings).output().ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let program = std::env::current_exe().expect("this program has a name");
    let mut inner = Command::new(program);
    inner.args(["--exact", test, "--nocapture"]).env("SOFTHSM2_CONF", &settings).env(MODULE, module);
    Some(inner.output().expect("it starts"))
}

/// Answers the library inside the run that has a token; the outer run starts that and is done.
fn with_token(test: &str) -> Option<PathBuf> {
    if let Some(module) = std::env::var_os(MODULE) {
        return Some(PathBuf::from(module));
    }
    match run_with_token(test) {
        Some(output) => {
            let text = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat();
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        None => {
            assert!(std::env::var_os("CI").is_none(), "CI needs SoftHSM (Debian package softhsm2)");
            println!("skipped: SoftHSM is not installed (Debian package softhsm2)");
        }
    }
    None
}

fn write_pin(file: &Path, pin: &str, mode: u32) {
    std::fs::write(file, pin).expect("writable");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("ours");
}

/// A look into the token by ourselves.
fn session(module: &Path) -> Session {
    // The product has initialized the library for this process.
    let context = Pkcs11::new(module).expect("the library");
    let slots = context.get_slots_with_token().expect("slots").into_iter();
    let mut slots = slots.filter(|slot| context.get_token_info(*slot).expect("a token").label() == LABEL);
    let session = context.open_ro_session(slots.next().expect("our token")).expect("a session");
    // The product may be logged in, which holds for the whole process.
    let _ = session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())));
    session
}

/// Checks that the one private key in the token cannot be taken out.
fn check_key_stays_inside(module: &Path) {
    let session = session(module);
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(KEY_LABEL.into())];
    let found = session.find_objects(&private).expect("a search");
    assert_eq!(found.len(), 1, "a key that was replaced is destroyed");
    let wanted = [
        (AttributeType::Sensitive, Attribute::Sensitive(true)),
        (AttributeType::Extractable, Attribute::Extractable(false)),
        (AttributeType::AlwaysSensitive, Attribute::AlwaysSensitive(true)),
        (AttributeType::NeverExtractable, Attribute::NeverExtractable(true)),
    ];
    for (kind, expected) in wanted {
        assert_eq!(session.get_attributes(found[0], &[kind]).expect("readable"), [expected]);
    }
    let value = session.get_attribute_info(found[0], &[AttributeType::Value]).expect("an answer");
    assert!(matches!(value[0], AttributeInfo::Sensitive), "{value:?}");
}

async fn knock(site: &TestSite, link: &ServerLink) -> Result<Verification, ClientError> {
    let body = site.verification_body(&json!({ "kind": "member_number", "value": "NOBODY" }));
    link.post("/v1/verifications", &body, PATIENCE).await
}

async fn activate(site: &TestSite, token: &Token, file: &Path) -> Result<DeviceIdentity, DeviceError> {
    let created = site.create_terminal("till").await;
    let terminal: TerminalId = text(&created, "id").parse().expect("a terminal");
    let (base, code) = (site.base(), text(&created, "activation_code"));
    let source = KeySource::Token(token.clone());
    DeviceIdentity::activate(&base, terminal, code, source, file, site.clock.clone()).await
}

async fn a_till_with_a_token(site: &TestSite, module: &Path, algorithm: KeyAlgorithm) {
    let folder = site.folder().join(algorithm.as_str());
    std::fs::create_dir(&folder).expect("a folder");
    let (file, pin_file) = (folder.join("device.json"), folder.join("pin"));
    write_pin(&pin_file, &format!("{PIN}\n"), 0o600);
    let token = Token {
        module: module.to_owned(),
        label: LABEL.to_owned(),
        key_label: KEY_LABEL.to_owned(),
        pin_file: Some(pin_file.clone()),
        algorithm: Some(algorithm),
    };
    let identity = activate(site, &token, &file).await.expect("activated");
    let stored = std::fs::read_to_string(&file).expect("it is kept");
    assert!(stored.contains("\"pkcs11\"") && !stored.contains("private_key") && !stored.contains(PIN));
    let key = format!("terminal_keys where id = '{}'", identity.terminal.key_id);
    assert_eq!(site.count(&format!("{key} and algorithm = '{algorithm}'")), 1);
    check_key_stays_inside(module);
    let running = identity.link(site.clock.clone());
    for _ in 0..3 {
        knock(site, &running).await.expect("signed in the token");
    }
    rotate_key(&file, site.clock.clone()).await.expect("the token makes the next key");
    check_key_stays_inside(module);
    // The key that this program has is gone, so it takes the next one over.
    knock(site, &running).await.expect("signed by the next key");
    let terminal = identity.terminal.terminal;
    let told = site.operator.get(&format!("/v1/terminals/{terminal}")).await.ok(200);
    assert_eq!(told["key"]["algorithm"], algorithm.as_str());
    assert!(told.get("clone_suspected_at").is_none());

    // What is wrong with the token is said, and nothing is sent.
    write_pin(&pin_file, PIN, 0o644);
    let unsigned = knock(site, &DeviceIdentity::load(&file).expect("kept").link(site.clock.clone())).await;
    let Err(ClientError::Unsigned { source, .. }) = unsigned else { panic!("signed with an open PIN") };
    assert!(source.to_string().contains("0600"), "{source}");
    write_pin(&pin_file, PIN, 0o600);
    let nowhere = Token { label: "another".to_owned(), ..token.clone() };
    let refused = activate(site, &nowhere, &folder.join("nowhere.json")).await;
    assert!(refused.err().expect("no token").to_string().contains("security module"));
    let no_module = Token { module: "/nowhere/lib.so".into(), ..token };
    activate(site, &no_module, &folder.join("nowhere.json")).await.err().expect("no library");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ed25519_key_is_made_used_and_changed_inside_a_token() {
    let Some(module) = with_token("token::an_ed25519_key_is_made_used_and_changed_inside_a_token") else {
        return;
    };
    let site = TestSite::start().await;
    a_till_with_a_token(&site, &module, KeyAlgorithm::Ed25519).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p256_key_is_made_used_and_changed_inside_a_token() {
    let Some(module) = with_token("token::a_p256_key_is_made_used_and_changed_inside_a_token") else {
        return;
    };
    let site = TestSite::start().await;
    a_till_with_a_token(&site, &module, KeyAlgorithm::EcdsaP256Sha256).await;
}
