// Generated from docs/openapi/desk.json by scripts/api-types.mjs: do not edit.

/** `GET /v1/captures/current?after=..&wait_ms=..` (long poll). */
export type Capture = {
  /** The enrolment, when `enrolled`. */
  enrolment?: Enrolment;
  /** What the person should do: a code of docs/interface.md. */
  guidance?: string;
  /** Which sample is being taken, from 1. */
  number: number;
  /** How many there will be. */
  of: number;
  /** Why not, when `refused` or `failed`. */
  problem?: Problem;
  /** Raised by every change. */
  sequence: number;
  /** Where it stands. */
  state: CaptureState;
};

/** Where a capture stands. */
export type CaptureState = "capturing" | "sending" | "enrolled" | "refused" | "timed_out" | "canceled" | "failed";

/** `GET /v1/desk`: which desk this is and what it can capture. */
export type DeskStatus = {
  /** What it can capture: `finger`, `face`. */
  modalities: string[];
  /** Where from, in the same order: `external`, `synthetic`, `browser`, `posted` or `file`. Of `browser` and `posted` the page brings the frames. */
  sources: string[];
  /** The terminal, to open enrolments for. */
  terminal: string;
};

/** An enrolment. */
export type Enrolment = {
  /** Who is enrolled. */
  account: string;
  /** The consent that allows it. */
  consent: string;
  /** Until when samples are awaited. */
  expires_at: string;
  /** The enrolment. */
  id: string;
  /** Which one of several. */
  instance: number;
  /** What is captured. */
  modality: string;
  /** The nonce for the samples; while `capturing`. */
  nonce?: string;
  /** `capturing`, `review` (somebody enrolled looks much alike: staff decide), `active` or `revoked`. */
  state: string;
  /** Templates stored; when `active`. */
  templates: number;
};

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

/** `POST /v1/captures`: take samples and send them. A capture that is going on ends. */
export type NewCapture = {
  /** The enrolment as the server answered it, with its nonce. */
  enrolment: Enrolment;
};

/** A capture that was begun. */
export type OpenedCapture = {
  /** Where it stands. */
  capture: Capture;
  /** Sent as `Authorization: Bearer KEY` with all that belongs to this capture: frames, looks, cancel. */
  key: string;
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
  timings: { [key: string]: number };
};

/** Where a payment stands. */
export type PaymentStatus = "succeeded" | "pending" | "requires_action" | "canceled" | "expired" | "reversed";

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

/** What is called, with what, and what comes back. */
export interface Operations {
  'POST /v1/captures': { body: NewCapture; answer: OpenedCapture };
  'GET /v1/captures/current': { body: undefined; answer: Capture };
  'POST /v1/captures/current/cancel': { body: undefined; answer: Capture };
  'GET /v1/desk': { body: undefined; answer: DeskStatus };
}
