-- Most payments continue no other one, so that most entries of this index said nothing (ADR 0038).
drop index payments_by_parent;

create index payments_by_parent on payments (parent_id) where parent_id is not null;
