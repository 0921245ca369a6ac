//! Candidates: templates of the accounts that an identifier selects, with their own consent in force.

use rusqlite::Connection;
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::sensor::Modality;
use selfsame_store::{CandidateTemplates, Lookup, Store};

use crate::{Files, account, make_account};

fn lookup(kind: IdentifierKind, byte: u8) -> Lookup {
    Lookup { kind, mac: [byte; 32] }
}

/// Rows as an enrolment leaves them: a consent, an enrolment and a template of it.
fn enrol(database: &Connection, number: u8, consent: u8, withdrawn: bool) {
    let id = |prefix: &str, number: u8| format!("{prefix}_{number:026}");
    let account = account(number).to_string();
    let withdrawn_at = withdrawn.then_some(2);
    database
        .execute(
            "insert into consents (id, account_id, text_version, language, text_hash, given_to, given_at, withdrawn_at)
             select ?1, ?2, '1', 'en', zeroblob(32), id, 1, ?3 from api_keys",
            rusqlite::params![id("cns", consent), account, withdrawn_at],
        )
        .expect("a consent");
    database
        .execute(
            "insert into enrolments (id, account_id, consent_id, terminal_id, modality, instance, state, expires_at,
                 created_at, updated_by)
             values (?1, ?2, ?3, 'trm_1', 'finger', 1, 'active', 1, 1, 'test')",
            rusqlite::params![id("enr", consent), account, id("cns", consent)],
        )
        .expect("an enrolment");
    database
        .execute(
            "insert into templates (id, account_id, consent_id, enrolment_id, modality, instance, algorithm, version,
                 quality, sealed, created_at)
             values (?1, ?2, ?3, ?4, 'finger', 1, 'a', 1, 50, x'00', 1)",
            rusqlite::params![id("tmpl", consent), account, id("cns", consent), id("enr", consent)],
        )
        .expect("a template");
}

async fn candidates(store: &Store, lookup: Lookup) -> CandidateTemplates {
    store.candidates(lookup, Modality::Finger).await.expect("it reads")
}

#[tokio::test]
async fn only_templates_whose_own_consent_is_in_force_are_candidates() {
    let files = Files::new();
    let store = files.open_with_site().await;
    let last4 = lookup(IdentifierKind::PhoneLast4, 4);
    for number in 1..=3 {
        make_account(&store, number, vec![lookup(IdentifierKind::Phone, number), last4]).await;
    }
    // Behind the store's back: it never leaves templates without a consent by itself.
    let database = Connection::open(files.site()).expect("the file opens");
    database.pragma_update(None, "foreign_keys", false).expect("a setting");
    enrol(&database, 1, 1, false);
    enrol(&database, 2, 2, true);
    // Account 3 withdrew one consent and gave another, under which nothing was enrolled.
    enrol(&database, 3, 3, true);
    enrol(&database, 3, 4, false);
    database.execute("delete from templates where consent_id like 'cns_%4'", []).expect("a template");

    let found = candidates(&store, last4).await;
    let accounts: Vec<_> = found.templates.iter().map(|template| template.account).collect();
    assert_eq!(accounts, [account(1)]);
    assert_eq!((found.accounts, found.accounts_with_consent), (3, 2));
    let page = store.template_page(Modality::Finger, None, 10).await.expect("it reads");
    assert_eq!(page.0.len(), 1, "the search for duplicates sees no others either");
    for (number, templates, with_consent) in [(1, 1, 1), (2, 0, 0), (3, 0, 1)] {
        let found = candidates(&store, lookup(IdentifierKind::Phone, number)).await;
        let numbers = (found.accounts, found.templates.len(), found.accounts_with_consent);
        assert_eq!(numbers, (1, templates, with_consent), "account {number}");
    }
    let face = store.candidates(last4, Modality::Face).await.expect("it reads");
    assert!(face.templates.is_empty(), "a finger is no candidate for a face");
}

#[tokio::test]
async fn the_same_digits_of_another_kind_select_nobody() {
    let files = Files::new();
    let store = files.open_with_site().await;
    make_account(&store, 1, vec![lookup(IdentifierKind::MemberNumber, 4)]).await;
    assert_eq!(candidates(&store, lookup(IdentifierKind::PhoneLast4, 4)).await.accounts, 0);
    assert_eq!(candidates(&store, lookup(IdentifierKind::MemberNumber, 4)).await.accounts, 1);
}
