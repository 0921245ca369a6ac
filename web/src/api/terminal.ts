// Generated from docs/openapi/terminal.json by scripts/api-types.mjs: do not edit.

/** A register that asks to be let in. The code is for the screen only. */
export type AskingRegister = {
  /** Where it is. */
  address: string;
  /** The eight digits that whoever stands here types into the register. */
  code: string;
  /** How long the code is good, in milliseconds. */
  expires_in_ms: number;
  /** What it calls itself. */
  name: string;
  /** Wrong codes that are left. */
  tries_left: number;
};

/** `GET /v1/events`: the whole terminal. */
export type Board = {
  /** The session that began last; without a code's digits. */
  session?: Session;
  /** The terminal. */
  terminal: TerminalStatus;
};

/** Where a camera stands that the verification program opens itself. */
export type CameraState = "off" | "opening" | "on" | "missing" | "busy" | "denied" | "unsuitable" | "silent" | "failed";

/** How the camera fares that the verification program opens itself. */
export type CameraStatus = {
  /** What the operating system says, with a fault. */
  detail?: string;
  /** What it gave when it was open last. */
  format?: string;
  /** Frames since the program started. */
  frames: number;
  /** Where it stands. */
  state: CameraState;
};

/** `POST /v1/verifications/{id}/cancel`. */
export type Cancel = {
  /** Who cancelled. */
  reason: CancelReason;
};

/** Who cancelled. */
export type CancelReason = "cashier" | "payer" | "pos_shutdown";

/** What came of a cancel after the payer had passed. */
export type CancelResult = "in_time" | "too_late";

/** Whence a terminal has its configuration. */
export type ConfigurationSource = "server" | "kept" | "default";

/** `POST /v1/verifications/{id}/confirmation`: the payer agrees to merchant and exact amount of the session's `payment`. For the terminal's own screen; a cash register never sees a PIN. */
export type Confirmation = {
  /** The PIN as typed; absent: a gesture on the screen. */
  pin?: Secret;
};

/** `POST /v1/handover`, the terminal's button: hands over the code of the payer who has passed; the same code again while it lives. */
export type CurrentHandover = {
  /** Another register than the request named. */
  register?: RegisterKind;
};

/** How long things take, in milliseconds. */
export type Delays = {
  /** How long the other payer of `busy` stays. 0 to 60,000. */
  busy_ms?: number;
  /** The payer, for each step: typing, presenting finger or face, cancelling. 0 to 60,000. */
  payer_ms?: number;
  /** Each answer of the server in `server_slow`. 0 to 1,800. */
  server_ms?: number;
};

/** `GET /v1/diagnostics`. */
export type Diagnostics = {
  /** Times within which things must happen, in milliseconds. */
  budgets_ms: { [name: string]: number };
  /** By how much this machine's clock is corrected, in milliseconds. */
  clock_correction_ms: number;
  /** The latest sessions, newest first. */
  latest: SessionDiagnostics[];
  /** Sessions of the last 24 hours by outcome. */
  outcomes: { [name: string]: number };
  /** The payment server's address. */
  server: string;
  /** What the payment server said last over the channel: `active`, `locked`, `retired`; absent while it is not connected. */
  standing?: string;
  /** The terminal. */
  terminal: string;
  /** How long this process runs, in seconds. */
  uptime_seconds: number;
  /** The verification program, if it answers. */
  verifier?: VerifierDiagnostics;
  /** Software version. */
  version: string;
};

/** Whom to look at. */
export type ErrorClass = "integration" | "payer" | "device" | "network" | "server";

/** What a register must see of the hand-over of a pass. */
export type ExpectedHandover = "none" | "code" | "code_on_second_try" | "uncertain_then_code";

/** Everything that keeps a verification from its conclusion. */
export type FailureCode = "payer_absent" | "caller_gone" | "verifier_unavailable" | "verifier_lost" | "capture_unavailable" | "image_invalid" | "seal_broken" | "clock_skew" | "terminal_not_active" | "signer_unavailable" | "journal_unwritable" | "internal" | "server_unreachable" | "server_unavailable" | "matcher_unavailable" | "matcher_busy" | "code_issue_failed" | "register_missing" | "num_lock_off" | "handover_failed" | "handover_uncertain" | "refused_by_server";

/** A code that was handed over. */
export type Handover = {
  /** Names the code without its digits. */
  code_id: string;
  /** The same for people who look after the terminal, in English. */
  detail?: string;
  /** The 18 digits, for as long as the code lives and is not replaced; with a hand-over to `return` only. */
  digits?: string;
  /** Why not, or why that is not known; when `failed` or `uncertain`. */
  error?: FailureCode;
  /** Until when the code lives. */
  expires_at: string;
  /** Where it went. */
  register: RegisterKind;
  /** Whether it went out. */
  state: HandoverState;
};

