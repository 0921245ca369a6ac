//! Conventional designs that we hold ourselves against on PostgreSQL: a commit for each payment, prepared, on a connection of
//! its own for everybody who waits.
//!
//! There are three. One statement for a payment on lean tables, with numbers where our ledger has text, and without what makes
//! ours one that can be audited: no order, no hash, no limits, one row. The same tables, but decided here and not in the
//! statement, which takes two round trips, as it does wherever it is decided outside of the database. And one statement on
//! the tables of a textbook: the code is marked as used, the payment has its two entries, and an event tells of it.
//!
//! Its SQL is here and not in `crates/store`, because it is nothing that the product ever runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::bench::load::Charging;
use crate::bench::postgres::{Place, Server};

/// Merchants, as many as our own load has.
const MERCHANTS: i64 = 50;

/// Money of each payer and of a payment, minor units.
const BALANCE_MINOR: i64 = 100_000_000;
const AMOUNT_MINOR: i64 = 137;

/// When codes expire, in milliseconds since 1970: not while this runs.
const EXPIRES_AT: i64 = i64::MAX;
const NOW: i64 = 1_800_000_000_000;

/// Connections that are left to others.
const CONNECTIONS_SPARED: usize = 10;

/// Questions by which a round trip is measured.
const QUESTIONS: usize = 50;

const TABLES: &str = "
    create table wallets (
        id bigint primary key,
        balance_minor bigint not null check (balance_minor >= 0)
    );
    create table codes (
        code bigint primary key,
        merchant bigint not null,
        wallet bigint not null,
        expires_at bigint not null
    );
    create table payments (
        code bigint primary key,
        merchant bigint not null,
        order_ref text not null,
        wallet bigint not null,
        amount_minor bigint not null check (amount_minor > 0),
        created_at bigint not null,
        unique (merchant, order_ref)
    );";

/// Of a textbook, besides.
const TEXTBOOK_TABLES: &str = "
    alter table codes add column used_at bigint;
    create table entries (
        payment bigint not null references payments (code),
        account text not null,
        amount_minor bigint not null,
        primary key (payment, account)
    );
    create table events (
        id bigint generated always as identity primary key,
        payment bigint not null references payments (code),
        kind text not null,
        created_at bigint not null
    );";

/// The debit locks the wallet. A code that was used, or an order that was paid, is a key that is there already.
const PAY: &str = "
    with code as (
        select code, wallet
        from codes
        where code = $1 and merchant = $2 and expires_at > $5
    ), debited as (
        update wallets
        set balance_minor = balance_minor - $4
        from code
        where wallets.id = code.wallet and wallets.balance_minor >= $4
        returning wallets.id
    )
    insert into payments (code, merchant, order_ref, wallet, amount_minor, created_at)
    select code.code, $2, $3, debited.id, $4, $5
    from code, debited";

/// The same with everything that a textbook writes.
const PAY_BY_TEXTBOOK: &str = "
    with code as (
        update codes
        set used_at = $5
        where code = $1 and merchant = $2 and expires_at > $5 and used_at is null
        returning code, wallet
    ), debited as (
        update wallets
        set balance_minor = balance_minor - $4
        from code
        where wallets.id = code.wallet and wallets.balance_minor >= $4
        returning wallets.id
    ), paid as (
        insert into payments (code, merchant, order_ref, wallet, amount_minor, created_at)
        select code.code, $2, $3, debited.id, $4, $5
        from code, debited
        returning code, wallet
    ), entered as (
        insert into entries (payment, account, amount_minor)
        select code, 'wallet ' || wallet, -$4 from paid
        union all
        select code, 'merchant ' || $2, $4 from paid
    )
    insert into events (payment, kind, created_at)
    select code, 'paid', $5
    from paid";

/// What is looked at before it is decided here. The wallet stays locked until the end.
const LOOK: &str = "
    select wallets.id, wallets.balance_minor
    from codes
    join wallets on wallets.id = codes.wallet
    where code = $1 and merchant = $2 and expires_at > $3
    for update of wallets";

/// What was decided here.
const DEBIT: &str = "update wallets set balance_minor = balance_minor - $2 where id = $1";
const WRITE: &str = "
    insert into payments (code, merchant, order_ref, wallet, amount_minor, created_at)
    values ($1, $2, $3, $4, $5, $6)";

/// How a payment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// One statement, and as little as can be in the tables.
    Lean,
    /// Two round trips to the same tables.
    TwoTrips,
    /// One statement, and what a textbook has in its tables.
    Textbook,
}

/// A design with its tables and payers.
pub struct Rival {
    place: Place,
    design: Design,
    payers: usize,
    client: Client,
    /// Codes that were made so far.
    codes: i64,
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("failed to connect to PostgreSQL")?;
    // Ends with its client, whose next call says why if it ends earlier.
    tokio::spawn(connection);
    Ok(client)
}

impl Rival {
    /// Makes them in a database of their own.
    pub async fn new(server: &Arc<Server>, design: Design, payers: usize) -> anyhow::Result<Self> {
        let place = server.make()?;
        let client = connect(&place.url).await?;
        client.batch_execute(TABLES).await?;
        if design == Design::Textbook {
            client.batch_execute(TEXTBOOK_TABLES).await?;
        }
        let fill =
            format!("insert into wallets select n, {BALANCE_MINOR} from generate_series(1, {payers}) n");
        client.batch_execute(&fill).await?;
        Ok(Self { place, design, payers, client, codes: 0 })
    }

