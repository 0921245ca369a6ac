-- The whole of a site but the subject keys, which live in their own file.
--
-- Types are integer (64 bits), text and blob only. Times are milliseconds since 1970, UTC. Money is in minor units.
-- Ids are made by the application. Every row that changes says which named transaction changed it last.

-- The one row that makes this file a site. Mode and currency never change.
create table site (
    id integer not null primary key check (id = 1),
    mode text not null check (mode in ('live', 'test')),
    currency text not null check (length(currency) = 3),
    created_at integer not null
) strict;

-- Who is paid.
create table merchants (
    id text not null primary key,
    -- The operator's own reference; never changes.
    request_ref text not null unique,
    name text not null,
    created_at integer not null
) strict;

-- Where terminals stand.
create table stores (
    id text not null primary key,
    merchant_id text not null references merchants (id),
    name text not null,
    created_at integer not null
) strict;

-- Keys of programs. Only hashes are kept.
create table api_keys (
    id text not null primary key,
    role text not null check (role in ('operator', 'merchant')),
    -- The merchant it acts for; absent for the operator.
    merchant_id text references merchants (id),
    -- SHA-256 of the key, which has 256 random bits.
    key_hash blob not null unique check (length(key_hash) = 32),
    created_at integer not null,
    revoked_at integer,
    check ((role = 'merchant') = (merchant_id is not null))
) strict;

create table terminals (
    id text not null primary key,
    store_id text not null references stores (id),
    name text not null,
    purpose text not null check (purpose in ('till', 'desk')),
    state text not null check (state in ('unactivated', 'active', 'retired')),
    created_at integer not null,
    updated_by text not null
) strict;

-- One-time activation codes of terminals.
create table activations (
    terminal_id text not null primary key references terminals (id),
    -- SHA-256 of the code.
    code_hash blob not null check (length(code_hash) = 32),
    expires_at integer not null,
    -- Wrong codes that may still be tried.
    tries_left integer not null check (tries_left >= 0),
    used_at integer
) strict;

-- Public keys of devices. A terminal has at most one active key.
create table terminal_keys (
    id text not null primary key,
    terminal_id text not null references terminals (id),
    algorithm text not null check (algorithm in ('ed25519', 'ecdsa-p256-sha256')),
    public_key blob not null,
    created_at integer not null,
    retired_at integer
) strict;

create index terminal_keys_by_terminal on terminal_keys (terminal_id);

-- Nonces of signed requests that were accepted lately. A second one is a replay.
create table signature_nonces (
    key_id text not null,
    nonce text not null,
    expires_at integer not null,
    primary key (key_id, nonce)
) strict;

create index signature_nonces_by_expiry on signature_nonces (expires_at);

-- Payers. What is personal is sealed under the account's profile key.
create table accounts (
    id text not null primary key,
    -- The desk's own reference; never changes.
    request_ref text not null unique,
    -- Keyed hash of what was asked for, to tell a repetition from other content.
    request_mac blob not null,
    state text not null check (state in ('active', 'frozen')),
    -- Name and identifiers, sealed.
    profile blob not null,
    created_at integer not null,
    updated_by text not null
) strict;

-- How payers are found. Keyed hashes only.
create table identifiers (
    kind text not null check (kind in ('phone', 'phone_last4', 'member_number')),
    lookup blob not null check (length(lookup) = 32),
    account_id text not null references accounts (id),
    -- The lookup again for kinds that belong to one account only; absent for the short form of a phone number.
    unique_lookup blob,
    primary key (kind, lookup, account_id),
    unique (kind, unique_lookup)
) strict;

create index identifiers_by_account on identifiers (account_id);

-- Money of payers. The database refuses what the domain calls impossible.
create table wallets (
    id text not null primary key,
    account_id text not null references accounts (id),
    -- The payer's own money, or what the operator grants.
    purpose text not null check (purpose in ('own', 'subsidy')),
    currency text not null check (length(currency) = 3),
    balance_minor integer not null check (balance_minor >= 0),
    held_minor integer not null check (held_minor >= 0 and held_minor <= balance_minor),
    -- Raised by every change; writes are guarded by it.
    version integer not null,
    unique (account_id, currency, purpose)
) strict;

