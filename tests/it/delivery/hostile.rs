//! Receivers that mean harm, or are broken in ways that cost more than an answer.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, Method};
use flate2::{Compression, write::GzEncoder};
use quintile::delivery::{
    client::{Client, LIMITS, Limits, Request},
    guard::Guard,
    retry::{Answer, Reply},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::task::AbortOnDropHandle;

use super::{fixture::Shop, wire::raw_server};
use crate::support::receiver::{self, Receiver};

/// What the socket buffers of both sides may hold beside what was read.
const BUFFERS: u64 = 16 << 20;

fn loopback() -> Guard {
    Guard::new(&["127.0.0.0/8".to_owned()]).unwrap()
}

/// With the real limits, or so short ones that a test need not wait for them.
fn client(limits: Limits) -> Client {
    Client::new(loopback(), 4, limits).unwrap()
}

/// The failures name them.
#[test]
fn how_long_a_receiver_is_waited_for() {
    assert_eq!([LIMITS.connect, LIMITS.whole].map(|limit| limit.as_secs()), [5, 15]);
}

fn impatient() -> Client {
    client(Limits { connect: Duration::from_millis(400), whole: Duration::from_millis(400) })
}

/// A server that writes `head` and then `more`, as long as it may; counts the bytes.
async fn endless(head: &'static [u8], more: &'static [u8]) -> (String, Arc<AtomicU64>, AbortOnDropHandle<()>) {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let (url, server) = raw_server(move |mut stream| {
        let counter = counter.clone();
        async move {
            stream.write_all(head).await.unwrap();
            while let Ok(count) = stream.write(more).await {
                counter.fetch_add(count as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    (url, written, server)
}

#[tokio::test]
async fn whoever_is_slow_is_left_at_the_limit() {
    let hello = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    for (name, head, drop) in [
        ("says nothing", "", ""),
        ("drips its body", hello, "x"),
        ("drips its headers", "HTTP/1.1 200 OK\r\nx-y: ", "z"),
        ("drips its status", "HTTP/1.1 20", ""),
        ("sends 1xx without end", "", "HTTP/1.1 102 Processing\r\n\r\n"),
    ] {
        let (url, _server) = raw_server(move |mut stream| async move {
            let mut sent = stream.write_all(head.as_bytes()).await;
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while sent.is_ok() {
                ticks.tick().await;
                sent = stream.write_all(drop.as_bytes()).await;
            }
        })
        .await;
        let shop = Shop::sending_to(&url);
        shop.moves(&[1], "lost");
        let started = Instant::now();
        let report = shop.deliver_with(&impatient()).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{name}");
        assert_eq!((report.delivered, report.retrying), (0, 1), "{name}");
        let attempt = shop.attempts(1).remove(0);
        assert_eq!(
            (attempt.status, attempt.error.as_deref()),
            (None, Some("no whole answer within 15 seconds")),
            "{name}"
        );
        assert_eq!(!attempt.answer.is_empty(), head == hello, "{name}: what came of a body is kept");
    }
}

#[tokio::test]
async fn an_accept_queue_that_nobody_serves_is_left_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop = Shop::sending_to(&format!("http://{}/secret-path", listener.local_addr().unwrap()));
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver_with(&impatient()).await.retrying, 1);
    assert_eq!(shop.attempts(1)[0].error.as_deref(), Some("no whole answer within 15 seconds"));
}

#[tokio::test]
async fn ten_gigabytes_are_not_read() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n";
    let (url, written, _server) = endless(head, b"x".repeat(64 * 1024).leak()).await;
    let shop = Shop::sending_to(&url);
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver_with(&client(LIMITS)).await.delivered, 1, "the status stands");
    assert_eq!(shop.attempts(1)[0].answer, b"x".repeat(4096));
    let written = written.load(Ordering::SeqCst);
    assert!(written < BUFFERS, "{written} bytes were taken");
}

#[tokio::test]
async fn headers_without_end_are_not_read() {
    for more in [b"x-more: 0123456789abcdef\r\n".repeat(2000), b"x".repeat(64 * 1024)] {
        let (url, written, _server) = endless(b"HTTP/1.1 200 OK\r\nx-first: ", more.leak()).await;
        let shop = Shop::sending_to(&url);
        shop.moves(&[1], "lost");
        assert_eq!(shop.deliver_with(&client(LIMITS)).await.retrying, 1);
        let attempt = shop.attempts(1).remove(0);
        assert_eq!(attempt.status, None);
        assert!(!attempt.error.unwrap().contains("secret-path"));
        let written = written.load(Ordering::SeqCst);
        assert!(written < BUFFERS, "{written} bytes were taken");
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_kept_as_it_came() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    (0..32).for_each(|_| bomb.write_all(&vec![0; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 64 * 1024, "it fits into what is read: {}", bomb.len());
    let tool = Receiver::start().await;
    tool.answers(receiver::Answer::from(500).header("content-encoding", "gzip").body(bomb.clone()));
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver().await.retrying, 1);
    assert_eq!(shop.attempts(1)[0].answer, bomb[..4096], "not one byte of it was unpacked");
    assert!(!tool.received()[0].headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn a_redirect_to_this_machine_leads_nowhere() {
    let dashboard = Receiver::start().await;
    let location = dashboard.url().to_owned();
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let _server = AbortOnDropHandle::new(tokio::spawn(answering(listener, answer.into_bytes())));
    let mut shop = Shop::sending_to(&url);
    shop.config.forwarder.allow_private = vec!["127.0.0.2".to_owned()];
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver().await.retrying, 1);
    let attempt = shop.attempts(1).remove(0);
    assert_eq!(attempt.status, Some(307));
    let (error, origin) = (attempt.error.unwrap(), location.strip_suffix("hook/secret-path").unwrap());
    assert!(error.contains(&format!("moved to {origin}…;")), "the merchant sees where it points: {error}");
    assert!(dashboard.received().is_empty());
}

/// Answers every request on every connection with the same bytes.
async fn answering(listener: TcpListener, answer: Vec<u8>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(
            async move { while read_request(&mut stream).await && stream.write_all(&answer).await.is_ok() {} },
        );
    }
}

/// Reads one request with its body. False when there is none any more.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return true;
            }
        }
        let mut buffer = vec![0; 64 * 1024];
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
}

/// 127.0.0.2 stands for a public address, since tests talk to nobody else: it alone is allowed.
#[tokio::test]
async fn a_name_that_flips_to_this_machine_gains_nothing() {
    let (public, private) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST);
    let outside = TcpListener::bind((public, 0)).await.unwrap();
    let port = outside.local_addr().unwrap().port();
    let inside = TcpListener::bind((private, port)).await.unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = outside.accept().await {
            read_request(&mut stream).await;
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        }
    }));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let names = move |name: &str| -> Vec<IpAddr> {
        assert_eq!(name, "tool.example");
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => vec![private.into(), public.into()],
            _ => vec![private.into()],
        }
    };
    let guard = Guard::new(&[public.to_string()]).unwrap().with_names(names);
    let client = Client::new(guard, 4, LIMITS).unwrap();
    let shop = Shop::sending_to(&format!("http://tool.example:{port}/secret-path"));

    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver_with(&client).await.delivered, 1);
    let seen = (served.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
    assert_eq!(seen, (1, 1), "the address that was vetted is the one that was called; the name is not asked for again");

    shop.moves(&[2], "lost");
    let report = shop.deliver_with(&client).await;
    assert_eq!((report.delivered, report.dead), (0, 1));
    let attempt = shop.attempts(2).remove(0);
    assert!(attempt.error.unwrap().starts_with("tool.example is not a public address"));
    let knocked = tokio::time::timeout(Duration::from_millis(1), inside.accept()).await;
    assert!(knocked.is_err(), "nobody was called on 127.0.0.1");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_fails_nothing() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Then {
        Closes,
        HalfCloses,
    }
    for then in [Then::Closes, Then::HalfCloses] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let closed = Arc::new(Notify::new());
        let tell = closed.clone();
        let _server = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                read_request(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                if then == Then::HalfCloses {
                    stream.shutdown().await.unwrap();
                    kept.push(stream);
                } else {
                    drop(stream);
                }
                tell.notify_one();
            }
        }));
        let client = client(LIMITS);
        let shop = Shop::sending_to(&url);
        for customer in 1..=3 {
            shop.moves(&[customer], "lost");
            assert_eq!(shop.deliver_with(&client).await.delivered, 1, "{then:?}, delivery {customer}");
            closed.notified().await;
        }
        assert_eq!(shop.attempts(3).len(), 1, "at the first attempt");
    }
}

