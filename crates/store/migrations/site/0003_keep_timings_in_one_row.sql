-- The stages of a payment in one row. With a row for each, a payment wrote more rows beside the ledger than into it.
alter table payment_timings rename to payment_timing_stages;

-- How long the stages of a payment took. Outside the chain.
create table payment_timings (
    payment_id text not null primary key,
    -- Stages in microseconds, JSON.
    timings text not null
) strict;

insert into payment_timings (payment_id, timings)
select payment_id, '{' || string_agg('"' || stage || '":' || duration_us, ',') || '}'
from payment_timing_stages
group by payment_id;

drop table payment_timing_stages;