    /// So many codes more, of payers as they come.
    pub async fn codes(&mut self, count: usize) -> anyhow::Result<Vec<i64>> {
        let (payers, first) = (self.payers, self.codes + 1);
        let last = self.codes + i64::try_from(count)?;
        self.client
            .batch_execute(&format!(
                "insert into codes (code, merchant, wallet, expires_at)
                 select n, n % {MERCHANTS}, 1 + floor(random() * {payers}), {EXPIRES_AT}
                 from generate_series({first}, {last}) n;
                 analyze"
            ))
            .await?;
        self.codes = last;
        Ok((first..=last).collect())
    }

    /// So many connections, each with its statements; through another way, if an address of one is given.
    pub async fn connections(&self, count: usize, url: Option<&str>) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let client = connect(url.unwrap_or(&self.place.url)).await?;
            let pay = match self.design {
                Design::Lean => Pay::AtOnce(client.prepare(PAY).await?),
                Design::Textbook => Pay::AtOnce(client.prepare(PAY_BY_TEXTBOOK).await?),
                Design::TwoTrips => Pay::InTwoTrips {
                    look: client.prepare(LOOK).await?,
                    debit: client.prepare(DEBIT).await?,
                    write: client.prepare(WRITE).await?,
                },
            };
            connections.push(Connection { client, pay });
        }
        Ok(connections)
    }

    /// Whether the server has room for so many connections more.
    pub async fn has_room_for(&self, count: usize) -> anyhow::Result<bool> {
        let free = self.client.query_one(
            "select cast(current_setting('max_connections') as bigint) - (select count(*) from pg_stat_activity)",
            &[],
        );
        let free: i64 = free.await?.try_get(0)?;
        Ok(usize::try_from(free).unwrap_or(0) >= count + CONNECTIONS_SPARED)
    }

    /// Where the tables are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Looks at the books, throws the tables away, and answers how many deadlocks there were.
    pub async fn close(self, paid: usize) -> anyhow::Result<u64> {
        let books = self.client.query_one(
            "select (select count(*) from payments),
                 (select cast(coalesce(sum(amount_minor), 0) as bigint) from payments),
                 (select cast(sum($1 - balance_minor) as bigint) from wallets)",
            &[&BALANCE_MINOR],
        );
        let books = books.await?;
        let [count, received, spent]: [i64; 3] = [books.try_get(0)?, books.try_get(1)?, books.try_get(2)?];
        ensure!(
            usize::try_from(count) == Ok(paid) && received == spent,
            "the books of {:?} are wrong after the run: {count} rows of {paid} payments",
            self.design
        );
        drop(self.client);
        self.place.end()
    }
}

/// Statements of a connection.
enum Pay {
    AtOnce(Statement),
    InTwoTrips { look: Statement, debit: Statement, write: Statement },
}

/// Somebody who pays over a connection of their own.
pub struct Connection {
    client: Client,
    pay: Pay,
}

impl Charging for Connection {
    type Code = i64;

    async fn charge(&mut self, code: i64) -> anyhow::Result<bool> {
        let (client, merchant, order_ref) = (&self.client, code % MERCHANTS, format!("o{code}"));
        let (look, debit, write) = match &self.pay {
            Pay::AtOnce(pay) => {
                let paid = client.execute(pay, &[&code, &merchant, &order_ref, &AMOUNT_MINOR, &NOW]).await?;
                return Ok(paid == 1);
            }
            Pay::InTwoTrips { look, debit, write } => (look, debit, write),
        };
        // What stands together in a `join` is sent together.
        let asked: Parameters<'_, 3> = [&code, &merchant, &NOW];
        let (begun, found) = tokio::join!(client.batch_execute("begin"), client.query_opt(look, &asked));
        begun?;
        let found = found?.map(|found| anyhow::Ok((found.try_get(0)?, found.try_get(1)?)));
        let found: Option<(i64, i64)> = found.transpose()?;
        let Some((wallet, _)) = found.filter(|(_, balance_minor)| *balance_minor >= AMOUNT_MINOR) else {
            client.batch_execute("rollback").await?;
            return Ok(false);
        };
        let debited: Parameters<'_, 2> = [&wallet, &AMOUNT_MINOR];
        let written: Parameters<'_, 6> = [&code, &merchant, &order_ref, &wallet, &AMOUNT_MINOR, &NOW];
        let (debited, written, committed) = tokio::join!(
            client.execute(debit, &debited),
            client.execute(write, &written),
            client.batch_execute("commit")
        );
        committed?;
        Ok((debited?, written?) == (1, 1))
    }
}

type Parameters<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];

/// The median round trip to a database: a question that asks nothing.
pub async fn round_trip(url: &str) -> anyhow::Result<Duration> {
    let client = connect(url).await?;
    let mut took = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let asked = Instant::now();
        client.simple_query("").await?;
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    Ok(took[QUESTIONS / 2])
}
