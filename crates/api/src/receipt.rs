//! Receipts: what is printed for the payer, with a number that starts a refund.

use selfsame_domain::payment::ReceiptNumber;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payment::Payment;

/// `GET /v1/receipts/{number}` (merchant).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The number, with its check digit.
    #[schema(value_type = String, example = "0-1234-5")]
    pub number: ReceiptNumber,
    /// Name of the merchant.
    pub merchant_name: String,
    /// The payment.
    pub payment: Payment,
    /// The receipt as lines of plain text, 32 columns wide, for a receipt printer.
    pub text: Vec<String>,
}
