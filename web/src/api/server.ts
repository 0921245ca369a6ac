// Generated from docs/openapi/server.json by scripts/api-types.mjs: do not edit.

/** An account as the operator sees it. */
export type Account = {
  /** When it was made. */
  created_at: string;
  /** The person's name. */
  display_name: string;
  /** The account. */
  id: string;
  /** Whether it may pay. */
  state: string;
  /** Its money. */
  wallets: Wallet[];
};

/** `POST /v1/accounts/search` (operator): who has this identifier. By `POST`, so that no phone number is in an address. Answers at most [`FOUND_MAX`]. */
export type Accounts = {
  /** The accounts; by the short form of a phone number there may be several. */
  data: Account[];
  /** Whether there are more than these: ask for more digits. */
  has_more: boolean;
};

/** What an activated terminal needs to know. */
export type ActivatedTerminal = {
  /** Names the device key in signatures from now on. An earlier key of this terminal is retired. */
  key_id: string;
  /** Frames are sealed to this key of the matcher. */
  matcher_key: MatcherKey;
  /** Whose terminal it is. */
  merchant: string;
  /** Live or test site. */
  mode: string;
  /** What it is for. */
  purpose: string;
  /** The server's time. */
  server_time: string;
  /** Where it stands. */
  store: string;
  /** The terminal. */
  terminal: string;
};

/** `POST /v1/terminals/activate`: the terminal brings the public half of a key that it made itself. The request is signed with that key (`keyid` is the base64 of the public key), which proves that the terminal holds it. */
export type Activation = {
  /** The one-time code. */
  activation_code: Secret;
  /** Signature algorithm of the key: `ed25519` or `ecdsa-p256-sha256`. */
  algorithm: string;
  /** The public key: 32 bytes of Ed25519, or a compressed point of P-256 in 33 bytes. */
  public_key: string;
  /** The terminal. */
  terminal: string;
};

/** How far to move. */
export type Advance = {
  /** Seconds, 1 to a year. */
  seconds: number;
};

/** A refused attempt. Kept 90 days. */
export type Attempt = {
  /** When. */
  at: string;
  /** The attempt. */
  id: string;
  /** By which merchant. */
  merchant?: string;
  /** `verification`, `enrolment`, `payment_code`, `payment`, `activation` or `pin`. */
  operation: string;
  /** Why, e.g. `no_match`, `consent_missing`, `code_expired`. */
  reason: string;
  /** In which store. */
  store?: string;
  /** At which terminal. */
  terminal?: string;
};

/** `GET /v1/attempts`: what was refused and why, newest first. Tills see less: to them biometric refusals read alike. */
export type Attempts = {
  /** The attempts. */
  data: Attempt[];
};

/** `POST /v1/payments/{id}/capture` (merchant): takes held money; the rest of it is released. */
export type Capture = {
  /** How much; absent: all. */
  amount?: Money;
};

/** A certificate with what is needed to believe it. */
export type Certificate = {
  /** The certificate of the site's authority, PEM: registers install it. */
  authority: string;
  /** X.509, DER. */
  certificate: string;
  /** When it ends. Ask for another one in time. */
  expires_at: string;
};

/** `GET /v1/ledger/chain`: the hash chain, recomputed from the first row. */
export type Chain = {
  /** Each slot. */
  slots: ChainSlot[];
};

/** The chain of one slot. */
export type ChainSlot = {
  /** What is broken and where; absent if the chain verifies. */
  error?: string;
  /** Hash of the last row, hex. */
  head: string;
  /** Rows in it. */
  rows: number;
  /** Number of the slot. */
  slot: number;
};

/** What is in force for a terminal. Unlike what the operator sends, it is read by terminals that may be older than the server: they pass over what they do not know. */
export type Configuration = {
  /** How long a verification may take unless the request says so, in milliseconds. */
  deadline_ms?: number;
  /** When codes are handed over unless the request says so. */
  handover_mode?: HandoverMode;
  /** In which language the payer is guided. */
  language?: Language;
  /** Present: no requests are taken. */
  maintenance?: Maintenance;
  /** Where codes go unless the request says so; absent: what the terminal does by itself. */
  register?: RegisterKind;
};

/** `PUT /v1/terminals/{id}/configuration`, and `PUT /v1/terminal-configuration` for all of the site: replaces what is set there. What a terminal's own leaves out comes from the site's. */
export type ConfigurationLayer = {
  /** How long a verification may take unless the request says so, 1,000 to 180,000. */
  deadline_ms?: number;
  /** When codes are handed over unless the request says so. */
  handover_mode?: HandoverMode;
  /** In which language the payer is guided. */
  language?: Language;
  /** Present: no requests are taken. In force when it is set here or there; the terminal's own text comes first. */
  maintenance?: Maintenance;
  /** Where codes go unless the request says so. */
  register?: RegisterKind;
};

/** `GET /v1/confirmations` (signed by the terminal): payments that wait for the payer here. */
export type Confirmations = {
  /** Oldest first. */
  data: Payment[];
};

/** A recorded consent. */
export type Consent = {
  /** Who agreed. */
  account: string;
  /** When it was given. */
  given_at: string;
  /** The consent. */
  id: string;
  /** Language in which it was shown. */
  language: string;
  /** Version of the text that was shown. */
  text_version: string;
  /** When it was withdrawn. The templates were destroyed at that moment. */
  withdrawn_at?: string;
};