-- Consents as given at a desk. Withdrawing sets the one column that changes.
create table consents (
    id text not null primary key,
    account_id text not null references accounts (id),
    text_version text not null,
    language text not null,
    -- SHA-256 of the text that was shown.
    text_hash blob not null check (length(text_hash) = 32),
    -- The key of the staff that recorded it.
    given_to text not null references api_keys (id),
    given_at integer not null,
    withdrawn_at integer
) strict;

create index consents_by_account on consents (account_id);

create table enrolments (
    id text not null primary key,
    account_id text not null references accounts (id),
    consent_id text not null references consents (id),
    -- The desk terminal that may send samples.
    terminal_id text not null references terminals (id),
    modality text not null check (modality in ('finger', 'face')),
    instance integer not null check (instance between 0 and 10),
    state text not null check (state in ('capturing', 'review', 'active', 'revoked')),
    -- Single use: taken away by the first submission.
    nonce blob,
    expires_at integer not null,
    created_at integer not null,
    updated_by text not null
) strict;

-- Templates, encrypted under the account's template key, which only the matcher can unwrap.
create table templates (
    id text not null primary key,
    account_id text not null references accounts (id),
    -- No template without a consent.
    consent_id text not null references consents (id),
    enrolment_id text not null references enrolments (id),
    modality text not null check (modality in ('finger', 'face')),
    instance integer not null check (instance between 0 and 10),
    -- Templates of another algorithm or version are never compared.
    algorithm text not null,
    version integer not null,
    quality integer not null check (quality between 0 and 100),
    sealed blob not null,
    created_at integer not null
) strict;

create index templates_by_account on templates (account_id, modality);

-- Pairs of people whose faces or fingers are so much alike that a few digits must not choose between them. Written in
-- both directions. Either of them pays with the whole identifier only.
create table lookalikes (
    account_id text not null references accounts (id),
    modality text not null check (modality in ('finger', 'face')),
    other_account_id text not null references accounts (id),
    found_at integer not null,
    primary key (account_id, modality, other_account_id)
) strict;

-- Verifications of payers at tills.
create table verifications (
    id text not null primary key,
    terminal_id text not null references terminals (id),
    store_id text not null references stores (id),
    merchant_id text not null references merchants (id),
    -- The terminal's own reference; never changes.
    request_ref text not null,
    modality text not null check (modality in ('finger', 'face')),
    sensor_grade text not null,
    identifier_kind text not null,
    identifier_lookup blob not null,
    state text not null check (state in ('capturing', 'passed', 'failed', 'ended')),
    -- Why it failed, for the operator only.
    reason text,
    -- Single use: replaced after each submission that may be followed by another.
    nonce blob,
    attempts_left integer not null check (attempts_left >= 0),
    -- What the payer's face was to be lit with, JSON; absent without a challenge. Never changes.
    challenge text,
    -- What attack detection saw in the last sample, JSON; absent for modalities that have none.
    attack text,
    -- Who it was; when passed.
    account_id text references accounts (id),
    -- The one code of this verification that may be charged. Asking again replaces it.
    code_id text,
    expires_at integer not null,
    -- Stages in microseconds, JSON.
    timings text not null,
    created_at integer not null,
    updated_by text not null,
    unique (terminal_id, request_ref)
) strict;

create index verifications_by_terminal on verifications (terminal_id, state);

