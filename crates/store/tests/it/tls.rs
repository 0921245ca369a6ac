//! PostgreSQL behind TLS: whoever answers must show a certificate for its name, of an authority that we were told.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use selfsame_cluster::{Cluster, Options, is_installed_or_skip};
use selfsame_store::{Database, Store, StoreError};

/// An authority that makes certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    /// Lets a cluster show a certificate for a name.
    async fn certify(&self, cluster: &Cluster, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        // PostgreSQL takes a key only of its own user, and only if nobody else may read it.
        let folder = cluster.folder();
        let owner = fs::metadata(folder.join("data")).expect("it has data");
        for (setting, file, text) in [
            ("ssl_cert_file", "cert.pem", certificate.pem()),
            ("ssl_key_file", "key.pem", key.serialize_pem()),
        ] {
            let path = folder.join(file);
            fs::write(&path, text).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
            chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is ours");
            cluster.set(setting, path.to_str().expect("a path of text")).await.expect("a setting");
        }
        cluster.set("ssl", "on").await.expect("a setting");
    }

    /// Its certificate, as a file of a cluster.
    fn file(&self, cluster: &Cluster, name: &str) -> PathBuf {
        let path = cluster.folder().join(name);
        fs::write(&path, self.certificate.pem()).expect("writable");
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_the_server_has_to_be_the_one_that_was_meant() {
    if !is_installed_or_skip() {
        return;
    }
    let cluster = Cluster::start(Options::default().loopback()).await.expect("PostgreSQL starts");
    cluster.create_database("site").await.expect("a database");
    let address: SocketAddr = cluster.address().expect("it listens");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (root, other_root) = (ours.file(&cluster, "ours.pem"), theirs.file(&cluster, "theirs.pem"));
    let plain = cluster.url_at(address, "site");
    let secured = |root: &PathBuf| {
        let url = format!("{plain}?sslmode=verify-full&sslrootcert={}", root.display());
        Store::open(&Database::postgres(url))
    };
    let refused = |opened: Result<Store, StoreError>| match opened.map(drop) {
        Err(StoreError::Connect { source }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(secured(&root)).contains("TLS"), "the server speaks none yet");
    ours.certify(&cluster, "127.0.0.1").await;
    let store = secured(&root).expect("it is the right one");
    let encrypted = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
         where application_name = 'selfsame'";
    assert_eq!(cluster.query("site", encrypted).await.expect("it answers"), "t");
    drop(store);
    refused(secured(&other_root));
    // The right authority, but a certificate of somebody else.
    ours.certify(&cluster, "db.example").await;
    refused(secured(&root));
    Store::open(&Database::postgres(plain)).expect("without TLS, where the server allows it");
}
