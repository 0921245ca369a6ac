-- Which rows a statement covers, slot by slot: those behind one sequence, up to another. In `settlements` the two
-- numbers count the rows of all slots from here on; with one slot that is the same.
create table settlement_ranges (
    settlement_id text not null references settlements (id),
    merchant_id text not null references merchants (id),
    slot integer not null,
    after_sequence integer not null,
    upto_sequence integer not null check (upto_sequence >= after_sequence),
    primary key (settlement_id, slot),
    -- A row is settled once.
    unique (merchant_id, slot, after_sequence)
) strict;

insert into settlement_ranges (settlement_id, merchant_id, slot, after_sequence, upto_sequence)
select id, merchant_id, 0, after_sequence, upto_sequence
from settlements;
