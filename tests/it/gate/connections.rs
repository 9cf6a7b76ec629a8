//! Connections: silent, slow, too many, and those that are there when the program ends.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::get};
use quintile::web::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{PATIENCE, SHORT, Served, said, serve};
use crate::support::{
    http,
    merchant::Merchant,
    process::{QUINTILE, Server, eventually},
};

const GOOD: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/slow",
            get(|| async {
                sleep(SHORT * 2).await;
                "done"
            }),
        )
        .route("/large", get(|| async { Body::from(vec![b'x'; 64 * 1024 * 1024]) }))
}

fn short() -> Limits {
    Limits { head: SHORT, answer: SHORT, body: SHORT, ..Limits::default() }
}

#[tokio::test]
async fn silence_and_slow_heads_end() {
    let served = serve(router(), short()).await;
    let begun = Instant::now();
    let silent = served.connect().await;
    let slow = served.send(b"GET / HTTP/1.1\r\nhost: loc").await;
    // A byte now and then is no progress.
    let mut dripping = served.send(b"GET / HTTP/1.1\r\n").await;
    let drip = async move {
        while dripping.write_all(b"a: b\r\n").await.is_ok() {
            sleep(SHORT / 5).await;
        }
    };
    let mut again = served.connect().await;
    ask(&mut again).await;
    let (silent, slow, again, dripped) = tokio::join!(said(silent), said(slow), said(again), timeout(PATIENCE, drip));
    dripped.expect("a head without an end is still read");
    assert_eq!((silent.as_str(), again.as_str()), ("", ""), "also after an answer");
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert!(begun.elapsed() < SHORT * 12, "{:?}", begun.elapsed());
    assert!(served.get("/").await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_of_sixteen_kibibytes_and_no_more() {
    let served = serve(router(), short()).await;
    let padded = |bytes: usize| {
        let head = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let line = |size: usize| format!("x: {}\r\n", "a".repeat(size - 5));
        let half = (bytes - head.len() - 2) / 2;
        let other = bytes - head.len() - 2 - half;
        format!("{head}{}{}\r\n", line(half), line(other))
    };
    let answer = said(served.send(padded(16 * 1024 - 1).as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = said(served.send(padded(17 * 1024).as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "h: x\r\n".repeat(200);
    let answer = said(served.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_not_waited_for() {
    let served = serve(router(), short()).await;
    let stuck = served.send(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    sleep(SHORT * 4).await;
    let got = said(stuck).await.len();
    assert!(got > 0 && got < 64 * 1024 * 1024, "all {got} bytes came");
    let all = served.get("/large").await.len();
    assert!(all > 64 * 1024 * 1024, "{all}: whoever takes it gets it");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once_and_others_go_on() {
    let limits = Limits { connections: 8, head: SHORT * 4, ..short() };
    let served = serve(router(), limits).await;
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(served.connect().await);
    }
    assert!(served.get("/").await.ends_with("hello"), "the last place");
    open.push(served.connect().await);
    sleep(SHORT / 2).await; // the server has taken it
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(said(served.connect().await).await, "");
    }
    assert!(begun.elapsed() < SHORT * 2, "they were left waiting: {:?}", begun.elapsed());
    // Those that have a place go on.
    open[0].write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(said(open.remove(0)).await.ends_with("hello"));
    assert!(served.get("/").await.ends_with("hello"), "and a place that is given up is free");
    for silent in open {
        said(silent).await;
    }
    for _ in 0..20 {
        assert!(served.get("/").await.ends_with("hello"));
    }
}

/// Else whoever has them, and asks something now and then, has them for good.
#[tokio::test]
async fn while_all_places_are_taken_an_answer_gives_its_place_up() {
    let served = serve(router(), Limits { connections: 2, ..Limits::default() }).await;
    let mut stays = served.connect().await;
    for _ in 0..3 {
        ask(&mut stays).await;
    }
    let leaves = said(served.send(GOOD).await).await;
    assert!(leaves.contains("connection: close") && leaves.ends_with("hello"), "{leaves}");
    assert!(served.get("/").await.ends_with("hello"), "there is room for another");
    ask(&mut stays).await;
}

/// Reads an answer's head and body, and leaves the connection open.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(GOOD).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let mut byte = [0];
        timeout(PATIENCE, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        answer.push(byte[0]);
    }
}

#[tokio::test]
async fn the_end_waits_for_what_is_in_flight_and_for_nothing_else() {
    let Served { address, stop, listening } = serve(router(), Limits::default()).await;
    let served = Served { address, stop: stop.clone(), listening: tokio::spawn(async {}) };
    let silent = served.connect().await;
    let mut idle = served.connect().await;
    ask(&mut idle).await;
    let busy = served.send(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    sleep(SHORT).await;
    let begun = Instant::now();
    stop.cancel();
    assert!(said(busy).await.ends_with("done"), "what was asked is answered");
    assert_eq!((said(idle).await, said(silent).await), (String::new(), String::new()));
    timeout(PATIENCE, listening).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "nobody is taken any more");
    served.stop.cancel();
    served.listening.await.unwrap();
}

/// A process that may open 64 files, of which the database takes some.
#[test]
fn when_no_file_is_free_for_a_connection_the_program_goes_on() {
    let merchant = Merchant::new("http://127.0.0.1:9");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64 && exec \"$0\" serve", QUINTILE])
        .current_dir(merchant.path())
        .stdin(Stdio::null());
    let server = Server::try_start_as(command).expect("serve starts");
    let address = server.webhooks.strip_prefix("http://").unwrap();
    let open: Vec<_> = (0..100).filter_map(|_| std::net::TcpStream::connect(address).ok()).collect();
    assert!(open.len() > 64, "the system takes them for the program");
    let health = |base: &str| http::get(&format!("{base}/healthz")).is_ok_and(|answer| answer.status == 200);
    drop(open);
    eventually("an answer", || (health(&server.webhooks) && health(&server.dashboard)).then_some(()));
    assert!(server.terminate().success());
}
