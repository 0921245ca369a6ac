//! Each fault of the network, with ends that say what they were sent. Nothing here measures time: that something is late
//! shows in what comes before it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use selfsame_cluster::{Proxy, Toward};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any test runs.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A server whose end of each connection the test holds itself.
struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Both ends of a new connection through the proxy.
    async fn connect(&self, proxy: &Proxy) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        (client, server)
    }
}

async fn receive(end: &mut TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    end.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Something goes there and back, which takes longer than anything that was sent before and is not held up.
async fn round_trip((client, server): &mut (TcpStream, TcpStream)) {
    client.write_all(b"there").await.unwrap();
    assert_eq!(receive(server, 5).await, "there");
    server.write_all(b"back").await.unwrap();
    assert_eq!(receive(client, 4).await, "back");
}

fn has_nothing(end: &TcpStream) -> bool {
    end.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

async fn is_reset(end: &mut TcpStream) -> bool {
    end.read(&mut [0]).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn what_is_delayed_comes_later_in_both_directions() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let (mut late, mut in_time) = (server.connect(&proxy).await, server.connect(&proxy).await);
    round_trip(&mut late).await;
    proxy.delay(FOR_EVER);
    late.0.write_all(b"late").await.unwrap();
    late.1.write_all(b"late").await.unwrap();
    // The proxy must have it before it forgets the delay; a third connection that it makes and cuts tells when.
    for _ in 0..20 {
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        let (end, _) = server.listener.accept().await.unwrap();
        end.set_zero_linger().unwrap();
        drop(end);
        assert!(is_reset(&mut other).await);
    }
    proxy.delay(Duration::ZERO);
    round_trip(&mut in_time).await;
    assert!(has_nothing(&late.0) && has_nothing(&late.1));
}

#[tokio::test]
async fn what_is_delayed_keeps_its_order() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let (mut client, mut end) = server.connect(&proxy).await;
    for (number, delay_ms) in [40, 0, 20, 0, 10].into_iter().enumerate() {
        proxy.delay(Duration::from_millis(delay_ms));
        client.write_all(number.to_string().as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(receive(&mut end, 5).await, "01234");
}

#[tokio::test]
async fn a_cut_resets_both_ends_and_new_connections_are_well() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let mut before = server.connect(&proxy).await;
    round_trip(&mut before).await;
    proxy.cut();
    assert!(is_reset(&mut before.0).await && is_reset(&mut before.1).await);
    round_trip(&mut server.connect(&proxy).await).await;
}

#[tokio::test]
async fn who_is_refused_is_reset_and_who_was_there_stays() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let mut before = server.connect(&proxy).await;
    proxy.refuse(true);
    assert!(is_reset(&mut TcpStream::connect(proxy.address()).await.unwrap()).await);
    round_trip(&mut before).await;
    proxy.refuse(false);
    round_trip(&mut server.connect(&proxy).await).await;
}

#[tokio::test]
async fn a_black_hole_keeps_what_is_sent_and_gives_it_back() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let (mut client, mut end) = server.connect(&proxy).await;
    proxy.black_hole(true);
    client.write_all(b"there").await.unwrap();
    end.write_all(b"back").await.unwrap();
    let (other_client, _other_end) = server.connect(&proxy).await;
    other_client.writable().await.unwrap();
    assert!(has_nothing(&client) && has_nothing(&end));
    proxy.black_hole(false);
    assert_eq!(receive(&mut end, 5).await, "there");
    assert_eq!(receive(&mut client, 4).await, "back");
}

#[tokio::test]
async fn a_half_closed_end_reads_the_end_and_can_still_send() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let mut ends = server.connect(&proxy).await;
    round_trip(&mut ends).await;
    let (mut client, mut end) = ends;
    proxy.half_close(Toward::Client);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    client.write_all(b"still").await.unwrap();
    assert_eq!(receive(&mut end, 5).await, "still");
    proxy.half_close(Toward::Server);
    assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
    round_trip(&mut server.connect(&proxy).await).await;
}

#[tokio::test]
async fn an_end_that_closes_or_resets_does_the_same_to_the_other() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let (client, mut end) = server.connect(&proxy).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(is_reset(&mut end).await);
    let (mut client, end) = server.connect(&proxy).await;
    drop(end);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn new_connections_go_where_the_proxy_points_and_old_ones_stay() {
    let (one, other) = (Server::new().await, Server::new().await);
    let proxy = Proxy::start(one.address).await.unwrap();
    let mut before = one.connect(&proxy).await;
    proxy.point_at(other.address);
    round_trip(&mut other.connect(&proxy).await).await;
    round_trip(&mut before).await;
    drop(other);
    assert!(is_reset(&mut TcpStream::connect(proxy.address()).await.unwrap()).await, "nobody is there");
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_connections() {
    let server = Server::new().await;
    let proxy = Proxy::start(server.address).await.unwrap();
    let address = proxy.address();
    let mut before = server.connect(&proxy).await;
    round_trip(&mut before).await;
    drop(proxy);
    assert_eq!(before.0.read(&mut [0]).await.unwrap_or_default(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}
