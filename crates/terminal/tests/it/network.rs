//! Tills that are programs: a line over TCP, and a page that is pushed to.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use selfsame_api::interface::RegisterKind;
use selfsame_api::register::{FromPage, RegisterState, ToPage};
use selfsame_terminal::register::{
    BrowserRegister, Register, RegisterSettings, Registers, Suffix, TcpSettings, Undelivered,
    WebSocketSettings,
};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{CODE, PATIENCE, open, refused, tells_no_digits};

const ORIGIN: &str = "https://till.example";

async fn tcp(address: SocketAddr) -> Registers {
    let tcp = TcpSettings { address, suffix: Suffix::Crlf, ..Default::default() };
    open(RegisterSettings { tcp: Some(tcp), ..Default::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_that_listens_gets_a_line_and_the_end() {
    let till = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registers = tcp(till.local_addr().unwrap()).await;
    // One that closes, one that answers and keeps its end open: both have the code.
    for answer in [None, Some("OK\r\n")] {
        let reading = async {
            let (mut connection, _) = till.accept().await.unwrap();
            let mut read = String::new();
            connection.read_to_string(&mut read).await.unwrap();
            if let Some(answer) = answer {
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
            (read, connection)
        };
        let ((read, _connection), delivered) =
            tokio::join!(reading, registers.deliver(RegisterKind::Tcp, CODE));
        delivered.expect("the till read it");
        assert_eq!(read, format!("{CODE}\r\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_that_does_not_listen_is_missing() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = tcp(address).await.deliver(RegisterKind::Tcp, CODE).await.expect_err("nobody listens");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
    tells_no_digits(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_that_breaks_off_without_reading_leaves_it_uncertain() {
    let till = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registers = tcp(till.local_addr().unwrap()).await;
    let breaking = async {
        let (connection, _) = till.accept().await.unwrap();
        // Closing with the line unread resets the connection.
        connection.readable().await.unwrap();
    };
    let ((), delivered) = tokio::join!(breaking, registers.deliver(RegisterKind::Tcp, CODE));
    let error = delivered.expect_err("it was not read");
    assert!(matches!(error, Undelivered::Uncertain { sent: 20, whole: 20, .. }), "{error:?}");
}

type Page = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(
    register: &BrowserRegister,
    origin: Option<&str>,
    host: Option<&str>,
) -> Result<Page, Error> {
    let mut request = register.url().into_client_request().expect("our own address");
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    if let Some(host) = host {
        request.headers_mut().insert("host", host.parse().unwrap());
    }
    connect_async(request).await.map(|(page, _)| page)
}

async fn next(page: &mut Page) -> Message {
    let waiting = async {
        loop {
            match page.next().await.expect("the connection is open").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("a message comes")
}

async fn say(page: &mut Page, message: &FromPage) {
    page.send(Message::text(serde_json::to_string(message).unwrap())).await.expect("sent");
}

async fn register() -> (Arc<BrowserRegister>, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let trigger = Arc::new(move || ask.send(()).expect("the test listens"));
    let bound = BrowserRegister::bind("127.0.0.1:0".parse().unwrap(), &[ORIGIN.to_owned()], trigger).await;
    (Arc::new(bound.expect("a port")), asked)
}

/// Delivers on another thread, as the terminal does.
fn deliver(
    register: &Arc<BrowserRegister>,
    within: Duration,
) -> tokio::task::JoinHandle<Result<(), Undelivered>> {
    let register = register.clone();
    tokio::task::spawn_blocking(move || register.deliver(CODE, within))
}

async fn present(register: &BrowserRegister) {
    let waiting = async {
        while !register.is_there() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the page is noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_the_code_says_so_and_asks_for_the_next() {
    let (register, mut asked) = register().await;
    assert!(!register.is_there());
    let error = deliver(&register, PATIENCE).await.unwrap().expect_err("no page is connected");
    assert!(matches!(error, Undelivered::Missing { .. }), "{error:?}");
    let mut page = connect(&register, Some(ORIGIN), None).await.expect("the page may enter");
    present(&register).await;
    say(&mut page, &FromPage::HandOver {}).await;
    tokio::time::timeout(PATIENCE, asked.recv()).await.expect("it is heard");
    let delivered = deliver(&register, PATIENCE);
    let Message::Text(text) = next(&mut page).await else { panic!("no text") };
    let ToPage::PaymentCode { delivery, digits } = serde_json::from_str(&text).unwrap();
    assert_eq!(digits, CODE);
    assert!(text.starts_with(r#"{"type":"payment_code","delivery":"#), "as documented");
    // An answer to something else is none.
    say(&mut page, &FromPage::Received { delivery: delivery + 1 }).await;
    say(&mut page, &FromPage::Received { delivery }).await;
    delivered.await.unwrap().expect("the page said that it has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_goes_or_says_nothing_leaves_it_uncertain() {
    let (register, _asked) = register().await;
    let mut page = connect(&register, Some(ORIGIN), None).await.unwrap();
    present(&register).await;
    let error = deliver(&register, Duration::from_millis(50)).await.unwrap().expect_err("it says nothing");
    assert!(matches!(error, Undelivered::Uncertain { .. }), "{error:?}");
    tells_no_digits(&error);
    assert!(matches!(next(&mut page).await, Message::Text(_)));
    let delivered = deliver(&register, PATIENCE);
    assert!(matches!(next(&mut page).await, Message::Text(_)));
    drop(page);
    let error = delivered.await.unwrap().expect_err("it went");
    assert!(matches!(error, Undelivered::Uncertain { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_that_came_last_is_the_register() {
    let (register, _asked) = register().await;
    let mut first = connect(&register, Some(ORIGIN), None).await.unwrap();
    present(&register).await;
    let mut second = connect(&register, Some(ORIGIN), None).await.unwrap();
    let Message::Close(Some(why)) = next(&mut first).await else { panic!("the first one is told") };
    assert_eq!(why.code, CloseCode::from(4001));
    let delivered = deliver(&register, PATIENCE);
    let Message::Text(text) = next(&mut second).await else { panic!("no text") };
    let ToPage::PaymentCode { delivery, .. } = serde_json::from_str(&text).unwrap();
    say(&mut second, &FromPage::Received { delivery }).await;
    delivered.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_are_not_let_in() {
    let (register, _asked) = register().await;
    let port = register.url().split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let rebound = format!("rebound.example:{port}");
    for (origin, host) in [
        (Some("https://evil.example"), None),
        (Some("null"), None),
        (Some("http://till.example"), None),
        (Some("https://till.example:8443"), None),
        (None, None),
        (Some(ORIGIN), Some(rebound.as_str())),
    ] {
        let Err(Error::Http(answer)) = connect(&register, origin, host).await else { panic!("{origin:?}") };
        assert_eq!(answer.status(), 403, "{origin:?} {host:?}");
    }
    assert!(!register.is_there());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_sends_something_else_is_cut_off() {
    let (register, mut asked) = register().await;
    for nonsense in [
        Message::text("hello"),
        Message::text(r#"{"type":"hand_over","amount":1}"#),
        Message::binary(vec![1, 2, 3]),
        Message::text("x".repeat(2000)),
    ] {
        let mut page = connect(&register, Some(ORIGIN), None).await.unwrap();
        page.send(nonsense).await.unwrap();
        let end =
            async { while page.next().await.is_some_and(|message| message.is_ok_and(|m| !m.is_close())) {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the connection ends");
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_port_for_pages_needs_origins_and_is_of_this_machine_only() {
    let settings = |listen: &str, origins: &[&str]| {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let websocket = WebSocketSettings { listen: listen.parse().unwrap(), origins };
        RegisterSettings { websocket: Some(websocket), ..Default::default() }
    };
    assert!(refused(settings("0.0.0.0:0", &[ORIGIN])).await.contains("no loopback address"));
    assert!(refused(settings("127.0.0.1:0", &[])).await.contains("`origins`"));
    for wrong in ["till.example", "https://till.example/", "https://*", "file://x", "https://"] {
        assert!(refused(settings("127.0.0.1:0", &[wrong])).await.contains("is no origin"), "{wrong}");
    }
    let registers = open(settings("127.0.0.1:0", &[ORIGIN])).await;
    let offer = registers.offers()[2];
    assert_eq!((offer.register, offer.state), (RegisterKind::Websocket, RegisterState::Missing));
}
