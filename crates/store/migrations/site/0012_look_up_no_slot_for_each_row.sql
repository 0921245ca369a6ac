-- The ledger without a reference to its slots. A row's slot is there: the transaction that writes the row has moved the
-- slot's head just before, guarded by epoch and sequence. PostgreSQL looked it up once more for every row, which was a
-- twelfth of all its work for a batch.
drop index payments_by_merchant;

drop index payments_by_account;

drop index payments_by_parent;

alter table payments rename to payments_before;

create table payments (
    -- Numbers first: PostgreSQL begins each at a multiple of eight bytes.
    slot integer not null,
    sequence integer not null check (sequence > 0),
    -- Up to four legs, and four more for what a partial capture releases.
    leg integer not null check (leg between 0 and 7),
    -- 0 only where nothing was left to move.
    amount_minor integer not null check (amount_minor >= 0),
    created_at integer not null,
    -- When an open row ends by itself.
    expires_at integer,
    payment_id text not null,
    kind text not null check (kind in ('charge', 'closing', 'reversal', 'refund', 'undo', 'undo_decision', 'top_up',
        'withdrawal', 'adjustment', 'fee', 'payout')),
    state text not null check (state in ('posted', 'pending', 'action_required', 'voided', 'expired')),
    part text check (part in ('goods', 'tip', 'deposit')),
    -- The payment that this one continues or undoes.
    parent_id text,
    debit text not null,
    credit text not null,
    currency text not null,
    account_id text,
    caller text not null,
    -- The key of whoever asked at the operator.
    actor_id text,
    -- On leg 0 only.
    reference text,
    -- On leg 0 of a charge only. A code belongs to one verification, and that pays once.
    code_id text,
    verification_id text unique,
    sensor_grade text,
    merchant_id text,
    store_id text,
    terminal_id text,
    -- SHA-256 of the hash before it and the canonical bytes of this row.
    hash blob not null check (length(hash) = 32),
    primary key (slot, sequence),
    unique (payment_id, leg),
    unique (caller, kind, reference),
    check (debit <> credit),
    check ((leg = 0) = (reference is not null))
) strict;

insert into payments (slot, sequence, leg, amount_minor, created_at, expires_at, payment_id, kind, state, part, parent_id, debit, credit,
    currency, account_id, caller, actor_id, reference, code_id, verification_id, sensor_grade, merchant_id, store_id,
    terminal_id, hash)
select slot, sequence, leg, amount_minor, created_at, expires_at, payment_id, kind, state, part, parent_id, debit, credit,
    currency, account_id, caller, actor_id, reference, code_id, verification_id, sensor_grade, merchant_id, store_id,
    terminal_id, hash
from payments_before
order by slot, sequence;

drop table payments_before;

create index payments_by_merchant on payments (merchant_id, slot, sequence);

create index payments_by_account on payments (account_id, created_at);

create index payments_by_parent on payments (parent_id) where parent_id is not null;
