//! Our SQL stays inside the subset that SQLite, PostgreSQL and the engines that speak its protocol share (ADR 0005).
//!
//! Looked at: every string literal of `crates/store/src` that reads like SQL, and the migrations whole.

use crate::{assert_none, files, read};

/// Banned sequences of words, what to do instead. `*` stands for any one word.
const BANNED: &[(&str, &str)] = &[
    ("autoincrement", "make the id in the application; gapless order comes from the stream's row"),
    ("serial", "make the id in the application"),
    ("bigserial", "make the id in the application"),
    ("trigger", "decide in `domain` and write the result"),
    ("savepoint", "one named transaction is all or nothing"),
    ("merge", "read, decide, then insert or update with a guard"),
    ("replace into", "insert with `on conflict (columns) do nothing` and look at the affected rows"),
    ("insert or", "insert with `on conflict (columns) do nothing` and look at the affected rows"),
    ("or replace", "insert with `on conflict (columns) do nothing` and look at the affected rows"),
    ("now (", "pass the time as a parameter"),
    ("current_timestamp", "pass the time as a parameter"),
    ("current_date", "pass the time as a parameter"),
    ("current_time", "pass the time as a parameter"),
    ("clock_timestamp", "pass the time as a parameter"),
    ("datetime (", "pass the time as a parameter"),
    ("strftime", "pass the time as a parameter"),
    ("unixepoch", "pass the time as a parameter"),
    ("julianday", "pass the time as a parameter"),
    ("random (", "pass random bytes as a parameter"),
    ("randomblob", "pass random bytes as a parameter"),
    ("create temp", "pass the values as parameters"),
    ("create temporary", "pass the values as parameters"),
    ("create type", "use text with a `check (... in (...))`"),
    ("enum", "use text with a `check (... in (...))`"),
    ("deferrable", "write rows in an order in which every constraint holds"),
    ("generated always", "compute it in `domain`"),
    ("listen", "poll a cursor"),
    ("notify", "poll a cursor"),
    ("advisory", "lock a row that exists"),
    ("language plpgsql", "decide in `domain`"),
    ("ifnull", "use `coalesce`"),
    ("rowid", "use the primary key"),
    ("glob", "compare whole values"),
];

/// Words that are written in lower case.
const KEYWORDS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "create",
    "table",
    "index",
    "from",
    "where",
    "and",
    "or",
    "not",
    "null",
    "into",
    "values",
    "set",
    "join",
    "on",
    "order",
    "by",
    "group",
    "limit",
    "primary",
    "key",
    "unique",
    "check",
    "references",
    "strict",
    "returning",
    "conflict",
    "do",
    "nothing",
    "in",
    "is",
    "as",
    "with",
    "exists",
    "alter",
    "drop",
    "begin",
    "commit",
    "rollback",
    "pragma",
    "integer",
    "text",
    "blob",
    "count",
    "sum",
    "max",
    "min",
    "coalesce",
    "case",
    "when",
    "then",
    "else",
    "end",
    "union",
    "all",
    "distinct",
    "left",
    "inner",
    "desc",
    "asc",
];

/// First words by which a string literal is taken for SQL.
const BEGINNINGS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "create",
    "alter",
    "drop",
    "with",
    "merge",
    "replace",
    "pragma",
    "begin",
    "savepoint",
    "listen",
    "notify",
];

/// Types of columns, the same on every engine: 64-bit integers, text, bytes. `bigint` is PostgreSQL's `integer`.
const COLUMN_TYPES: &[&str] = &["integer", "bigint", "text", "blob", "bytea"];

/// A word or mark of SQL with its line. Comments are dropped; a quoted value is one token that begins with a quote.
fn tokens(sql: &str, first_line: usize) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let mut line = first_line;
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        let start = line;
        let mut token = String::from(character);
        match character {
            '\n' => line += 1,
            '-' if characters.peek() == Some(&'-') => {
                while characters.peek().is_some_and(|next| *next != '\n') {
                    characters.next();
                }
                continue;
            }
            '\'' | '"' => {
                for next in characters.by_ref() {
                    line += usize::from(next == '\n');
                    token.push(next);
                    if next == character {
                        break;
                    }
                }
            }
            _ if character.is_alphanumeric() || character == '_' => {
                while let Some(next) = characters.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    token.push(next);
                }
            }
            _ => {}
        }
        if !character.is_whitespace() {
            tokens.push((start, token));
        }
    }
    tokens
}

