//! Limits, and the other rules that payments are decided by.

use selfsame_domain::limit::Category;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One layer of limits; each layer narrows, and what is absent does not limit. Sent whole: what is left out is gone.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `domain::limit::Limits` in the OpenAPI document")]
pub struct LimitsLayer {
    /// Most of one payment, minor units.
    #[schema(minimum = 0)]
    payment_minor_max: Option<i64>,
    /// Most of one business day, minor units.
    #[schema(minimum = 0)]
    day_minor_max: Option<i64>,
    /// Most payments of one business day.
    day_count_max: Option<u32>,
    /// Above this the payer must confirm, minor units.
    #[schema(minimum = 0)]
    step_up_above_minor: Option<i64>,
    /// When payments are taken.
    hours: Option<DayHours>,
    /// Categories of merchants that are not paid.
    categories_blocked: Vec<String>,
}

/// Minutes of the business day; from the first and up to, not including, the second. May run over midnight.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `domain::limit::Hours` in the OpenAPI document")]
pub struct DayHours {
    /// 0 to 1439.
    from_minute: u16,
    /// 0 to 1439.
    to_minute: u16,
}

/// `PUT /v1/rules` (operator): rules of the whole site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Minutes east of UTC where the business day begins, -720 to 840.
    #[schema(minimum = -720, maximum = 840)]
    pub utc_offset_minutes: i32,
    /// Whether a gesture at the terminal confirms as well as a PIN.
    pub gesture_confirms: bool,
}

/// `PUT /v1/merchants/{id}/terms` (operator): what was agreed with a merchant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MerchantTerms {
    /// Its category, which limits can block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "food")]
    pub category: Option<Category>,
    /// How long payers may take a payment back without asking, in minutes, at most 1,440; 0: never.
    #[schema(maximum = 1440)]
    pub undo_minutes: u32,
    /// Fee in ten-thousandths of goods, at most 2,000: 150 is 1.5 %.
    #[schema(maximum = 2000)]
    pub fee: u32,
}