/** A text that people agree to. */
export type ConsentText = {
  /** Its language (BCP 47). */
  language: string;
  /** What is shown. */
  text: string;
  /** Version of the text. */
  version: string;
};

/** `GET /v1/consent-texts`. */
export type ConsentTexts = {
  /** The texts in force. */
  data: ConsentText[];
};

/** `GET /v1/accounts/{id}/consents`. */
export type Consents = {
  /** The latest, newest first. */
  data: Consent[];
};

/** A new merchant, with its key shown this once. */
export type CreatedMerchant = {
  /** The merchant. */
  id: string;
  /** The key itself; the server keeps a hash only. */
  key: Secret;
  /** Id of its key. */
  key_id: string;
  /** Its first store. */
  store: string;
};

/** A new terminal with its one-time activation code. */
export type CreatedTerminal = {
  /** Typed into the terminal once; 15 minutes, single use, 5 wrong tries. */
  activation_code: Secret;
  /** Until when the code is good. */
  activation_expires_at: string;
  /** The terminal. */
  id: string;
};

/** Minutes of the business day; from the first and up to, not including, the second. May run over midnight. */
export type DayHours = {
  /** 0 to 1439. */
  from_minute: number;
  /** 0 to 1439. */
  to_minute: number;
};

/** What the comparison said, without saying about whom. */
export type Decision = "match" | "no_match" | "ambiguous" | "attack";

/** Information about the device, which the method's step 3 sends along. */
export type Device = {
  /** For example `selfsame-terminal`. */
  kind: string;
  /** Kind of register: `screen`, `return`, later `keyboard`, `serial`, `tcp`. */
  register: string;
  /** Software version. */
  version: string;
};

/** Which way a balance is corrected. */
export type Direction = "raise" | "lower";

