//! A fresh test site in a temporary folder: the real server on a free port, the real matcher on a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use selfsame_cluster::{ClusterError, SharedDatabase};
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::site::Mode;
use selfsame_domain::verification::Policy;
use selfsame_matcher::MatcherError;
use selfsame_server::authority::Authority;
use selfsame_server::setup::{CreatedSite, FirstTerminal, NewSite, create_site};
use selfsame_server::{ClonePolicy, Config, Secrets, Server, ServerError};
use selfsame_store::{Database, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::device::Device;

/// Longest wait for something that only a defect can delay.
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`TestSite::flush`] leaves behind itself.
const FLUSHED: &str = "account_not_found";

/// What a test may choose.
#[derive(Clone)]
pub struct Setup {
    pub mode: Mode,
    pub policy: Policy,
    pub code_lifetime_seconds: u32,
    pub amount_minor_max: i64,
    pub pass_lifetime_seconds: u32,
    pub colour_flash: bool,
    pub clone_policy: ClonePolicy,
    /// The pack by which faces are compared; without one there are fingers only.
    pub face_pack: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: Mode::Test,
            policy: Policy::DEFAULT,
            code_lifetime_seconds: 60,
            amount_minor_max: 5_000,
            pass_lifetime_seconds: 300,
            colour_flash: false,
            clone_policy: ClonePolicy::Warn,
            face_pack: None,
        }
    }
}

/// Something that runs until it is stopped.
struct Running<E> {
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), E>>,
}

impl<E: std::fmt::Debug> Running<E> {
    async fn stop(self) {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.done).await.expect("it ends when it is told to");
        ended.expect("it does not panic").expect("it ends well");
    }
}

/// A site that runs.
pub struct TestSite {
    folder: PathBuf,
    _temporary: Option<TempDir>,
    setup: Setup,
    pub clock: Arc<AdvancingClock<SystemClock>>,
    pub created: CreatedSite,
    pub address: SocketAddr,
    pub operator: Caller,
    pub merchant: Caller,
    pub nobody: Caller,
    pub till: Device,
    pub desk: Device,
    server: Mutex<Option<Running<ServerError>>>,
    matcher: Mutex<Option<Running<MatcherError>>>,
    counter: AtomicU64,
}

fn matcher_config(folder: &Path, face_pack: Option<&str>) -> selfsame_matcher::Config {
    selfsame_matcher::Config {
        socket: folder.join("matcher.sock"),
        opening_seed: Zeroizing::new([4; 32]),
        template_key: KeyEncryptionKey::new(Zeroizing::new([5; 32])),
        face_pack: face_pack.map(crate::face::pack),
    }
}

/// Two files in this folder.
pub fn files(folder: &Path) -> Database {
    Database::files(folder.join("site.db"), folder.join("keys.db"))
}

/// Where the site of a folder is: in files, or, with `SELFSAME_TEST_ENGINE=postgres`, in a database of its own.
/// `cargo xtask test` runs these tests with both.
async fn database(folder: &Path) -> Database {
    match shared_database(folder).await {
        // With one slot, as on SQLite: these tests look at sequences.
        Some(database) => Database::Postgres { url: database.url(), writers: 1 },
        None => files(folder),
    }
}

async fn shared_database(folder: &Path) -> Option<SharedDatabase> {
    SharedDatabase::of(folder).await.expect("PostgreSQL starts")
}

/// Runs one command at the folder's database on PostgreSQL, if it is there, in the middle of a test. On a thread of its own,
/// because a test's may not wait.
fn query(folder: &Path, sql: &str) -> Option<Result<String, ClusterError>> {
    let query = async {
        let database = shared_database(folder).await?;
        Some(database.query(&format!("set search_path = selfsame, selfsame_keys; {sql}")).await)
    };
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(query)
    };
    std::thread::scope(|scope| scope.spawn(wait).join()).expect("it does not panic")
}