#[tokio::test]
async fn answers_that_break_the_rules_confuse_nothing() {
    for (name, answer, status) in [
        ("204 with a body", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", 204),
        ("204 and chunks", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 204),
        (
            "a second answer",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
            200,
        ),
        (
            "early hints",
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            200,
        ),
        ("continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let _server = AbortOnDropHandle::new(tokio::spawn(answering(listener, answer.as_bytes().to_vec())));
        let client = client(LIMITS);
        let shop = Shop::sending_to(&url);
        for customer in 1..=3 {
            shop.moves(&[customer], "lost");
            assert_eq!(shop.deliver_with(&client).await.delivered, 1, "{name}, delivery {customer}");
        }
        assert_eq!(shop.attempts(3)[0].status, Some(status), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_tried_again() {
    for (name, answer, status, error) in [
        ("another protocol's greeting", "220 mail.example ESMTP\r\n", None, None),
        ("a version there is not", "HTTP/9.9 200 OK\r\n\r\n", None, None),
        ("a status that is no number", "HTTP/1.1 abc OK\r\n\r\n", None, None),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", None, None),
        ("a chunk that lies", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", None, None),
        (
            "an upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Some(101),
            Some("answered 101"),
        ),
    ] {
        let (url, _server) = raw_server(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let shop = Shop::sending_to(&url);
        shop.moves(&[1], "lost");
        let report = shop.deliver_with(&impatient()).await;
        assert_eq!((report.delivered, report.retrying), (0, 1), "{name}");
        let attempt = shop.attempts(1).remove(0);
        assert_eq!(attempt.status, status, "{name}: {attempt:?}");
        let said = attempt.error.unwrap();
        assert!(error.is_none_or(|error| said == error) && !said.contains("secret-path"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_the_answer_is_a_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What is left unread makes the close a reset.
            let _ = stream.read_exact(&mut [0; 10]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
        }
    }));
    let shop = Shop::sending_to(&url);
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver_with(&client(LIMITS)).await.retrying, 1);
    let attempt = shop.attempts(1).remove(0);
    let words = "the connection was closed before the answer was complete";
    assert_eq!((attempt.status, attempt.error.as_deref()), (None, Some(words)));
}

#[tokio::test]
async fn few_and_short_headers_of_an_answer_are_kept() {
    let many = (0..60).map(|n| format!("x-{n}: {n}\r\n")).collect::<Vec<_>>().concat();
    let long = "y".repeat(257);
    let answer = format!(
        "HTTP/1.1 429 X\r\nset-cookie: session=secret\r\nx-long: {long}\r\nX-Sib-RateLimit-Reset: 12\r\n{many}content-length: 0\r\n\r\n"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/people/7", listener.local_addr().unwrap());
    let _server = AbortOnDropHandle::new(tokio::spawn(answering(listener, answer.into_bytes())));
    let request =
        Request { method: Method::PATCH, url: url.parse().unwrap(), headers: HeaderMap::new(), body: b"{}".to_vec() };
    let exchange = client(LIMITS).send(request).await;
    let Reply::Answer(Answer { status, .. }) = exchange.reply else { panic!("{exchange:?}") };
    assert_eq!((status, exchange.headers.len()), (429, 32));
    assert_eq!(exchange.headers["x-sib-ratelimit-reset"], "12");
    assert!(!exchange.headers.contains_key("set-cookie") && !exchange.headers.contains_key("x-long"));
}
