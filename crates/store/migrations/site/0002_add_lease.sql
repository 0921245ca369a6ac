-- A slot is leased to the process that writes it. The owner shows that it is alive by every row (the sequence moves)
-- and, while nothing is paid, by the beat; the epoch tells owners apart.
alter table slots add column held integer not null default 0 check (held in (0, 1));
-- Raised by the owner several times a lease. Only its changes count, never its value.
alter table slots add column beat integer not null default 0;
