//! What stands on the wire, and what limits the client keeps.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method};
use quintile::delivery::{
    client::{Client, Limits, Request},
    guard::Guard,
    retry::{Failure, Reply},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::fixture::{Shop, destination};
use crate::support::receiver::{Answer, Receiver};

#[tokio::test]
async fn the_public_library_accepts_what_is_sent() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].fields = ["segment", "rfm", "counters", "email", "name"].map(str::to_owned).to_vec();
    shop.moves(&[7], "champion");
    let report = shop.deliver().await;

    assert_eq!((report.delivered, report.waiting, report.cut_short), (1, 0, false));
    let [request] = tool.received().try_into().unwrap();
    request.assert_verified();
    assert_eq!(request.path, "/hook/secret-path");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("user-agent"), concat!("quintile/", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.header("quintile-event"), "rfm/segment.changed");
    assert_eq!(request.header("quintile-attempt"), "1");
    assert_eq!(request.header("webhook-timestamp"), shop.now().seconds().to_string());
    assert_eq!(request.header("webhook-id"), shop.deliveries()[0].message_id);
    for absent in ["accept-encoding", "cookie", "referer", "authorization"] {
        assert!(!request.headers.contains_key(absent), "{absent}");
    }
    let event = request.json();
    assert_eq!(event["data"]["customer"]["firstName"], "Zoë 李");
    assert_eq!(event["data"]["customer"]["totalSpent"], "49.90");
    assert_eq!(event["data"]["rfm"], serde_json::json!({"r": 5, "f": 4, "m": 3}));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (tool, elsewhere) = (Receiver::start().await, Receiver::start().await);
    for status in [301, 302, 303, 307, 308] {
        let shop = Shop::new(&[&tool]);
        tool.answers(Answer::from(status).header("location", elsewhere.url()));
        shop.moves(&[1], "lost");
        shop.deliver().await;
        let [delivery] = shop.deliveries().try_into().unwrap();
        assert_eq!((delivery.state.as_str(), delivery.last_status), ("retrying", Some(i64::from(status))));
        let (error, origin) = (delivery.last_error.unwrap(), elsewhere.url().strip_suffix("hook/secret-path").unwrap());
        assert!(error.contains(&format!("moved to {origin}…;")), "where it points is shown: {error}");
        assert!(!error.contains("secret-path"), "and nothing of its path: {error}");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn four_kib_of_an_answer_are_kept() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(500).body("ä".repeat(10_000)));
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    shop.deliver().await;
    assert_eq!(shop.attempts(1)[0].answer, "ä".repeat(2048).into_bytes());
}

/// A server that does not speak HTTP properly: hands each connection, its request read, to `act`.
pub async fn raw_server<F, A>(act: A) -> (String, AbortOnDropHandle<()>)
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/secret-path", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = stream.read(&mut request).await;
            tokio::spawn(act(stream));
        }
    });
    (url, AbortOnDropHandle::new(server))
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_and_its_status_stands() {
    let (url, _server) = raw_server(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    let mut shop = Shop::new(&[]);
    shop.config.destination = vec![destination("tool", &url)];
    shop.moves(&[1], "lost");
    let started = Instant::now();
    assert_eq!(shop.deliver().await.delivered, 1);
    assert!(started.elapsed() < Duration::from_secs(10), "before the limit of 15 seconds");
    assert_eq!(shop.attempts(1)[0].answer.len(), 4096);
}

#[tokio::test]
async fn the_time_limit_includes_the_body() {
    let limits = Limits { connect: Duration::from_secs(5), whole: Duration::from_millis(300) };
    let guard = Guard::new(&["127.0.0.0/8".to_owned()]).unwrap();
    let client = Client::new(guard, 1, limits).unwrap();
    for beginning in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"] {
        let (url, _server) = raw_server(move |mut stream| async move {
            let mut trickle = stream.write_all(beginning.as_bytes()).await;
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while trickle.is_ok() {
                ticks.tick().await;
                let byte: &[u8] = if beginning.ends_with("\r\n\r\n") { b"x" } else { b"" };
                trickle = stream.write_all(byte).await;
            }
        })
        .await;
        let request =
            Request { method: Method::POST, url: url.parse().unwrap(), headers: HeaderMap::new(), body: Vec::new() };
        let exchange = client.send(request).await;
        assert_eq!(exchange.reply, Reply::Failure(Failure::Timeout), "{beginning:?}");
    }
}

#[tokio::test]
async fn every_kind_of_broken_answer_is_tried_again() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    for (answer, status) in [
        ("", None),
        ("HTTP/1.1 2", None),
        ("SSH-2.0-OpenSSH_9.6\r\n", None),
        (half, None),
        ("HTTP/1.1 500 X\r\n\r\n", Some(500)),
    ] {
        let (url, _server) = raw_server(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let mut shop = Shop::new(&[]);
        shop.config.destination = vec![destination("tool", &url)];
        shop.moves(&[1], "lost");
        let report = shop.deliver().await;
        assert_eq!((report.delivered, report.retrying), (0, 1), "{answer:?}");
        let delivery = &shop.deliveries()[0];
        assert_eq!(delivery.last_status, status, "{answer:?}: {delivery:?}");
        assert!(!delivery.last_error.as_ref().unwrap().contains("secret-path"), "{delivery:?}");
    }
}

#[tokio::test]
async fn each_class_of_failure_has_its_own_words() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/secret-path", closed.local_addr().unwrap());
    drop(closed);
    // A plain server behind an https address: the handshake fails.
    let tool = Receiver::start().await;
    let plain = tool.url().replace("http://", "https://");
    for (url, words) in [
        (refused.as_str(), "connection refused"),
        ("https://nobody.invalid/secret-path", "the name nobody.invalid was not found (DNS)"),
        (&plain, "no secure connection: "),
    ] {
        let mut shop = Shop::new(&[]);
        shop.config.destination = vec![destination("tool", url)];
        shop.moves(&[1], "lost");
        shop.deliver().await;
        let [delivery] = shop.deliveries().try_into().unwrap();
        let error = delivery.last_error.unwrap();
        assert!(error.starts_with(words), "{error}");
        assert!(!error.contains("secret-path"), "{error}");
        assert_eq!((delivery.state.as_str(), delivery.last_status), ("retrying", None));
    }
}

#[tokio::test]
async fn private_addresses_are_dead_at_once_and_never_called() {
    let tool = Receiver::start().await;
    let port = tool.url().rsplit(':').next().unwrap().to_owned();
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://[::ffff:7f00:1]:{port}"),
    ] {
        let mut shop = Shop::new(&[]);
        shop.config.forwarder.allow_private = Vec::new();
        shop.config.destination = vec![destination("tool", &url)];
        shop.moves(&[1], "lost");
        let report = shop.deliver().await;
        assert_eq!((report.dead, report.retrying), (1, 0), "{url}");
        let [delivery] = shop.deliveries().try_into().unwrap();
        assert_eq!(delivery.attempts, 1);
        assert!(delivery.last_error.unwrap().contains("is not a public address"), "{url}");
    }
    assert!(tool.received().is_empty());
}

#[tokio::test]
async fn a_name_is_sent_to_the_address_that_was_vetted() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].url = tool.url().replace("127.0.0.1", "localhost");
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver().await.delivered, 1);
    tool.received()[0].assert_verified();
}