/// The server's settings for a site in this database.
pub fn server_config(folder: &Path, database: Database, setup: &Setup, listen: SocketAddr) -> Config {
    Config {
        listen,
        database,
        matcher_socket: folder.join("matcher.sock"),
        secrets: Secrets {
            code_pepper: Zeroizing::new([1; 32]),
            identifier_pepper: Zeroizing::new([2; 32]),
            profile_key: KeyEncryptionKey::new(Zeroizing::new([3; 32])),
        },
        code_prefix: None,
        code_lifetime_seconds: setup.code_lifetime_seconds,
        amount_minor_max: setup.amount_minor_max,
        pass_lifetime_seconds: setup.pass_lifetime_seconds,
        policy: setup.policy,
        colour_flash: setup.colour_flash,
        clone_policy: setup.clone_policy,
        terminals: Vec::new(),
    }
}

pub fn new_clock() -> Arc<AdvancingClock<SystemClock>> {
    Arc::new(AdvancingClock::new(SystemClock))
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

pub fn new_site(mode: Mode) -> NewSite {
    NewSite {
        mode,
        currency: "EUR".parse().expect("a currency"),
        merchant_name: "Canteen".to_owned(),
        store_name: "Main hall".to_owned(),
        limits: Vec::new(),
    }
}

async fn start_matcher(folder: &Path, face_pack: Option<&str>) -> Running<MatcherError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let config = matcher_config(folder, face_pack);
    let socket = config.socket.clone();
    let done = tokio::spawn(selfsame_matcher::run(config, async move {
        let _ = stopped.await;
    }));
    let listening = async {
        while UnixStream::connect(&socket).await.is_err() {
            assert!(!done.is_finished(), "the matcher ended at once");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("the matcher listens");
    Running { stop, done }
}

fn serve(server: Server) -> Running<ServerError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(server.serve(async move {
        let _ = stopped.await;
    }));
    Running { stop, done }
}

impl TestSite {
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        // Short, because a socket's path has 107 bytes at most.
        let temporary = TempDir::with_prefix_in("selfsame-", "/tmp").expect("a temporary folder");
        let folder = temporary.path().to_owned();
        Self { _temporary: Some(temporary), ..Self::start_in(folder, setup).await }
    }

    /// In a folder that somebody else looks after.
    pub async fn start_in(folder: PathBuf, setup: Setup) -> Self {
        let clock = new_clock();
        let config = server_config(&folder, database(&folder).await, &setup, any_port());
        let created = create_site(&config.database, new_site(setup.mode), clock.now());
        let created = created.await.expect("a new site");
        let matcher = start_matcher(&folder, setup.face_pack).await;
        let server = Server::bind(config, clock.clone()).await.expect("the server starts");
        let server = server.with_authority(Authority::make(&[], clock.now()).expect("an authority"));
        let address = server.address();
        let server = serve(server);
        let base = format!("http://{address}");
        let activate = async |terminal: &FirstTerminal, name: &str| {
            let file = folder.join(name);
            let code = &terminal.activation_code.0;
            let device = Device::activate(&base, terminal.terminal, code, &file, clock.clone()).await;
            device.expect("a new terminal is activated")
        };
        let (till, desk) =
            (activate(&created.till, "till.json").await, activate(&created.desk, "desk.json").await);
        Self {
            operator: Caller::new(&base, Some(&created.operator_key.0)),
            merchant: Caller::new(&base, Some(&created.merchant_key.0)),
            nobody: Caller::new(&base, None),
            folder,
            _temporary: None,
            setup,
            clock,
            created,
            address,
            till,
            desk,
            server: Mutex::new(Some(server)),
            matcher: Mutex::new(Some(matcher)),
            counter: AtomicU64::new(1),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A number that was not given before on this site.
    pub fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A reference that was not used before on this site.
    pub fn reference(&self) -> String {
        format!("R-{}", self.next())
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn stop_matcher(&self) {
        let matcher = self.matcher.lock().expect("no test panics with it").take();
        matcher.expect("it runs").stop().await;
    }

    pub async fn start_matcher(&self) {
        self.start_matcher_with(self.setup.face_pack).await;
    }

    /// Starts a matcher that compares faces by another pack.
    pub async fn start_matcher_with(&self, face_pack: Option<&str>) {
        let matcher = start_matcher(&self.folder, face_pack).await;
        *self.matcher.lock().expect("no test panics with it") = Some(matcher);
    }

    /// Stops the server and starts it again on the same address and files.
    pub async fn restart_server(&self) {
        let server = self.server.lock().expect("no test panics with it").take();
        server.expect("it runs").stop().await;
        let database = database(&self.folder).await;
        let config = server_config(&self.folder, database, &self.setup, self.address);
        let server = Server::bind(config, self.clock.clone()).await.expect("the server starts again");
        *self.server.lock().expect("no test panics with it") = Some(serve(server));
    }

    /// A second server on the same files, which takes the first one for gone.
    pub async fn start_second_server(&self) -> String {
        let config = server_config(&self.folder, files(&self.folder), &self.setup, any_port());
        // In place of a lease in which the first one is frozen. A beat of it may come in between.
        let store = Store::open(&config.database).expect("the files open");
        while store.take_over_slot(Duration::ZERO).await.expect("it is written").is_none() {}
        store.release_slot().await.expect("it is written");
        let server = Server::bind(config, self.clock.clone()).await.expect("the second server starts");
        let base = format!("http://{}", server.address());
        // Ends with the test's runtime.
        let Running { stop, .. } = serve(server);
        std::mem::forget(stop);
        base
    }

    /// A further terminal of the first store, activated.
    pub async fn add_terminal(&self, purpose: &str) -> Device {
        let created = self.create_terminal(purpose).await;
        let terminal = created["id"].as_str().expect("an id").parse().expect("a terminal id");
        let code = created["activation_code"].as_str().expect("a code");
        let file = self.folder.join(format!("{terminal}.json"));
        let device = Device::activate(&self.base(), terminal, code, &file, self.clock.clone()).await;
        device.expect("a new terminal is activated")
    }

    /// A further terminal of the first store that waits for its activation.
    pub async fn create_terminal(&self, purpose: &str) -> Value {
        let new = json!({ "store": self.created.store, "name": "One more", "purpose": purpose });
        self.operator.post("/v1/terminals", &new).await.ok(201)
    }

    /// A second merchant with a till of its own.
    pub async fn add_merchant(&self) -> Caller {
        let new = json!({ "request_ref": self.reference(), "name": "Kiosk", "store_name": "Yard" });
        let created = self.operator.post("/v1/merchants", &new).await.ok(201);
        Caller::new(&self.base(), created["key"].as_str())
    }

    /// What was refused, newest first, as `(operation, reason)`.
    async fn attempts_by_time(&self) -> Vec<(String, String)> {
        self.flush().await;
        let attempts = self.operator.get("/v1/attempts?limit=100").await.ok(200);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let attempts = attempts["data"].as_array().expect("a list").iter();
        let attempts = attempts.map(|attempt| (text(&attempt["operation"]), text(&attempt["reason"])));
        attempts.filter(|(_, reason)| reason != FLUSHED).collect()
    }

    /// The last refusal.
    pub async fn latest_attempt(&self) -> (String, String) {
        self.attempts_by_time().await.swap_remove(0)
    }

    /// What was refused, in order of the text: within a millisecond no order of time is promised.
    pub async fn attempts(&self) -> Vec<(String, String)> {
        let mut attempts = self.attempts_by_time().await;
        attempts.sort();
        attempts
    }

    /// Refusals and timings of payments are written with the batch that follows: brings one that writes nothing else.
    pub async fn flush(&self) {
        let unknown = json!({ "top_up_ref": "flush", "account": no_account(), "amount": eur(1) });
        self.operator.post("/v1/top-ups", &unknown).await.refused(404, "not_found");
    }

    /// The site's file, beside the server.
    fn database(&self) -> Connection {
        let database = Connection::open(self.folder.join("site.db")).expect("the database opens");
        database.busy_timeout(PATIENCE).expect("a setting");
        database
    }

    pub fn keys_database(&self) -> Connection {
        Connection::open(self.folder.join("keys.db")).expect("the database opens")
    }

    /// Changes the database behind the server's back, with an `insert`, `update` or `delete`. Answers the number of rows,
    /// or why the database refuses.
    pub fn try_sql(&self, statement: &str) -> Result<usize, String> {
        let counting = format!("with changed as ({statement} returning 1) select count(*) from changed");
        match query(&self.folder, &counting) {
            Some(changed) => {
                changed.map_err(|error| error.to_string()).map(|count| count.parse().expect("a number"))
            }
            None => self.database().execute(statement, []).map_err(|error| error.to_string()),
        }
    }

    /// The same, of a statement that the database takes.
    pub fn sql(&self, statement: &str) -> usize {
        self.try_sql(statement).expect("the statement is right")
    }

    /// The one value that a query answers, as text.
    pub fn value(&self, select: &str) -> String {
        match query(&self.folder, select) {
            Some(value) => value.expect("the query is right"),
            None => value_in(&self.database(), select),
        }
    }

    pub fn count(&self, from_where: &str) -> i64 {
        let counted = self.value(&format!("select cast(count(*) as text) from {from_where}"));
        counted.parse().expect("a number")
    }

    /// The same of the subject keys.
    pub fn count_keys(&self, from_where: &str) -> i64 {
        let select = format!("select cast(count(*) as text) from {from_where}");
        let counted = match query(&self.folder, &select) {
            Some(counted) => counted.expect("the query is right"),
            None => value_in(&self.keys_database(), &select),
        };
        counted.parse().expect("a number")
    }

    /// Every row of every table of the site and of its keys, to compare before and after. A server's beats count for
    /// nothing.
    pub fn content(&self) -> BTreeMap<String, Vec<String>> {
        let tables = "select table_name
             from information_schema.tables
             where table_schema like 'selfsame%' and table_name <> 'schema_versions'";
        let Some(tables) = query(&self.folder, tables) else {
            let mut content = dump(&self.database());
            content.extend(dump(&self.keys_database()));
            return content;
        };
        let tables = tables.expect("the query is right");
        let rows = |table: &str| {
            let found = match table {
                "slots" => "(slot, epoch, sequence, hash, held)",
                _ => "found",
            };
            format!("select '{table} ' || cast({found} as text) from {table} as found order by 1;")
        };
        let rows: String = tables.lines().map(rows).collect();
        let rows = query(&self.folder, &rows).expect("it is on PostgreSQL").expect("the query is right");
        let mut content: BTreeMap<_, _> =
            tables.lines().map(|table| (table.to_owned(), Vec::new())).collect();
        for row in rows.lines() {
            let (table, row) = row.split_once(' ').expect("a row begins with its table");
            content.get_mut(table).expect("its table is there").push(row.to_owned());
        }
        content
    }

    /// The bytes of every file of the site, with their names.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(&self.folder).expect("the folder is there");
        let files = entries
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.file_type().expect("a type").is_file());
        let read = |entry: std::fs::DirEntry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("readable"))
        };
        files.map(read).collect()
    }
}

