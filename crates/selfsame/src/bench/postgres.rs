//! The PostgreSQL server that is measured: a throw-away cluster, or a server of the operator's, where nothing is touched
//! but databases that the benchmark makes for itself and drops.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use selfsame_cluster::{Cluster, Options};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::output;

/// PostgreSQL's own port.
const PORT: u16 = 5_432;

/// Connections that a throw-away cluster takes, in place of the usual 100: one for each of 256 in flight is a design that
/// is measured, too.
const CONNECTIONS_MAX: &str = "400";

/// Begins the names of our databases, so that one that was left behind after a kill is known by it.
const NAME: &str = "selfsame_bench";

/// A server.
pub struct Server {
    /// Absent if the server is the operator's.
    cluster: Option<Cluster>,
    /// Address of a database from which others are made.
    url: String,
    /// Names of our databases that are there.
    made: Mutex<Vec<String>>,
}

/// A database of the benchmark's own. Dropped at the server when this is, whatever happened before.
pub struct Place {
    server: Arc<Server>,
    name: String,
    /// Its address.
    pub url: String,
}

impl Server {
    /// A throw-away cluster, durable as by default.
    pub async fn throw_away() -> anyhow::Result<Arc<Self>> {
        let options = Options::default().loopback().setting("max_connections", CONNECTIONS_MAX);
        let cluster = Cluster::start(options).await?;
        let url = cluster.url("postgres");
        Ok(Arc::new(Self { cluster: Some(cluster), url, made: Mutex::default() }))
    }

    /// The operator's own.
    pub fn of_operator(url: &str) -> anyhow::Result<Arc<Self>> {
        ensure!(
            ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)),
            "the address of a PostgreSQL server begins with postgres://, e.g. postgres://selfsame@db.example/postgres"
        );
        parse(url)?;
        Ok(Arc::new(Self { cluster: None, url: url.to_owned(), made: Mutex::default() }))
    }

    /// Whether it is the operator's.
    pub fn is_operators(&self) -> bool {
        self.cluster.is_none()
    }

    fn made(&self) -> MutexGuard<'_, Vec<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a database.
    pub fn make(self: &Arc<Self>) -> anyhow::Result<Place> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system's generator always answers");
        let name = format!("{NAME}_{:016x}", u64::from_be_bytes(random));
        let url = selfsame_store::create_database(&self.url, &name).context(
            "failed to make a database for the benchmark: the role must be let in, and be allowed to make one \
             (`alter role ... createdb`)",
        )?;
        self.made().push(name.clone());
        Ok(Place { server: self.clone(), name, url })
    }

    /// Ends all connections to a database of ours, drops it and answers its deadlocks.
    fn remove(&self, name: &str) -> anyhow::Result<u64> {
        self.made().retain(|made| made != name);
        let dropped = selfsame_store::drop_database(&self.url, name);
        dropped.with_context(|| format!("failed to drop the database `{name}`: drop it by hand"))
    }

    /// Where the server is reached over TCP.
    pub async fn address(&self) -> anyhow::Result<SocketAddr> {
        if let Some(address) = self.cluster.as_ref().and_then(Cluster::address) {
            return Ok(address);
        }
        let config = parse(&self.url)?;
        let Some(Host::Tcp(host)) = config.get_hosts().first() else {
            anyhow::bail!("the address names a socket, and only TCP can be delayed");
        };
        let port = config.get_ports().first().copied().unwrap_or(PORT);
        let mut found = tokio::net::lookup_host((host.as_str(), port)).await;
        let first = found.as_mut().ok().and_then(Iterator::next);
        first.with_context(|| format!("there is no machine `{host}`"))
    }

    /// A program of PostgreSQL's clients, told by its environment how to reach a database at `url`. Not by arguments:
    /// everybody on the machine sees these, and an address may hold a password.
    pub fn client(&self, program: &str, url: &str) -> anyhow::Result<tokio::process::Command> {
        let mut command = match &self.cluster {
            Some(cluster) => cluster.program(program).into(),
            // As installed on the path: the server may be on another machine, and this one has clients only.
            None => tokio::process::Command::new(program),
        };
        for (name, value) in environment(&parse(url)?) {
            command.env(name, value);
        }
        Ok(command)
    }
}

