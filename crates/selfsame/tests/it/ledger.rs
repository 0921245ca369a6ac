//! The books: they sum to zero, agree with the wallets, and show what was changed behind their back.

use serde_json::{Value, json};

use crate::payer::text;
use crate::site::TestSite;

async fn chain(site: &TestSite) -> Value {
    site.operator.get("/v1/ledger/chain").await.ok(200)["slots"][0].clone()
}

async fn trial_balance(site: &TestSite) -> Value {
    site.operator.get("/v1/ledger/trial-balance").await.ok(200)
}

/// Two payers, two merchants' worth of money moved: rows 1 to 5.
async fn busy_site() -> (TestSite, String, String) {
    let site = TestSite::start().await;
    let (ada, eve) = (site.payer(1, 1_000).await, site.payer(2, 500).await);
    let digits = site.code_of(&ada).await;
    site.charge("o-1", 300, &digits).await.ok(201);
    site.charge("o-2", 300, &digits).await.refused(422, "code_already_used");
    let digits = site.code_of(&eve).await;
    site.charge("o-3", 500, &digits).await.ok(201);
    site.top_up(&ada.account, 7).await;
    (site, ada.account, eve.account)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_sum_to_zero_and_agree_with_the_wallets() {
    let site = TestSite::start().await;
    assert_eq!(
        trial_balance(&site).await,
        json!({ "currency": "EUR", "lines": [], "sum_minor": 0, "wallets_that_differ": 0 })
    );
    assert_eq!(chain(&site).await["rows"], 0);
    drop(site);
    let (site, ada, eve) = busy_site().await;
    let balance = trial_balance(&site).await;
    assert_eq!((&balance["sum_minor"], &balance["wallets_that_differ"]), (&json!(0), &json!(0)));
    let line = |account: &str| {
        let lines = balance["lines"].as_array().expect("lines");
        let found = lines.iter().find(|line| line["account"] == account);
        found.map_or(0, |line| line["balance_minor"].as_i64().expect("a number"))
    };
    let wallet = async |account: &str| {
        let account = site.operator.get(&format!("/v1/accounts/{account}")).await.ok(200);
        text(&account["wallets"][0], "id").to_owned()
    };
    assert_eq!(line("cash"), -1_507);
    assert_eq!((line(&wallet(&ada).await), line(&wallet(&eve).await)), (707, 0));
    assert_eq!(line(&site.created.merchant.to_string()), 800);
    let chain = chain(&site).await;
    assert_eq!((&chain["rows"], chain.get("error")), (&json!(5), None));
    assert_eq!(text(&chain, "head").len(), 64);
    assert_eq!(site.count("payments where sequence between 1 and 5 and leg = 0"), 5, "no gaps");
    // A restart finds the same chain and goes on with it.
    site.restart_server().await;
    site.top_up(&ada, 1).await;
    let longer = self::chain(&site).await;
    assert_eq!((&longer["rows"], longer.get("error")), (&json!(6), None));
    // What was refused is told apart from the books, with its reason.
    let attempts = site.attempts().await;
    assert_eq!(attempts, [("payment".to_owned(), "code_already_used".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_is_named() {
    for change in [
        "amount_minor = amount_minor + 1",
        "credit = 'cash', debit = credit",
        "reference = 'o-9'",
        "created_at = created_at + 1",
        "sensor_grade = 'finger'",
        "code_id = null",
        "hash = (select mac from payment_codes limit 1)",
    ] {
        let (site, ..) = busy_site().await;
        assert_eq!(site.sql(&format!("update payments set {change} where sequence = 3")), 1, "{change}");
        let chain = chain(&site).await;
        assert_eq!(
            chain["error"], "slot 0, sequence 3: the row was changed after it was written",
            "{change}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_cannot_tell_what_was_spent_has_its_rows_added_up() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    site.charge("o-1", 300, &digits).await.ok(201);
    let ada = &payer.account;
    let limits = json!({ "day_minor_max": 400 });
    site.operator.put(&format!("/v1/accounts/{ada}/limits"), &limits).await.ok(200);
    let digits = site.code_of(&payer).await;
    // As in a site that was made before wallets told it; what stands beside says nothing then.
    site.sql(&format!(
        "update wallets set spent_since = null, spent_minor = -900 where account_id = '{ada}'"
    ));
    site.charge("o-4", 101, &digits).await.refused(402, "payment_declined");
    site.charge("o-4", 100, &digits).await.ok(201);
    assert_eq!(trial_balance(&site).await["wallets_that_differ"], 0);
    // What a wallet says is in the books.
    site.sql(&format!("update wallets set spent_minor = spent_minor - 1 where account_id = '{ada}'"));
    assert_eq!(trial_balance(&site).await["wallets_that_differ"], 1);
    site.sql(&format!("update wallets set spent_count = 3, spent_minor = 400 where account_id = '{ada}'"));
    assert_eq!(trial_balance(&site).await["wallets_that_differ"], 1);
    site.sql(&format!("update wallets set spent_count = 2 where account_id = '{ada}'"));
    assert_eq!(trial_balance(&site).await["wallets_that_differ"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_dropped_and_wallets_that_were_changed_are_found() {
    let (site, ada, _) = busy_site().await;
    site.sql(&format!("update wallets set balance_minor = 1000000 where account_id = '{ada}'"));
    assert_eq!(trial_balance(&site).await["wallets_that_differ"], 1);
    assert!(chain(&site).await.get("error").is_none(), "the rows themselves are whole");
    // The last row gone.
    site.sql("delete from payments where sequence = 5");
    assert_eq!(chain(&site).await["error"], "slot 0: the last row does not agree with the slot's head");
    // A row in the middle gone.
    site.sql("delete from payments where sequence = 2");
    assert_eq!(chain(&site).await["error"], "slot 0: expected sequence 2, found 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_refuses_what_cannot_be() {
    let (site, ada, _) = busy_site().await;
    let copy = |code: &str, verification: &str, reference: &str| {
        format!(
            "insert into payments (slot, sequence, payment_id, leg, kind, state, debit, credit, amount_minor, currency,
                 account_id, caller, reference, code_id, verification_id, created_at, hash)
             select slot, sequence + 100, payment_id || 'x', leg, kind, state, debit, credit, amount_minor, currency,
                 account_id, caller, {reference}, {code}, {verification}, created_at, hash
             from payments
             where reference = 'o-1'"
        )
    };
    for (what, statement) in [
        ("a negative balance", format!("update wallets set balance_minor = -1 where account_id = '{ada}'")),
        ("more held than there is", "update wallets set held_minor = balance_minor + 1".to_owned()),
        ("a second use of a verification", copy("code_id", "verification_id", "reference || 'x'")),
        ("a second payment of an order", copy("null", "null", "reference")),
        ("a row that pays itself", "update payments set credit = debit where sequence = 1".to_owned()),
        ("a second site", "insert into site values (2, 'live', 'EUR', 0)".to_owned()),
        ("a second site row", "insert into site select id, mode, currency, created_at from site".to_owned()),
    ] {
        assert!(site.try_sql(&statement).is_err(), "{what}");
    }
    assert!(chain(&site).await.get("error").is_none());
    // What was refused was refused for that: a copy that breaks no rule is taken.
    assert_eq!(site.try_sql(&copy("null", "null", "reference || 'x'")), Ok(1));
}
