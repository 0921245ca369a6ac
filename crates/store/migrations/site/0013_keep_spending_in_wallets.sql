-- What was spent from a wallet on a business day, beside its balance: a charge adds up the rows of the day only where the
-- wallet cannot tell. Wallets that are there already cannot; of a new one everything is known since 1970.
alter table wallets add column spent_since integer;

alter table wallets add column spent_minor integer not null default 0;

alter table wallets add column spent_count integer not null default 0;