fn value_in(database: &Connection, select: &str) -> String {
    database.query_row(select, [], |row| row.get(0)).expect("the query is right")
}

fn dump(database: &Connection) -> BTreeMap<String, Vec<String>> {
    let sql = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'";
    let mut statement = database.prepare(sql).expect("a query");
    let tables = statement.query_map([], |row| row.get::<_, String>(0)).expect("a query");
    let rows = |table: &String| {
        let columns = if table == "slots" { "slot, epoch, sequence, hash, held" } else { "*" };
        let mut statement =
            database.prepare(&format!("select {columns} from {table} order by 1, 2")).expect("a query");
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let cells =
                (0..columns).map(|column| row.get::<_, Cell>(column)).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("{cells:?}"))
        };
        let rows = statement.query_map([], row).expect("a query");
        rows.collect::<Result<Vec<_>, _>>().expect("readable rows")
    };
    let tables: Vec<String> = tables.collect::<Result<_, _>>().expect("names");
    tables.into_iter().map(|table| (table.clone(), rows(&table))).collect()
}

/// Whether `needle` is somewhere in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    assert!(!needle.is_empty());
    hay.windows(needle.len()).any(|window| window == needle)
}

pub fn eur(minor: i64) -> Value {
    json!({ "minor": minor, "currency": "EUR" })
}

/// A well-formed id of an account that nobody made.
pub fn no_account() -> &'static str {
    "acct_00000000000000000000000000"
}
