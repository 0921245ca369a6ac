// Generated from docs/openapi/kiosk.json by scripts/api-types.mjs: do not edit.

/** `GET /v1/camera?after=..&wait_ms=..` (long poll): whether the page has to have its camera on. */
export type CameraWish = {
  /** On, or off with its light out. */
  on: boolean;
  /** Raised by every change. */
  sequence: number;
};

/** What came of a cancel after the payer had passed. */
export type CancelResult = "in_time" | "too_late";

/** Everything that keeps a verification from its conclusion. */
export type FailureCode = "payer_absent" | "caller_gone" | "verifier_unavailable" | "verifier_lost" | "capture_unavailable" | "image_invalid" | "seal_broken" | "clock_skew" | "terminal_not_active" | "signer_unavailable" | "journal_unwritable" | "internal" | "server_unreachable" | "server_unavailable" | "matcher_unavailable" | "matcher_busy" | "code_issue_failed" | "register_missing" | "num_lock_off" | "handover_failed" | "handover_uncertain" | "refused_by_server";

/** Colours that the screen shows one after the other, each for `step_ms` milliseconds. */
export type FlashChallenge = {
  /** `red`, `green` or `blue`. */
  colours: string[];
  /** How long each stands, in milliseconds. */
  step_ms: number;
};

/** `POST /v1/frames?at_ms=..` with a JPEG body (`image/jpeg`): the camera's page offers a frame. `at_ms` counts from the page's first frame, with a challenge from the moment that its first colour came up. Answered with this. */
export type FrameAnswer = {
  /** Enough is there: send no more. */
  enough: boolean;
  /** What the payer should do, e.g. `too_far`. */
  guidance?: string;
  /** The frame was good enough to be kept. */
  kept: boolean;
};

/** Where a hand-over stands. Whether the code was charged is told by the session's `payment`. */
export type HandoverState = "sending" | "sent" | "uncertain" | "failed";

/** What the payer gave to say who they are. */
export type Identifier = {
  /** `phone`, `phone_last4` or `member_number`. */
  kind: string;
  /** What was typed. */
  value: string;
};

/** `POST /v1/kiosk/confirmation`: the payer agrees to merchant and exact amount of the payment that waits. */
export type KioskConfirmation = {
  /** The PIN as typed; absent: a gesture. */
  pin?: Secret;
  /** The session. */
  session: string;
};

/** A code that was handed over; never its digits. */
export type KioskHandover = {
  /** Until when the code lives. */
  expires_at: string;
  /** Where it went. `screen`: the page shows its picture, `GET /v1/kiosk/code.png`. */
  register: RegisterKind;
  /** Whether it went out. */
  state: HandoverState;
};

/** `POST /v1/kiosk/identifier`: what the payer typed. */
export type KioskIdentifier = {
  /** What was typed. */
  identifier: Identifier;
  /** The session. */
  session: string;
};

/** `POST /v1/kiosk/open`: makes the browser that asks this terminal's page; the one before is none any more. Answered with a cookie that scripts cannot read. */
export type KioskOpening = {
  /** The key. */
  key: Secret;
};

/** What became of a code at the till. */
export type KioskPayment = {
  /** How much. */
  amount: Money;
  /** The payer has asked for it back, and nobody has decided yet. */
  asked_back: boolean;
  /** Until when the payer may agree; while `requires_action`. */
  expires_at?: string;
  /** Whether a gesture is enough to agree; else only the PIN is. */
  gesture_confirms: boolean;
  /** Whether the payer may ask for it back here, for the merchant or the operator to decide. */
  may_ask_back: boolean;
  /** Who charged. */
  merchant_name: string;
  /** All of it went back to the payer. */
  returned: boolean;
  /** Where it stands. `requires_action`: the payer must agree. */
  status: PaymentStatus;
  /** Until when the payer may take it back here, if that is possible. */
  undo_until?: string;
};

