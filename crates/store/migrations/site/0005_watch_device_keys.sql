-- The key that took this one's place at a rotation. The old key may ask for that answer again, and nothing else.
alter table terminal_keys add column replaced_by text;
-- When the terminal's key was last used in a way that a copy of it would explain; absent without a warning.
alter table terminals add column clone_suspected_at integer;

-- How far the uses of each device key have come (ADR 0024). Changed in the transaction that remembers the nonce.
create table key_uses (
    key_id text not null primary key references terminal_keys (id),
    -- The furthest use: start of the machine's programs, random name of that start, number of the signature in it.
    start integer not null,
    instance text not null check (length(instance) = 16),
    counter integer not null,
    seen_at integer not null,
    -- A use on its way to become the floor.
    mark_start integer not null,
    mark_counter integer not null,
    marked_at integer not null,
    -- Nothing honest is at or behind this any more.
    floor_start integer not null,
    floor_counter integer not null,
    -- When a clone was last recorded; absent: never, or dismissed.
    suspected_at integer
) strict;

-- Attempts take one more operation: requests that were signed on a second machine.
alter table attempts rename to attempts_before;
drop index attempts_by_time;

-- What was refused and why. Outside the chain, kept 90 days.
create table attempts (
    id text not null primary key,
    at integer not null,
    operation text not null check (operation in ('verification', 'enrolment', 'payment_code', 'payment', 'activation', 'pin',
        'signature')),
    reason text not null,
    terminal_id text,
    merchant_id text,
    account_id text
) strict;

create index attempts_by_time on attempts (at);

insert into attempts (id, at, operation, reason, terminal_id, merchant_id, account_id)
select id, at, operation, reason, terminal_id, merchant_id, account_id
from attempts_before;

drop table attempts_before;
