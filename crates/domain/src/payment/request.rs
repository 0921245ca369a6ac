//! What can be asked of the ledger.

use std::fmt;

use crate::id::{AccountId, KeyId, MerchantId, PaymentId, TerminalId};
use crate::ledger::{Caller, Kind, Part};
use crate::money::Amount;
use crate::payment::receipt::ReceiptNumber;
use crate::reference::Reference;
use crate::text::text_enum;
use crate::time::Timestamp;

/// Keyed hash of the 18 digits; the store knows codes by nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeMac(pub [u8; 32]);

impl fmt::Debug for CodeMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeMac(***)")
    }
}

/// What makes a request unique for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose reference it is.
    pub caller: Caller,
    /// What was asked for.
    pub kind: Kind,
    /// The caller's own reference.
    pub reference: Reference,
}

impl IdempotencyKey {
    /// The key of an order.
    pub fn order(merchant: MerchantId, order_ref: Reference) -> Self {
        Self { caller: Caller::Merchant(merchant), kind: Kind::Charge, reference: order_ref }
    }
}

/// How a payment that exists is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Payment(PaymentId),
    /// By the merchant's reference of the order.
    Order(Reference),
    /// By the number on its receipt.
    Receipt(ReceiptNumber),
}

/// What an amount is made of, minor units. The sum must be the amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Goods or services; subsidies pay for nothing else.
    pub goods_minor: i64,
    /// A tip.
    pub tip_minor: i64,
    /// A deposit.
    pub deposit_minor: i64,
}

/// A merchant charges a code with an amount.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Id of the payment if it succeeds, made by the server.
    pub payment: PaymentId,
    /// Who charges.
    pub merchant: MerchantId,
    /// The merchant's own reference of the order: the idempotency key.
    pub order_ref: Reference,
    /// How much in all.
    pub amount: Amount,
    /// What it is made of; `None`: goods only.
    pub parts: Option<Parts>,
    /// Which code.
    pub code: CodeMac,
    /// Hold the money until then instead of moving it.
    pub hold_until: Option<Timestamp>,
    /// The payer must confirm whatever the limits say: asked for by test sites only.
    pub ask_payer: bool,
}

/// A merchant makes sure that an order is not paid.
#[derive(Clone, Debug)]
pub struct Reverse {
    /// Id of the reversal or tombstone, made by the server.
    pub payment: PaymentId,
    /// Who reverses.
    pub merchant: MerchantId,
    /// Which order.
    pub order_ref: Reference,
}

/// A merchant gives money back.
#[derive(Clone, Debug)]
pub struct Refund {
    /// Id of the refund, made by the server.
    pub payment: PaymentId,
    /// Who refunds.
    pub merchant: MerchantId,
    /// The merchant's own reference: the idempotency key.
    pub refund_ref: Reference,
    /// Which payment.
    pub target: Target,
    /// How much.
    pub amount: Amount,
    /// Of which part; `None`: goods first, then deposit, then tip.
    pub part: Option<Part>,
}

text_enum! {
    /// How a payer confirmed.
    Proof {
        /// The right PIN was given; checked by the server before it asked.
        Pin = "pin",
        /// A gesture on the terminal: the payer agreed to merchant and amount.
        Gesture = "gesture",
    }
}

/// How something open ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The merchant takes held money, all of it or a part; the rest is released. Minor units.
    Capture(Option<Amount>),
    /// The merchant releases held money.
    Void,
    /// The payer confirms.
    Confirm(Proof),
    /// The payer or the merchant does not want it any more.
    Cancel,
    /// Its time is over.
    Expire,
}

/// Who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The merchant of the payment.
    Merchant(MerchantId),
    /// The terminal that issued the code, for the payer.
    Terminal(TerminalId),
    /// The server's clock.
    Clock,
}

/// A hold or a step-up ends.
#[derive(Clone, Debug)]
pub struct Close {
    /// Id of the closing, made by the server.
    pub payment: PaymentId,
    /// Who asks.
    pub by: Party,
    /// Which payment.
    pub target: Target,
    /// How.
    pub ending: Ending,
}

/// A payer takes a payment back, or asks for it.
#[derive(Clone, Debug)]
pub struct Undo {
    /// Id of the undo, made by the server.
    pub payment: PaymentId,
    /// Whose payment it must be.
    pub account: AccountId,
    /// Which payment.
    pub target: PaymentId,
}

/// A merchant or the operator decides about a frozen undo.
#[derive(Clone, Debug)]
pub struct DecideUndo {
    /// Id of the decision, made by the server.
    pub payment: PaymentId,
    /// Which payment was asked back.
    pub target: PaymentId,
    /// The merchant that decides, or `None` for the operator.
    pub merchant: Option<MerchantId>,
    /// Who at the operator.
    pub actor: Option<KeyId>,
    /// Give the money back, or keep it.
    pub granted: bool,
}

text_enum! {
    /// What a wallet is for. An account has one of each at most, per currency.
    Purpose {
        /// The payer's own money.
        Own = "own",
        /// Money that the operator grants, for goods only; spent first.
        Subsidy = "subsidy",
    }
}

/// The operator pays money into a wallet.
#[derive(Clone, Debug)]
pub struct TopUp {
    /// Id of the movement if it succeeds, made by the server.
    pub payment: PaymentId,
    /// Whose wallet.
    pub account: AccountId,
    /// Which of the account's wallets; decides where the money comes from.
    pub purpose: Purpose,
    /// The operator's own reference: the idempotency key.
    pub top_up_ref: Reference,
    /// How much.
    pub amount: Amount,
    /// Who at the operator.
    pub actor: Option<KeyId>,
}