/** What the page shows of a verification. */
export type KioskSession = {
  /** What came of a cancel after the payer had passed. */
  cancel?: CancelResult;
  /** What to light the face with. */
  challenge?: FlashChallenge;
  /** Why; when it failed. */
  error?: FailureCode;
  /** What the payer should do; a code of docs/interface.md. */
  guidance?: string;
  /** Whether the code is handed over when somebody presses the button here. */
  hand_over_here: boolean;
  /** The last hand-over, if there was one. */
  handover?: KioskHandover;
  /** The session. */
  id: string;
  /** Whether the payer may have more time. */
  may_have_more_time: boolean;
  /** What is captured. */
  modality: string;
  /** How it ended; when `done`. */
  outcome?: Outcome;
  /** Until when a code can be handed over; when passed. */
  pass_expires_at?: string;
  /** First character of the payer's name and stars; when passed. */
  payer_display?: string;
  /** What became of it at the till. */
  payment?: KioskPayment;
  /** Where it stands. */
  state: SessionState;
  /** Until when the payer is waited for. */
  waits_until?: string;
};

/** `GET /v1/kiosk/events`: everything that the page shows, now and after every change. */
export type KioskView = {
  /** Where the camera's frames go, and when it has to be on: to the verification program, and through nobody else. */
  camera?: PageAddress;
  /** The camera is the terminal's own: the page has no picture of it to show. */
  has_own_camera: boolean;
  /** The language that the operator has set; the payer may change it. */
  language: Language;
  /** What can be captured here. */
  modalities: string[];
  /** While it is in maintenance, what the operator says of it. */
  notice?: string;
  /** Whose terminal this is; unknown until the server has said so. */
  place?: Place;
  /** The payer who is there, or was last. */
  session?: KioskSession;
  /** Whether it would take a request now. */
  state: TerminalState;
  /** The terminal. */
  terminal: string;
};

/** `POST /v1/kiosk/way`: the payer would rather be verified in another way, or in the first one after all. */
export type KioskWay = {
  /** The session. */
  session: string;
  /** Which. */
  way: Way;
};

/** Language of the guidance. */
export type Language = "en" | "zh-CN";

/** One leg of a payment. */
export type Leg = {
  /** Minor units. */
  amount_minor: number;
  /** `goods`, `tip` or `deposit`. */
  part: string;
};

/** An amount of money. */
export type Money = {
  /** ISO 4217 code. */
  currency: string;
  /** Minor units, 1 to 1,000,000,000,000. */
  minor: number;
};

/** Names the session that the page showed when the payer acted, so that nobody acts for the next payer. */
export type OfSession = {
  /** The session. */
  session: string;
};

/** How a session ended. Exactly one, never changed afterwards. */
export type Outcome = "passed" | "declined" | "canceled" | "timed_out" | "failed" | "unknown";

/** Where a page reaches the verification program. */
export type PageAddress = {
  /** What it shows as `Authorization: Bearer TOKEN`; another one after each start. */
  token: Secret;
  /** For example `http://127.0.0.1:8703`. */
  url: string;
};

/** A payment. */
export type Payment = {
  /** How much was asked for. */
  amount: Money;
  /** When the server decided. */
  created_at: string;
  /** When it ends by itself; while it is `pending` or `requires_action`. */
  expires_at?: string;
  /** What the payer asked back and nobody has decided about, minor units. */
  frozen_minor?: number;
  /** The payment. */
  id: string;
  /** `charge`, `refund`, `top_up`, `withdrawal` or `adjustment`. */
  kind: string;
  /** Its legs, in order. */
  legs?: Leg[];
  /** The merchant that was paid. */
  merchant?: string;
  /** What was really paid so far, minor units. */
  paid_minor?: number;
  /** The payment that this one refunds. */
  parent?: string;
  /** The number on its receipt, which starts a refund. */
  receipt?: string;
  /** The caller's own reference. */
  reference: string;
  /** What went back to the payer, minor units. */
  returned_minor?: number;
  /** Where it stands. Only `succeeded` means that the money has moved. */
  status: PaymentStatus;
  /** The terminal that issued the code. */
  terminal?: string;
  /** Stages of this request, in microseconds; empty for replays and look-ups. */
  timings: { [name: string]: number };
};

/** Where a payment stands. */
export type PaymentStatus = "succeeded" | "pending" | "requires_action" | "canceled" | "expired" | "reversed";

