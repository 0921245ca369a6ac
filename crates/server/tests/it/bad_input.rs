//! What a till or a back office may send by mistake: each is refused by name and moves nothing.

use selfsame_domain::id::AccountId;
use serde_json::{Value, json};

use crate::site::{Reply, Site, eur};

const BALANCE: i64 = 1_000;

struct Shop {
    site: Site,
    payer: AccountId,
    code: String,
}

impl Shop {
    async fn open() -> Self {
        let site = Site::start().await;
        let payer = site.payer("ada", BALANCE).await;
        let code = site.code(payer).await;
        Self { site, payer, code }
    }

    async fn charge(&self, order: &str, amount: Value) -> Reply {
        let body = json!({ "order_ref": order, "code": self.code, "amount": amount });
        self.site.merchant.post("/v1/payments", body).await
    }

    async fn refund(&self, reference: &str, payment: &Value, minor: i64) -> Reply {
        let body = json!({ "refund_ref": reference, "payment": payment, "amount": eur(minor) });
        self.site.merchant.post("/v1/refunds", body).await
    }

    /// The code still pays all that the payer has: nothing was moved, held or used up.
    async fn assert_untouched(self) {
        assert_eq!(self.site.balance(self.payer).await, (BALANCE, 0));
        self.charge("in-the-end", eur(BALANCE)).await.expect(201);
        self.site.check_books().await;
    }
}

