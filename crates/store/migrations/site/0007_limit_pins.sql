-- Payers may be verified by number and PIN from now on. Sites of before get limits for that: those of a finger, which the
-- operator knows. Nothing is limited by a layer that has no row.
insert into limits (layer, subject, payment_minor_max, day_minor_max, day_count_max, step_up_above_minor, from_minute,
    to_minute, categories_blocked, updated_at, updated_by)
select layer, 'pin', payment_minor_max, day_minor_max, day_count_max, step_up_above_minor, from_minute, to_minute,
    categories_blocked, updated_at, 'pins_limit'
from limits
where layer = 'grade' and subject = 'finger';