/** `POST /v1/pin`: number and PIN instead of a sample. */
export type PinInput = {
  /** `phone` or `member_number`, whole. */
  identifier: Identifier;
  /** As typed. */
  pin: Secret;
  /** The terminal's session. */
  session: string;
};

/** Whose terminal this is, in names that payers know. */
export type Place = {
  /** Name of the merchant. */
  merchant_name: string;
  /** Name of the store. */
  store_name: string;
};

/** A problem document. */
export type Problem = {
  /** Stable code for programs. */
  code: ProblemCode;
  /** Why the money could not be moved; with `payment_declined` only. */
  decline_code?: string;
  /** What exactly was wrong here. */
  detail?: string;
  /** The earlier payment; with `reference_conflict` only. */
  payment?: Payment;
  /** When trying again makes sense; with `busy`. */
  retry_after_ms?: number;
  /** The server's time, with `signature_expired` only, so that a terminal can correct its clock. */
  server_time?: string;
  /** HTTP status. */
  status: number;
  /** One line for people. */
  title: string;
  /** Stable address of the explanation; ends in the code. */
  type: string;
};

/** Every refusal that our interfaces can answer with. */
export type ProblemCode = "invalid_request" | "wrong_id_kind" | "idempotency_key_not_supported" | "unauthenticated" | "signature_invalid" | "signature_expired" | "signature_replayed" | "payment_declined" | "forbidden" | "terminal_retired" | "terminal_locked" | "foreign_host" | "foreign_origin" | "pairing_closed" | "not_found" | "route_not_found" | "method_not_allowed" | "request_timeout" | "reference_conflict" | "order_reversed" | "order_closed" | "payment_expired" | "same_person" | "verification_required" | "invalid_state" | "busy" | "duplicate_biometric" | "duplicate_identifier" | "payload_too_large" | "unsupported_media_type" | "code_malformed" | "code_not_found" | "code_already_used" | "code_revoked" | "code_expired" | "currency_mismatch" | "parts_do_not_add_up" | "not_refundable" | "reversal_too_late" | "capture_above_hold" | "refund_above_paid" | "pin_required" | "pin_wrong" | "pin_locked" | "pin_missing" | "pin_weak" | "balance_out_of_range" | "nothing_to_settle" | "consent_missing" | "sensor_grade_refused" | "sample_rejected" | "activation_refused" | "register_not_configured" | "pairing_refused" | "certificate_name_refused" | "too_many_attempts" | "internal" | "unavailable" | "outcome_unknown" | "terminal_maintenance" | "matcher_unavailable" | "matcher_busy";

/** A way to the register. */
export type RegisterKind = "return" | "screen" | "keyboard" | "serial" | "tcp" | "websocket";

/** A secret that is shown once, never printed, and wiped when it is dropped. */
export type Secret = string;

/** Where a session stands. `done` is final. */
export type SessionState = "waking" | "awaiting_identifier" | "capturing" | "awaiting_pin" | "verifying" | "done";

/** Whether a terminal would take a request. */
export type TerminalState = "ready" | "busy" | "degraded" | "offline" | "maintenance" | "locked";

/** How a payer is verified. */
export type Way = "sample" | "pin";

/** What is called, with what, and what comes back. */
export interface Operations {
  'POST /v1/kiosk/cancel': { body: OfSession; answer: undefined };
  'GET /v1/kiosk/code.png': { body: undefined; answer: undefined };
  'POST /v1/kiosk/confirmation': { body: KioskConfirmation; answer: undefined };
  'GET /v1/kiosk/events': { body: undefined; answer: undefined };
  'POST /v1/kiosk/handover': { body: OfSession; answer: undefined };
  'POST /v1/kiosk/identifier': { body: KioskIdentifier; answer: undefined };
  'POST /v1/kiosk/more-time': { body: OfSession; answer: undefined };
  'POST /v1/kiosk/open': { body: KioskOpening; answer: undefined };
  'POST /v1/kiosk/pin': { body: PinInput; answer: undefined };
  'POST /v1/kiosk/undo': { body: OfSession; answer: undefined };
  'POST /v1/kiosk/way': { body: KioskWay; answer: undefined };
}