/// Amounts that are none, in every place that takes one.
async fn refused_everywhere(minor: Value) {
    let shop = Shop::open().await;
    let amount = json!({ "minor": minor, "currency": "EUR" });
    let site = &shop.site;
    let bodies = [
        ("/v1/payments", json!({ "order_ref": "o1", "code": shop.code, "amount": amount })),
        ("/v1/refunds", json!({ "refund_ref": "r1", "order_ref": "o1", "amount": amount })),
    ];
    for (path, body) in bodies {
        assert_eq!(site.merchant.post(path, body).await.refusal(), (400, "invalid_request"), "{path}");
    }
    let bodies = [
        ("/v1/top-ups", json!({ "top_up_ref": "t1", "account": shop.payer, "amount": amount })),
        ("/v1/withdrawals", json!({ "withdrawal_ref": "w1", "account": shop.payer, "amount": amount })),
        (
            "/v1/adjustments",
            json!({ "adjustment_ref": "a1", "account": shop.payer, "direction": "raise",
            "amount": amount }),
        ),
    ];
    for (path, body) in bodies {
        assert_eq!(site.operator.post(path, body).await.refusal(), (400, "invalid_request"), "{path}");
    }
    shop.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_of_zero_is_refused() {
    refused_everywhere(json!(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_amount_is_refused() {
    refused_everywhere(json!(-1)).await;
    refused_everywhere(json!(i64::MIN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_of_2_to_the_63_is_refused() {
    refused_everywhere(json!(1_u64 << 63)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fraction_of_a_minor_unit_is_refused() {
    refused_everywhere(json!(1.5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_currency_is_refused() {
    let shop = Shop::open().await;
    let dollars = json!({ "minor": 100, "currency": "USD" });
    assert_eq!(shop.charge("o1", dollars.clone()).await.refusal(), (422, "currency_mismatch"));
    let invented = json!({ "minor": 100, "currency": "XXQ" });
    assert_eq!(shop.charge("o1", invented).await.refusal(), (400, "invalid_request"));
    let top_up = json!({ "top_up_ref": "t1", "account": shop.payer, "amount": dollars });
    let refused = shop.site.operator.post("/v1/top-ups", top_up).await;
    assert_eq!(refused.refusal(), (404, "not_found"), "an account has no wallet in another currency");
    shop.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_others_and_of_other_kinds_are_refused() {
    let shop = Shop::open().await;
    let other = json!({ "request_ref": "m2", "name": "South", "store_name": "Hall" });
    let other = shop.site.operator.post("/v1/merchants", other).await.expect(201);
    let other = shop.site.bearer(other["key"].as_str().unwrap());
    let body = json!({ "order_ref": "o1", "code": shop.code, "amount": eur(100) });
    assert_eq!(other.post("/v1/payments", body).await.refusal(), (422, "code_not_found"));
    let wrong_kind = shop.refund("r1", &json!(shop.payer), 1).await;
    assert_eq!(wrong_kind.refusal(), (400, "wrong_id_kind"));
    let payer = shop.payer;
    let paid = shop.charge("o1", eur(100)).await.expect(201);
    let refund = json!({ "refund_ref": "r1", "payment": paid["id"], "amount": eur(1) });
    assert_eq!(other.post("/v1/refunds", refund).await.refusal(), (404, "not_found"));
    let capture = format!("/v1/payments/{}/capture", paid["id"].as_str().unwrap());
    assert_eq!(other.post(&capture, json!({})).await.refusal(), (404, "not_found"));
    assert_eq!(shop.site.balance(payer).await, (BALANCE - 100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_reference_with_other_content_is_refused_and_shows_the_earlier_payment() {
    let shop = Shop::open().await;
    let paid = shop.charge("o1", eur(100)).await.expect(201);
    let conflict = shop.charge("o1", eur(101)).await;
    assert_eq!(conflict.refusal(), (409, "reference_conflict"));
    assert_eq!(conflict.body["payment"]["id"], paid["id"]);
    shop.refund("r1", &paid["id"], 10).await.expect(201);
    assert_eq!(shop.refund("r1", &paid["id"], 11).await.refusal(), (409, "reference_conflict"));
    assert_eq!(shop.site.balance(shop.payer).await, (BALANCE - 90, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_a_refund_is_refused() {
    let shop = Shop::open().await;
    let paid = shop.charge("o1", eur(100)).await.expect(201);
    let refund = shop.refund("r1", &paid["id"], 40).await.expect(201);
    assert_eq!(shop.refund("r2", &refund["id"], 1).await.refusal(), (422, "not_refundable"));
    assert_eq!(shop.site.balance(shop.payer).await, (BALANCE - 60, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_after_the_reversal_is_refused() {
    let shop = Shop::open().await;
    let paid = shop.charge("o1", eur(100)).await.expect(201);
    shop.site.merchant.post("/v1/reversals", json!({ "order_ref": "o1" })).await.expect(201);
    assert_eq!(shop.refund("r1", &paid["id"], 1).await.refusal(), (409, "order_reversed"));
    assert_eq!(shop.site.balance(shop.payer).await, (BALANCE, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_above_the_hold_is_refused() {
    let shop = Shop::open().await;
    let body = json!({ "order_ref": "o1", "code": shop.code, "amount": eur(600), "hold_seconds": 600 });
    let held = shop.site.merchant.post("/v1/payments", body).await.expect(202);
    let capture = format!("/v1/payments/{}/capture", held["id"].as_str().unwrap());
    let above = shop.site.merchant.post(&capture, json!({ "amount": eur(601) })).await;
    assert_eq!(above.refusal(), (422, "capture_above_hold"));
    assert_eq!(shop.site.balance(shop.payer).await, (BALANCE, 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_after_its_time_is_refused() {
    let shop = Shop::open().await;
    let pin = format!("/v1/accounts/{}/pin", shop.payer);
    shop.site.operator.put(&pin, json!({ "pin": "2580" })).await.expect(200);
    shop.site.operator.put("/v1/limits/site", json!({ "step_up_above_minor": 99 })).await.expect(200);
    let waiting = shop.charge("o1", eur(100)).await.expect(202);
    shop.site.advance(121).await;
    let late = json!({ "payment": waiting["id"], "pin": "2580" });
    let late = shop.site.till.post("/v1/confirmations", late).await;
    assert_eq!(late.refusal(), (409, "invalid_state"));
    assert_eq!(late.body["payment"]["status"], "expired");
    assert_eq!(shop.site.balance(shop.payer).await, (BALANCE, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_do_not_add_up_are_refused() {
    let shop = Shop::open().await;
    for parts in [
        json!({ "goods_minor": 90, "tip_minor": 11 }),
        json!({ "goods_minor": 101, "tip_minor": -1 }),
        json!({ "goods_minor": i64::MAX, "tip_minor": i64::MAX, "deposit_minor": 102 }),
    ] {
        let body = json!({ "order_ref": "o1", "code": shop.code, "amount": eur(100), "parts": parts });
        let refused = shop.site.merchant.post("/v1/payments", body).await;
        assert_eq!(refused.refusal(), (422, "parts_do_not_add_up"), "{parts}");
    }
    shop.assert_untouched().await;
}
