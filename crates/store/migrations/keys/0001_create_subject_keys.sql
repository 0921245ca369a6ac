-- Keys of persons, apart from the site's data and with their own short-lived backup: erasing a person means
-- destroying these rows, and a key that lives on in an old backup would undo it.
create table subject_keys (
    account_id text not null,
    -- profile: wrapped for the server. template: wrapped for the matcher, so that the server cannot read templates.
    purpose text not null check (purpose in ('profile', 'template')),
    wrapped blob not null,
    created_at integer not null,
    primary key (account_id, purpose)
) strict;