/** How a sample ended. The three kinds are never mixed: a retry costs nothing but time, a decision counts, a fault is ours. */
export type Ending = {
  kind: "retry";
  /** For example `press_harder`. */
  reason: string;
} | {
  /** `match`, `no_match`, `ambiguous` or `attack`. An unknown identifier reads `no_match`. */
  decision: Decision;
  kind: "decision";
} | {
  /** For example `matcher_unavailable`. */
  fault: string;
  kind: "fault";
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

/** `GET /v1/accounts/{id}/enrolments` (operator). */
export type Enrolments = {
  /** The latest, newest first, without nonces. */
  data: Enrolment[];
};

/** Everything that keeps a verification from its conclusion. */
export type FailureCode = "payer_absent" | "caller_gone" | "verifier_unavailable" | "verifier_lost" | "capture_unavailable" | "image_invalid" | "seal_broken" | "clock_skew" | "terminal_not_active" | "signer_unavailable" | "journal_unwritable" | "internal" | "server_unreachable" | "server_unavailable" | "matcher_unavailable" | "matcher_busy" | "code_issue_failed" | "register_missing" | "num_lock_off" | "handover_failed" | "handover_uncertain" | "refused_by_server";

/** Colours that the screen shows one after the other, each for `step_ms` milliseconds. */
export type FlashChallenge = {
  /** `red`, `green` or `blue`. */
  colours: string[];
  /** How long each stands, in milliseconds. */
  step_ms: number;
};

/** `GET /v1/terminals/{id}`: a terminal as the operator sees it. */
export type FleetTerminal = {
  /** When its key was last used in a way that a copy of the key would explain. Goes with a new key, or by `POST /v1/terminals/{id}/dismiss-clone-warning`. */
  clone_suspected_at?: string;
  /** The configuration that is in force for it. */
  configuration: Configuration;
  /** It has reported that this configuration is in force. */
  configured: boolean;
  /** What it reported last. */
  health?: Health;
  /** The terminal. */
  id: string;
  /** Its key in use. */
  key?: TerminalKey;
  /** When it reported last. */
  last_seen_at?: string;
  /** Since when it has been locked. */
  locked_at?: string;
  /** Whose it is. */
  merchant: string;
  /** Name of the merchant. */
  merchant_name: string;
  /** Its name. */
  name: string;
  /** Its channel is open and its last report fresh. */
  online: boolean;
  /** What it is for. */
  purpose: string;
  /** `unactivated`, `active`, `locked` or `retired`. */
  state: string;
  /** Where it stands. */
  store: string;
  /** Name of the store. */
  store_name: string;
};

/** Terminals, newest first. */
export type FleetTerminals = {
  /** A page of them. */
  data: FleetTerminal[];
  /** Whether there are more. */
  has_more: boolean;
  /** `before` of the next page. */
  next_cursor?: string;
};

/** When the code is asked for and handed over. */
export type HandoverMode = "immediate" | "on_request";

/** `POST /v1/terminal-health` (signed by the terminal, which may be locked): how it fares. Replaces the report before. */
export type Health = {
  /** How far its clock is ahead of the server's, in milliseconds, as measured last; absent: not measured yet. */
  clock_skew_ms?: number;
  /** The configuration in force there. */
  configuration: Configuration;
  /** Room where its journal is, in bytes; absent: the operating system does not say. */
  journal_free_bytes?: number;
  /** How its last verification ended. */
  last_outcome?: LastOutcome;
  /** What it can capture; empty while its verification program does not answer. */
  modalities: string[];
  /** Verifications since it started, by outcome. */
  outcomes: { [name: string]: number };
  /** What keeps it from its work. */
  reasons: Reason[];
  /** Ways to the register. */
  registers: RegisterKind[];
  /** Whether it would take a request. */
  state: TerminalState;
  /** How long its process runs, in seconds. */
  uptime_seconds: number;
  /** Software version. */
  version: string;
};

/** A report was taken. */
export type HealthReceived = {
  /** The server's time, by which the terminal measures its clock. */
  server_time: string;
};

/** What the payer gave to say who they are. */
export type Identifier = {
  /** `phone`, `phone_last4` or `member_number`. */
  kind: string;
  /** What was typed. */
  value: string;
};

/** An image format that matchers decode. */
export type ImageFormat = "png" | "jpeg";

/** `POST /v1/terminals/rotate-key`, signed with the key in use: the terminal brings the public half of its next key. The same again, signed with the same key, answers the same, also after that key has ended. */
export type KeyRotation = {
  /** Signature algorithm of the next key. */
  algorithm: string;
  /** Signature of the next key over [`rotation_proof`], 64 bytes: the terminal holds it. */
  proof: string;
  /** The next public key, in the form of an activation. */
  public_key: string;
};

/** Language of the guidance. */
export type Language = "en" | "zh-CN";

/** How a terminal's last verification ended. */
export type LastOutcome = {
  /** When; of a run before the terminal was started again: when it was asked for. */
  at: string;
  /** Why it was not concluded. */
  error?: FailureCode;
  /** How. */
  outcome: Outcome;
};

/** `GET /v1/ledger/rows`: rows of the ledger in order, in the form of the export. */
export type LedgerRows = {
  /** The rows. */
  data: { [name: string]: unknown }[];
  /** Whether there are later ones. */
  has_more: boolean;
  /** Ask for rows `after` this for the next page; absent if this page is empty. */
  next_cursor?: number;
};

/** One leg of a payment. */
export type Leg = {
  /** Minor units. */
  amount_minor: number;
  /** `goods`, `tip` or `deposit`. */
  part: string;
};

/** One layer of limits; each layer narrows, and what is absent does not limit. Sent whole: what is left out is gone. */
export type LimitsLayer = {
  /** Categories of merchants that are not paid. */
  categories_blocked: string[];
  /** Most payments of one business day. */
  day_count_max?: number;
  /** Most of one business day, minor units. */
  day_minor_max?: number;
  /** When payments are taken. */
  hours?: DayHours;
  /** Most of one payment, minor units. */
  payment_minor_max?: number;
  /** Above this the payer must confirm, minor units. */
  step_up_above_minor?: number;
};

/** The terminal takes no requests, on the operator's word. */
export type Maintenance = {
  /** What the cashier reads, at most 120 characters. */
  text?: string;
};

/** The matcher's public key, to which frames are sealed (X25519, RFC 9180). */
export type MatcherKey = {
  /** Names the key: the first 8 bytes of its SHA-256 in hex. */
  id: string;
  /** 32 bytes. */
  public_key: string;
};

/** `GET /v1/balance`: what the operator owes the calling merchant. */
export type MerchantBalance = {
  /** Payments received, in minor units. */
  balance_minor: number;
  /** ISO 4217 code. */
  currency: string;
  /** The merchant. */
  merchant: string;
};

/** `PUT /v1/merchants/{id}/terms` (operator): what was agreed with a merchant. */
export type MerchantTerms = {
  /** Its category, which limits can block. */
  category?: string;
  /** Fee in ten-thousandths of goods, at most 2,000: 150 is 1.5 %. */
  fee: number;
  /** How long payers may take a payment back without asking, in minutes, at most 1,440; 0: never. */
  undo_minutes: number;
};

/** An amount of money. */
export type Money = {
  /** ISO 4217 code. */
  currency: string;
  /** Minor units, 1 to 1,000,000,000,000. */
  minor: number;
};

/** `POST /v1/accounts`: makes an account with an empty wallet in the site's currency. */
export type NewAccount = {
  /** The person's name, as terminals may show it (masked). */
  display_name: string;
  /** Member, student or staff number. */
  member_number?: string;
  /** Phone number with country code. */
  phone?: string;
  /** The desk's own reference: the same again answers the same account. */
  request_ref: string;
};

/** `POST /v1/terminals/{id}/activation-code`: a further one-time code. The key in use works until the terminal is activated with the code. */
export type NewActivationCode = { [name: string]: never };

/** `POST /v1/adjustments` (operator). Names an account or a merchant. */
export type NewAdjustment = {
  /** The payer whose own wallet is corrected. */
  account?: string;
  /** The operator's own reference: the idempotency key. */
  adjustment_ref: string;
  /** By how much. */
  amount: Money;
  /** Raise the balance, or lower it. */
  direction: Direction;
  /** The merchant whose balance is corrected. */
  merchant?: string;
};

/** `POST /v1/certificates`, signed by a device key: the terminal brings the public half of a key that it made itself. */
export type NewCertificate = {
  /** Algorithm of the key: `ecdsa-p256`. */
  algorithm: string;
  /** Names and addresses by which registers reach the terminal, 1 to 8: private addresses, and names below the domains that the site's authority was made for. */
  names: string[];
  /** The public key: an uncompressed point, 65 bytes. */
  public_key: string;
};

/** `POST /v1/confirmations` (signed by the terminal): the payer agrees, with a PIN, or with a gesture where the site's rules let one confirm. */
export type NewConfirmation = {
  /** Which payment. */
  payment: string;
  /** The PIN as typed; absent: a gesture. */
  pin?: Secret;
};

/** `POST /v1/consents`: the person agreed to this text in this language, in front of the desk's staff. */
export type NewConsent = {
  /** Who agreed. */
  account: string;
  /** Language in which it was shown (BCP 47). */
  language: string;
  /** Version of the text that was shown. */
  text_version: string;
};

/** `POST /v1/enrolments` (operator): opens an enrolment that one desk terminal may send samples to. */
export type NewEnrolment = {
  /** Who is enrolled. */
  account: string;
  /** The consent in force that allows it. */
  consent: string;
  /** Which one of several: finger position 1 (right thumb) to 10 (left little finger) by ISO/IEC 19794-2, 0 if unknown or if there is only one. */
  instance?: number;
  /** What will be captured. */
  modality: string;
  /** The desk terminal that will capture. */
  terminal: string;
};

/** `POST /v1/merchants`: a merchant with one store and one key. */
export type NewMerchant = {
  /** Name of the merchant. */
  name: string;
  /** The operator's own reference. The same again is refused: the key is shown only once. */
  request_ref: string;
  /** Name of its first store. */
  store_name: string;
};

/** `POST /v1/payments` (merchant): charges a code. The same `order_ref` with the same amount answers the same payment, also with another code; with another amount it is refused. */
export type NewPayment = {
  /** How much. */
  amount: Money;
  /** The 18 digits that the register read. */
  code: string;
  /** Hold the money for this long instead of moving it, in seconds: 60 to 2,592,000 (30 days). Capture or void it. */
  hold_seconds?: number;
  /** The merchant's own reference of the order, unique for ever: the idempotency key. Tills that number their orders anew each day add date and till. */
  order_ref: string;
  /** What the amount is made of; absent: goods only. Subsidies pay for goods only. */
  parts?: Parts;
};

/** `POST /v1/payment-codes` (signed by the terminal). Asking again for the same pass revokes the earlier code in the same transaction, so at most one code of a verification can be charged. */
export type NewPaymentCode = {
  /** What the code is handed over by. */
  device: Device;
  /** Shorter life than configured, in seconds. */
  lifetime_seconds?: number;
  /** The terminal's own reference, for its logs and ours. Not an idempotency key: digits are never shown twice. */
  request_ref: string;
  /** The verification that passed. */
  verification: string;
};

/** `PUT /v1/accounts/{id}/pin` (operator, at the desk): sets a PIN, or resets a forgotten or locked one. A reset needs a pass of the same person in force as second factor. */
export type NewPin = {
  /** 4 to 12 digits. */
  pin: Secret;
  /** The pass; needed if a PIN is set already. */
  verification?: string;
};

/** `POST /v1/pin-verifications` (signed by the terminal): the payer gives the whole identifier and the PIN instead of a sample. Passes at once or fails; a pass is one like any other. Ends what this terminal had open before. */
export type NewPinVerification = {
  /** `phone` or `member_number`, whole. */
  identifier: Identifier;
  /** What the payer was asked for and did not want to give, or could not. */
  instead_of: string;
  /** The PIN as typed. */
  pin: Secret;
  /** The terminal's own reference: the same again answers the same verification, and costs no further try. */
  request_ref: string;
};

/** `POST /v1/refunds` (merchant). Names the payment in one of three ways. The money goes back to where it came from. */
export type NewRefund = {
  /** How much. */
  amount: Money;
  /** The payment by the reference of its order. */
  order_ref?: string;
  /** `goods`, `tip` or `deposit`; absent: goods first, then the deposit, then the tip. */
  part?: string;
  /** The payment by its id. */
  payment?: string;
  /** The payment by the number on its receipt. */
  receipt?: string;
  /** The merchant's own reference: the idempotency key. */
  refund_ref: string;
};

/** `POST /v1/reversals` (merchant): after it the order is not paid and never will be. Works for orders that never arrived, too. For payments of the same business day; later ones are refunded. */
export type NewReversal = {
  /** Which order: the idempotency key. */
  order_ref: string;
};

/** `POST /v1/settlements` (operator): closes a merchant's period. */
export type NewSettlement = {
  /** Whose. */
  merchant: string;
};

/** `POST /v1/sign-in`: shows a key. The page is the one of the header. */
export type NewSignIn = {
  /** A merchant's key at the till, the operator's at the desk. */
  key: Secret;
};

/** Whether the account may pay. */
export type NewState = {
  /** `active` or `frozen`. */
  state: string;
};

/** `POST /v1/terminals`: a terminal that waits for its activation. */
export type NewTerminal = {
  /** Name of the terminal. */
  name: string;
  /** What it is for. */
  purpose: string;
  /** Where it stands. */
  store: string;
};

/** `POST /v1/top-ups` (operator). */
export type NewTopUp = {
  /** Whose wallet. */
  account: string;
  /** How much. */
  amount: Money;
  /** `own` (default): money paid in at the counter; `subsidy`: granted by the operator, for goods only. */
  purpose?: string;
  /** The operator's own reference: the idempotency key. */
  top_up_ref: string;
};

/** `POST /v1/verifications` (signed by the terminal): selects the candidates of the identifier. Ends the pass of the payer before, if there is one. No frame may be sent unless the state is `capturing`. */
export type NewVerification = {
  /** What the payer typed. */
  identifier: Identifier;
  /** What will be captured. */
  modality: string;
  /** The terminal's own reference: the same again answers the same verification. */
  request_ref: string;
  /** How it will be captured. */
  sensor_grade: string;
};

/** `POST /v1/withdrawals` (operator): pays money out of a wallet. Answered with a [`crate::payment::Payment`]. */
export type NewWithdrawal = {
  /** Whose wallet. */
  account: string;
  /** How much. */
  amount: Money;
  /** The operator's own reference: the idempotency key. */
  withdrawal_ref: string;
};

/** The new time. */
export type Now = {
  /** The server's time. */
  now: string;
};

/** `POST /v1/operator-keys` answers a further key of the operator, for a second person. Shown this once. */
export type OperatorKey = {
  /** Names the key without showing it. */
  id: string;
  /** The key. */
  key: Secret;
};

/** How a session ended. Exactly one, never changed afterwards. */
export type Outcome = "passed" | "declined" | "canceled" | "timed_out" | "failed" | "unknown";

/** What an amount is made of. The sum must be the amount. */
export type Parts = {
  /** A deposit, minor units. */
  deposit_minor?: number;
  /** Goods or services, minor units. */
  goods_minor: number;
  /** A tip, minor units. */
  tip_minor?: number;
};

/** `POST /v1/undos` (signed by the terminal): the same, asked for by the payer, who was verified there just now. */
export type PayerUndo = {
  /** The number on the payer's receipt. */
  receipt: string;
  /** The pass that says whose payment it must be. */
  verification: string;
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

/** A code, with its digits, shown to the terminal this once. */
export type PaymentCode = {
  /** The most it may be charged with, minor units. Not the amount: that comes from the register. */
  amount_minor_max: number;
  /** The currency it may be charged in. */
  currency: string;
  /** The 18 digits. */
  digits: string;
  /** The server's time from which it is dead. */
  expires_at: string;
  /** The same as a length of time, for terminals whose clock is off. */
  expires_in_ms: number;
  /** Names the code without its digits. */
  id: string;
  /** The verification behind it. */
  verification: string;
};

/** Where a payment stands. */
export type PaymentStatus = "succeeded" | "pending" | "requires_action" | "canceled" | "expired" | "reversed";

/** `GET /v1/payments/history`: newest first. */
export type Payments = {
  /** The payments of this page. */
  data: Payment[];
  /** Whether there are older ones. */
  has_more: boolean;
  /** Ask for `before` this for the next page. */
  next_cursor?: string;
};

/** `POST /v1/pin-changes` (signed by the terminal): the payer changes the PIN, knowing the old one. */
export type PinChange = {
  /** 4 to 12 digits. */
  new_pin: Secret;
  /** The PIN as it was. */
  old_pin: Secret;
  /** The pass that says whose PIN it is. */
  verification: string;
};

/** `GET /v1/accounts/{id}/pin` (operator). */
export type PinState = {
  /** Whether a PIN is set. */
  set: boolean;
  /** Wrong tries that are left; 0: locked. */
  tries_left: number;
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

/** What is ready. */
export type Readiness = {
  /** What an answered payment survives: `local_sync` means it is synced to the disk of this machine or of its database server, `standby_sync` that a standby has synced it as well. */
  durability: string;
  /** The matcher answers. Without it payments go on, verifications do not. */
  matcher: boolean;
  /** `live` or `test`. */
  mode: string;
  /** The database answers and takes writes. `false` after a failed disk sync, and after another server has taken over, until the next start. */
  store: boolean;
};

/** What keeps a terminal from its work. */
export type Reason = "verifier_unavailable" | "capture_unavailable" | "camera_unavailable" | "disk_full" | "clock_skew" | "register_unavailable" | "server_unreachable";

/** `GET /v1/receipts/{number}` (merchant). */
export type Receipt = {
  /** Name of the merchant. */
  merchant_name: string;
  /** The number, with its check digit. */
  number: string;
  /** The payment. */
  payment: Payment;
  /** The receipt as lines of plain text, 32 columns wide, for a receipt printer. */
  text: string[];
};

/** A way to the register. */
export type RegisterKind = "return" | "screen" | "keyboard" | "serial" | "tcp" | "websocket";

/** A reversal that holds. */
export type Reversal = {
  /** Which order. */
  order_ref: string;
  /** The payment that was undone; absent if the order was never seen. */
  payment?: Payment;
  /** Minor units that went back to the payer or were released by this request. */
  returned_minor: number;
};

/** A key that has taken the place of another. */
export type RotatedKey = {
  /** Names the key in signatures from now on. */
  key_id: string;
  /** Until when requests of the key before are taken: those that were on their way. */
  previous_until: string;
  /** The server's time. */
  server_time: string;
};

/** `PUT /v1/rules` (operator): rules of the whole site. */
export type Rules = {
  /** Whether a gesture at the terminal confirms as well as a PIN. */
  gesture_confirms: boolean;
  /** Minutes east of UTC where the business day begins, -720 to 840. */
  utc_offset_minutes: number;
};

/** `POST /v1/verifications/{id}/samples` and `POST /v1/enrolments/{id}/samples` (signed by the terminal): frames sealed to the matcher. The nonce is good for one submission. */
export type Samples = {
  /** The sealed frames, in the order of capture. */
  frames: SealedFrame[];
  /** What was captured. */
  modality: string;
  /** The server's nonce of this verification or enrolment. */
  nonce: string;
  /** How it was captured; authenticated together with the frames. */
  sensor_grade: string;
  /** The terminal's stages so far, in microseconds. */
  timings?: { [name: string]: number };
};

/** A sealed frame with the facts about it that stay in the clear (and are authenticated). */
export type SealedFrame = {
  /** The sealed image. */
  ciphertext: string;
  /** HPKE encapsulated key, 32 bytes. */
  encapsulated_key: string;
  /** Format of the image inside. */
  format: ImageFormat;
  /** Milliseconds from the first colour of a challenge, or from the first frame. */
  offset_ms?: number;
  /** Resolution in dots per inch; 0 where it has no meaning (faces). */
  resolution_dpi: number;
};

/** A secret that is shown once, never printed, and wiped when it is dropped. */
export type Secret = string;

/** A merchant's statement. Movements are signed as the merchant sees them; closing is opening and all movements. */
export type Settlement = {
  /** The operator's corrections. */
  adjustments_minor: number;
  /** The ledger's rows behind this sequence ... */
  after_sequence: number;
  /** When a second person approved it. */
  approved_at?: string;
  /** When it was closed. */
  closed_at?: string;
  /** Owed after, minor units. */
  closing_minor: number;
  /** ISO 4217 code. */
  currency: string;
  /** Deposits. */
  deposits_minor: number;
  /** Fees; negative. */
  fees_minor: number;
  /** Part of it that payers asked back and nobody has decided about. */
  frozen_minor: number;
  /** Goods and services paid. */
  goods_minor: number;
  /** The settlement. */
  id: string;
  /** Whose. */
  merchant: string;
  /** Owed before, minor units. */
  opening_minor: number;
  /** When it was paid. */
  paid_at?: string;
  /** What is paid out. */
  payable_minor: number;
  /** Earlier payouts that fell into this period; negative. */
  payouts_minor: number;
  /** Refunds; negative. */
  refunds_minor: number;
  /** Reversals; negative. */
  reversals_minor: number;
  /** `open`, `closed`, `approved` or `paid`. */
  state: string;
  /** Tips. */
  tips_minor: number;
  /** Taken back by payers; negative. */
  undone_minor: number;
  /** ... up to this one. */
  upto_sequence: number;
};

/** `GET /v1/settlements`: newest first. */
export type Settlements = {
  /** The settlements of this page. */
  data: Settlement[];
  /** Whether there are older ones. */
  has_more: boolean;
  /** Ask for `before` this for the next page. */
  next_cursor?: string;
};

/** Somebody who is signed in. */
export type SignedIn = {
  /** The most that one code can be charged with, minor units. */
  amount_minor_max: number;
  /** The site's one currency, ISO 4217. */
  currency: string;
  /** Decimals of its minor unit: 2 for EUR, 0 for JPY. */
  currency_decimals: number;
  /** Signed out then in any case. */
  ends_at: string;
  /** Signed out after so many seconds without a request. */
  idle_seconds: number;
  /** Whose key it is; absent for the operator. */
  merchant?: string;
  /** Its name. */
  merchant_name?: string;
  /** `live` or `test`. */
  mode: string;
  /** Where: `till` or `desk`. */
  page: string;
  /** Where terminals and desks may be that this page may call from the browser, as the site's settings name them. */
  terminals: string[];
};

/** `GET /v1/channel` (signed by the terminal; `text/event-stream`): the data of each event. */
export type Situation = {
  /** What the operator has set for it. Reads as absent where it has a value that this version does not know: a newer server must not cost a terminal its channel. */
  configuration?: Configuration;
  /** Charges of its codes, oldest first, the latest 16. */
  payments: TerminalPayment[];
  /** Where it stands, for its screen. Servers of earlier versions do not say. */
  place?: Place;
  /** `active`, `locked` (not now) or `retired` (never again; the channel ends after this). */
  standing: string;
  /** The terminal. */
  terminal: string;
};

/** How long a stage takes. */
export type StageTiming = {
  /** What the 95th percentile may be; absent of stages that wait for people. */
  budget_us?: number;
  /** How often it happened since the server's start. */
  count: number;
  /** Whether it is more, of twenty values at least. */
  over_budget: boolean;
  /** What half of these did not exceed, microseconds, rounded up by 19 % at most. */
  p50_us?: number;
  /** What 19 of 20 of these did not exceed, microseconds, rounded up by 19 % at most. */
  p95_us?: number;
  /** How often in the last five to ten minutes. */
  recent: number;
  /** Which. */
  stage: string;
};

/** All stages that happened since the start. */
export type StageTimings = {
  data: StageTiming[];
};

/** A terminal's key in use. */
export type TerminalKey = {
  /** How it signs. */
  algorithm: string;
  /** Since when. */
  created_at: string;
  /** Names it in signatures. */
  id: string;
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

/** `GET /v1/ledger/trial-balance`: every ledger account, recomputed from all rows. */
export type TrialBalance = {
  /** ISO 4217 code. */
  currency: string;
  /** Balance of each account: credits less debits. */
  lines: TrialBalanceLine[];
  /** Sum of the lines. Anything but zero means the books are wrong. */
  sum_minor: number;
  /** Wallets whose stored balance, or what they say was spent on a business day, differs from the recomputed one. Anything but zero means the books are wrong. */
  wallets_that_differ: number;
};

/** One account of the trial balance. */
export type TrialBalanceLine = {
  /** `cash` (top-up clearing), `subsidies`, `fees`, `adjustments`, `rounding`, `payouts`, a wallet or a merchant. */
  account: string;
  /** Minor units. */
  balance_minor: number;
};

/** `POST /v1/payments/{id}/undo` (operator, for the payer at the desk): takes a payment back, or asks for it. */
export type Undo = {
  /** Whose payment it is. */
  account: string;
};

/** `POST /v1/payments/{id}/undo-decision` (merchant or operator). */
export type UndoDecision = {
  /** Give the money back, or keep it. */
  granted: boolean;
};

/** A verification as its terminal sees it. */
export type Verification = {
  /** Usable samples that may still be sent; while `capturing`. */
  attempts_left: number;
  /** What to light the payer's face with while the frames are taken; while `capturing`, if the server asks for it. */
  challenge?: FlashChallenge;
  /** How the last sample ended, if there was one. */
  ending?: Ending;
  /** Until when this state lasts: frames are awaited, or codes may be asked for. */
  expires_at: string;
  /** The verification. */
  id: string;
  /** The nonce for the next samples; while `capturing`. */
  nonce?: string;
  /** A payment came of one of its codes; told when it is ended. */
  paid?: boolean;
  /** First character of the payer's name and stars; when `passed`. */
  payer_display?: string;
  /** How the sample has to be taken; above what the terminal offered if the server set a challenge. */
  sensor_grade: string;
  /** `capturing`, `passed`, `failed` or `ended`. */
  state: string;
  /** The terminal. */
  terminal: string;
  /** Stages in microseconds, the terminal's and the matcher's. */
  timings: { [name: string]: number };
};

/** Money of one account in one currency. */
export type Wallet = {
  /** Money in it, in minor units. */
  balance_minor: number;
  /** ISO 4217 code. */
  currency: string;
  /** The part that holds have claimed. */
  held_minor: number;
  /** The wallet. */
  id: string;
};

/** What is called, with what, and what comes back. */
export interface Operations {
  'GET /livez': { body: undefined; answer: undefined };
  'GET /metrics': { body: undefined; answer: undefined };
  'GET /readyz': { body: undefined; answer: Readiness };
  'POST /v1/accounts': { body: NewAccount; answer: Account };
  'POST /v1/accounts/search': { body: Identifier; answer: Accounts };
  'GET /v1/accounts/{id}': { body: undefined; answer: Account };
  'GET /v1/accounts/{id}/consents': { body: undefined; answer: Consents };
  'GET /v1/accounts/{id}/enrolments': { body: undefined; answer: Enrolments };
  'GET /v1/accounts/{id}/guardian-limits': { body: undefined; answer: LimitsLayer };
  'PUT /v1/accounts/{id}/guardian-limits': { body: LimitsLayer; answer: LimitsLayer };
  'GET /v1/accounts/{id}/limits': { body: undefined; answer: LimitsLayer };
  'PUT /v1/accounts/{id}/limits': { body: LimitsLayer; answer: LimitsLayer };
  'GET /v1/accounts/{id}/pin': { body: undefined; answer: PinState };
  'PUT /v1/accounts/{id}/pin': { body: NewPin; answer: undefined };
  'PUT /v1/accounts/{id}/state': { body: NewState; answer: Account };
  'GET /v1/adjustments': { body: undefined; answer: Payments };
  'POST /v1/adjustments': { body: NewAdjustment; answer: Payment };
  'POST /v1/adjustments/{id}/decision': { body: Decision; answer: Payment };
  'GET /v1/attempts': { body: undefined; answer: Attempts };
  'GET /v1/balance': { body: undefined; answer: MerchantBalance };
  'POST /v1/certificates': { body: NewCertificate; answer: Certificate };
  'GET /v1/channel': { body: undefined; answer: undefined };
  'GET /v1/confirmations': { body: undefined; answer: Confirmations };
  'POST /v1/confirmations': { body: NewConfirmation; answer: Payment };
  'POST /v1/confirmations/{id}/cancel': { body: undefined; answer: Payment };
  'GET /v1/consent-texts': { body: undefined; answer: ConsentTexts };
  'POST /v1/consents': { body: NewConsent; answer: Consent };
  'POST /v1/consents/{id}/withdraw': { body: undefined; answer: Consent };
  'POST /v1/enrolments': { body: NewEnrolment; answer: Enrolment };
  'GET /v1/enrolments/{id}': { body: undefined; answer: Enrolment };
  'POST /v1/enrolments/{id}/approve': { body: undefined; answer: Enrolment };
  'POST /v1/enrolments/{id}/samples': { body: Samples; answer: Enrolment };
  'GET /v1/ledger/chain': { body: undefined; answer: Chain };
  'GET /v1/ledger/rows': { body: undefined; answer: LedgerRows };
  'GET /v1/ledger/trial-balance': { body: undefined; answer: TrialBalance };
  'GET /v1/limits/grades/{grade}': { body: undefined; answer: LimitsLayer };
  'PUT /v1/limits/grades/{grade}': { body: LimitsLayer; answer: LimitsLayer };
  'GET /v1/limits/site': { body: undefined; answer: LimitsLayer };
  'PUT /v1/limits/site': { body: LimitsLayer; answer: LimitsLayer };
  'POST /v1/merchants': { body: NewMerchant; answer: CreatedMerchant };
  'GET /v1/merchants/{id}/open-settlement': { body: undefined; answer: Settlement };
  'GET /v1/merchants/{id}/terms': { body: undefined; answer: MerchantTerms };
  'PUT /v1/merchants/{id}/terms': { body: MerchantTerms; answer: undefined };
  'POST /v1/operator-keys': { body: undefined; answer: OperatorKey };
  'POST /v1/payment-codes': { body: NewPaymentCode; answer: PaymentCode };
  'GET /v1/payments': { body: undefined; answer: Payment };
  'POST /v1/payments': { body: NewPayment; answer: Payment };
  'GET /v1/payments/history': { body: undefined; answer: Payments };
  'GET /v1/payments/{id}': { body: undefined; answer: Payment };
  'POST /v1/payments/{id}/cancel': { body: undefined; answer: Payment };
  'POST /v1/payments/{id}/capture': { body: Capture; answer: Payment };
  'POST /v1/payments/{id}/undo': { body: Undo; answer: Payment };
  'POST /v1/payments/{id}/undo-decision': { body: UndoDecision; answer: Payment };
  'POST /v1/payments/{id}/void': { body: undefined; answer: Payment };
  'POST /v1/pin-changes': { body: PinChange; answer: undefined };
  'POST /v1/pin-verifications': { body: NewPinVerification; answer: Verification };
  'GET /v1/receipts/{number}': { body: undefined; answer: Receipt };
  'POST /v1/refunds': { body: NewRefund; answer: Payment };
  'POST /v1/reversals': { body: NewReversal; answer: Reversal };
  'GET /v1/rules': { body: undefined; answer: Rules };
  'PUT /v1/rules': { body: Rules; answer: Rules };
  'GET /v1/settlements': { body: undefined; answer: Settlements };
  'POST /v1/settlements': { body: NewSettlement; answer: Settlement };
  'GET /v1/settlements/{id}': { body: undefined; answer: Settlement };
  'POST /v1/settlements/{id}/approve': { body: undefined; answer: Settlement };
  'GET /v1/settlements/{id}/csv': { body: undefined; answer: undefined };
  'POST /v1/settlements/{id}/pay': { body: undefined; answer: Settlement };
  'GET /v1/sign-in': { body: undefined; answer: SignedIn };
  'POST /v1/sign-in': { body: NewSignIn; answer: SignedIn };
  'DELETE /v1/sign-in': { body: undefined; answer: undefined };
  'GET /v1/stage-timings': { body: undefined; answer: StageTimings };
  'GET /v1/terminal-configuration': { body: undefined; answer: ConfigurationLayer };
  'PUT /v1/terminal-configuration': { body: ConfigurationLayer; answer: ConfigurationLayer };
  'POST /v1/terminal-health': { body: Health; answer: HealthReceived };
  'GET /v1/terminals': { body: undefined; answer: FleetTerminals };
  'POST /v1/terminals': { body: NewTerminal; answer: CreatedTerminal };
  'POST /v1/terminals/activate': { body: Activation; answer: ActivatedTerminal };
  'POST /v1/terminals/rotate-key': { body: KeyRotation; answer: RotatedKey };
  'GET /v1/terminals/{id}': { body: undefined; answer: FleetTerminal };
  'POST /v1/terminals/{id}/activation-code': { body: NewActivationCode; answer: CreatedTerminal };
  'GET /v1/terminals/{id}/configuration': { body: undefined; answer: ConfigurationLayer };
  'PUT /v1/terminals/{id}/configuration': { body: ConfigurationLayer; answer: ConfigurationLayer };
  'POST /v1/terminals/{id}/dismiss-clone-warning': { body: undefined; answer: undefined };
  'POST /v1/terminals/{id}/lock': { body: undefined; answer: undefined };
  'POST /v1/terminals/{id}/retire': { body: undefined; answer: undefined };
  'POST /v1/terminals/{id}/unlock': { body: undefined; answer: undefined };
  'POST /v1/test-clock/advance': { body: Advance; answer: Now };
  'POST /v1/top-ups': { body: NewTopUp; answer: Payment };
  'GET /v1/undos': { body: undefined; answer: Payments };
  'POST /v1/undos': { body: PayerUndo; answer: Payment };
  'POST /v1/verifications': { body: NewVerification; answer: Verification };
  'GET /v1/verifications/{id}': { body: undefined; answer: Verification };
  'POST /v1/verifications/{id}/end': { body: undefined; answer: Verification };
  'POST /v1/verifications/{id}/samples': { body: Samples; answer: Verification };
  'POST /v1/withdrawals': { body: NewWithdrawal; answer: Payment };
}
