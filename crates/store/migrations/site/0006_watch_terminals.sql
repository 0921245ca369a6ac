-- What each terminal said of itself last: one row a terminal, replaced. No person is in it.
create table terminal_health (
    terminal_id text not null primary key references terminals (id),
    received_at integer not null,
    -- The report as it came, JSON.
    report text not null,
    updated_by text not null
) strict;

-- What the operator set for terminals.
create table terminal_configurations (
    -- A terminal's id; empty: all of the site.
    subject text not null primary key,
    -- JSON; what it leaves out is not set here.
    configuration text not null,
    updated_at integer not null,
    updated_by text not null
) strict;