/// The operator pays money out of a wallet.
#[derive(Clone, Debug)]
pub struct Withdraw {
    /// Id of the movement if it succeeds, made by the server.
    pub payment: PaymentId,
    /// Whose wallet.
    pub account: AccountId,
    /// The operator's own reference: the idempotency key.
    pub withdrawal_ref: Reference,
    /// How much.
    pub amount: Amount,
    /// Who at the operator.
    pub actor: Option<KeyId>,
}

/// Whose balance an adjustment corrects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusted {
    /// A payer's own wallet.
    Account(AccountId),
    /// A merchant.
    Merchant(MerchantId),
}

/// The operator proposes a correction. Nothing moves until a second person approves.
#[derive(Clone, Debug)]
pub struct Adjust {
    /// Id of the adjustment, made by the server.
    pub payment: PaymentId,
    /// The operator's own reference: the idempotency key.
    pub adjustment_ref: Reference,
    /// Whose balance.
    pub adjusted: Adjusted,
    /// Raise the balance, or lower it.
    pub raise: bool,
    /// By how much.
    pub amount: Amount,
    /// Who proposes.
    pub actor: KeyId,
}

/// A second person decides about an adjustment.
#[derive(Clone, Debug)]
pub struct DecideAdjustment {
    /// Id of the decision, made by the server.
    pub payment: PaymentId,
    /// Which adjustment.
    pub adjustment: PaymentId,
    /// Move the money, or drop it.
    pub approved: bool,
    /// Who decides.
    pub actor: KeyId,
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub enum Request {
    /// A merchant charges a code.
    Charge(Charge),
    /// A merchant makes sure that an order is not paid.
    Reverse(Reverse),
    /// A merchant gives money back.
    Refund(Refund),
    /// A hold or a step-up ends.
    Close(Close),
    /// A payer takes a payment back.
    Undo(Undo),
    /// Somebody decides about a frozen undo.
    DecideUndo(DecideUndo),
    /// Money is paid into a wallet.
    TopUp(TopUp),
    /// Money is paid out of a wallet.
    Withdraw(Withdraw),
    /// A correction is proposed.
    Adjust(Adjust),
    /// A second person decides about it.
    DecideAdjustment(DecideAdjustment),
}

impl Request {
    /// The caller's own reference with its scope, for requests that carry one of their own.
    pub fn idempotency_key(&self) -> Option<IdempotencyKey> {
        let operator = |kind, reference: &Reference| IdempotencyKey {
            caller: Caller::Operator,
            kind,
            reference: reference.clone(),
        };
        match self {
            Request::Charge(charge) => Some(IdempotencyKey::order(charge.merchant, charge.order_ref.clone())),
            Request::Refund(refund) => Some(IdempotencyKey {
                caller: Caller::Merchant(refund.merchant),
                kind: Kind::Refund,
                reference: refund.refund_ref.clone(),
            }),
            Request::TopUp(top_up) => Some(operator(Kind::TopUp, &top_up.top_up_ref)),
            Request::Withdraw(withdraw) => Some(operator(Kind::Withdrawal, &withdraw.withdrawal_ref)),
            Request::Adjust(adjust) => Some(operator(Kind::Adjustment, &adjust.adjustment_ref)),
            Request::Reverse(_)
            | Request::Close(_)
            | Request::Undo(_)
            | Request::DecideUndo(_)
            | Request::DecideAdjustment(_) => None,
        }
    }

    /// The earlier payment that this request is about.
    pub fn target(&self) -> Option<Target> {
        match self {
            Request::Reverse(reverse) => Some(Target::Order(reverse.order_ref.clone())),
            Request::Refund(refund) => Some(refund.target.clone()),
            Request::Close(close) => Some(close.target.clone()),
            Request::Undo(undo) => Some(Target::Payment(undo.target)),
            Request::DecideUndo(decision) => Some(Target::Payment(decision.target)),
            Request::DecideAdjustment(decision) => Some(Target::Payment(decision.adjustment)),
            Request::Charge(_) | Request::TopUp(_) | Request::Withdraw(_) | Request::Adjust(_) => None,
        }
    }

    /// The merchant that asks, if it is one.
    pub fn merchant(&self) -> Option<MerchantId> {
        match self {
            Request::Charge(charge) => Some(charge.merchant),
            Request::Reverse(reverse) => Some(reverse.merchant),
            Request::Refund(refund) => Some(refund.merchant),
            Request::Close(Close { by: Party::Merchant(merchant), .. }) => Some(*merchant),
            Request::DecideUndo(decision) => decision.merchant,
            _ => None,
        }
    }

    /// The terminal that asks, if it is one.
    pub fn terminal(&self) -> Option<TerminalId> {
        match self {
            Request::Close(Close { by: Party::Terminal(terminal), .. }) => Some(*terminal),
            _ => None,
        }
    }

    /// The account that is named outright.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Request::Undo(undo) => Some(undo.account),
            Request::TopUp(top_up) => Some(top_up.account),
            Request::Withdraw(withdraw) => Some(withdraw.account),
            Request::Adjust(Adjust { adjusted: Adjusted::Account(account), .. }) => Some(*account),
            _ => None,
        }
    }
}