/** When the code is asked for and handed over. */
export type HandoverMode = "immediate" | "on_request";

/** How the code gets to the register. */
export type HandoverPlan = {
  /** When; absent: the terminal's default. */
  mode?: HandoverMode;
  /** Which register; absent: the terminal's default. */
  register?: RegisterKind;
};

/** `POST /v1/verifications/{id}/handover`: asks the server for the code now and hands it over. Again: a new code, the earlier one is revoked. */
export type HandoverRequest = {
  /** Shorter life than configured, in seconds. */
  lifetime_seconds?: number;
  /** Another register than the request named. */
  register?: RegisterKind;
  /** The same code once more, while it lives: no new one is asked for. */
  resend?: boolean;
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

/** `POST /v1/kiosk-keys` on the terminal's socket: a key with which one browser can be made this terminal's page. */
export type KioskKey = {
  /** How long the key is good, in milliseconds; it opens once. */
  expires_in_ms: number;
  /** What the browser opens. The key is behind the `#`: it is never sent when the page is loaded. */
  url: Secret;
};

/** One leg of a payment. */
export type Leg = {
  /** Minor units. */
  amount_minor: number;
  /** `goods`, `tip` or `deposit`. */
  part: string;
};

/** The terminal takes no requests, on the operator's word. */
export type Maintenance = {
  /** What the cashier reads, at most 120 characters. */
  text?: string;
};

/** An amount of money. */
export type Money = {
  /** ISO 4217 code. */
  currency: string;
  /** Minor units, 1 to 1,000,000,000,000. */
  minor: number;
};

/** `POST /v1/pairings`: a register wants to be let in. */
export type NewPairing = {
  /** What the people at the terminal call this register, 1 to 40 characters. */
  name: string;
};

/** `POST /v1/simulator`: what happens to the verifications that begin from now on. */
export type NewScenario = {
  /** How long things take; absent: as usual. */
  delays?: Delays;
  /** For how many verifications, 1 to 1,000,000; then `pass` again. Absent: until another one is chosen. */
  repeat?: number;
  /** Which scenario. */
  scenario: Scenario;
};

/** `POST /v1/verifications`: a payment operation request. */
export type NewSession = {
  /** How long it may take, 1,000 to 180,000; absent: what the operator has set, 60,000 unless that is changed. */
  deadline_ms?: number;
  /** How the code gets to the register. */
  handover?: HandoverPlan;
  /** What the payer gave, if the caller took it; else the terminal's own pad asks. */
  identifier?: Identifier;
  /** Cancel when the caller has neither waited for news nor asked for them for so long, 2,000 to 30,000: for callers that may go away. Absent: only the deadline ends it. */
  lease_ms?: number;
  /** What to capture. */
  modality: string;
  /** The caller's own reference. The same again with the same content answers the same session, for 24 hours. */
  request_id: string;
};

/** How a session ended. Exactly one, never changed afterwards. */
export type Outcome = "passed" | "declined" | "canceled" | "timed_out" | "failed" | "unknown";

/** A register that was let in. */
export type Paired = {
  /** The register. */
  id: string;
  /** The terminal to which it belongs. */
  terminal: string;
  /** Sent as `Authorization: Bearer TOKEN` from now on. Shown this once. */
  token: string;
};

/** A pairing that waits for its code. */
export type Pairing = {
  /** How long the code on the terminal's screen is good, in milliseconds. */
  expires_in_ms: number;
  /** The pairing. */
  id: string;
  /** Wrong codes that are left. */
  tries_left: number;
};

/** `POST /v1/pairings/{id}/complete`: the code from the terminal's screen. */
export type PairingCode = {
  /** Eight digits; spaces and dashes do not matter. */
  code: string;
};

/** What the terminal's own screen shows of the pairing. */
export type PairingWindow = {
  /** The register that asks now. */
  asking?: AskingRegister;
  /** How long registers may still ask, in milliseconds; 0 when the window is closed. */
  closes_in_ms: number;
  /** The register that was let in through this window, which closed it. */
  paired?: Register;
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

/** `POST /v1/prepare`: the till expects a payer soon, for example because the first item was scanned. */
export type Prepare = { [name: string]: never };

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

/** What keeps a terminal from its work. */
export type Reason = "verifier_unavailable" | "capture_unavailable" | "camera_unavailable" | "disk_full" | "clock_skew" | "register_unavailable" | "server_unreachable";

/** `GET /v1/simulator/record`: the latest calls, the oldest first. */
export type Record = {
  /** The calls. */
  data: RecordedCall[];
};

/** A request of the register and what it got. Without secrets: of a code's digits only the last four, of identifiers and PINs nothing. */
export type RecordedCall = {
  /** The answer; absent if it was no JSON, for example a stream. */
  answer?: unknown;
  /** When it came. */
  at: string;
  /** How long the answer took, in milliseconds. */
  duration_ms: number;
  /** The HTTP method. */
  method: string;
  /** Path and query. */
  path: string;
  /** The body; absent if there was none or it was no JSON. */
  request?: unknown;
  /** The HTTP status. */
  status: number;
};

/** A paired register, as the terminal lists it. */
export type Register = {
  /** When it was paired. */
  created_at: string;
  /** The register. */
  id: string;
  /** Its name. */
  name: string;
};

/** A way to the register. */
export type RegisterKind = "return" | "screen" | "keyboard" | "serial" | "tcp" | "websocket";

/** A way to the register that a terminal has. */
export type RegisterOffer = {
  /** Whether requests that name no way mean this one. */
  is_default: boolean;
  /** When codes are handed over unless a request says so. */
  mode: HandoverMode;
  /** Which. */
  register: RegisterKind;
  /** Whether a till seems to be there. */
  state: RegisterState;
};

/** Whether a till seems to be at the other end. */
export type RegisterState = "ready" | "missing";

/** `GET /v1/registers`. */
export type Registers = {
  /** All of them, oldest first. */
  data: Register[];
};

/** What happens to a verification at a simulated terminal. */
export type Scenario = "pass" | "pass_after_hint" | "not_recognised" | "ambiguous" | "liveness_fail" | "payer_walks_away" | "payer_cancels" | "camera_unplugged" | "server_down" | "server_slow" | "answer_lost_after_issue" | "handover_stuck" | "busy" | "clock_skew";

/** A scenario, and what a register must see of it. */
export type ScenarioDescription = {
  /** The session's error. `payer_absent` is missing when the caller's own deadline comes first. */
  error?: FailureCode;
  /** What comes of the hand-over. */
  handover: ExpectedHandover;
  /** What happens at the terminal. */
  happens: string;
  /** How the session ends; always in this way. */
  outcome: Outcome;
  /** What a good register does. */
  register: string;
  /** Which one. */
  scenario: Scenario;
};

/** A secret that is shown once, never printed, and wiped when it is dropped. */
export type Secret = string;

/** A verification as the register sees it. */
export type Session = {
  /** What came of a cancel after the payer had passed. */
  cancel?: CancelResult;
  /** When the terminal gives up. */
  deadline_at: string;
  /** Why; when `failed`, when nobody came, or when a code that was to be handed over at once could not be. */
  error?: SessionError;
  /** What the payer should do, e.g. `press_harder`; while it is known. docs/interface.md lists all codes. */
  guidance?: string;
  /** The same in words, in the language that the operator has set. */
  guidance_text?: string;
  /** The last hand-over, if there was one. */
  handover?: Handover;
  /** The session. */
  id: string;
  /** How it ended; when `done`. */
  outcome?: Outcome;
  /** Until when codes can be handed over; when `passed`. */
  pass_expires_at?: string;
  /** First character of the payer's name and stars; when `passed`. */
  payer_display?: string;
  /** What became of it at the till, as soon as the server says so; may still change after `done`. */
  payment?: TerminalPayment;
  /** The caller's own reference. */
  request_id: string;
  /** Raised by every change; for long polls. */
  sequence: number;
  /** Where it stands. */
  state: SessionState;
  /** Stages in microseconds. */
  timings: { [name: string]: number };
};

/** How a session went. */
export type SessionDiagnostics = {
  /** When the terminal would have given up. */
  deadline_at: string;
  /** Why it was not concluded. */
  error?: FailureCode;
  /** How it ended; absent while it goes on. */
  outcome?: Outcome;
  /** The session; its id carries the time of its beginning. */
  session: string;
  /** Stages in microseconds. */
  timings: { [name: string]: number };
};

/** Why a session was not concluded. */
export type SessionError = {
  /** Whom to look at. */
  class: ErrorClass;
  /** Stable code. */
  code: FailureCode;
  /** Whether the same request may go through if it is made again under a new `request_id`. */
  retryable: boolean;
};

/** Where a session stands. `done` is final. */
export type SessionState = "waking" | "awaiting_identifier" | "capturing" | "awaiting_pin" | "verifying" | "done";

/** `GET /v1/simulator`. */
export type SimulatorState = {
  /** What happens to the next verification. */
  next: NewScenario;
  /** All that can be chosen. */
  scenarios: ScenarioDescription[];
};

/** What became of a code at the till: for the terminal's screen, after the amount is known. */
export type TerminalPayment = {
  /** How much. */
  amount: Money;
  /** Until when the payer may agree; while `requires_action`. */
  expires_at?: string;
  /** What the payer asked back and nobody has decided about, minor units. */
  frozen_minor?: number;
  /** Whether a gesture on the screen is enough to agree; else only the PIN is. */
  gesture_confirms: boolean;
  /** Whether the payer may ask for it back here: it is held back from the merchant until somebody has decided. */
  may_ask_back?: boolean;
  /** Who charged. */
  merchant_name: string;
  /** The payment. */
  payment: string;
  /** The number on its receipt. */
  receipt?: string;
  /** What went back of it, minor units. */
  returned_minor?: number;
  /** Where it stands. `requires_action`: the payer must agree here to merchant and exact amount. */
  status: PaymentStatus;
  /** Until when the payer may take it back here; where the merchant lets payers, and while it stands. */
  undo_until?: string;
  /** The verification behind its code. */
  verification: string;
};

/** Whether a terminal would take a request. */
export type TerminalState = "ready" | "busy" | "degraded" | "offline" | "maintenance" | "locked";

/** `GET /v1/terminal`. */
export type TerminalStatus = {
  /** How far this machine's clock is ahead of the server's, in milliseconds, as measured last. */
  clock_skew_ms?: number;
  /** Whence it has its configuration. */
  configuration_source?: ConfigurationSource;
  /** While `maintenance`, or locked in the middle of one: what the operator says of it. */
  maintenance?: Maintenance;
  /** What it can capture. */
  modalities: string[];
  /** What keeps it from its work: stable codes, those that weigh most first. */
  reasons?: Reason[];
  /** Ways to the register that are configured. */
  registers: RegisterOffer[];
  /** Whether the payment server is there: the channel to it is open. */
  server_reachable?: boolean;
  /** Whether a request would be taken now. */
  state: TerminalState;
  /** The terminal. */
  terminal: string;
  /** The session whose payment waits for the payer here. */
  to_confirm?: string;
  /** Software version. */
  version: string;
};

/** The verification program. */
export type VerifierDiagnostics = {
  /** How long it took to answer, in microseconds. */
  answered_us: number;
  /** The camera that it opens itself, if there is one. */
  camera?: CameraStatus;
  /** What it counts since it started. */
  counters: { [name: string]: number };
  /** Kinds of sources. */
  sources: string[];
};

/** What is called, with what, and what comes back. */
export interface Operations {
  'GET /v1/diagnostics': { body: undefined; answer: Diagnostics };
  'GET /v1/events': { body: undefined; answer: undefined };
  'POST /v1/handover': { body: CurrentHandover; answer: Session };
  'POST /v1/kiosk-keys': { body: undefined; answer: KioskKey };
  'GET /v1/pairing-window': { body: undefined; answer: PairingWindow };
  'POST /v1/pairing-window': { body: undefined; answer: PairingWindow };
  'POST /v1/pairing-window/close': { body: undefined; answer: PairingWindow };
  'POST /v1/pairings': { body: NewPairing; answer: Pairing };
  'POST /v1/pairings/{id}/complete': { body: PairingCode; answer: Paired };
  'POST /v1/prepare': { body: Prepare; answer: undefined };
  'GET /v1/registers': { body: undefined; answer: Registers };
  'POST /v1/registers/{id}/unpair': { body: undefined; answer: undefined };
  'GET /v1/simulator': { body: undefined; answer: SimulatorState };
  'POST /v1/simulator': { body: NewScenario; answer: SimulatorState };
  'GET /v1/simulator/record': { body: undefined; answer: Record };
  'GET /v1/terminal': { body: undefined; answer: TerminalStatus };
  'POST /v1/verifications': { body: NewSession; answer: Session };
  'GET /v1/verifications/{id}': { body: undefined; answer: Session };
  'POST /v1/verifications/{id}/cancel': { body: Cancel; answer: Session };
  'POST /v1/verifications/{id}/confirmation': { body: Confirmation; answer: Session };
  'GET /v1/verifications/{id}/events': { body: undefined; answer: undefined };
  'POST /v1/verifications/{id}/handover': { body: HandoverRequest; answer: Session };
  'GET /v1/verifications/{id}/screen.png': { body: undefined; answer: undefined };
}