fn lint(file: &str, sql: &str, first_line: usize) -> Vec<String> {
    let tokens = tokens(sql, first_line);
    let mut findings = Vec::new();
    let mut find = |line: usize, what: &str, advice: &str| {
        findings.push(format!("{file}:{line}: {what} is outside our SQL subset (ADR 0005). Do: {advice}"));
    };
    for (index, (line, token)) in tokens.iter().enumerate() {
        for (banned, advice) in BANNED {
            let words = banned.split(' ').enumerate();
            let is_here = |(offset, word): (usize, &str)| {
                tokens.get(index + offset).is_some_and(|(_, token)| token.eq_ignore_ascii_case(word))
            };
            if words.into_iter().all(is_here) {
                find(*line, &format!("`{banned}`"), advice);
            }
        }
        let lower = token.to_lowercase();
        if *token != lower && KEYWORDS.contains(&lower.as_str()) {
            find(*line, &format!("upper-case `{token}`"), "write keywords in lower case");
        }
    }
    for (index, (line, _)) in tokens.iter().enumerate().filter(|(_, (_, token))| token == "is") {
        let mut after =
            tokens[index + 1..].iter().map(|(_, token)| token.as_str()).skip_while(|token| *token == "not");
        if !matches!(after.next(), Some("null" | "distinct") | None) {
            find(*line, "`is` between two values", "use `is distinct from` or `is not distinct from`");
        }
    }
    for statement in tokens.split(|(_, token)| token == ";") {
        let words: Vec<&str> = statement.iter().map(|(_, token)| token.as_str()).collect();
        let Some((line, _)) = statement.first() else { continue };
        match words.as_slice() {
            ["create", "index", rest @ ..] | ["create", "unique", "index", rest @ ..] => {
                if rest.contains(&"where") && !is_of_present_values(rest) {
                    find(
                        *line,
                        "a partial index",
                        "leave out nothing but absent values, by `where COLUMN is not null`",
                    );
                }
                if rest.iter().filter(|word| **word == "(").count() > 1 {
                    find(*line, "an index over an expression", "store the value in a column of its own");
                }
            }
            ["create", "table", ..] => {
                for (line, column, kind) in columns(statement) {
                    if !COLUMN_TYPES.contains(&kind) {
                        find(
                            line,
                            &format!("column `{column}` of type `{kind}`"),
                            "use integer, text or blob",
                        );
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// Whether an index leaves out rows without a value and nothing else.
fn is_of_present_values(index: &[&str]) -> bool {
    let condition = index.iter().position(|word| *word == "where").map(|place| &index[place + 1..]);
    matches!(condition, Some([_, "is", "not", "null"]))
}

/// Line, name and type of each column of a `create table`.
fn columns(statement: &[(usize, String)]) -> Vec<(usize, &str, &str)> {
    let mut columns = Vec::new();
    let mut depth = 0;
    for (index, (_, token)) in statement.iter().enumerate() {
        let begins_item = (depth == 0 && token == "(") || (depth == 1 && token == ",");
        depth += i32::from(token == "(") - i32::from(token == ")");
        let (Some((line, name)), Some((_, kind))) = (statement.get(index + 1), statement.get(index + 2))
        else {
            continue;
        };
        let constraints = ["primary", "unique", "check", "foreign", "constraint"];
        if begins_item && !constraints.contains(&name.as_str()) {
            columns.push((*line, name.as_str(), kind.as_str()));
        }
    }
    columns
}

/// String literals of Rust source with the line they begin in. Escapes stay as written, except that a backslash at
/// the end of a line goes.
fn literals(source: &str) -> Vec<(usize, String)> {
    let characters: Vec<char> = source.chars().collect();
    let mut literals = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < characters.len() {
        let rest = &characters[index..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().take_while(|character| **character != '\n').count(),
            // A quote or a backslash as a character; lifetimes fall through.
            ['\'', '"', '\'', ..] => 3,
            ['\'', '\\', _, '\'', ..] => 4,
            ['r', '"', ..] | ['r', '#', ..] => {
                let hashes = rest[1..].iter().take_while(|character| **character == '#').count();
                let body = rest.get(1 + hashes..).unwrap_or_default();
                if body.first() == Some(&'"') {
                    let end: Vec<char> =
                        std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let text = &body[1..];
                    let length =
                        text.windows(end.len()).position(|window| window == end).unwrap_or(text.len());
                    literals.push((line, text[..length].iter().collect()));
                    1 + hashes + 1 + length + end.len()
                } else {
                    1
                }
            }
            ['"', text @ ..] => {
                let mut length = 0;
                while length < text.len() && text[length] != '"' {
                    length += if text[length] == '\\' { 2 } else { 1 };
                }
                let length = length.min(text.len());
                literals.push((line, text[..length].iter().collect::<String>().replace("\\\n", "\n")));
                length + 2
            }
            // A name that ends in r, such as `str`, begins no raw string.
            [first, ..] if first.is_alphanumeric() || *first == '_' => {
                rest.iter().take_while(|character| character.is_alphanumeric() || **character == '_').count()
            }
            _ => 1,
        };
        let end = (index + length).min(characters.len());
        line += characters[index..end].iter().filter(|character| **character == '\n').count();
        index = end;
    }
    literals
}

fn reads_like_sql(literal: &str) -> bool {
    let mut words = literal.split_whitespace().map(str::to_lowercase);
    words.next().is_some_and(|first| BEGINNINGS.contains(&first.as_str())) && words.next().is_some()
}

fn lint_rust(file: &str, source: &str) -> Vec<String> {
    let sql = literals(source).into_iter().filter(|(_, literal)| reads_like_sql(literal));
    sql.flat_map(|(line, literal)| lint(file, &literal, line)).collect()
}

#[test]
fn our_sql_stays_inside_the_subset() {
    let mut findings = Vec::new();
    for file in files() {
        if file.starts_with("crates/store/migrations/") && file.ends_with(".sql") {
            findings.extend(lint(&file, &read(&file), 1));
        } else if file.starts_with("crates/store/src/") && file.ends_with(".rs") {
            findings.extend(lint_rust(&file, &read(&file)));
        }
    }
    assert_none(&findings);
}

/// Clients of databases, by which SQL outside of the store would show.
const CLIENTS: [&str; 2] = ["rusqlite", "tokio_postgres"];

/// Outside of the store all the same: the design that the benchmark holds ours against, and where it finds a server.
const NOT_OURS: [&str; 2] = ["crates/selfsame/src/bench/rival.rs", "crates/selfsame/src/bench/postgres.rs"];

fn sql_elsewhere(file: &str, text: &str) -> Vec<String> {
    // Tests and examples look into databases behind the server's back: that is what they are for.
    let elsewhere = ["crates/store/", "/tests/", "/examples/"].iter().all(|place| !file.contains(place));
    let named =
        CLIENTS.iter().filter(|client| elsewhere && !NOT_OURS.contains(&file) && text.contains(**client));
    let finding = |client: &&str| {
        format!("{file}:1: names `{client}`. Do: move the SQL to crates/store, one method per use")
    };
    named.map(finding).collect()
}

#[test]
fn sql_lives_in_the_store_only() {
    let files = files();
    let sources = files.iter().filter(|file| file.ends_with(".rs") && file.starts_with("crates/"));
    let findings: Vec<String> = sources.flat_map(|file| sql_elsewhere(file, &read(file))).collect();
    assert_none(&findings);
    for file in NOT_OURS {
        assert!(files.iter().any(|found| found == file), "{file} is gone: take it out of the list");
    }
}

#[test]
fn sql_outside_of_the_store_is_found() {
    let text = "use tokio_postgres::Client;";
    assert_eq!(sql_elsewhere("crates/server/src/payment.rs", text).len(), 1);
    assert_eq!(sql_elsewhere("crates/selfsame/src/bench/load.rs", "rusqlite").len(), 1);
    for file in ["crates/store/src/slot.rs", "crates/cluster/tests/it/commit.rs", NOT_OURS[0]] {
        assert_none(&sql_elsewhere(file, text));
    }
}

#[test]
fn what_is_outside_the_subset_is_found() {
    let refused = [
        "create table a (id integer primary key autoincrement) strict",
        "create table a (id bigserial)",
        "create trigger a after insert on b begin select 1; end",
        "savepoint a",
        "create index a on b (c) where d is null",
        "create index a on b (c) where d is not null and e is not null",
        "create unique index a on b (c) where d is null",
        "create index a on b (lower(c))",
        "create table a (price real) strict",
        "create table a (id integer not null, flags any) strict",
        "insert into a (b) values (now())",
        "insert or replace into a (b) values (?1)",
        "update a set b = current_timestamp",
        "merge into a using b",
        "SELECT id from a",
        "select id FROM a",
        "create type mood as enum ('a')",
        "select a is not b from c",
    ];
    for sql in refused {
        assert!(!lint("a.sql", sql, 1).is_empty(), "{sql}");
    }
    let taken = [
        "select max(sequence), 'now()' from payments where created_at > ?1 -- SERIAL is for others",
        "insert into a (b) values (?1) on conflict (b) do nothing returning b",
        "create table a (\n id text not null primary key,\n amount_minor integer not null check (amount_minor > 0),\n unique (id, b)\n) strict",
        "create index a on b (c, d)",
        "select a is not distinct from b from c where d is null and e is not null",
        "create index a on b (c) where c is not null;",
    ];
    for sql in taken {
        assert_none(&lint("a.sql", sql, 1));
    }
}

#[test]
fn sql_is_found_in_rust_source_with_its_line() {
    let source = "fn f<'a>() {\n let quote = '\"';\n // \"SELECT\n g(\"select 1\\\n  from a where b = now()\");\n h(r#\"savepoint \"x\"\"#); }";
    let found: Vec<_> = literals(source).into_iter().map(|(line, _)| line).collect();
    assert_eq!(found, [4, 6]);
    let findings = lint_rust("a.rs", source);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].starts_with("a.rs:5: `now (`"), "{findings:?}");
    assert!(findings[1].starts_with("a.rs:6: `savepoint`"), "{findings:?}");
    assert!(lint_rust("a.rs", "f(\"selected accounts NOT found\")").is_empty());
}