impl Place {
    /// Its address through a proxy.
    pub fn through(&self, proxy: SocketAddr) -> anyhow::Result<String> {
        if let Some(cluster) = &self.server.cluster {
            return Ok(cluster.url_at(proxy, &self.name));
        }
        let config = parse(&self.url)?;
        let user = escaped(config.get_user().unwrap_or_default().as_bytes());
        let password = config.get_password().map(|password| format!(":{}", escaped(password)));
        let at = if user.is_empty() { "" } else { "@" };
        Ok(format!("postgres://{user}{}{at}{proxy}/{}", password.unwrap_or_default(), self.name))
    }

    /// Ends all connections to it, drops it and answers how many deadlocks it has seen.
    pub fn end(self) -> anyhow::Result<u64> {
        self.server.remove(&self.name)
    }

    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_there = self.server.made().contains(&self.name);
        // A cluster that is thrown away needs no order.
        if is_there
            && self.server.is_operators()
            && let Err(error) = self.server.remove(&self.name)
        {
            output::note(format_args!("{error:#}"));
        }
    }
}

/// Of an address; the error does not tell it, because it may hold a password.
fn parse(url: &str) -> anyhow::Result<Config> {
    url.parse()
        .ok()
        .context("the address of the PostgreSQL server is none: postgres://USER:PASSWORD@HOST:PORT/DATABASE")
}

/// How programs of PostgreSQL are told where a database is.
fn environment(config: &Config) -> Vec<(&'static str, String)> {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.to_string_lossy().into_owned(),
    };
    let joined = |values: Vec<String>| Some(values.join(",")).filter(|joined| !joined.is_empty());
    let known = [
        ("PGHOST", joined(config.get_hosts().iter().map(host).collect())),
        ("PGPORT", joined(config.get_ports().iter().map(u16::to_string).collect())),
        ("PGUSER", config.get_user().map(str::to_owned)),
        ("PGPASSWORD", config.get_password().map(|password| String::from_utf8_lossy(password).into_owned())),
        ("PGDATABASE", config.get_dbname().map(str::to_owned)),
        // As our own connections are.
        ("PGSSLMODE", Some("disable".to_owned())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As it stands in an address.
fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        if is_plain { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    bytes.iter().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_what_the_address_says() {
        let of = |url: &str| environment(&parse(url).unwrap());
        let told = of("postgres://ada:p%40ss@db.example:6432/bench");
        let told: Vec<_> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            told,
            [
                ("PGHOST", "db.example"),
                ("PGPORT", "6432"),
                ("PGUSER", "ada"),
                ("PGPASSWORD", "p@ss"),
                ("PGDATABASE", "bench"),
                ("PGSSLMODE", "disable"),
            ]
        );
        let socket = of("postgres:///bench?host=/run/postgresql&user=ada");
        assert!(socket.contains(&("PGHOST", "/run/postgresql".to_owned())), "{socket:?}");
        assert!(!socket.iter().any(|(name, _)| *name == "PGPASSWORD"), "{socket:?}");
    }

    #[test]
    fn an_address_through_a_proxy_keeps_user_and_password() {
        let server = Server::of_operator("postgres://ada:p%40s%2Fs@db.example/postgres").unwrap();
        let place = |url: &str| Place { server: server.clone(), name: "b".to_owned(), url: url.to_owned() };
        let proxy = "127.0.0.1:7".parse().unwrap();
        let through = place("postgres://ada:p%40s%2Fs@db.example/b").through(proxy).unwrap();
        assert_eq!(through, "postgres://ada:p%40s%2Fs@127.0.0.1:7/b");
        let config = parse(&through).unwrap();
        assert_eq!(config.get_password(), Some(b"p@s/s".as_slice()));
        assert_eq!(place("postgres://db.example/b").through(proxy).unwrap(), "postgres://127.0.0.1:7/b");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for wrong in ["db.example", "mysql://ada:secret@db", "postgres://ada:secret@db:port/x"] {
            let error = format!("{:#}", Server::of_operator(wrong).err().unwrap());
            assert!(error.contains("postgres://") && !error.contains("secret"), "{error}");
        }
    }
}