-- General payment codes. Immutable after issue: use is recorded by the payment, replacement by the verification.
create table payment_codes (
    id text not null primary key,
    -- HMAC-SHA-256 of the digits under the pepper; the digits are nowhere.
    mac blob not null check (length(mac) = 32),
    pepper_id text not null,
    verification_id text not null references verifications (id),
    account_id text not null references accounts (id),
    merchant_id text not null references merchants (id),
    store_id text not null references stores (id),
    terminal_id text not null references terminals (id),
    currency text not null,
    amount_minor_max integer not null check (amount_minor_max > 0),
    request_ref text not null,
    device_kind text not null,
    device_version text not null,
    register text not null,
    issued_at integer not null,
    expires_at integer not null,
    -- Looked up by both, so that another merchant's code costs and answers the same as none.
    unique (merchant_id, mac)
) strict;

create index payment_codes_by_verification on payment_codes (verification_id);

-- Streams of ledger rows. One row per writer; updated once per batch, guarded by epoch and sequence.
create table slots (
    slot integer not null primary key,
    -- Raised at take-over, so that a stale writer writes nothing.
    epoch integer not null,
    -- Sequence of the last row.
    sequence integer not null,
    -- Hash of the last row.
    hash blob not null check (length(hash) = 32)
) strict;

-- The ledger: immutable rows (payment, leg), debit and credit in one. Leg 0 is at once the single-use mark of code
-- and verification, the idempotency record and the event. What ends something open is a row of kind `closing` under
-- the same reference, so there is one at most. Never updated, never deleted.
create table payments (
    slot integer not null references slots (slot),
    sequence integer not null check (sequence > 0),
    payment_id text not null,
    -- Up to four legs, and four more for what a partial capture releases.
    leg integer not null check (leg between 0 and 7),
    kind text not null check (kind in ('charge', 'closing', 'reversal', 'refund', 'undo', 'undo_decision', 'top_up',
        'withdrawal', 'adjustment', 'fee', 'payout')),
    state text not null check (state in ('posted', 'pending', 'action_required', 'voided', 'expired')),
    part text check (part in ('goods', 'tip', 'deposit')),
    -- The payment that this one continues or undoes.
    parent_id text,
    debit text not null,
    credit text not null,
    -- 0 only where nothing was left to move.
    amount_minor integer not null check (amount_minor >= 0),
    currency text not null,
    account_id text,
    caller text not null,
    -- The key of whoever asked at the operator.
    actor_id text,
    -- On leg 0 only.
    reference text,
    -- On leg 0 of a charge only.
    code_id text unique,
    verification_id text unique,
    sensor_grade text,
    merchant_id text,
    store_id text,
    terminal_id text,
    created_at integer not null,
    -- When an open row ends by itself.
    expires_at integer,
    -- SHA-256 of the hash before it and the canonical bytes of this row.
    hash blob not null check (length(hash) = 32),
    primary key (slot, sequence),
    unique (payment_id, leg),
    unique (caller, kind, reference),
    check (debit <> credit),
    check ((leg = 0) = (reference is not null))
) strict;

create index payments_by_merchant on payments (merchant_id, slot, sequence);

create index payments_by_account on payments (account_id, created_at);

create index payments_by_parent on payments (parent_id);

-- What waits for its end: holds, step-ups, frozen undos, proposed adjustments. A list of work beside the ledger: each
-- is inserted with its row and deleted with the row that ends it.
create table open_payments (
    payment_id text not null primary key,
    kind text not null,
    state text not null,
    merchant_id text,
    terminal_id text,
    amount_minor integer not null check (amount_minor >= 0),
    -- When it ends by itself; absent: never.
    expires_at integer
) strict;

create index open_payments_by_expiry on open_payments (expires_at);

create index open_payments_by_terminal on open_payments (terminal_id);

-- Unknown codes that a merchant tried in one hour.
create table code_guesses (
    merchant_id text not null primary key references merchants (id),
    -- Number of the hour since 1970.
    hour integer not null,
    tries integer not null check (tries >= 0)
) strict;

-- What was agreed with a merchant; absent: no category, no undo, no fee.
create table merchant_terms (
    merchant_id text not null primary key references merchants (id),
    category text,
    -- How long payers may take a payment back without asking; 0: never.
    undo_minutes integer not null check (undo_minutes between 0 and 1440),
    -- In ten-thousandths of goods.
    fee integer not null check (fee between 0 and 2000),
    updated_by text not null
) strict;

