-- Staff who are signed in at a page of the server with an API key. The page's cookie holds the token.
create table sign_ins (
    -- SHA-256 of the token, which has 256 random bits.
    token_hash blob not null primary key check (length(token_hash) = 32),
    -- Whose rights it has. It counts only while the key is in force.
    key_id text not null references api_keys (id),
    page text not null check (page in ('till', 'desk')),
    signed_in_at integer not null,
    -- Last used; raised now and then, and not by every request.
    used_at integer not null,
    updated_by text not null
) strict;

create index sign_ins_by_key on sign_ins (key_id, page, used_at);
