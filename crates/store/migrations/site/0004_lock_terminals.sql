-- When the operator locked the terminal; absent while it may work.
alter table terminals add column locked_at integer;
-- Which payments came of a terminal's latest verifications.
create index verifications_by_terminal_time on verifications (terminal_id, created_at);