-- Rules of the whole site; absent: UTC, PIN only.
create table rules (
    id integer not null primary key check (id = 1),
    -- Minutes east of UTC where the business day begins.
    utc_offset_minutes integer not null check (utc_offset_minutes between -720 and 840),
    -- 1: a gesture confirms as well as a PIN.
    gesture_confirms integer not null check (gesture_confirms in (0, 1)),
    updated_by text not null
) strict;

-- Limits by layer; each narrows. A value that is absent does not limit.
create table limits (
    layer text not null check (layer in ('site', 'grade', 'account', 'guardian')),
    -- Empty for the site, a sensor grade, or an account.
    subject text not null,
    payment_minor_max integer check (payment_minor_max >= 0),
    day_minor_max integer check (day_minor_max >= 0),
    day_count_max integer check (day_count_max >= 0),
    step_up_above_minor integer check (step_up_above_minor >= 0),
    from_minute integer,
    to_minute integer,
    -- Separated by spaces.
    categories_blocked text not null,
    updated_at integer not null,
    updated_by text not null,
    primary key (layer, subject)
) strict;

-- PINs of payers, as argon2id hashes.
create table pins (
    account_id text not null primary key references accounts (id),
    -- PHC string with its parameters and salt.
    hash text not null,
    -- Taken before each try, given back by a right one. 0: locked.
    tries_left integer not null check (tries_left >= 0),
    changed_at integer not null,
    updated_by text not null
) strict;

-- Statements of merchants. The sums never change; the state goes closed, approved, paid.
create table settlements (
    id text not null primary key,
    merchant_id text not null references merchants (id),
    currency text not null,
    state text not null check (state in ('closed', 'approved', 'paid')),
    -- Covers the merchant's rows behind this sequence ...
    after_sequence integer not null,
    -- ... up to this one.
    upto_sequence integer not null,
    opening_minor integer not null,
    goods_minor integer not null,
    tips_minor integer not null,
    deposits_minor integer not null,
    refunds_minor integer not null,
    reversals_minor integer not null,
    undone_minor integer not null,
    adjustments_minor integer not null,
    fees_minor integer not null,
    payouts_minor integer not null,
    closing_minor integer not null,
    frozen_minor integer not null,
    payable_minor integer not null check (payable_minor >= 0),
    closed_at integer not null,
    closed_by text not null,
    approved_at integer,
    -- Another person than who closed it.
    approved_by text check (approved_by <> closed_by),
    paid_at integer,
    paid_by text,
    updated_by text not null,
    -- A period is settled once.
    unique (merchant_id, after_sequence),
    check (closing_minor = opening_minor + goods_minor + tips_minor + deposits_minor + refunds_minor + reversals_minor
        + undone_minor + adjustments_minor + fees_minor + payouts_minor)
) strict;

-- What a merchant is owed by its rows up to a sequence. Written in the background, never by a payment; the balance is
-- this and the rows behind it.
create table merchant_rollups (
    merchant_id text not null,
    currency text not null,
    slot integer not null,
    sequence integer not null,
    balance_minor integer not null,
    primary key (merchant_id, currency, slot)
) strict;

-- How far readers of the stream have come.
create table cursors (
    consumer text not null,
    slot integer not null,
    sequence integer not null check (sequence >= 0),
    primary key (consumer, slot)
) strict;

-- How long the stages of a payment took. Outside the chain.
create table payment_timings (
    payment_id text not null,
    stage text not null,
    duration_us integer not null,
    primary key (payment_id, stage)
) strict;

-- What was refused and why. Outside the chain, kept 90 days.
create table attempts (
    id text not null primary key,
    at integer not null,
    operation text not null check (operation in ('verification', 'enrolment', 'payment_code', 'payment', 'activation', 'pin')),
    reason text not null,
    terminal_id text,
    merchant_id text,
    account_id text
) strict;

create index attempts_by_time on attempts (at);
